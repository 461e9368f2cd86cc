//! BatchNormalization folded into the convolution or matrix product before it.
//!
//! With γ, β, mean μ and variance σ² of the inference form, y = γ (Wx + b − μ) / √(σ² + ε) + β is the same layer with weights
//! W γ / √(σ² + ε) and bias (b − μ) γ / √(σ² + ε) + β (Jacob et al. 2018, section 3.2).

use plimsoll_onnx::{DType, Model, Names, Patch, Tensor, View, attr, node, proto::NodeProto};

use super::common;
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
            let Some(folded) = fold(&view, layer, n) else { continue };
            let (Some(output), Some(weight_name)) = (n.output.first(), node::input(layer, 1)) else { continue };
            let weight = names.fresh(&format!("{weight_name}_folded"));
            let bias = names.fresh(&format!("{weight_name}_bias"));
            patch.set_initializer(&weight, &folded.weight).set_initializer(&bias, &folded.bias);
            let mut changed = layer.clone();
            changed.input.resize(3, String::new());
            changed.input[1] = weight;
            changed.input[2] = bias;
            changed.output = vec![output.clone()];
            patch.because(format!("{} goes into {}", node::label(n), node::label(layer)));
            patch.replace(layer_id, vec![changed]).remove(id);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

struct Folded {
    weight: Tensor,
    bias: Tensor,
}

fn fold(view: &View<'_>, layer: &NodeProto, norm: &NodeProto) -> Option<Folded> {
    let trains =
        attr::int(norm, "training_mode").unwrap_or(0) != 0 || norm.output.iter().skip(1).any(|o| !o.is_empty());
    if trains || attr::int(norm, "spatial").unwrap_or(1) == 0 || !node::is_default_domain(&layer.domain) {
        return None;
    }
    let float = |name: Option<&str>| -> Option<(Vec<usize>, Vec<f64>)> {
        let t = common::constant(view, name?).filter(|t| t.dtype() == DType::F32)?;
        Some((t.shape().to_vec(), t.to_f64().ok()?))
    };
    let (shape, mut weight) = float(node::input(layer, 1))?;
    let parameter = |slot| float(node::input(norm, slot)).map(|(_, v)| v);
    let (gamma, beta, mean, variance) = (parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?);
    let channels = gamma.len();
    let epsilon = f64::from(attr::float(norm, "epsilon").unwrap_or(1e-5));
    let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    if scale.iter().any(|s| !s.is_finite()) {
        return None;
    }
    // Which output channel an element of the weight belongs to.
    let group = attr::int(layer, "group").unwrap_or(1).max(1) as usize;
    let channel: Box<dyn Fn(usize) -> usize> = match layer.op_type.as_str() {
        "Conv" => {
            let stride: usize = shape.get(1..)?.iter().product();
            Box::new(move |i| i / stride.max(1))
        }
        "ConvTranspose" => {
            // [C, M / group, k…]: the first axis runs over the groups as well.
            let (per_group, rest) = (*shape.get(1)?, shape.get(2..)?.iter().product::<usize>().max(1));
            let inputs_per_group = (shape[0] / group).max(1);
            Box::new(move |i| {
                let (row, column) = (i / (per_group * rest), i / rest % per_group);
                row / inputs_per_group * per_group + column
            })
        }
        "Gemm" if attr::int(layer, "transB").unwrap_or(0) != 0 && plain_gemm(layer) => {
            let inner = *shape.get(1)?;
            Box::new(move |i| i / inner.max(1))
        }
        "Gemm" if plain_gemm(layer) => {
            let outer = *shape.get(1)?;
            Box::new(move |i| i % outer.max(1))
        }
        _ => return None,
    };
    if beta.len() != channels || mean.len() != channels || variance.len() != channels {
        return None;
    }
    if !weight.is_empty() && channel(weight.len() - 1) + 1 != channels {
        return None;
    }
    let bias = match node::input(layer, 2) {
        None => vec![0.0; channels],
        name => float(name).map(|(_, v)| v).filter(|b| b.len() == channels)?,
    };
    weight.iter_mut().enumerate().for_each(|(i, w)| *w *= scale[channel(i)]);
    let bias: Vec<f32> = (0..channels).map(|c| ((bias[c] - mean[c]) * scale[c] + beta[c]) as f32).collect();
    let weight: Vec<f32> = weight.into_iter().map(|w| w as f32).collect();
    Some(Folded { weight: Tensor::from_elements(&shape, &weight).ok()?, bias: Tensor::vector(&bias) })
}

fn plain_gemm(n: &NodeProto) -> bool {
    attr::float(n, "alpha").unwrap_or(1.0) == 1.0
        && attr::float(n, "beta").unwrap_or(1.0) == 1.0
        && attr::int(n, "transA").unwrap_or(0) == 0
}
