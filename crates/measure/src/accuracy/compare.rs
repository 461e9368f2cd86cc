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

/// Runs each model once on every sample, and holds it against the one at `baseline`, whose own evaluation has no comparison.
/// `options` are one for each model.
///
/// Samples are the same where labels and groups are, in order; whatever else they are told by is the models' affair.
pub fn compare(
    executor: &dyn Executor,
    contenders: &[Contender<'_>],
    baseline: usize,
    options: &[EvaluationOptions],
) -> Result<Vec<Evaluation>, (usize, MeasureError)> {
    let reference = contenders[baseline];
    for (i, (contender, options)) in contenders.iter().zip(options).enumerate() {
        known(options).map_err(|e| (i, e))?;
        let of = |data: &dyn Samples| (data.count(), data.label().map(<[_]>::to_vec), data.target().map(<[_]>::to_vec));
        if of(contender.data) != of(reference.data) || contender.data.group() != reference.data.group() {
            return Err((i, MeasureError::OtherSamples));
        }
    }
    let run = |(i, (c, options)): (usize, (&Contender<'_>, &EvaluationOptions))| {
        outputs(executor, c.model, c.data, options.batch, options.threads.max(1)).map_err(|e| (i, e))
    };
    let scores = contenders.iter().zip(options).enumerate().map(run).collect::<Result<Vec<_>, _>>()?;
    let one = |(i, (c, options)): (usize, (&Contender<'_>, &EvaluationOptions))| {
        let beside = (i != baseline).then(|| (reference.model, scores[baseline].clone()));
        let origin = Origin::new(executor, c.model, beside.as_ref().map(|b| b.0), Some(c.data), options.threads.max(1));
        let judged = |origin| judged(origin, scores[i].clone(), beside.map(|b| b.1), c.data, options);
        origin.and_then(judged).map_err(|e| (i, e))
    };
    contenders.iter().zip(options).enumerate().map(one).collect()
}
