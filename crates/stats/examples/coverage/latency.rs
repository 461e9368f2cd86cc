//! Paired log-ratios of times that resemble their neighbours, looked at many times.

use plimsoll_stats::{Decision, Random, Sequential};

use crate::worlds::normal;

/// What disturbs the ratios.
#[derive(Debug, Clone, Copy)]
pub(super) enum Noise {
    /// Independent, with a few large outliers.
    Outliers,
    /// An autoregressive level: a machine that warms up and cools down.
    Drift(f64),
    /// Spells of a competing load, during which ratios scatter five times as much.
    Spells,
}

/// Verdicts of `runs` runs of 50 looks, 30 pairs apart, the first that is not inconclusive: passes and fails.
pub(super) fn verdicts(noise: Noise, slower: f64, runs: usize) -> (usize, usize) {
    let threshold = 1.05f64.ln();
    let (mut passes, mut fails) = (0, 0);
    for run in 0..runs {
        let mut random = Random::new(77_000 + run as u64);
        let mut source = Source { noise, level: 0.0, busy: false };
        let mut sequential = Sequential::new(0.02);
        for _ in 0..50 {
            (0..30).for_each(|_| sequential.push(slower.ln() + 0.05 * source.next(&mut random)));
            match sequential.verdict(threshold) {
                Decision::Inconclusive => continue,
                Decision::Pass => passes += 1,
                Decision::Fail => fails += 1,
            }
            break;
        }
    }
    (passes, fails)
}

struct Source {
    noise: Noise,
    level: f64,
    busy: bool,
}

impl Source {
    fn next(&mut self, random: &mut Random) -> f64 {
        match self.noise {
            Noise::Outliers => normal(random) * if random.unit() < 0.05 { 20.0 } else { 1.0 },
            Noise::Drift(memory) => {
                self.level = memory * self.level + (1.0 - memory * memory).sqrt() * normal(random);
                self.level
            }
            Noise::Spells => {
                self.busy ^= random.unit() < if self.busy { 0.05 } else { 0.02 };
                // A spell leans to one side as well.
                let lean = if self.busy { 1.5 * self.level } else { 0.0 };
                if !self.busy {
                    self.level = normal(random);
                }
                lean + normal(random) * if self.busy { 5.0 } else { 1.0 }
            }
        }
    }
}
