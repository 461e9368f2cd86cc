//! Endpoints off the predictions of a model and its baseline, group by group.

mod support;

use plimsoll_measure::{Endpoint, EndpointOf, EvaluationOptions, MeasureError, ShiftStatistic, evaluate};
use plimsoll_runtime::TractExecutor;
use support::{data, linear};

fn endpoint(of: EndpointOf) -> Endpoint {
    let limits = vec![(ShiftStatistic::Mean, 60.0), (ShiftStatistic::P95, 60.0), (ShiftStatistic::Max, 60.0)];
    Endpoint { name: "e".into(), of, class: 1, class_name: "sleep".into(), per: 30.0, limits }
}

fn options(of: EndpointOf) -> EvaluationOptions {
    EvaluationOptions { endpoints: vec![endpoint(of)], ..EvaluationOptions::default() }
}

/// The model says 1 where x is positive, its baseline where x is negative. Six nights of four samples, the first is number 9.
fn nights() -> (Vec<f32>, Vec<i64>) {
    let signs = ["+++-", "-+++", "++++", "----", "+-+-", "--++"];
    let x = signs.iter().flat_map(|s| s.chars()).map(|c| if c == '+' { 1.0 } else { -1.0 }).collect();
    (x, (0..24).map(|i| 9 - i / 4).collect())
}

#[test]
fn shifts_are_those_of_the_predictions_and_the_worst_groups_come_first() {
    let (model, baseline) = (linear(0, &[0.0, 1.0]), linear(0, &[0.0, -1.0]));
    let (x, group) = nights();
    let data = data(&x, &[0; 24], Some(&group));
    let found = evaluate(&TractExecutor, &model, Some(&baseline), &data, &options(EndpointOf::Total)).unwrap();
    let [shift] = found.endpoints.as_slice() else { panic!() };
    // Totals of 3, 3, 4, 0, 2, 2 samples against 1, 1, 0, 4, 2, 2.
    let worst: Vec<_> = shift.worst.iter().map(|w| (w.group, w.model, w.baseline)).collect();
    assert_eq!(worst, [(7, 120.0, 0.0), (6, 0.0, 120.0), (9, 90.0, 30.0), (8, 90.0, 30.0), (5, 60.0, 60.0)]);
    let figure = |statistic: &str| {
        found.figures.iter().find(|f| f.metric == format!("endpoint.e.shift.{statistic}")).unwrap().clone()
    };
    let (mean, p95, max) = (figure("mean"), figure("p95"), figure("max"));
    assert_eq!((mean.value, mean.n, mean.unit.as_str(), max.value), (20.0, 6, "s", 120.0));
    assert!(mean.interval.is_none() && p95.interval.is_none() && max.interval.is_none());
    assert!(
        mean.method.contains("6 groups say nothing of rare ones") && mean.method.contains("50 are needed"),
        "{}",
        mean.method
    );
    assert!(p95.method.contains("6 groups are too few, 72 are needed"), "{}", p95.method);
    assert_eq!(mean.baseline_digest, baseline.digest().to_string());
    assert!(shift.needed.iter().any(|n| n.metric.ends_with("p95") && n.groups >= Some(72)));
    // A model beside itself shifts nowhere, which no number of groups has to show.
    let found = evaluate(&TractExecutor, &model, Some(&model), &data, &options(EndpointOf::Total)).unwrap();
    let mean = found.figures.iter().find(|f| f.metric == "endpoint.e.shift.mean").unwrap();
    assert_eq!((mean.value, mean.interval), (0.0, Some([0.0; 2])));
}

#[test]
fn an_onset_that_never_comes_is_named_and_counts_as_the_whole_record() {
    let (model, baseline) = (linear(0, &[0.0, 1.0]), linear(0, &[0.0, -1.0]));
    let (x, group) = nights();
    let data = data(&x, &[0; 24], Some(&group));
    let of = EndpointOf::Onset { lasting: 60.0 };
    let found = evaluate(&TractExecutor, &model, Some(&baseline), &data, &options(of)).unwrap();
    let [shift] = found.endpoints.as_slice() else { panic!() };
    assert_eq!((shift.never_in_model.as_slice(), shift.never_in_baseline.as_slice()), (&[6, 5][..], &[9, 8, 7, 5][..]));
    // 9: 0 s against never in 120 s; 4: 60 s against 0 s; 5: never in either, no shift.
    let of = |group| shift.worst.iter().find(|w| w.group == group).map(|w| (w.model, w.baseline));
    assert_eq!((of(9), of(4), of(5)), (Some((0.0, 120.0)), Some((60.0, 0.0)), None));
}

#[test]
fn data_without_groups_and_classes_that_are_not_there_are_refused() {
    let model = linear(0, &[0.0, 1.0]);
    let (x, group) = nights();
    let of = EndpointOf::Total;
    let refused = |group: Option<&[i64]>, options| {
        let data = data(&x, &[0; 24], group);
        evaluate(&TractExecutor, &model, Some(&model), &data, &options).unwrap_err()
    };
    let error = refused(None, options(of));
    assert!(matches!(error, MeasureError::NoGroups { .. }) && error.help().unwrap().contains("group"), "{error}");
    let beyond = Endpoint { class: 2, ..endpoint(of) };
    let options = EvaluationOptions { endpoints: vec![beyond], ..EvaluationOptions::default() };
    let error = refused(Some(&group), options);
    assert!(error.to_string().contains("no class 2; the model has 2 classes"), "{error}");
}

#[test]
fn without_a_baseline_the_shift_is_withheld_with_the_reason() {
    let (x, group) = nights();
    let data = data(&x, &[0; 24], Some(&group));
    let found = evaluate(&TractExecutor, &linear(0, &[0.0, 1.0]), None, &data, &options(EndpointOf::Total)).unwrap();
    assert!(found.endpoints.is_empty());
    assert!(found.withheld.contains(&"endpoint.e.shift.p95: there is no baseline".to_owned()), "{:?}", found.withheld);
}
