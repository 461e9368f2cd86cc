//! What the verbs of a rollout say: where it is, what came of telemetry, of past decisions and of rehearsals.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ArmFigure, Decision, RolledOut, RolloutState, RolloutVerdict, StageAt};

/// What `rollout ingest` did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    /// `plimsoll.intake/1`.
    pub schema: String,
    /// Files that were looked at.
    pub files: u64,
    /// Those of them that were taken before.
    pub known_files: u64,
    /// Rows of the others.
    pub rows: u64,
    /// Rows that were taken.
    pub taken: u64,
    /// Rows that were there already, equal.
    pub repeated: u64,
    /// Rows that went into quarantine, by reason.
    pub quarantined: BTreeMap<String, u64>,
    /// Rows from before the retention that were deleted.
    pub expired: u64,
}

impl Intake {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.intake/1";
}

/// What both arms show, beside the policy's metrics. An arm of too few devices is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// `latency.p50`, `latency.p99`, `energy`, `input-drift` or `output-drift`.
    pub name: String,
    /// `seconds` (at most: the upper end of a bin) or `share` (of energy, of what the same device took before).
    pub unit: String,
    /// Devices with the release.
    pub treatment: Option<ArmFigure>,
    /// Devices of the holdback.
    pub holdback: Option<ArmFigure>,
}

/// Where a rollout is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutStatus {
    /// `plimsoll.rollout/1`.
    pub schema: String,
    /// Its state.
    pub state: RolloutState,
    /// Its stage.
    pub stage: StageAt,
    /// Digest of the last decision.
    pub head: String,
    /// Whether a channel names a decision of this chain.
    pub anchored: bool,
    /// The last decision was written, and the channels may not have moved yet; the next verb that changes anything moves them.
    pub pending: bool,
    /// Decisions.
    pub decisions: u64,
    /// The last one.
    pub last: Decision,
    /// The last one that judged evidence.
    pub last_judgement: Option<Decision>,
    /// What devices of the stage show besides.
    pub observed: Vec<Observed>,
    /// Rows in quarantine, by reason.
    pub quarantined: BTreeMap<String, u64>,
}

impl RolloutStatus {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.rollout/1";
}

/// One judgement, then and now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replayed {
    /// Number of the decision.
    pub sequence: u64,
    /// Its day.
    pub day: String,
    /// The stage's share of devices, in hundredths of a per cent.
    pub percent_bp: u16,
    /// What was decided.
    pub then: RolloutVerdict,
    /// What this policy says of the same telemetry.
    pub now: RolloutVerdict,
    /// Whether the decision is the same, byte for byte.
    pub same_bytes: bool,
    /// Whether all is there that it rested on: no device was forgotten since, and its days are within the retention.
    pub whole: bool,
    /// Devices that had the release.
    pub devices: u64,
}

/// A rollout, replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// `plimsoll.replay/1`.
    pub schema: String,
    /// Its judgements.
    pub judgements: Vec<Replayed>,
    /// The day on which this policy would have halted.
    pub halts: Option<String>,
    /// Devices that had the release in the end and would not have got it.
    pub spared: u64,
    /// Judgements of outcomes that another engine wrote and that are not there: they were not replayed.
    pub elsewhere: u64,
}

impl Replay {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.replay/1";
}

/// Rollouts that were played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// `plimsoll.simulation/1`.
    pub schema: String,
    /// Their number.
    pub runs: u64,
    /// Those that reached everybody.
    pub complete: u64,
    /// Those that were halted.
    pub halted: u64,
    /// Those that were left to a person.
    pub person: u64,
    /// Those that were held for longer than the policy waits.
    pub held: u64,
    /// Runs that ended at each stage without completing; the first is the beta.
    pub ended_at: Vec<u64>,
    /// Median day of the end.
    pub day: u64,
    /// Most devices that had the release when it was halted.
    pub exposed_when_halted: u64,
}

impl Simulation {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.simulation/1";
}

/// A release that was at everybody and was halted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProblemRecord {
    /// `plimsoll.problem/1`.
    pub schema: String,
    /// The day of the alarm.
    pub opened: String,
    /// The release.
    pub release: RolledOut,
    /// SHA-256 of the decision that halted it.
    pub decision_sha256: String,
    /// Why.
    pub reasons: Vec<String>,
}

impl ProblemRecord {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.problem/1";
}
