//! What a part of a node's result is made of: along which of its axes a result can be made part by part, and where each operand is cut
//! for that; and which nodes take parts. After what tract's operators say of themselves (`slice` and `axes_mapping` of tract-core 0.23).
//! It knows no steps.

use plimsoll_onnx::{
    attr, node,
    proto::NodeProto,
    shape::{Dim, Element},
};

use crate::{operators, scope::Scope};

/// A range along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub(crate) axis: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// For each operand the axis along which it is cut; `None` where each part reads the whole operand.
pub(crate) type Operands = Vec<Option<usize>>;

/// How the result of a step comes in parts.
#[derive(Debug, Clone, Default)]
pub(crate) enum Cut {
    /// Not at all.
    #[default]
    Whole,
    /// Not at all, but windows of a convolution may lie further apart.
    Windows,
    /// For each axis of the result how to make a part along it, where that is possible.
    Along(Vec<Option<Operands>>),
    /// The same of a product, which sums along these axes of its operands.
    Product(Vec<Option<Operands>>, Operands),
    /// One operand after the other along this axis, which take so many places there.
    Concat(usize, Vec<usize>),
    /// Every so many-th place of the operand along an axis.
    Every(usize, usize),
    /// Each result is what these ranges leave of the first operand.
    Takes(Vec<Vec<Part>>),
    /// The same of one range, in which the axis is left out.
    TakesOne(Part),
}

impl Cut {
    /// Of what reads `operands` values of `rank` axes, all of which are cut as the result is.
    pub(crate) fn alike(rank: usize, operands: usize) -> Self {
        Self::Along((0..rank).map(|axis| Some(vec![Some(axis); operands])).collect())
    }

    /// Of a result whose axis comes from that of the only operand.
    pub(crate) fn moved(from: impl IntoIterator<Item = Option<usize>>) -> Self {
        Self::Along(from.into_iter().map(|axis| axis.map(|a| vec![Some(a)])).collect())
    }

    /// Of a product of 1 × 1 (or Gemm): its parts by channel are products of parts of the weights.
    pub(crate) fn of_product(scope: &Scope<'_>, n: &NodeProto) -> Self {
        let rows = if attr::int(n, "transA").unwrap_or(0) == 0 { 0 } else { 1 };
        let of = |axis: usize| match axis {
            1 => vec![None, Some(0)],
            0 => vec![Some(rows), None],
            _ => vec![Some(axis), None],
        };
        let rank = scope.shapes.dims(&n.output[0]).map_or(0, <[Dim]>::len);
        Self::Product((0..rank).map(|axis| Some(of(axis))).collect(), vec![Some(1 - rows), Some(1)])
    }

    /// Of the sum of such a product and its bias.
    pub(crate) fn of_bias(scope: &Scope<'_>, n: &NodeProto) -> Self {
        let rank = scope.shapes.dims(&n.output[0]).map_or(0, <[Dim]>::len);
        Self::Along((0..rank).map(|axis| Some(vec![Some(axis), (axis == 1).then_some(0)])).collect())
    }

    /// Of a node that is one step.
    pub(crate) fn of(scope: &Scope<'_>, n: &NodeProto) -> Self {
        if !node::is_default_domain(&n.domain) || n.output.is_empty() {
            return Self::Whole;
        }
        found(scope, n).unwrap_or_default()
    }
}

