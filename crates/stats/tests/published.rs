//! Metrics and tests equal the implementations of others: `docs/check_metrics.py` makes `expected.txt` from them.

use plimsoll_stats::{
    Loss, Random, interval,
    metrics::{self, Average, Weights},
    paired,
};

const CLASSES: usize = 4;

/// Labels, and the scores of two models, as the script draws them.
fn draw(n: usize, seed: u64) -> (Vec<usize>, [Vec<f64>; 2]) {
    let mut random = Random::new(seed);
    let (mut labels, mut tables) = (vec![], [vec![], vec![]]);
    for _ in 0..n {
        let label = random.below(CLASSES).min(random.below(CLASSES));
        labels.push(label);
        for table in &mut tables {
            let mut score = |c: usize| {
                let whole = 4 * random.below(6) + c + if c == label { 8 * random.below(3) } else { 0 };
                whole as f64 + 1.0
            };
            let row: Vec<f64> = (0..CLASSES).map(&mut score).collect();
            let sum: f64 = row.iter().sum();
            table.extend(row.iter().map(|v| v / sum));
        }
    }
    (labels, tables)
}

fn column(table: &[f64], class: usize) -> Vec<f64> {
    table.chunks_exact(CLASSES).map(|row| row[class]).collect()
}

fn predicted(table: &[f64]) -> Vec<usize> {
    let best = |row: &[f64]| row.iter().enumerate().fold(0, |best, (c, v)| if *v > row[best] { c } else { best });
    table.chunks_exact(CLASSES).map(best).collect()
}

fn hits(labels: &[usize], predicted: &[usize]) -> Vec<bool> {
    labels.iter().zip(predicted).map(|(l, p)| l == p).collect()
}

/// The stored value, and the words of its name.
fn expected() -> Vec<(String, f64)> {
    let lines = include_str!("expected.txt").lines();
    lines.map(|line| line.rsplit_once(" = ").map(|(name, v)| (name.to_owned(), v.parse().unwrap())).unwrap()).collect()
}

#[track_caller]
fn check(name: &str, found: f64, tolerance: f64) {
    let (_, wanted) = expected().into_iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}"));
    assert!((found - wanted).abs() <= tolerance, "{name} is {found}, not {wanted}");
}

#[test]
fn metrics_are_those_of_scikit_learn() {
    let (labels, [scores, others]) = draw(400, 11);
    let found = predicted(&scores);
    let check = |name: &str, found: Option<plimsoll_stats::Estimate>| check(name, found.unwrap().value(), 1e-9);
    check("accuracy", metrics::share(&hits(&labels, &found)));
    check("balanced", metrics::balanced_accuracy(&labels, &found));
    for c in 0..CLASSES {
        check(&format!("recall {c}"), metrics::recall(&labels, &found, c));
        check(&format!("precision {c}"), metrics::precision(&labels, &found, c));
        check(&format!("f1 {c}"), metrics::f1(&labels, &found, Average::Class(c)));
    }
    check("f1 macro", metrics::f1(&labels, &found, Average::Macro));
    check("f1 micro", metrics::f1(&labels, &found, Average::Micro));
    check("f1 weighted", metrics::f1(&labels, &found, Average::Weighted));
    check("kappa None", metrics::kappa(&labels, &found, Weights::None));
    check("kappa linear", metrics::kappa(&labels, &found, Weights::Linear));
    check("kappa quadratic", metrics::kappa(&labels, &found, Weights::Quadratic));
    for k in [2, 3] {
        let rows = scores.chunks_exact(CLASSES).zip(&labels);
        let among: Vec<bool> = rows.map(|(row, &l)| metrics::in_top(row, l, k)).collect();
        check(&format!("top {k}"), metrics::share(&among));
    }
    let positive: Vec<bool> = labels.iter().map(|l| *l == 1).collect();
    check("auc", metrics::auc(&column(&scores, 1), &positive));
    check("auc ovr", metrics::auc_one_vs_rest(|c| column(&scores, c), &labels, CLASSES));
    check("mae", metrics::mae(&column(&others, 0), &column(&scores, 0)));
    check("rmse", metrics::rmse(&column(&others, 0), &column(&scores, 0)));
    check("sqnr", metrics::sqnr(&scores, &others, CLASSES));
    check("relative error", metrics::relative_error(&scores, &others, CLASSES));
    check("cosine", metrics::cosine(&scores, &others, CLASSES));
}

