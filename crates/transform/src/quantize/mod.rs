//! Quantization: fewer bits for weights and activations.
//!
//! Schemes, each a [`Pass`] of its own behind [`pass`]: [`f16`](Scheme::F16), [`int8-weights`](Scheme::Int8Weights) and
//! [`int4-weights`](Scheme::Int4Weights) store weights in fewer bytes and compute in float32; [`int8`](Scheme::Int8) is static
//! quantization in QDQ form (u8 activations, symmetric i8 weights), which executors turn into integer kernels;
//! [`w4a8`](Scheme::W4A8) the same with weights in 4 bits;
//! [`int8-dynamic`](Scheme::Int8Dynamic) finds the scales of activations at run time. This module must not know budgets, nor
//! measure time.

mod activation;
mod affine;
mod allocation;
mod anchor;
mod calibrate;
mod dynamic;
mod emit;
mod f16;
mod nodes;
mod opset;
mod plan;
mod qdq;
mod repair;
mod rounding;
mod runnable;
mod sensitivity;
mod solution;
mod stored;
mod table;
mod target;
mod weights;
mod writer;

#[cfg(test)]
mod scheme_tests;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use plimsoll_onnx::{DType, Model, Patch, Tensor, View, node, proto::NodeProto};

pub use self::{
    activation::ActivationType,
    calibrate::{Calibration, Percentage},
    nodes::{QuantizedNode, quantized_nodes, quantized_of},
    sensitivity::{NodeCost, sensitivity},
    target::{NotAPortion, Portion, Target},
};
pub(crate) use self::{
    runnable::{holds_int4, runnable},
    sensitivity::{quantized, split},
};
pub use crate::observe::Damage;
use crate::{Context, Pass, Refusal, observe};

/// What is stored and computed in fewer bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// Static int8: weights and activations, in QDQ form.
    Int8,
    /// Static as int8, weights in 4 bits, some in 8.
    W4A8,
    /// Weights as int8, activations as they come: their scales are found at run time.
    Int8Dynamic,
    /// Weights as int8, dequantized at load; computed in float32.
    Int8Weights,
    /// Weights as int4, some as int8, dequantized at load; computed in float32.
    Int4Weights,
    /// Weights as float16, cast at load; computed in float32.
    F16,
}

impl Scheme {
    /// Every scheme, in the order in which help texts list them.
    pub const ALL: [Self; 6] =
        [Self::Int8, Self::W4A8, Self::Int8Dynamic, Self::Int8Weights, Self::Int4Weights, Self::F16];

    /// Whether most weights get 4 bits.
    fn is_narrow(self) -> bool {
        matches!(self, Self::W4A8 | Self::Int4Weights)
    }

    /// The name on the command line and in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::W4A8 => "w4a8",
            Self::Int8Dynamic => "int8-dynamic",
            Self::Int8Weights => "int8-weights",
            Self::Int4Weights => "int4-weights",
            Self::F16 => "f16",
        }
    }
}

/// How many scales a weight gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Granularity {
    /// One scale for each output channel.
    #[default]
    PerChannel,
    /// One scale for the whole tensor.
    PerTensor,
}

impl Granularity {
    /// The name on the command line and in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::PerChannel => "per-channel",
            Self::PerTensor => "per-tensor",
        }
    }
}

/// How a quantized model is brought back towards the original, label-free; each method includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Repair {
    /// Not at all.
    None,
    /// Mean errors go into the biases.
    Bias,
    /// Weights are refitted before they are rounded.
    LeastSquares,
    /// Roundings compensate each other.
    Gptq,
}

impl Repair {
    /// Every method, from the least to the most.
    pub const ALL: [Self; 4] = [Self::None, Self::Bias, Self::LeastSquares, Self::Gptq];

    /// The name on the command line and in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bias => "bias",
            Self::LeastSquares => "least-squares",
            Self::Gptq => "gptq",
        }
    }
}

/// A name that none of the choices has.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("`{found}` is no {what} (one of: {choices})")]
pub struct UnknownName {
    what: &'static str,
    found: String,
    choices: String,
}

