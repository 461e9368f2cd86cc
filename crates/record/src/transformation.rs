//! What `simplify`, `quantize` and `prune` print, and what `doctor` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{NodeSensitivity, PassRecord, QuantizedComparison};

/// A model before or after its passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Size {
    /// Canonical digest.
    pub model_digest: String,
    /// Bytes of the encoded model.
    pub bytes: u64,
    /// Nodes of the main graph.
    pub nodes: u64,
    /// Multiply-accumulates at batch 1, where they are known.
    pub macs: u64,
    /// Parameters.
    pub params: u64,
}

/// What passes made of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transformation {
    /// `plimsoll.transformation/1`.
    pub schema: String,
    /// The model read.
    pub model: String,
    /// The model written.
    pub output: String,
    /// Before.
    pub before: Size,
    /// After.
    pub after: Size,
    /// Every pass, in order.
    pub passes: Vec<PassRecord>,
    /// Whether exact passes were checked by running the model before and after, on what; or why not.
    pub checked: String,
    /// What each node costs when it is quantized, the most damaging first; where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Vec<NodeSensitivity>>,
    /// The result beside another quantized file of the same model; where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<QuantizedComparison>,
}

/// One thing that a machine can or cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// Whether it is as it should be.
    pub good: bool,
    /// What was found.
    pub found: String,
    /// What to do where it is not; empty otherwise.
    pub remedy: String,
}

/// What a machine can measure and sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// `plimsoll.doctor/1`.
    pub schema: String,
    /// The findings.
    pub findings: Vec<Finding>,
}
