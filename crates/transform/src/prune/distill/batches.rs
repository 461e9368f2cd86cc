//! Samples as batches of floats, and mixtures of them: the original says what any input is worth, so inputs that lie between
//! samples teach as well as these (mixup: Zhang et al., arXiv 1710.09412; for distillation: Beyer et al., "Knowledge Distillation: A
//! Good Teacher Is Patient and Consistent", arXiv 2106.05237), and so do samples with a box of another (CutMix, Yun et al., arXiv
//! 1905.04899). Whole numbers are only spliced, never averaged. Knows samples, not models.

use std::collections::BTreeMap;

use plimsoll_onnx::DType;

use super::{
    augment::{Allowed, Change, long},
    tape::Inputs,
};
use crate::{Context, Refusal, draw::Dice, observe::Runs};

/// The samples of a data set as floats.
pub(super) struct Samples {
    /// By input: whether its numbers may be averaged, and one vector a sample.
    inputs: BTreeMap<String, (bool, Vec<Vec<f32>>)>,
    pub(super) count: usize,
    /// The shapes of a batch.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
    pub(super) batch: usize,
}

/// How two samples become one.
struct Mixture {
    /// What the first and the second go through before.
    changes: [Change; 2],
    /// How much is left of the first.
    weight: f32,
    /// A box of the second replaces that part of the first, its place given by a share for each axis; else they are averaged.
    spliced: bool,
    places: Vec<f64>,
}

impl Samples {
    /// The samples of some runs, to be given in batches of `batch`.
    pub(super) fn of(context: &Context<'_>, runs: &Runs<'_>, batch: usize) -> Result<Self, Refusal> {
        let data = context.data.ok_or(Refusal::NeedsData)?;
        let mut found =
            Self { inputs: BTreeMap::new(), count: runs.len() * runs.batch, shapes: BTreeMap::new(), batch };
        for (name, tensor) in data.inputs() {
            let mut shape = tensor.shape().to_vec();
            let Some(first) = shape.first_mut() else { continue };
            *first = batch;
            found.shapes.insert(name.clone(), shape);
            found.inputs.insert(name.clone(), (tensor.dtype().is_float(), Vec::with_capacity(found.count)));
        }
        for run in 0..runs.len() {
            for (name, tensor) in runs.feed(run) {
                let values: Vec<f32> = match tensor.dtype() {
                    DType::F32 => tensor.to_vec()?,
                    _ => tensor.to_f64()?.iter().map(|v| *v as f32).collect(),
                };
                if let Some((_, samples)) = found.inputs.get_mut(&name) {
                    let length = values.len() / runs.batch.max(1);
                    samples.extend(values.chunks_exact(length.max(1)).map(<[f32]>::to_vec));
                }
            }
        }
        if found.count == 0 || found.inputs.values().any(|(_, s)| s.len() != found.count) {
            return Err(Refusal::CheckFailed("the samples are too few, or empty".into()));
        }
        Ok(found)
    }

    /// The shape of one sample of an input.
    fn shape(&self, name: &str) -> &[usize] {
        self.shapes.get(name).and_then(|s| s.get(1..)).unwrap_or_default()
    }

    /// The most axes of space or time that an input has.
    pub(super) fn axes(&self) -> usize {
        self.inputs.keys().map(|name| long(self.shape(name)).len()).max().unwrap_or(0)
    }

    /// Samples `from ..`, as many as a batch has; the last ones again where there are too few.
    pub(super) fn batch(&self, from: usize) -> Inputs {
        let one = |(name, (_, samples)): (&String, &(bool, Vec<Vec<f32>>))| {
            let at = |i: usize| samples[(from + i).min(self.count - 1)].iter().copied();
            (name.clone(), (0..self.batch).flat_map(at).collect())
        };
        self.inputs.iter().map(one).collect()
    }

    /// The same batch with changed samples.
    pub(super) fn changed(&self, from: usize, change: &Change) -> Inputs {
        self.with(&self.batch(from), |_| change)
    }

    /// A batch whose samples go through these changes.
    fn with<'c>(&self, batch: &Inputs, change: impl Fn(usize) -> &'c Change) -> Inputs {
        let one = |(name, values): (&String, &Vec<f32>)| {
            let (shape, length) = (self.shape(name), (values.len() / self.batch.max(1)).max(1));
            let samples = values.chunks_exact(length).enumerate();
            (name.clone(), samples.flat_map(|(at, sample)| change(at).apply(sample, shape)).collect())
        };
        batch.iter().map(one).collect()
    }

    /// A batch with each of its samples changed as drawn.
    pub(super) fn viewed(&self, batch: &Inputs, dice: &mut Dice, allowed: &Allowed) -> Inputs {
        let changes: Vec<Change> = (0..self.batch).map(|_| allowed.drawn(dice)).collect();
        self.with(batch, |sample| &changes[sample])
    }

    /// A batch of drawn samples, `share` of them changed and mixed with others.
    pub(super) fn drawn(&self, dice: &mut Dice, share: f64, allowed: &Allowed) -> Inputs {
        let mut batch: Inputs = self.inputs.keys().map(|name| (name.clone(), Vec::new())).collect();
        let axes = self.axes().max(1);
        for _ in 0..self.batch {
            let (a, b) = (dice.below(self.count), dice.below(self.count));
            let mixed = dice.unit() < share;
            let mixture = Mixture {
                changes: [allowed.drawn(dice), allowed.drawn(dice)],
                weight: dice.unit() as f32,
                spliced: dice.next() & 1 == 1,
                places: (0..axes).map(|_| dice.unit()).collect(),
            };
            for (name, (averaged, samples)) in &self.inputs {
                let Some(out) = batch.get_mut(name) else { continue };
                let (one, other) = (&samples[a], &samples[b]);
                if mixed {
                    out.extend(mixture.of(one, other, self.shape(name), *averaged));
                } else {
                    out.extend_from_slice(one);
                }
            }
        }
        batch
    }
}

impl Mixture {
    fn of(&self, one: &[f32], other: &[f32], shape: &[usize], averaged: bool) -> Vec<f32> {
        let axes = long(shape);
        let (mut one, other) = (self.changes[0].apply(one, shape), self.changes[1].apply(other, shape));
        if averaged && (!self.spliced || axes.is_empty()) {
            one.iter_mut().zip(&other).for_each(|(x, y)| *x = self.weight * *x + (1.0 - self.weight) * y);
            return one;
        }
        // Without axes of space or time a stretch of elements as they lie.
        let (shape, axes) = if axes.is_empty() { (vec![one.len()], vec![0]) } else { (shape.to_vec(), axes) };
        let part = (1.0 - f64::from(self.weight)).powf(1.0 / axes.len() as f64);
        let mut spans: Vec<(usize, usize)> = shape.iter().map(|size| (0, *size)).collect();
        for (&axis, place) in axes.iter().zip(&self.places) {
            let length = (part * shape[axis] as f64).round() as usize;
            let from = (place * (shape[axis] - length + 1) as f64) as usize;
            spans[axis] = (from, from + length);
        }
        for (i, (x, y)) in one.iter_mut().zip(&other).enumerate() {
            let mut rest = i;
            let mut inside = true;
            for (size, (from, to)) in shape.iter().zip(&spans).rev() {
                inside &= (*from..*to).contains(&(rest % size));
                rest /= size;
            }
            if inside {
                *x = *y;
            }
        }
        one
    }
}
