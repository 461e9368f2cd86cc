//! Shifts of something between two models, one of each group of samples: groups are what is independent.
//!
//! A few groups that shift far decide about the mean, and a handful of groups may hold none of them: no interval of those alone is right
//! then, and a sample that happens to look harmless looks so for want of them. Therefore there is none of fewer than
//! `FEWEST_SHIFTS` groups, or where fewer than `FEWEST_SHIFTED` have shifted. Of more it is the wider of two on each side: Student's,
//! which few far shifts to both sides ask for, and the bootstrap-t (Efron 1982; Hall 1988), which shifts to one side ask for.

use std::{fmt, iter::repeat_n};

use crate::{
    FEW_SAMPLES, Random,
    interval::{needed, quantile},
    special::{normal_quantile, t_quantile},
};

/// Groups that the interval of a mean shift needs.
pub(crate) const FEWEST_SHIFTS: usize = 50;
/// Groups of these that have to have shifted at all.
pub(crate) const FEWEST_SHIFTED: usize = FEW_SAMPLES as usize;

/// Two-sided 95 %.
const UPPER: f64 = 0.975;
/// Chance that the number of groups that is named settles a limit.
const POWER: f64 = 0.8;
/// Drawn sets of the bootstrap-t, and the seed of all of them: the same shifts have the same interval.
const DRAWS: usize = 999;
const SEED: u64 = 1;

/// The shifts of all groups. `examples/coverage` shows how often their intervals hold the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Shifts {
    signed: Vec<f64>,
    /// Absolute, ascending.
    sizes: Vec<f64>,
    grain: f64,
}

/// Why a mean shift has no interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMean {
    /// There are so many groups.
    Groups(usize),
    /// So many groups have shifted.
    Shifted(usize),
}

impl fmt::Display for NoMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups(n) => {
                write!(f, "{n} groups say nothing of rare ones that shift far, {FEWEST_SHIFTS} are needed")
            }
            Self::Shifted(n) => write!(
                f,
                "{n} groups have shifted at all, and how far others do is told by {FEWEST_SHIFTED} at the least; limit the 95th \
                 percentile or the largest"
            ),
        }
    }
}

impl std::error::Error for NoMean {}

/// Mean of shifts, and the variance of the mean.
fn moments(signed: &[f64], grain: f64) -> (f64, f64) {
    let n = signed.len() as f64;
    let mean = signed.iter().sum::<f64>() / n;
    let squares: f64 = signed.iter().map(|s| (s - mean) * (s - mean)).sum();
    // As though one group more had shifted by the grain: groups that have shifted alike are no certainty that all do (after Agresti and
    // Min 2005).
    (mean, squares / (n - 1.0).max(1.0) / n + (grain / n) * (grain / n))
}

