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

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyStatus {
    /// Its id in the metadata.
    pub id: String,
    /// What the repository calls it; empty where it says nothing.
    pub name: String,
    /// Who holds it; empty where the repository says nothing.
    pub holder: String,
    /// The roles that it signs for.
    pub roles: Vec<String>,
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
    /// The keys, and who holds them.
    pub keys: Vec<KeyStatus>,
    /// The releases.
    pub releases: Vec<ReleaseStatus>,
}
