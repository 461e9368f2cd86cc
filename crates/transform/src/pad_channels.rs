//! Channels of zeros before integer convolutions whose input channels are no multiple of what kernels read at a time. The function stays
//! the same, for finite inputs; onnxruntime's int8 kernels for x86 read four channels at once and gather windows in memory
//! where they cannot.
//!
//! Only inputs of the model are widened, in float32, by what costs an executor least there: a product with a piece of the identity where
//! channels come last, `Pad` where they do not.

use plimsoll_onnx::{DType, DimSpec, Model, Names, NodeId, Patch, Tensor, View, attr, node, proto::NodeProto};

use crate::{Context, Effect, Pass, Refusal};

/// The oldest operator set in which `Pad` and quantization are what is written here.
const OPSET: i64 = 13;

/// The pass.
#[derive(Debug, Clone, Copy)]
pub struct PadChannels {
    /// Input channels become a multiple of it.
    pub multiple: usize,
}

/// An input of the model that leads to one convolution through nothing but quantization and moved axes.
struct Way<'v> {
    input: &'v str,
    /// The node that reads it.
    first: NodeId,
    /// Where it has its channels, of how many axes.
    axis: usize,
    rank: usize,
    /// Values on the way, whose declared shapes are no longer true.
    values: Vec<&'v str>,
}

