//! What several passes ask of a graph.

use plimsoll_onnx::{
    Model, NodeId, Patch, Tensor, View, attr, node,
    proto::NodeProto,
    shape::{Dim, Shapes},
    subgraphs,
};

/// Operators that give another result each time.
const RANDOM: &[&str] =
    &["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"];

/// Whether a node may give another result each time.
pub(crate) fn is_random(view: &View<'_>, n: &NodeProto) -> bool {
    node::is_default_domain(&n.domain)
        && (RANDOM.contains(&n.op_type.as_str()) || (n.op_type == "Dropout" && trains(view, n)))
}

/// Whether a Dropout is, or may be, told that the model is being trained.
pub(crate) fn trains(view: &View<'_>, dropout: &NodeProto) -> bool {
    let flag = node::input(dropout, 2).map(|flag| constant(view, flag).and_then(|t| t.to_i64().ok()));
    flag.is_some_and(|f| f.as_deref() != Some(&[0]))
}

/// Whether a node of the default domain always gives the same result for the same inputs and holds no sub-graph.
pub(crate) fn is_pure(n: &NodeProto) -> bool {
    node::is_default_domain(&n.domain)
        && !RANDOM.contains(&n.op_type.as_str())
        && n.op_type != "Dropout"
        && !attr::has(n, "training_mode")
        && subgraphs(n).next().is_none()
}

/// Whether nothing reads what a node computes besides its first output. Models come from anywhere: a node may list outputs that
/// its operator does not have, and something may read them.
pub(crate) fn only_first_is_read(view: &View<'_>, n: &NodeProto) -> bool {
    n.output.iter().skip(1).all(|o| o.is_empty() || view.uses(o).is_empty())
}

/// Whether every use of `from` can become one of `to`: an output of the graph needs a producer that can take its name.
pub(crate) fn can_redirect(view: &View<'_>, from: &str, to: &str) -> bool {
    !view.is_output(from) || (view.producer(to).is_some() && !view.is_output(to) && view.constant(to).is_none())
}

/// Replaces a node by the constant that it computes.
pub(crate) fn put_constant(model: &Model, patch: &mut Patch, id: NodeId, n: &NodeProto, tensor: &Tensor) {
    let Some(output) = n.output.first() else { return };
    if model.proto().ir_version < 4 {
        // There an initializer would have to be an input as well.
        let value = attr::from_tensor("value", tensor.to_proto(""));
        patch.replace(id, vec![node::with("Constant", &[], &[output], vec![value])]);
    } else {
        patch.remove(id).set_initializer(output, tensor);
    }
}

/// A constant's numbers.
pub(crate) fn constant(view: &View<'_>, value: &str) -> Option<Tensor> {
    Tensor::from_proto(view.constant(value)?).ok()
}

/// Dimensions of a broadcast, where they are provable.
pub(crate) fn broadcast(a: &[Dim], b: &[Dim]) -> Option<Vec<Dim>> {
    let rank = a.len().max(b.len());
    let at = |s: &[Dim], axis: usize| (axis + s.len()).checked_sub(rank).map_or(Dim::Known(1), |i| s[i]);
    let one = |axis| match (at(a, axis), at(b, axis)) {
        (Dim::Known(1), d) | (d, Dim::Known(1)) => Some(d),
        (x, y) if x == y => Some(x),
        _ => None,
    };
    (0..rank).map(one).collect()
}

/// Whether two values have provably the same shape.
pub(crate) fn same_dims(shapes: &Shapes, a: &str, b: &str) -> bool {
    matches!((shapes.dims(a), shapes.dims(b)), (Some(x), Some(y)) if x == y)
}
