//! How far a changed model's outputs are from the original's, without labels: divergence of the class probabilities, agreement
//! of the classes, noise over signal. Knows executors by their trait.

use plimsoll_onnx::{DType, Model, Tensor};
use plimsoll_runtime::LoadOptions;

use super::{Runs, each};
use crate::{Context, Refusal};

/// Output elements that are kept of the original; of models with large outputs fewer samples are compared.
const ELEMENTS: usize = 32 << 20;
/// What class scores are divided by where losses are softened.
const TEMPERATURE: f64 = 4.0;

/// How far the outputs of two models are from each other on the same samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Damage {
    /// Mean Kullback-Leibler divergence of the class probabilities from the original's, in nats; where the first output is a row of
    /// scores a sample.
    pub divergence: Option<f64>,
    /// Share of samples whose class is the original's; where there are scores.
    pub agreement: Option<f64>,
    /// Energy of the difference over that of the original's output, the mean over outputs.
    pub noise: f64,
    /// Samples compared.
    pub samples: usize,
}

impl Damage {
    /// Signal over noise in decibels; `None` where the outputs are equal.
    pub fn sqnr(&self) -> Option<f64> {
        (self.noise > 0.0).then(|| -10.0 * self.noise.log10())
    }

    /// What damage is ordered by: divergence where there is one, else noise.
    pub fn cost(&self) -> f64 {
        self.divergence.unwrap_or(self.noise)
    }
}

/// The original's outputs.
pub(crate) struct Reference<'r> {
    context: Context<'r>,
    runs: Runs<'r>,
    compared: usize,
    batch: usize,
    /// Float outputs of the model.
    outputs: Vec<String>,
    /// By run, then by output.
    expected: Vec<Vec<Tensor>>,
    /// The class probabilities of the first output, where it holds scores.
    classes: Option<Scores>,
}

/// What a changed model loses, in the order of the samples.
pub(crate) struct Losses {
    /// What [`Damage::cost`] is the mean of: the divergence of each row of scores, or the noise of each run over the mean energy of one.
    pub(crate) plain: Vec<f64>,
    /// The divergence at a temperature, times its square (Hinton et al., arXiv 1503.02531), where there are scores: a few samples near the
    /// border of two classes make up most of the plain one, so models that are hardly apart are told apart better by this. Else the
    /// same.
    pub(crate) softened: Vec<f64>,
}

/// How far the outputs of two models lie apart.
struct Apart {
    /// Of each output: the energy of the difference by run, and that of the original in all runs.
    outputs: Vec<(Vec<f64>, f64)>,
    /// Of each sample, where there are scores.
    rows: Option<Vec<Row>>,
}

struct Row {
    divergence: f64,
    /// At a temperature.
    softened: f64,
    /// Class by the original.
    before: usize,
    class: usize,
}

#[derive(Debug, Clone, Copy)]
struct Scores {
    columns: usize,
    /// The scores are probabilities already.
    probabilities: bool,
}

impl<'r> Reference<'r> {
    /// Runs the original on at most `samples` samples of the context.
    pub(crate) fn of(model: &Model, context: &Context<'r>, samples: usize) -> Result<Self, Refusal> {
        Self::on(model, context, Runs::of(model, context, samples)?)
    }

    /// Runs the original on these runs.
    pub(crate) fn on(model: &Model, context: &Context<'r>, runs: Runs<'r>) -> Result<Self, Refusal> {
        let batch = runs.feed(0).values().next().and_then(|t| t.shape().first().copied()).unwrap_or(1);
        let specs = model.outputs();
        let outputs: Vec<String> =
            specs.iter().filter(|o| o.dtype == Some(DType::F32)).map(|o| o.name.clone()).collect();
        if outputs.is_empty() {
            return Err(Refusal::CheckFailed("no output is float32: there is nothing to compare by".into()));
        }
        let mut found = Self { context: *context, compared: 1, runs, batch, outputs, expected: vec![], classes: None };
        let elements: usize = found.run(model)?.iter().flatten().map(Tensor::len).sum();
        found.compared = (ELEMENTS / elements.max(1)).clamp(1, found.runs.len());
        found.expected = found.run(model)?;
        if specs.first().is_some_and(|first| found.outputs.first() == Some(&first.name)) {
            found.classes = found.scores();
        }
        Ok(found)
    }

