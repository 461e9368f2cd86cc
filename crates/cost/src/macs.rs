//! Multiply-accumulates of one node, and in what they are.

use std::collections::BTreeMap;

use plimsoll_onnx::{attr, node, proto::NodeProto, shape::Shapes};

use crate::{operators, scope::Precision};

/// Multiply-accumulates by the numbers that are multiplied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Macs {
    /// Both factors are float32.
    pub f32: u64,
    /// Both factors are float16 or bfloat16.
    pub f16: u64,
    /// Both factors are integers of at most 8 bits.
    pub i8: u64,
    /// Float64 and wider integers.
    pub other: u64,
}

impl Macs {
    pub(crate) fn new(count: u64, precision: Precision) -> Self {
        let mut macs = Self::default();
        *match precision {
            Precision::F32 => &mut macs.f32,
            Precision::F16 => &mut macs.f16,
            Precision::I8 => &mut macs.i8,
            Precision::Other => &mut macs.other,
        } = count;
        macs
    }

    /// All of them.
    pub fn total(self) -> u64 {
        self.f32.saturating_add(self.f16).saturating_add(self.i8).saturating_add(self.other)
    }

    pub(crate) fn plus(self, more: Self) -> Self {
        Self {
            f32: self.f32.saturating_add(more.f32),
            f16: self.f16.saturating_add(more.f16),
            i8: self.i8.saturating_add(more.i8),
            other: self.other.saturating_add(more.other),
        }
    }

    pub(crate) fn times(self, runs: u64) -> Self {
        Self {
            f32: self.f32.saturating_mul(runs),
            f16: self.f16.saturating_mul(runs),
            i8: self.i8.saturating_mul(runs),
            other: self.other.saturating_mul(runs),
        }
    }
}

/// Products of a node without bodies; `None` where the count depends on something that is not known.
pub(crate) fn of(n: &NodeProto, shapes: &Shapes) -> Option<u64> {
    if !node::is_default_domain(&n.domain) {
        return None;
    }
    let shape = |slot: usize| node::input(n, slot).and_then(|i| shapes.concrete(i));
    let output = || n.output.first().and_then(|o| shapes.concrete(o));
    match n.op_type.as_str() {
        // Each output element takes one product for each weight of its filter: weight is [M, C / group, k…].
        "Conv" | "ConvInteger" | "DeformConv" => product(output()?, per_output(&shape(1)?)?),
        "QLinearConv" => product(output()?, per_output(&shape(3)?)?),
        // Each input element meets each weight of its channel: weight is [C, M / group, k…].
        "ConvTranspose" => product(shape(0)?, per_output(&shape(1)?)?),
        "MatMul" | "MatMulInteger" | "QLinearMatMul" => product(output()?, *shape(0)?.last()? as u64),
        "Gemm" => {
            let a = shape(0)?;
            let inner = if attr::int(n, "transA").unwrap_or(0) != 0 { a.first() } else { a.last() };
            product(output()?, *inner? as u64)
        }
        "LSTM" | "GRU" | "RNN" => recurrent(&shape(0)?, &shape(1)?, &shape(2)?),
        "Einsum" => einsum(n, shapes),
        "Attention" => attention(n, shapes),
        op if operators::multiply_nothing(op) => Some(0),
        _ => None,
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
/// and sample, for sequences of full length.
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
    let mut sizes = BTreeMap::new();
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

/// Scores (query times key) and their products with values, every pair of positions counted, masked or not. Operands are
/// [batch, heads, positions, size], or [batch, positions, heads × size] with the number of heads in attributes; keys and values of
/// the past come before.
fn attention(n: &NodeProto, shapes: &Shapes) -> Option<u64> {
    let shape = |slot: usize| node::input(n, slot).and_then(|i| shapes.concrete(i));
    // [batch, heads, positions, size]
    let split = |shape: Vec<usize>, heads: &str| -> Option<[u64; 4]> {
        match *shape.as_slice() {
            [batch, heads, positions, size] => Some([batch, heads, positions, size].map(|d| d as u64)),
            [batch, positions, width] => {
                let heads = u64::try_from(attr::int(n, heads)?).ok()?;
                Some([batch as u64, heads, positions as u64, (width as u64).checked_div(heads)?])
            }
            _ => None,
        }
    };
    let [batch, heads, queries, size] = split(shape(0)?, "q_num_heads")?;
    let [_, _, keys, _] = split(shape(1)?, "kv_num_heads")?;
    let [_, _, _, value] = split(shape(2)?, "kv_num_heads")?;
    let past = match node::input(n, 4) {
        Some(_) => *shape(4)?.get(2)? as u64,
        None => 0,
    };
    let each = size.checked_add(value)?;
    [batch, heads, queries, keys.checked_add(past)?].into_iter().try_fold(each, u64::checked_mul)
}