fn found(scope: &Scope<'_>, n: &NodeProto) -> Option<Cut> {
    let dims = |slot: usize| scope.shapes.concrete(node::input(n, slot)?);
    let out = || scope.shapes.concrete(&n.output[0]);
    let op = n.op_type.as_str();
    Some(match op {
        // tract cuts no choice.
        "Where" => return None,
        _ if operators::is_elementwise(op) => {
            let operands: Vec<Vec<usize>> =
                n.input.iter().filter(|i| !i.is_empty()).map(|i| scope.shapes.concrete(i)).collect::<Option<_>>()?;
            let rank = out()?.len();
            let of = |axis: usize| operands.iter().map(|d| aligned(d, rank, axis)).collect();
            Cut::Along((0..rank).map(|axis| Some(of(axis))).collect())
        }
        "BatchNormalization" => {
            let of = |axis: usize| std::iter::once(Some(axis)).chain([(axis == 1).then_some(0); 4]).collect();
            Cut::Along((0..out()?.len()).map(|axis| Some(of(axis))).collect())
        }
        "MatMul" => {
            let (a, b, rank) = (dims(0)?, dims(1)?, out()?.len());
            if a.len() < 2 || b.len() < 2 {
                return None;
            }
            let of = |axis: usize| match rank - axis {
                1 => vec![None, Some(b.len() - 1)],
                2 => vec![Some(a.len() - 2), None],
                _ => vec![aligned(&a, rank, axis), aligned(&b, rank, axis)],
            };
            let summed = vec![Some(a.len() - 1), Some(b.len() - 2)];
            Cut::Product((0..rank).map(|axis| Some(of(axis))).collect(), summed)
        }
        "Transpose" => {
            let rank = out()?.len();
            let turned: Vec<i64> = (0..rank as i64).rev().collect();
            let perm = attr::ints(n, "perm").unwrap_or(&turned);
            Cut::moved(perm.iter().map(|&axis| usize::try_from(axis).ok()))
        }
        _ if operators::is_view(op) => Cut::moved(kept_axes(&dims(0)?, &out()?)),
        "Conv" => Cut::Windows,
        "GlobalAveragePool" | "GlobalMaxPool" => Cut::moved((0..out()?.len()).map(|axis| (axis < 2).then_some(axis))),
        _ if op.starts_with("Reduce") && attr::flag(n, "keepdims", true) == Some(true) => {
            let (from, to) = (dims(0)?, out()?);
            Cut::moved(from.iter().zip(&to).enumerate().map(|(axis, (f, t))| (f == t).then_some(axis)))
        }
        "Concat" => {
            let axis = axis_of(attr::int(n, "axis")?, out()?.len())?;
            let sizes = n.input.iter().map(|i| Some(*scope.shapes.concrete(i)?.get(axis)?)).collect::<Option<_>>()?;
            if n.input.iter().any(|i| scope.is_settled(i)) {
                return None;
            }
            Cut::Concat(axis, sizes)
        }
        "Split" => {
            let axis = axis_of(attr::int(n, "axis").unwrap_or(0), dims(0)?.len())?;
            let mut start = 0;
            let part = |o: &String| {
                let end = usize::checked_add(start, *scope.shapes.concrete(o)?.get(axis)?)?;
                Some(vec![Part { axis, start: std::mem::replace(&mut start, end), end }])
            };
            Cut::Takes(n.output.iter().map(part).collect::<Option<_>>()?)
        }
        "Slice" => Cut::Takes(vec![ranges(scope, n, &dims(0)?)?]),
        "Gather" => {
            let (data, index) = (dims(0)?, node::input(n, 1)?);
            let axis = axis_of(attr::int(n, "axis").unwrap_or(0), data.len())?;
            let &[Element::Known(at)] = scope.shapes.elements(index)? else { return None };
            let start = usize::try_from(if at < 0 { at.checked_add(data[axis] as i64)? } else { at }).ok()?;
            let part = Part { axis, start, end: start.checked_add(1)? };
            if scope.shapes.dims(index)?.is_empty() { Cut::TakesOne(part) } else { Cut::Takes(vec![vec![part]]) }
        }
        _ => return None,
    })
}

/// Where an operand of these dimensions is cut for a part along an axis of a result of `rank`: not where it is spread.
fn aligned(dims: &[usize], rank: usize, axis: usize) -> Option<usize> {
    let axis = (axis + dims.len()).checked_sub(rank)?;
    dims.get(axis).is_some_and(|d| *d != 1).then_some(axis)
}

/// For each axis of another shape of the same elements the one that it was before: those before and those behind all that changes.
fn kept_axes(from: &[usize], to: &[usize]) -> Vec<Option<usize>> {
    let before = from.iter().zip(to).take_while(|(f, t)| f == t).count();
    let behind = from.iter().rev().zip(to.iter().rev()).take_while(|(f, t)| f == t).count();
    let behind = behind.min(from.len().min(to.len()) - before);
    let kept = |axis: usize| {
        let last = to.len() - axis;
        if axis < before { Some(axis) } else { (last <= behind).then(|| from.len() - last) }
    };
    (0..to.len()).map(kept).collect()
}

/// What a Slice takes of each axis of which it does not take all; `None` where it steps.
fn ranges(scope: &Scope<'_>, n: &NodeProto, dims: &[usize]) -> Option<Vec<Part>> {
    let list = |name: &str, slot: usize| -> Option<Option<Vec<i64>>> {
        if let Some(given) = attr::ints(n, name) {
            return Some(Some(given.to_vec()));
        }
        let Some(input) = node::input(n, slot) else { return Some(None) };
        let known = |e: &Element| if let Element::Known(v) = *e { Some(v) } else { None };
        scope.shapes.elements(input)?.iter().map(known).collect::<Option<Vec<i64>>>().map(Some)
    };
    let (starts, ends) = (list("starts", 1)??, list("ends", 2)??);
    let axes = list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    if list("steps", 4)?.is_some_and(|steps| steps.iter().any(|s| *s != 1)) {
        return None;
    }
    let mut parts = Vec::new();
    for ((&start, &end), &axis) in starts.iter().zip(&ends).zip(&axes) {
        let axis = axis_of(axis, dims.len())?;
        let size = dims[axis];
        let place = |at: i64| {
            let at = if at < 0 { at.saturating_add(size as i64) } else { at };
            at.clamp(0, size as i64) as usize
        };
        let (start, end) = (place(start), place(end).max(place(start)));
        if (start, end) != (0, size) {
            parts.push(Part { axis, start, end });
        }
    }
    Some(parts)
}

fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
    usize::try_from(axis).ok().filter(|a| *a < rank)
}
