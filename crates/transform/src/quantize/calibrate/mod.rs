//! How ranges of activations are chosen: from what was kept of a value while samples streamed by, a method makes a range. A new
//! method is one file here and its line in [`range`].

mod entropy;
mod method;
mod mse;
mod percentile;

use std::collections::BTreeMap;

use plimsoll_runtime::{Keep, Kept};
use plimsoll_stats::Range;
use rayon::prelude::*;

pub use method::{Calibration, Percentage};

/// What a method needs of a value.
pub(super) fn keep(method: Calibration) -> Keep {
    match method {
        Calibration::MinMax => Keep::Range,
        Calibration::Percentile(_) | Calibration::Entropy | Calibration::Mse => Keep::Histogram,
    }
}

/// The range of each class of values, from what was kept of its members.
pub(super) fn ranges(classes: &[Vec<&str>], mut seen: BTreeMap<String, Kept>, method: Calibration) -> Vec<Range> {
    let joint = |class: &Vec<&str>| class.iter().filter_map(|v| seen.remove(*v)).reduce(Kept::merge);
    let joint: Vec<Option<Kept>> = classes.iter().map(joint).collect();
    joint.par_iter().map(|kept| kept.as_ref().map_or(Range::EMPTY, |kept| range(kept, method))).collect()
}

fn range(kept: &Kept, method: Calibration) -> Range {
    let Kept::Histogram(histogram) = kept else { return kept.range() };
    match method {
        Calibration::MinMax => histogram.seen(),
        Calibration::Percentile(p) => percentile::range(histogram, p.share()),
        Calibration::Entropy => entropy::range(histogram),
        Calibration::Mse => mse::range(histogram),
    }
}
