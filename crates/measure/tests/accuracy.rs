//! Accuracy of small linear models, whose right values are known.

mod support;

use plimsoll_dataset::Dataset;
use plimsoll_measure::{Evaluation, EvaluationOptions, MeasureError, evaluate};
use plimsoll_onnx::Model;
use plimsoll_runtime::TractExecutor;
use plimsoll_stats::Decision;
use support::{data, linear};

fn check(model: &Model, baseline: Option<&Model>, data: &Dataset) -> Result<Evaluation, MeasureError> {
    evaluate(&TractExecutor, model, baseline, data, &EvaluationOptions::default())
}

#[track_caller]
fn figure(found: &Evaluation, metric: &str) -> (f64, [f64; 2]) {
    let figure = found.figures.iter().find(|f| f.metric == metric).unwrap_or_else(|| panic!("no {metric}"));
    (figure.value, figure.interval.unwrap_or([f64::NAN; 2]))
}

#[test]
fn accuracy_counts_what_is_right() {
    let found = check(&linear(0, &[-1.0, 1.0]), None, &data(&[1.0, 2.0, -1.0, -3.0], &[1, 0, 0, 0], None)).unwrap();
    assert_eq!(figure(&found, "accuracy").0, 0.75);
    assert_eq!(figure(&found, "balanced-accuracy").0, (1.0 + 2.0 / 3.0) / 2.0);
    assert_eq!(figure(&found, "auc").0, 2.0 / 3.0);
    assert_eq!(found.confusion.unwrap().counts, [((0, 0), 2), ((0, 1), 1), ((1, 1), 1)].into());
    assert!(found.figures.iter().all(|f| f.n == 4 && f.executor == "tract" && !f.model_digest.is_empty()));
}

#[test]
fn a_single_column_is_the_score_of_class_one() {
    let found = check(&linear(0, &[1.0]), None, &data(&[3.0, -2.0, 0.7, -0.1], &[1, 0, 1, 1], None)).unwrap();
    assert_eq!((figure(&found, "accuracy").0, figure(&found, "auc").0), (0.75, 1.0));
}

#[test]
fn a_fixed_batch_that_does_not_divide_the_samples_drops_none() {
    let samples = data(&[1.0, 1.0, 1.0, -1.0, 1.0], &[1, 1, 1, 0, 0], None);
    let fixed = check(&linear(4, &[-1.0, 1.0]), None, &samples).unwrap();
    assert_eq!((figure(&fixed, "accuracy").0, fixed.figures[0].n), (0.8, 5));
}

#[test]
fn threads_and_batches_do_not_change_the_scores() {
    let samples = data(&[0.5, 1.0, -1.5, 2.0, 2.5, -3.0, 3.5], &[0; 7], None);
    let scores = |batch, threads| {
        let options = EvaluationOptions { batch, threads, ..EvaluationOptions::default() };
        evaluate(&TractExecutor, &linear(0, &[-1.0, 1.0]), None, &samples, &options).unwrap().scores
    };
    let one = scores(1, 1);
    assert_eq!(one.values[..4], [-0.5, 0.5, -1.0, 1.0]);
    [(3, 1), (2, 2), (1, 7), (64, 3)].into_iter().for_each(|(b, t)| assert_eq!(scores(b, t), one));
}

#[test]
fn a_drop_in_accuracy_is_positive_and_paired() {
    let samples = data(&[1.0, 2.0, 3.0, -1.0], &[1, 1, 1, 0], None);
    let found = check(&linear(0, &[1.0, -1.0]), Some(&linear(0, &[-1.0, 1.0])), &samples).unwrap();
    assert_eq!(figure(&found, "accuracy-drop").0, 1.0);
    assert_eq!(figure(&found, "agreement").0, 0.0);
    assert_eq!(figure(&found, "output-error").0, 2.0);
}

#[test]
fn groups_that_all_agree_are_not_certainty() {
    let groups: Vec<i64> = (0..40).map(|i| i / 4).collect();
    let samples = data(&[1.0; 40], &[1; 40], Some(&groups));
    let model = linear(0, &[-1.0, 1.0]);
    let found = check(&model, Some(&model), &samples).unwrap();
    let (drop, [low, high]) = figure(&found, "accuracy-drop");
    assert!(drop == 0.0 && low < 0.0 && high > 0.0);
    assert!(figure(&found, "agreement").1[0] < 1.0);
}

