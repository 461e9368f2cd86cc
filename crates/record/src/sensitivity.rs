//! What quantizing a node costs, and how two quantized models of one original compare.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the outputs of a model are from the original's. Label-free.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutputDamage {
    /// Mean Kullback-Leibler divergence of the class probabilities, in nats; `null` where the first output is no row of class scores.
    pub divergence: Option<f64>,
    /// Share of samples that keep the original's class; `null` where there are no class scores.
    pub agreement: Option<f64>,
    /// Signal over noise of the outputs, in decibels; `null` where the outputs are equal, or no number.
    pub sqnr: Option<f64>,
    /// Samples compared.
    pub samples: u64,
}

/// What it costs to quantize a node alone, or a few nodes that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSensitivity {
    /// The nodes' names, or what stands for them.
    pub nodes: Vec<String>,
    /// Names that `--exclude` takes: the first value that each node computes.
    pub exclude: Vec<String>,
    /// Their operators.
    pub operators: Vec<String>,
    /// Bytes saved; negative where codes and scales cost more.
    pub bytes_saved: i64,
    /// What becomes of the outputs.
    pub damage: OutputDamage,
}

/// Nodes by the damage that quantizing them does, as a release keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sensitivities {
    /// `plimsoll.sensitivity/1`.
    pub schema: String,
    /// The nodes, the worst first; none where the model is not quantized.
    pub nodes: Vec<NodeSensitivity>,
}

impl Sensitivities {
    /// The document of some nodes.
    pub fn new(nodes: Vec<NodeSensitivity>) -> Self {
        Self { schema: "plimsoll.sensitivity/1".into(), nodes }
    }
}

/// One of two quantized models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// The file.
    pub model: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its outputs against the original's.
    pub damage: OutputDamage,
    /// Nodes of the original that it computes, or whose weights it stores, in fewer bits, and the other does not.
    pub alone: Vec<String>,
}

/// Two quantized models of one original on the same samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuantizedComparison {
    /// The model made.
    pub made: Standing,
    /// The one it is compared with.
    pub other: Standing,
    /// Nodes that both quantize.
    pub both: u64,
}
