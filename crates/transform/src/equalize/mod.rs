//! Equalization: a factor a channel moves from what computes a value to what reads it, so that no channel takes the codes of the
//! others when the value, or the weights that read it, are rounded. What the model computes stays the same to the last bit.
//!
//! - cross-layer: both sides get the same range, from the weights alone (Nagel et al., "Data-Free Quantization Through Weight
//!   Equalization and Bias Correction", arXiv 1906.04721);
//! - smooth: a part of the activations' spread moves into the weights (Xiao et al., "SmoothQuant", arXiv 2211.10438);
//! - auto: of all these the factors with the least noise under the scheme at hand, only for layers where that is far less, and
//!   only where a trial on samples that were held back comes nearer to the original.
//!
//! This module must not know how quantized models are written, nor measure time.

mod pairs;
mod scaling;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, str::FromStr};

use plimsoll_onnx::{Model, Patch, Tensor};
use plimsoll_runtime::LoadOptions;

use self::{
    pairs::{Pair, Part, labels, pairs},
    scaling::{Rounding, Seen, alike, best, largest, smooth},
};
use crate::{
    Context, Effect, Pass, Refusal,
    observe::{self, Runs, floats},
    quantize::{self, Calibration, Granularity, QuantizeOptions, Repair, Scheme},
};

/// Runs that channels are looked at on.
const RUNS: usize = 16;
/// Samples that a trial calibrates with, and as many to judge it by.
const TRIAL: usize = 48;
/// Sweeps over the pairs: what one changes is what the next begins with.
const SWEEPS: usize = 8;
/// A source whose largest channel is this much above its middle one is worth a look.
const UNEVEN: f64 = 4.0;
/// The logarithm of noise over signal must fall by this much: to a half.
const WORTH: f64 = std::f64::consts::LN_2;
/// The usual share of the activations' spread that goes into the weights.
const ALPHA: f64 = 0.5;

/// How channels are brought to like ranges before a model is quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Equalization {
    /// Not at all.
    None,
    /// From the weights of neighbouring layers.
    CrossLayer,
    /// From activations and weights.
    Smooth,
    /// Where it is seen to help.
    #[default]
    Auto,
}

impl Equalization {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::None, Self::CrossLayer, Self::Smooth, Self::Auto];

    /// The name on the command line and in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::CrossLayer => "cross-layer",
            Self::Smooth => "smooth",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for Equalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no method has.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("`{0}` is no equalization (one of: none, cross-layer, smooth, auto)")]
pub struct UnknownEqualization(String);

impl FromStr for Equalization {
    type Err = UnknownEqualization;
    fn from_str(s: &str) -> Result<Self, UnknownEqualization> {
        Self::ALL.into_iter().find(|m| m.name() == s).ok_or_else(|| UnknownEqualization(s.into()))
    }
}

/// The pass.
#[derive(Debug, Clone)]
pub struct Equalize {
    method: Equalization,
    options: QuantizeOptions,
}

impl Equalize {
    /// By a method, for a model that will be quantized with these options.
    pub fn new(method: Equalization, options: QuantizeOptions) -> Self {
        Self { method, options }
    }

    /// Whether nothing is asked for.
    pub fn is_idle(&self) -> bool {
        self.method == Equalization::None
    }

    fn rounding(&self) -> Option<Rounding> {
        let per_row = self.options.granularity == Granularity::PerChannel;
        let (activations, highest) = match self.options.scheme {
            Scheme::Int8 | Scheme::Int8Dynamic => (true, 127.0),
            Scheme::W4A8 => (true, 7.0),
            Scheme::Int8Weights => (false, 127.0),
            Scheme::Int4Weights => (false, 7.0),
            Scheme::F16 => return None,
        };
        Some(Rounding { activations, highest, per_row })
    }
}