    /// Samples that are compared.
    pub(crate) fn samples(&self) -> usize {
        self.compared * self.batch
    }

    /// The first output as rows of scores.
    fn scores(&self) -> Option<Scores> {
        let first = self.expected.first()?.first()?;
        let &[rows, columns] = first.shape() else { return None };
        if rows != self.batch || columns == 0 {
            return None;
        }
        let sums_to_one = |row: &[f32]| (row.iter().sum::<f32>() - 1.0).abs() < 1e-3 || columns == 1;
        let inside = |t: &Tensor| {
            let values = t.to_f32().unwrap_or_default();
            values.iter().all(|v| (0.0..=1.0).contains(v)) && values.chunks(columns).all(sums_to_one)
        };
        let probabilities = self.expected.iter().filter_map(|run| run.first()).all(inside);
        Some(Scores { columns, probabilities })
    }

    fn run(&self, model: &Model) -> Result<Vec<Vec<Tensor>>, Refusal> {
        let bytes = model.to_bytes().map_err(|e| Refusal::CheckFailed(e.to_string()))?;
        let options = LoadOptions::for_inputs(&self.runs.feed(0));
        let parts = self.runs.shared(|span| {
            let span = span.start.min(self.compared)..span.end.min(self.compared);
            if span.is_empty() {
                return Ok(vec![]);
            }
            let mut session = self.context.executor.load(&bytes, &options)?;
            let mut outputs: Vec<Vec<Tensor>> = Vec::with_capacity(span.len());
            each(
                session.as_mut(),
                span,
                |run| self.runs.feed(run),
                |_, _, mut found| {
                    outputs.push(self.outputs.iter().filter_map(|name| found.remove(name)).collect());
                    Ok(())
                },
            )?;
            Ok(outputs)
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// How far a changed model is from the original, and the class of each sample where there are scores.
    pub(crate) fn damage(&self, model: &Model) -> Result<(Damage, Vec<usize>), Refusal> {
        let apart = self.apart(model)?;
        let share = |(by_run, energy): &(Vec<f64>, f64)| {
            let difference: f64 = by_run.iter().sum();
            if difference == 0.0 { 0.0 } else { difference / energy.max(f64::MIN_POSITIVE) }
        };
        let noise = apart.outputs.iter().map(share).sum::<f64>() / apart.outputs.len().max(1) as f64;
        let noise = if noise.is_nan() { f64::INFINITY } else { noise };
        let mut damage = Damage { divergence: None, agreement: None, noise, samples: self.samples() };
        let rows = apart.rows.unwrap_or_default();
        if self.classes.is_some() {
            let mean = |sum: f64| sum / rows.len().max(1) as f64;
            let sum: f64 = rows.iter().map(|r| r.divergence).sum();
            damage.divergence = Some(if sum.is_nan() { f64::INFINITY } else { mean(sum).max(0.0) });
            damage.agreement = Some(mean(rows.iter().filter(|r| r.class == r.before).count() as f64));
        }
        Ok((damage, rows.into_iter().map(|r| r.class).collect()))
    }

    /// What a changed model loses on each sample, or, where there are no scores, in each run.
    pub(crate) fn losses(&self, model: &Model) -> Result<Losses, Refusal> {
        let apart = self.apart(model)?;
        let settled =
            |losses: Vec<f64>| losses.into_iter().map(|l| if l.is_nan() { f64::INFINITY } else { l }).collect();
        if let Some(rows) = apart.rows {
            let plain = settled(rows.iter().map(|r| r.divergence).collect());
            return Ok(Losses { plain, softened: settled(rows.iter().map(|r| r.softened).collect()) });
        }
        let mut losses = vec![0.0; self.compared];
        for (by_run, energy) in &apart.outputs {
            let mean = (energy / by_run.len().max(1) as f64).max(f64::MIN_POSITIVE) * apart.outputs.len() as f64;
            losses.iter_mut().zip(by_run).filter(|(_, d)| **d != 0.0).for_each(|(l, d)| *l += d / mean);
        }
        let plain: Vec<f64> = settled(losses);
        Ok(Losses { softened: plain.clone(), plain })
    }

    /// Runs a changed model and compares run by run.
    fn apart(&self, model: &Model) -> Result<Apart, Refusal> {
        let found = self.run(model)?;
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for output in 0..self.outputs.len() {
            let (mut by_run, mut energy) = (Vec::with_capacity(found.len()), 0f64);
            for (a, b) in self.pairs(&found, output) {
                let (a, b) = (a.to_f32()?, b.to_f32()?);
                if a.len() != b.len() {
                    return Err(Refusal::CheckFailed("the changed model gives outputs of another shape".into()));
                }
                by_run.push(a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>());
                energy += a.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>();
            }
            outputs.push((by_run, energy));
        }
        let Some(scores) = self.classes else { return Ok(Apart { outputs, rows: None }) };
        let mut rows = Vec::new();
        for (a, b) in self.pairs(&found, 0) {
            let (a, b) = (a.to_f32()?, b.to_f32()?);
            for (a, b) in a.chunks_exact(scores.columns).zip(b.chunks_exact(scores.columns)) {
                let (p, q) = (scores.logs(a), scores.logs(b));
                let (divergence, softened) = (divergence(&p, &q), softened(&p, &q));
                rows.push(Row { divergence, softened, before: best(&p), class: best(&q) });
            }
        }
        Ok(Apart { outputs, rows: Some(rows) })
    }

    fn pairs<'t>(
        &'t self,
        found: &'t [Vec<Tensor>],
        output: usize,
    ) -> impl Iterator<Item = (&'t Tensor, &'t Tensor)> + 't {
        self.expected.iter().zip(found).filter_map(move |(a, b)| Some((a.get(output)?, b.get(output)?)))
    }
}

impl Scores {
    /// Logarithms of the class probabilities of one row; a single column is the score of class 1 of two.
    fn logs(self, row: &[f32]) -> Vec<f64> {
        let row: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
        let row = match (row.as_slice(), self.probabilities) {
            (&[v], true) => vec![1.0 - v, v],
            (&[v], false) => vec![0.0, v],
            _ => row,
        };
        if self.probabilities {
            // A quantized probability may be 0 where the original's is not, and quantized ones need not sum to 1.
            let total = row.iter().map(|p| p.max(1e-9)).sum::<f64>().max(f64::MIN_POSITIVE);
            return row.iter().map(|p| (p.max(1e-9) / total).ln()).collect();
        }
        normalised(row)
    }
}

/// Logarithms of what a softmax makes of these scores.
fn normalised(mut scores: Vec<f64>) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = scores.iter().map(|v| (v - largest).exp()).sum::<f64>().ln() + largest;
    scores.iter_mut().for_each(|v| *v -= total);
    scores
}

