//! Whether the same samples lose less than before, beyond the noise of the difference.

use plimsoll_stats::{Scale, metrics};

/// A divergence, in nats, that is little: the outputs' probabilities move by five points at most (Pinsker's inequality).
pub(super) const LITTLE: f64 = 0.005;

/// The mean of what samples lose.
pub(super) fn mean(losses: &[f64]) -> f64 {
    losses.iter().sum::<f64>() / losses.len().max(1) as f64
}

/// How much less the same samples lose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gain {
    /// The mean over the samples; negative where they lose more.
    pub(super) mean: f64,
    /// Its standard error, paired; of a single sample none, which counts as 0.
    pub(super) error: f64,
}

impl Gain {
    /// Of losses of the same samples.
    pub(super) fn of(before: &[f64], now: &[f64]) -> Self {
        let gains: Vec<f64> = before.iter().zip(now).map(|(b, n)| b - n).collect();
        let Some(mean) = metrics::mean(&gains, Scale::Real) else { return Self { mean: 0.0, error: 0.0 } };
        let error = mean.spread(None).map_or(0.0, |spread| spread.variance.sqrt());
        Self { mean: mean.value(), error }
    }

    /// Whether the gain is more than so many standard errors.
    pub(super) fn is_beyond(self, errors: f64) -> bool {
        self.mean > 0.0 && self.mean > errors * self.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: [f64; 8] = [1.0; 8];

    #[test]
    fn a_gain_within_its_noise_is_none() {
        let noisy = [0.2, 1.9, 0.1, 1.8, 0.3, 1.7, 0.2, 1.7];
        assert!(!Gain::of(&BEFORE, &noisy).is_beyond(0.5));
        let steady = [0.9, 0.95, 0.92, 0.9, 0.97, 0.93, 0.9, 0.95];
        assert!(Gain::of(&BEFORE, &steady).is_beyond(0.5));
        assert!(!Gain::of(&BEFORE, &BEFORE).is_beyond(0.5));
        assert!(!Gain::of(&BEFORE, &[f64::INFINITY; 8]).is_beyond(0.5));
    }

    #[test]
    fn the_error_is_that_of_the_paired_difference() {
        // Differences 1, 2, 3, 6: variance 14 / 3, of the mean a quarter of it.
        let gain = Gain::of(&[2.0, 4.0, 6.0, 10.0], &[1.0, 2.0, 3.0, 4.0]);
        assert!((gain.mean - 3.0).abs() < 1e-12 && (gain.error - (14f64 / 12.0).sqrt()).abs() < 1e-12, "{gain:?}");
        assert_eq!(Gain::of(&[2.0], &[1.0]), Gain { mean: 1.0, error: 0.0 });
    }
}