impl Pass for Equalize {
    fn name(&self) -> &'static str {
        "equalize"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        let (Some(rounding), false) = (self.rounding(), self.method == Equalization::None) else {
            return Err(Refusal::NoMatch);
        };
        let view = model.view();
        let mut found = pairs(&view);
        if self.method == Equalization::Auto {
            found.retain(uneven);
        }
        if found.is_empty() || (context.data.is_none() && self.method != Equalization::CrossLayer) {
            return Err(if found.is_empty() || self.method == Equalization::Auto {
                Refusal::NoMatch
            } else {
                Refusal::NeedsData
            });
        }
        let seen = match self.method {
            Equalization::CrossLayer => Vec::new(),
            _ => seen(model, context, &found)?,
        };
        let mut at = Scaled::of(&found);
        let mut chosen: Vec<Option<Vec<f32>>> = vec![None; found.len()];
        let sweeps = if self.method == Equalization::CrossLayer { SWEEPS } else { 1 };
        for _ in 0..sweeps {
            for (i, pair) in found.iter().enumerate() {
                let now = at.pair(pair);
                let factors = match (self.method, seen.get(i)) {
                    (Equalization::CrossLayer, _) => Some(alike(&now)),
                    (Equalization::Smooth, Some(seen)) => Some(smooth(&now, seen, ALPHA)),
                    (_, Some(seen)) => best(&now, seen, rounding).filter(|(_, less)| *less >= WORTH).map(|f| f.0),
                    _ => None,
                };
                if let Some(factors) = factors.filter(|f| f.iter().any(|s| *s != 1.0)) {
                    at.apply(pair, &factors);
                    let before = chosen[i].get_or_insert_with(|| vec![1.0; factors.len()]);
                    before.iter_mut().zip(&factors).for_each(|(b, s)| *b *= s);
                }
            }
        }
        let mut patch = Patch::new();
        for (pair, factors) in found.iter().zip(&chosen) {
            let Some(factors) = factors else { continue };
            let ends = factors.iter().fold((f32::MAX, f32::MIN), |(lo, hi), s| (lo.min(*s), hi.max(*s)));
            let spread = (ends.1 / ends.0).log2();
            let readers = labels(&view, pair.value);
            patch.because(format!("`{}` before {readers}: channels are moved by up to 2^{spread}", pair.value));
        }
        at.write(model, &mut patch)?;
        if patch.is_empty() {
            return Err(Refusal::NoMatch);
        }
        if self.method == Equalization::Auto {
            let figures = self.trial(model, &patch, context)?;
            patch.because(figures);
        }
        Ok(patch)
    }
}

impl Equalize {
    /// Quantizes with and without the factors and holds both against the original; refuses where they do not help.
    fn trial(&self, model: &Model, patch: &Patch, context: &Context<'_>) -> Result<String, Refusal> {
        let mut equalized = model.clone();
        patch.clone().apply(&mut equalized).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
        let quick = QuantizeOptions {
            repair: Some(Repair::None),
            calibration: Calibration::MinMax,
            samples: TRIAL,
            target: quantize::Target::default(),
            ..self.options.clone()
        };
        let data = context.data.ok_or(Refusal::NeedsData)?;
        let Ok((calibration, held)) = quantize::split(model, data) else { return Err(Refusal::NoMatch) };
        let reference = observe::Reference::of(model, &context.with_data(&held), TRIAL)?;
        let cost = |model: &Model| -> Result<f64, Refusal> {
            let changed = quantize::quantized(model, &quick, &context.with_data(&calibration))?;
            Ok(reference.damage(&quantize::runnable(&changed)?)?.0.cost())
        };
        let (before, after) = (cost(model)?, cost(&equalized)?);
        if after < before {
            Ok(format!("quantized so, held-back samples are off by {after:.2e}, without it by {before:.2e}"))
        } else {
            Err(Refusal::NoMatch)
        }
    }
}

/// Whether some channels of a source are far larger than most, or of its readers.
fn uneven(pair: &Pair<'_>) -> bool {
    let above = |mut sizes: Vec<f64>| {
        sizes.sort_unstable_by(f64::total_cmp);
        let (middle, most) = (sizes.get(sizes.len() / 2), sizes.last());
        middle.zip(most).is_some_and(|(middle, most)| *most > UNEVEN * middle)
    };
    // What a normalisation puts out is uneven for reasons that no constant shows.
    pair.is_normalised()
        || pair.source.iter().any(|p| above(largest([p], pair.channels)))
        || above(largest(pair.readers.iter().map(|r| &r.part), pair.channels))
}

/// Constants as they are after the factors so far.
struct Scaled<'m> {
    tensors: BTreeMap<&'m str, (Tensor, bool)>,
}

