//! In which order the channels of each group go, from the moments of what their consumers read:
//! - OBS: the loss after the best compensation by the channels that are left (Hassibi and Stork, "Second Order Derivatives for
//!   Network Pruning: Optimal Brain Surgeon", 1992; by groups as in Kurtic et al., "ZipLM", arXiv 2302.04089): for where a refit follows;
//! - ThiNet: the loss without any (Luo et al., arXiv 1707.06342), greedily: for where none follows;
//! - Wanda: weights times the norm of what they multiply (Sun et al., arXiv 2306.11695).
//!
//! Each is summed over the consumers of a channel, each consumer's divided by the variance of its output. Knows numbers and
//! labels, neither graphs nor costs.

use std::collections::BTreeMap;

use faer::{Accum, Mat, Par, Side, linalg::matmul::matmul, linalg::solvers::Llt, prelude::Solve};
use plimsoll_onnx::NodeId;
use rayon::prelude::*;

use super::{
    Score,
    groups::Groups,
    layers::Layer,
    observed::{DAMPING, Moments},
};
use crate::algebra::Factor;

/// The removable channels of a group in the order in which they go, each with the loss that it adds.
pub(super) type Order = Vec<(usize, f64)>;

/// The order of each group; `None` where no consumer of it has moments.
pub(super) fn orders(
    groups: &Groups<'_>,
    layers: &[Layer<'_>],
    moments: &BTreeMap<NodeId, Moments>,
    score: Score,
) -> Vec<Option<Order>> {
    let one = |group: &super::Group| {
        let mut consumers: Vec<Consumer<'_>> = Vec::new();
        for layer in layers {
            let (Some(columns), Some(found)) = (&layer.columns, moments.get(&layer.id)) else { continue };
            let mut of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (j, label) in columns.iter().enumerate().filter(|(_, l)| group.channels.contains(l)) {
                of.entry(*label).or_default().push(j);
            }
            if !of.is_empty() && found.variance > 0.0 {
                consumers.extend(Consumer::of(found, of, score));
            }
        }
        (!consumers.is_empty()).then(|| eliminate(&group.channels, consumers))
    };
    groups.groups.par_iter().map(one).collect()
}

/// What one consumer loses, channel by channel.
struct Consumer<'c> {
    columns: BTreeMap<usize, Vec<usize>>,
    moments: &'c Moments,
    state: State,
}

enum State {
    /// The weights as they are after the compensation so far, and the inverse of the Gram matrix over what is left.
    Obs {
        weights: Mat<f64>,
        inverse: Mat<f64>,
    },
    /// What the removed channels contributed, by output: XᵀX Wᵀ over the removed columns.
    Thinet {
        pull: Mat<f64>,
    },
    Wanda,
}

impl<'c> Consumer<'c> {
    fn of(moments: &'c Moments, columns: BTreeMap<usize, Vec<usize>>, score: Score) -> Option<Self> {
        let k = moments.gram.nrows();
        let state = match score {
            Score::Obs => {
                let power = (0..k).map(|i| moments.gram[(i, i)]).sum::<f64>() / k.max(1) as f64;
                let order: Vec<usize> = (0..k).collect();
                let factor = Factor::of(&moments.gram, DAMPING * power.max(f64::MIN_POSITIVE), &order)?;
                State::Obs { weights: moments.weights.clone(), inverse: factor.solve(&Mat::identity(k, k)) }
            }
            Score::Thinet => State::Thinet { pull: Mat::zeros(k, moments.weights.nrows()) },
            Score::Wanda | Score::Magnitude => State::Wanda,
        };
        Some(Self { columns, moments, state })
    }

    /// What it loses when a channel goes now, relative to the variance of its output.
    fn loss(&self, channel: usize) -> f64 {
        let Some(at) = self.columns.get(&channel) else { return 0.0 };
        let w = &self.moments.weights;
        let outputs = 0..w.nrows();
        let loss: f64 = match &self.state {
            State::Obs { weights, inverse } => {
                let block = Mat::from_fn(at.len(), at.len(), |i, j| inverse[(at[i], at[j])]);
                let Ok(llt) = Llt::new(block.as_ref(), Side::Lower) else { return 0.0 };
                let own = Mat::from_fn(at.len(), w.nrows(), |i, o| weights[(o, at[i])]);
                let solved = llt.solve(&own);
                outputs.flat_map(|o| (0..at.len()).map(move |i| (i, o))).map(|p| own[p] * solved[p]).sum()
            }
            State::Thinet { pull } => {
                let own = |o: usize| {
                    let alone = at.iter().map(|&i| {
                        let inner: f64 = at.iter().map(|&j| self.moments.gram[(i, j)] * w[(o, j)]).sum();
                        w[(o, i)] * (inner + 2.0 * pull[(i, o)])
                    });
                    alone.sum::<f64>()
                };
                outputs.map(own).sum()
            }
            State::Wanda => {
                let energy = |j: usize| (self.moments.gram[(j, j)] + self.moments.mean[j].powi(2)).max(0.0).sqrt();
                at.iter().map(|&j| outputs.clone().map(|o| w[(o, j)].abs()).sum::<f64>() * energy(j)).sum()
            }
        };
        loss / self.moments.variance
    }

    /// Takes a channel out.
    fn remove(&mut self, channel: usize) {
        let Some(at) = self.columns.remove(&channel) else { return };
        match &mut self.state {
            State::Obs { weights, inverse } => {
                let k = inverse.nrows();
                let block = Mat::from_fn(at.len(), at.len(), |i, j| inverse[(at[i], at[j])]);
                let Ok(llt) = Llt::new(block.as_ref(), Side::Lower) else { return };
                let columns = Mat::from_fn(at.len(), k, |i, j| inverse[(at[i], j)]);
                let solved = llt.solve(&columns);
                let own = Mat::from_fn(weights.nrows(), at.len(), |o, i| weights[(o, at[i])]);
                matmul(&mut *weights, Accum::Add, &own, &solved, -1.0, Par::Seq);
                matmul(&mut *inverse, Accum::Add, columns.transpose(), &solved, -1.0, Par::Seq);
                // What is gone stays gone, whatever rounding left of it.
                for &i in &at {
                    (0..weights.nrows()).for_each(|o| weights[(o, i)] = 0.0);
                    (0..k).for_each(|j| (inverse[(i, j)], inverse[(j, i)]) = (0.0, 0.0));
                }
            }
            State::Thinet { pull } => {
                for o in 0..pull.ncols() {
                    for j in 0..pull.nrows() {
                        pull[(j, o)] +=
                            at.iter().map(|&i| self.moments.gram[(j, i)] * self.moments.weights[(o, i)]).sum::<f64>();
                    }
                }
            }
            State::Wanda => {}
        }
    }
}

/// The channels from the one that is missed least; each loss is that of the moment at which the channel goes.
fn eliminate(channels: &[usize], mut consumers: Vec<Consumer<'_>>) -> Order {
    let mut left: Vec<usize> = channels.to_vec();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let losses: Vec<f64> = left.par_iter().map(|c| consumers.iter().map(|x| x.loss(*c)).sum()).collect();
        let Some(best) = (0..left.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])) else { break };
        let channel = left.remove(best);
        consumers.iter_mut().for_each(|c| c.remove(channel));
        order.push((channel, losses[best]));
    }
    order
}
