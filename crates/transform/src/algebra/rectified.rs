//! Least squares behind a rectifier: |max(XW + S, 0) − max(T + S, 0)|² over W, where S is what is added to a layer's result before the
//! rectifier. Where the original's sum is not positive any result that is not either is as good, so targets follow the result there
//! while they may (Zhang et al., "Accelerating Very Deep Convolutional Networks for Classification and Detection", arXiv 1505.06798).
//! Knows numbers, not layers.

use faer::Mat;

use super::{
    least_squares::{self, Fitted},
    moments::{Columns, Factor, Moments, Split, cross, scaled},
};

/// How often targets follow the result.
const ROUNDS: usize = 3;

/// Rows of a layer: what it reads, what it should give, and what is added to that.
pub(crate) struct Rows<'r> {
    pub(crate) x: Columns<'r>,
    pub(crate) t: Columns<'r>,
    pub(crate) s: Option<Columns<'r>>,
}

/// Some of the rows, what is read centred.
struct Part {
    x: Vec<f32>,
    t: Vec<f32>,
    s: Vec<f32>,
    n: usize,
}

impl Rows<'_> {
    /// Weights that start from those fitted without regard to the rectifier; `None` where they do no better on rows that the fit has
    /// not seen. `damping` gives the factor of a Gram matrix.
    pub(crate) fn refit(
        &self,
        w0: &Mat<f64>,
        split: &Split,
        damping: impl Fn(&Moments) -> Option<Factor>,
    ) -> Option<Fitted> {
        let seen = self.part(&split.fit, |row| split.is_fitted(row));
        let unseen = self.part(&split.fit, |row| !split.is_fitted(row));
        if unseen.n == 0 {
            return None;
        }
        let factor = damping(&split.fit)?;
        let before = Fitted::of(w0, &split.fit, &factor);
        let after = seen.rounds(w0, &split.fit, &factor, before.clone(), split.centred);
        if unseen.loss(&after) >= unseen.loss(&before) {
            return None;
        }
        let whole = split.whole();
        let factor = damping(&whole)?;
        let plain = Fitted::of(w0, &whole, &factor);
        Some(self.part(&whole, |_| true).rounds(w0, &whole, &factor, plain, split.centred))
    }

    fn part(&self, moments: &Moments, which: impl Fn(usize) -> bool) -> Part {
        let zeros = vec![0.0; self.t.count];
        let x = self.x.taken(&moments.mean_x, &which);
        let t = self.t.taken(&zeros, &which);
        let s = self.s.map_or_else(|| vec![0.0; t.len()], |s| s.taken(&zeros, &which));
        Part { n: x.len() / self.x.count.max(1), x, t, s }
    }
}

impl Part {
    fn rounds(&self, w0: &Mat<f64>, moments: &Moments, factor: &Factor, mut fitted: Fitted, centred: bool) -> Fitted {
        let (channels, width) = (w0.nrows(), w0.ncols());
        for _ in 0..ROUNDS {
            let mut targets = fitted.of_rows(&self.x, self.n);
            for ((y, t), s) in targets.iter_mut().zip(&self.t).zip(&self.s) {
                *y = if t + s > 0.0 { *t } else { y.min(-s) };
            }
            let sums = scaled(cross(&self.x, width, &targets, channels), self.n);
            fitted.weights = least_squares::refit(w0, &moments.with_cross(sums), factor);
            if centred {
                let all = Columns { rows: &targets, width: channels, from: 0, count: channels };
                fitted.centre = all.mean(|_| true);
            }
        }
        fitted
    }

    /// The squared error behind the rectifier.
    fn loss(&self, fitted: &Fitted) -> f64 {
        let given = fitted.of_rows(&self.x, self.n);
        let one = |((y, t), s): ((&f32, &f32), &f32)| f64::from((y + s).max(0.0) - (t + s).max(0.0)).powi(2);
        given.iter().zip(&self.t).zip(&self.s).map(one).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Dice;

    /// Rows of three columns, a target that two of them and a rectified mixture make, and what is added; the loss behind the
    /// rectifier without and with regard to it.
    fn check(added: bool) -> (f64, Option<f64>) {
        let (n, k, mut dice) = (600, 3, Dice::new(3));
        let mut draw = || dice.unit() as f32 - 0.5;
        let x: Vec<f32> = (0..n * k).map(|_| draw()).collect();
        let s: Vec<f32> = (0..n).map(|_| if added { draw() } else { 0.0 }).collect();
        // Far below zero the target is no linear function of what is read.
        let target = |row: &[f32]| row[0] + 0.5 * row[1] - 0.2 - 3.0 * (row[2] - 0.2).max(0.0);
        let t: Vec<f32> = x.chunks_exact(k).map(target).collect();
        let columns = |rows, width| Columns { rows, width, from: 0, count: width };
        let rows = Rows { x: columns(&x, k), t: columns(&t, 1), s: added.then(|| columns(&s, 1)) };
        let split = Split::of(rows.x, rows.t, 1, true);
        let factor = |m: &Moments| Factor::of(&m.gram, 1e-6, &[0, 1, 2]);
        let w0 = Mat::zeros(1, k);
        let whole = split.whole();
        let all = rows.part(&whole, |_| true);
        let before = all.loss(&Fitted::of(&w0, &whole, &factor(&whole).unwrap()));
        (before, rows.refit(&w0, &split, factor).map(|after| all.loss(&after)))
    }

    #[test]
    fn what_a_rectifier_cuts_off_does_not_pull_at_the_fit() {
        for added in [false, true] {
            let (before, after) = check(added);
            assert!(after.is_some_and(|a| a < 0.8 * before), "{before} {after:?}");
        }
    }
}
