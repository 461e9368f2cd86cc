//! Classification: what the labels say of the model, and of it beside its baseline.

use plimsoll_stats::{
    Estimate, Loss,
    metrics::{self, Average, Confusion, Weights},
    paired,
};

use super::{judge::Judge, slices};
use crate::{
    MeasureError, Scores,
    metrics::{REGRESSION, SORTED_CLASSES},
};

/// One model's predictions beside the labels.
struct Predictions<'s> {
    labels: &'s [usize],
    scores: &'s Scores,
    predicted: Vec<usize>,
    hits: Vec<bool>,
}

impl<'s> Predictions<'s> {
    fn new(scores: &'s Scores, labels: &'s [usize]) -> Self {
        let predicted = scores.predicted();
        let hits = labels.iter().zip(&predicted).map(|(l, p)| l == p).collect();
        Self { labels, scores, predicted, hits }
    }

    fn balanced(&self) -> Option<Estimate> {
        metrics::balanced_accuracy(self.labels, &self.predicted)
    }

    fn f1(&self, average: Average) -> Option<Estimate> {
        metrics::f1(self.labels, &self.predicted, average)
    }

    fn kappa(&self, weights: Weights) -> Option<Estimate> {
        metrics::kappa(self.labels, &self.predicted, weights)
    }

    fn auc(&self) -> Option<Estimate> {
        if self.scores.classes == 2 {
            let margin: Vec<f64> = self.scores.rows().map(|row| row[1] - row[0]).collect();
            return metrics::auc(&margin, &self.labels.iter().map(|&l| l == 1).collect::<Vec<_>>());
        }
        let probabilities = self.scores.probabilities();
        let classes = self.scores.classes;
        let column = |c: usize| probabilities.chunks_exact(classes).map(|row| row[c]).collect();
        metrics::auc_one_vs_rest(column, self.labels, classes)
    }
}

/// Every metric of the labels that applies.
pub(super) fn labelled(
    judge: &mut Judge<'_>,
    scores: &Scores,
    reference: Option<&Scores>,
    labels: &[usize],
) -> Result<Confusion, MeasureError> {
    for metric in REGRESSION {
        judge.withhold_if_named(metric, "the labels are classes; the targets of a regression are floats");
    }
    let found = Predictions::new(scores, labels);
    let none = "there are no samples";
    judge.add("accuracy", "share", metrics::share(&found.hits), "share of samples", none)?;
    judge.add("balanced-accuracy", "share", found.balanced(), "mean recall of the classes that occur", none)?;
    let sorted = scores.classes <= SORTED_CLASSES || judge.is_named("auc") || judge.is_named("auc-drop");
    let auc = if sorted { found.auc() } else { None };
    if sorted {
        let (what, why) = match scores.classes {
            2 => ("area under the ROC curve", "all samples are of one class"),
            _ => ("area under the ROC curve, mean of each class against the rest", "not all classes occur"),
        };
        judge.add("auc", "share", auc.clone(), what, why)?;
    }
    if scores.classes == 2 {
        judge.add("f1", "share", found.f1(Average::Class(1)), "F1 of class 1", "class 1 does not occur")?;
    } else {
        judge.withhold_if_named("f1", "it needs two classes; take f1-macro or f1-weighted");
    }
    let what = "mean F1 of the classes that occur or are predicted";
    judge.add("f1-macro", "share", found.f1(Average::Macro), what, none)?;
    let what = "mean F1 of the classes, weighted by their frequency";
    judge.add("f1-weighted", "share", found.f1(Average::Weighted), what, none)?;
    for (metric, weights, what) in [
        ("kappa", Weights::None, "Cohen's kappa"),
        ("kappa-linear", Weights::Linear, "Cohen's kappa, weights by the distance of classes"),
        ("kappa-quadratic", Weights::Quadratic, "Cohen's kappa, weights by the squared distance of classes"),
    ] {
        if judge.wants(metric) {
            judge.add(metric, "ratio", found.kappa(weights), what, "labels and predictions know one class only")?;
        }
    }
    if scores.classes > 5 {
        let hits: Vec<bool> = scores.rows().zip(labels).map(|(row, &l)| metrics::in_top(row, l, 5)).collect();
        judge.add("top-5", "share", metrics::share(&hits), "share of samples", none)?;
    } else {
        judge.withhold_if_named("top-5", "it needs more than five classes");
    }
    slices::classes(judge, labels, &found.predicted)?;
    slices::groups_by_hits(judge, &found.hits)?;
    if let Some(reference) = reference {
        losses(judge, &found, &Predictions::new(reference, labels), auc)?;
    }
    Ok(Confusion::of(labels, &found.predicted))
}

/// How much worse the model is than its baseline.
fn losses(
    judge: &mut Judge<'_>,
    now: &Predictions<'_>,
    before: &Predictions<'_>,
    auc: Option<Estimate>,
) -> Result<(), MeasureError> {
    let count = |x: &[bool], y: &[bool]| x.iter().zip(y).filter(|(x, y)| **x && !**y).count() as u64;
    let (lost, won) = (count(&before.hits, &now.hits), count(&now.hits, &before.hits));
    let mut what = format!("baseline's accuracy minus the model's, paired: {lost} samples lost, {won} won");
    if judge.groups.is_none() {
        what += &format!("; McNemar mid-p {:.3}; interval of Jeffreys limits", paired::mcnemar_mid_p(lost, won));
    }
    judge.add_loss("accuracy-drop", "share", Loss::of_hits(&before.hits, &now.hits), &what)?;
    let loss = |of: &dyn Fn(&Predictions<'_>) -> Option<Estimate>| Some(Loss::of_merit(&of(before)?, &of(now)?));
    let what = "baseline's minus the model's, paired";
    judge.add_loss("balanced-accuracy-drop", "share", loss(&|p| p.balanced()), what)?;
    judge.add_loss("f1-macro-drop", "share", loss(&|p| p.f1(Average::Macro)), what)?;
    judge.add_loss("kappa-drop", "ratio", loss(&|p| p.kappa(Weights::None)), what)?;
    if judge.wants("auc-drop")
        && let Some(auc) = auc
    {
        let loss = before.auc().map(|before| Loss::of_merit(&before, &auc));
        judge.add_loss("auc-drop", "share", loss, "baseline's minus the model's, paired (DeLong's variance)")?;
    }
    Ok(())
}
