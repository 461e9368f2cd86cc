//! Repair by distillation: all weights of the pruned model are trained to give the original's outputs, on the calibration samples and
//! mixtures of them, without labels (Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531). Each step
//! changes what a layer gives by the same small part ([`steps`]). The best weights on samples that
//! were held back are kept, never worse ones than those at the start. The same seed gives the same weights on any number of threads. Knows neither scores nor groups.

mod batches;
mod elementwise;
mod geometry;
mod linear;
mod loss;
mod movement;
mod rules;
mod steps;
mod tape;
#[cfg(test)]
mod tests;
mod windows;

use plimsoll_onnx::{DType, Model, Patch, Tensor};
use rayon::prelude::*;

use self::steps::{Steps, measured};
use self::{batches::Samples, loss::Kind, tape::Tape};
use super::{layers::set_constant, removal::apply};
use crate::{Context, Refusal, draw::Dice, observe::Runs};

/// The values of several tensors.
type Tensors = Vec<Vec<f32>>;

/// Samples that one thread takes at a time; gradients are summed in this grain, so that the number of threads does not matter.
const GRAIN: usize = 8;
/// Grains in a step.
const GRAINS: usize = 4;
/// One run in so many is held back to judge by.
const HELD_BACK: usize = 5;
/// Multiply-accumulates that all steps together may take: a few minutes on one core.
const WORK: f64 = 2e12;
const STEPS: [usize; 2] = [50, 2500];
/// The largest step, relative to a tensor's magnitude.
const RATE: f64 = 0.004;
/// Share of the steps over which the rate rises; it falls over the rest.
const RISE: f64 = 0.05;
/// What class scores are divided by in training.
const TEMPERATURE: f32 = 2.0;
/// Share of samples that are mixed with others.
const MIXED: f64 = 0.9;
/// Batches on which it is seen what layers read.
const GRAMS: usize = 12;
/// Parts of the way that are judged at the end (as in "Robust Fine-Tuning of Zero-Shot Models", Wortsman et al., arXiv 2109.01903).
const BETWEEN: [f32; 5] = [0.15, 0.3, 0.5, 0.7, 0.85];
/// How often the weights are judged.
const JUDGED: usize = 20;

/// The pruned model with trained weights, and its distance from the original on samples held back before and after; `None` where
/// training does not bring it nearer.
pub(super) fn distill(
    original: &Model,
    pruned: &Model,
    macs: [u64; 2],
    context: &Context<'_>,
    samples: usize,
) -> Result<(Option<Model>, [f64; 2]), Refusal> {
    let runs = Runs::of(original, context, samples)?;
    let fixed = runs.batch > 1;
    let grain = if fixed { runs.batch } else { GRAIN };
    let (fit, held) = runs.held_back(HELD_BACK);
    let (fit, held) = (Samples::of(context, &fit, grain)?, Samples::of(context, &held, grain)?);
    let outputs: Vec<String> =
        original.outputs().into_iter().filter(|o| o.dtype == Some(DType::F32)).map(|o| o.name).collect();
    if outputs.is_empty() {
        return Err(Refusal::CheckFailed("no output is float32: there is nothing to distil from".into()));
    }
    let teacher = Tape::of(original, &fit.shapes, &outputs)?;
    let student = Tape::of(pruned, &fit.shapes, &outputs)?;
    let lesson = Lesson::of(teacher, student, &held)?;
    let each = (macs[0] as f64 + 3.0 * macs[1] as f64).max(1.0) * (grain * GRAINS) as f64;
    let steps = ((WORK / each) as usize).clamp(STEPS[0], STEPS[1]);
    let start: Tensors = lesson.student.weights.iter().map(|(_, v)| v.clone()).collect();
    let (best, distances) = lesson.train(start, &fit, steps, context)?;
    let Some(best) = best else { return Ok((None, distances)) };
    let mut changed = pruned.clone();
    let mut patch = Patch::new();
    let view = pruned.view();
    for ((name, _), values) in lesson.student.weights.iter().zip(&best) {
        let shape: Vec<usize> = match view.constant(name) {
            Some(t) => t.dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect(),
            None => continue,
        };
        set_constant(&view, &mut patch, name, &Tensor::from_elements(&shape, values)?);
    }
    apply(patch, &mut changed)?;
    Ok((Some(changed), distances))
}

/// Teacher and student, and how they are compared.
struct Lesson {
    teacher: Tape,
    student: Tape,
    taught: Tensors,
    kinds: Vec<Kind>,
    held: Vec<(tape::Inputs, Tensors)>,
}

