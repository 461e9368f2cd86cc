//! What quantized graphs have in common, made simple before steps are made of them: dequantization moves behind whatever only moves
//! or picks elements, meets its quantization again, and is taken into the inner products and sums that read it.

use crate::{
    graph::{Graph, Id, Node, Op, Quantization},
    lattice::whole_numbers,
    program::Kind,
    step::ReduceFn,
};

/// The graph with dequantizations taken in, without nodes that nothing reads.
pub(crate) fn rewrite(graph: &Graph) -> Graph {
    let mut out = Graph::default();
    let mut map: Vec<Id> = Vec::new();
    for node in &graph.nodes {
        let inputs: Vec<Id> = node.inputs.iter().map(|i| map[*i]).collect();
        map.push(one(&mut out, node, inputs));
    }
    out.outputs = graph.outputs.iter().map(|o| map[*o]).collect();
    without_dead(&out)
}

/// The bytes behind a dequantization.
fn bytes(graph: &Graph, id: Id) -> Option<(Id, Quantization)> {
    match graph.nodes[id].op {
        Op::Dequantize(q) => Some((graph.nodes[id].inputs[0], q)),
        _ => None,
    }
}

fn one(out: &mut Graph, node: &Node, inputs: Vec<Id>) -> Id {
    let shape = || node.shape.clone();
    let all: Option<Vec<(Id, Quantization)>> = inputs.iter().map(|i| bytes(out, *i)).collect();
    let same = all.filter(|all| all.windows(2).all(|w| w[0].1 == w[1].1));
    let Some((from, q)) = same.as_ref().and_then(|all| all.first().copied()) else {
        return out.push(node.op.clone(), inputs, shape(), node.kind);
    };
    let affine = |out: &mut Graph, op: Op, count: f32| {
        let sum = out.push(op, vec![from], shape(), Kind::F32);
        let shift = -q.scale * q.zero_point * count;
        out.push(Op::Affine { scale: q.scale, shift }, vec![sum], shape(), Kind::F32)
    };
    match &node.op {
        Op::Quantize { inverse, zero_point }
            if *zero_point == q.zero_point && (inverse * q.scale - 1.).abs() < 1e-6 =>
        {
            from
        }
        Op::Relabel(_) | Op::Reshape | Op::Slice { .. } | Op::Concat { .. } | Op::MaxPool { .. } => {
            let from = same.iter().flatten().map(|(from, _)| *from).collect();
            let moved = out.push(node.op.clone(), from, shape(), Kind::U8);
            out.push(Op::Dequantize(q), vec![moved], shape(), Kind::F32)
        }
        Op::Reduce { f: ReduceFn::Sum, axes } => {
            let count: usize = axes.iter().map(|a| out.nodes[from].shape[*a]).product();
            affine(out, node.op.clone(), count as f32)
        }
        Op::Reduce { f: ReduceFn::Max | ReduceFn::Min, .. } if q.scale > 0. => affine(out, node.op.clone(), 1.),
        // Without padding in the count an average of bytes is a byte's worth of zero points.
        Op::SumPool { normalize: true, include_pad: false, .. } => affine(out, node.op.clone(), 1.),
        Op::Conv { geometry, group, weights, bias, axes, .. } => {
            let outputs = bias.len();
            let op = Op::Conv {
                geometry: geometry.clone(),
                group: *group,
                weights: weights.clone(),
                bias: bias.clone(),
                axes: axes.clone(),
                quantized: Some(q),
            };
            let whole = weights.chunks_exact(weights.len() / outputs).all(|w| whole_numbers(w).is_some());
            if whole {
                out.push(op, vec![from], shape(), node.kind)
            } else {
                out.push(node.op.clone(), inputs, shape(), node.kind)
            }
        }
        Op::MatMul { axis, weights, columns, map, .. } => {
            let column = |j: usize| weights.iter().skip(j).step_by(*columns).copied().collect::<Vec<f32>>();
            let op = Op::MatMul {
                axis: *axis,
                weights: weights.clone(),
                columns: *columns,
                map: map.clone(),
                quantized: Some(q),
            };
            let whole = (0..*columns).all(|j| whole_numbers(&column(j)).is_some());
            if whole {
                out.push(op, vec![from], shape(), node.kind)
            } else {
                out.push(node.op.clone(), inputs, shape(), node.kind)
            }
        }
        _ => out.push(node.op.clone(), inputs, shape(), node.kind),
    }
}

/// Inputs stay, whether they are read or not: their numbers are those of the island.
fn without_dead(graph: &Graph) -> Graph {
    let mut live = vec![false; graph.nodes.len()];
    graph.outputs.iter().for_each(|o| live[*o] = true);
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        live[id] |= matches!(node.op, Op::Input(_));
        if live[id] {
            node.inputs.iter().for_each(|i| live[*i] = true);
        }
    }
    let mut map = vec![usize::MAX; graph.nodes.len()];
    let mut out = Graph::default();
    for (id, node) in graph.nodes.iter().enumerate().filter(|(id, _)| live[*id]) {
        let inputs = node.inputs.iter().map(|i| map[*i]).collect();
        map[id] = out.push(node.op.clone(), inputs, node.shape.clone(), node.kind);
    }
    out.outputs = graph.outputs.iter().map(|o| map[*o]).collect();
    out
}
