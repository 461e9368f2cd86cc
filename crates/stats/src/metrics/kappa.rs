//! Cohen's kappa.

use std::collections::BTreeMap;

use super::{Confusion, equal_terms};
use crate::{
    Scale,
    estimate::{Estimate, Tail},
};

/// How much a disagreement weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// Every one alike (Cohen 1960).
    None,
    /// By the distance of the classes' numbers (Cohen 1968).
    Linear,
    /// By its square.
    Quadratic,
}

impl Weights {
    fn of(self, a: usize, b: usize) -> f64 {
        let distance = a.abs_diff(b) as f64;
        match self {
            Self::None => f64::from(u8::from(a != b)),
            Self::Linear => distance,
            Self::Quadratic => distance * distance,
        }
    }
}

/// Agreement of labels and predictions beyond chance, `1 − O / E` with the weight of disagreements observed and expected. `None`
/// where chance agrees always, because both sides know one class only.
pub fn kappa(labels: &[usize], predicted: &[usize], weights: Weights) -> Option<Estimate> {
    let n = labels.len() as f64;
    let classes = Confusion::of(labels, predicted).classes();
    // Of every class on one side: the mean weight of its disagreement with a random sample of the other side.
    let against = |share: &dyn Fn(usize) -> f64| -> BTreeMap<usize, f64> {
        let mean = |a: usize| match weights {
            Weights::None => 1.0 - share(a),
            _ => classes.keys().map(|&b| weights.of(a, b) * share(b)).sum(),
        };
        classes.keys().map(|&a| (a, mean(a))).collect()
    };
    let of_label = against(&|c| classes[&c].predicted as f64 / n);
    let of_prediction = against(&|c| classes[&c].labelled as f64 / n);
    let expected: f64 = classes.iter().map(|(c, counts)| counts.labelled as f64 / n * of_label[c]).sum();
    if expected <= 0.0 || labels.is_empty() {
        return None;
    }
    let pairs = || labels.iter().zip(predicted);
    let observed = pairs().map(|(&l, &p)| weights.of(l, p)).sum::<f64>() / n;
    let influence = |(&l, &p): (&usize, &usize)| {
        let (o, e) = (weights.of(l, p) - observed, of_label[&l] + of_prediction[&p] - 2.0 * expected);
        -(o - observed / expected * e) / (expected * n)
    };
    let terms = equal_terms(pairs().map(influence));
    let first = classes.keys().next().copied().unwrap_or(0);
    let last = classes.keys().last().copied().unwrap_or(0);
    // O is a share of the largest weight.
    let scale = Scale::Share { offset: 1.0, factor: -weights.of(first, last) / expected };
    Some(Estimate::new(1.0 - observed / expected, scale, Tail::Bounded, labels.len(), terms))
}
