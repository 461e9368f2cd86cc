//! GELU as files write it out, `x × (1 + erf(x ÷ √2)) ÷ 2` in five nodes and in any order of its factors, as the one function it is.

use std::f32::consts::FRAC_1_SQRT_2;

use crate::{
    graph::{Graph, Id, Op},
    step::{BinaryFn, UnaryFn},
};

/// Products of products that are looked through: `(½ × x) × factor`, `(x × factor) × ½` and their like.
const DEPTH: usize = 2;

/// The graph with the last node of each such product computing it from `x`; the nodes before it stay for whoever else reads them.
pub(crate) fn gather(graph: &Graph) -> Graph {
    let mut out = graph.clone();
    for (id, node) in out.nodes.iter_mut().enumerate() {
        if let Some(x) = gelu(graph, id).filter(|x| graph.nodes[*x].shape == node.shape) {
            (node.op, node.inputs) = (Op::Unary(UnaryFn::Gelu), vec![x]);
        }
    }
    out
}

/// The argument of the GELU that a product is.
fn gelu(graph: &Graph, id: Id) -> Option<Id> {
    let (factor, x) = factor(graph, id, DEPTH)?;
    let product = product(graph, id, [x, factor], DEPTH)?;
    (product.counts == [1, 1] && near(product.scale, 0.5)).then_some(x)
}

/// The factor `1 + erf(x ÷ √2)` of a product, and the `x`.
fn factor(graph: &Graph, id: Id, depth: usize) -> Option<(Id, Id)> {
    if let Some(x) = argument(graph, id) {
        return Some((id, x));
    }
    let depth = depth.checked_sub(1)?;
    match scaling(graph, id) {
        Some((of, _)) => factor(graph, of, depth),
        None => factors(graph, id)?.into_iter().find_map(|i| factor(graph, i, depth)),
    }
}

/// Of `1 + erf(x ÷ √2)` the `x`.
fn argument(graph: &Graph, id: Id) -> Option<Id> {
    let (erf, one) = with_scalar(graph, id, BinaryFn::Add)?;
    if one != 1. || graph.nodes[erf].op != Op::Unary(UnaryFn::Erf) {
        return None;
    }
    let (x, scale) = scaling(graph, graph.nodes[erf].inputs[0])?;
    near(scale, FRAC_1_SQRT_2).then_some(x)
}

/// How often each of two values is in a product, and the number that they are multiplied by.
struct Product {
    counts: [usize; 2],
    scale: f32,
}

/// What `id` is if it is a product of nothing but `of` and numbers.
fn product(graph: &Graph, id: Id, of: [Id; 2], depth: usize) -> Option<Product> {
    if of.contains(&id) {
        return Some(Product { counts: of.map(|i| usize::from(i == id)), scale: 1. });
    }
    let depth = depth.checked_sub(1)?;
    if let Some((inner, scale)) = scaling(graph, id) {
        let inner = product(graph, inner, of, depth)?;
        return Some(Product { scale: inner.scale * scale, ..inner });
    }
    let [a, b] = factors(graph, id)?;
    let (a, b) = (product(graph, a, of, depth)?, product(graph, b, of, depth)?);
    Some(Product { counts: [0, 1].map(|i| a.counts[i] + b.counts[i]), scale: a.scale * b.scale })
}

fn factors(graph: &Graph, id: Id) -> Option<[Id; 2]> {
    let node = &graph.nodes[id];
    let factors = node.inputs.as_slice().try_into().ok()?;
    (node.op == Op::Binary(BinaryFn::Mul)).then_some(factors)
}

/// A value times a number, and the number.
fn scaling(graph: &Graph, id: Id) -> Option<(Id, f32)> {
    let quotient = with_scalar(graph, id, BinaryFn::Div).map(|(x, number)| (x, 1. / number));
    quotient.or_else(|| with_scalar(graph, id, BinaryFn::Mul))
}

