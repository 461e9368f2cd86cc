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
        let id = one(&mut out, node, inputs);
        take_padding_in(&mut out, id);
        map.push(id);
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
        // Padding with 0 is padding with the byte that stands for it.
        Op::Pad { before, value: 0. } if (0. ..=255.).contains(&q.zero_point) => {
            let op = Op::Pad { before: before.clone(), value: q.zero_point };
            let moved = out.push(op, vec![from], shape(), Kind::U8);
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

/// A convolution pads as it reads: padding of space before it, with what stands for 0, needs no copy of its own.
fn take_padding_in(out: &mut Graph, id: Id) {
    let Op::Conv { geometry, axes, quantized, .. } = &out.nodes[id].op else { return };
    let padded = &out.nodes[out.nodes[id].inputs[0]];
    let Op::Pad { before, value } = &padded.op else { return };
    let from = padded.inputs[0];
    let inner = &out.nodes[from].shape;
    let nothing = quantized.map_or(0., |q| q.zero_point);
    let elsewhere = (0..inner.len()).filter(|a| !axes.space.contains(a));
    if *value != nothing || elsewhere.clone().any(|a| inner[a] != padded.shape[a]) {
        return;
    }
    let mut geometry = geometry.clone();
    let unused = 3 - axes.space.len();
    for (i, axis) in axes.space.iter().enumerate() {
        geometry.before[unused + i] += before[*axis];
        geometry.input[unused + i] = inner[*axis];
    }
    out.nodes[id].inputs[0] = from;
    if let Op::Conv { geometry: own, .. } = &mut out.nodes[id].op {
        *own = geometry;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        compile::compile,
        graph::{ConvAxes, Geometry},
        isa::Isa,
        program::{Env, Slots, View},
    };

    /// A value of 2 channels and 5 pixels, quantized or not, padded by 2 before and 1 behind with `value`, and a convolution over
    /// three of its pixels.
    fn padded(value: f32, q: Option<Quantization>) -> Graph {
        let mut graph = Graph::default();
        let mut x = graph.push(Op::Input(0), vec![], vec![1, 2, 5], Kind::F32);
        if let Some(q) = q {
            let op = Op::Quantize { inverse: 1. / q.scale, zero_point: q.zero_point };
            x = graph.push(op, vec![x], vec![1, 2, 5], Kind::U8);
            x = graph.push(Op::Dequantize(q), vec![x], vec![1, 2, 5], Kind::F32);
        }
        let pad = graph.push(Op::Pad { before: vec![0, 0, 2], value }, vec![x], vec![1, 2, 8], Kind::F32);
        let one = |n: usize| [1, 1, n];
        let geometry = Geometry {
            input: one(8),
            output: one(6),
            kernel: one(3),
            stride: one(1),
            dilation: one(1),
            before: [0; 3],
        };
        let weights = Arc::new(vec![1., -2., 3., 0., 5., -7.]);
        let axes = ConvAxes { image: Some(0), channel: 1, space: vec![2] };
        let op = Op::Conv { geometry, group: 1, weights, bias: vec![0.5], axes, quantized: None };
        graph.outputs = vec![graph.push(op, vec![pad], vec![1, 1, 6], Kind::F32)];
        graph
    }

    fn run(graph: &Graph) -> Vec<f32> {
        let compiled = compile(graph, Isa::detect()).unwrap();
        let x: Vec<f32> = (0..10).map(|i| i as f32 / 2. - 2.).collect();
        let mut slots = Slots::new(&compiled.program);
        let inputs = [View::F32(&x)];
        let mut env = Env { inputs: &inputs, slots: &mut slots, consts: &compiled.program.const_f32, times: None };
        Isa::detect().run(&compiled.program, &mut env);
        let View::F32(y) = env.view(compiled.outputs[0]) else { panic!("the result is float") };
        y[..6].to_vec()
    }

    fn pads(graph: &Graph) -> usize {
        graph.nodes.iter().filter(|n| matches!(n.op, Op::Pad { .. })).count()
    }

    #[test]
    fn padding_with_zeros_is_taken_into_the_convolution_and_changes_nothing() {
        for q in [None, Some(Quantization { scale: 0.5, zero_point: 7. })] {
            let graph = padded(0., q);
            let rewritten = rewrite(&graph);
            assert_eq!((pads(&graph), pads(&rewritten)), (1, 0));
            assert_eq!(run(&graph), run(&rewritten));
        }
    }

    #[test]
    fn padding_with_something_else_stays() {
        let graph = padded(1., None);
        assert_eq!(pads(&rewrite(&graph)), 1);
        assert_eq!(run(&graph), run(&rewrite(&graph)));
    }
}
