//! Teacher and student, how they are compared, and the training of the student. Knows samples and losses, not what becomes of the
//! weights.

use plimsoll_onnx::{DType, Model};
use rayon::prelude::*;

use super::{
    Tensors,
    augment::{Allowed, Change},
    batches::Samples,
    features::{self, Feature, Kept},
    loss::Kind,
    steps::{Steps, measured},
    tape::{Inputs, Tape},
};
use crate::{Progress, Refusal, draw::Dice};

/// The largest step, relative to a tensor's magnitude.
const RATE: f64 = 0.02;
/// With fewer samples in all steps together these are smaller, by the root of the share: few samples tell a direction from noise
/// less well.
const ENOUGH: f64 = 12_800.0;
/// Share of the steps over which the rate rises; it falls over the rest.
const RISE: f64 = 0.05;
/// What class scores are divided by in training.
const TEMPERATURE: f32 = 4.0;
/// Share of samples that are changed and mixed with others.
const MIXED: f64 = 0.9;
/// How much the inner values count at the start, relative to the outputs; in the end half as much.
const INNER: f64 = 40.0;
/// So many other views of each sample the teacher's outputs are averaged over: where it hardly notices a change, their mean is usually
/// nearer to the truth (Radosavovic et al., "Data Distillation", arXiv 1712.04440).
const VIEWS: usize = 2;
/// Batches on which it is seen what layers read, and how far the student is from the teacher.
const SURVEYED: usize = 12;

/// Teacher and student, and how they are compared.
pub(super) struct Lesson {
    teacher: Tape,
    pub(super) student: Tape,
    taught: Tensors,
    kinds: Vec<Kind>,
    /// Inner values that are compared, by their place behind the outputs.
    features: Vec<Option<Feature>>,
    /// What the gradients of inner values are multiplied by.
    weight: f64,
    samples: Samples,
    allowed: Allowed,
    /// How many other views of each sample the teacher is asked for.
    pub(super) views: usize,
    descent: Steps,
}

/// Samples to judge by.
pub(super) struct Exam {
    batches: Vec<Questions>,
    batch: usize,
    count: usize,
}

/// A batch, with the teacher's outputs and their mean over other views.
struct Questions {
    batch: Inputs,
    own: Tensors,
    mean: Tensors,
}

/// How far a student is from its teacher on each of some samples.
pub(super) struct Distances {
    /// From the teacher's outputs.
    pub(super) own: Vec<f64>,
    /// From their mean over other views, which is what is learnt.
    pub(super) mean: Vec<f64>,
}

impl Lesson {
    /// From the original, on these samples, for a pruned model.
    pub(super) fn of(original: &Model, pruned: &Model, kept: &Kept, samples: Samples) -> Result<Self, Refusal> {
        let float = original.outputs().into_iter().filter(|o| o.dtype == Some(DType::F32));
        let mut names: Vec<String> = float.map(|o| o.name).collect();
        let outputs = names.len();
        if outputs == 0 {
            return Err(Refusal::CheckFailed("no output is float32: there is nothing to distil from".into()));
        }
        names.extend(features::values(original, pruned));
        let [teacher, student] = [original, pruned].map(|m| Tape::of(m, &samples.shapes, &names));
        let (teacher, student) = (teacher?, student?);
        let [taught, start] =
            [&teacher, &student].map(|t| t.weights.iter().map(|(_, v)| v.clone()).collect::<Tensors>());
        let layouts: Vec<_> = student.layouts().into_iter().map(measured).collect();
        let mut grams: Tensors =
            layouts.iter().map(|l| vec![0.0; l.map_or(0, |l| (l.inner + 1) * l.inner + 1)]).collect();
        let feature = |o: usize| Feature::of(kept.get(&names[o]), &teacher.shapes[o], &student.shapes[o]);
        let mut features: Vec<Option<Feature>> = (outputs..names.len()).map(feature).collect();
        let mut pairs: Vec<[Tensors; 2]> = Vec::new();
        for batch in 0..(samples.count / samples.batch).clamp(1, SURVEYED) {
            let batch = samples.batch(batch * samples.batch);
            let (t, s) = (teacher.forward(&taught, &batch)?, student.forward(&start, &batch)?);
            student.grams(&start, &s, &mut grams);
            let (t, s) = (teacher.outputs(&t), student.outputs(&s));
            for (feature, (t, s)) in features.iter_mut().zip(t.iter().zip(&s).skip(outputs)) {
                feature.iter_mut().for_each(|f| f.see(t, s));
            }
            pairs.push([t, s].map(|v| v[..outputs].iter().map(|v| v.to_vec()).collect()));
        }
        let kind = |o: usize| {
            let all: Vec<f32> = pairs.iter().flat_map(|[t, _]| t[o].iter().copied()).collect();
            Kind::of(&all, &teacher.shapes[o], o == 0)
        };
        let kinds: Vec<Kind> = (0..outputs).map(kind).collect();
        let loss = |[t, s]: &[Tensors; 2]| -> f64 {
            kinds.iter().zip(t.iter().zip(s)).map(|(k, (t, s))| k.loss(t, s, TEMPERATURE).0).sum()
        };
        let outer = pairs.iter().map(loss).sum::<f64>() / pairs.len().max(1) as f64;
        let inner: f64 = features.iter().flatten().filter_map(Feature::seen).sum();
        let weight = if inner > 0.0 && outer.is_finite() { INNER * outer / inner } else { 0.0 };
        let descent = Steps::of(&start, &layouts, &student.biases(), &grams);
        let allowed = Allowed::default();
        let mut lesson =
            Self { teacher, student, taught, kinds, features, weight, samples, allowed, views: 0, descent };
        lesson.allowed = lesson.allowed()?;
        lesson.views = if lesson.allowed.any() { VIEWS } else { 0 };
        Ok(lesson)
    }

