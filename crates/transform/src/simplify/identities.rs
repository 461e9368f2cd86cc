//! Nodes that give back what they are given, and pairs that undo each other.

use plimsoll_onnx::{
    DType, Model, NodeId, Patch, View, attr, node,
    proto::NodeProto,
    shape::{self, Bindings, Shapes},
};

use super::common;
use crate::{Context, Effect, Pass, Refusal};

pub(super) struct Identities;

/// Operators that only give the same elements another shape.
const RESHAPING: &[&str] = &["Reshape", "Flatten", "Squeeze", "Unsqueeze"];

impl Pass for Identities {
    fn name(&self) -> &'static str {
        "identities"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let mut patch = Patch::new();
        let mut done: Vec<NodeId> = Vec::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is_default_domain(&n.domain)) {
            let (Some(output), Some(input)) = (n.output.first(), node::input(n, 0)) else { continue };
            // A node whose neighbour changes in this patch waits for the next round.
            if view.producer(input).is_some_and(|(p, _)| done.contains(&p)) {
                continue;
            }
            if let Some(source) = gives_back(&view, &shapes, n, model.opset("").unwrap_or(1)) {
                if common::can_redirect(&view, output, &source) {
                    patch.because(format!("{} gives back `{source}`", node::label(n)));
                    patch.remove(id).redirect(output, &source).forget(&source);
                    done.push(id);
                }
            } else if let Some(changed) = shortened(&view, &shapes, n) {
                patch.because(format!("{} takes the place of two", node::label(n)));
                patch.replace(id, vec![changed]);
                done.push(id);
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// The value that a node gives back unchanged.
fn gives_back(view: &View<'_>, shapes: &Shapes, n: &NodeProto, opset: i64) -> Option<String> {
    let input = node::input(n, 0)?;
    let output = n.output.first()?;
    if !common::only_first_is_read(view, n) {
        return None;
    }
    let same_shape = || common::same_dims(shapes, input, output);
    let yes = match n.op_type.as_str() {
        "Identity" => true,
        "Dropout" => {
            // Before operator set 7 an attribute said whether the model was being trained.
            !common::trains(view, n) && opset >= 7
        }
        "Cast" => {
            let to = attr::int(n, "to").and_then(|t| DType::from_onnx(t as i32));
            to.is_some() && to == shapes.dtype(input)
        }
        "Transpose" => attr::ints(n, "perm").is_some_and(|p| p.iter().enumerate().all(|(i, &p)| p == i as i64)),
        "Concat" | "Sum" | "Max" | "Min" | "Mean" => n.input.len() == 1,
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Expand" => same_shape(),
        "Slice" => {
            let steps = node::input(n, 4).map(|s| common::constant(view, s).and_then(|t| t.to_i64().ok()));
            same_shape() && steps.is_none_or(|s| s.is_some_and(|s| s.iter().all(|&s| s == 1)))
        }
        "Tile" => same_shape() && shapes.concrete(input).is_none_or(|s| !s.contains(&0)),
        "Pad" => {
            let pads = match attr::ints(n, "pads") {
                Some(pads) => Some(pads.to_vec()),
                None => node::input(n, 1).and_then(|p| common::constant(view, p)).and_then(|t| t.to_i64().ok()),
            };
            pads.is_some_and(|p| p.iter().all(|&p| p == 0))
        }
        "Relu" => view.producer_of(input, "Relu").is_some(),
        "Add" | "Sub" | "Mul" | "Div" => return neutral(view, shapes, n),
        _ => false,
    };
    if yes {
        return Some(input.to_owned());
    }
    // Two reshapes that come back to where they began.
    if RESHAPING.contains(&n.op_type.as_str()) {
        let (_, first) = view.producer(input).filter(|(_, p)| is_reshaping(p))?;
        let source = node::input(first, 0)?;
        return common::same_dims(shapes, source, output).then(|| source.to_owned());
    }
    if n.op_type == "Transpose" {
        let (_, first) = view.producer_of(input, "Transpose")?;
        let (a, b) = (attr::ints(first, "perm")?, attr::ints(n, "perm")?);
        let back = a.len() == b.len() && b.iter().enumerate().all(|(i, &p)| a.get(p as usize) == Some(&(i as i64)));
        return back.then(|| node::input(first, 0).map(str::to_owned)).flatten();
    }
    None
}

pub(super) fn is_reshaping(n: &NodeProto) -> bool {
    node::is_default_domain(&n.domain) && RESHAPING.contains(&n.op_type.as_str())
}

/// `x + 0`, `x − 0`, `x · 1`, `x / 1`, where the result has provably the shape of `x`.
fn neutral(view: &View<'_>, shapes: &Shapes, n: &NodeProto) -> Option<String> {
    let output = n.output.first()?;
    let value = neutral_operand(n);
    for (x, c) in operands(n) {
        let (x, c) = (node::input(n, x)?, node::input(n, c)?);
        let all =
            || common::constant(view, c).and_then(|t| t.to_f64().ok()).is_some_and(|v| v.iter().all(|&v| v == value));
        if common::same_dims(shapes, x, output) && all() {
            return Some(x.to_owned());
        }
    }
    None
}

/// What `Add`, `Sub`, `Mul` and `Div` change nothing with.
pub(super) fn neutral_operand(n: &NodeProto) -> f64 {
    if matches!(n.op_type.as_str(), "Add" | "Sub") { 0.0 } else { 1.0 }
}

/// The slots of an operand of `Add`, `Sub`, `Mul` or `Div` and of the other that may be neutral.
pub(super) fn operands(n: &NodeProto) -> impl Iterator<Item = (usize, usize)> {
    let commutes = matches!(n.op_type.as_str(), "Add" | "Mul");
    [(0, 1), (1, 0)].into_iter().take(if commutes { 2 } else { 1 })
}

/// One node for two in a row: casts of which the first loses nothing, reshapes with a target that does not look at its input,
/// transpositions.
fn shortened(view: &View<'_>, shapes: &Shapes, n: &NodeProto) -> Option<NodeProto> {
    let input = node::input(n, 0)?;
    let (_, first) = view.producer(input).filter(|(_, p)| node::is_default_domain(&p.domain))?;
    let source = node::input(first, 0)?;
    let mut changed = n.clone();
    match (first.op_type.as_str(), n.op_type.as_str()) {
        ("Cast", "Cast") if lossless(shapes.dtype(source)?, shapes.dtype(input)?) => {}
        ("Reshape" | "Flatten" | "Squeeze" | "Unsqueeze", "Reshape") => {
            let target = common::constant(view, node::input(n, 1)?)?.to_i64().ok()?;
            if target.contains(&0) {
                return None;
            }
        }
        ("Transpose", "Transpose") => {
            let (a, b) = (attr::ints(first, "perm")?, attr::ints(n, "perm")?);
            let perm: Vec<i64> = b.iter().map(|&p| a.get(usize::try_from(p).ok()?).copied()).collect::<Option<_>>()?;
            attr::set(&mut changed, attr::from_ints("perm", &perm));
        }
        // A choice by a negated condition is the opposite choice.
        ("Not", "Where") if changed.input.len() == 3 => changed.input.swap(1, 2),
        _ => return None,
    }
    changed.input[0] = source.to_owned();
    Some(changed)
}

/// Whether every value of `from` is one of `to`, exactly.
fn lossless(from: DType, to: DType) -> bool {
    use DType::{Bool, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32};
    from == to
        || matches!(
            (from, to),
            (Bool, _)
                | (F16, F32 | F64)
                | (F32, F64)
                | (I8, I16 | I32 | I64 | F16 | F32 | F64)
                | (U8, U16 | I16 | U32 | I32 | I64 | F16 | F32 | F64)
                | (I16, I32 | I64 | F32 | F64)
                | (U16, U32 | I32 | I64 | F32 | F64)
                | (I32, I64 | F64)
                | (U32, I64 | F64)
        )
}
