//! Every fact that a machine writes: figures, verdicts, reports, recipes, evidence, telemetry; versioned JSON and its schemas.
//!
//! This crate must not know how a figure was made. Each document carries `"schema": "plimsoll.<kind>/1"`; the JSON Schemas lie
//! in `schemas/` and a test holds them to the types.

mod adaptation;
mod audit;
mod changes;
mod decision;
mod device;
mod distributions;
mod endpoint;
mod evidence;
mod figure;
mod forecast;
mod halt;
mod history;
pub mod html;
mod inspect;
mod leaderboard;
pub mod names;
mod pointer;
mod recipe;
mod release;
mod report;
mod rollout;
mod search;
mod sensitivity;
mod status;
mod telemetry;
mod transformation;
mod verdict;
mod verification;

pub use adaptation::{Adaptation, AdapterProof, AdapterStep, BesideIncumbent, ContractPoint};
pub use audit::{AuditAction, AuditEntry, AuditHead};
pub use changes::{Changes, Check, Fault, Moved, NodeMoved};
pub use decision::{
    ArmFigure, Decision, DecisionKind, EvidenceBase, MetricEvidence, MetricStanding, RolledOut, RolloutState,
    RolloutVerdict, StageAt,
};
pub use device::{DeviceAction, DeviceStatus};
pub use distributions::Distributions;
pub use endpoint::{EndpointShift, GroupShift, NeededGroups};
pub use evidence::{EvidenceSource, TakenOver};
pub use figure::{Figure, FigureError, Figures, FiguresError, Machine};
pub use forecast::{Forecast, Until};
pub use halt::Halt;
pub use history::{Accepted, AcceptedBy, Trend, TrendPoint};
pub use inspect::{AbsentWeight, BodyCost, Inspection, MacsByDtype, NodeCost, StoredType, Totals, Value};
pub use leaderboard::{Leaderboard, Place, Rank};
pub use pointer::{ChannelPointer, PointedRelease, PointerState};
pub use recipe::{Choice, FinalJudgement, Miss, PassRecord, RankedCandidate, Ranking, Recipe, Step};
pub use release::{
    ChangeTrace, ManifestFile, PAYLOAD, PUBLIC_KEY, PushedRelease, RECORD, ReleaseChange, ReleaseManifest,
    ReleaseRecord, Released, ReleasedModel, SIGNATURE,
};
pub use report::{BudgetSource, Load, Loosened, Report, Row, Side, Waived};
pub use rollout::{Intake, Observed, ProblemRecord, Replay, Replayed, RolloutStatus, Simulation};
pub use search::{Found, Recording, Stage, Trial, TrialEnd};
pub use sensitivity::{NodeSensitivity, OutputDamage, QuantizedComparison, Sensitivities, Standing};
pub use status::{ChannelStatus, KeyStatus, ReleaseStatus, RoleStatus, Status};
pub use telemetry::{DeviceDay, Review, TelemetryRecord};
pub use transformation::{Diagnosis, Finding, Size, Transformation};
pub use verdict::Verdict;
pub use verification::{Verification, VerifyStep};

/// Every kind of document with its JSON Schema, by kind name.
pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
    vec![
        ("accepted", schemars::schema_for!(Accepted)),
        ("adaptation", schemars::schema_for!(Adaptation)),
        ("audit", schemars::schema_for!(AuditEntry)),
        ("audit-head", schemars::schema_for!(AuditHead)),
        ("channel", schemars::schema_for!(ChannelPointer)),
        ("check", schemars::schema_for!(Check)),
        ("decision", schemars::schema_for!(Decision)),
        ("device", schemars::schema_for!(DeviceStatus)),
        ("doctor", schemars::schema_for!(Diagnosis)),
        ("figures", schemars::schema_for!(Figures)),
        ("halt", schemars::schema_for!(Halt)),
        ("inspect", schemars::schema_for!(Inspection)),
        ("intake", schemars::schema_for!(Intake)),
        ("leaderboard", schemars::schema_for!(Leaderboard)),
        ("manifest", schemars::schema_for!(ReleaseManifest)),
        ("problem", schemars::schema_for!(ProblemRecord)),
        ("pushed", schemars::schema_for!(PushedRelease)),
        ("ranking", schemars::schema_for!(Ranking)),
        ("recipe", schemars::schema_for!(Recipe)),
        ("reference", schemars::schema_for!(Distributions)),
        ("release", schemars::schema_for!(ReleaseRecord)),
        ("released", schemars::schema_for!(Released)),
        ("replay", schemars::schema_for!(Replay)),
        ("report", schemars::schema_for!(Report)),
        ("rollout", schemars::schema_for!(RolloutStatus)),
        ("search", schemars::schema_for!(Recording)),
        ("sensitivity", schemars::schema_for!(Sensitivities)),
        ("simulation", schemars::schema_for!(Simulation)),
        ("status", schemars::schema_for!(Status)),
        ("telemetry", schemars::schema_for!(TelemetryRecord)),
        ("transformation", schemars::schema_for!(Transformation)),
        ("verification", schemars::schema_for!(Verification)),
    ]
}
