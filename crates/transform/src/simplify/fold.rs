//! Constant folding: nodes that read constants only are computed once, by the executor.

use std::collections::{BTreeSet, HashMap};

use plimsoll_onnx::{
    Model, NodeId, Patch, Tensor, Tensors, View, node,
    proto::{GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto},
    shape::{self, Bindings},
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
const DOUBTFUL: &[&str] = &["BitShift", "Celu", "SpaceToDepth", "Swish", "GRU", "LSTM", "RNN"];
/// Operators that the executor gets wrong where infinities are all there is (its maximum starts from the lowest finite number).
const FINITE_ONLY: &[&str] = &["ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "MaxPool", "GlobalMaxPool", "TopK"];
/// Operators whose result may be as large as they like, whatever they read: computed only where its size is known to be small.
const GROWING: &[&str] =
    &["ConstantOfShape", "Expand", "Tile", "Range", "OneHot", "Pad", "Resize", "Upsample", "EyeLike", "CenterCropPad"];

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
        let shapes = shape::infer(model, &Bindings::none());
        let bytes_of = |value: &str| -> Option<usize> {
            let elements = shapes.concrete(value)?.into_iter().try_fold(1usize, usize::checked_mul)?;
            shapes.dtype(value)?.bytes_of(elements)
        };
        let mut ready: Vec<Ready<'_>> = Vec::new();
        for (id, n) in view.nodes() {
            let Some(output) = n.output.first() else { continue };
            let Some(found) = Ready::of(&view, id, n) else { continue };
            // Half a weight that is stored small and cast at load is small on purpose, too.
            let widens = n.op_type == "Cast" && found.held > GROWTH / 16;
            let most = if widens { found.held } else { found.held.saturating_add(GROWTH) };
            let expected = bytes_of(output);
            let fits = expected.map_or(!GROWING.contains(&n.op_type.as_str()), |bytes| bytes <= most);
            if fits {
                ready.push(Ready { most, ..found });
            }
        }
        let results = compute_all(model, &ready, context);
        let mut patch = Patch::new();
        for node in &ready {
            let Some(result) = node.node.output.first().and_then(|o| results.get(o)) else { continue };
            let output = &node.node.output[0];
            let right = shapes.dtype(output).is_none_or(|d| d == result.dtype());
            if right && result.bytes().len() <= node.most {
                patch.because(format!("{} reads constants only", node::label(node.node)));
                common::put_constant(model, &mut patch, node.id, node.node, result);
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// A node that could be computed now.
struct Ready<'m> {
    id: NodeId,
    node: &'m NodeProto,
    inputs: Tensors,
    /// Bytes of what it reads.
    held: usize,
    /// Bytes that its result may have.
    most: usize,
}

impl<'m> Ready<'m> {
    fn of(view: &View<'m>, id: NodeId, n: &'m NodeProto) -> Option<Self> {
        let [output] = n.output.as_slice() else { return None };
        let op = n.op_type.as_str();
        if KEPT.contains(&op) || DOUBTFUL.contains(&op) || !common::is_pure(n) || view.is_output(output) {
            return None;
        }
        let given = n.input.iter().filter(|i| !i.is_empty());
        // Looked up before anything is decoded: most nodes read something that is computed.
        if given.clone().next().is_none() || given.clone().any(|i| view.constant(i).is_none()) {
            return None;
        }
        let inputs: Tensors = given.map(|i| Some((i.clone(), common::constant(view, i)?))).collect::<Option<_>>()?;
        if FINITE_ONLY.contains(&op) && !inputs.values().all(Tensor::is_finite) {
            return None;
        }
        let held = inputs.values().map(|t| t.bytes().len()).sum();
        Some(Self { id, node: n, inputs, held, most: held })
    }
}

/// The results by the names of the values. All nodes are run as one model; where that fails, each as its own.
fn compute_all(model: &Model, ready: &[Ready<'_>], context: &Context<'_>) -> HashMap<String, Tensor> {
    let all: Vec<&Ready<'_>> = ready.iter().collect();
    match compute(model, &all, context) {
        Some(results) => results.into_iter().collect(),
        None if all.len() > 1 => all.iter().filter_map(|one| compute(model, &[one], context)).flatten().collect(),
        None => HashMap::new(),
    }
}

fn compute(model: &Model, nodes: &[&Ready<'_>], context: &Context<'_>) -> Option<Tensors> {
    let inputs = nodes.iter().flat_map(|n| n.inputs.iter().map(|(name, t)| (name.as_str(), t)));
    let outputs = nodes.iter().filter_map(|n| n.node.output.first().map(String::as_str));
    run(model, nodes.iter().map(|n| n.node.clone()).collect(), inputs, outputs, context)
}

/// Runs nodes on constants.
pub(super) fn run<'v>(
    model: &Model,
    nodes: Vec<NodeProto>,
    inputs: impl Iterator<Item = (&'v str, &'v Tensor)>,
    outputs: impl Iterator<Item = &'v str>,
    context: &Context<'_>,
) -> Option<Tensors> {
    if nodes.is_empty() {
        return None;
    }
    let mut held = BTreeSet::new();
    // Inputs are initializers: operators that ask for constants (Reshape, Slice) see them as such.
    let inputs = inputs.filter(|(name, _)| held.insert(*name));
    let graph = GraphProto {
        name: "fold".into(),
        initializer: inputs.map(|(name, t)| t.to_proto(name)).collect(),
        node: nodes,
        output: outputs.map(|o| ValueInfoProto { name: o.into(), ..Default::default() }).collect(),
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: model.opset("")?, ..Default::default() };
    let proto =
        ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph).into(), ..Default::default() };
    let mut session = context.executor.load(&proto.write_to_bytes().ok()?, &LoadOptions::default()).ok()?;
    session.run(&Tensors::new()).ok()
}