impl Shifts {
    /// From the signed shift of each group; `grain` is the smallest that there can be.
    pub fn new(signed: Vec<f64>, grain: f64) -> Self {
        let mut sizes: Vec<f64> = signed.iter().copied().map(f64::abs).collect();
        sizes.sort_by(f64::total_cmp);
        Self { signed, sizes, grain }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there are no groups.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Absolute shifts, ascending.
    pub fn sizes(&self) -> &[f64] {
        &self.sizes
    }

    /// Mean of the signed shifts.
    pub fn mean(&self) -> f64 {
        moments(&self.signed, self.grain).0
    }

    fn shifted(&self) -> usize {
        self.sizes.iter().filter(|s| **s > 0.0).count()
    }

    /// The interval of the mean, at 95 %.
    pub fn mean_interval(&self) -> Result<[f64; 2], NoMean> {
        if self.len() < FEWEST_SHIFTS {
            return Err(NoMean::Groups(self.len()));
        }
        if self.shifted() < FEWEST_SHIFTED {
            return Err(NoMean::Shifted(self.shifted()));
        }
        let (mean, variance) = moments(&self.signed, self.grain);
        let t = t_quantile(UPPER, self.len() as f64 - 1.0);
        let [low, high] = self.studentized(mean);
        Ok([mean - t.max(high) * variance.sqrt(), mean + t.max(-low) * variance.sqrt()])
    }

    /// Quantiles of (mean of a drawn set − mean) ÷ its standard error.
    fn studentized(&self, mean: f64) -> [f64; 2] {
        let mut random = Random::new(SEED);
        let mut drawn = vec![0.0; self.len()];
        let mut values: Vec<f64> = repeat_n((), DRAWS)
            .map(|()| {
                drawn.iter_mut().for_each(|d| *d = self.signed[random.below(self.signed.len())]);
                let (of_drawn, variance) = moments(&drawn, self.grain);
                (of_drawn - mean) / variance.sqrt()
            })
            .collect();
        values.sort_by(f64::total_cmp);
        [1.0 - UPPER, UPPER].map(|q| quantile(&values, q).0)
    }

    /// Groups with which the mean's interval would lie on one side of a limit (to both sides of zero) in four of five cases, if shifts
    /// are as observed; `None` where no number would do.
    pub fn mean_settled_by(&self, limit: f64) -> Option<u64> {
        let (mean, variance) = moments(&self.signed, self.grain);
        let (gap, n) = ((limit - mean.abs()).abs(), self.len() as f64);
        let needed = |df: f64| variance * n * (t_quantile(UPPER, df) + normal_quantile(POWER)).powi(2) / (gap * gap);
        // Student's t depends on the number that is asked for.
        let first = needed(1e6);
        let needed = repeat_n((), 20).fold(first, |found, ()| needed((found - 1.0).clamp(4.0, 1e6)));
        let shifted = FEWEST_SHIFTED as f64 * n / self.shifted() as f64;
        whole(needed.max(shifted).max(FEWEST_SHIFTS as f64))
    }

    /// The same of a quantile of the absolute shifts: a test of whether more or fewer than the rest shift farther than the limit.
    pub fn quantile_settled_by(&self, q: f64, limit: f64) -> Option<u64> {
        let over = self.sizes.iter().filter(|s| **s > limit).count() as f64 / self.len() as f64;
        let spread = |p: f64| (p * (1.0 - p)).sqrt();
        let sum = normal_quantile(UPPER) * spread(q) + normal_quantile(POWER) * spread(over);
        let gap = over - (1.0 - q);
        whole((sum / gap).powi(2).max(needed(q) as f64))
    }
}

fn whole(groups: f64) -> Option<u64> {
    (groups < 1e9).then_some(groups.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shifts(signed: &[f64]) -> Shifts {
        Shifts::new(signed.to_vec(), 30.0)
    }

    /// So many groups, of which the first shift by these.
    fn first(shifted: &[f64], groups: usize) -> Shifts {
        let still = groups - shifted.len();
        shifts(&[shifted, &vec![0.0; still]].concat())
    }

    #[test]
    fn few_groups_and_groups_that_stand_still_are_no_certainty() {
        assert_eq!(first(&[30.0; 40], 49).mean_interval(), Err(NoMean::Groups(49)));
        assert_eq!(first(&[], 500).mean_interval(), Err(NoMean::Shifted(0)));
        assert_eq!(first(&[600.0; 9], 500).mean_interval(), Err(NoMean::Shifted(9)));
        assert!(first(&[600.0; 10], 500).mean_interval().is_ok());
        // All alike, and yet no certainty.
        let [low, high] = first(&[30.0; 60], 60).mean_interval().unwrap();
        assert!(low < 29.5 && high > 30.5, "{low} {high}");
    }

    #[test]
    fn the_end_towards_which_few_groups_shift_far_is_the_farther_one() {
        let even = shifts(&(0..60).map(|i| f64::from(i % 5) * 30.0).collect::<Vec<_>>());
        let [low, high] = even.mean_interval().unwrap();
        // Mean 60, s² = 1830.5, (1830.5 / 60 + 0.25).sqrt() = 5.546; t of 59 degrees of freedom is 2.001.
        assert!((low - 48.9).abs() < 0.7 && (high - 71.1).abs() < 0.7, "{low} {high}");
        let [low, high] =
            first(&(1..=12).map(|i| f64::from(i * i) * 30.0).collect::<Vec<_>>(), 60).mean_interval().unwrap();
        let mean = 30.0 * 650.0 / 60.0;
        assert!(high - mean > 1.3 * (mean - low), "{low} {mean} {high}");
    }

    #[test]
    fn groups_that_would_settle_a_limit_are_more_the_nearer_it_is() {
        let of = shifts(&(0..20).map(|i| f64::from(i % 5) * 30.0).collect::<Vec<_>>());
        let near = of.mean_settled_by(61.0).unwrap();
        let far = of.mean_settled_by(70.0).unwrap();
        assert!(near > 20 * far && far >= 50, "{near} {far}");
        assert_eq!(of.mean_settled_by(60.0), None);
        // Ten have to shift: one of ten does.
        assert_eq!(first(&[30.0, 30.0], 20).mean_settled_by(500.0), Some(100));
        assert_eq!(first(&[], 20).mean_settled_by(500.0), None);
        // No fewer than the percentile needs for any interval.
        assert_eq!(of.quantile_settled_by(0.95, 10.0), Some(72));
        assert!(of.quantile_settled_by(0.95, 120.0).unwrap() >= 72);
    }
}
