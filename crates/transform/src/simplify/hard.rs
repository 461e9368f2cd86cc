//! `clip(x + a, 0, h) / h`, which is the operator `HardSigmoid`, as exporters without it write it out.

use plimsoll_onnx::{
    DType, Model, NodeId, Patch, View, attr, node,
    proto::NodeProto,
    shape::{self, Bindings},
};

use super::common;
use crate::{Context, Effect, Pass, Refusal};

pub(super) struct HardSigmoids;

impl Pass for HardSigmoids {
    fn name(&self) -> &'static str {
        "hard-sigmoids"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn after(&self) -> &'static [&'static str] {
        &["constant-nodes"]
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        // Before operator set 7 broadcasting was an attribute with other rules.
        if model.opset("").unwrap_or(1) < 7 {
            return Err(Refusal::NoMatch);
        }
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let mut patch = Patch::new();
        for (id, clip) in view.nodes().filter(|(_, n)| node::is(n, "Clip")) {
            let Some(output) = clip.output.first() else { continue };
            if shapes.dtype(output) != Some(DType::F32) {
                continue;
            }
            let Some(found) = Clipped::of(&view, clip) else { continue };
            let Some((last_id, last, factor)) = scaled(&view, output, found.high) else { continue };
            let Some(result) = last.output.first() else { continue };
            // Two of them in one product wait for each other.
            let taken = |id: NodeId| patch.touches(id);
            if taken(last_id) || taken(found.add) || factor.is_some_and(|(id, _)| taken(id)) {
                continue;
            }
            let attributes = vec![
                attr::from_float("alpha", (1.0 / found.high) as f32),
                attr::from_float("beta", (found.offset / found.high) as f32),
            ];
            patch.because(format!("{} and what is around it are a hard sigmoid", node::label(clip)));
            match factor {
                // clip(x + a, 0, h) / h
                None => {
                    patch.remove(id);
                    patch.replace(last_id, vec![node::with("HardSigmoid", &[&found.source], &[result], attributes)]);
                }
                // (clip(x + a, 0, h) · z) / h: the division goes with the clip.
                Some((product_id, product)) => {
                    patch.replace(id, vec![node::with("HardSigmoid", &[&found.source], &[output], attributes)]);
                    patch.replace(product_id, vec![NodeProto { output: vec![result.clone()], ..product.clone() }]);
                    patch.remove(last_id);
                }
            }
            patch.remove(found.add);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// `clip(source + offset, 0, high)`.
struct Clipped {
    source: String,
    add: NodeId,
    offset: f64,
    high: f64,
}

impl Clipped {
    fn of(view: &View<'_>, clip: &NodeProto) -> Option<Self> {
        let bound = |name: &str, slot: usize| match attr::float(clip, name) {
            Some(value) => Some(f64::from(value)),
            None => number(view, node::input(clip, slot)?),
        };
        let (low, high) = (bound("min", 1)?, bound("max", 2)?);
        let input = node::input(clip, 0)?;
        view.sole_user(input)?;
        let (add, n) = view.producer_of(input, "Add")?;
        let [a, b] = n.input.as_slice() else { return None };
        let (source, offset) = match number(view, b) {
            Some(offset) => (a, offset),
            None => (b, number(view, a)?),
        };
        let right = low == 0.0 && high > 0.0 && high.is_finite() && offset.is_finite();
        right.then(|| Self { source: source.clone(), add, offset, high })
    }
}

/// The node that divides by `high`, and the product before it, where there is one.
#[expect(clippy::type_complexity, reason = "two nodes, each with its place")]
fn scaled<'m>(
    view: &View<'m>,
    clipped: &str,
    high: f64,
) -> Option<(NodeId, &'m NodeProto, Option<(NodeId, &'m NodeProto)>)> {
    let (id, n, slot) = view.sole_user(clipped)?;
    if divides(view, n, slot, high) {
        return Some((id, n, None));
    }
    let [output] = n.output.as_slice() else { return None };
    if !node::is(n, "Mul") {
        return None;
    }
    let (last_id, last, slot) = view.sole_user(output)?;
    divides(view, last, slot, high).then_some((last_id, last, Some((id, n))))
}

/// Whether a node divides what it reads in `slot` by a number.
fn divides(view: &View<'_>, n: &NodeProto, slot: usize, by: f64) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= f64::from(f32::EPSILON) * b.abs();
    let Some(other) = n.input.get(1 - slot.min(1)).and_then(|o| number(view, o)) else { return false };
    n.input.len() == 2
        && ((node::is(n, "Div") && slot == 0 && near(other, by)) || (node::is(n, "Mul") && near(other, 1.0 / by)))
}

/// A scalar constant: an operand that changes no shape.
fn number(view: &View<'_>, value: &str) -> Option<f64> {
    let tensor = common::constant(view, value).filter(|t| t.shape().iter().all(|&d| d == 1) && t.shape().len() <= 1)?;
    tensor.to_f64().ok()?.first().copied()
}
