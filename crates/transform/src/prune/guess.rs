//! A guess at the damage of a set of counts: the sum of what the groups do alone, each weighed so as to explain what was judged so far.
//! The weights are drawn by how likely they are, not the likeliest: what is hardly known is tried too (Thompson sampling; Russo et al.,
//! "A Tutorial on Thompson Sampling", arXiv 1707.02038). Knows numbers only.

use std::collections::BTreeMap;

use faer::{Mat, Side, linalg::solvers::Llt, prelude::Solve};

use super::allocate::{Curve, slopes};
use crate::draw::Dice;

/// How much what groups do alone is trusted: as if so many sets of counts had been judged.
const TRUST: f64 = 2.0;
/// The least error of a guess, relative to what is guessed.
const LEAST: f64 = 0.1;
/// Weights are drawn this much nearer to the likeliest than they are known.
const CALM: f64 = 0.5;
/// The least a group is weighed, relative to all.
const LIGHTEST: f64 = 0.1;

pub(super) struct Guess {
    /// By group and number of channels that go: the damage of that alone.
    alone: Vec<Vec<f64>>,
    /// How much of that each group does among others.
    weights: Vec<f64>,
}

impl Guess {
    /// From the curve of each group, and how many channels it has that may go.
    pub(super) fn new<'c>(curves: impl Iterator<Item = (&'c Curve, usize)>) -> Self {
        let sums = |(curve, length): (&Curve, usize)| -> Vec<f64> {
            let rises = slopes(curve, length).into_iter().scan(0.0, |sum, rise| {
                *sum += rise;
                Some(*sum)
            });
            std::iter::once(0.0).chain(rises).collect()
        };
        let alone: Vec<Vec<f64>> = curves.map(sums).collect();
        Self { weights: vec![1.0; alone.len()], alone }
    }

    /// What each group does alone, by how many of its channels go.
    fn alone(&self, counts: &[usize]) -> Vec<f64> {
        self.alone.iter().zip(counts).map(|(sums, n)| sums.get(*n).copied().unwrap_or(0.0)).collect()
    }

    /// The damage that is expected.
    pub(super) fn at(&self, counts: &[usize]) -> f64 {
        self.alone(counts).iter().zip(&self.weights).map(|(a, w)| a * w).sum()
    }

    /// Draws weights with which the sums come near to what was judged, in proportion to it; a ridge keeps them alike where little is
    /// known.
    pub(super) fn learn(&mut self, judged: &BTreeMap<Vec<usize>, f64>, dice: &mut Dice) {
        let judged: Vec<(Vec<f64>, f64)> =
            judged.iter().filter(|(_, d)| d.is_finite() && **d > 0.0).map(|(c, d)| (self.alone(c), *d)).collect();
        // What all groups would have to be weighed by alike.
        let ratios: Vec<f64> = judged.iter().map(|(a, d)| a.iter().sum::<f64>() / d).filter(|r| *r > 0.0).collect();
        if ratios.is_empty() {
            return;
        }
        let alike = ratios.iter().sum::<f64>() / ratios.iter().map(|r| r * r).sum::<f64>();
        let n = self.weights.len();
        let terms: Vec<Vec<f64>> = judged.iter().map(|(a, d)| a.iter().map(|a| alike * a / d).collect()).collect();
        let mut gram = Mat::from_fn(n, n, |i, j| terms.iter().map(|t| t[i] * t[j]).sum::<f64>());
        let mean = (0..n).map(|i| gram[(i, i)]).sum::<f64>() / (n * terms.len()).max(1) as f64;
        (0..n).for_each(|i| gram[(i, i)] += (TRUST * mean).max(f64::MIN_POSITIVE));
        let missing = |t: &Vec<f64>| 1.0 - t.iter().sum::<f64>();
        let wanted = Mat::from_fn(n, 1, |i, _| terms.iter().map(|t| t[i] * missing(t)).sum::<f64>());
        let Ok(llt) = Llt::new(gram.as_ref(), Side::Lower) else { return };
        let likeliest = llt.solve(&wanted);
        let left = |t: &Vec<f64>| missing(t) - t.iter().enumerate().map(|(i, t)| t * likeliest[(i, 0)]).sum::<f64>();
        let error = (terms.iter().map(|t| left(t).powi(2)).sum::<f64>() / terms.len() as f64).sqrt().max(LEAST);
        // The weights' covariance is the inverse of the gram matrix times the error squared: back through its triangle.
        let (triangle, mut away) = (llt.L(), vec![0.0; n]);
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|j| triangle[(j, i)] * away[j]).sum();
            away[i] = (dice.normal() - known) / triangle[(i, i)];
        }
        let weight = |i: usize| 1.0 + likeliest[(i, 0)] + CALM * error * away[i];
        self.weights = (0..n).map(|i| alike * weight(i).max(LIGHTEST)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of 10 channels, each of which does damage of 1 a channel alone.
    fn alike(groups: usize) -> Guess {
        let curves: Vec<Curve> = vec![vec![(0, 0.0), (10, 10.0)]; groups];
        Guess::new(curves.iter().map(|c| (c, 10)))
    }

    /// What was judged where the first group does four times the damage of others.
    fn judged(groups: usize) -> BTreeMap<Vec<usize>, f64> {
        let mut dice = Dice::new(3);
        let mut drawn = || (0..groups).map(|_| 1 + dice.below(9)).collect::<Vec<usize>>();
        let damage = |counts: &Vec<usize>| counts[0] as f64 * 4.0 + counts[1..].iter().sum::<usize>() as f64;
        (0..40).map(|_| drawn()).map(|c| (c.clone(), damage(&c))).collect()
    }

    #[test]
    fn without_judgements_it_is_the_sum_of_the_curves() {
        assert!((alike(3).at(&[1, 2, 3]) - 6.0).abs() < 1e-12);
    }

    #[test]
    fn a_group_that_does_more_among_others_is_weighed_more() {
        let mut guess = alike(3);
        let mut dice = Dice::new(0);
        let mut mean = [0.0; 2];
        for _ in 0..200 {
            guess.learn(&judged(3), &mut dice);
            mean[0] += guess.at(&[5, 0, 0]) / 200.0;
            mean[1] += guess.at(&[0, 5, 0]) / 200.0;
        }
        assert!(mean[0] > 2.5 * mean[1], "{mean:?}");
    }

    #[test]
    fn what_was_judged_more_often_is_drawn_less_widely() {
        let spread = |judged: &BTreeMap<Vec<usize>, f64>| {
            let (mut guess, mut dice) = (alike(3), Dice::new(1));
            let mut drawn = || {
                guess.learn(judged, &mut dice);
                guess.at(&[5, 0, 0])
            };
            let drawn: Vec<f64> = (0..200).map(|_| drawn()).collect();
            let mean = drawn.iter().sum::<f64>() / 200.0;
            (drawn.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 200.0).sqrt() / mean
        };
        let many = judged(3);
        let few = many.iter().take(2).map(|(c, d)| (c.clone(), *d)).collect();
        assert!(spread(&many) < 0.5 * spread(&few), "{} {}", spread(&many), spread(&few));
    }
}
