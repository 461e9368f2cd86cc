//! Repair by distillation: all weights of the pruned model are trained to give the original's outputs, averaged over other views of a
//! sample where it hardly notices these, and what its layers read, on the calibration samples and mixtures of them, without labels
//! (Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531; Radosavovic et al., "Data Distillation", arXiv
//! 1712.04440). Each step changes what a layer gives by the same small part ([`steps`]).
//!
//! Whether that helps is rehearsed: a model refitted and trained without a part of the samples is judged on these. Samples that the refit
//! has seen would not do: it is nearer to the original on them than on any other. Only then, and as far as it helped without leaving the
//! original's own outputs, is the model trained on all samples, and for longer. Knows neither scores nor groups.

mod augment;
mod batches;
mod elementwise;
mod features;
mod geometry;
mod lesson;
mod linear;
mod loss;
mod movement;
mod rules;
mod steps;
mod tape;
#[cfg(test)]
mod tests;
mod windows;

use plimsoll_onnx::{Model, Patch, Tensor};

pub(super) use self::features::Kept;
use self::{
    batches::Samples,
    lesson::{Distances, Lesson},
};
use super::{
    gain::{Gain, LITTLE, mean},
    layers::set_constant,
    removal::apply,
};
use crate::{Context, Refusal, observe::Runs};

/// The values of several tensors.
type Tensors = Vec<Vec<f32>>;

/// Samples that one thread takes at a time; gradients are summed in this grain, so that the number of threads does not matter.
const GRAIN: usize = 8;
/// One run in so many is held back to judge by.
const HELD_BACK: usize = 5;
/// Multiply-accumulates that all steps may take: about two minutes on one core.
const WORK: f64 = 2e12;
/// The share of it that the rehearsal takes.
const REHEARSED: f64 = 0.5;
/// The least and the most steps of a training.
const STEPS: [usize; 2] = [50, 2000];
/// The most grains in a step; fewer where there would not be so many steps.
const GRAINS: usize = 4;
const ENOUGH_STEPS: usize = 400;
/// Parts of the way from the start to the end of training that are judged (as in "Robust Fine-Tuning of Zero-Shot Models", Wortsman
/// et al., arXiv 2109.01903).
const PARTS: [f32; 7] = [1.0, 0.85, 0.7, 0.5, 0.3, 0.15, 0.05];
/// So many standard errors nearer is clearly nearer.
const CLEAR: f64 = 1.0;

/// A pruned model that is to be trained.
pub(super) struct Pruned<'p> {
    pub(super) original: &'p Model,
    /// Fitted to the original on all samples.
    pub(super) model: &'p Model,
    /// What is left of the channels of each value.
    pub(super) kept: Kept,
    /// Multiply-accumulates of a sample, before and after pruning.
    pub(super) macs: [u64; 2],
}

/// What came of the training.
pub(super) struct Distilled {
    /// The trained model, where training clearly helps.
    pub(super) model: Option<Model>,
    /// Mean distance of the rehearsed model from what is learnt, on the samples held back, before and after training.
    pub(super) held: [f64; 2],
    /// The standard error of what lies between them.
    pub(super) error: f64,
    /// Mean distance from the original's own outputs, likewise, where these are not what is learnt.
    pub(super) own: Option<[f64; 2]>,
}

/// Trains a pruned model; `refitted` gives it as it is when only some runs of the original are fitted to.
pub(super) fn distill(
    pruned: &Pruned<'_>,
    refitted: impl FnOnce(Runs<'_>) -> Result<Model, Refusal>,
    context: &Context<'_>,
    samples: usize,
) -> Result<Distilled, Refusal> {
    let runs = Runs::of(pruned.original, context, samples)?;
    if runs.len() < HELD_BACK {
        let reason =
            format!("distillation holds back one run in {HELD_BACK}, and the samples make only {}", runs.len());
        return Err(Refusal::CheckFailed(reason));
    }
    let grain = if runs.batch > 1 { runs.batch } else { GRAIN };
    let length = |lesson: &Lesson, share: f64| {
        let [teacher, student] = pruned.macs.map(|m| m as f64);
        let each = ((1 + lesson.views) as f64 * teacher + 3.0 * student).max(1.0) * grain as f64;
        let afforded = (share * WORK / trainings(lesson) as f64 / each) as usize;
        let grains = (afforded / ENOUGH_STEPS).clamp(1, GRAINS);
        [(afforded / grains).clamp(STEPS[0], (share * STEPS[1] as f64) as usize), grains]
    };
    let lesson = |model: &Model, runs: &Runs<'_>| {
        Lesson::of(pruned.original, model, &pruned.kept, Samples::of(context, runs, grain)?)
    };
    let (fit, held) = runs.clone().held_back(HELD_BACK);
    let (mut rehearsal, held) = (lesson(&refitted(fit.clone())?, &fit)?, Samples::of(context, &held, grain)?);
    let (mut part, mut none) = rehearse(&rehearsal, length(&rehearsal, REHEARSED), &held, context)?;
    if part.is_none() && rehearsal.views > 0 {
        rehearsal.views = 0;
        (part, none) = rehearse(&rehearsal, length(&rehearsal, REHEARSED), &held, context)?;
    }
    let Some(part) = part else { return Ok(none) };
    let mut lesson = lesson(pruned.model, &runs)?;
    lesson.views = lesson.views.min(rehearsal.views);
    let end = trained(&lesson, length(&lesson, 1.0), context)?;
    let weights = between(&lesson.start(), &end, part);
    if weights.iter().flatten().any(|w| !w.is_finite()) {
        return Ok(none);
    }
    Ok(Distilled { model: Some(with(pruned.model, &lesson, &weights)?), ..none })
}

