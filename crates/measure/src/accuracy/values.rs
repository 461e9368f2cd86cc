//! Regression: how far the outputs are from what they should be.

use plimsoll_stats::{Loss, Scale, metrics};

use super::{judge::Judge, slices};
use crate::{
    MeasureError, Scores,
    metrics::{NAMES, REGRESSION},
};

/// The metrics of a regression. Errors of a sample with several outputs are averaged first: it is the samples that are independent.
pub(super) fn labelled(
    judge: &mut Judge<'_>,
    found: &Scores,
    reference: Option<&Scores>,
    target: &[f64],
) -> Result<(), MeasureError> {
    let samples = found.values.len() / found.classes;
    if target.len() != found.values.len() {
        return Err(MeasureError::Targets { width: target.len() / samples, outputs: found.classes });
    }
    for metric in NAMES.iter().filter(|m| !REGRESSION.contains(m) && !m.starts_with("output-")) {
        judge.withhold_if_named(metric, "the labels are floats, the targets of a regression");
    }
    let errors = |scores: &Scores, power: i32| -> Vec<f64> {
        let apart: Vec<f64> = scores.values.iter().zip(target).map(|(f, t)| (f - t).abs().powi(power)).collect();
        apart.chunks_exact(scores.classes).map(|row| row.iter().sum::<f64>() / row.len() as f64).collect()
    };
    let mae = |scores: &Scores| metrics::mean(&errors(scores, 1), Scale::POSITIVE);
    let rmse = |scores: &Scores| metrics::root_mean(&errors(scores, 2));
    let none = "there are no samples";
    judge.add("mae", "target", mae(found), "mean absolute error, in the unit of the targets", none)?;
    judge.add("rmse", "target", rmse(found), "root of the mean squared error, in the unit of the targets", none)?;
    slices::groups_by_errors(judge, &errors(found, 1))?;
    if let Some(reference) = reference {
        let what = "the model's minus the baseline's, paired";
        let loss = mae(reference).zip(mae(found)).map(|(before, now)| Loss::of_error(&before, &now));
        judge.add_loss("mae-increase", "target", loss, what)?;
        let loss = rmse(reference).zip(rmse(found)).map(|(before, now)| Loss::of_error(&before, &now));
        judge.add_loss("rmse-increase", "target", loss, what)?;
    }
    Ok(())
}
