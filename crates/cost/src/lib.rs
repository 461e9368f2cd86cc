//! What a model costs, counted exactly and the same on every machine. Must not know executors.
//!
//! Multiply-accumulates count the linear operators only (convolutions, matrix products, recurrent gates, simple Einsum), as the
//! MobileNet line of papers does; biases and element-wise operators count 0 (onnx-tool adds both). Peak activation memory is the largest sum of
//! activations alive at once in stored node order, inputs while they are needed and outputs to the end; in-place reuse is not
//! assumed, so it is an upper bound for an executor that runs in this order.

mod macs;
mod memory;

pub mod roofline;

use std::collections::{HashMap, HashSet};

use plimsoll_onnx::{
    DType, Model, NodeId, attr, captured_names, node, proto::GraphProto, proto::NodeProto, proto::TensorProto,
    shape::Shapes, subgraphs,
};

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCost {
    /// Its position in the graph.
    pub id: NodeId,
    /// Its name, or operator and output where it has none.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Multiply-accumulates; `None` where they are not known.
    pub macs: Option<u64>,
    /// Parameters: elements of constant inputs.
    pub params: u64,
    /// Bytes of these parameters in the file.
    pub bytes: u64,
    /// Shape of the first output, where it is known.
    pub shape: Option<Vec<usize>>,
}

/// A whole model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Nodes in stored order.
    pub nodes: Vec<NodeCost>,
    /// Multiply-accumulates of the nodes where they are known.
    pub macs: u64,
    /// Parameters, shared ones counted once.
    pub params: u64,
    /// Their bytes in the file.
    pub bytes: u64,
    /// Peak activation memory in bytes; `None` where a shape is not known.
    pub peak_activation_bytes: Option<u64>,
    /// Nodes whose multiply-accumulates are not known.
    pub unknown: u64,
}

/// Counts a model whose shapes were inferred, for concrete inputs.
pub fn analyse(model: &Model, shapes: &Shapes) -> Cost {
    let view = model.view();
    let held: HashMap<&str, (u64, u64)> = constants(model.graph()).collect();
    let mut nodes = Vec::new();
    let mut counted = HashSet::new();
    let (mut params, mut bytes) = (0u64, 0u64);
    for (id, n) in view.nodes() {
        let mut own = (0u64, 0u64);
        let mut seen = HashSet::new();
        // What the bodies of If, Loop and Scan read counts as the node's own.
        let captured = captured_names(n);
        for input in n.input.iter().map(String::as_str).chain(captured).filter(|i| seen.insert(*i)) {
            let Some(&(p, b)) = held.get(input) else { continue };
            own = (own.0.saturating_add(p), own.1.saturating_add(b));
            if counted.insert(input) {
                params = params.saturating_add(p);
                bytes = bytes.saturating_add(b);
            }
        }
        let nested = nested(n);
        params = params.saturating_add(nested.0);
        bytes = bytes.saturating_add(nested.1);
        nodes.push(NodeCost {
            id,
            name: node::label(n),
            op: n.op_type.clone(),
            macs: macs::of(n, shapes),
            params: own.0.saturating_add(nested.0),
            bytes: own.1.saturating_add(nested.1),
            shape: n.output.first().and_then(|o| shapes.concrete(o)),
        });
    }
    Cost {
        macs: nodes.iter().filter_map(|n| n.macs).fold(0, u64::saturating_add),
        unknown: nodes.iter().filter(|n| n.macs.is_none()).count() as u64,
        params,
        bytes,
        peak_activation_bytes: memory::peak(model, shapes),
        nodes,
    }
}

/// Name and size of every constant of a graph, however it is stored. Of a sparse one, what is stored counts.
fn constants(graph: &GraphProto) -> impl Iterator<Item = (&str, (u64, u64))> {
    let dense = graph.initializer.iter().map(|t| (t.name.as_str(), size_of(t)));
    let sparse = graph.sparse_initializer.iter().map(|t| {
        let ((values, bytes), (_, indices)) = (size_of(&t.values), size_of(&t.indices));
        (t.values.name.as_str(), (values, bytes.saturating_add(indices)))
    });
    let nodes = graph.node.iter().filter(|n| node::is(n, "Constant"));
    let nodes = nodes.filter_map(|n| Some((n.output.first()?.as_str(), size_of(attr::tensor(n, "value")?))));
    dense.chain(sparse).chain(nodes)
}

/// Size of the constants of all graphs nested in a node, at any depth.
fn nested(n: &NodeProto) -> (u64, u64) {
    let mut sum = (0u64, 0u64);
    let mut open: Vec<&GraphProto> = subgraphs(n).collect();
    while let Some(graph) = open.pop() {
        for (_, (params, bytes)) in constants(graph) {
            sum = (sum.0.saturating_add(params), sum.1.saturating_add(bytes));
        }
        open.extend(graph.node.iter().flat_map(subgraphs));
    }
    sum
}

/// Elements and bytes at rest.
fn size_of(tensor: &TensorProto) -> (u64, u64) {
    let elements = tensor.dims.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?)).unwrap_or(0);
    let dtype = DType::from_onnx(tensor.data_type);
    let bytes = dtype.map_or(tensor.raw_data.len() as u64, |d| elements.saturating_mul(d.bits() as u64).div_ceil(8));
    (elements, bytes)
}

/// Whether an operator's body is run an unknown number of times or is not known at all.
fn is_opaque(n: &NodeProto) -> bool {
    !node::is_default_domain(&n.domain) || subgraphs(n).next().is_some()
}

#[cfg(test)]
mod tests;
