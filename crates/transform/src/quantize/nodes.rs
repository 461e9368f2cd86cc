//! Which nodes of a model compute in, or read weights of, fewer bits; whoever quantized it. Looks at graphs only.

use std::collections::{BTreeMap, HashSet};

use plimsoll_onnx::{DType, Model, View, node, proto::NodeProto};

/// Operators that take codes as they are: static and dynamic integer kernels, and kernels with packed weights.
const STATIC: [&str; 8] = [
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "QLinearAdd",
    "QLinearMul",
    "QLinearAveragePool",
    "QLinearGlobalAveragePool",
    "QLinearConcat",
];
const DYNAMIC: [&str; 5] =
    ["ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"];
const PACKED: [&str; 2] = ["MatMulNBits", "GatherBlockQuantized"];
/// Arithmetic without weights that executors have integer kernels for.
const ARITHMETIC: [&str; 4] = ["Add", "Mul", "AveragePool", "GlobalAveragePool"];
/// Between an integer kernel and the value that the float node computed: rescaling, a bias, a cast.
const STEPS: usize = 6;

/// One such node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizedNode {
    /// Its name; often empty, and other tools append to it.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// The first value that it computes.
    pub output: String,
    /// What is in fewer bits: `int8` (weights and activations), `int8 weights`, `int8 dynamic`, `int8 activations`, and the like.
    pub form: String,
}

/// The nodes of the main graph that compute in fewer bits or read weights stored so, in the order of the graph.
pub fn quantized_nodes(model: &Model) -> Vec<QuantizedNode> {
    let view = model.view();
    let found = view.nodes().filter_map(|(_, n)| {
        let form = form(&view, n)?;
        let output = n.output.first().cloned().unwrap_or_default();
        Some(QuantizedNode { name: n.name.clone(), op: n.op_type.clone(), output, form })
    });
    found.collect()
}

/// The first values of nodes of `original` that `quantized` computes in fewer bits, as far as names tell. A node is found by its
/// name, by the value that it computes, or by one that rescaling of its result leads to. `names`: old names of values by those
/// that they have in `quantized`, where they were shortened.
pub fn quantized_of(original: &Model, quantized: &Model, names: &BTreeMap<String, String>) -> Vec<String> {
    let view = quantized.view();
    let known: HashSet<&str> =
        original.graph().node.iter().filter_map(|n| n.output.first()).map(String::as_str).collect();
    let named = |name: &str| {
        let name = name.strip_suffix("_quant").unwrap_or(name);
        let mut nodes = original.graph().node.iter().filter(|n| !name.is_empty() && n.name == name);
        nodes.next().and_then(|n| n.output.first()).map(String::as_str)
    };
    let mut found: Vec<String> = Vec::new();
    for n in quantized_nodes(quantized) {
        let mut at = n.output.clone();
        let mut steps = 0;
        let value = loop {
            if let Some(v) = known.get(names.get(&at).map_or(at.as_str(), String::as_str)) {
                break Some(*v);
            }
            match view.sole_user(&at).and_then(|(_, next, _)| next.output.first()) {
                Some(next) if steps < STEPS => at.clone_from(next),
                _ => break None,
            }
            steps += 1;
        };
        if let Some(value) = named(&n.name).or(value)
            && !found.iter().any(|f| f == value)
        {
            found.push(value.to_owned());
        }
    }
    found
}

fn form(view: &View<'_>, n: &NodeProto) -> Option<String> {
    let op = n.op_type.as_str();
    if STATIC.contains(&op) {
        return Some("int8".into());
    }
    if DYNAMIC.contains(&op) {
        return Some("int8 dynamic".into());
    }
    if PACKED.contains(&op) {
        return Some("int4 weights".into());
    }
    if !node::is_default_domain(&n.domain) || ["DequantizeLinear", "QuantizeLinear", "Cast"].contains(&op) {
        return None;
    }
    let rows = node::input(n, 0).filter(|_| op == "Gather").and_then(|v| view.constant(v));
    if let Some(DType::I8 | DType::U8) = rows.and_then(|t| DType::from_onnx(t.data_type)) {
        return is_dequantized(view, n).then(|| "int8 weights".into());
    }
    let weight = n.input.iter().find_map(|v| stored(view, v));
    let read = |v: &String| view.producer_of(v, "DequantizeLinear").is_some_and(|(_, d)| !is_constant(view, d));
    match weight {
        Some(bits) if n.input.iter().any(read) => Some(bits.into()),
        Some(bits) => Some(format!("{bits} weights")),
        None if ARITHMETIC.contains(&op) && !n.input.is_empty() && n.input.iter().all(read) => {
            Some("int8 activations".into())
        }
        None => None,
    }
}

/// Whether what a node looks up is codes that stand for other numbers.
fn is_dequantized(view: &View<'_>, n: &NodeProto) -> bool {
    let mut users = n.output.first().into_iter().flat_map(|o| view.users(o));
    users.any(|(_, u)| node::is(u, "DequantizeLinear") || node::is(u, "Cast"))
}

/// The bits of a weight that is stored in codes, or in half precision for a reader in single.
fn stored(view: &View<'_>, value: &str) -> Option<&'static str> {
    let (_, n) = view.producer(value)?;
    let constant = node::input(n, 0).and_then(|v| view.constant(v))?;
    match (n.op_type.as_str(), DType::from_onnx(constant.data_type)?) {
        ("DequantizeLinear", DType::I8 | DType::U8) => Some("int8"),
        ("DequantizeLinear", DType::I4 | DType::U4) => Some("int4"),
        ("Cast", DType::F16 | DType::BF16) => Some("f16"),
        _ => None,
    }
}

fn is_constant(view: &View<'_>, n: &NodeProto) -> bool {
    node::input(n, 0).is_some_and(|v| view.constant(v).is_some())
}
