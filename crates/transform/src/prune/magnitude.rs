//! Which channels matter least, by the norms of the weights that make them (Li et al., "Pruning Filters for Efficient ConvNets",
//! arXiv 1608.08710), each layer's scaled to a mean of 1 and summed over the layers that a channel is coupled through. And the
//! order in which they go. Knows weights and groups, not costs.

use std::collections::BTreeMap;

use plimsoll_onnx::{Tensor, View};

use super::{
    Allocation,
    groups::{Groups, Role},
};
use crate::Refusal;

/// The score of each removable channel.
pub(super) fn scores(view: &View<'_>, groups: &Groups<'_>) -> Result<BTreeMap<usize, f64>, Refusal> {
    let mut scores: BTreeMap<usize, f64> = groups.groups.iter().flat_map(|g| &g.channels).map(|&c| (c, 0.0)).collect();
    for cut in groups.cuts.iter().filter(|c| c.role == Role::Makes) {
        if !cut.labels.iter().any(|l| scores.contains_key(&groups.labels.root(*l))) {
            continue;
        }
        let Some(proto) = view.constant(cut.param) else { continue };
        let tensor = Tensor::from_proto(proto)?;
        let norms = norms(&tensor, cut.axis)?;
        let mean = norms.iter().sum::<f64>() / norms.len().max(1) as f64;
        for (label, norm) in cut.labels.iter().zip(norms) {
            if let Some(score) = scores.get_mut(&groups.labels.root(*label)) {
                *score += if mean > 0.0 { norm / mean } else { 0.0 };
            }
        }
    }
    Ok(scores)
}

/// The L2 norm of each slice along an axis.
fn norms(tensor: &Tensor, axis: usize) -> Result<Vec<f64>, Refusal> {
    let shape = tensor.shape();
    let count = shape.get(axis).copied().unwrap_or(0);
    let inner = shape.iter().skip(axis + 1).product::<usize>().max(1);
    let mut sums = vec![0f64; count];
    for (i, v) in tensor.to_f64()?.into_iter().enumerate() {
        sums[i / inner % count] += v * v;
    }
    Ok(sums.into_iter().map(f64::sqrt).collect())
}

/// The channels in the order in which they go: the first k of them are the ones to remove, for every k. No layer is left with
/// fewer than `least` channels.
pub(super) fn order(
    groups: &Groups<'_>,
    scores: &BTreeMap<usize, f64>,
    allocation: Allocation,
    least: usize,
) -> Vec<usize> {
    let score = |c: &usize| scores.get(c).copied().unwrap_or(f64::MAX);
    let mut ranked: Vec<(f64, f64, usize)> = Vec::new();
    for group in &groups.groups {
        let mut channels = group.channels.clone();
        channels.sort_by(|a, b| score(a).total_cmp(&score(b)).then(a.cmp(b)));
        let count = channels.len() as f64;
        for (rank, channel) in channels.into_iter().enumerate() {
            let key = if allocation == Allocation::Uniform { (rank + 1) as f64 / count } else { score(&channel) };
            ranked.push((key, score(&channel), channel));
        }
    }
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    limited(groups, ranked.into_iter().map(|(_, _, channel)| channel), least)
}

/// The channels of an order that may go so that no layer is left with fewer than `least`.
pub(super) fn limited(groups: &Groups<'_>, ranked: impl IntoIterator<Item = usize>, least: usize) -> Vec<usize> {
    // How many channels each layer has left, and which layers each channel belongs to.
    let mut left: Vec<usize> = groups.floors.iter().map(Vec::len).collect();
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (f, floor) in groups.floors.iter().enumerate() {
        floor.iter().for_each(|&label| members.entry(label).or_default().push(f));
    }
    let mut order = Vec::new();
    for channel in ranked {
        let layers = members.get(&channel).map(Vec::as_slice).unwrap_or_default();
        let takes = |p: usize| layers.iter().filter(|l| **l == p).count();
        if layers.iter().all(|&p| left[p] >= least.max(1) + takes(p)) {
            layers.iter().for_each(|&p| left[p] -= 1);
            order.push(channel);
        }
    }
    order
}