/// Σ p (ln p − ln q).
fn divergence(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
}

/// The divergence at a temperature, times its square.
fn softened(p: &[f64], q: &[f64]) -> f64 {
    let soft = |row: &[f64]| normalised(row.iter().map(|v| v / TEMPERATURE).collect());
    TEMPERATURE * TEMPERATURE * divergence(&soft(p), &soft(q))
}

/// The class of the highest score, of equal ones the first.
fn best(row: &[f64]) -> usize {
    row.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (i, &v)| if v > best.1 { (i, v) } else { best }).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_of_even_scores_cost_half_their_variance() {
        let (p, q) = (normalised(vec![0.0, 0.0]), normalised(vec![0.02, -0.02]));
        for found in [divergence(&p, &q), softened(&p, &q)] {
            assert!((found / (0.02f64.powi(2) / 2.0) - 1.0).abs() < 1e-3, "{found}");
        }
    }

    #[test]
    fn softened_the_scores_of_other_classes_count() {
        let p = normalised(vec![9.0, 1.0, 0.0]);
        let swapped = normalised(vec![9.0, 0.0, 1.0]);
        assert!(divergence(&p, &swapped) < 1e-3);
        assert!(softened(&p, &swapped) > 0.05);
        assert_eq!(softened(&p, &p), 0.0);
    }
}
