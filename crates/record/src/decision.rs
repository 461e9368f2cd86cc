//! Decisions of a rollout: what was known on a day, what follows from it, who moved the release. Each names the one before by its
//! digest, so that none can be taken out of the row.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an entry of the chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionKind {
    /// The policy is frozen and the beta begins.
    Start,
    /// What the evidence of a day says.
    Judgement,
    /// The release moves to the next stage, on a judgement that lets it.
    Advance,
    /// A person lets it move one stage on where the evidence cannot.
    Resolve,
    /// A person halts it.
    Halt,
    /// A halted release goes on at the stage where it was.
    Resume,
    /// A halted release is given up: the channel is at the one before.
    RollBack,
    /// The holdback of a release that is at everybody gets it, too: nothing is compared any more.
    Close,
}

/// What a judgement comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutVerdict {
    /// The next stage may begin.
    Advance,
    /// Nothing changes: no data are no evidence.
    Hold,
    /// Devices go back to the release before.
    Halt,
}

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// At a stage.
    Running,
    /// Devices go back to the release before.
    Halted,
    /// Given up.
    RolledBack,
    /// At everybody but the holdback, with its soak passed; it is watched.
    Complete,
    /// At everybody, the holdback included: nothing is left to compare with.
    Closed,
}

/// What is rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolledOut {
    /// Name of the model.
    pub name: String,
    /// Version of the release.
    pub version: String,
    /// Digest of the release.
    pub release: String,
    /// Digest of the release that it replaces, which the holdback keeps.
    pub previous: String,
    /// Digest of what the beta channel was at before, where that is another one than everybody has: who is held back in the beta runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_in_beta: Option<String>,
}

/// A stage on the way to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageAt {
    /// Number of the stage: 0 is the beta.
    pub number: u64,
    /// The release channel, `beta` or `general`.
    pub channel: String,
    /// Share of its devices, in hundredths of a per cent.
    pub percent_bp: u16,
    /// First day of it, `YYYY-MM-DD`.
    pub since: String,
}

/// What one arm showed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArmFigure {
    /// The metric's value: a share, or points of a rating.
    pub value: f64,
    /// Devices (users, of a rating) behind it.
    pub units: u64,
}

/// What a metric came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MetricStanding {
    /// Too few devices, or none, have reported it.
    NoData,
    /// Neither harm nor its absence is shown.
    Unsettled,
    /// Harm as large as the margin is excluded.
    NonInferior,
    /// Harm above half the margin is shown.
    Harmful,
    /// The absolute limit is passed for sure.
    OverLimit,
}

/// A metric of a judgement. Harm is how much worse the release is than its holdback, in the metric's unit, whatever the direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricEvidence {
    /// The metric's name in the policy.
    pub metric: String,
    /// `share` or `points`.
    pub unit: String,
    /// Devices with the release; `null` where there are too few to show.
    pub treatment: Option<ArmFigure>,
    /// Devices of the holdback; `null` where there are too few to show.
    pub holdback: Option<ArmFigure>,
    /// Best guess of the harm.
    pub harm: Option<f64>,
    /// Bound below which the harm does not lie, at the error rate of a halt.
    pub lower: Option<f64>,
    /// Bound above which the harm does not lie, at the error rate of an advance.
    pub upper: Option<f64>,
    /// Harm that is too much.
    pub margin: f64,
    /// The absolute limit.
    pub limit: Option<f64>,
    /// Chance that a harmless release shows it at this stage, with the planned devices; `null` where nothing is known of their spread.
    pub power: Option<f64>,
    /// Whether proof is asked for at this stage.
    pub asked: bool,
    /// What it came to.
    pub standing: MetricStanding,
    /// The method behind the bounds.
    pub method: String,
}

/// What a judgement rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceBase {
    /// Last batch of the store that was looked at; `null` where outcomes came from elsewhere.
    pub batch: Option<u64>,
    /// SHA-256 over the digests of the telemetry's files, or of the outcomes.
    pub sha256: String,
    /// First day of the telemetry that counts.
    pub first_day: String,
    /// Last one.
    pub last_day: String,
    /// Devices with the release that reported.
    pub treatment: u64,
    /// Devices of the holdback that reported.
    pub holdback: u64,
    /// Devices that reported both as one and as the other: they count for neither.
    pub both: u64,
    /// Devices that reported before, and not any more.
    pub silent: u64,
}

/// An entry of a rollout's chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// `plimsoll.decision/1`.
    pub schema: String,
    /// Number in the chain, from 1.
    pub sequence: u64,
    /// SHA-256 of the entry before; `null` of the first.
    pub previous_decision: Option<String>,
    /// What it is.
    pub kind: DecisionKind,
    /// The day that it speaks of, `YYYY-MM-DD`.
    pub day: String,
    /// What is rolled out.
    pub rollout: RolledOut,
    /// SHA-256 of the policy.
    pub policy_sha256: String,
    /// The stage that it was taken at.
    pub stage: StageAt,
    /// What follows.
    pub verdict: RolloutVerdict,
    /// State afterwards.
    pub state: RolloutState,
    /// The stage afterwards.
    pub next: StageAt,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// What is missing for the next stage, in words.
    pub missing: Vec<String>,
    /// A person decides whether it goes on (`rollout resolve`).
    pub person: bool,
    /// The metrics of a judgement.
    pub metrics: Vec<MetricEvidence>,
    /// What a judgement rests on.
    pub evidence: Option<EvidenceBase>,
    /// Who acted, where it was a person.
    pub by: Option<String>,
}

impl Decision {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.decision/1";
}