macro_rules! named {
    ($($ty:ty, $what:literal, $all:expr;)*) => {$(
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
        impl FromStr for $ty {
            type Err = UnknownName;
            fn from_str(s: &str) -> Result<Self, UnknownName> {
                let all = $all;
                all.iter().copied().find(|c: &$ty| c.name() == s).ok_or_else(|| UnknownName {
                    what: $what,
                    found: s.into(),
                    choices: all.iter().map(|c| c.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    )*};
}
named! {
    Scheme, "quantization scheme", Scheme::ALL;
    Granularity, "granularity", [Granularity::PerChannel, Granularity::PerTensor];
    ActivationType, "activation type", [ActivationType::U8, ActivationType::S8];
    Repair, "repair", Repair::ALL;
}

/// What to quantize, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizeOptions {
    /// What is stored and computed in fewer bits.
    pub scheme: Scheme,
    /// How many scales a weight gets (integer schemes).
    pub granularity: Granularity,
    /// How ranges of activations are chosen (static schemes).
    pub calibration: Calibration,
    /// The type of quantized activations (static schemes).
    pub activations: ActivationType,
    /// How the result is repaired; `None`: by what pays, where there are samples.
    pub repair: Option<Repair>,
    /// Nodes that stay in float: names of nodes, or of values that they compute.
    pub exclude: Vec<String>,
    /// Nodes whose weights get 8 bits where others get 4, by the same names.
    pub wide: Vec<String>,
    /// At most so many samples are used for calibration.
    pub samples: usize,
    /// Weights use 7 bits, so that sums of u8·i8 products cannot saturate on x86 without VNNI.
    pub reduce_range: bool,
    /// What must hold; nodes stay in float until it does.
    pub target: Target,
}

impl QuantizeOptions {
    /// A scheme with the defaults: per channel, MSE calibration over at most 512 samples, nothing excluded.
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            granularity: Granularity::default(),
            calibration: Calibration::default(),
            activations: ActivationType::default(),
            repair: None,
            exclude: Vec::new(),
            wide: Vec::new(),
            samples: 512,
            reduce_range: false,
            target: Target::default(),
        }
    }

    /// The repair to carry out; what was asked for needs samples, the default does without.
    fn repair(&self, context: &Context<'_>) -> Result<Repair, Refusal> {
        match (self.repair, context.data) {
            (Some(Repair::None), _) | (None, None) => Ok(Repair::None),
            (Some(_), None) => Err(Refusal::NeedsData),
            (repair, Some(_)) => Ok(repair.unwrap_or(Repair::Gptq)),
        }
    }

    fn excludes(&self, n: &NodeProto) -> bool {
        stands_for(&self.exclude, n)
    }

    fn widens(&self, n: &NodeProto) -> bool {
        stands_for(&self.wide, n)
    }

    /// An excluded name that stands for nothing is a typing error, not a wish.
    fn check_excluded(&self, model: &Model) -> Result<(), Refusal> {
        let known = |e: &&String| {
            let mut nodes = model.graph().node.iter();
            nodes.any(|n| **e == n.name || n.output.contains(e) || **e == node::label(n))
        };
        match self.exclude.iter().find(|e| !known(e)) {
            Some(e) => Err(Refusal::CheckFailed(format!("`{e}` is to be excluded, but no node has this name"))),
            None => Ok(()),
        }
    }

    /// The codes of an 8-bit weight.
    fn codebook(&self) -> affine::Codebook {
        if self.reduce_range { affine::Codebook::SEVEN } else { affine::Codebook::EIGHT }
    }
}

/// Whether one of the names is that of a node, or of a value that it computes.
fn stands_for(names: &[String], n: &NodeProto) -> bool {
    names.iter().any(|e| !e.is_empty() && (*e == n.name || n.output.contains(e) || *e == node::label(n)))
}

/// The pass that carries out these options. It refuses a result that is no smaller, or whose target does not hold.
pub fn pass(options: QuantizeOptions) -> Box<dyn Pass + Send> {
    Box::new(target::Conditional::new(options))
}

/// How far the outputs of a changed model are from the original's, on the samples of the context.
pub fn damage(original: &Model, changed: &Model, context: &Context<'_>) -> Result<Damage, Refusal> {
    let reference = observe::Reference::of(original, context, usize::MAX)?;
    Ok(reference.damage(&runnable(changed)?)?.0)
}

/// The operator set that these options need. [`RaiseOpset`](crate::opset::RaiseOpset) goes before the pass where a model has an older
/// one and holds operators that changed.
pub fn opset_of(options: &QuantizeOptions) -> i64 {
    match (options.scheme, options.granularity) {
        (Scheme::Int8 | Scheme::Int8Weights, Granularity::PerChannel) => 13,
        (Scheme::Int8 | Scheme::Int8Weights, Granularity::PerTensor) => 10,
        (Scheme::Int8Dynamic, _) => 11,
        (Scheme::Int4Weights | Scheme::W4A8, _) => 21,
        (Scheme::F16, _) => 1,
    }
}

/// The scheme alone: what it proposes is not held against anything.
fn propose(options: QuantizeOptions) -> Box<dyn Pass + Send> {
    match options.scheme {
        Scheme::Int8 => Box::new(qdq::StaticInt8::new(options)),
        Scheme::W4A8 => Box::new(qdq::StaticInt8::w4a8(options)),
        Scheme::Int8Dynamic => Box::new(dynamic::DynamicInt8::new(options)),
        Scheme::Int8Weights => Box::new(weights::WeightsOnly::int8(options)),
        Scheme::Int4Weights => Box::new(weights::WeightsOnly::int4(options)),
        Scheme::F16 => Box::new(f16::F16Weights::new(options)),
    }
}

/// A float32 constant of the main graph.
fn float_constant(view: &View<'_>, name: &str) -> Result<Option<Tensor>, Refusal> {
    match view.constant(name) {
        Some(t) if t.data_type == DType::F32.to_onnx() => Ok(Some(Tensor::from_proto(t)?)),
        _ => Ok(None),
    }
}

/// Why a scheme found nothing, as far as that can be told.
fn nothing(model: &Model, what: &str) -> Refusal {
    let view = model.view();
    let float = |t: &&plimsoll_onnx::proto::TensorProto| t.data_type == DType::F32.to_onnx() && t.dims.len() > 1;
    let mut weights = model.graph().initializer.iter().filter(float).peekable();
    let why = if weights.peek().is_none() {
        "it has no float32 matrices among its weights"
    } else if weights.all(|t| view.constant(&t.name).is_none()) {
        "its weights are also inputs, which a caller may override"
    } else {
        return Refusal::CheckFailed(format!("no weight is large enough or of a layer that {what} takes"));
    };
    Refusal::CheckFailed(format!("nothing to quantize: {why}"))
}

/// Where a constant lives decides how another takes its place under the same name.
fn replace_constant(patch: &mut Patch, view: &View<'_>, name: &str, stand_in: NodeProto) {
    match view.producer(name) {
        Some((id, _)) => patch.replace(id, vec![stand_in]),
        None => patch.drop_initializer(name).add(stand_in),
    };
    patch.forget(name);
}

/// Refuses a patch whose model would be no smaller than the original. For [`target::Conditional`]: a scheme that is asked about one
/// node must answer even where that alone saves nothing.
fn require_smaller(model: &Model, patch: Patch) -> Result<Patch, Refusal> {
    if patch.is_empty() {
        return Err(nothing(model, "this scheme"));
    }
    let bytes = |m: &Model| m.to_bytes().map(|b| b.len()).map_err(|e| Refusal::CheckFailed(e.to_string()));
    let mut changed = model.clone();
    patch.clone().apply(&mut changed).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    let (before, after) = (bytes(model)?, bytes(&changed)?);
    if after >= before {
        let reason = format!("the quantized model would have {after} bytes, the original has {before}");
        return Err(Refusal::NoGain(reason));
    }
    Ok(patch)
}
