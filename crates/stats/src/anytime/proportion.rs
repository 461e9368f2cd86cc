//! Events of independent units: the beta-binomial mixture, of one group and of the difference of two.

use super::{boundary, valley};
use crate::special::{ln_beta, normal_quantile};

/// The mixture's prior, for events that are rare. It moves where the sequence is narrowest, never whether it holds.
pub const PRIOR: [f64; 2] = [0.5, 20.0];

/// Units, and how many of them had the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events {
    /// With the event.
    pub events: u64,
    /// All.
    pub units: u64,
}

impl Events {
    fn counts(self) -> (f64, f64) {
        (self.events as f64, self.units.saturating_sub(self.events) as f64)
    }

    /// The share with the event.
    pub fn share(self) -> f64 {
        self.events as f64 / self.units as f64
    }

    fn ln_likelihood(self, p: f64) -> f64 {
        let (with, without) = self.counts();
        let part = |n: f64, p: f64| if n > 0.0 { n * p.ln() } else { 0.0 };
        part(with, p) + part(without, 1.0 - p)
    }

    fn ln_mixture(self, [a, b]: [f64; 2]) -> f64 {
        let (with, without) = self.counts();
        ln_beta(a + with, b + without) - ln_beta(a, b)
    }
}

/// The two-sided sequence of a share.
pub fn interval(seen: Events, prior: [f64; 2], alpha: f64) -> [f64; 2] {
    if seen.units == 0 {
        return [0.0, 1.0];
    }
    let (level, best) = (seen.ln_mixture(prior) + alpha.ln(), seen.share());
    let rejects = |p: f64| seen.ln_likelihood(p) <= level;
    [boundary(0.0, best, rejects), boundary(1.0, best, rejects)]
}

/// What is expected of two groups before anything is seen: it moves which differences are found with few units, never whether a bound
/// holds. It must not be made of the same data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Share of units that have the event anyway.
    pub base: f64,
    /// The difference that matters: what is looked for is a multiple of it.
    pub scale: f64,
    /// Multiples by which the share of `a` may exceed that of `b`, each with its weight; they add up to one.
    effects: &'static [(f64, f64)],
}

impl Expected {
    /// Where no base is known: events are rare.
    pub const RARE: f64 = 0.005;

    /// `a` has more events by what matters, or by several times of it.
    pub fn more(base: f64, scale: f64) -> Self {
        Self { base, scale, effects: &[(1.0, 0.2), (1.5, 0.2), (2.0, 0.3), (3.0, 0.15), (5.0, 0.15)] }
    }

    /// `a` has as many events as `b`, or fewer by a part of what matters.
    pub fn no_more(base: f64, scale: f64) -> Self {
        Self { base, scale, effects: &[(0.0, 0.8), (-0.25, 0.2)] }
    }

    /// Logarithm of the likelihood, averaged over shares around the base and over the effects.
    fn ln_mixture(&self, a: Events, b: Events) -> f64 {
        // Bases up to eight times off, a factor of 1.09 apart; heavy tails, since what is known of a fleet is known of another one.
        const EACH_SIDE: i32 = 24;
        let step = 8.0_f64.ln() / f64::from(EACH_SIDE);
        let mut terms = Vec::new();
        let mut weights = 0.0;
        for i in -EACH_SIDE..=EACH_SIDE {
            let off = f64::from(i) * step;
            let (share, weight) = (self.base * off.exp(), 1.0 / (1.0 + (off / 0.5).powi(2)));
            weights += weight;
            for (multiple, chance) in self.effects {
                let effect = multiple * self.scale;
                let (of_a, of_b) = (share + effect.max(0.0), share + (-effect).max(0.0));
                if of_a < 1.0 && of_b < 1.0 {
                    terms.push((weight * chance).ln() + a.ln_likelihood(of_a) + b.ln_likelihood(of_b));
                }
            }
        }
        let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if most == f64::NEG_INFINITY {
            return most;
        }
        most + terms.iter().map(|t| (t - most).exp()).sum::<f64>().ln() - weights.ln()
    }
}

/// Logarithm of the likelihood under the alternatives: half of the weight on what is expected, half on anything at all.
fn ln_alternatives(a: Events, b: Events, expected: &Expected) -> f64 {
    let (anything, guess) = (a.ln_mixture(PRIOR) + b.ln_mixture(PRIOR), expected.ln_mixture(a, b));
    let most = anything.max(guess);
    most + ((anything - most).exp() + (guess - most).exp()).ln() - std::f64::consts::LN_2
}

/// Logarithm of the largest likelihood with a share of `a` that exceeds that of `b` by at most `h`.
fn ln_null(a: Events, b: Events, h: f64) -> f64 {
    if a.share() - b.share() <= h {
        return a.ln_likelihood(a.share()) + b.ln_likelihood(b.share());
    }
    // The likeliest pair lies on the border, where b has p and a has p + h; the logarithm is concave.
    let (low, high) = ((-h).max(0.0), (1.0 - h).min(1.0));
    -valley(low, high, |p| -(a.ln_likelihood(p + h) + b.ln_likelihood(p)))
}

/// Logarithm of the wealth against "the share of `a` exceeds that of `b` by at most `h`".
///
/// A mixture of alternatives by the largest likelihood that the hypothesis allows: an e-process whatever the shares are, as
/// universal inference has it (Wasserman, Ramdas and Balakrishnan 2020). Negative where the data agree with the hypothesis.
pub fn ln_wealth_above(a: Events, b: Events, h: f64, expected: &Expected) -> f64 {
    if a.units == 0 || b.units == 0 {
        return 0.0;
    }
    ln_alternatives(a, b, expected) - ln_null(a, b, h)
}

