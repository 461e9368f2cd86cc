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

/// Multiply-accumulates by the numbers that are multiplied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MacsByDtype {
    /// Both factors are float32.
    pub f32: u64,
    /// Both factors are float16 or bfloat16.
    pub f16: u64,
    /// Both factors are integers of at most 8 bits.
    pub i8: u64,
    /// Float64 and wider integers.
    pub other: u64,
}

/// A graph inside a node: a branch, the body of a loop, a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BodyCost {
    /// Its name, or its position where it has none.
    pub name: String,
    /// How often it runs in one run of the node, at most; `null` where that is not known, 0 for a branch that is never taken.
    pub runs: Option<u64>,
    /// Its nodes, each as it costs once.
    pub nodes: Vec<NodeCost>,
}

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeCost {
    /// Its name, or operator and output where it has none.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Multiply-accumulates, bodies included; `null` where they are not known.
    pub macs: Option<u64>,
    /// The same by what is multiplied.
    pub macs_by_dtype: MacsByDtype,
    /// What the count of a node with bodies stands for: `always`, `dearest-branch`, `at-most` (as many iterations as are allowed), or
    /// `one-iteration` of a number that is not known.
    pub counted: String,
    /// Parameters (elements of constant inputs).
    pub params: u64,
    /// Bytes of these parameters in the file.
    pub bytes: u64,
    /// Shape of the first output; `null` where it is not known.
    pub shape: Option<Vec<u64>>,
    /// Bytes that the node reads and writes, each operand once; `null` where a shape is not known.
    pub traffic_bytes: Option<u64>,
    /// Multiply-accumulates a byte of traffic; `null` where that is not known, or nothing moves.
    pub intensity: Option<f64>,
    /// The graphs that the node runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bodies: Vec<BodyCost>,
}

/// Parameters of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredType {
    /// Element type, such as `float32`; `other` for strings and types that are not known.
    pub dtype: String,
    /// Parameters.
    pub params: u64,
    /// Bytes at rest.
    pub bytes: u64,
}

/// A weight that the file declares and does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AbsentWeight {
    /// Its name.
    pub name: String,
    /// Where it should be.
    pub reason: String,
}

/// Sums over the nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Multiply-accumulates of the nodes where they are known.
    pub macs: u64,
    /// The same by what is multiplied.
    pub macs_by_dtype: MacsByDtype,
    /// Parameters, shared ones counted once.
    pub params: u64,
    /// Bytes of the parameters, shared ones counted once.
    pub bytes: u64,
    /// Parameters and bytes by type.
    pub stored: Vec<StoredType>,
    /// Bytes of the parameters once they are loaded, those that are only stored in few bits as floats; `null` where a shape is not
    /// known.
    pub loaded_bytes: Option<u64>,
    /// Largest sum of activations alive at once, nodes run as outputs need them, each result in an array of its own; `null` where a shape is
    /// not known.
    pub peak_activation_bytes: Option<u64>,
    /// The same where element-wise nodes write over inputs that are not needed any more, and reshapes are views.
    pub peak_in_place_bytes: Option<u64>,
    /// Bytes that nodes read and write; `null` where a shape is not known.
    pub traffic_bytes: Option<u64>,
    /// Multiply-accumulates a byte of traffic; `null` where something is not known, or nothing moves.
    pub intensity: Option<f64>,
    /// Nodes, at any depth, whose multiply-accumulates are not known or stand for one iteration of an unknown number.
    pub unknown_nodes: u64,
}

/// A whole model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// `plimsoll.inspect/1`.
    pub schema: String,
    /// Path as given.
    pub model: String,
    /// Canonical digest.
    pub model_digest: String,
    /// Bytes of the file, absent weights counted in.
    pub file_bytes: u64,
    /// The same after compression by zstd at level 3; `null` where weights are absent.
    pub zstd_bytes: Option<u64>,
    /// Weights that are absent. What depends on their values is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<AbsentWeight>,
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
