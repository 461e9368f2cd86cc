//! How good a model is on labelled samples, and how near it stays to a baseline.
//!
//! What a metric is and how sure it is, is `plimsoll_stats`' to say; here is which metrics apply to which samples, and how they
//! become figures.

mod classes;
mod compare;
mod judge;
mod relative;
mod slices;
mod values;

use plimsoll_dataset::Samples;
use plimsoll_onnx::Model;
use plimsoll_record::{EndpointShift, Figure};
use plimsoll_runtime::Executor;
use plimsoll_stats::{Decision, Groups, metrics::Confusion};

use crate::{
    Endpoint, MeasureError, Scores,
    metrics::{NAMES, RELATIVE, comparisons},
    origin::Origin,
    scores::outputs,
};
use judge::Judge;

pub use compare::{Contender, ContenderError, compare};

/// How to evaluate.
#[derive(Debug, Clone, Default)]
pub struct EvaluationOptions {
    /// Metrics wanted; empty for all that apply.
    pub metrics: Vec<String>,
    /// Metrics wanted besides those that apply, though they are taken only where they are named; or told why they are not taken.
    pub besides: Vec<String>,
    /// How much worse than the baseline the model may be, by the name of a comparison such as `accuracy-drop`.
    pub margins: Vec<(String, f64)>,
    /// Endpoints to be compared with the baseline's; the data must have groups.
    pub endpoints: Vec<Endpoint>,
    /// Samples a run; 0 lets the model decide.
    pub batch: usize,
    /// Threads over which samples are spread; 0 counts as 1.
    pub threads: usize,
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The figures.
    pub figures: Vec<Figure>,
    /// Metrics that do not apply or cannot be said, each with the reason.
    pub withheld: Vec<String>,
    /// Labels against predictions, where labels are classes.
    pub confusion: Option<Confusion>,
    /// Recall, precision and F1 of each class, named as `recall[3]`: of all, or of those ten that are found worst.
    pub classes: Vec<Figure>,
    /// Accuracy (or mean absolute error) of the five worst groups, named as `accuracy[group 17]`.
    pub groups: Vec<Figure>,
    /// What was held against a margin.
    pub non_inferiority: Vec<NonInferiority>,
    /// Endpoints with their worst groups; their figures stand among the others.
    pub endpoints: Vec<EndpointShift>,
    /// The scores themselves.
    pub scores: Scores,
}

/// Whether the model is no worse than its baseline by more than a margin.
#[derive(Debug, Clone, PartialEq)]
pub struct NonInferiority {
    /// The comparison, such as `accuracy-drop`.
    pub metric: String,
    /// The margin, in the figure's unit.
    pub margin: f64,
    /// Pass where the whole interval lies at or below the margin, fail where it lies above.
    pub decision: Decision,
    /// Where inconclusive: how many samples (groups, where `by_group`) would settle it with a chance of 80 %, if the difference is
    /// as observed. `None` where no number would.
    pub needed: Option<u64>,
    /// Whether `needed` counts groups.
    pub by_group: bool,
}

/// Runs the model (and the baseline) on every sample. Without labels only the metrics against the baseline are taken. Samples
/// of one `group` are not independent: intervals then are those of groups drawn as wholes.
pub fn evaluate(
    executor: &dyn Executor,
    model: &Model,
    baseline: Option<&Model>,
    data: &dyn Samples,
    options: &EvaluationOptions,
) -> Result<Evaluation, MeasureError> {
    known(options)?;
    let threads = options.threads.max(1);
    let found = outputs(executor, model, data, options.batch, threads)?;
    let reference = baseline.map(|b| outputs(executor, b, data, options.batch, threads)).transpose()?;
    judged(Origin::new(executor, model, baseline, Some(data), threads)?, found, reference, data, options)
}

/// Refuses metrics and margins that nobody knows.
fn known(options: &EvaluationOptions) -> Result<(), MeasureError> {
    if let Some(unknown) = options.metrics.iter().chain(&options.besides).find(|m| !NAMES.contains(&m.as_str())) {
        return Err(MeasureError::UnknownMetric(unknown.clone()));
    }
    match options.margins.iter().find(|(m, _)| !comparisons().contains(&m.as_str())) {
        Some((unknown, _)) => Err(MeasureError::Margin(unknown.clone())),
        None => Ok(()),
    }
}

/// What outputs say of a model, beside those of the baseline.
fn judged(
    origin: Origin,
    found: Scores,
    reference: Option<Scores>,
    data: &dyn Samples,
    options: &EvaluationOptions,
) -> Result<Evaluation, MeasureError> {
    if let Some(r) = reference.as_ref().filter(|r| r.classes != found.classes) {
        return Err(MeasureError::Classes { model: found.classes, baseline: r.classes });
    }
    let groups = data.group().map(Groups::new);
    let mut judge = Judge::new(origin, groups.as_ref(), options);
    if let Some(reference) = &reference {
        relative::outputs(&mut judge, &found, reference)?;
    } else {
        for metric in RELATIVE.iter().copied().chain(comparisons()) {
            judge.withhold_if_named(metric, "there is no baseline");
        }
    }
    let mut evaluation = if let Some(target) = data.target() {
        values::labelled(&mut judge, &found, reference.as_ref(), target)?;
        judge.add_endpoints(data, &found, reference.as_ref())?;
        judge.into_evaluation(None, found)
    } else {
        let found = found.into_classes();
        let reference = reference.map(Scores::into_classes);
        let labels = data.label().map(|labels| class_numbers(labels, found.classes)).transpose()?;
        if let Some(reference) = &reference {
            relative::agreement(&mut judge, &found, reference)?;
        }
        let confusion = match &labels {
            Some(labels) => Some(classes::labelled(&mut judge, &found, reference.as_ref(), labels)?),
            None => {
                // Budgets ask for these; of the others only who named them wants to know.
                for metric in ["accuracy", "balanced-accuracy", "auc", "top-5", "accuracy-drop"] {
                    judge.withhold(metric, "the data have no labels");
                }
                let of_labels = NAMES.iter().filter(|m| !RELATIVE.contains(m));
                of_labels.for_each(|m| judge.withhold_if_named(m, "the data have no labels"));
                None
            }
        };
        judge.add_endpoints(data, &found, reference.as_ref())?;
        judge.into_evaluation(confusion, found)
    };
    // The metrics of the labels first, the endpoints last.
    evaluation.figures.sort_by_key(|f| NAMES.iter().position(|n| *n == f.metric).unwrap_or(NAMES.len()));
    Ok(evaluation)
}

fn class_numbers(labels: &[i64], classes: usize) -> Result<Vec<usize>, MeasureError> {
    let number = |(sample, &label): (usize, &i64)| {
        let class = usize::try_from(label).ok().filter(|c| *c < classes);
        class.ok_or(MeasureError::Label { sample, label, classes })
    };
    labels.iter().enumerate().map(number).collect()
}
