//! How ranges of activations are chosen: a [`Statistic`] is what is kept of a value while samples stream by, and a method makes a
//! range of it in the end. A new method is one file here and its line in [`ranges`].

mod entropy;
mod histogram;
mod method;
mod mse;
mod percentile;
mod stream;

use plimsoll_onnx::Model;
use rayon::prelude::*;

pub use method::{Calibration, Percentage};

use self::histogram::Histogram;
use super::affine::Range;
use crate::{Context, Refusal};

/// Running statistics of one value, mergeable across workers and across the values of a class, in any order.
pub(super) trait Statistic: Send + Sized {
    /// Before anything was seen.
    fn new() -> Self;
    /// Takes in one tensor; `false` where it holds NaN or an infinity.
    fn observe(&mut self, values: &[f32]) -> bool;
    /// Both together.
    fn merge(self, other: Self) -> Self;
}

impl Statistic for Range {
    fn new() -> Self {
        Self::EMPTY
    }
    fn observe(&mut self, values: &[f32]) -> bool {
        self.observe(values)
    }
    fn merge(self, other: Self) -> Self {
        self.union(other)
    }
}

/// The range of each class of values over at most `samples` samples.
pub(super) fn ranges(
    model: &Model,
    context: &Context<'_>,
    classes: &[Vec<&str>],
    method: Calibration,
    samples: usize,
) -> Result<Vec<Range>, Refusal> {
    let of_histograms = |range: fn(&Histogram) -> Range| of_classes(model, context, classes, samples, range);
    match method {
        Calibration::MinMax => of_classes(model, context, classes, samples, |seen: &Range| *seen),
        Calibration::Percentile(p) => {
            of_classes(model, context, classes, samples, |seen| percentile::range(seen, p.share()))
        }
        Calibration::Entropy => of_histograms(entropy::range),
        Calibration::Mse => of_histograms(mse::range),
    }
}

fn of_classes<S: Statistic + Sync>(
    model: &Model,
    context: &Context<'_>,
    classes: &[Vec<&str>],
    samples: usize,
    range: impl Fn(&S) -> Range + Sync,
) -> Result<Vec<Range>, Refusal> {
    let values: Vec<String> = classes.iter().flatten().map(|v| (*v).to_owned()).collect();
    let mut seen = stream::gather::<S>(model, context, &values, samples)?;
    let joint = |class: &Vec<&str>| class.iter().filter_map(|v| seen.remove(*v)).reduce(S::merge);
    let joint: Vec<Option<S>> = classes.iter().map(joint).collect();
    Ok(joint.par_iter().map(|s| s.as_ref().map_or(Range::EMPTY, &range)).collect())
}
