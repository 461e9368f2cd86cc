//! What devices and users report: one record a line (JSON Lines).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one device did on one day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceDay {
    /// `plimsoll.telemetry/1`.
    pub schema: String,
    /// Pseudonymous id of the device; on a server that routes, what a request's release is drawn by, such as a user.
    pub device: String,
    /// UTC day, `YYYY-MM-DD`.
    pub day: String,
    /// Digest of the release that ran.
    pub release: String,
    /// `treatment` (runs what the channel is at), `holdback` (kept from it, to compare with) or `waiting` (not yet in the share), as
    /// the channel's pointer draws it by bucket.
    pub cohort: String,
    /// The release channel that the device follows: `beta` for who enrolled, else `general`.
    #[serde(default = "general")]
    pub channel: String,
    /// Inferences made.
    pub inferences: u64,
    /// Inferences that took longer than the budget (daily percentiles do not merge; counts do).
    pub over_budget: u64,
    /// Crashes of the process that runs the model.
    pub crashes: u64,
    /// Restarts for any reason.
    pub restarts: u64,
    /// Times that the device gave the release up, since it crashed again and again.
    #[serde(default)]
    pub crash_loops: u64,
    /// Times that the release's files were not what was signed: by their digests, their key or their signature.
    #[serde(default)]
    pub signature_failures: u64,
    /// How long inferences took, in bins that merge by addition: bin `i` counts those of at least 2^i and less than 2^(i+1)
    /// microseconds, bin 0 what was shorter, too. Trailing zeros may be left out; at most [`DeviceDay::LATENCY_BINS`].
    #[serde(default)]
    pub latency_log2_us: Option<Vec<u64>>,
    /// Shadow runs against the previous release, and how many agreed.
    #[serde(default)]
    pub shadow: Option<[u64; 2]>,
    /// How far the day's inputs lie from the reference inputs that the release ships: the largest Kolmogorov-Smirnov distance
    /// of all inputs, 0 (alike) to 1 (apart).
    #[serde(default)]
    pub input_drift: Option<f64>,
    /// The same of the outputs.
    #[serde(default)]
    pub output_drift: Option<f64>,
    /// Energy spent on inference, in joules.
    #[serde(default)]
    pub energy_joules: Option<f64>,
}

impl DeviceDay {
    /// Bins of the latency histogram: the last one begins at about 36 minutes.
    pub const LATENCY_BINS: usize = 32;

    /// The bin that a latency is counted in.
    pub fn latency_bin(microseconds: u64) -> usize {
        (microseconds.max(1).ilog2() as usize).min(Self::LATENCY_BINS - 1)
    }
}

fn general() -> String {
    "general".into()
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
    /// In their words; not stored unless somebody asked for it.
    #[serde(default)]
    pub text: String,
}

impl TelemetryRecord {
    /// What `schema` says in every record.
    pub const SCHEMA: &'static str = "plimsoll.telemetry/1";
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
