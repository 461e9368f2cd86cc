//! Rounding to nearest under the scales of the least squared error. Knows numbers, not graphs.

use rayon::prelude::*;

use super::{
    affine::{self, Codebook, Weight},
    repair::search_scale,
};

/// Nearest codes of a weight, each scale that of the least squared error of its channel, at least `least(channel)`.
pub(super) fn least_error(
    values: &[f32],
    shape: &[usize],
    axis: Option<usize>,
    book: Codebook,
    least: impl Fn(usize) -> f32 + Sync,
) -> Weight {
    let channel = affine::channel_of(shape, axis);
    let mut channels: Vec<Vec<f64>> = vec![Vec::new(); axis.map_or(1, |a| shape[a])];
    for (i, v) in values.iter().enumerate() {
        channels[channel(i)].push(f64::from(*v));
    }
    let scale = |(c, row): (usize, &Vec<f64>)| -> f32 {
        let found = search_scale(row, &vec![1.0; row.len()], book, f64::from(least(c)));
        affine::usable(found as f32).max(least(c))
    };
    let scales = channels.par_iter().enumerate().map(scale).collect();
    affine::rounded(values, shape, axis, book, scales)
}
