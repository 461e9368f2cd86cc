//! What a search found out, step by step: enough to repeat it without running a model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EndpointShift, Figure, NodeSensitivity, OutputDamage, PassRecord, Recipe};

/// How far a candidate was taken. Each stage costs more than the one before it, and only who is still in the running gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its recipe was carried out and the model counted.
    Made,
    /// Its outputs were held against the original's on the calibration samples, without labels.
    Compared,
    /// It was evaluated on the validation samples.
    Evaluated,
    /// It was timed.
    Timed,
    /// The nodes that its quantization touches were ranked by the damage that each does.
    Dissected,
    /// It was judged on the test samples: the winner and the runner-up alone.
    Judged,
}

/// What one stage found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Found {
    /// Digest of the model.
    pub model_digest: String,
    /// What the recipe's passes did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<PassRecord>,
    /// The model's own figures, and those that compare it with the original.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
    /// The original's figures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub baseline: Vec<Figure>,
    /// What could not be said, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// Endpoints beside the original's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointShift>,
    /// Distance of the outputs from the original's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<OutputDamage>,
    /// Nodes by the damage that quantizing them does, the most damaging first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeSensitivity>,
}

/// What came of taking a candidate to a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrialEnd {
    /// It got there.
    Found(Box<Found>),
    /// A pass refused, or the model could not be measured: why.
    Refused(String),
    /// The time that was left did not suffice.
    OutOfTime,
}

/// One step of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// How far the candidate was to be taken.
    pub stage: Stage,
    /// The candidate.
    pub recipe: Recipe,
    /// What came of it.
    pub end: TrialEnd,
}

/// A whole search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recording {
    /// `plimsoll.search/1`.
    pub schema: String,
    /// Digest of what was searched: model, data, spec, profiles, seed, executors, version of this program.
    pub of: String,
    /// The steps, in their order.
    pub trials: Vec<Trial>,
}

impl Recording {
    /// The schema of this version.
    pub const SCHEMA: &str = "plimsoll.search/1";

    /// Steps of a search.
    pub fn new(of: impl Into<String>, trials: Vec<Trial>) -> Self {
        Self { schema: Self::SCHEMA.into(), of: of.into(), trials }
    }
}
