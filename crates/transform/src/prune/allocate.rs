//! How many channels of each group go: by the divergence of the outputs, label-free, **after** repair of each group alone, its
//! consumers refitted from the moments of the original's inputs. Knows orders, costs and a judge; not how channels are ranked.

use std::collections::{BTreeMap, BTreeSet};

use faer::Mat;
use plimsoll_onnx::{Model, NodeId, Patch, View};
use rayon::prelude::*;

use super::{
    layers::{Layer, Place},
    meter::Meter,
    observed::{DAMPING, Moments, Observed},
    removal::{apply, remove},
};
use crate::{Refusal, algebra::Factor, observe::Reference};

/// Shares of a group's channels at which its curve is measured.
pub(super) const POINTS: [f64; 6] = [0.125, 0.25, 0.375, 0.5, 0.625, 0.8];
/// How often the cost of one channel more is taken anew while the order is made.
const STRETCHES: usize = 16;

/// What allocation works with.
pub(super) struct Allocator<'a, 'o, 'm> {
    pub(super) meter: &'a Meter<'a, 'm>,
    pub(super) observed: &'a Observed<'o, 'm>,
    pub(super) moments: &'a BTreeMap<NodeId, Moments>,
    pub(super) reference: &'a Reference<'o>,
    /// The removable channels of each group, in the order in which they go.
    pub(super) lists: Vec<Vec<usize>>,
}

/// The divergence of the outputs by the number of channels of one group that go; rising.
pub(super) type Curve = Vec<(usize, f64)>;

impl Allocator<'_, '_, '_> {
    /// The curve of each group.
    pub(super) fn curves(&self) -> Result<Vec<Curve>, Refusal> {
        let view = self.meter.model.view();
        let mut points: Vec<(usize, usize)> = Vec::new();
        for (g, list) in self.lists.iter().enumerate() {
            let mut counts: Vec<usize> = POINTS.iter().map(|p| (p * list.len() as f64).round() as usize).collect();
            counts.retain(|c| *c > 0);
            counts.dedup();
            points.extend(counts.into_iter().map(|c| (g, c)));
        }
        let progress = self.observed.context.progress;
        progress.start("sensitivity of groups", points.len());
        let one = |&(g, count): &(usize, usize)| -> Result<(usize, usize, f64), Refusal> {
            let removed: BTreeSet<usize> = self.lists[g][..count].iter().copied().collect();
            let changed = self.alone(&view, &removed)?;
            let (damage, _) = self.reference.damage(&changed)?;
            progress.advance(1);
            Ok((g, count, damage.cost()))
        };
        let found: Vec<_> = points.iter().map(one).collect::<Result<_, _>>()?;
        progress.finish();
        let mut curves: Vec<Curve> = vec![vec![(0, 0.0)]; self.lists.len()];
        for (g, count, cost) in found {
            // More channels never do less damage; where they seem to, it is noise.
            let before = curves[g].last().map_or(0.0, |(_, c)| *c);
            curves[g].push((count, cost.max(before)));
        }
        Ok(curves)
    }

    /// The model without these channels, what reads them refitted to the original's inputs.
    fn alone(&self, view: &View<'_>, removed: &BTreeSet<usize>) -> Result<Model, Refusal> {
        let mut changed = self.meter.model.clone();
        apply(remove(self.meter.model, self.meter.groups, removed)?, &mut changed)?;
        let reads = |l: &&Layer<'_>| l.columns.as_ref().is_some_and(|c| c.iter().any(|l| removed.contains(l)));
        let readers: Vec<&Layer<'_>> = self.observed.layers.iter().filter(reads).collect();
        let mut patch = Patch::new();
        let now = changed.view();
        for layer in readers {
            let (Some(found), Some(columns)) = (self.moments.get(&layer.id), &layer.columns) else { continue };
            let (Some((id, n)), Some(before)) = (now.producer(layer.output), Place::of(view, view.node(layer.id))?)
            else {
                continue;
            };
            let Some(place) = Place::of(&now, n)? else { continue };
            let kept: Vec<usize> = (0..columns.len()).filter(|j| !removed.contains(&columns[*j])).collect();
            let made: Vec<usize> =
                (0..layer.channels).filter(|c| layer.made.as_ref().is_none_or(|m| !removed.contains(&m[*c]))).collect();
            let shape = place.weight.shape();
            if shape[place.axis] != made.len() || shape.iter().product::<usize>() != made.len() * kept.len() {
                continue;
            }
            let Some(weights) = compensated(found, &kept) else { continue };
            let rows: Vec<f32> =
                made.iter().flat_map(|&o| (0..kept.len()).map(move |k| (o, k))).map(|at| weights[at] as f32).collect();
            let shift = |o: usize| {
                let all: f64 = (0..found.mean.len()).map(|j| found.weights[(o, j)] * found.mean[j]).sum();
                let now: f64 = kept.iter().enumerate().map(|(k, j)| weights[(o, k)] * found.mean[*j]).sum();
                (all - now) as f32
            };
            let bias = before.bias.values(layer.channels);
            let bias: Option<Vec<f32>> = bias.map(|b| made.iter().map(|&o| b[o] + shift(o)).collect());
            place.write(&changed, &now, id, &rows, bias.as_deref(), &mut patch)?;
        }
        apply(patch, &mut changed)?;
        Ok(changed)
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

/// Weights of the columns that are kept, refitted to what all of them gave.
fn compensated(found: &Moments, kept: &[usize]) -> Option<Mat<f64>> {
    let (k, outputs) = (found.gram.nrows(), found.weights.nrows());
    let is_kept: BTreeSet<usize> = kept.iter().copied().collect();
    let gone: Vec<usize> = (0..k).filter(|j| !is_kept.contains(j)).collect();
    let gram = Mat::from_fn(kept.len(), kept.len(), |i, j| found.gram[(kept[i], kept[j])]);
    let power = kept.iter().map(|&i| found.gram[(i, i)]).sum::<f64>() / kept.len().max(1) as f64;
    let order: Vec<usize> = (0..kept.len()).collect();
    let factor = Factor::of(&gram, if power > 0.0 { DAMPING * power } else { 1.0 }, &order)?;
    // What the removed columns gave, as far as those that are kept can say it.
    let lost = Mat::from_fn(gone.len(), outputs, |j, o| found.weights[(o, gone[j])]);
    let across = Mat::from_fn(kept.len(), gone.len(), |i, j| found.gram[(kept[i], gone[j])]);
    let change = factor.solve(&(&across * &lost));
    Some(Mat::from_fn(outputs, kept.len(), |o, i| found.weights[(o, kept[i])] + change[(i, o)]))
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
