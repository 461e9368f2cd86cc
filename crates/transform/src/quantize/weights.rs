//! Weights stored as int8 with symmetric scales and dequantized at load; everything is computed in float32 as before.

use plimsoll_onnx::{Model, Patch, Tensor, Use, View, attr, node, proto::NodeProto};

use super::{
    Granularity, QuantizeOptions, affine, emit::Emitter, f16::constants, float_constant, opset, replace_constant,
};
use crate::{Context, Effect, Pass, Refusal};

/// Below this many elements codes, scales and names cost more than the float32 data.
const FEWEST: usize = 256;

/// The pass.
#[derive(Debug, Clone)]
pub(super) struct Int8Weights {
    options: QuantizeOptions,
}

impl Int8Weights {
    pub(super) fn new(options: QuantizeOptions) -> Self {
        Self { options }
    }
}

impl Pass for Int8Weights {
    fn name(&self) -> &'static str {
        "quantize-int8-weights"
    }

    fn effect(&self) -> Effect {
        Effect::Lossy("weights are rounded to 8 bits; activations stay in float32")
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let options = &self.options;
        options.check_excluded(model)?;
        let mut patch = Patch::new();
        match options.granularity {
            Granularity::PerChannel => opset::require(model, 13, "one scale a channel", &mut patch)?,
            Granularity::PerTensor => opset::require(model, 10, "DequantizeLinear", &mut patch)?,
        }
        let view = model.view();
        let mut out = Emitter::new(model, patch);
        let mut found = false;
        for name in constants(model) {
            let Some(tensor) = float_constant(&view, name)? else { continue };
            if tensor.len() < FEWEST || view.is_output(name) {
                continue;
            }
            let axis = match axis_of(&view, name, &tensor, options) {
                Ok(axis) => axis,
                Err(Some(why)) => {
                    out.patch.because(format!("`{name}` stays in float32: {why}"));
                    continue;
                }
                Err(None) => continue,
            };
            let axis = axis.filter(|_| options.granularity == Granularity::PerChannel);
            // A scale for every few elements is no saving.
            let axis = axis.filter(|&a| tensor.shape()[a] * 8 <= tensor.len());
            if !tensor.is_finite() {
                out.patch.because(format!("`{name}` stays in float32: it is not finite"));
                continue;
            }
            let weight = affine::weight(&tensor.to_vec()?, tensor.shape(), axis, options.codebook(), |_| 0.0);
            let dequantize = out.weight(&weight, name)?;
            replace_constant(&mut out.patch, &view, name, dequantize);
            out.patch.because(format!("`{name}` {:?} is stored as int8, {}", tensor.shape(), scales(&weight)));
            found = true;
        }
        if !found {
            return Err(super::nothing(model, "int8-weights"));
        }
        Ok(out.patch)
    }
}

fn scales(weight: &affine::Weight) -> String {
    weight.axis.map_or("one scale".into(), |a| format!("{} scales along axis {a}", weight.scales.len()))
}

/// The channel axis that every use of a constant agrees on. `Err(None)`: no weight at all; `Err(Some(why))`: a weight to be left.
fn axis_of(
    view: &View<'_>,
    name: &str,
    tensor: &Tensor,
    options: &QuantizeOptions,
) -> Result<Option<usize>, Option<String>> {
    let mut axes = Vec::new();
    for u in view.uses(name) {
        let &Use::Input { node: id, slot } = u else { return Err(None) };
        let n = view.node(id);
        let Some(axis) = weight_axis(n, slot, tensor.shape()) else { return Err(None) };
        if options.excludes(n) {
            return Err(Some(format!("node `{}` is excluded", node::label(n))));
        }
        axes.push(axis);
    }
    match axes.split_first() {
        None => Err(None),
        Some((first, rest)) if rest.iter().all(|a| a == first) => Ok(Some(*first)),
        Some(_) => Ok(None),
    }
}

/// The output-channel axis of a weight, where this input of this node is one.
pub(super) fn weight_axis(n: &NodeProto, slot: usize, shape: &[usize]) -> Option<usize> {
    let rank = shape.len();
    if !node::is_default_domain(&n.domain) {
        return None;
    }
    match (n.op_type.as_str(), slot) {
        ("Conv", 1) if rank >= 3 => Some(0),
        ("ConvTranspose", 1) if rank >= 3 => Some(1),
        ("Gemm", 1) if rank == 2 => Some(if attr::int(n, "transB").unwrap_or(0) != 0 { 0 } else { 1 }),
        ("MatMul", 1) if rank >= 2 => Some(rank - 1),
        ("Gather", 0) if rank == 2 && attr::int(n, "axis").unwrap_or(0) == 0 => Some(0),
        _ => None,
    }
}
