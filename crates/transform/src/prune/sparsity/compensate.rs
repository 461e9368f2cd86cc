//! Zeros whose error the other weights of a row take up: SparseGPT (Frantar and Alistarh, arXiv 2301.00774), which goes through
//! the columns once, as "Optimal Brain Compression" (Frantar et al., arXiv 2208.11580) would one weight at a time; then coordinate
//! descent on the weights that are left. Knows numbers, not layers.

use faer::Mat;
use rayon::prelude::*;

use super::pattern::Blocks;
use crate::algebra::{Factor, Moments};

/// Columns whose zeros are chosen together.
const WINDOW: usize = 128;
/// Sweeps of coordinate descent over a row.
const SWEEPS: usize = 12;

/// What a matrix of weights may keep.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    /// All but so many.
    AllBut(usize),
    /// So many of each block of channels, each of so many taps.
    Blocks(Blocks, usize),
}

/// Weights with zeros, one row an output channel, that come near to `weights` on rows of these moments; `None` where the moments
/// are not usable.
pub(super) fn compensated(weights: &Mat<f64>, moments: &Moments, share: f64, keep: Keep) -> Option<Mat<f64>> {
    let (rows, k) = (weights.nrows(), weights.ncols());
    let power = moments.power();
    let damping = if power > 0.0 { share * power } else { 1.0 };
    let steps = steps(keep, k);
    let order: Vec<usize> = steps.iter().flatten().copied().collect();
    let upper = Factor::of(&moments.gram, damping, &order)?.inverse_upper();
    let pivot = |p: usize| upper[p * k + p];
    // Rows in the order of the columns' turns.
    let turned: Vec<Vec<f64>> = (0..rows).map(|o| order.iter().map(|&j| weights[(o, j)]).collect()).collect();
    let mut state: Vec<(Vec<f64>, Vec<bool>)> = turned.iter().map(|row| (row.clone(), vec![false; k])).collect();
    let (mut first, mut due) = (0, 0);
    for step in &steps {
        let span = first..first + step.len();
        let score = |row: &[f64], p: usize| (row[p] / pivot(p)).powi(2);
        match keep {
            Keep::Blocks(blocks, _) => {
                let places: Vec<usize> = span.clone().collect();
                state.par_iter_mut().for_each(|(row, zero)| {
                    blocks.zero(&places, |p| score(row, p), &mut |p| zero[p] = true);
                });
            }
            Keep::AllBut(zeros) => {
                // So many by now, of all rows together, that the last step ends at the exact count.
                let now = zeros * span.end / k.max(1);
                let mut ranked: Vec<(f64, usize, usize)> = state
                    .iter()
                    .enumerate()
                    .flat_map(|(o, (row, _))| span.clone().map(move |p| (o, p, row)))
                    .map(|(o, p, row)| (score(row, p), o, p))
                    .collect();
                ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
                ranked.into_iter().take(now - due).for_each(|(_, o, p)| state[o].1[p] = true);
                due = now;
            }
        }
        state.par_iter_mut().for_each(|(row, zero)| {
            for p in span.clone().filter(|p| zero[*p]) {
                let error = row[p] / pivot(p);
                row[p] = 0.0;
                let later = &upper[p * k + p + 1..(p + 1) * k];
                row[p + 1..].iter_mut().zip(later).for_each(|(w, u)| *w -= error * u);
            }
        });
        first = span.end;
    }
    // Later columns moved those that had been left alone before: these move along now.
    let entry = |(p, q): (usize, usize)| moments.gram[(order[p], order[q])] + if p == q { damping } else { 0.0 };
    let hessian: Vec<f64> = (0..k * k).map(|e| entry((e / k, e % k))).collect();
    state.par_iter_mut().zip(&turned).for_each(|((row, zero), wanted)| descend(row, zero, wanted, &hessian));
    let mut place = vec![0; k];
    order.iter().enumerate().for_each(|(p, &j)| place[j] = p);
    let found = Mat::from_fn(rows, k, |o, j| if state[o].1[place[j]] { 0.0 } else { state[o].0[place[j]] });
    let finite = (0..rows).all(|o| (0..k).all(|j| found[(o, j)].is_finite()));
    finite.then_some(found)
}

/// Columns in the order of their turns, those together whose zeros are chosen at once.
fn steps(keep: Keep, k: usize) -> Vec<Vec<usize>> {
    match keep {
        Keep::AllBut(_) => (0..k).collect::<Vec<_>>().chunks(WINDOW).map(<[usize]>::to_vec).collect(),
        Keep::Blocks(blocks, taps) => blocks.of_columns(k, taps),
    }
}

/// Each weight that is left in turn takes its best value given all others: (w − w₀)ᵀH(w − w₀) falls with every step.
fn descend(row: &mut [f64], zero: &[bool], wanted: &[f64], hessian: &[f64]) {
    let k = row.len();
    let off: Vec<f64> = row.iter().zip(wanted).map(|(w, t)| w - t).collect();
    let column = |j: usize| &hessian[j * k..(j + 1) * k];
    let mut slope: Vec<f64> = (0..k).map(|j| column(j).iter().zip(&off).map(|(h, d)| h * d).sum()).collect();
    for _ in 0..SWEEPS {
        for j in (0..k).filter(|j| !zero[*j]) {
            let change = -slope[j] / column(j)[j];
            row[j] += change;
            slope.iter_mut().zip(column(j)).for_each(|(s, h)| *s += change * h);
        }
    }
}
