//! Dynamic int8: scales of activations are found while the model runs, so that no calibration samples are needed.
//!
//! Each Conv, Gemm and MatMul with a constant weight becomes `DynamicQuantizeLinear` (u8, one scale a tensor), `ConvInteger` or
//! `MatMulInteger`, a multiplication by both scales, and the bias in float: the form that onnxruntime fuses for matrix products.
//! A value that several nodes read is quantized once. Everything else stays in float32.

use std::collections::HashMap;

use plimsoll_onnx::{Model, NodeId, Patch, Tensor, attr, node, proto::NodeProto};

use super::{Granularity, QuantizeOptions, affine, anchor::Anchor, emit::Emitter, opset, qdq::drop_orphans};
use crate::{Context, Effect, Pass, Refusal};

/// Below this many elements of a weight the nodes around it cost more than its bytes.
const FEWEST: usize = 256;

/// The pass.
#[derive(Debug, Clone)]
pub(super) struct DynamicInt8 {
    options: QuantizeOptions,
}

impl DynamicInt8 {
    pub(super) fn new(options: QuantizeOptions) -> Self {
        Self { options }
    }
}

impl Pass for DynamicInt8 {
    fn name(&self) -> &'static str {
        "quantize-int8-dynamic"
    }

    fn effect(&self) -> Effect {
        Effect::Lossy("weights are rounded to 8 bits, and so are the inputs of their nodes while the model runs")
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        self.options.check_excluded(model)?;
        let mut patch = Patch::new();
        opset::require(model, 11, "DynamicQuantizeLinear", &mut patch)?;
        let view = model.view();
        let mut writing = Writing {
            options: &self.options,
            out: Emitter::new(model, patch),
            values: HashMap::new(),
            weights: HashMap::new(),
        };
        let mut found = false;
        for (id, n) in view.nodes() {
            if self.options.excludes(n) || !["Conv", "Gemm", "MatMul"].iter().any(|op| node::is(n, op)) {
                continue;
            }
            let Some(anchor) = Anchor::of(&view, id)? else { continue };
            if anchor.operands.weight.len() < FEWEST {
                continue;
            }
            writing.anchor(id, n, &anchor)?;
            found = true;
        }
        if !found {
            return Err(super::nothing(model, "int8-dynamic"));
        }
        drop_orphans(model, writing.out.patch)
    }
}

/// Codes, scale and zero point of a value, by name.
type Quantized = [String; 3];

/// A weight by its name in the model, whether it is transposed, and its scales; as stored: codes, zero point (where that is not
/// 0), scales.
type Stored = HashMap<(String, bool, Vec<u32>), (String, Option<String>, String)>;

struct Writing<'w> {
    options: &'w QuantizeOptions,
    out: Emitter,
    values: HashMap<String, Quantized>,
    weights: Stored,
}

impl Writing<'_> {
    fn anchor(&mut self, id: NodeId, n: &NodeProto, anchor: &Anchor<'_>) -> Result<(), Refusal> {
        let (Some(output), conv) = (n.output.first(), node::is(n, "Conv")) else { return Ok(()) };
        let [x, x_scale, x_zero] = self.value(&n.input[0]);
        let (w, w_zero, w_scale) = self.weight(n, anchor)?;
        let [sum, float, scale] = ["i", "f", "s"].map(|base| self.out.fresh(base));
        let mut inputs = vec![x, w, x_zero];
        inputs.extend(w_zero);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let mut product = node::new(if conv { "ConvInteger" } else { "MatMulInteger" }, &inputs, &[&sum]);
        if conv {
            product.attribute.clone_from(&n.attribute);
        }
        let scaled = anchor.operands.bias.as_ref().map_or_else(|| output.clone(), |_| self.out.fresh("m"));
        let mut nodes = vec![
            product,
            node::with("Cast", &[&sum], &[&float], vec![attr::from_int("to", 1)]),
            node::new("Mul", &[&x_scale, &w_scale], &[&scale]),
            node::new("Mul", &[&float, &scale], &[&scaled]),
        ];
        if let Some(bias) = &anchor.operands.bias {
            let bias = self.out.store("b", &along(bias, n, &anchor.operands.shape)?);
            nodes.push(node::new("Add", &[&scaled, &bias], &[output]));
        }
        // The name goes with the value: executors that name nodes by outputs would meet it twice.
        if let Some(last) = nodes.last_mut() {
            last.name.clone_from(&n.name);
        }
        self.out.patch.replace(id, nodes);
        self.out.patch.because(format!(
            "node `{}` ({}) computes in int8 of scales found at run time",
            node::label(n),
            n.op_type
        ));
        Ok(())
    }

    fn value(&mut self, name: &str) -> Quantized {
        if let Some(found) = self.values.get(name) {
            return found.clone();
        }
        let made = ["q", "s", "z"].map(|base| self.out.fresh(base));
        let outputs: Vec<&str> = made.iter().map(String::as_str).collect();
        self.out.patch.add(node::new("DynamicQuantizeLinear", &[name], &outputs));
        self.values.insert(name.to_owned(), made.clone());
        made
    }

    fn weight(&mut self, n: &NodeProto, anchor: &Anchor<'_>) -> Result<(String, Option<String>, String), Refusal> {
        let operands = &anchor.operands;
        let conv = node::is(n, "Conv");
        // A stack of matrices has no channel axis that integer kernels know.
        let channels = conv || operands.shape.len() == 2;
        let axis = Some(operands.axis).filter(|_| channels && self.options.granularity == Granularity::PerChannel);
        let weight = affine::weight(&operands.weight, &operands.shape, axis, self.options.codebook(), |_| 0.0);
        let transposed = node::is(n, "Gemm") && operands.axis == 0;
        let key = (operands.name.to_owned(), transposed, weight.scales.iter().map(|s| s.to_bits()).collect());
        if let Some(found) = self.weights.get(&key) {
            return Ok(found.clone());
        }
        // onnxruntime convolves unsigned codes only.
        let (codes, zero) = if conv {
            let codes: Vec<u8> = weight.codes.iter().map(|c| c.cast_unsigned().wrapping_add(128)).collect();
            (Tensor::from_elements(&weight.shape, &codes)?, Some(self.out.store("z", &Tensor::scalar(128u8))))
        } else if let (true, &[rows, columns]) = (transposed, weight.shape.as_slice()) {
            let turned = |i: usize| weight.codes[i % rows * columns + i / rows];
            let codes: Vec<i8> = (0..rows * columns).map(turned).collect();
            (Tensor::from_elements(&[columns, rows], &codes)?, None)
        } else {
            (Tensor::from_elements(&weight.shape, &weight.codes)?, None)
        };
        let scales = match weight.axis {
            Some(_) => along(&weight.scales, n, &weight.shape)?,
            None => Tensor::scalar(weight.scales.first().copied().unwrap_or(1.0)),
        };
        let made = (self.out.store("w", &codes), zero, self.out.store("s", &scales));
        self.weights.insert(key, made.clone());
        Ok(made)
    }
}

/// One number a channel in the shape that is broadcast over the node's result.
fn along(values: &[f32], n: &NodeProto, weight: &[usize]) -> Result<Tensor, Refusal> {
    let places = if node::is(n, "Conv") { weight.len().saturating_sub(2) } else { 0 };
    let shape: Vec<usize> = std::iter::once(values.len()).chain(std::iter::repeat_n(1, places)).collect();
    Ok(Tensor::from_elements(&shape, values)?)
}
