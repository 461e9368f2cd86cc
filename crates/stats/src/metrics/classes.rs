//! Classification: shares of hits, recall, precision and F1.

use std::collections::BTreeMap;

use super::{SHARE, equal_terms, ratio_influence};
use crate::estimate::{Estimate, Stratum, Tail, Term};

/// How often each class was taken for each. Only pairs that occur are kept: a model may have millions of classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    /// By label and prediction.
    pub counts: BTreeMap<(usize, usize), u64>,
}

/// Counts of one class against all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassCounts {
    /// Samples of the class.
    pub labelled: u64,
    /// Samples that were taken for it.
    pub predicted: u64,
    /// Both.
    pub hits: u64,
}

impl ClassCounts {
    /// `2·TP / (2·TP + FP + FN)`; of a class that occurs or is predicted.
    fn f1(self) -> f64 {
        2.0 * self.hits as f64 / (self.labelled + self.predicted) as f64
    }
}

impl Confusion {
    /// Counts pairs.
    pub fn of(labels: &[usize], predicted: &[usize]) -> Self {
        let mut counts = BTreeMap::new();
        labels.iter().zip(predicted).for_each(|(&l, &p)| *counts.entry((l, p)).or_default() += 1);
        Self { counts }
    }

    /// Each class that occurs or is predicted.
    pub fn classes(&self) -> BTreeMap<usize, ClassCounts> {
        let mut classes: BTreeMap<usize, ClassCounts> = BTreeMap::new();
        for (&(label, predicted), &n) in &self.counts {
            classes.entry(label).or_default().labelled += n;
            let of = classes.entry(predicted).or_default();
            of.predicted += n;
            of.hits += if label == predicted { n } else { 0 };
        }
        classes
    }
}

/// The share of hits: accuracy, top-k accuracy, agreement. `None` without samples.
pub fn share(hits: &[bool]) -> Option<Estimate> {
    let n = hits.len() as f64;
    let value = hits.iter().filter(|h| **h).count() as f64 / n;
    let terms = equal_terms(hits.iter().map(|&h| (f64::from(u8::from(h)) - value) / n));
    (!hits.is_empty()).then(|| Estimate::new(value, SHARE, Tail::Bounded, hits.len(), terms))
}

/// The mean recall of the classes that occur (Brodersen et al. 2010); classes that are only predicted do not count.
pub fn balanced_accuracy(labels: &[usize], predicted: &[usize]) -> Option<Estimate> {
    let classes = Confusion::of(labels, predicted).classes();
    let occurring = classes.values().filter(|c| c.labelled > 0).count() as f64;
    let recall = |c: &ClassCounts| c.hits as f64 / c.labelled as f64;
    let value = classes.values().filter(|c| c.labelled > 0).map(recall).sum::<f64>() / occurring;
    let term = |((&label, &found), sample): ((&usize, &usize), u32)| {
        let class = &classes[&label];
        let weight = 1.0 / (occurring * class.labelled as f64);
        let hit = f64::from(u8::from(label == found));
        Term { sample, part: label as u32, influence: (hit - recall(class)) * weight, weight }
    };
    let terms = labels.iter().zip(predicted).zip(0..).map(term).collect();
    let stratum = |c: &ClassCounts| Stratum { share: recall(c), samples: c.labelled as f64, weight: 1.0 / occurring };
    let strata = classes.values().filter(|c| c.labelled > 0).map(stratum).collect();
    let estimate = || Estimate::new(value, SHARE, Tail::Bounded, labels.len(), terms).of_strata(strata);
    (!labels.is_empty()).then(estimate)
}

/// The share of hits among the samples of a class. `None` where it does not occur.
pub fn recall(labels: &[usize], predicted: &[usize], class: usize) -> Option<Estimate> {
    among(labels, predicted, class)
}

/// The share of hits among the samples that were taken for a class. `None` where none was (scikit-learn's `zero_division`).
pub fn precision(labels: &[usize], predicted: &[usize], class: usize) -> Option<Estimate> {
    among(predicted, labels, class)
}

/// The share of samples with `class` on one side that have it on the other as well.
fn among(of: &[usize], other: &[usize], class: usize) -> Option<Estimate> {
    let n = of.iter().filter(|c| **c == class).count() as f64;
    let pairs = || of.iter().zip(other).zip(0u32..).filter(|((c, _), _)| **c == class);
    let hit = |o: &usize| f64::from(u8::from(*o == class));
    let value = pairs().map(|((_, o), _)| hit(o)).sum::<f64>() / n;
    let term = |((_, o), sample): ((&usize, &usize), u32)| Term {
        sample,
        part: class as u32,
        influence: (hit(o) - value) / n,
        weight: 1.0 / n,
    };
    (n > 0.0).then(|| Estimate::new(value, SHARE, Tail::Bounded, n as usize, pairs().map(term).collect()))
}

/// How the F1 of several classes becomes one, as scikit-learn names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Average {
    /// Of one class alone (`binary` with this `pos_label`).
    Class(usize),
    /// The mean over the classes that occur or are predicted.
    Macro,
    /// From the sums of the counts; with one label a sample, accuracy.
    Micro,
    /// The mean with the classes' frequencies as weights.
    Weighted,
}

/// F1, the harmonic mean of precision and recall. There is no division by zero in it: only classes that occur or are predicted
/// count, and of any other class it is `None`.
pub fn f1(labels: &[usize], predicted: &[usize], average: Average) -> Option<Estimate> {
    if average == Average::Micro {
        let hits: Vec<bool> = labels.iter().zip(predicted).map(|(l, p)| l == p).collect();
        return share(&hits);
    }
    let classes = Confusion::of(labels, predicted).classes();
    let n = labels.len() as f64;
    let factor = |class: usize, counts: &ClassCounts| match average {
        Average::Class(one) => f64::from(u8::from(one == class)),
        Average::Weighted => counts.labelled as f64 / n,
        Average::Macro | Average::Micro => 1.0 / classes.len() as f64,
    };
    if classes.iter().all(|(class, counts)| factor(*class, counts) == 0.0) {
        return None;
    }
    let value: f64 = classes.iter().map(|(class, counts)| factor(*class, counts) * counts.f1()).sum();
    let mut terms = Vec::with_capacity(2 * labels.len());
    for ((&label, &found), sample) in labels.iter().zip(predicted).zip(0..) {
        let mut add = |class: usize, twice: f64, sides: f64, more: f64| {
            let counts = &classes[&class];
            let factor = factor(class, counts);
            let below = (counts.labelled + counts.predicted) as f64;
            let influence = ratio_influence(factor, twice, sides, counts.f1(), below) + more;
            let weight = factor * sides / below;
            if weight > 0.0 {
                terms.push(Term { sample, part: class as u32, influence, weight });
            }
        };
        // The frequencies that weigh the classes are estimates as well.
        let more = if average == Average::Weighted { (classes[&label].f1() - value) / n } else { 0.0 };
        if label == found {
            add(label, 2.0, 2.0, more);
        } else {
            add(label, 0.0, 1.0, more);
            add(found, 0.0, 1.0, 0.0);
        }
    }
    Some(Estimate::new(value, SHARE, Tail::Bounded, labels.len(), terms))
}
