//! Models without their weights: what is declared, and how large it would be.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::{GraphProto, Message, ModelProto, TensorProto};

use crate::{DType, DimSpec, ValueSpec, node, tensor};

/// A weight that a model declares and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Its name.
    pub name: String,
    /// Where it should be.
    pub reason: String,
}

/// The inputs that operators take weights from.
fn weight_slots(op: &str) -> &'static [usize] {
    match op {
        "Conv"
        | "ConvTranspose"
        | "ConvInteger"
        | "Gemm"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "LayerNormalization" => &[1, 2],
        "MatMul" | "MatMulInteger" | "PRelu" | "RMSNormalization" => &[1],
        "BatchNormalization" => &[1, 2, 3, 4],
        "LSTM" | "GRU" | "RNN" => &[1, 2, 3],
        // An embedding.
        "Gather" => &[0],
        // A bias that stands apart.
        "Add" => &[0, 1],
        _ => &[],
    }
}

/// Makes initializers without data of the inputs that are weights, and names them. An input is one where its shape has no open
/// dimension and only weight slots of layers read it; nothing is taken for one in a model whose layers have weights of their own, nor
/// from a model that would be left without inputs. What is only added counts as a bias where there are other weights.
pub(crate) fn weights_from_inputs(proto: &mut ModelProto) -> Vec<Absent> {
    let Some(graph) = proto.graph.as_mut() else { return vec![] };
    let held: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let constants = graph.node.iter().filter(|n| node::is(n, "Constant")).flat_map(|n| &n.output);
    let constants: HashSet<&str> = constants.map(String::as_str).chain(held.iter().copied()).collect();
    // How each value is read: by slots of weights alone, and by one that is no mere addition.
    let mut uses: HashMap<&str, (bool, bool)> = HashMap::new();
    let mut own_weights = false;
    for n in &graph.node {
        let slots = if node::is_default_domain(&n.domain) { weight_slots(&n.op_type) } else { &[] };
        // One row of a state is no embedding: what is looked up in a table is computed.
        let fixed = n.op_type == "Gather" && n.input.get(1).is_some_and(|i| constants.contains(i.as_str()));
        let slots = if fixed { &[] } else { slots };
        for (slot, input) in n.input.iter().enumerate().filter(|(_, i)| !i.is_empty()) {
            let (only, layer) = uses.entry(input).or_insert((true, false));
            *only &= slots.contains(&slot);
            *layer |= slots.contains(&slot) && n.op_type != "Add";
            own_weights |= slots.contains(&slot) && n.op_type != "Add" && constants.contains(input.as_str());
        }
        for captured in crate::captured_names(n) {
            uses.entry(captured).or_insert((false, false)).0 = false;
        }
    }
    for output in &graph.output {
        uses.entry(&output.name).or_insert((false, false)).0 = false;
    }
    let fed: Vec<ValueSpec> = graph.input.iter().map(ValueSpec::from_proto).collect();
    let is_weight = |spec: &ValueSpec| {
        let fixed = spec.dims.as_ref().is_some_and(|d| d.iter().all(|d| matches!(d, DimSpec::Fixed(_))));
        fixed && !held.contains(spec.name.as_str()) && uses.get(spec.name.as_str()).is_some_and(|u| u.0)
    };
    let open = fed.iter().filter(|spec| !held.contains(spec.name.as_str())).count();
    let weights: Vec<&ValueSpec> = fed.iter().filter(|spec| is_weight(spec)).collect();
    let layers = weights.iter().any(|spec| uses[spec.name.as_str()].1);
    if own_weights || !layers || weights.len() >= open {
        return vec![];
    }
    let tensors: Vec<TensorProto> = weights.into_iter().map(declared).collect();
    let names: HashSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
    graph.input.retain(|i| !names.contains(i.name.as_str()));
    let reason = "it is an input of the graph";
    let absent = tensors.iter().map(|t| Absent { name: t.name.clone(), reason: reason.into() }).collect();
    graph.initializer.extend(tensors);
    absent
}

fn declared(spec: &ValueSpec) -> TensorProto {
    let dim = |d: &DimSpec| if let DimSpec::Fixed(n) = d { i64::try_from(*n).unwrap_or(i64::MAX) } else { 0 };
    TensorProto {
        name: spec.name.clone(),
        data_type: spec.dtype.map_or(0, DType::to_onnx),
        dims: spec.dims.iter().flatten().map(dim).collect(),
        ..Default::default()
    }
}

/// Bytes by which a message grows when the data of its absent initializers are put in.
pub(crate) fn growth(proto: &ModelProto) -> u64 {
    let graph = proto.graph.get_or_default();
    let longer = |before: u64, more: u64| more.saturating_add(varint(before.saturating_add(more)) - varint(before));
    let of_tensor = |t: &TensorProto| match missing(t) {
        0 => 0,
        bytes => longer(t.compute_size(), bytes.saturating_add(1 + varint(bytes))),
    };
    let tensors = graph.initializer.iter().map(of_tensor).fold(0, u64::saturating_add);
    longer(graph.compute_size(), tensors).saturating_add(inner(graph))
}

/// The same for constants in nodes and in the graphs inside them, without the few bytes by which lengths around them grow.
fn inner(graph: &GraphProto) -> u64 {
    let mut sum = 0u64;
    let mut open = vec![graph];
    while let Some(graph) = open.pop() {
        for n in &graph.node {
            let own = n.attribute.iter().filter_map(|a| a.t.as_ref());
            let bodies: Vec<&GraphProto> = crate::subgraphs(n).collect();
            let all = own.chain(bodies.iter().flat_map(|b| &b.initializer));
            sum = all.map(missing).fold(sum, u64::saturating_add);
            open.extend(bodies);
        }
    }
    sum
}

/// Bytes of data that a tensor lacks.
fn missing(t: &TensorProto) -> u64 {
    let Some(dtype) = DType::from_onnx(t.data_type) else { return 0 };
    let expected = tensor::shape_of(t).ok().and_then(|s| dtype.bytes_of(tensor::elements_of(&s)?));
    expected.filter(|_| tensor::data_len(t, dtype) == 0).map_or(0, |b| b as u64)
}

/// Bytes of a number as protobuf writes it.
fn varint(n: u64) -> u64 {
    u64::from((64 - n.leading_zeros()).max(1).div_ceil(7))
}
