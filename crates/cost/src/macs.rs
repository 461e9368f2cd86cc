//! Multiply-accumulates of one node.

use plimsoll_onnx::{attr, node, proto::NodeProto, shape::Shapes};

/// `None` where the count depends on something that is not known.
pub(crate) fn of(n: &NodeProto, shapes: &Shapes) -> Option<u64> {
    if crate::is_opaque(n) {
        return None;
    }
    let shape = |slot: usize| node::input(n, slot).and_then(|i| shapes.concrete(i));
    let output = || n.output.first().and_then(|o| shapes.concrete(o));
    match n.op_type.as_str() {
        // Each output element takes one product for each weight of its filter: weight is [M, C / group, k…].
        "Conv" | "ConvInteger" => product(output()?, per_output(&shape(1)?)?),
        "QLinearConv" => product(output()?, per_output(&shape(3)?)?),
        // Each input element meets each weight of its channel: weight is [C, M / group, k…].
        "ConvTranspose" => product(shape(0)?, per_output(&shape(1)?)?),
        "MatMul" | "MatMulInteger" => product(output()?, *shape(0)?.last()? as u64),
        "QLinearMatMul" => product(output()?, *shape(0)?.last()? as u64),
        "Gemm" => {
            let a = shape(0)?;
            let inner = if attr::int(n, "transA").unwrap_or(0) != 0 { a.first() } else { a.last() };
            product(output()?, *inner? as u64)
        }
        "LSTM" | "GRU" | "RNN" => recurrent(&shape(0)?, &shape(1)?, &shape(2)?),
        "Einsum" => einsum(n, shapes),
        _ => Some(0),
    }
}

fn product(shape: Vec<usize>, each: u64) -> Option<u64> {
    shape.into_iter().try_fold(each, |n, d| n.checked_mul(d as u64))
}

/// Weights that one output element meets.
fn per_output(weight: &[usize]) -> Option<u64> {
    weight.get(1..)?.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64))
}

/// Input weights W [directions, gates × hidden, input] and recurrent weights R [directions, gates × hidden, hidden], once a step
/// and sample.
fn recurrent(x: &[usize], w: &[usize], r: &[usize]) -> Option<u64> {
    let steps_and_batch = (*x.first()? as u64).checked_mul(*x.get(1)? as u64)?;
    let weights = |s: &[usize]| s.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
    steps_and_batch.checked_mul(weights(w)?.checked_add(weights(r)?)?)
}

/// Two operands: the product of the sizes of all letters. More operands depend on the order of contraction.
fn einsum(n: &NodeProto, shapes: &Shapes) -> Option<u64> {
    let equation: String = attr::string(n, "equation")?.chars().filter(|c| !c.is_whitespace()).collect();
    let operands: Vec<&str> = equation.split("->").next()?.split(',').collect();
    if operands.len() != n.input.len() || operands.len() > 2 || equation.contains('.') {
        return None;
    }
    let mut sizes = std::collections::BTreeMap::new();
    for (letters, input) in operands.iter().zip(&n.input) {
        let shape = shapes.concrete(input)?;
        if shape.len() != letters.chars().count() {
            return None;
        }
        sizes.extend(letters.chars().zip(shape));
    }
    if operands.len() == 1 {
        return Some(0);
    }
    sizes.into_values().try_fold(1u64, |n, d| n.checked_mul(d as u64))
}
