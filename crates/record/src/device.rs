//! What a device's agent did, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PointedRelease;

/// What came of a look at the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceAction {
    /// Nothing: it runs what it is to run.
    None,
    /// A release was installed, tested, and is active now.
    Switched,
    /// A release is installed and tested; the swap waits for a moment in which nobody is disturbed.
    Waiting,
    /// It went back to an earlier release.
    WentBack,
    /// Nothing was installed, since the repository is not to be believed, or the clock is not.
    Held,
    /// A release is genuine and does not suit the device; its digest is not tried again.
    Unfit,
}

/// What an agent did, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceStatus {
    /// `plimsoll.device/1`.
    pub schema: String,
    /// Pseudonym of the device.
    pub device: String,
    /// The channel that it follows.
    pub channel: String,
    /// What it did.
    pub action: DeviceAction,
    /// Why, in words.
    pub reason: String,
    /// What runs now; `null` where nothing does.
    pub active: Option<PointedRelease>,
    /// What the other slot holds.
    pub other: Option<PointedRelease>,
    /// Highest epoch of the channel that it has seen.
    pub epoch: Option<u64>,
}

impl DeviceStatus {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.device/1";
}
