//! What a model costs, counted exactly and the same on every machine. Must not know executors.
//!
//! Multiply-accumulates count the linear operators only (convolutions, matrix products, recurrent gates, simple Einsum), as
//! onnx-tool and the MobileNet line of papers do; element-wise operators count 0. Peak activation memory is the largest sum of
//! activations alive at once in stored node order, inputs while they are needed and outputs to the end; in-place reuse is not
//! assumed, so it is an upper bound for an executor that runs in this order.

mod macs;
mod memory;

pub mod roofline;

use std::collections::{HashMap, HashSet};

use plimsoll_onnx::{
    DType, Model, NodeId, attr, captured_names, node, proto::NodeProto, proto::TensorProto, shape::Shapes, subgraphs,
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
    let mut held: HashMap<&str, (u64, u64)> = HashMap::new();
    for tensor in &model.graph().initializer {
        held.insert(&tensor.name, size_of(tensor));
    }
    for n in model.graph().node.iter().filter(|n| node::is(n, "Constant")) {
        if let (Some(tensor), Some(output)) = (attr::tensor(n, "value"), n.output.first()) {
            held.insert(output, size_of(tensor));
        }
    }
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
            own = (own.0 + p, own.1 + b);
            if counted.insert(input) {
                params += p;
                bytes += b;
            }
        }
        let nested = subgraphs(n).flat_map(|g| &g.initializer).map(size_of).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        params += nested.0;
        bytes += nested.1;
        nodes.push(NodeCost {
            id,
            name: node::label(n),
            op: n.op_type.clone(),
            macs: macs::of(n, shapes),
            params: own.0 + nested.0,
            bytes: own.1 + nested.1,
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
