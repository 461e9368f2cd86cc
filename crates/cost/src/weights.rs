//! Parameters: how many, their bytes at rest by type, and their bytes in memory once they are loaded.

use std::collections::{BTreeMap, HashSet};

use plimsoll_onnx::{
    DType, NodeId, attr, captured_names, node,
    proto::{GraphProto, NodeProto, TensorProto},
    shape::Runs,
    subgraphs,
};

use crate::scope::Scope;

/// Parameters of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Name of the type, such as `float32`; `other` for strings and types that are not known.
    pub dtype: &'static str,
    /// Elements.
    pub params: u64,
    /// Bytes at rest.
    pub bytes: u64,
}

/// Elements and bytes at rest by type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held(BTreeMap<Option<DType>, (u64, u64)>);

impl Held {
    pub(crate) fn add(&mut self, more: &Self) {
        for (dtype, (params, bytes)) in &more.0 {
            let sum = self.0.entry(*dtype).or_default();
            *sum = (sum.0.saturating_add(*params), sum.1.saturating_add(*bytes));
        }
    }

    pub(crate) fn params(&self) -> u64 {
        self.0.values().fold(0, |n, (params, _)| n.saturating_add(*params))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.values().fold(0, |n, (_, bytes)| n.saturating_add(*bytes))
    }

    pub(crate) fn stored(&self) -> Vec<Stored> {
        let one = |(dtype, (params, bytes)): (&Option<DType>, &(u64, u64))| Stored {
            dtype: dtype.map_or("other", DType::name),
            params: *params,
            bytes: *bytes,
        };
        self.0.iter().map(one).collect()
    }

    fn of_tensor(tensor: &TensorProto) -> Self {
        let mut dims = tensor.dims.iter();
        let elements = dims.try_fold(1u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?)).unwrap_or(0);
        let dtype = DType::from_onnx(tensor.data_type);
        let bytes =
            dtype.map_or(tensor.raw_data.len() as u64, |d| elements.saturating_mul(d.bits() as u64).div_ceil(8));
        Self([(dtype, (elements, bytes))].into())
    }
}

/// Name and size of every constant of a graph, however it is stored. Of a sparse one, what is stored counts.
pub(crate) fn constants(graph: &GraphProto) -> impl Iterator<Item = (&str, Held)> {
    let dense = graph.initializer.iter().map(|t| (t.name.as_str(), Held::of_tensor(t)));
    let sparse = graph.sparse_initializer.iter().map(|t| {
        let mut held = Held::of_tensor(&t.values);
        // Indices take bytes, and are no parameters.
        let indices = Held::of_tensor(&t.indices);
        held.add(&Held(indices.0.into_iter().map(|(dtype, (_, bytes))| (dtype, (0, bytes))).collect()));
        (t.values.name.as_str(), held)
    });
    let nodes = graph.node.iter().filter(|n| node::is(n, "Constant"));
    let nodes = nodes.filter_map(|n| Some((n.output.first()?.as_str(), Held::of_tensor(attr::tensor(n, "value")?))));
    dense.chain(sparse).chain(nodes)
}

/// The constants of all graphs nested in nodes, at any depth.
pub(crate) fn nested(n: &NodeProto) -> Held {
    let mut sum = Held::default();
    let mut open: Vec<&GraphProto> = subgraphs(n).collect();
    while let Some(graph) = open.pop() {
        constants(graph).for_each(|(_, held)| sum.add(&held));
        open.extend(graph.node.iter().flat_map(subgraphs));
    }
    sum
}

/// Bytes of what stays in memory from run to run: every constant that some node reads in a run, in the type in which it is read there,
/// each once. What is computed from constants alone is held in their place: weights that are only stored in 8 or 16 bits are held as
/// floats, those that are multiplied in 8 bits as they are. `None` where the shape of one is not known.
pub(crate) fn loaded(scope: &Scope<'_>) -> Option<u64> {
    let mut held = HashSet::new();
    let mut sum = 0u64;
    for (index, n) in scope.graph.node.iter().enumerate() {
        if scope.is_done(n) {
            continue;
        }
        let captured = captured_names(n);
        for input in n.input.iter().map(String::as_str).chain(captured).filter(|i| scope.is_resident(i)) {
            let read = scope.read_as(input);
            if held.insert(read) {
                sum = sum.saturating_add(scope.bytes_of(read)?);
            }
        }
        let Some(inner) = scope.shapes.inner(NodeId(index)) else { continue };
        for (position, body) in inner.bodies.iter().enumerate() {
            // A branch that is never taken is not held.
            if !matches!(inner.runs, Runs::OneOf(Some(taken)) if taken != position) {
                sum = sum.saturating_add(loaded(&scope.of_body(n, position, body)?)?);
            }
        }
    }
    for output in scope.graph.output.iter().map(|o| o.name.as_str()).filter(|o| scope.is_resident(o)) {
        if held.insert(output) {
            sum = sum.saturating_add(scope.bytes_of(output)?);
        }
    }
    Some(sum)
}