/// The operand of `f` beside a single number; of a quotient the number is what is divided by.
fn with_scalar(graph: &Graph, id: Id, f: BinaryFn) -> Option<(Id, f32)> {
    let node = &graph.nodes[id];
    let ([a, b], true) = (node.inputs.as_slice(), node.op == Op::Binary(f)) else { return None };
    let number = |i: Id| match &graph.nodes[i].op {
        Op::Constant(values) if values.len() == 1 => Some(values[0]),
        _ => None,
    };
    match (number(*a), number(*b)) {
        (None, Some(number)) => Some((*a, number)),
        (Some(number), None) if f != BinaryFn::Div => Some((*b, number)),
        _ => None,
    }
}

/// Whether a constant is the one that is meant, as files round it.
fn near(found: f32, meant: f32) -> bool {
    (found / meant - 1.).abs() < 1e-6
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::program::Kind;

    /// `x`, `1 + erf(x × scale)`, and a constructor of further nodes.
    fn start(scale: f32) -> (Graph, Id, Id) {
        let mut graph = Graph::default();
        let x = graph.push(Op::Input(0), vec![], vec![1, 4], Kind::F32);
        let scale = number(&mut graph, scale);
        let scaled = binary(&mut graph, BinaryFn::Mul, [scale, x]);
        let erf = graph.push(Op::Unary(UnaryFn::Erf), vec![scaled], vec![1, 4], Kind::F32);
        let one = number(&mut graph, 1.);
        let factor = binary(&mut graph, BinaryFn::Add, [erf, one]);
        (graph, x, factor)
    }

    fn number(graph: &mut Graph, value: f32) -> Id {
        graph.push(Op::Constant(Arc::new(vec![value])), vec![], vec![1, 1], Kind::F32)
    }

    fn binary(graph: &mut Graph, f: BinaryFn, of: [Id; 2]) -> Id {
        graph.push(Op::Binary(f), of.to_vec(), vec![1, 4], Kind::F32)
    }

    fn gathered(graph: &Graph, id: Id) -> bool {
        gather(graph).nodes[id].op == Op::Unary(UnaryFn::Gelu)
    }

    #[test]
    fn every_order_of_the_factors_is_one_function() {
        let times = BinaryFn::Mul;
        let (mut graph, x, factor) = start(FRAC_1_SQRT_2);
        let half = number(&mut graph, 0.5);
        let two = number(&mut graph, 2.);
        let product = binary(&mut graph, times, [x, factor]);
        let last = binary(&mut graph, times, [product, half]);
        let halved = binary(&mut graph, BinaryFn::Div, [x, two]);
        let first = binary(&mut graph, times, [factor, halved]);
        let half_factor = binary(&mut graph, times, [half, factor]);
        let within = binary(&mut graph, times, [x, half_factor]);
        for id in [last, first, within] {
            assert!(gathered(&graph, id));
        }
        assert!(!gathered(&graph, product), "twice as much");
    }

    #[test]
    fn other_products_with_an_error_function_stay_what_they_are() {
        let times = BinaryFn::Mul;
        let (mut graph, x, factor) = start(0.5);
        let half = number(&mut graph, 0.5);
        let halved = binary(&mut graph, times, [x, half]);
        let other_width = binary(&mut graph, times, [halved, factor]);
        assert!(!gathered(&graph, other_width));
        let (mut graph, x, factor) = start(FRAC_1_SQRT_2);
        let half = number(&mut graph, 0.5);
        let y = graph.push(Op::Input(1), vec![], vec![1, 4], Kind::F32);
        let halved = binary(&mut graph, times, [y, half]);
        let other_value = binary(&mut graph, times, [halved, factor]);
        let squared = binary(&mut graph, times, [x, x]);
        let halved = binary(&mut graph, times, [squared, half]);
        let squares = binary(&mut graph, times, [halved, factor]);
        assert!(!gathered(&graph, other_value) && !gathered(&graph, squares));
    }
}
