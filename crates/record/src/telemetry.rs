//! What devices and users report: one record a line (JSON Lines).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one device did on one day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceDay {
    /// `plimsoll.telemetry/1`.
    pub schema: String,
    /// Pseudonymous device id.
    pub device: String,
    /// UTC day, `YYYY-MM-DD`.
    pub day: String,
    /// Digest of the release that ran.
    pub release: String,
    /// `treatment` or `holdback`.
    pub cohort: String,
    /// Inferences made.
    pub inferences: u64,
    /// Inferences that took longer than the budget (daily percentiles do not merge; counts do).
    pub over_budget: u64,
    /// Crashes of the process that runs the model.
    pub crashes: u64,
    /// Restarts for any reason.
    pub restarts: u64,
    /// Shadow runs against the previous release, and how many agreed.
    pub shadow: Option<[u64; 2]>,
    /// Energy spent on inference, in joules.
    pub energy_joules: Option<f64>,
}

/// What one user said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// `plimsoll.telemetry/1`.
    pub schema: String,
    /// Pseudonymous user id.
    pub user: String,
    /// Pseudonymous device id.
    pub device: String,
    /// UTC day, `YYYY-MM-DD`.
    pub day: String,
    /// Digest of the release that the user speaks of.
    pub release: String,
    /// 1 (bad) to 5 (good).
    pub rating: u8,
    /// In their words.
    pub text: String,
}

/// One line of telemetry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TelemetryRecord {
    /// A device and day.
    DeviceDay(DeviceDay),
    /// A review.
    Review(Review),
}
