//! Constant folding: nodes that read constants only are computed once, by the executor.

use plimsoll_onnx::{
    Model, Patch, Tensor, Tensors, node,
    proto::{GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto},
};
use plimsoll_runtime::LoadOptions;

use super::common;
use crate::{Context, Effect, Pass, Refusal};

/// A result may be larger than what it is computed from, up to this many bytes.
const GROWTH: usize = 4096;
/// Nodes that keep weights small on purpose: folding them would undo a quantization.
const KEPT: &[&str] = &["DequantizeLinear", "QuantizeLinear", "Constant"];
/// Operators of which the executor computes some forms wrongly (tract 0.23.9, by ONNX's backend tests): a wrong constant would
/// outlive the executor.
const DOUBTFUL: &[&str] = &["BitShift", "Celu", "SpaceToDepth", "Swish", "GRU", "LSTM", "RNN", "Attention"];

/// Operators that the executor gets wrong where infinities are all there is (its maximum starts from the lowest finite number).
const FINITE_ONLY: &[&str] = &["ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "MaxPool", "GlobalMaxPool", "TopK"];

pub(super) struct FoldConstants;

impl Pass for FoldConstants {
    fn name(&self) -> &'static str {
        "fold-constants"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn after(&self) -> &'static [&'static str] {
        &["constant-nodes"]
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let mut patch = Patch::new();
        for (id, n) in view.nodes() {
            let [output] = n.output.as_slice() else { continue };
            let kept = KEPT.contains(&n.op_type.as_str()) || DOUBTFUL.contains(&n.op_type.as_str());
            if kept || !common::is_pure(n) || view.is_output(output) || n.input.is_empty() {
                continue;
            }
            let given = n.input.iter().filter(|i| !i.is_empty());
            let inputs: Option<Tensors> = given.map(|i| Some((i.clone(), common::constant(&view, i)?))).collect();
            let Some(inputs) = inputs.filter(|i| !i.is_empty()) else { continue };
            if FINITE_ONLY.contains(&n.op_type.as_str()) && !inputs.values().all(Tensor::is_finite) {
                continue;
            }
            let held: usize = inputs.values().map(|t| t.bytes().len()).sum();
            // A weight stored in half precision and cast at load is small on purpose, too.
            let widens = n.op_type == "Cast" && held > GROWTH / 16;
            let Some(result) = compute(model, n, &inputs, context) else { continue };
            let size = result.bytes().len();
            if size > held && (size > held + GROWTH || widens) {
                continue;
            }
            patch.because(format!("{} reads constants only", node::label(n)));
            common::put_constant(model, &mut patch, id, n, &result);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// Runs one node as a model of its own; `None` where the executor cannot.
fn compute(model: &Model, n: &NodeProto, inputs: &Tensors, context: &Context<'_>) -> Option<Tensor> {
    let output = n.output.first()?;
    // Inputs are initializers: operators that ask for constants (Reshape, Slice) see them as such.
    let graph = GraphProto {
        name: "fold".into(),
        node: vec![n.clone()],
        initializer: inputs.iter().map(|(name, t)| t.to_proto(name)).collect(),
        output: vec![ValueInfoProto { name: output.clone(), ..Default::default() }],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: model.opset("")?, ..Default::default() };
    let proto =
        ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph).into(), ..Default::default() };
    let mut session = context.executor.load(&proto.write_to_bytes().ok()?, &LoadOptions::default()).ok()?;
    session.run(&Tensors::new()).ok()?.remove(output)
}