    /// The changes of samples that the teacher hardly notices.
    fn allowed(&self) -> Result<Allowed, Refusal> {
        let samples = &self.samples;
        let places: Vec<usize> =
            (0..(samples.count / samples.batch).clamp(1, SURVEYED)).map(|b| b * samples.batch).collect();
        let known: Vec<Tensors> =
            places.par_iter().map(|&p| self.answers(&samples.batch(p))).collect::<Result<_, _>>()?;
        let apart = |a: &Tensors, b: &Tensors| -> f64 {
            self.each(a, &b.iter().map(Vec::as_slice).collect::<Vec<_>>(), samples.batch).iter().sum()
        };
        // How far each sample is from the next one of its batch, or from that of the next batch.
        let next = |(b, one): (usize, &Tensors)| -> f64 {
            let turned: Tensors = if samples.batch > 1 {
                let turn = |v: &Vec<f32>| {
                    let mut v = v.clone();
                    let by = v.len() / samples.batch;
                    v.rotate_left(by);
                    v
                };
                one.iter().map(turn).collect()
            } else {
                known[(b + 1) % known.len()].clone()
            };
            apart(one, &turned)
        };
        let different: f64 = known.iter().enumerate().map(next).sum();
        Allowed::found(samples.axes(), |change: &Change| {
            let one =
                |(place, known): (&usize, &Tensors)| Ok(apart(known, &self.answers(&samples.changed(*place, change))?));
            let all: Vec<f64> = places.par_iter().zip(&known).map(one).collect::<Result<_, Refusal>>()?;
            let noticed = all.iter().sum::<f64>() / different;
            Ok(if noticed.is_nan() { f64::INFINITY } else { noticed })
        })
    }

    /// Other views of a batch.
    fn viewed(&self, batch: &Inputs, dice: &mut Dice) -> Vec<Inputs> {
        (0..self.views).map(|_| self.samples.viewed(batch, dice, &self.allowed)).collect()
    }

    /// The teacher's outputs.
    fn answers(&self, batch: &Inputs) -> Result<Tensors, Refusal> {
        let values = self.teacher.forward(&self.taught, batch)?;
        Ok(self.teacher.outputs(&values)[..self.kinds.len()].iter().map(|v| v.to_vec()).collect())
    }

    /// The mean of these outputs of the teacher and those on other views.
    fn mean(&self, own: Tensors, views: &[Inputs]) -> Result<Tensors, Refusal> {
        let mut mean = own;
        for (n, view) in views.iter().enumerate() {
            let part = 1.0 / (n + 2) as f32;
            for (mean, other) in mean.iter_mut().zip(self.answers(view)?) {
                mean.iter_mut().zip(other).for_each(|(m, o)| *m += part * (o - *m));
            }
        }
        Ok(mean)
    }

    /// The distance of each sample of a batch of so many.
    fn each(&self, teacher: &Tensors, student: &[&[f32]], samples: usize) -> Vec<f64> {
        let mut found = vec![0f64; samples];
        for (kind, (t, s)) in self.kinds.iter().zip(teacher.iter().zip(student)) {
            let length = (t.len() / samples.max(1)).max(1);
            for (sum, (t, s)) in found.iter_mut().zip(t.chunks_exact(length).zip(s.chunks_exact(length))) {
                *sum += kind.loss(t, s, 1.0).0;
            }
        }
        found
    }

