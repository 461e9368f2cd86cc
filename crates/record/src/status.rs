//! What `channel status` prints: channels, roles and releases of a repository.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ChannelPointer;

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelStatus {
    /// Its name.
    pub channel: String,
    /// What it is at; `null` for nothing yet.
    pub pointer: Option<ChannelPointer>,
}

/// One role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleStatus {
    /// Its name.
    pub role: String,
    /// Version of its metadata.
    pub version: u64,
    /// Signatures it needs.
    pub threshold: u64,
    /// Keys it has.
    pub keys: u64,
    /// When its metadata expire, in UTC.
    pub expires: String,
}

/// One release that the repository lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseStatus {
    /// Target name of its manifest.
    pub target: String,
    /// SHA-256 of its manifest.
    pub manifest_sha256: String,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// `plimsoll.status/1`.
    pub schema: String,
    /// Production clients refuse it.
    pub trial: bool,
    /// The role whose metadata have expired, and when; `null` where all are current.
    pub expired: Option<String>,
    /// The channels.
    pub channels: Vec<ChannelStatus>,
    /// The roles.
    pub roles: Vec<RoleStatus>,
    /// The releases.
    pub releases: Vec<ReleaseStatus>,
}