/// Lower bound of how much the share of `a` exceeds that of `b`: it holds at all looks with probability 1 − α.
pub fn lower_difference(a: Events, b: Events, expected: &Expected, alpha: f64) -> f64 {
    if a.units == 0 || b.units == 0 {
        return -1.0;
    }
    let level = ln_alternatives(a, b, expected) + alpha.ln();
    boundary(-1.0, a.share() - b.share(), |h| level >= ln_null(a, b, h))
}

/// Chance that two groups of the same share, of these sizes, show that `a` exceeds `b` by less than `margin`: over a grid of
/// quantiles of both counts.
pub fn power(share: f64, [a, b]: [u64; 2], margin: f64, alpha: f64) -> f64 {
    const GRID: u32 = 15;
    if a == 0 || b == 0 {
        return 0.0;
    }
    let quantile = |units: u64, i: u32| {
        let (n, z) = (units as f64, normal_quantile((f64::from(i) + 0.5) / f64::from(GRID)));
        // Skewed counts: the square root is nearly normal (Anscombe 1948).
        let root = (n * share + 0.375).sqrt() + z / 2.0 * (1.0 - share).sqrt();
        Events { events: (root.max(0.0).powi(2) - 0.375).round().clamp(0.0, n) as u64, units }
    };
    let expected = Expected::no_more(share, margin);
    let shown = |i: u32, j: u32| ln_wealth_above(quantile(b, j), quantile(a, i), -margin, &expected) >= -alpha.ln();
    let all = (0..GRID).flat_map(|i| (0..GRID).map(move |j| (i, j)));
    all.filter(|(i, j)| shown(*i, *j)).count() as f64 / f64::from(GRID * GRID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    const GUESS: Expected = Expected { base: 0.01, scale: 0.02, effects: &[(1.0, 0.5), (2.0, 0.5)] };

    fn of(events: u64, units: u64) -> Events {
        Events { events, units }
    }

    #[test]
    fn no_crash_of_a_hundred_proves_little() {
        let [low, high] = interval(of(0, 100), PRIOR, 0.05);
        assert!(low == 0.0 && high > 0.0295 && high < 0.06, "{high}");
        assert_eq!(interval(of(0, 0), PRIOR, 0.05), [0.0, 1.0]);
        assert_eq!(interval(of(7, 7), PRIOR, 0.05)[1], 1.0);
    }

    #[test]
    fn a_difference_is_bounded_from_both_sides_whatever_was_expected() {
        let (a, b) = (of(60, 1_000), of(10, 1_000));
        for (base, scale) in [(0.01, 0.02), (0.2, 0.01), (1e-6, 0.5), (0.9, 0.9)] {
            let low = lower_difference(a, b, &Expected::more(base, scale), 0.05);
            let high = -lower_difference(b, a, &Expected::no_more(base, scale), 0.05);
            assert!(low > 0.015 && low < 0.05 && high > 0.05 && high < 0.09, "{base} {scale}: {low} {high}");
        }
        assert!(lower_difference(of(0, 0), b, &GUESS, 0.05) == -1.0);
        assert!(ln_wealth_above(of(0, 0), of(0, 0), 0.1, &GUESS) == 0.0);
    }

    #[test]
    fn what_is_expected_takes_fewer_units_to_show() {
        // 17 of 250 against 2 of 500: more than by half of the margin of 4 pp.
        let (a, b) = (of(21, 250), of(2, 500));
        let [guessed, astray] =
            [Expected::more(0.005, 0.04), Expected::more(0.3, 0.3)].map(|e| ln_wealth_above(a, b, 0.02, &e));
        assert!(guessed > astray + 1.0, "{guessed} {astray}");
        // A guess that is far off costs half of the weight.
        let anything = a.ln_mixture(PRIOR) + b.ln_mixture(PRIOR) - ln_null(a, b, 0.02);
        assert!((anything - astray - std::f64::consts::LN_2).abs() < 1e-6, "{anything} {astray}");
    }

    #[test]
    fn looking_daily_does_not_refute_the_truth() {
        // Crashes come one by one; the difference is looked at after every twenty units. 5 %: of 400 runs 20, 37 have a chance of 1e-4.
        let wrong = |seed: u64| {
            let (mut random, mut a, mut b) = (Random::new(seed), of(0, 0), of(0, 0));
            (0..60).any(|_| {
                for _ in 0..20 {
                    a.units += 1;
                    a.events += u64::from(random.unit() < 0.03);
                    b.units += 1;
                    b.events += u64::from(random.unit() < 0.01);
                }
                ln_wealth_above(a, b, 0.02, &GUESS) >= 20.0_f64.ln()
                    || ln_wealth_above(b, a, -0.02, &Expected::no_more(0.01, 0.02)) >= 20.0_f64.ln()
            })
        };
        let count = (0..400).filter(|s| wrong(1 + s)).count();
        assert!(count <= 37, "{count}");
    }

    #[test]
    fn a_fleet_of_five_thousand_cannot_prove_half_a_point() {
        assert!(power(0.005, [4_500, 500], 0.005, 0.05) < 0.5);
        assert!(power(0.005, [90_000, 10_000], 0.005, 0.05) > 0.8);
        assert_eq!(power(0.005, [0, 10], 0.005, 0.05), 0.0);
    }
}