    /// Samples to judge by, other views of them drawn by a seed.
    pub(super) fn exam(&self, held: &Samples, seed: u64) -> Result<Exam, Refusal> {
        let mut dice = Dice::new(seed);
        let mut asked = |b: usize| {
            let batch = held.batch(b * held.batch);
            let views = self.viewed(&batch, &mut dice);
            (batch, views)
        };
        let batches: Vec<(Inputs, Vec<Inputs>)> = (0..held.count.div_ceil(held.batch)).map(&mut asked).collect();
        let one = |(batch, views): (Inputs, Vec<Inputs>)| -> Result<Questions, Refusal> {
            let own = self.answers(&batch)?;
            let mean = self.mean(own.clone(), &views)?;
            Ok(Questions { batch, own, mean })
        };
        let batches = batches.into_par_iter().map(one).collect::<Result<_, _>>()?;
        Ok(Exam { batches, batch: held.batch, count: held.count })
    }

    /// How far the student under these weights is from the teacher on each of the samples.
    pub(super) fn distances(&self, exam: &Exam, weights: &Tensors) -> Result<Distances, Refusal> {
        let one = |asked: &Questions| -> Result<[Vec<f64>; 2], Refusal> {
            let values = self.student.forward(weights, &asked.batch)?;
            let outputs = self.student.outputs(&values);
            Ok([&asked.own, &asked.mean].map(|expected| self.each(expected, &outputs, exam.batch)))
        };
        let all: Vec<[Vec<f64>; 2]> = exam.batches.par_iter().map(one).collect::<Result<_, _>>()?;
        let of = |which: usize| -> Vec<f64> {
            let found = all.iter().flat_map(|both| &both[which]).take(exam.count);
            found.map(|d| if d.is_nan() { f64::INFINITY } else { *d }).collect()
        };
        Ok(Distances { own: of(0), mean: of(1) })
    }

    /// The gradient of one grain by each weight, with this part of the weight of inner values.
    fn gradient(
        &self,
        weights: &Tensors,
        (batch, views): &(Inputs, Vec<Inputs>),
        inner: f64,
    ) -> Result<Tensors, Refusal> {
        let taught = self.teacher.forward(&self.taught, batch)?;
        let values = self.student.forward(weights, batch)?;
        let (taught, outputs) = (self.teacher.outputs(&taught), self.student.outputs(&values));
        let outer = self.kinds.len();
        let mean = self.mean(taught[..outer].iter().map(|v| v.to_vec()).collect(), views)?;
        let loss = |((kind, t), s): ((&Kind, &Vec<f32>), &&[f32])| kind.loss(t, s, TEMPERATURE).1;
        let mut by: Tensors = self.kinds.iter().zip(&mean).zip(&outputs).map(loss).collect();
        let pairs = taught.into_iter().zip(outputs).skip(outer);
        let one = |(feature, (t, s)): (&Option<Feature>, (&[f32], &[f32]))| {
            feature.as_ref().map_or(vec![], |f| f.gradient(t, s, inner * self.weight))
        };
        by.extend(self.features.iter().zip(pairs).map(one));
        Ok(self.student.backward(weights, &values, by))
    }

    /// The student's weights as they are.
    pub(super) fn start(&self) -> Tensors {
        self.student.weights.iter().map(|(_, v)| v.clone()).collect()
    }

    /// The weights after so many steps of so many grains. The same seed gives the same ones on any number of threads.
    pub(super) fn train(
        &self,
        [steps, grains]: [usize; 2],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Tensors, Refusal> {
        progress.start("distil", steps);
        let mut dice = Dice::new(seed);
        let (mut weights, mut descent) = (self.start(), self.descent.clone());
        // Without other views the samples are learnt by heart sooner.
        let rate_at_most = if self.views > 0 { RATE } else { RATE / 2.0 };
        let largest = rate_at_most * ((steps * grains * self.samples.batch) as f64 / ENOUGH).min(1.0).sqrt();
        for step in 0..steps {
            let mut drawn = || {
                let batch = self.samples.drawn(&mut dice, MIXED, &self.allowed);
                let views = self.viewed(&batch, &mut dice);
                (batch, views)
            };
            let batches: Vec<(Inputs, Vec<Inputs>)> = (0..grains).map(|_| drawn()).collect();
            let inner = 1.0 - 0.5 * step as f64 / steps as f64;
            let parts: Vec<Tensors> =
                batches.par_iter().map(|b| self.gradient(&weights, b, inner)).collect::<Result<_, _>>()?;
            descent.step(&mut weights, &parts, largest * rate(step, steps));
            progress.advance(1);
        }
        progress.finish();
        Ok(weights)
    }
}

/// The size of a step relative to the largest: rising at first, then falling as a cosine.
fn rate(step: usize, steps: usize) -> f64 {
    let at = (step as f64 + 1.0) / steps.max(1) as f64;
    if at < RISE { at / RISE } else { 0.5 * (1.0 + ((at - RISE) / (1.0 - RISE) * std::f64::consts::PI).cos()) }
}
