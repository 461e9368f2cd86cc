//! How good a model is on labelled samples, and how near it stays to a baseline.

use std::collections::BTreeMap;

use plimsoll_dataset::Dataset;
use plimsoll_onnx::Model;
use plimsoll_record::Figure;
use plimsoll_runtime::Executor;
use plimsoll_stats::{auc, interval};

use crate::{
    Confusion, MeasureError, Scores,
    metrics::{NAMES, energies, in_top},
    origin::Origin,
    scores,
};

/// How to evaluate.
#[derive(Debug, Clone, Default)]
pub struct EvaluationOptions {
    /// Metrics wanted; empty for all that apply.
    pub metrics: Vec<String>,
    /// Samples a run; 0 lets the model decide.
    pub batch: usize,
    /// Threads over which samples are spread; 0 counts as 1.
    pub threads: usize,
    /// For intervals by resampling.
    pub seed: u64,
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The figures.
    pub figures: Vec<Figure>,
    /// Metrics that do not apply or cannot be said, each with the reason.
    pub withheld: Vec<String>,
    /// Labels against predictions, where there are labels.
    pub confusion: Option<Confusion>,
    /// The scores themselves.
    pub scores: Scores,
}

/// Runs the model (and the baseline) on every sample. Without labels only the metrics against the baseline are taken. Samples
/// of one `group` are not independent: intervals then come from resampling whole groups.
pub fn evaluate(
    executor: &dyn Executor,
    model: &Model,
    baseline: Option<&Model>,
    data: &Dataset,
    options: &EvaluationOptions,
) -> Result<Evaluation, MeasureError> {
    if let Some(unknown) = options.metrics.iter().find(|m| !NAMES.contains(&m.as_str())) {
        return Err(MeasureError::UnknownMetric(unknown.clone()));
    }
    let threads = options.threads.max(1);
    let found = scores(executor, model, data, options.batch, threads)?;
    let reference = baseline.map(|b| scores(executor, b, data, options.batch, threads)).transpose()?;
    if let Some(r) = reference.as_ref().filter(|r| r.classes != found.classes) {
        return Err(MeasureError::Classes { model: found.classes, baseline: r.classes });
    }
    let labels = data.label().map(|labels| class_numbers(labels, found.classes)).transpose()?;
    let origin = Origin::new(executor, model, Some(data), threads);
    let mut judge = Judge {
        origin,
        groups: data.group().map(by_group),
        wanted: &options.metrics,
        seed: options.seed,
        figures: vec![],
        withheld: vec![],
    };
    let confusion = match &labels {
        Some(labels) => Some(judge.labelled(&found, labels)?),
        None => {
            for metric in ["accuracy", "balanced-accuracy", "auc", "top-5", "accuracy-drop"] {
                judge.withhold(metric, "the data have no labels");
            }
            None
        }
    };
    match &reference {
        Some(reference) => judge.compared(&found, reference, labels.as_deref())?,
        None => {
            for metric in ["agreement", "accuracy-drop", "output-error", "output-sqnr"] {
                judge.withhold_if_named(metric, "there is no baseline");
            }
        }
    }
    Ok(Evaluation { figures: judge.figures, withheld: judge.withheld, confusion, scores: found })
}

fn class_numbers(labels: &[i64], classes: usize) -> Result<Vec<usize>, MeasureError> {
    let number = |(sample, &label): (usize, &i64)| {
        let class = usize::try_from(label).ok().filter(|c| *c < classes);
        class.ok_or(MeasureError::Label { sample, label, classes })
    };
    labels.iter().enumerate().map(number).collect()
}

/// Positions of the samples of each group.
fn by_group(groups: &[i64]) -> Vec<Vec<usize>> {
    let mut members: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    groups.iter().enumerate().for_each(|(i, g)| members.entry(*g).or_default().push(i));
    members.into_values().collect()
}

struct Judge<'o> {
    origin: Origin,
    groups: Option<Vec<Vec<usize>>>,
    wanted: &'o [String],
    seed: u64,
    figures: Vec<Figure>,
    withheld: Vec<String>,
}