#[test]
fn few_groups_give_no_interval_rather_than_a_false_one() {
    let samples = data(&[1.0, -1.0, 1.0, -1.0], &[1, 0, 0, 0], Some(&[0, 0, 1, 1]));
    let found = check(&linear(0, &[-1.0, 1.0]), None, &samples).unwrap();
    let accuracy = found.figures.iter().find(|f| f.metric == "accuracy").unwrap();
    assert!(accuracy.interval.is_none() && accuracy.method.contains("too few"));
}

#[test]
fn labels_beyond_the_classes_and_infinite_scores_are_refused_by_sample() {
    let model = linear(0, &[-1.0, 1.0]);
    let wrong = check(&model, None, &data(&[1.0, 1.0], &[0, 2], None));
    assert!(matches!(wrong, Err(MeasureError::Label { sample: 1, label: 2, classes: 2 })));
    let wrong = check(&linear(0, &[-1.0, 3e38]), None, &data(&[1.0, 2.0], &[0, 1], None));
    assert!(matches!(wrong, Err(MeasureError::NotFinite { sample: 1, .. })));
}

#[test]
fn a_metric_that_does_not_apply_is_withheld_and_an_unknown_one_refused() {
    let samples = data(&[1.0, 1.0], &[1, 1], None);
    let ask = |metric: &str| {
        let options = EvaluationOptions { metrics: vec![metric.into()], ..EvaluationOptions::default() };
        evaluate(&TractExecutor, &linear(0, &[-1.0, 1.0]), None, &samples, &options)
    };
    for metric in ["auc", "top-5", "agreement", "accuracy-drop"] {
        let found = ask(metric).unwrap();
        assert!(found.figures.is_empty() && found.withheld.len() == 1, "{metric}");
    }
    assert!(matches!(ask("acuracy"), Err(MeasureError::UnknownMetric(_))));
}

#[test]
fn the_outputs_of_a_single_column_are_compared_as_they_are() {
    let samples = data(&[3.0, -2.0], &[1, 0], None);
    let found = check(&linear(0, &[1.0]), Some(&linear(0, &[2.0])), &samples).unwrap();
    assert_eq!(figure(&found, "output-error").0, 0.5);
    assert_eq!(figure(&found, "output-cosine").0, 1.0);
}

#[test]
fn floats_are_targets_of_a_regression() {
    let groups: Vec<i64> = (0..24).map(|i| i / 4).collect();
    let x: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let target = |slope: f64| x.iter().map(|x| f64::from(*x) * slope).collect::<Vec<_>>();
    let samples = || data(&x, &[0; 24], Some(&groups));
    let unlabelled =
        |d: Dataset| Dataset::new("memory".as_ref(), d.inputs().clone(), None, Some(groups.clone())).unwrap();
    let samples = unlabelled(samples()).with_target(target(1.5)).unwrap();
    let found = check(&linear(0, &[1.0]), Some(&linear(0, &[1.25])), &samples).unwrap();
    let (mae, [low, high]) = figure(&found, "mae");
    assert!(mae == 0.5 * 11.5 && low < mae && mae < high, "{mae} {low} {high}");
    assert_eq!(figure(&found, "mae-increase").0, 0.25 * 11.5);
    assert!(figure(&found, "rmse").0 > mae);
    // The last group has the largest values, so the largest errors.
    assert_eq!((found.groups[0].metric.as_str(), found.groups[0].value), ("mae[group 5]", 0.5 * 21.5));
    assert!(found.confusion.is_none() && found.figures.iter().all(|f| f.metric != "accuracy"));
    let wrong = check(&linear(0, &[1.0, 2.0]), None, &samples);
    assert!(matches!(wrong, Err(MeasureError::Targets { width: 1, outputs: 2 })));
}

#[test]
fn the_worst_classes_and_groups_are_named() {
    // Class 2 is never predicted: x · 0 is never the largest.
    let groups: Vec<i64> = (0..40).map(|i| 100 + i / 5).collect();
    let x: Vec<f32> = (0..40).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let label: Vec<i64> = (0..40).map(|i| if i < 5 { 2 } else { i64::from(i % 2 == 0) }).collect();
    let found = check(&linear(0, &[-1.0, 1.0, 0.0]), None, &data(&x, &label, Some(&groups))).unwrap();
    let of_class = |name: &str| found.classes.iter().find(|f| f.metric == name).map(|f| f.value);
    assert_eq!((of_class("recall[2]"), of_class("precision[2]"), of_class("recall[1]")), (Some(0.0), None, Some(1.0)));
    let names: Vec<&str> = found.groups.iter().map(|f| f.metric.as_str()).collect();
    assert_eq!(names.len(), 5);
    assert_eq!((names[0], found.groups[0].value, found.groups[1].value), ("accuracy[group 100]", 0.0, 1.0));
    // All of class 2 is of one group: nothing says how its recall varies.
    let balanced = found.figures.iter().find(|f| f.metric == "balanced-accuracy").unwrap();
    assert!(balanced.interval.is_none() && balanced.method.contains("one group"), "{}", balanced.method);
}

