//! Shifts of something between two models, one of each group of samples: groups are what is independent.

use std::iter::repeat_n;

use crate::{
    FEWEST_GROUPS,
    interval::needed,
    special::{normal_quantile, t_quantile},
};

/// Two-sided 95 %.
const UPPER: f64 = 0.975;
/// Chance that the number of groups that is named settles a limit.
const POWER: f64 = 0.8;

/// The shifts of all groups. `examples/coverage` shows how often their intervals hold the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Shifts {
    /// Absolute, ascending.
    sizes: Vec<f64>,
    mean: f64,
    /// Variance of the mean.
    variance: f64,
}

impl Shifts {
    /// From the signed shift of each group; `grain` is the smallest that there can be.
    pub fn new(signed: Vec<f64>, grain: f64) -> Self {
        let n = signed.len() as f64;
        let mean = signed.iter().sum::<f64>() / n;
        let squares: f64 = signed.iter().map(|s| (s - mean) * (s - mean)).sum();
        // As though one group more had shifted by the grain: groups that have not shifted at all are no certainty that none does
        // (after Agresti and Min 2005).
        let variance = squares / (n - 1.0).max(1.0) / n + (grain / n) * (grain / n);
        let mut sizes: Vec<f64> = signed.into_iter().map(f64::abs).collect();
        sizes.sort_by(f64::total_cmp);
        Self { sizes, mean, variance }
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
        self.mean
    }

    /// Degrees of freedom.
    fn df(&self) -> f64 {
        self.len() as f64 - 1.0
    }

    /// Student's interval of the mean, at 95 %; `None` of fewer than [`FEWEST_GROUPS`] groups.
    pub fn mean_interval(&self) -> Option<[f64; 2]> {
        let half = || t_quantile(UPPER, self.df()) * self.variance.sqrt();
        (self.len() >= FEWEST_GROUPS).then(|| [self.mean - half(), self.mean + half()])
    }

    /// Groups with which the mean's interval would lie on one side of a limit (to both sides of zero) in four of five cases, if shifts
    /// are as observed; `None` where no number would do.
    pub fn mean_settled_by(&self, limit: f64) -> Option<u64> {
        let gap = (limit - self.mean.abs()).abs();
        let of_one = self.variance * self.len() as f64;
        let needed = |df: f64| of_one * (t_quantile(UPPER, df) + normal_quantile(POWER)).powi(2) / (gap * gap);
        // Student's t depends on the number that is asked for.
        let first = needed(1e6);
        let needed = repeat_n((), 20).fold(first, |found, ()| needed((found - 1.0).clamp(4.0, 1e6)));
        whole(needed.max(FEWEST_GROUPS as f64))
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

    #[test]
    fn the_mean_has_students_interval_and_groups_that_agree_are_no_certainty() {
        let of = shifts(&[30.0, 60.0, 90.0, 0.0, 120.0]);
        // Mean 60, s² = 2250, (2250 / 5 + 36).sqrt() = 22.04; t of 4 degrees of freedom is 2.776.
        let [low, high] = of.mean_interval().unwrap();
        assert!((low + 1.205).abs() < 1e-2 && (high - 121.205).abs() < 1e-2, "{low} {high}");
        let [low, high] = shifts(&[0.0; 8]).mean_interval().unwrap();
        assert!(low < -5.0 && high > 5.0, "{low} {high}");
        assert!(shifts(&[0.0; 4]).mean_interval().is_none());
    }

    #[test]
    fn groups_that_would_settle_a_limit_are_more_the_nearer_it_is() {
        let of = shifts(&(0..20).map(|i| f64::from(i % 5) * 30.0).collect::<Vec<_>>());
        let near = of.mean_settled_by(65.0).unwrap();
        let far = of.mean_settled_by(90.0).unwrap();
        assert!(near > 20 * far && far >= 5, "{near} {far}");
        assert_eq!(of.mean_settled_by(60.0), None);
        // No fewer than the percentile needs for any interval.
        assert_eq!(of.quantile_settled_by(0.95, 10.0), Some(72));
        assert!(of.quantile_settled_by(0.95, 120.0).unwrap() >= 72);
    }
}
