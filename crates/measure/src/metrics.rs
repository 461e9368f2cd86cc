//! Classification metrics from scores and labels. Pure functions.

use std::collections::BTreeMap;

use crate::Scores;

/// Every metric, as `--metric` and figures name it.
pub(crate) const NAMES: &[&str] =
    &["accuracy", "balanced-accuracy", "auc", "top-5", "agreement", "accuracy-drop", "output-error", "output-sqnr"];

/// How often each class was taken for each. Only pairs that occur are kept: a model may have millions of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    /// By label and prediction.
    pub counts: BTreeMap<(usize, usize), u64>,
}

impl Confusion {
    /// Counts pairs.
    pub(crate) fn of(labels: &[usize], predicted: &[usize]) -> Self {
        let mut counts = BTreeMap::new();
        labels.iter().zip(predicted).for_each(|(&l, &p)| *counts.entry((l, p)).or_default() += 1);
        Self { counts }
    }

    /// Samples and hits of each class that occurs.
    pub(crate) fn recalls(&self) -> Vec<(u64, u64)> {
        let mut recalls: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        for (&(label, predicted), &n) in &self.counts {
            let recall = recalls.entry(label).or_default();
            *recall = (recall.0 + n, recall.1 + if label == predicted { n } else { 0 });
        }
        recalls.into_values().collect()
    }

    /// The mean of the recalls of the classes that occur.
    pub(crate) fn balanced(&self) -> Option<f64> {
        let recalls = self.recalls();
        let sum: f64 = recalls.iter().map(|&(n, hits)| hits as f64 / n as f64).sum();
        (!recalls.is_empty()).then(|| sum / recalls.len() as f64)
    }
}

/// Whether the label is among the `k` highest scores; of equal scores the earlier class stands first.
pub(crate) fn in_top(row: &[f64], label: usize, k: usize) -> bool {
    let better = row.iter().enumerate().filter(|&(i, &v)| v > row[label] || (v == row[label] && i < label));
    better.count() < k
}

/// Energy of the difference and of the reference: `(Σ(a − b)², Σb²)`.
pub(crate) fn energies(found: &Scores, reference: &Scores) -> (f64, f64) {
    let pairs = found.values.iter().zip(&reference.values);
    pairs.fold((0.0, 0.0), |(e, r), (a, b)| (e + (a - b) * (a - b), r + b * b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_do_not_occur_do_not_count_in_balanced_accuracy() {
        let confusion = Confusion::of(&[0, 0, 1, 1], &[0, 0, 1, 2]);
        assert_eq!(confusion.balanced(), Some(0.75));
    }

    #[test]
    fn millions_of_columns_take_no_memory_of_their_square() {
        let confusion = Confusion::of(&[3_999_999, 7], &[3_999_999, 0]);
        assert_eq!(confusion.balanced(), Some(0.5));
    }

    #[test]
    fn equal_scores_are_ranked_by_class_as_argmax_does() {
        assert!(in_top(&[1.0, 1.0, 0.0], 0, 1));
        assert!(!in_top(&[1.0, 1.0, 0.0], 1, 1));
        assert!(in_top(&[1.0, 1.0, 0.0], 1, 2));
    }
}
