//! Mean and coefficient of variation of the time of a run: what a queue in front of the model is worked out from. Runs that follow each
//! other resemble each other, so that intervals rest on batch means (Law and Kelton 1982; Schmeiser 1982: 10 to 30 batches).

use plimsoll_stats::{interval, special::t_quantile};

/// Stretches of runs, one after the other.
const BATCHES: usize = 30;
/// Draws of the bootstrap over batches.
const DRAWS: usize = 2000;

/// What was found, in seconds and as a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moments {
    pub(super) mean: f64,
    pub(super) mean_interval: [f64; 2],
    pub(super) variation: f64,
    pub(super) variation_interval: [f64; 2],
}

/// Sums of a batch: runs, seconds, squares of seconds.
type Sums = [f64; 3];

fn variation([n, sum, squares]: Sums) -> f64 {
    let mean = sum / n;
    (squares / n - mean * mean).max(0.0).sqrt() / mean
}

/// The moments of runs in the order in which they were made, in seconds; `None` below two runs a batch.
pub(super) fn moments(runs: &[f64], seed: u64) -> Option<Moments> {
    if runs.len() < 2 * BATCHES {
        return None;
    }
    let add = |a: Sums, b: Sums| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
    let sums = |batch: &[f64]| batch.iter().fold([0.0; 3], |sums, &s| add(sums, [1.0, s, s * s]));
    let batches: Vec<Sums> =
        (0..BATCHES).map(|i| sums(&runs[i * runs.len() / BATCHES..(i + 1) * runs.len() / BATCHES])).collect();
    let all = batches.iter().copied().fold([0.0; 3], add);
    let mean = all[1] / all[0];
    let means: Vec<f64> = batches.iter().map(|b| b[1] / b[0]).collect();
    let spread = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (BATCHES - 1) as f64;
    let half = t_quantile(0.975, (BATCHES - 1) as f64) * (spread / BATCHES as f64).sqrt();
    let least = runs.iter().copied().fold(f64::INFINITY, f64::min);
    let drawn = |picked: &[usize]| Some(variation(picked.iter().map(|i| batches[*i]).fold([0.0; 3], add)));
    let value = variation(all);
    let [low, high] = interval::bootstrap(BATCHES, DRAWS, seed, drawn)?;
    Some(Moments {
        mean,
        mean_interval: [(mean - half).max(least).min(mean), mean + half],
        variation: value,
        variation_interval: [low.min(value), high.max(value)],
    })
}

#[cfg(test)]
mod tests {
    use plimsoll_stats::Random;

    use super::*;

    /// Exponential times of mean 1 ms in runs of `alike` equal ones.
    fn drawn(n: usize, alike: usize, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        let mut last = 0.0;
        (0..n)
            .map(|i| {
                if i % alike == 0 {
                    last = -1e-3 * (1.0 - random.unit()).ln();
                }
                last
            })
            .collect()
    }

    #[test]
    fn too_few_runs_have_no_moments() {
        assert_eq!(moments(&[1.0; 59], 0), None);
        let same = moments(&[0.25; 60], 0).unwrap();
        assert_eq!((same.mean, same.mean_interval, same.variation), (0.25, [0.25, 0.25], 0.0));
    }

    #[test]
    fn runs_that_resemble_each_other_widen_the_intervals() {
        let width = |alike| {
            let found = moments(&drawn(30_000, alike, 1), 2).unwrap();
            found.mean_interval[1] - found.mean_interval[0]
        };
        assert!(width(100) > 3.0 * width(1), "{} {}", width(100), width(1));
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        // Of 200 samples, 95 % of the intervals of the mean and of the coefficient of variation (1) hold it; the bootstrap of 30
        // batches falls a little short.
        let found = |seed| moments(&drawn(3_000, 5, seed), seed).unwrap();
        let holds = |interval: [f64; 2], truth: f64| interval[0] <= truth && truth <= interval[1];
        let hits = |of: fn(&Moments) -> ([f64; 2], f64)| {
            (0..200)
                .filter(|seed| {
                    let m = found(*seed);
                    let (i, t) = of(&m);
                    holds(i, t)
                })
                .count()
        };
        let (mean, variation) = (hits(|m| (m.mean_interval, 1e-3)), hits(|m| (m.variation_interval, 1.0)));
        assert!(mean >= 180 && variation >= 165, "{mean} {variation}");
    }
}
