//! How near a model's outputs are to its baseline's, whatever the labels say.

use plimsoll_stats::metrics;

use super::judge::Judge;
use crate::{MeasureError, Scores};

/// Metrics of the outputs themselves.
pub(super) fn outputs(judge: &mut Judge<'_>, found: &Scores, reference: &Scores) -> Result<(), MeasureError> {
    let (now, before, width) = (&found.values, &reference.values, found.classes);
    let zero = "the baseline's outputs are all zero";
    let what = "relative L2 distance of the outputs to the baseline's";
    judge.add("output-error", "ratio", metrics::relative_error(now, before, width), what, zero)?;
    let why = if now == before { "the outputs are equal to the baseline's" } else { zero };
    let what = "energy of the baseline's outputs over that of the difference";
    judge.add("output-sqnr", "dB", metrics::sqnr(now, before, width), what, why)?;
    let what = "cosine between the outputs and the baseline's";
    judge.add("output-cosine", "ratio", metrics::cosine(now, before, width), what, "one model's outputs are all zero")
}

/// Metrics of the predicted classes.
pub(super) fn agreement(judge: &mut Judge<'_>, found: &Scores, reference: &Scores) -> Result<(), MeasureError> {
    let same: Vec<bool> = found.predicted().iter().zip(reference.predicted()).map(|(a, b)| *a == b).collect();
    let what = "share of samples that are classified as the baseline does";
    judge.add("agreement", "share", metrics::share(&same), what, "there are no samples")
}
