//! Least divergence behind a softmax: the mean Kullback-Leibler divergence of softmax(XW) from softmax(T) over W, held near the weights of
//! least squares. What squares count as equal is not equal behind a softmax: an error in a class that is out of the question costs nothing.
//! Newton steps with the bound of the Hessian by Böhning ("Multinomial logistic regression algorithm", Annals of the Institute of
//! Statistical Mathematics 44, 1992), so that one factor serves every step. Knows numbers, not layers.

use super::{
    least_squares::Fitted,
    moments::{Columns, Factor, Moments, Split, cross, scaled},
};

/// How hard the start pulls, in units of the mean squared change of the scores; what does best on unseen rows decides, the start
/// itself among the choices.
const PULLS: [f64; 3] = [1.0, 0.3, 0.1];
/// Steps; the bound makes each at least as good as the last.
const STEPS: usize = 20;
/// Damping relative to the mean of the Gram matrix's diagonal, for columns that say the same.
const DAMPING: f64 = 1e-4;

/// Rows and the probabilities that should come of them.
struct Part {
    x: Vec<f32>,
    wanted: Vec<f32>,
    n: usize,
}

/// Weights that start from those of least squares (`start` gives them for some moments); `None` where they do no better on rows that the
/// fit has not seen.
pub(crate) fn refit(
    x: Columns<'_>,
    t: Columns<'_>,
    split: &Split,
    start: impl Fn(&Moments) -> Option<Fitted>,
) -> Option<Fitted> {
    if t.count < 2 {
        return None;
    }
    let part = |moments: &Moments, which: &dyn Fn(usize) -> bool| Part::of(x, t, moments, which);
    let seen = part(&split.fit, &|row| split.is_fitted(row));
    let unseen = part(&split.fit, &|row| !split.is_fitted(row));
    if unseen.n == 0 {
        return None;
    }
    let before = start(&split.fit)?;
    let mut best = (unseen.divergence(&before), None);
    let damped = factor(&split.fit)?;
    for pull in PULLS {
        let divergence = unseen.divergence(&seen.steps(&before, &damped, pull, split.centred));
        if divergence < best.0 {
            best = (divergence, Some(pull));
        }
    }
    let pull = best.1?;
    let whole = split.whole();
    Some(part(&whole, &|_| true).steps(&start(&whole)?, &factor(&whole)?, pull, split.centred))
}

fn factor(moments: &Moments) -> Option<Factor> {
    let order: Vec<usize> = (0..moments.gram.nrows()).collect();
    Factor::of(&moments.gram, DAMPING * moments.power(), &order)
}

impl Part {
    fn of(x: Columns<'_>, t: Columns<'_>, moments: &Moments, which: &dyn Fn(usize) -> bool) -> Self {
        let x_rows = x.taken(&moments.mean_x, which);
        let mut wanted = t.taken(&vec![0.0; t.count], which);
        wanted.chunks_exact_mut(t.count).for_each(softmax);
        Self { n: x_rows.len() / x.count.max(1), x: x_rows, wanted }
    }

    /// `factor` is that of the rows' moments.
    fn steps(&self, start: &Fitted, factor: &Factor, pull: f64, centred: bool) -> Fitted {
        let (channels, width) = (start.weights.nrows(), start.weights.ncols());
        let mut now = start.clone();
        for _ in 0..STEPS {
            // What is there and should not be.
            let mut excess = now.of_rows(&self.x, self.n);
            excess.chunks_exact_mut(channels).for_each(softmax);
            excess.iter_mut().zip(&self.wanted).for_each(|(q, p)| *q -= p);
            let step = 1.0 / (0.5 + pull);
            let slope = factor.solve(&scaled(cross(&self.x, width, &excess, channels), self.n));
            let towards = |new: &mut f64, old: f64, slope: f64| *new -= step * (slope + pull * (*new - old));
            for o in 0..channels {
                for k in 0..width {
                    towards(&mut now.weights[(o, k)], start.weights[(o, k)], slope[(k, o)]);
                }
            }
            if centred {
                let mean = Columns { rows: &excess, width: channels, from: 0, count: channels }.mean(|_| true);
                for (o, mean) in mean.into_iter().enumerate() {
                    towards(&mut now.centre[o], start.centre[o], mean);
                }
            }
        }
        now
    }

    fn divergence(&self, fitted: &Fitted) -> f64 {
        let mut given = fitted.of_rows(&self.x, self.n);
        given.chunks_exact_mut(fitted.weights.nrows()).for_each(softmax);
        let one = |(p, q): (&f32, &f32)| {
            let (p, q) = (f64::from(*p), f64::from(q.max(f32::MIN_POSITIVE)));
            if p > 0.0 { p * (p / q).ln() } else { 0.0 }
        };
        self.wanted.iter().zip(&given).map(one).sum::<f64>() / self.n as f64
    }
}

/// Makes probabilities of a row of scores.
pub(crate) fn softmax(row: &mut [f32]) {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|v| *v = (*v - top).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|v| *v /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;

    use crate::draw::Dice;

    /// The divergence on fresh rows of least squares, and of what `refit` makes of it. The score of the first class falls `bend` times
    /// faster where it is below the others anyway.
    fn check(bend: f32) -> (f64, Option<f64>) {
        let (n, k, classes) = (500, 4, 3);
        let mut dice = Dice::new(7);
        let mut draw = || dice.unit() as f32 * 2.0 - 1.0;
        let mut drawn = || {
            let x: Vec<f32> = (0..n * k).map(|_| draw()).collect();
            let t: Vec<f32> = x
                .chunks_exact(k)
                .flat_map(|r| [3.0 * r[0] + bend * (r[0] + 0.2).min(0.0), r[1] - r[2], r[3]])
                .collect();
            (x, t)
        };
        let ((x, t), (fresh_x, fresh_t)) = (drawn(), drawn());
        let columns = |rows, width| Columns { rows, width, from: 0, count: width };
        let split = Split::of(columns(&x, k), columns(&t, classes), 1, true);
        let start = |m: &Moments| {
            let factor = Factor::of(&m.gram, 1e-6, &[0, 1, 2, 3])?;
            Some(Fitted::of(&Mat::zeros(classes, k), m, &factor))
        };
        let whole = split.whole();
        let fresh = Part::of(columns(&fresh_x, k), columns(&fresh_t, classes), &whole, &|_| true);
        let after = refit(columns(&x, k), columns(&t, classes), &split, start);
        (fresh.divergence(&start(&whole).unwrap()), after.map(|f| fresh.divergence(&f)))
    }

    #[test]
    fn a_class_out_of_the_question_does_not_pull_at_the_fit() {
        let (before, after) = check(20.0);
        assert!(after.is_some_and(|a| a < 0.8 * before), "{before} {after:?}");
    }

    #[test]
    fn what_is_fitted_exactly_stays() {
        let (before, after) = check(0.0);
        assert!(before < 1e-6 && after.is_none_or(|a| a < 1e-6), "{before} {after:?}");
    }
}