impl Pass for PadChannels {
    fn name(&self) -> &'static str {
        "pad-channels"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let mut names = Names::of(model);
        let mut patch = Patch::new();
        if model.opset("").unwrap_or(0) < OPSET {
            return Err(Refusal::NoMatch);
        }
        for (id, conv) in view.nodes().filter(|(_, n)| node::is(n, "Conv")) {
            let Some((name, weights, fill)) = weights(&view, conv) else { continue };
            let channels = weights.shape()[1];
            let padded = channels.next_multiple_of(self.multiple.max(1));
            let Some(way) = way(model, &view, (id, conv), channels) else { continue };
            if padded == channels || patch.touches(way.first) {
                continue;
            }
            patch.set_initializer(name, &widened(&weights, padded, fill)?);
            let wide = names.fresh(&format!("{}_padded", way.input));
            let pad = if way.axis + 1 == way.rank {
                let one = |i: usize| if i / padded == i % padded { 1f32 } else { 0.0 };
                let eye: Vec<f32> = (0..channels * padded).map(one).collect();
                let constant = names.fresh(&format!("{}_identity", way.input));
                patch.set_initializer(&constant, &Tensor::from_elements(&[channels, padded], &eye)?);
                node::new("MatMul", &[way.input, &constant], &[&wide])
            } else {
                let mut pads = vec![0i64; 2 * way.rank];
                pads[way.rank + way.axis] = (padded - channels) as i64;
                let constant = names.fresh(&format!("{}_pads", way.input));
                patch.set_initializer(&constant, &Tensor::vector(&pads));
                node::new("Pad", &[way.input, &constant], &[&wide])
            };
            let mut first = view.node(way.first).clone();
            first.input[0] = wide;
            patch.replace(way.first, vec![pad, first]);
            way.values.iter().for_each(|v| _ = patch.forget(v));
            patch.because(format!("`{}`: {channels} channels become {padded} before {}", way.input, node::label(conv)));
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// The int8 weights of an ungrouped convolution that nothing else reads, their name, and the byte that stands for zero.
fn weights<'v>(view: &View<'v>, conv: &NodeProto) -> Option<(&'v str, Tensor, u8)> {
    if attr::int(conv, "group").unwrap_or(1) != 1 {
        return None;
    }
    let value = node::input(conv, 1)?;
    let (_, dequantize) = view.producer_of(value, "DequantizeLinear")?;
    let name = node::input(dequantize, 0)?;
    view.sole_user(value)?;
    view.sole_user(name)?;
    let tensor = Tensor::from_proto(view.initializer(name)?).ok()?;
    if !matches!(tensor.dtype(), DType::I8 | DType::U8) || tensor.shape().len() < 3 {
        return None;
    }
    let zero = match node::input(dequantize, 2) {
        None => 0,
        Some(zeros) => {
            let zeros = Tensor::from_proto(view.constant(zeros)?).ok()?;
            let (first, rest) = zeros.bytes().split_first()?;
            rest.iter().all(|z| z == first).then_some(*first)?
        }
    };
    Some((name, tensor, zero))
}

/// The way from an input of the model to a convolution of so many input channels.
fn way<'v>(model: &Model, view: &View<'v>, conv: (NodeId, &'v NodeProto), channels: usize) -> Option<Way<'v>> {
    let (mut first, mut at) = (conv.0, node::input(conv.1, 0)?);
    let mut axis = 1;
    let mut values = Vec::new();
    while let Some((id, n)) = view.producer(at) {
        view.sole_user(at)?;
        values.push(at);
        match n.op_type.as_str() {
            "QuantizeLinear" | "DequantizeLinear" => {
                let scale = Tensor::from_proto(view.constant(node::input(n, 1)?)?).ok()?;
                (scale.shape().iter().product::<usize>() == 1).then_some(())?;
            }
            "Transpose" => axis = usize::try_from(*attr::ints(n, "perm")?.get(axis)?).ok()?,
            _ => return None,
        }
        (first, at) = (id, node::input(n, 0)?);
    }
    let input = model.inputs().into_iter().find(|i| i.name == at)?;
    let dims = input.dims.as_ref()?;
    let known = input.dtype == Some(DType::F32) && dims.get(axis) == Some(&DimSpec::Fixed(channels as u64));
    known.then_some(Way { input: at, first, axis, rank: dims.len(), values })
}

/// The same weights for more input channels.
fn widened(weights: &Tensor, channels: usize, fill: u8) -> Result<Tensor, Refusal> {
    let shape = weights.shape();
    let taps = shape[2..].iter().product::<usize>();
    let mut bytes = Vec::with_capacity(shape[0] * channels * taps);
    for row in weights.bytes().chunks(shape[1] * taps) {
        bytes.extend_from_slice(row);
        bytes.resize(bytes.len() + (channels - shape[1]) * taps, fill);
    }
    let mut shape = shape.to_vec();
    shape[1] = channels;
    Ok(Tensor::new(weights.dtype(), shape, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        prune::testing::{Builder, Dice, context, output, patched},
        quantize::{QuantizeOptions, Scheme, pass},
    };
    use plimsoll_dataset::Dataset;
    use plimsoll_onnx::Tensors;
    use plimsoll_runtime::TractExecutor;
    use std::path::Path;

    fn shape(last: bool) -> [usize; 4] {
        if last { [1, 6, 6, 3] } else { [1, 3, 6, 6] }
    }

    /// A quantized net of three channels, which come last or do not.
    fn net(last: bool) -> Model {
        let mut b = Builder::new(3, &shape(last).map(|n| n as i64));
        let x = match last {
            true => b.add("Transpose", &["x"], vec![attr::from_ints("perm", &[0, 3, 1, 2])]),
            false => "x".to_owned(),
        };
        let x = b.conv(&x, 3, 16, 3);
        let x = b.add("Relu", &[&x], vec![]);
        let y = b.conv(&x, 16, 16, 3);
        let model = b.finish(&y, &[1, 16, 6, 6]);
        let mut shape = shape(last);
        shape[0] = 16;
        let inputs = Tensors::from([("x".to_owned(), Dice(99).tensor(&shape))]);
        let data = Dataset::new(Path::new("memory"), inputs, None, None).expect("samples");
        let context = Context::new(&TractExecutor).with_data(&data);
        let patch = pass(QuantizeOptions::new(Scheme::Int8)).run(&model, &context).expect("it can be quantized");
        patched(&model, patch)
    }

    #[test]
    fn the_results_stay_bit_by_bit_and_channels_are_multiples() {
        for (last, op) in [(true, "MatMul"), (false, "Pad")] {
            let model = net(last);
            let patch = PadChannels { multiple: 4 }.run(&model, &context()).expect("three channels are few");
            let wide = patched(&model, patch);
            let count = |m: &Model| m.graph().node.iter().filter(|n| n.op_type == op).count();
            assert_eq!((count(&model), count(&wide)), (0, 1));
            let fed = Tensors::from([("x".to_owned(), Dice(7).tensor(&shape(last)))]);
            assert_eq!(output(&model, &fed), output(&wide, &fed));
            let again = PadChannels { multiple: 4 }.run(&wide, &context());
            assert!(matches!(again, Err(Refusal::NoMatch)));
        }
    }

    #[test]
    fn what_has_enough_channels_or_is_no_integer_convolution_stays() {
        let model = net(false);
        assert!(matches!(PadChannels { multiple: 3 }.run(&model, &context()), Err(Refusal::NoMatch)));
        let mut b = Builder::new(3, &[1, 3, 6, 6]);
        let y = b.conv("x", 3, 16, 3);
        let float = b.finish(&y, &[1, 16, 6, 6]);
        assert!(matches!(PadChannels { multiple: 4 }.run(&float, &context()), Err(Refusal::NoMatch)));
    }
}
