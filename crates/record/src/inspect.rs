//! What `inspect` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// Element type, such as `float32`; empty where it is no dense numeric tensor.
    pub dtype: String,
    /// Dimensions as declared: numbers, names, or `?`.
    pub shape: Vec<String>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeCost {
    /// Its name, or operator and output where it has none.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Multiply-accumulates; `null` where they are not known.
    pub macs: Option<u64>,
    /// Parameters (elements of constant inputs).
    pub params: u64,
    /// Bytes of these parameters in the file.
    pub bytes: u64,
    /// Shape of the first output; `null` where it is not known.
    pub shape: Option<Vec<u64>>,
}

/// Sums over the nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Multiply-accumulates of the nodes where they are known.
    pub macs: u64,
    /// Parameters, shared ones counted once.
    pub params: u64,
    /// Bytes of the parameters, shared ones counted once.
    pub bytes: u64,
    /// Largest sum of activations alive at once, in stored node order; `null` where a shape is not known.
    pub peak_activation_bytes: Option<u64>,
    /// Nodes whose multiply-accumulates are not known.
    pub unknown_nodes: u64,
}

/// A whole model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// `plimsoll.inspect/1`.
    pub schema: String,
    /// Path as given.
    pub model: String,
    /// Canonical digest.
    pub model_digest: String,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// IR version.
    pub ir_version: i64,
    /// Imported operator sets, `domain:version`; the default domain is `ai.onnx`.
    pub opset: Vec<String>,
    /// Producer, as the file says.
    pub producer: String,
    /// Batch size that open dimensions stand for.
    pub batch: u64,
    /// Inputs that a caller must feed.
    pub inputs: Vec<Value>,
    /// Outputs.
    pub outputs: Vec<Value>,
    /// Nodes in stored order.
    pub nodes: Vec<NodeCost>,
    /// Sums.
    pub totals: Totals,
}
