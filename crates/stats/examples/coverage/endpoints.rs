//! Shifts of endpoints of nights, of which the mean and the 95th percentile are known.

use plimsoll_stats::{Random, Shifts, interval::quantile};

use super::worlds::normal;

/// Seconds that a sample stands for.
const GRAIN: f64 = 30.0;
const P95: f64 = 0.95;
/// Nights that are taken for all.
const POPULATION: usize = 1_000_000;

/// How nights shift, in whole samples.
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
}

impl Nights {
    pub(super) const ALL: [(&'static str, Self); 4] = [
        ("all nights a little", Self::Alike),
        ("one night in eight, and far", Self::Seldom),
        ("heavy tails", Self::HeavyTails),
        ("skewed", Self::Skewed),
    ];

    fn draw(self, random: &mut Random) -> f64 {
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
            Self::Skewed => (4.0 + 1.0 * normal(random)).exp(),
        };
        (seconds / GRAIN).round() * GRAIN
    }

    /// The true mean and 95th percentile of the absolute shifts, and how many of `sets` of so many groups hold them; `None` where there
    /// is no interval of so few.
    pub(super) fn covered(self, groups: usize, sets: usize) -> ([f64; 2], [Option<usize>; 2]) {
        let draw = |n: usize, seed: u64| -> Shifts {
            let mut random = Random::new(seed);
            Shifts::new((0..n).map(|_| self.draw(&mut random)).collect(), GRAIN)
        };
        let all = draw(POPULATION, 1);
        let truth = [all.mean(), quantile(all.sizes(), P95).0];
        let mut covered = [None, None];
        for set in 0..sets {
            let shifts = draw(groups, 1000 + set as u64);
            let intervals = [shifts.mean_interval(), quantile(shifts.sizes(), P95).1];
            for ((interval, truth), count) in intervals.into_iter().zip(truth).zip(&mut covered) {
                let Some([low, high]) = interval else { continue };
                *count.get_or_insert(0) += usize::from(low <= truth && truth <= high);
            }
        }
        (truth, covered)
    }
}
