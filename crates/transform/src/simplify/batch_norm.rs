//! BatchNormalization folded into the convolution or matrix product before it.
//!
//! With γ, β, mean μ and variance σ² of the inference form, y = γ (Wx + b − μ) / √(σ² + ε) + β is the same layer with weights
//! W γ / √(σ² + ε) and bias (b − μ) γ / √(σ² + ε) + β (Jacob et al. 2018, section 3.2).

use plimsoll_onnx::{
    DType, Model, Names, Patch, View, attr, node,
    proto::NodeProto,
    shape::{self, Bindings},
};

use super::{common, layer::Layer};
use crate::{Context, Effect, Pass, Refusal};

pub(super) struct BatchNorm;

impl Pass for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn after(&self) -> &'static [&'static str] {
        &["constant-nodes"]
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        if model.proto().ir_version < 4 {
            return Err(Refusal::CheckFailed("before IR version 4 an initializer must be an input as well".into()));
        }
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let mut names = Names::of(model);
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is(n, "BatchNormalization")) {
            let Some(input) = node::input(n, 0) else { continue };
            let Some((layer_id, layer)) = view.producer(input) else { continue };
            if view.sole_user(input).is_none() || patch.touches(layer_id) {
                continue;
            }
            // Before operator set 7 an attribute said whether the model was being trained.
            if model.opset("").unwrap_or(1) < 7 && attr::int(n, "is_test").unwrap_or(0) == 0 {
                continue;
            }
            let (Some(output), Some((scale, shift))) = (n.output.first(), affine(&view, n)) else { continue };
            let Some(layer) = Layer::of(&view, &shapes, layer).filter(|l| l.axis == 1) else { continue };
            let Some(changed) = layer.changed(&scale, &shift) else { continue };
            patch.because(format!("{} goes into the layer before it", node::label(n)));
            let new = changed.put(&layer, output, &mut names, &mut patch);
            patch.replace(layer_id, vec![new]).remove(id);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// What the normalization multiplies each channel by, and what it adds.
fn affine(view: &View<'_>, norm: &NodeProto) -> Option<(Vec<f64>, Vec<f64>)> {
    let trains =
        attr::int(norm, "training_mode").unwrap_or(0) != 0 || norm.output.iter().skip(1).any(|o| !o.is_empty());
    if trains || attr::int(norm, "spatial").unwrap_or(1) == 0 {
        return None;
    }
    let parameter = |slot| -> Option<Vec<f64>> {
        common::constant(view, node::input(norm, slot)?).filter(|t| t.dtype() == DType::F32)?.to_f64().ok()
    };
    let (gamma, beta, mean, variance) = (parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?);
    if [&beta, &mean, &variance].iter().any(|v| v.len() != gamma.len()) {
        return None;
    }
    let epsilon = f64::from(attr::float(norm, "epsilon").unwrap_or(1e-5));
    let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    scale.iter().all(|s| s.is_finite()).then_some((scale, shift))
}
