//! An interval of a median that may be looked at after every observation.
//!
//! The number of observations at or below the true median is a fair coin's. The coin is tested by a mixture of likelihood ratios, a
//! martingale, so that by Ville's inequality (1939) the chance that any of all looks is wrong is bounded (a mixture as in Robbins 1970;
//! for quantiles Howard and Ramdas 2022). Medians that are not refuted make the interval; no shape of the distribution is assumed.
//!
//! Times of neighbouring blocks resemble each other. Observations are therefore counted as fewer by the integrated autocorrelation of
//! their signs (Geyer 1992, the initial positive sequence): this makes the bound approximate. `examples/coverage` shows that it holds.

use crate::{Decision, special::ln_beta};

/// Concentration of the mixture, Beta(a, a): narrowest for a few hundred observations.
const MIXTURE: f64 = 20.0;

/// Observations, and what can be said of their median at any time.
#[derive(Debug, Clone)]
pub struct Sequential {
    alpha: f64,
    values: Vec<f64>,
    sorted: Vec<f64>,
}

impl Sequential {
    /// `alpha` is the chance that any look is wrong on either side: 0.02 for 1 % a side.
    pub fn new(alpha: f64) -> Self {
        Self { alpha, values: Vec::new(), sorted: Vec::new() }
    }

    /// Takes an observation, such as the logarithm of a ratio of times. What is not finite is not taken.
    pub fn push(&mut self, value: f64) {
        if value.is_finite() {
            self.values.push(value);
            self.sorted.insert(self.sorted.partition_point(|v| *v <= value), value);
        }
    }

    /// Number of observations.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no observations.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The median.
    pub fn median(&self) -> Option<f64> {
        let n = self.sorted.len();
        Some((self.sorted.get(n / 2)? + self.sorted.get(n.checked_sub(1)? / 2)?) / 2.0)
    }

    /// The interval of the median. `None` where nothing is refuted yet.
    pub fn interval(&self) -> Option<[f64; 2]> {
        let median = self.median()?;
        let n = self.sorted.len();
        let fewer = self.alike(median);
        let refuted = |below: usize| {
            let (k, n) = (below as f64 / fewer, n as f64 / fewer);
            let evidence =
                ln_beta(MIXTURE + k, MIXTURE + n - k) - ln_beta(MIXTURE, MIXTURE) + n * std::f64::consts::LN_2;
            evidence >= -self.alpha.ln()
        };
        if !refuted(0) {
            return None;
        }
        // The largest number of observations below a median that is too low.
        let (mut low, mut high) = (0, n / 2);
        while low + 1 < high {
            let middle = low.midpoint(high);
            if refuted(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some([self.sorted[low], self.sorted[n - 1 - low]])
    }

    /// Whether the median is at most a threshold, or above it.
    pub fn verdict(&self, threshold: f64) -> Decision {
        match self.interval() {
            Some([_, high]) if high <= threshold => Decision::Pass,
            Some([low, _]) if low > threshold => Decision::Fail,
            _ => Decision::Inconclusive,
        }
    }

    /// As how many observations one independent one counts: one and twice the sum of the autocorrelations of the signs.
    fn alike(&self, median: f64) -> f64 {
        // Clocks tick: many observations may be the median itself.
        let signs: Vec<f64> = self.values.iter().map(|v| f64::from(v.total_cmp(&median) as i8)).collect();
        let n = signs.len();
        let mean = signs.iter().sum::<f64>() / n as f64;
        let variance = signs.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n as f64;
        if variance <= 0.0 {
            return 1.0;
        }
        let product = |(a, b): (&f64, &f64)| (a - mean) * (b - mean);
        let at = |lag: usize| signs.iter().zip(&signs[lag..]).map(product).sum::<f64>() / (n as f64 * variance);
        let (mut sum, mut window) = (-1.0, 0);
        for lag in (0..n / 3).step_by(2) {
            let pair = at(lag) + at(lag + 1);
            if pair <= 0.0 {
                break;
            }
            sum += 2.0 * pair;
            window = lag + 1;
        }
        // The sum is uncertain itself: its standard error is added (Sokal 1997, equation 3.19).
        sum.max(1.0) * (1.0 + (2.0 * (2 * window + 1) as f64 / n as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// The first look among `looks` at which something is said about the threshold 0, after 20 observations each.
    fn check(looks: usize, seed: u64, mut draw: impl FnMut(&mut Random) -> f64) -> (Decision, Sequential) {
        let (mut random, mut sequential) = (Random::new(seed), Sequential::new(0.02));
        for _ in 0..looks {
            (0..20).for_each(|_| sequential.push(draw(&mut random)));
            let verdict = sequential.verdict(0.0);
            if verdict != Decision::Inconclusive {
                return (verdict, sequential);
            }
        }
        (Decision::Inconclusive, sequential)
    }

    #[test]
    fn a_shift_is_found_and_none_is_invented() {
        assert_eq!(check(50, 1, |r| r.unit() - 0.3).0, Decision::Fail);
        assert_eq!(check(50, 1, |r| r.unit() - 0.7).0, Decision::Pass);
        let (verdict, sequential) = check(50, 1, |r| r.unit() - 0.5);
        assert_eq!(verdict, Decision::Inconclusive);
        let [low, high] = sequential.interval().unwrap();
        assert!(low < 0.0 && high > 0.0 && high - low < 0.2);
    }

    #[test]
    fn looking_fifty_times_does_not_refute_the_truth() {
        // 400 runs, 1 % a side: 8 are expected at the most, 16 have a chance of 0.5 %.
        let wrong = (0..400).filter(|seed| check(50, 100 + seed, |r| r.unit() - 0.5).0 != Decision::Inconclusive);
        assert!(wrong.count() <= 16);
    }

    #[test]
    fn neighbours_that_resemble_each_other_count_for_fewer() {
        let mut level = 0.0;
        let drift = |r: &mut Random| {
            level = 0.9 * level + r.unit() - 0.5;
            level
        };
        let (_, alike) = check(50, 3, drift);
        let (_, apart) = check(50, 3, |r| r.unit() - 0.5);
        let width = |s: &Sequential| {
            s.interval()
                .map(|[low, high]| s.sorted.partition_point(|v| *v < high) - s.sorted.partition_point(|v| *v < low))
        };
        assert!(width(&alike).unwrap() > 2 * width(&apart).unwrap());
    }

    #[test]
    fn observations_that_tie_settle_what_they_can() {
        // Nine in ten are equal, the others lie on one side.
        let (mut random, mut ties) = (Random::new(5), Sequential::new(0.02));
        (0..240).for_each(|_| ties.push(if random.unit() < 0.9 { 0.5 } else { 0.6 }));
        assert_eq!(ties.interval(), Some([0.5, 0.5]));
        assert_eq!(check(12, 5, |_| 0.5).0, Decision::Fail);
    }

    #[test]
    fn few_or_absent_observations_say_nothing() {
        let mut sequential = Sequential::new(0.02);
        assert!(sequential.interval().is_none() && sequential.median().is_none());
        (0..9).for_each(|_| sequential.push(1.0));
        sequential.push(f64::NAN);
        assert_eq!((sequential.len(), sequential.verdict(0.0)), (9, Decision::Inconclusive));
    }
}