impl Lesson {
    fn of(teacher: Tape, student: Tape, held: &Samples) -> Result<Self, Refusal> {
        let taught: Tensors = teacher.weights.iter().map(|(_, v)| v.clone()).collect();
        let batches: Vec<tape::Inputs> = (0..held.count / held.batch).map(|b| held.batch(b * held.batch)).collect();
        let batches = if batches.is_empty() { vec![held.batch(0)] } else { batches };
        let one = |batch: tape::Inputs| -> Result<(tape::Inputs, Tensors), Refusal> {
            let values = teacher.forward(&taught, &batch)?;
            let outputs = teacher.outputs(&values).into_iter().map(<[f32]>::to_vec).collect();
            Ok((batch, outputs))
        };
        let held: Vec<_> = batches.into_par_iter().map(one).collect::<Result<_, _>>()?;
        let kind = |o: usize| {
            let all: Vec<f32> = held.iter().flat_map(|(_, outputs)| outputs[o].iter().copied()).collect();
            Kind::of(&all, &teacher.shapes[o], o == 0)
        };
        let kinds = (0..teacher.shapes.len()).map(kind).collect();
        Ok(Self { teacher, student, taught, kinds, held })
    }

    /// The distance on the samples that were held back.
    fn judge(&self, weights: &[Vec<f32>]) -> Result<f64, Refusal> {
        let one = |(batch, expected): &(tape::Inputs, Tensors)| -> Result<f64, Refusal> {
            let values = self.student.forward(weights, batch)?;
            let found = self.student.outputs(&values);
            Ok(self.kinds.iter().zip(expected).zip(found).map(|((k, t), s)| k.loss(t, s, 1.0).0).sum())
        };
        let all: Vec<f64> = self.held.par_iter().map(one).collect::<Result<_, _>>()?;
        let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
        Ok(if mean.is_nan() { f64::INFINITY } else { mean })
    }

    /// The descent from some weights: what each layer reads is looked at on a few samples.
    fn descent(&self, start: &Tensors, samples: &Samples) -> Result<Steps, Refusal> {
        let layouts: Vec<_> = self.student.layouts().into_iter().map(measured).collect();
        let mut grams: Tensors =
            layouts.iter().map(|l| vec![0.0; l.map_or(0, |l| (l.inner + 1) * l.inner + 1)]).collect();
        let batches = (samples.count / samples.batch).clamp(1, GRAMS);
        for batch in 0..batches {
            let values = self.student.forward(start, &samples.batch(batch * samples.batch))?;
            self.student.grams(start, &values, &mut grams);
        }
        Ok(Steps::of(start, &layouts, &self.student.biases(), &grams))
    }

    /// The gradient of one grain by each weight.
    fn gradient(&self, weights: &[Vec<f32>], batch: &tape::Inputs) -> Result<Tensors, Refusal> {
        let taught = self.teacher.forward(&self.taught, batch)?;
        let values = self.student.forward(weights, batch)?;
        let pairs = self.teacher.outputs(&taught).into_iter().zip(self.student.outputs(&values));
        let by: Tensors = self.kinds.iter().zip(pairs).map(|(k, (t, s))| k.loss(t, s, TEMPERATURE).1).collect();
        Ok(self.student.backward(weights, &values, by))
    }

    /// The best weights on held-back samples, where they are better than the first, and the distances of both.
    fn train(
        &self,
        start: Tensors,
        samples: &Samples,
        steps: usize,
        context: &Context<'_>,
    ) -> Result<(Option<Tensors>, [f64; 2]), Refusal> {
        context.progress.start("distil", steps);
        let first = self.judge(&start)?;
        let mut best: (f64, Option<Tensors>) = (first, None);
        let mut dice = Dice::new(context.seed);
        let mut descent = self.descent(&start, samples)?;
        let mut weights = start.clone();
        for step in 0..steps {
            let batches: Vec<tape::Inputs> = (0..GRAINS).map(|_| samples.drawn(&mut dice, MIXED)).collect();
            let parts: Vec<Tensors> =
                batches.par_iter().map(|b| self.gradient(&weights, b)).collect::<Result<_, _>>()?;
            descent.step(&mut weights, &parts, rate(step, steps));
            context.progress.advance(1);
            if (step + 1) % (steps / JUDGED).max(1) == 0 {
                let found = self.judge(&weights)?;
                if found < best.0 {
                    best = (found, Some(weights.clone()));
                }
            }
        }
        context.progress.finish();
        // Between the start and the end of training often lies something better than both.
        for part in BETWEEN {
            let mix = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).map(|(a, b)| a + part * (b - a)).collect();
            let between: Tensors = start.iter().zip(&weights).map(mix).collect();
            let found = self.judge(&between)?;
            if found < best.0 {
                best = (found, Some(between));
            }
        }
        Ok((best.1, [first, best.0]))
    }
}

/// The size of a step: rising at first, then falling as a cosine.
fn rate(step: usize, steps: usize) -> f64 {
    let at = (step as f64 + 1.0) / steps.max(1) as f64;
    RATE * if at < RISE { at / RISE } else { 0.5 * (1.0 + ((at - RISE) / (1.0 - RISE) * std::f64::consts::PI).cos()) }
}
