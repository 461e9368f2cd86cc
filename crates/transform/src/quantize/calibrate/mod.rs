//! How ranges of activations are chosen. A method is a [`Statistic`] of its own: what it keeps of a value while samples stream by,
//! and which range it makes of that in the end. A new method is one file here and its line in [`ranges`].

mod minmax;
mod stream;

use plimsoll_onnx::Model;

pub(super) use stream::{Runs, floats};

use super::{Calibration, affine::Range};
use crate::{Context, Refusal};

/// Running statistics of one value, mergeable across workers and across the values of a class, in any order.
pub(super) trait Statistic: Send + Sized {
    /// Before anything was seen.
    fn new() -> Self;
    /// Takes in one tensor; `false` where it holds NaN or an infinity.
    fn observe(&mut self, values: &[f32]) -> bool;
    /// Both together.
    fn merge(self, other: Self) -> Self;
    /// The range that codes shall cover.
    fn range(&self) -> Range;
}

/// The range of each class of values over at most `samples` samples.
pub(super) fn ranges(
    model: &Model,
    context: &Context<'_>,
    classes: &[Vec<&str>],
    method: Calibration,
    samples: usize,
) -> Result<Vec<Range>, Refusal> {
    match method {
        Calibration::MinMax => of_classes::<minmax::MinMax>(model, context, classes, samples),
    }
}

fn of_classes<S: Statistic>(
    model: &Model,
    context: &Context<'_>,
    classes: &[Vec<&str>],
    samples: usize,
) -> Result<Vec<Range>, Refusal> {
    let values: Vec<String> = classes.iter().flatten().map(|v| (*v).to_owned()).collect();
    let mut seen = stream::gather::<S>(model, context, &values, samples)?;
    let joint = |class: &Vec<&str>| {
        let parts = class.iter().filter_map(|v| seen.remove(*v));
        parts.reduce(S::merge).map_or(Range::EMPTY, |s| s.range())
    };
    Ok(classes.iter().map(joint).collect())
}