#[test]
fn classes_that_only_one_side_knows_count_as_in_scikit_learn() {
    let (labels, found) = ([0, 0, 1, 1, 3], [0, 2, 1, 0, 0]);
    check("odd balanced", metrics::balanced_accuracy(&labels, &found).unwrap().value(), 1e-12);
    check("odd f1 macro", metrics::f1(&labels, &found, Average::Macro).unwrap().value(), 1e-12);
    check("odd f1 weighted", metrics::f1(&labels, &found, Average::Weighted).unwrap().value(), 1e-12);
    assert!(metrics::f1(&labels, &found, Average::Class(7)).is_none());
    assert!(metrics::precision(&labels, &found, 3).is_none() && metrics::recall(&labels, &found, 2).is_none());
    assert!(metrics::kappa(&[1, 1], &[1, 1], Weights::None).is_none());
    assert!(metrics::auc_one_vs_rest(|_| vec![0.5; 5], &labels, CLASSES).is_none());
}

#[test]
fn ties_count_half_and_one_class_has_no_area() {
    let check = |scores: &[f64], labels: &[u8]| {
        let positive: Vec<bool> = labels.iter().map(|&l| l == 1).collect();
        metrics::auc(scores, &positive).map(|a| a.value())
    };
    assert_eq!(check(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]), Some(0.75));
    assert_eq!(check(&[0.5, 0.5, 0.5, 0.5], &[0, 1, 0, 1]), Some(0.5));
    assert_eq!(check(&[-0.0, 0.0], &[0, 1]), Some(0.5));
    assert_eq!(check(&[0.1, 0.2], &[1, 1]), None);
}

#[test]
fn variances_of_areas_are_delongs() {
    let (labels, [scores, others]) = draw(400, 11);
    let positive: Vec<bool> = labels.iter().map(|l| *l == 1).collect();
    let [now, before] = [&scores, &others].map(|table| metrics::auc(&column(table, 1), &positive).unwrap());
    check("delong variance", now.spread(None).unwrap().variance, 1e-12);
    let loss = Loss::of_merit(&before, &now);
    let variance = loss.spread(None).unwrap().variance;
    check("delong paired variance", variance, 1e-12);
    let z = loss.value().abs() / variance.sqrt();
    check("delong z", z, 1e-9);
    check("delong p", 2.0 * plimsoll_stats::special::normal_cdf(-z), 1e-9);
}

#[test]
fn mcnemar_and_intervals_of_shares_are_those_of_others() {
    let (labels, [scores, others]) = draw(400, 11);
    let (now, before) = (hits(&labels, &predicted(&scores)), hits(&labels, &predicted(&others)));
    let count = |x: &[bool], y: &[bool]| x.iter().zip(y).filter(|(x, y)| **x && !**y).count() as f64;
    check("lost", count(&before, &now), 0.0);
    check("won", count(&now, &before), 0.0);
    let loss = Loss::of_hits(&before, &now).unwrap();
    let [low, high] = loss.interval(None, 0.95).unwrap();
    check("shares low 116 97 400 0.95", low, 1e-9);
    check("shares high 116 97 400 0.95", high, 1e-9);
    let mut checked = 0;
    for (name, _) in expected() {
        let words: Vec<&str> = name.split(' ').collect();
        let number = |i: usize| words[i].parse::<f64>().unwrap();
        let side = usize::from(words.get(1) == Some(&"high"));
        match words[0] {
            "mcnemar" if words[1] == "exact" => {
                check(&name, paired::mcnemar_exact(number(2) as u64, number(3) as u64), 1e-9);
            }
            "mcnemar" => check(&name, paired::mcnemar_mid_p(number(2) as u64, number(3) as u64), 1e-9),
            "shares" => check(&name, paired::of_shares(number(2), number(3), number(4), number(5))[side], 1e-9),
            "wilson" => check(&name, interval::wilson(number(2) as usize, number(3) as usize).unwrap()[side], 1e-9),
            _ => continue,
        }
        checked += 1;
    }
    assert_eq!(checked, 26);
}
