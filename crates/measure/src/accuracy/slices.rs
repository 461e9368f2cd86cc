//! Where a model is worst: classes and groups. Told where no metrics are named.

use plimsoll_stats::{
    Scale,
    metrics::{self, Average, Confusion},
};

use super::judge::Judge;
use crate::MeasureError;

/// Classes up to which all are told.
const FEW_CLASSES: usize = 20;
/// Classes that are told of more.
const WORST_CLASSES: usize = 10;
/// Groups that are told.
const WORST_GROUPS: usize = 5;

/// Recall, precision and F1 of the classes that occur; of many, of those with the lowest recall.
pub(super) fn classes(judge: &mut Judge<'_>, labels: &[usize], predicted: &[usize]) -> Result<(), MeasureError> {
    if !judge.wants_all() {
        return Ok(());
    }
    let counts = Confusion::of(labels, predicted).classes();
    let mut told: Vec<_> = counts.iter().filter(|(_, c)| c.labelled > 0).collect();
    if told.len() > FEW_CLASSES {
        told.sort_by(|(_, a), (_, b)| (a.hits * b.labelled).cmp(&(b.hits * a.labelled)));
        told.truncate(WORST_CLASSES);
    }
    for (&class, _) in told {
        for (metric, estimate) in [
            ("recall", metrics::recall(labels, predicted, class)),
            ("precision", metrics::precision(labels, predicted, class)),
            ("f1", metrics::f1(labels, predicted, Average::Class(class))),
        ] {
            // No sample was taken for the class: there is no precision.
            if let Some(estimate) = estimate {
                let figure =
                    judge.figure(&format!("{metric}[{class}]"), "share", &estimate, &format!("class {class}"))?;
                judge.of_classes.push(figure);
            }
        }
    }
    Ok(())
}

/// Accuracy of the groups that have the lowest.
pub(super) fn groups_by_hits(judge: &mut Judge<'_>, hits: &[bool]) -> Result<(), MeasureError> {
    let values: Vec<f64> = hits.iter().map(|h| f64::from(u8::from(*h))).collect();
    groups(judge, "accuracy", "share", &values, 1.0)
}

/// Mean absolute error of the groups that have the largest.
pub(super) fn groups_by_errors(judge: &mut Judge<'_>, errors: &[f64]) -> Result<(), MeasureError> {
    groups(judge, "mae", "target", errors, -1.0)
}

/// The means of the worst groups; `sign` is positive where more is better.
fn groups(judge: &mut Judge<'_>, metric: &str, unit: &str, values: &[f64], sign: f64) -> Result<(), MeasureError> {
    let Some(groups) = judge.groups.filter(|_| judge.wants_all()) else { return Ok(()) };
    let mean = |(name, members): (i64, Vec<usize>)| {
        let of_group: Vec<f64> = members.iter().map(|&i| values[i]).collect();
        metrics::mean(&of_group, Scale::Real).map(|mean| (name, mean))
    };
    let mut told: Vec<_> = groups.members().into_iter().filter_map(mean).collect();
    told.sort_by(|(_, a), (_, b)| (sign * a.value()).total_cmp(&(sign * b.value())));
    for (name, estimate) in told.iter().take(WORST_GROUPS) {
        let what = format!("one of the worst of {} groups", groups.len());
        let figure = judge.bare(&format!("{metric}[group {name}]"), unit, estimate, &what)?;
        judge.of_groups.push(figure);
    }
    Ok(())
}
