//! Samples as batches of floats, and mixtures of them: the original says what any input is worth, so inputs that lie between
//! samples teach as well as these (mixup: Zhang et al., arXiv 1710.09412; for distillation: Beyer et al., "Knowledge Distillation: A
//! Good Teacher Is Patient and Consistent", arXiv 2106.05237). Whole numbers are not averaged but spliced (CutMix, Yun et al.,
//! arXiv 1905.04899). Knows samples, not models.

use std::collections::BTreeMap;

use plimsoll_onnx::DType;

use super::tape::Inputs;
use crate::{Context, Refusal, draw::Dice, observe::Runs};

/// Axes of so many elements and more are taken for space or time.
const SPACE: usize = 8;
/// A sample moves along an axis by no more than its length divided by this.
const REACH: usize = 8;

/// A sample moved along its long axes, the last of two mirrored in every other draw; what comes in at the border is the border.
struct Moved {
    shape: Vec<usize>,
    by: Vec<i64>,
    mirrored: Option<usize>,
}

impl Moved {
    /// Of a batch of this shape.
    fn drawn(batch: &[usize], draws: [u64; 3]) -> Self {
        let shape = batch.get(1..).unwrap_or_default().to_vec();
        let long: Vec<usize> = (0..shape.len()).filter(|a| shape[*a] >= SPACE && shape.len() > 1).collect();
        let mut by = vec![0i64; shape.len()];
        for (&axis, draw) in long.iter().zip(draws) {
            let reach = (shape[axis] / REACH) as i64;
            by[axis] = (draw % (2 * reach as u64 + 1)) as i64 - reach;
        }
        let mirrored = long.last().copied().filter(|_| long.len() == 2 && draws[2] & 1 == 1);
        Self { shape, by, mirrored }
    }

    fn apply(&self, sample: &[f32]) -> Vec<f32> {
        if self.by.iter().all(|b| *b == 0) && self.mirrored.is_none() {
            return sample.to_vec();
        }
        let from = |mut i: usize| {
            let (mut at, mut step) = (0usize, 1usize);
            for axis in (0..self.shape.len()).rev() {
                let size = self.shape[axis];
                let place = (i % size) as i64 + self.by[axis];
                let place = place.clamp(0, size as i64 - 1) as usize;
                at += if self.mirrored == Some(axis) { size - 1 - place } else { place } * step;
                i /= size;
                step *= size;
            }
            sample.get(at).copied().unwrap_or(0.0)
        };
        (0..sample.len()).map(from).collect()
    }
}

/// The samples of a data set as floats.
pub(super) struct Samples {
    /// By input: whether its numbers may be averaged, and one vector a sample.
    inputs: BTreeMap<String, (bool, Vec<Vec<f32>>)>,
    pub(super) count: usize,
    /// The shapes of a batch.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
    pub(super) batch: usize,
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

    /// Samples `from ..`, as many as a batch has; the last ones again where there are too few.
    pub(super) fn batch(&self, from: usize) -> Inputs {
        let one = |(name, (_, samples)): (&String, &(bool, Vec<Vec<f32>>))| {
            let at = |i: usize| samples[(from + i).min(self.count - 1)].iter().copied();
            (name.clone(), (0..self.batch).flat_map(at).collect())
        };
        self.inputs.iter().map(one).collect()
    }

    /// A batch of drawn samples, `share` of them moved a little and mixed with others.
    pub(super) fn drawn(&self, dice: &mut Dice, share: f64) -> Inputs {
        let unit = |dice: &mut Dice| (dice.next() >> 11) as f64 / (1u64 << 53) as f64;
        let mut batch: Inputs = self.inputs.keys().map(|name| (name.clone(), Vec::new())).collect();
        for _ in 0..self.batch {
            let pick = |dice: &mut Dice| (dice.next() % self.count as u64) as usize;
            let (a, b) = (pick(dice), pick(dice));
            let mixed = unit(dice) < share;
            let (weight, start) = (unit(dice) as f32, unit(dice));
            let draws = [dice.next(), dice.next(), dice.next()];
            for (name, (averaged, samples)) in &self.inputs {
                let moved = Moved::drawn(self.shapes.get(name).map(Vec::as_slice).unwrap_or_default(), draws);
                let Some(out) = batch.get_mut(name) else { continue };
                let (one, other) = (&samples[a], &samples[b]);
                if !mixed {
                    out.extend_from_slice(one);
                } else if *averaged {
                    let (one, other) = (moved.apply(one), moved.apply(other));
                    out.extend(one.iter().zip(&other).map(|(x, y)| weight * x + (1.0 - weight) * y));
                } else {
                    let length = ((1.0 - weight) * one.len() as f32) as usize;
                    let from = (start * (one.len() - length) as f64) as usize;
                    out.extend_from_slice(&one[..from]);
                    out.extend_from_slice(&other[from..from + length]);
                    out.extend_from_slice(&one[from + length..]);
                }
            }
        }
        batch
    }
}
