//! Several models on the same samples, each with inputs of its own, all held against one of them.

use plimsoll_dataset::Samples;
use plimsoll_onnx::Model;
use plimsoll_runtime::Executor;

use super::{Evaluation, EvaluationOptions, judged, known};
use crate::{MeasureError, origin::Origin, scores::outputs};

/// A model with the samples as it takes them.
#[derive(Clone, Copy)]
pub struct Contender<'c> {
    /// The model.
    pub model: &'c Model,
    /// The samples: those of all contenders are the same in the same order, but may be told by other features.
    pub data: &'c dyn Samples,
}

/// Why models cannot be compared.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ContenderError {
    /// Position of the model.
    pub contender: usize,
    /// What is wrong with it.
    #[source]
    pub error: Box<MeasureError>,
}

/// Runs each model once on every sample, and holds it against the one at `baseline`, whose own evaluation has no comparison.
/// `options` are one for each model.
///
/// Samples are the same where labels and groups are, in order; whatever else they are told by is the models' affair.
pub fn compare(
    executor: &dyn Executor,
    contenders: &[Contender<'_>],
    baseline: usize,
    options: &[EvaluationOptions],
) -> Result<Vec<Evaluation>, ContenderError> {
    let reference = contenders[baseline];
    let of = |contender| move |e| ContenderError { contender, error: Box::new(e) };
    for (i, (c, options)) in contenders.iter().zip(options).enumerate() {
        known(options).map_err(of(i))?;
        if !are_same(c.data, reference.data) {
            return Err(of(i)(MeasureError::OtherSamples));
        }
    }
    let mut scores = Vec::new();
    for (i, (c, options)) in contenders.iter().zip(options).enumerate() {
        scores.push(outputs(executor, c.model, c.data, options.batch, options.threads.max(1)).map_err(of(i))?);
    }
    let mut found = Vec::new();
    for (i, (c, options)) in contenders.iter().zip(options).enumerate() {
        let beside = (i != baseline).then_some(reference.model);
        let origin = Origin::new(executor, c.model, beside, Some(c.data), options.threads.max(1)).map_err(of(i))?;
        let against = beside.map(|_| scores[baseline].clone());
        found.push(judged(origin, scores[i].clone(), against, c.data, options).map_err(of(i))?);
    }
    Ok(found)
}

fn are_same(a: &dyn Samples, b: &dyn Samples) -> bool {
    a.count() == b.count() && a.label() == b.label() && a.target() == b.target() && a.group() == b.group()
}
