//! Building the nodes and initializers of quantized graphs: scales stored once, zero points shared, names short. Knows the wire
//! form, not which value deserves it.

use std::collections::BTreeMap;

use plimsoll_onnx::{
    Model, Names, Patch, Tensor, TensorError, attr, node,
    proto::{AttributeProto, NodeProto},
};

use super::{
    ActivationType,
    affine::{Codes, Weight},
};

/// A patch in the making.
pub(super) struct Emitter {
    pub(super) patch: Patch,
    names: Names,
    /// Zero points of weights by their length (`None`: a scalar).
    zeros: BTreeMap<Option<usize>, String>,
}

/// Names of the parts of a weight.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) codes: String,
    pub(super) scale: String,
    pub(super) zero: Option<String>,
}

impl Stored {
    /// The node that dequantizes codes (the weight's own, or some of them) into value `output`.
    pub(super) fn dequantize(&self, codes: &str, output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
        let inputs: Vec<&str> = [codes, &self.scale].into_iter().chain(self.zero.as_deref()).collect();
        node::with("DequantizeLinear", &inputs, &[output], attributes)
    }
}

impl Emitter {
    pub(super) fn new(model: &Model, patch: Patch) -> Self {
        Self { patch, names: Names::of(model), zeros: BTreeMap::new() }
    }

    pub(super) fn fresh(&mut self, base: &str) -> String {
        self.names.fresh(base)
    }

    /// Adds an initializer under a fresh name.
    pub(super) fn store(&mut self, base: &str, tensor: &Tensor) -> String {
        let name = self.fresh(base);
        self.patch.set_initializer(&name, tensor);
        name
    }

    /// Scale and zero point of an activation.
    pub(super) fn store_codes(&mut self, codes: Codes, kind: ActivationType) -> (String, String) {
        let zero = match kind {
            ActivationType::U8 => Tensor::scalar(codes.zero),
            ActivationType::S8 => Tensor::scalar(codes.zero.wrapping_sub(128).cast_signed()),
        };
        (self.store("s", &Tensor::scalar(codes.scale)), self.store("z", &zero))
    }

    /// Codes and scales of a weight with the node that dequantizes them into value `output`.
    pub(super) fn weight(&mut self, weight: &Weight, output: &str) -> Result<NodeProto, TensorError> {
        let stored = self.store_weight(weight)?;
        // Without an axis in the file opset 10 can still read it; the attribute's default would be 1.
        let axis = weight.axis.map(|a| attr::from_int("axis", a as i64)).into_iter().collect();
        Ok(stored.dequantize(&stored.codes, output, axis))
    }

    /// Codes, scales and zero points of a weight.
    pub(super) fn store_weight(&mut self, weight: &Weight) -> Result<Stored, TensorError> {
        let codes = self.store("w", &weight.tensor()?);
        let length = weight.axis.map(|_| weight.scales.len());
        let scale = match weight.axis {
            Some(_) => Tensor::vector(&weight.scales),
            None => Tensor::scalar(weight.scales.first().copied().unwrap_or(1.0)),
        };
        let scale = self.store("s", &scale);
        if weight.book.bits == 4 {
            // The default, zero, is what is meant; no reader of int4 needs it spelt out.
            return Ok(Stored { codes, scale, zero: None });
        }
        let zero = match self.zeros.get(&length) {
            Some(name) => name.clone(),
            None => {
                let tensor = length.map_or_else(|| Tensor::scalar(0i8), |n| Tensor::vector(&vec![0i8; n]));
                let name = self.store("z", &tensor);
                self.zeros.insert(length, name.clone());
                name
            }
        };
        Ok(Stored { codes, scale, zero: Some(zero) })
    }

    /// An int32 bias with its scales, dequantized; its value's name.
    pub(super) fn bias(&mut self, codes: &[i32], scales: &[f32], per_channel: bool) -> String {
        let stored = self.store("b", &Tensor::vector(codes));
        let scale = match scales {
            [first, ..] if !per_channel => Tensor::scalar(*first),
            _ => Tensor::vector(scales),
        };
        let scale = self.store("s", &scale);
        let output = self.fresh("d");
        let axis = per_channel.then(|| attr::from_int("axis", 0));
        let n = node::with("DequantizeLinear", &[&stored, &scale], &[&output], axis.into_iter().collect());
        self.patch.add(n);
        output
    }
}
