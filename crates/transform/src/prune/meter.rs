//! What a model costs, and what is left of that when channels go. Knows shapes and counts, not scores.

use std::{collections::BTreeSet, str::FromStr};

use plimsoll_cost::{NodeCost, macs, nodes, params};
use plimsoll_dataset::Samples as _;
use plimsoll_onnx::{
    DimSpec, Model, ValueSpec,
    shape::{Bindings, infer},
};

use super::{
    Share,
    groups::Groups,
    removal::{apply, remove},
};
use crate::{Context, Refusal};

/// Channels that kernels work on at a time.
pub(super) const KERNEL: usize = 8;
/// How far beyond the target is still what was asked for, as a share of the whole.
pub(super) const TOLERANCE: f64 = 0.02;

/// What is to be removed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// A share of the multiply-accumulates.
    Macs(Share),
    /// A share of the parameters.
    Params(Share),
    /// A share of the file's bytes.
    Bytes(Share),
    /// What is beyond a time of one run, measured. Counts of channels are rounded to what kernels work in.
    Latency(Milliseconds),
}

/// A time above 0, written as `2.5ms`, `800us` or `1s`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Milliseconds(f64);

/// A text that is no time.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("`{0}` is no time above 0 (such as `2.5ms`)")]
pub struct NotATime(String);

impl Milliseconds {
    /// In milliseconds.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl FromStr for Milliseconds {
    type Err = NotATime;
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let units = [("us", 1e-3), ("µs", 1e-3), ("ms", 1.0), ("s", 1e3)];
        let (digits, scale) = units
            .iter()
            .find_map(|(unit, scale)| Some((text.trim().strip_suffix(unit)?, *scale)))
            .ok_or_else(|| NotATime(text.into()))?;
        let value = digits.trim_end().parse::<f64>().map(|v| v * scale).ok();
        value.filter(|v| v.is_finite() && *v > 0.0).map(Self).ok_or_else(|| NotATime(text.into()))
    }
}

impl Target {
    /// The share to be removed, where it is one.
    pub(super) fn share(self) -> f64 {
        match self {
            Self::Macs(s) | Self::Params(s) | Self::Bytes(s) => s.fraction(),
            Self::Latency(_) => 0.0,
        }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Macs(_) | Self::Latency(_) => "multiply-accumulates",
            Self::Params(_) => "parameters",
            Self::Bytes(_) => "bytes",
        }
    }
}

/// Takes the measure of a model without some of its channels.
pub(super) struct Meter<'a, 'm> {
    pub(super) model: &'m Model,
    pub(super) groups: &'a Groups<'m>,
    pub(super) target: Target,
    /// Layers keep a multiple of so many channels.
    pub(super) round_to: Option<usize>,
    sizes: Bindings,
    whole: u64,
}

impl<'a, 'm> Meter<'a, 'm> {
    pub(super) fn of(
        model: &'m Model,
        groups: &'a Groups<'m>,
        (target, round_to): (Target, Option<usize>),
        context: &Context<'_>,
    ) -> Result<Self, Refusal> {
        let mut meter = Self { model, groups, target, round_to, sizes: sizes(model, context), whole: 0 };
        meter.whole = meter.cost(context.origin.unwrap_or(model));
        if meter.whole == 0 {
            return Err(Refusal::CheckFailed(format!("the model's {} are not known", target.what())));
        }
        Ok(meter)
    }

    fn cost(&self, model: &Model) -> u64 {
        let shapes = || infer(model, &self.sizes);
        match self.target {
            Target::Macs(_) | Target::Latency(_) => macs(model, &shapes()),
            Target::Params(_) => params(model, &shapes()),
            Target::Bytes(_) => model.encoded_len() as u64,
        }
    }

    /// The model without these channels.
    pub(super) fn without(&self, channels: &BTreeSet<usize>) -> Result<Model, Refusal> {
        let mut changed = self.model.clone();
        apply(remove(self.model, self.groups, channels)?, &mut changed)?;
        Ok(changed)
    }

