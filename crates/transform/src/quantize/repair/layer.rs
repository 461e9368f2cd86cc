//! Repairs one layer from its rows: refit, codes, bias, as far as the method goes. Knows numbers, not graphs.

use faer::Mat;
use rayon::prelude::*;

use super::{
    capture::Rows,
    gptq::{Problem, search_scale},
    least_squares,
    matrix::{Columns, Factor, Moments},
};
use crate::quantize::{
    Repair,
    affine::{self, Codebook, Weight},
    anchor::Anchor,
    plan::Operands,
    solution::Layer,
};

/// Damping relative to the mean of the Gram matrix's diagonal.
const DAMPING: f64 = 0.01;
/// The same where there are fewer than [`ENOUGH`] rows a column.
const DAMPING_FEW: f64 = 0.1;
const ENOUGH: usize = 4;
/// Above this many columns in a group the weights are not refitted: the Gram matrix alone would take 75 MB and more.
const WIDEST: usize = 3072;

/// A weight as one row an output channel.
struct Matrix {
    rows: Vec<f32>,
    channels: usize,
    /// Elements of a row.
    width: usize,
    transposed: bool,
}

impl Matrix {
    fn of(operands: &Operands<'_>) -> Self {
        let channels = operands.channels();
        let width = operands.weight.len() / channels.max(1);
        let transposed = operands.axis != 0;
        let rows = if transposed { transpose(&operands.weight, width, channels) } else { operands.weight.clone() };
        Self { rows, channels, width, transposed }
    }

    /// Codes of rows in the order of the weight.
    fn restored(&self, codes: Vec<i8>) -> Vec<i8> {
        if self.transposed { transpose(&codes, self.channels, self.width) } else { codes }
    }
}

fn transpose<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect()
}

/// What repair may not change about a layer.
pub(super) struct Limits<'l> {
    /// The largest bias that goes with a weight scale: the least scale is this function of a bias.
    pub(super) least: &'l (dyn Fn(f32) -> f32 + Sync),
    pub(super) book: Codebook,
    pub(super) method: Repair,
}

/// Repairs a layer; `before` is how it is quantized now.
pub(super) fn repaired(
    anchor: &Anchor<'_>,
    before: &Layer,
    rows: &Rows,
    groups: usize,
    width: usize,
    limits: &Limits<'_>,
) -> Option<Layer> {
    let matrix = Matrix::of(&anchor.operands);
    let (channels, k) = (matrix.channels, matrix.width);
    let n = rows.x.len() / width.max(1);
    if n == 0 || k * groups != width || channels % groups.max(1) != 0 || rows.y.len() != n * channels {
        return None;
    }
    let bias = anchor.bias();
    let own = anchor.own_bias();
    let target: Vec<f32> =
        rows.y.chunks_exact(channels).flat_map(|row| row.iter().zip(&own).map(|(y, b)| y - b)).collect();
    let mut codes = vec![0i8; channels * k];
    let mut scales = vec![0f32; channels];
    let mut corrected = vec![0f32; channels];
    let per_group = channels / groups;
    let weight_now = before.weight.values();
    let now = if matrix.transposed { transpose(&weight_now, k, channels) } else { weight_now };
    for group in 0..groups {
        let first = group * per_group;
        let x = Columns { rows: &rows.x, width, from: group * k, count: k };
        let t = Columns { rows: &target, width: channels, from: first, count: per_group };
        let refit = limits.method != Repair::Bias && k <= WIDEST;
        if !refit {
            let (mean_x, mean_t) = (x.mean(), t.mean());
            for c in 0..per_group {
                let row = &now[(first + c) * k..(first + c + 1) * k];
                let computed: f64 = row.iter().zip(&mean_x).map(|(w, m)| f64::from(*w) * m).sum();
                corrected[first + c] = (mean_t[c] - computed) as f32;
            }
            continue;
        }
        let moments = Moments::of(x, t, bias.is_some());
        let solved = fit(&matrix, first, per_group, &moments, n, before, &own, limits)?;
        for (c, (scale, row, shift)) in solved.into_iter().enumerate() {
            codes[(first + c) * k..(first + c + 1) * k].copy_from_slice(&row);
            scales[first + c] = scale;
            corrected[first + c] = shift;
        }
    }
    let weight = if limits.method == Repair::Bias || k > WIDEST {
        before.weight.clone()
    } else {
        let scales = if before.weight.axis.is_some() { scales } else { scales.into_iter().take(1).collect() };
        Weight { codes: matrix.restored(codes), scales, book: limits.book, ..before.weight.clone() }
    };
    let bias = bias.map(|b| b.iter().zip(&corrected).map(|(b, c)| b + c).collect());
    Some(Layer { weight, bias })
}

