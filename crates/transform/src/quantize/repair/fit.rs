//! Fits one group of a layer: how far the weights are refitted, and whether compensated codes are better than those at hand, is
//! decided on rows that the fit did not see. Knows numbers, not graphs.

use faer::Mat;
use rayon::prelude::*;

use super::gptq::{Problem, search_scale};
use crate::{
    algebra::{Columns, Factor, Moments, Split, least_squares},
    quantize::{Repair, affine, affine::Codebook},
};

/// Damping relative to the mean of the Gram matrix's diagonal, in the order of preference; the refit that does best on unseen
/// rows decides, none at all among the choices.
const DAMPINGS: [f64; 3] = [0.1, 0.01, 1.0];
/// Damping of the compensation where there are more than [`ENOUGH`] rows a column, and where there are fewer.
const DAMPING: f64 = 0.01;
const DAMPING_FEW: f64 = 0.1;
const ENOUGH: usize = 4;

/// What repair may not change about a layer.
pub(super) struct Limits<'l> {
    /// The least scale of a weight whose channel has this bias.
    pub(super) least: &'l (dyn Fn(f32) -> f32 + Sync),
    pub(super) book: Codebook,
    pub(super) method: Repair,
}

/// One group of a layer, one row an output channel.
pub(super) struct Group<'g> {
    /// The original weights.
    pub(super) w0: Mat<f64>,
    /// What the codes at hand stand for.
    pub(super) now: Mat<f64>,
    /// The codes at hand.
    pub(super) codes: Vec<&'g [i8]>,
    /// Their scales.
    pub(super) scales: Vec<f32>,
    /// What the node itself adds.
    pub(super) own: &'g [f32],
    /// Whether all channels have one scale, which stays.
    pub(super) one_scale: bool,
}

/// Scale, codes and bias correction of one channel.
pub(super) struct Fitted {
    pub(super) scale: f32,
    pub(super) codes: Vec<i8>,
    pub(super) shift: f32,
}

