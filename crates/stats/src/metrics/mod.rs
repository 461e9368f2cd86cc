//! Metrics on plain slices, each as an [`Estimate`](crate::Estimate): values are those of scikit-learn (`docs/check_metrics.py`
//! compares them), and every sample's influence comes along, from which intervals and comparisons follow.

mod classes;
mod kappa;
mod ranking;
mod regression;

pub use classes::{Average, Confusion, balanced_accuracy, f1, precision, recall, share};
pub use kappa::{Weights, kappa};
pub use ranking::{auc, auc_one_vs_rest, in_top};
pub use regression::{cosine, mae, mean, relative_error, rmse, root_mean, sqnr};

use crate::{Scale, estimate::Term};

/// Terms of one part of which every sample is an equal share.
fn equal_terms(influences: impl ExactSizeIterator<Item = f64>) -> Vec<Term> {
    let weight = 1.0 / influences.len() as f64;
    influences.zip(0..).map(|(influence, sample)| Term { sample, part: 0, influence, weight }).collect()
}

/// Influences of a ratio of two sums, `factor · Σa / Σb`.
fn ratio_influence(factor: f64, a: f64, b: f64, ratio: f64, below: f64) -> f64 {
    factor * (a - ratio * b) / below
}

/// The metric's own scale where it is a share.
const SHARE: Scale = Scale::SHARE;