/// How many trainings, each by its own draws, are averaged (Wortsman et al., "Model soups", arXiv 2203.05482): two where no other views keep
/// the one from learning its draws by heart.
fn trainings(lesson: &Lesson) -> u64 {
    if lesson.views > 0 { 1 } else { 2 }
}

/// The mean of the weights that the trainings end with.
fn trained(lesson: &Lesson, length: [usize; 2], context: &Context<'_>) -> Result<Tensors, Refusal> {
    let mut mean = lesson.train(length, context.seed, context.progress)?;
    for training in 1..trainings(lesson) {
        let end = lesson.train(length, context.seed.wrapping_add(training), context.progress)?;
        mean = between(&mean, &end, 1.0 / (training + 1) as f32);
    }
    Ok(mean)
}

/// How far the training is to go, if it helps at all, and what says so.
fn rehearse(
    lesson: &Lesson,
    length: [usize; 2],
    held: &Samples,
    context: &Context<'_>,
) -> Result<(Option<f32>, Distilled), Refusal> {
    let end = trained(lesson, length, context)?;
    let (start, exam) = (lesson.start(), lesson.exam(held, context.seed)?);
    let before = lesson.distances(&exam, &start)?;
    let judge = |part: f32| Ok((part, lesson.distances(&exam, &between(&start, &end, part))?));
    let judged: Vec<(f32, Distances)> = PARTS.into_iter().map(judge).collect::<Result<_, Refusal>>()?;
    // Without other views only what is nearest is safe.
    let (part, after) = farthest(&before, &judged, if lesson.views > 0 { CLEAR } else { 0.0 });
    let gain = Gain::of(&before.mean, &after.mean);
    let helps = gain.is_beyond(CLEAR) && !goes_astray(&before, after);
    let [held, own] = [[&before.mean, &after.mean], [&before.own, &after.own]].map(|both| both.map(|d| mean(d)));
    let told = Distilled { model: None, held, error: gain.error, own: (lesson.views > 0).then_some(own) };
    Ok((helps.then_some(part), told))
}

/// Of parts of the way and the distances that they lead to, the longest that is clearly nearer than the start and not clearly farther
/// than the nearest: with fewer samples and steps the rehearsal's way is worth less than that of the training it stands for. The
/// nearest where there is none.
fn farthest<'j>(start: &'j Distances, judged: &'j [(f32, Distances)], clear: f64) -> (f32, &'j Distances) {
    let faithful = judged.iter().any(|(_, d)| !goes_astray(start, d));
    let open = || judged.iter().filter(|(_, d)| !faithful || !goes_astray(start, d));
    let Some((part, nearest)) = open().min_by(|a, b| mean(&a.1.mean).total_cmp(&mean(&b.1.mean))) else {
        return (0.0, start);
    };
    let is_good = |d: &Distances| {
        Gain::of(&start.mean, &d.mean).is_beyond(CLEAR) && !Gain::of(&d.mean, &nearest.mean).is_beyond(clear)
    };
    let good = open().filter(|(_, d)| is_good(d)).max_by(|a, b| a.0.total_cmp(&b.0));
    good.map_or((*part, nearest), |(part, distances)| (*part, distances))
}

/// Whether what comes of the training is clearly farther from the original's own outputs than the start, and not a little only.
fn goes_astray(start: &Distances, end: &Distances) -> bool {
    mean(&end.own) > LITTLE && Gain::of(&end.own, &start.own).is_beyond(CLEAR)
}

/// What lies between two states.
fn between(start: &Tensors, end: &Tensors, part: f32) -> Tensors {
    let mix = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).map(|(a, b)| a + part * (b - a)).collect();
    start.iter().zip(end).map(mix).collect()
}

/// The model with these weights.
fn with(model: &Model, lesson: &Lesson, weights: &Tensors) -> Result<Model, Refusal> {
    let mut changed = model.clone();
    let mut patch = Patch::new();
    let view = model.view();
    for ((name, _), values) in lesson.student.weights.iter().zip(weights) {
        let shape: Vec<usize> = match view.constant(name) {
            Some(t) => t.dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect(),
            None => continue,
        };
        set_constant(&view, &mut patch, name, &Tensor::from_elements(&shape, values)?);
    }
    apply(patch, &mut changed)?;
    Ok(changed)
}
