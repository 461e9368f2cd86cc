//! How many channels of each group go: by the divergence of the outputs, label-free, when those of one group alone are gone and **all**
//! layers behind them refitted, on samples that the refit has not seen. (With its readers alone refitted, early groups look two to
//! three times as dear as they are, and on the samples of the refit late ones too cheap.) Knows orders, costs and a judge; not how
//! channels are ranked.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::{fold::Fold, gain::mean, meter::Meter};
use crate::{Progress, Refusal};

/// Shares of a group's channels at which its curve is measured.
pub(super) const POINTS: [f64; 4] = [0.125, 0.3, 0.5, 0.75];
/// How often the cost of one channel more is taken anew while the order is made.
const STRETCHES: usize = 16;

/// What allocation works with.
pub(super) struct Allocator<'a, 'm> {
    pub(super) meter: &'a Meter<'a, 'm>,
    /// The removable channels of each group, in the order in which they go.
    pub(super) lists: Vec<Vec<usize>>,
}

/// The softened divergence of the outputs by the number of channels of one group that go; rising.
pub(super) type Curve = Vec<(usize, f64)>;

impl Allocator<'_, '_> {
    /// The curve of each group.
    pub(super) fn curves(&self, fold: &Fold<'_, '_>, progress: &dyn Progress) -> Result<Vec<Curve>, Refusal> {
        let mut points: Vec<(usize, usize)> = Vec::new();
        for (g, list) in self.lists.iter().enumerate() {
            let mut counts: Vec<usize> = POINTS.iter().map(|p| (p * list.len() as f64).round() as usize).collect();
            counts.retain(|c| *c > 0);
            counts.dedup();
            points.extend(counts.into_iter().map(|c| (g, c)));
        }
        progress.start("sensitivity of groups", points.len());
        let mut curves: Vec<Curve> = vec![vec![(0, 0.0)]; self.lists.len()];
        for (g, count) in points {
            let removed: BTreeSet<usize> = self.lists[g][..count].iter().copied().collect();
            let cost = mean(&fold.losses(self.meter.groups, &removed)?.softened);
            // More channels never do less damage; where they seem to, it is noise.
            let before = curves[g].last().map_or(0.0, |(_, c)| *c);
            curves[g].push((count, cost.max(before)));
            progress.advance(1);
        }
        progress.finish();
        Ok(curves)
    }

    /// All channels in the order in which they go: the next is of the group where divergence rises least by the cost that goes.
    pub(super) fn sequence(&self, curves: &[Curve]) -> Result<Vec<usize>, Refusal> {
        let slopes: Vec<Vec<f64>> = curves.iter().zip(&self.lists).map(|(c, l)| slopes(c, l.len())).collect();
        let total: usize = self.lists.iter().map(Vec::len).sum();
        let mut counts = vec![0usize; self.lists.len()];
        let mut order: Vec<usize> = Vec::with_capacity(total);
        let mut gains = Vec::new();
        for step in 0..total {
            if step % total.div_ceil(STRETCHES).max(1) == 0 {
                gains = self.gains(&counts)?;
            }
            let price = |g: usize| slopes[g].get(counts[g]).copied().unwrap_or(f64::INFINITY) / gains[g];
            let open = (0..counts.len()).filter(|&g| counts[g] < self.lists[g].len());
            let Some(best) = open.min_by(|a, b| price(*a).total_cmp(&price(*b))) else { break };
            order.push(self.lists[best][counts[best]]);
            counts[best] += 1;
        }
        Ok(order)
    }

    /// The share of the cost that goes with one channel more of each group.
    fn gains(&self, counts: &[usize]) -> Result<Vec<f64>, Refusal> {
        let base = self.meter.share(&self.channels(counts))?;
        let one = |g: usize| -> Result<f64, Refusal> {
            let mut more = counts.to_vec();
            if more[g] >= self.lists[g].len() {
                return Ok(f64::MIN_POSITIVE);
            }
            more[g] += 1;
            Ok((self.meter.share(&self.channels(&more))? - base).max(f64::MIN_POSITIVE))
        };
        (0..counts.len()).into_par_iter().map(one).collect()
    }

    pub(super) fn channels(&self, counts: &[usize]) -> BTreeSet<usize> {
        self.lists.iter().zip(counts).flat_map(|(l, &n)| &l[..n.min(l.len())]).copied().collect()
    }

    pub(super) fn counts(&self, channels: &BTreeSet<usize>) -> Vec<usize> {
        self.lists.iter().map(|l| l.iter().filter(|c| channels.contains(c)).count()).collect()
    }
}

/// The rise of a curve at each channel, in the order in which they go: of its lower convex hull, so that no cheap stretch hides
/// behind a dear one.
pub(super) fn slopes(curve: &Curve, length: usize) -> Vec<f64> {
    let mut hull: Vec<(f64, f64)> = Vec::new();
    for &(x, y) in curve {
        let next = (x as f64, y);
        let slope = |a: (f64, f64), b: (f64, f64)| (b.1 - a.1) / (b.0 - a.0).max(f64::MIN_POSITIVE);
        while hull.len() >= 2 && slope(hull[hull.len() - 2], hull[hull.len() - 1]) >= slope(hull[hull.len() - 1], next)
        {
            hull.pop();
        }
        hull.push(next);
    }
    let mut slopes = Vec::with_capacity(length);
    for pair in hull.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let count = (x1 - x0) as usize;
        slopes.extend(std::iter::repeat_n((y1 - y0) / (x1 - x0).max(1.0), count));
    }
    // Beyond what was measured it only gets worse.
    let last = slopes.last().copied().unwrap_or(0.0);
    while slopes.len() < length {
        slopes.push((last * 2.0).max(f64::MIN_POSITIVE));
    }
    slopes
}