    /// What is left for vectors to do without these channels: multiply-accumulates, those in lanes without a channel included.
    pub(super) fn lanes(&self, channels: &BTreeSet<usize>) -> Result<f64, Refusal> {
        let model = self.without(channels)?;
        let counted = nodes(&model, &infer(&model, &self.sizes));
        let filled = |node: &NodeCost| -> f64 {
            let made = node.shape.as_deref().and_then(|shape| match node.op.as_str() {
                "Conv" | "ConvTranspose" => shape.get(1),
                _ => shape.last(),
            });
            let macs = node.macs.unwrap_or(0) as f64;
            made.filter(|n| **n > 0).map_or(macs, |n| macs * n.next_multiple_of(KERNEL) as f64 / *n as f64)
        };
        Ok(counted.iter().map(filled).sum())
    }

    /// The share that is gone without these channels.
    pub(super) fn share(&self, channels: &BTreeSet<usize>) -> Result<f64, Refusal> {
        Ok(self.gone(self.left(channels)?))
    }

    /// The cost without these channels.
    pub(super) fn left(&self, channels: &BTreeSet<usize>) -> Result<u64, Refusal> {
        Ok(self.cost(&self.without(channels)?))
    }

    /// The share that is gone where so much is left.
    pub(super) fn gone(&self, left: u64) -> f64 {
        1.0 - left as f64 / self.whole as f64
    }
}

/// One sample, of the sizes that the given ones have; without these, open dimensions are 1.
pub(super) fn sizes(model: &Model, context: &Context<'_>) -> Bindings {
    let shapes = context.data.and_then(|d| d.one_sample(&model.inputs()));
    shapes.map_or_else(|| Bindings::batch(1), Bindings::shapes)
}

/// Whether a count of operations rests on sizes that nobody gave.
pub(super) fn assumes_sizes(model: &Model, context: &Context<'_>) -> bool {
    let open =
        |s: &ValueSpec| s.dims.as_ref().is_none_or(|d| d.iter().skip(1).any(|d| !matches!(d, DimSpec::Fixed(_))));
    sizes(model, context) == Bindings::batch(1) && model.inputs().iter().any(open)
}

/// A text that names none of the choices.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("`{given}` is none of {known}")]
pub struct UnknownChoice {
    given: String,
    known: String,
}

/// How channels are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Score {
    /// By the norm of the weights that make them: needs no samples.
    Magnitude,
    /// By the weights that read them times the norm of what these multiply.
    Wanda,
    /// By what the outputs of their consumers lose.
    Thinet,
    /// By what these lose after the best compensation by the channels that are left.
    Obs,
}

/// How the removal is spread over the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allocation {
    /// The same share of every group.
    Uniform,
    /// The lowest scores of the whole model.
    Global,
    /// By the divergence of the outputs when channels of one group go and its consumers are refitted.
    Sensitivity,
    /// The same, then other counts of the groups are tried on the whole pruned and repaired model.
    Search,
}

/// What brings the pruned model back towards the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repair {
    /// Nothing.
    None,
    /// Least squares, layer by layer.
    LeastSquares,
    /// The same, then all weights are trained to give the original's outputs.
    Distill,
}

macro_rules! named {
    ($type:ident: $($variant:ident = $name:literal),*) => {
        impl FromStr for $type {
            type Err = UnknownChoice;
            fn from_str(text: &str) -> Result<Self, UnknownChoice> {
                match text {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(UnknownChoice { given: text.into(), known: [$($name),*].join(", ") }),
                }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),* })
            }
        }
    };
}

named!(Score: Magnitude = "magnitude", Wanda = "wanda", Thinet = "thinet", Obs = "obs");
named!(Allocation: Uniform = "uniform", Global = "global", Sensitivity = "sensitivity", Search = "search");
named!(Repair: None = "none", LeastSquares = "least-squares", Distill = "distill");