#[test]
fn who_names_a_metric_gets_no_rows_of_classes_and_groups() {
    let groups: Vec<i64> = (0..12).map(|i| i / 2).collect();
    let samples = data(&[1.0; 12], &[1; 12], Some(&groups));
    let options = EvaluationOptions { metrics: vec!["accuracy".into()], ..EvaluationOptions::default() };
    let found = evaluate(&TractExecutor, &linear(0, &[-1.0, 1.0]), None, &samples, &options).unwrap();
    assert_eq!((found.figures.len(), found.classes.len(), found.groups.len()), (1, 0, 0));
}

/// 200 samples of which the model loses the first `lost` and the baseline none; in groups of ten where asked.
fn losing(lost: usize, margin: f64, grouped: bool) -> Evaluation {
    let x: Vec<f32> = (0..200).map(|i| if i * 7 % 200 < lost { -1.0 } else { 1.0 }).collect();
    let groups: Vec<i64> = (0..200).map(|i| i / 10).collect();
    // The model goes by the sign of x, the baseline says class 1 whatever x is.
    let samples = data(&x, &[1; 200], grouped.then_some(&groups[..]));
    let squares = support::squared(&[-1.0, 1.0]);
    let options = EvaluationOptions { margins: vec![("accuracy-drop".into(), margin)], ..EvaluationOptions::default() };
    evaluate(&TractExecutor, &linear(0, &[-1.0, 1.0]), Some(&squares), &samples, &options).unwrap()
}

#[test]
fn a_margin_is_kept_exceeded_or_not_settled_with_the_samples_that_would() {
    let check = |lost, margin, grouped| {
        let found = losing(lost, margin, grouped);
        let judged = found.non_inferiority[0].clone();
        assert_eq!((judged.metric.as_str(), judged.by_group), ("accuracy-drop", grouped));
        (judged.decision, judged.needed)
    };
    assert_eq!(check(2, 0.05, false), (Decision::Pass, None));
    assert_eq!(check(30, 0.05, false), (Decision::Fail, None));
    let (decision, needed) = check(6, 0.05, false);
    assert!(decision == Decision::Inconclusive && (201..2000).contains(&needed.unwrap()), "{needed:?}");
    let (decision, needed) = check(6, 0.05, true);
    assert!(decision == Decision::Inconclusive && (21..200).contains(&needed.unwrap()), "{needed:?}");
    let found = losing(6, 0.05, false);
    let drop = found.figures.iter().find(|f| f.metric == "accuracy-drop").unwrap();
    assert!(
        ["6 samples lost, 0 won", "which rests on about 6"].iter().all(|w| drop.method.contains(w))
            && drop.method.contains("would settle it"),
        "{}",
        drop.method
    );
    // The observed drop is the margin itself: no number of samples settles that.
    assert_eq!(check(10, 0.05, false), (Decision::Inconclusive, None));
}

#[test]
fn a_margin_for_what_is_no_comparison_is_refused() {
    let options = EvaluationOptions { margins: vec![("accuracy".into(), 0.01)], ..EvaluationOptions::default() };
    let samples = data(&[1.0, -1.0], &[1, 0], None);
    let wrong = evaluate(&TractExecutor, &linear(0, &[-1.0, 1.0]), None, &samples, &options);
    assert!(matches!(wrong, Err(MeasureError::Margin(m)) if m == "accuracy"));
}

#[test]
fn logits_of_several_classes_are_compared_as_probabilities() {
    // Scores (x, 2x, 0): the logit of class 0 rises with x, its probability is highest near 0.
    let samples = data(&[1.0, 2.0, 3.0, 4.0, -5.0, -6.0], &[0, 0, 1, 1, 2, 2], None);
    let found = check(&linear(0, &[1.0, 2.0, 0.0]), None, &samples).unwrap();
    assert_eq!(figure(&found, "auc").0, 1.0);
}