impl Group<'_> {
    /// The best choice for each channel; `None` where the rows are not usable.
    pub(super) fn fit(&self, split: &Split, limits: &Limits<'_>) -> Option<Vec<Fitted>> {
        let whole = split.whole();
        let (share, refitted) = self.refit(split)?;
        let coded = self.coded(&refitted, &split.fit, limits)?;
        if split.unseen.loss(&values(&coded)) >= split.unseen.loss(&self.now) {
            return Some(self.kept(&whole));
        }
        if split.fit.rows >= ENOUGH * self.w0.ncols() {
            return Some(shifted(coded, &whole));
        }
        // Where rows are few, those that decided are worth more in the fit.
        let refitted = match share {
            Some(share) => least_squares::refit(&self.w0, &whole, &factor(&whole, share)?.0),
            None => self.w0.clone(),
        };
        Some(shifted(self.coded(&refitted, &whole, limits)?, &whole))
    }

    /// The refit that does best on unseen rows, and its damping; the original weights where none does better.
    fn refit(&self, split: &Split) -> Option<(Option<f64>, Mat<f64>)> {
        let one = |share: &f64| {
            let refitted = least_squares::refit(&self.w0, &split.fit, &factor(&split.fit, *share)?.0);
            Some((split.unseen.loss(&refitted), Some(*share), refitted))
        };
        let tried: Option<Vec<_>> = DAMPINGS.par_iter().map(one).collect();
        let kept = (split.unseen.loss(&self.w0), None, self.w0.clone());
        let best = tried?.into_iter().fold(kept, |best, next| if next.0 < best.0 { next } else { best });
        Some((best.1, best.2))
    }

    /// Codes of weights, compensating each other where the method says so; the bias corrections are still to come.
    fn coded(&self, weights: &Mat<f64>, moments: &Moments, limits: &Limits<'_>) -> Option<Vec<Fitted>> {
        let k = weights.ncols();
        let share = if moments.rows < ENOUGH * k { DAMPING_FEW } else { DAMPING };
        let (factor, damping, order) = factor(moments, share)?;
        let compensate = limits.method >= Repair::Gptq;
        let entry = |(i, j): (usize, usize)| moments.gram[(order[i], order[j])] + if i == j { damping } else { 0.0 };
        let hessian: Vec<f64> =
            if compensate { (0..k * k).map(|e| entry((e / k, e % k))).collect() } else { Vec::new() };
        let upper = if compensate { factor.inverse_upper() } else { Vec::new() };
        let importance: Vec<f64> = (0..k).map(|i| moments.gram[(i, i)] + damping).collect();
        let one = |o: usize| -> Fitted {
            let row: Vec<f64> = (0..k).map(|j| weights[(o, j)]).collect();
            let expected = self.own[o] + moments.shift(o, &row) as f32;
            let least = f64::from((limits.least)(expected));
            let given = f64::from(self.scales[o]);
            let start = if self.one_scale { given } else { search_scale(&row, &importance, limits.book, least) };
            if !compensate {
                let codes = row.iter().map(|w| limits.book.nearest((w / start) as f32)).collect();
                return Fitted { scale: affine::usable(start as f32), codes, shift: 0.0 };
            }
            let ordered: Vec<f64> = order.iter().map(|&j| row[j]).collect();
            let problem = Problem { hessian: &hessian, upper: &upper, book: limits.book, fixed_scale: self.one_scale };
            let solved = problem.solve(&ordered, start, if self.one_scale { given } else { least });
            let mut codes = vec![0i8; k];
            order.iter().zip(solved.codes).for_each(|(&j, code)| codes[j] = code);
            Fitted { scale: affine::usable(solved.scale as f32), codes, shift: 0.0 }
        };
        Some((0..weights.nrows()).into_par_iter().map(one).collect())
    }

    /// The codes at hand with corrected biases.
    fn kept(&self, moments: &Moments) -> Vec<Fitted> {
        self.with_shifts(&moments.mean_x, &moments.mean_t)
    }

    /// The same from rows, where there is room for a bias.
    pub(super) fn corrected(&self, x: &Columns<'_>, t: &Columns<'_>, centred: bool) -> Vec<Fitted> {
        let mean = |c: &Columns<'_>| if centred { c.mean(|_| true) } else { vec![0.0; c.count] };
        self.with_shifts(&mean(x), &mean(t))
    }

    fn with_shifts(&self, mean_x: &[f64], mean_t: &[f64]) -> Vec<Fitted> {
        let one = |(o, (codes, &scale)): (usize, (&&[i8], &f32))| {
            let computed: f64 = (0..mean_x.len()).map(|j| self.now[(o, j)] * mean_x[j]).sum();
            Fitted { scale, codes: codes.to_vec(), shift: (mean_t[o] - computed) as f32 }
        };
        self.codes.iter().zip(&self.scales).enumerate().map(one).collect()
    }
}

/// A damped factor with the damping and the order of its columns: by falling diagonal.
fn factor(moments: &Moments, share: f64) -> Option<(Factor, f64, Vec<usize>)> {
    let power = moments.power();
    // Inputs that are constant or dead say nothing about the weights.
    let damping = if power > 0.0 { share * power } else { 1.0 };
    let diagonal = |i: usize| moments.gram[(i, i)];
    let mut order: Vec<usize> = (0..moments.gram.nrows()).collect();
    order.sort_by(|a, b| diagonal(*b).total_cmp(&diagonal(*a)).then(a.cmp(b)));
    Some((Factor::of(&moments.gram, damping, &order)?, damping, order))
}

fn values(fitted: &[Fitted]) -> Mat<f64> {
    let columns = fitted.first().map_or(0, |f| f.codes.len());
    Mat::from_fn(fitted.len(), columns, |o, j| f64::from(fitted[o].scale) * f64::from(fitted[o].codes[j]))
}

/// With the mean errors as bias corrections.
fn shifted(mut fitted: Vec<Fitted>, moments: &Moments) -> Vec<Fitted> {
    for (o, f) in fitted.iter_mut().enumerate() {
        let row: Vec<f64> = f.codes.iter().map(|&c| f64::from(f.scale) * f64::from(c)).collect();
        f.shift = moments.shift(o, &row) as f32;
    }
    fitted
}