type Channel = (f32, Vec<i8>, f32);

/// Scale, codes and bias correction of each channel of one group; `None` where the moments are not usable.
#[expect(clippy::too_many_arguments, reason = "one group of one layer: these are all it consists of")]
fn fit(
    matrix: &Matrix,
    first: usize,
    count: usize,
    moments: &Moments,
    n: usize,
    before: &Layer,
    own: &[f32],
    limits: &Limits<'_>,
) -> Option<Vec<Channel>> {
    let k = matrix.width;
    let share = if n < ENOUGH * k { DAMPING_FEW } else { DAMPING };
    let power = moments.power();
    // Inputs that are constant or dead say nothing about the weights.
    let damping = if power > 0.0 { share * power } else { 1.0 };
    let mut order: Vec<usize> = (0..k).collect();
    let diagonal: Vec<f64> = (0..k).map(|i| moments.gram[(i, i)]).collect();
    order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a]).then(a.cmp(b)));
    let factor = Factor::of(&moments.gram, damping, &order)?;
    let w0 = Mat::from_fn(count, k, |o, j| f64::from(matrix.rows[(first + o) * k + j]));
    let w1 = least_squares::refit(&w0, moments, &factor);
    let compensate = limits.method == Repair::Gptq;
    let hessian: Vec<f64> = if compensate {
        let entry = |(i, j): (usize, usize)| moments.gram[(order[i], order[j])] + if i == j { damping } else { 0.0 };
        (0..k * k).map(|e| entry((e / k, e % k))).collect()
    } else {
        Vec::new()
    };
    let upper = if compensate { factor.inverse_upper() } else { Vec::new() };
    let weights: Vec<f64> = diagonal.iter().map(|d| d + damping).collect();
    let fixed = before.weight.axis.is_none();
    let one = |o: usize| -> Channel {
        let row: Vec<f64> = (0..k).map(|j| w1[(o, j)]).collect();
        let shift = |row: &[f64]| moments.mean_t[o] - row.iter().zip(&moments.mean_x).map(|(w, m)| w * m).sum::<f64>();
        let expected = own[first + o] + shift(&row) as f32;
        let least = f64::from((limits.least)(expected));
        let start = if fixed {
            f64::from(before.weight.scales.first().copied().unwrap_or(1.0))
        } else {
            search_scale(&row, &weights, limits.book, least)
        };
        let (scale, codes) = if compensate {
            let ordered: Vec<f64> = order.iter().map(|&j| row[j]).collect();
            let problem = Problem { hessian: &hessian, upper: &upper, book: limits.book, fixed_scale: fixed };
            let solved = problem.solve(&ordered, start, if fixed { start } else { least });
            let mut codes = vec![0i8; k];
            order.iter().zip(solved.codes).for_each(|(&j, code)| codes[j] = code);
            (solved.scale, codes)
        } else {
            (start, row.iter().map(|w| limits.book.nearest((w / start) as f32)).collect())
        };
        let scale = affine::usable(scale as f32);
        let quantized: Vec<f64> = codes.iter().map(|&c| f64::from(scale) * f64::from(c)).collect();
        (scale, codes, shift(&quantized) as f32)
    };
    Some((0..count).into_par_iter().map(one).collect())
}
