//! Whatever the samples are, an interval is finite and holds its value, or there is a reason why there is none.

use plimsoll_stats::{
    Estimate, Groups, Loss, NoInterval, Random,
    metrics::{self, Average, Weights},
};

/// Metrics of few samples of which some are odd: one class alone, all right, all wrong, equal scores.
fn estimates(labels: &[usize], predicted: &[usize], scores: &[f64], classes: usize) -> Vec<Option<Estimate>> {
    let hits: Vec<bool> = labels.iter().zip(predicted).map(|(l, p)| l == p).collect();
    let positive: Vec<bool> = labels.iter().map(|l| *l == 1).collect();
    let wanted: Vec<f64> = labels.iter().map(|l| *l as f64).collect();
    vec![
        metrics::share(&hits),
        metrics::balanced_accuracy(labels, predicted),
        metrics::f1(labels, predicted, Average::Macro),
        metrics::f1(labels, predicted, Average::Weighted),
        metrics::f1(labels, predicted, Average::Class(1)),
        metrics::recall(labels, predicted, 1),
        metrics::precision(labels, predicted, 1),
        metrics::kappa(labels, predicted, Weights::None),
        metrics::kappa(labels, predicted, Weights::Quadratic),
        metrics::auc(scores, &positive),
        metrics::auc_one_vs_rest(|_| scores.to_vec(), labels, classes),
        metrics::mae(scores, &wanted),
        metrics::rmse(scores, &wanted),
        metrics::sqnr(scores, &wanted, 1),
        metrics::relative_error(scores, &wanted, 1),
        metrics::cosine(scores, &wanted, 1),
    ]
}

#[track_caller]
fn check(value: f64, interval: Result<[f64; 2], NoInterval>, what: &str) {
    assert!(value.is_finite(), "{what} is {value}");
    if let Ok([low, high]) = interval {
        let holds = low.is_finite() && high.is_finite() && low <= value + 1e-9 && value <= high + 1e-9;
        assert!(holds, "{what} is {value}, its interval {low} … {high}");
    }
}

#[test]
fn few_and_odd_samples_give_no_nan() {
    let mut random = Random::new(9);
    let mut with_interval = 0;
    for round in 0..500 {
        let (n, classes) = (1 + random.below(24), 2 + random.below(3));
        let constant = random.below(4) == 0;
        let mut class = |of: usize| if constant && of == 0 { 1 } else { random.below(classes) };
        let labels: Vec<usize> = (0..n).map(|_| class(0)).collect();
        let now: Vec<usize> = (0..n).map(|_| class(round % 2)).collect();
        let before: Vec<usize> = if round % 3 == 0 { now.clone() } else { (0..n).map(|_| class(1)).collect() };
        let scores: Vec<f64> = now.iter().map(|c| *c as f64).collect();
        let groups = Groups::new(&(0..n).map(|_| random.below(8) as i64).collect::<Vec<_>>());
        let other: Vec<f64> = before.iter().map(|c| *c as f64 * 0.5).collect();
        for groups in [None, Some(&groups)] {
            let of_model = estimates(&labels, &now, &scores, classes);
            let of_baseline = estimates(&labels, &before, &other, classes);
            for (i, (model, baseline)) in of_model.iter().zip(&of_baseline).enumerate() {
                let Some(model) = model else { continue };
                let interval = model.interval(groups, 0.95);
                with_interval += usize::from(interval.is_ok());
                check(model.value(), interval, &format!("metric {i} in round {round}"));
                if let Some(baseline) = baseline {
                    let loss = Loss::of_merit(baseline, model);
                    check(loss.value(), loss.interval(groups, 0.95), &format!("loss {i} in round {round}"));
                    let _ = loss.within(0.1, groups, 0.95).map(|judged| assert!(judged.needed != Some(0)));
                }
            }
            let hits = |p: &[usize]| labels.iter().zip(p).map(|(l, p)| l == p).collect::<Vec<_>>();
            let loss = Loss::of_hits(&hits(&before), &hits(&now)).unwrap();
            check(loss.value(), loss.interval(groups, 0.95), &format!("loss of hits in round {round}"));
        }
    }
    assert!(with_interval > 6_000, "{with_interval}");
}
