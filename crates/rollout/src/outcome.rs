//! What one device showed in a stage: the row between telemetry and evidence.
//!
//! The statement that makes such rows of device-days is one text for every engine, [`SQL`].

/// From device-days to outcomes, in the SQL that SQLite, DuckDB, Spark, Trino and ClickHouse have in common.
pub const SQL: &str = include_str!("outcomes.sql");

/// The group that a device counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cohort {
    /// Has the release.
    Treatment,
    /// Keeps the one before.
    Holdback,
    /// Reported as one and as the other.
    Both,
    /// Reported, but not as either.
    Neither,
    /// Reported before the stage, and not in it.
    Silent,
}

impl Cohort {
    /// As [`SQL`] writes it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Some(match text {
            b"treatment" => Self::Treatment,
            b"holdback" => Self::Holdback,
            b"both" => Self::Both,
            b"neither" => Self::Neither,
            b"silent" => Self::Silent,
            _ => return None,
        })
    }
}

/// One device in one stage. Counts are sums over its days in the arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Its group.
    pub cohort: Cohort,
    /// Days of the stage on which it reported anything.
    pub days: u64,
    /// Inferences.
    pub inferences: u64,
    /// Inferences over the time budget.
    pub over_budget: u64,
    /// Crashes.
    pub crashes: u64,
    /// Shadow runs.
    pub shadow_runs: u64,
    /// Those that agreed.
    pub shadow_agreed: u64,
    /// Times that it gave the release up after crashes in a row.
    pub crash_loops: u64,
    /// Times that it got other files than were signed.
    pub signature_failures: u64,
    /// Energy, in tenths of a millijoule, and the inferences that took it.
    pub energy: [u64; 2],
    /// Drift of the inputs, in millionths summed over days, and the days.
    pub input_drift: [u64; 2],
    /// The same of the outputs.
    pub output_drift: [u64; 2],
    /// Inferences in the time before the release.
    pub pre_inferences: u64,
    /// Those over the time budget.
    pub pre_over_budget: u64,
    /// Energy of that time, and the inferences that took it.
    pub pre_energy: [u64; 2],
    /// Days of that time on which it reported; 0 where it had the release on some of them.
    pub pre_days: u64,
    /// Users whose last rating was 1, 2, 3, 4, 5.
    pub ratings: [u64; 5],
}
