//! Intervals at 95 %: for shares and quantiles, and by resampling.

use crate::Random;

/// The normal quantile of 0.975.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's score interval of a share (Wilson 1927).
pub fn wilson(successes: usize, n: usize) -> Option<[f64; 2]> {
    if n == 0 {
        return None;
    }
    Some(wilson_effective(successes as f64 / n as f64, n as f64, Z))
}

/// Wilson's interval of the share `p` of an effective, not necessarily whole, number of samples.
pub(crate) fn wilson_effective(p: f64, n: f64, z: f64) -> [f64; 2] {
    let z2 = z * z;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    [(middle - half).max(0.0).min(p), (middle + half).min(1.0).max(p)]
}

/// A quantile of sorted values, and its interval: the order statistics beyond whose ranks the binomial distribution has 2.5 %, and
/// since it has that between two ranks, a value between these (Hettmansperger and Sheather 1986; Nyblom 1992). The interval is absent
/// where the sample is too small to have one.
pub fn quantile(sorted: &[f64], q: f64) -> (f64, Option<[f64; 2]>) {
    let n = sorted.len();
    if n == 0 {
        return (f64::NAN, None);
    }
    let at = q * (n - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    let value = below + (above - below) * at.fract();
    let mirrored = |rank: usize| sorted[n - rank];
    let ends = lower_rank(n, q).zip(lower_rank(n, 1.0 - q)).map(|((l, below), (u, above))| {
        let low = sorted[l - 1] + below * (sorted[l] - sorted[l - 1]);
        let high = mirrored(u) + above * (mirrored(u + 1) - mirrored(u));
        [low.min(value), high.max(value)]
    });
    (value, ends)
}

/// The greatest rank l, from 1, with P(X < l) ≤ 0.025 for X ~ Binomial(n, q), and what part of the way to the next rank the lower end of
/// an interval may go (Nyblom's equation for any quantile).
fn lower_rank(n: usize, q: f64) -> Option<(usize, f64)> {
    const TAIL: f64 = 0.025;
    let (mut before, mut log_pmf) = (0.0, n as f64 * (1.0 - q).ln());
    for k in 0..n {
        let cumulated: f64 = before + log_pmf.exp();
        if cumulated > TAIL {
            // k is the rank: P(X < k) = `before`, and P(X < k + 1) is more than the tail.
            let (l, left) = (k as f64, (n - k) as f64);
            let part =
                1.0 / (1.0 + l * (1.0 - q) * (cumulated - TAIL) / (left * q * (TAIL - before)).max(f64::MIN_POSITIVE));
            return (k > 0).then_some((k, part));
        }
        before = cumulated;
        log_pmf += ((n - k) as f64 / (k + 1) as f64).ln() + (q / (1.0 - q)).ln();
    }
    None
}

/// Observations that a quantile needs before it has an interval on its far side: the least n with q^n ≤ 0.025.
pub fn needed(q: f64) -> usize {
    (0.025f64.ln() / q.max(1.0 - q).ln()).ceil() as usize
}

/// Percentile bootstrap: `statistic` of `units` drawn with replacement, given by position. `None` below 6 units, or where too
/// many draws have no value.
pub fn bootstrap(
    units: usize,
    draws: usize,
    seed: u64,
    mut statistic: impl FnMut(&[usize]) -> Option<f64>,
) -> Option<[f64; 2]> {
    if units < 6 {
        return None;
    }
    let mut random = Random::new(seed);
    let mut drawn = vec![0; units];
    let mut values: Vec<f64> = Vec::with_capacity(draws);
    for _ in 0..draws {
        drawn.iter_mut().for_each(|d| *d = random.below(units));
        values.extend(statistic(&drawn).filter(|v| v.is_finite()));
    }
    if values.len() * 10 < draws * 9 {
        return None;
    }
    values.sort_by(f64::total_cmp);
    Some([quantile(&values, 0.025).0, quantile(&values, 0.975).0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: [f64; 2], expected: [f64; 2]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 5e-4), "{found:?} is not {expected:?}");
    }

    #[test]
    fn shares_at_the_ends_keep_an_interval() {
        // Newcombe 1998, table I: 81/263, 15/148, 0/20, 1/29.
        check(wilson(81, 263).unwrap(), [0.2553, 0.3662]);
        check(wilson(15, 148).unwrap(), [0.0624, 0.1605]);
        check(wilson(0, 20).unwrap(), [0.0, 0.1611]);
        check(wilson(1, 29).unwrap(), [0.0061, 0.1718]);
        assert!(wilson(0, 0).is_none());
    }

    #[test]
    fn a_far_percentile_of_few_samples_has_no_interval() {
        let values: Vec<f64> = (0..367).map(f64::from).collect();
        assert!(quantile(&values, 0.99).1.is_none());
        assert_eq!(needed(0.99), 368);
        let values: Vec<f64> = (0..368).map(f64::from).collect();
        assert!(quantile(&values, 0.99).1.is_some());
        // Ranks 40 and 61 of 100 for the median, as in the tables, hold it in 96.5 %: the ends lie a little within.
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        let (median, interval) = quantile(&values, 0.5);
        let [low, high] = interval.unwrap();
        assert!(median == 50.5 && low > 40.0 && low < 41.0 && (low + high - 101.0).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn resampling_is_repeatable_and_refuses_few_units() {
        let mean = |drawn: &[usize]| Some(drawn.iter().sum::<usize>() as f64 / drawn.len() as f64);
        assert_eq!(bootstrap(50, 500, 7, mean), bootstrap(50, 500, 7, mean));
        assert!(bootstrap(5, 500, 7, mean).is_none());
    }
}
