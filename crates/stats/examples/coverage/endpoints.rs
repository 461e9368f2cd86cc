//! Shifts of endpoints of nights, of which the mean and the 95th percentile are known.

use plimsoll_stats::{Random, Shifts, interval::quantile};

use super::worlds::normal;

const P95: f64 = 0.95;
/// Nights that are taken for all.
const POPULATION: usize = 1_000_000;

/// How nights shift.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nights {
    /// All a little, as a normal distribution.
    Alike,
    /// Seven in eight not at all, the others by twenty minutes in the mean, most of them to one side.
    Seldom,
    /// Student's t of three degrees of freedom.
    HeavyTails,
    /// As often to one side, seldom far: the logarithm is normal.
    Skewed,
    /// One in twenty, by half an hour in the mean, all to one side.
    OneSide,
}

/// Of the sets that have an interval, how many hold the truth.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) held: usize,
    pub(super) given: usize,
}

impl Nights {
    pub(super) const ALL: [(&'static str, Self); 5] = [
        ("all nights a little", Self::Alike),
        ("one night in eight, and far", Self::Seldom),
        ("heavy tails", Self::HeavyTails),
        ("skewed", Self::Skewed),
        ("one night in twenty, to one side", Self::OneSide),
    ];

    /// Seconds, in whole samples of so many.
    fn draw(self, grain: f64, random: &mut Random) -> f64 {
        let seconds = match self {
            Self::Alike => 60.0 + 180.0 * normal(random),
            Self::Seldom if random.unit() < 0.875 => 0.0,
            Self::Seldom => {
                let sign = if random.unit() < 0.75 { 1.0 } else { -1.0 };
                -1200.0 * sign * (1.0 - random.unit()).ln()
            }
            Self::HeavyTails => {
                let squares: f64 = (0..3).map(|_| normal(random).powi(2)).sum();
                60.0 + 120.0 * normal(random) / (squares / 3.0).sqrt()
            }
            Self::OneSide if random.unit() < 0.95 => 0.0,
            Self::OneSide => -1800.0 * (1.0 - random.unit()).ln(),
            Self::Skewed => (4.0 + 1.0 * normal(random)).exp(),
        };
        (seconds / grain).round() * grain
    }

    /// The true mean and 95th percentile of the absolute shifts, and of `sets` of so many groups how many hold them.
    pub(super) fn covered(self, grain: f64, groups: usize, sets: usize) -> ([f64; 2], [Count; 2]) {
        let draw = |n: usize, seed: u64| -> Shifts {
            let mut random = Random::new(seed);
            Shifts::new((0..n).map(|_| self.draw(grain, &mut random)).collect(), grain)
        };
        let all = draw(POPULATION, 1);
        let truth = [all.mean(), quantile(all.sizes(), P95).0];
        let mut counts = [Count::default(); 2];
        for set in 0..sets {
            let shifts = draw(groups, 1000 + set as u64);
            let intervals = [shifts.mean_interval().ok(), quantile(shifts.sizes(), P95).1];
            for ((interval, truth), count) in intervals.into_iter().zip(truth).zip(&mut counts) {
                let Some([low, high]) = interval else { continue };
                count.given += 1;
                count.held += usize::from(low <= truth && truth <= high);
            }
        }
        (truth, counts)
    }
}
