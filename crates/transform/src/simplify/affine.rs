//! Constants that a layer's output is multiplied by, or that are added to it, become part of the layer.
//!
//! With one number a channel, `s · (W x + b) + t` is the layer with weights `s · W` and bias `s · b + t`.

use plimsoll_onnx::{
    Model, Names, Patch, View, node,
    proto::NodeProto,
    shape::{self, Bindings},
};

use super::{common, layer::Layer};
use crate::{Context, Effect, Pass, Refusal};

pub(super) struct Affine;

impl Pass for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn after(&self) -> &'static [&'static str] {
        &["constant-nodes", "batch-norm"]
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        // Before operator set 7 broadcasting was an attribute with other rules; before IR version 4 an initializer had to be an
        // input as well.
        if model.proto().ir_version < 4 || model.opset("").unwrap_or(1) < 7 {
            return Err(Refusal::NoMatch);
        }
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let mut names = Names::of(model);
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is_default_domain(&n.domain)) {
            let Some((slot, output)) = [0, 1].into_iter().find_map(|slot| computed(&view, n, slot)) else { continue };
            let Some((layer_id, layer)) = view.producer(&n.input[slot]).filter(|(id, _)| !patch.touches(*id)) else {
                continue;
            };
            let Some(layer) = Layer::of(&view, &shapes, layer) else { continue };
            let Some((scale, shift)) = operand(&view, &layer, n, slot) else { continue };
            // Weights that others read would be held twice.
            let scales = scale.iter().any(|&s| s != 1.0);
            let weight = view.producer(&n.input[slot]).and_then(|(_, l)| node::input(l, 1));
            if scales && weight.is_none_or(|w| view.sole_user(w).is_none()) {
                continue;
            }
            let Some(changed) = layer.changed(&scale, &shift) else { continue };
            patch.because(format!("{} goes into the layer before it", node::label(n)));
            let new = changed.put(&layer, output, &mut names, &mut patch);
            patch.replace(layer_id, vec![new]).remove(id);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// Whether an input is computed by a node that nothing else reads; the name of the result then.
fn computed<'n>(view: &View<'_>, n: &'n NodeProto, slot: usize) -> Option<(usize, &'n str)> {
    let [output] = n.output.as_slice() else { return None };
    let input = node::input(n, slot)?;
    view.sole_user(input).and_then(|_| view.producer(input)).map(|_| (slot, output.as_str()))
}

/// What the node multiplies each channel by, and what it adds then.
fn operand(view: &View<'_>, layer: &Layer<'_>, n: &NodeProto, slot: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let all = |value: f64, like: &[f64]| vec![value; like.len()];
    if n.op_type == "Neg" {
        let ones = layer.per_channel(&plimsoll_onnx::Tensor::scalar(1f32))?;
        return Some((all(-1.0, &ones), all(0.0, &ones)));
    }
    let [_, _] = n.input.as_slice() else { return None };
    let c = layer.per_channel(&common::constant(view, node::input(n, 1 - slot)?)?)?;
    Some(match (n.op_type.as_str(), slot) {
        ("Add", _) => (all(1.0, &c), c),
        ("Sub", 0) => (all(1.0, &c), c.iter().map(|c| -c).collect()),
        // Not `c - y`: tract 0.23.9 computes `y - c` there, and would find what is right here to be different.
        ("Mul", _) => (c.clone(), all(0.0, &c)),
        ("Div", 0) if c.iter().all(|&c| c != 0.0) => (c.iter().map(|c| 1.0 / c).collect(), all(0.0, &c)),
        _ => return None,
    })
}