impl Judge<'_> {
    fn wants(&self, metric: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|m| m == metric)
    }

    fn withhold(&mut self, metric: &str, why: &str) {
        let line = format!("{metric}: {why}");
        if self.wants(metric) && !self.withheld.contains(&line) {
            self.withheld.push(line);
        }
    }

    fn withhold_if_named(&mut self, metric: &str, why: &str) {
        if !self.wanted.is_empty() {
            self.withhold(metric, why);
        }
    }

    fn add(
        &mut self,
        metric: &str,
        unit: &str,
        n: usize,
        value: f64,
        interval: Option<[f64; 2]>,
        method: &str,
    ) -> Result<(), MeasureError> {
        // Resampling may leave the value just outside.
        let interval = interval.map(|[low, high]| [low.min(value), high.max(value)]);
        let method = if interval.is_none() {
            format!("{method}; no interval: too few independent samples")
        } else {
            method.into()
        };
        self.figures.push(self.origin.figure(metric, unit, n, value, interval, method)?);
        Ok(())
    }

    /// The mean of a number a sample: Wilson's interval, or whole groups resampled.
    fn share(&mut self, metric: &str, hits: &[bool]) -> Result<(), MeasureError> {
        let k = hits.iter().filter(|h| **h).count();
        let value = k as f64 / hits.len() as f64;
        let (interval, method) = match &self.groups {
            None => (interval::wilson(k, hits.len()), "share of samples; Wilson interval"),
            Some(groups) => {
                let sums = sums(groups, |i| f64::from(u8::from(hits[i])));
                let resampled = resampled_mean(&sums, self.seed);
                (
                    hull(resampled, interval::wilson(k, hits.len())),
                    "share of samples; groups resampled (percentile bootstrap)",
                )
            }
        };
        self.add(metric, "share", hits.len(), value, interval, method)
    }

    fn labelled(&mut self, found: &Scores, labels: &[usize]) -> Result<Confusion, MeasureError> {
        let predicted = found.predicted();
        let confusion = Confusion::of(labels, &predicted);
        let hits: Vec<bool> = labels.iter().zip(&predicted).map(|(l, p)| l == p).collect();
        if self.wants("accuracy") {
            self.share("accuracy", &hits)?;
        }
        if self.wants("balanced-accuracy") {
            self.balanced(labels, &hits, &confusion)?;
        }
        if found.classes == 2 {
            if self.wants("auc") {
                self.auc(found, labels)?;
            }
        } else {
            self.withhold_if_named("auc", "it needs two classes");
        }
        if found.classes > 5 {
            if self.wants("top-5") {
                let hits: Vec<bool> = found.rows().zip(labels).map(|(row, &l)| in_top(row, l, 5)).collect();
                self.share("top-5", &hits)?;
            }
        } else {
            self.withhold_if_named("top-5", "it needs more than five classes");
        }
        Ok(confusion)
    }

    fn balanced(&mut self, labels: &[usize], hits: &[bool], confusion: &Confusion) -> Result<(), MeasureError> {
        let Some(value) = confusion.balanced() else { return Ok(()) };
        let (interval, method) = match &self.groups {
            None => {
                let recalls = confusion.recalls();
                let variance = |&(n, hits): &(u64, u64)| {
                    // Half a sample added to hits and misses: a class that is always right is not certain.
                    let p = (hits as f64 + 0.5) / (n as f64 + 1.0);
                    p * (1.0 - p) / n as f64
                };
                let variance = recalls.iter().map(variance).sum::<f64>() / (recalls.len() * recalls.len()) as f64;
                (Some(interval::normal_share(value, variance)), "mean recall of the classes; normal interval")
            }
            Some(groups) => {
                let counts = |members: &Vec<usize>| {
                    let mut counts: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
                    for &i in members {
                        let entry = counts.entry(labels[i]).or_default();
                        *entry = (entry.0 + 1.0, entry.1 + f64::from(u8::from(hits[i])));
                    }
                    counts
                };
                let counted: Vec<_> = groups.iter().map(counts).collect();
                let interval = interval::bootstrap(groups.len(), DRAWS, self.seed, |drawn| {
                    let mut total: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
                    for (c, (n, k)) in drawn.iter().flat_map(|&g| &counted[g]) {
                        let sum = total.entry(*c).or_default();
                        *sum = (sum.0 + n, sum.1 + k);
                    }
                    let recalls: Vec<f64> = total.values().map(|(n, k)| k / n).collect();
                    Some(recalls.iter().sum::<f64>() / recalls.len() as f64)
                });
                (interval, "mean recall of the classes; groups resampled (percentile bootstrap)")
            }
        };
        self.add("balanced-accuracy", "share", labels.len(), value, interval, method)
    }

    fn auc(&mut self, found: &Scores, labels: &[usize]) -> Result<(), MeasureError> {
        let margin: Vec<f64> = found.rows().map(|row| row[1] - row[0]).collect();
        let positive: Vec<bool> = labels.iter().map(|&l| l == 1).collect();
        let Some((value, variance)) = auc(&margin, &positive) else {
            self.withhold("auc", "all samples are of one class");
            return Ok(());
        };
        let (interval, method) = match &self.groups {
            None => (Some(interval::normal_share(value, variance)), "area under the ROC curve; DeLong interval"),
            Some(groups) => {
                let interval = interval::bootstrap(groups.len(), DRAWS / 4, self.seed, |drawn| {
                    let at = || drawn.iter().flat_map(|&g| &groups[g]);
                    let scores: Vec<f64> = at().map(|&i| margin[i]).collect();
                    let classes: Vec<bool> = at().map(|&i| positive[i]).collect();
                    auc(&scores, &classes).map(|a| a.0)
                });
                (interval, "area under the ROC curve; groups resampled (percentile bootstrap)")
            }
        };
        self.add("auc", "share", labels.len(), value, interval, method)
    }

    fn compared(&mut self, found: &Scores, reference: &Scores, labels: Option<&[usize]>) -> Result<(), MeasureError> {
        let (now, before) = (found.predicted(), reference.predicted());
        let n = now.len();
        if self.wants("agreement") {
            let same: Vec<bool> = now.iter().zip(&before).map(|(a, b)| a == b).collect();
            self.share("agreement", &same)?;
        }
        if let Some(labels) = labels.filter(|_| self.wants("accuracy-drop")) {
            let drop =
                |i: usize| f64::from(u8::from(before[i] == labels[i])) - f64::from(u8::from(now[i] == labels[i]));
            let drops: Vec<f64> = (0..n).map(drop).collect();
            let value = drops.iter().sum::<f64>() / n as f64;
            let lost = drops.iter().filter(|d| **d > 0.0).count();
            let won = drops.iter().filter(|d| **d < 0.0).count();
            let paired = interval::paired_shares(lost, won, n);
            let (interval, method) = match &self.groups {
                None => (paired, "baseline's accuracy minus the model's, paired; Agresti-Min interval"),
                Some(groups) => {
                    let resampled = resampled_mean(&sums(groups, |i| drops[i]), self.seed);
                    let method =
                        "baseline's accuracy minus the model's, paired; groups resampled (percentile bootstrap)";
                    (hull(resampled, paired), method)
                }
            };
            self.add("accuracy-drop", "share", n, value, interval, method)?;
        }
        let (error, energy) = energies(found, reference);
        let exact = |judge: &mut Self, metric: &str, unit: &str, value: f64, method: &str| {
            let figure = judge.origin.figure(metric, unit, n, value, None, method)?;
            judge.figures.push(figure);
            Ok::<(), MeasureError>(())
        };
        if energy == 0.0 {
            self.withhold("output-error", "the baseline's scores are all zero");
            self.withhold("output-sqnr", "the baseline's scores are all zero");
            return Ok(());
        }
        if self.wants("output-error") {
            exact(
                self,
                "output-error",
                "ratio",
                (error / energy).sqrt(),
                "relative L2 distance of the scores to the baseline's",
            )?;
        }
        if error == 0.0 {
            self.withhold("output-sqnr", "the scores are equal to the baseline's");
        } else if self.wants("output-sqnr") {
            let decibels = 10.0 * (energy / error).log10();
            exact(self, "output-sqnr", "dB", decibels, "energy of the baseline's scores over that of the difference")?;
        }
        Ok(())
    }
}

/// Resamples for an interval.
const DRAWS: usize = 2000;

/// The sum and the number of samples of each group.
fn sums(groups: &[Vec<usize>], value: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
    groups.iter().map(|members| (members.iter().map(|&i| value(i)).sum(), members.len() as f64)).collect()
}

fn resampled_mean(sums: &[(f64, f64)], seed: u64) -> Option<[f64; 2]> {
    interval::bootstrap(sums.len(), DRAWS, seed, |drawn| {
        let (sum, n) = drawn.iter().fold((0.0, 0.0), |(s, n), &g| (s + sums[g].0, n + sums[g].1));
        Some(sum / n)
    })
}

/// Resampling sees no spread where all groups agree; an interval is never narrower than that of independent samples.
fn hull(resampled: Option<[f64; 2]>, independent: Option<[f64; 2]>) -> Option<[f64; 2]> {
    let ([a, b], [c, d]) = resampled.zip(independent)?;
    Some([a.min(c), b.max(d)])
}