impl<'m> Scaled<'m> {
    fn of(pairs: &[Pair<'m>]) -> Self {
        let parts = pairs.iter().flat_map(|p| p.source.iter().chain(p.readers.iter().map(|r| &r.part)));
        Self { tensors: parts.map(|p| (p.name, (p.tensor.clone(), false))).collect() }
    }

    /// A pair with its constants as they are now.
    fn pair(&self, pair: &Pair<'m>) -> Pair<'m> {
        let mut now = pair.clone();
        for part in now.source.iter_mut().chain(now.readers.iter_mut().map(|r| &mut r.part)) {
            if let Some((tensor, _)) = self.tensors.get(part.name) {
                part.tensor = tensor.clone();
            }
        }
        now
    }

    fn apply(&mut self, pair: &Pair<'m>, factors: &[f32]) {
        let mut scale = |part: &Part<'m>, by: &dyn Fn(f32) -> f32| {
            let Some((tensor, changed)) = self.tensors.get_mut(part.name) else { return };
            let mut values = tensor.to_vec::<f32>().unwrap_or_default();
            for (i, v) in values.iter_mut().enumerate() {
                *v *= by(factors.get(part.channel(i)).copied().unwrap_or(1.0));
            }
            if let Ok(scaled) = Tensor::from_elements(tensor.shape(), &values) {
                (*tensor, *changed) = (scaled, true);
            }
        };
        pair.source.iter().for_each(|p| scale(p, &|s| 1.0 / s));
        pair.readers.iter().for_each(|r| scale(&r.part, &|s| s));
    }

    fn write(self, model: &Model, patch: &mut Patch) -> Result<(), Refusal> {
        let view = model.view();
        for (name, (tensor, _)) in self.tensors.into_iter().filter(|(_, (_, changed))| *changed) {
            if !tensor.is_finite() {
                return Err(Refusal::CheckFailed(format!("`{name}` would leave the range of float32")));
            }
            if let Some((id, _)) = view.producer(name) {
                patch.remove(id);
            }
            patch.set_initializer(name, &tensor);
        }
        Ok(())
    }
}

/// What runs of the model show of each pair's channels.
fn seen(model: &Model, context: &Context<'_>, pairs: &[Pair<'_>]) -> Result<Vec<Seen>, Refusal> {
    let runs = Runs::of(model, context, usize::MAX)?.thinned(RUNS);
    let values: Vec<&str> = pairs.iter().map(|p| p.value).collect();
    let part = observe::Part::of(model, &values)?;
    let feed = |run: usize| {
        let mut fed = runs.feed(run);
        fed.retain(|name, _| part.reads(name));
        fed
    };
    let options = LoadOptions::for_inputs(&feed(0));
    let shares = runs.shared(|span| {
        let mut session = part.load(context, &options)?;
        let mut found: Vec<Seen> = pairs.iter().map(|p| Seen::new(p.channels)).collect();
        session.each(span, feed, |_, _, captured| {
            for (pair, found) in pairs.iter().zip(&mut found) {
                let tensor = captured.get(pair.value).ok_or_else(|| {
                    Refusal::CheckFailed(format!("the executor did not return the captured value `{}`", pair.value))
                })?;
                let of_run = of_channels(pair, tensor)?;
                *found = std::mem::replace(found, Seen::new(0)).merge(&of_run);
            }
            Ok(())
        })?;
        Ok(found)
    })?;
    let join = |a: Vec<Seen>, b: Vec<Seen>| a.into_iter().zip(&b).map(|(a, b)| a.merge(b)).collect();
    Ok(shares.into_iter().reduce(join).unwrap_or_default())
}

fn of_channels(pair: &Pair<'_>, tensor: &Tensor) -> Result<Seen, Refusal> {
    let values = floats(pair.value, tensor)?;
    let shape = tensor.shape();
    let misfit = || Refusal::CheckFailed(format!("value `{}` has shape {shape:?}, not its channels", pair.value));
    let axis = pair.axis.map_or_else(|| shape.len().checked_sub(1), Some).ok_or_else(misfit)?;
    if shape.get(axis) != Some(&(pair.channels * pair.repeat)) {
        return Err(misfit());
    }
    let inner: usize = shape.iter().skip(axis + 1).product();
    let mut found = Seen { count: (values.len() / pair.channels.max(1)).max(1), ..Seen::new(pair.channels) };
    for (i, v) in values.iter().enumerate() {
        let c = i / inner.max(1) % (pair.channels * pair.repeat) / pair.repeat.max(1);
        let v = f64::from(*v);
        found.lo[c] = found.lo[c].min(v);
        found.hi[c] = found.hi[c].max(v);
        found.power[c] += v * v;
    }
    let count = found.count as f64;
    found.power.iter_mut().for_each(|p| *p /= count);
    Ok(found)
}
