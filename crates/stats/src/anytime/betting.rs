//! Means of anything between 0 and 1, by betting against a mean and seeing the capital grow.

use std::collections::BTreeMap;

use super::{boundary, valley};

/// Bets of the mixture, each so many times smaller than the one before, from nearly all that may be lost.
const BETS: i32 = 16;
const LARGEST: f64 = 0.95;
const STEP: f64 = 1.6;
/// Values are counted in so many steps between 0 and 1: none is off by more than 0.0123 points of a hundred.
const STEPS: f64 = 4_096.0;

/// Values between 0 and 1, counted by their 4,096th parts: a value is taken for the nearest one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounded {
    counts: BTreeMap<u32, u64>,
    units: u64,
    sum: u128,
}

impl Bounded {
    /// Of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a value; what does not lie between 0 and 1 is not counted.
    pub fn push(&mut self, value: f64) {
        if (0.0..=1.0).contains(&value) {
            let step = (value * STEPS).round() as u32;
            *self.counts.entry(step).or_default() += 1;
            self.units += 1;
            self.sum += u128::from(step);
        }
    }

    /// Number of values.
    pub fn len(&self) -> u64 {
        self.units
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.units == 0
    }

    /// Their mean.
    pub fn mean(&self) -> Option<f64> {
        (self.units > 0).then(|| self.sum as f64 / STEPS / self.units as f64)
    }

    /// Their variance.
    pub fn variance(&self) -> Option<f64> {
        let mean = self.mean()?;
        let square = |(step, n): (&u32, &u64)| *n as f64 * (f64::from(*step) / STEPS - mean).powi(2);
        (self.units > 1).then(|| self.counts.iter().map(square).sum::<f64>() / (self.units - 1) as f64)
    }

    /// Logarithm of the capital of bets that the mean is above `m`: an e-process where it is at most `m`.
    pub fn ln_wealth_above(&self, m: f64) -> f64 {
        self.ln_wealth(1.0, m)
    }

    /// Logarithm of the capital of bets that the mean is below `m`: an e-process where it is at least `m`.
    pub fn ln_wealth_below(&self, m: f64) -> f64 {
        self.ln_wealth(-1.0, m)
    }

    fn ln_wealth(&self, side: f64, m: f64) -> f64 {
        // What is lost at most where all goes the other way.
        let loss = if side > 0.0 { m } else { 1.0 - m };
        if loss <= 0.0 || loss > 1.0 {
            // Beyond what a mean can be: refuted where it says that the mean is above all or below all, else nothing is won.
            return if loss <= 0.0 && !self.is_empty() { self.beyond(side, m) } else { 0.0 };
        }
        let capital = |bet: i32| {
            let stake = side * LARGEST * STEP.powi(-bet) / loss;
            let won = |(step, n): (&u32, &u64)| *n as f64 * (stake * (f64::from(*step) / STEPS - m)).ln_1p();
            self.counts.iter().map(won).sum::<f64>()
        };
        let capitals: Vec<f64> = (0..BETS).map(capital).collect();
        let most = capitals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + capitals.iter().map(|c| (c - most).exp()).sum::<f64>().ln() - f64::from(BETS).ln()
    }

    /// A mean of exactly 0 is refuted by any value above it, one of 1 by any below; none beyond can be.
    fn beyond(&self, side: f64, m: f64) -> f64 {
        let border = if side > 0.0 { 0.0 } else { STEPS };
        let outside = if side > 0.0 { m < 0.0 } else { m > 1.0 };
        let refuted = outside || self.counts.keys().any(|step| f64::from(*step) != border);
        if refuted { f64::INFINITY } else { 0.0 }
    }

    /// Lower bound of the mean.
    pub fn lower(&self, alpha: f64) -> f64 {
        self.mean().map_or(0.0, |mean| boundary(0.0, mean, |m| self.ln_wealth_above(m) >= -alpha.ln()))
    }

    /// Upper bound of the mean.
    pub fn upper(&self, alpha: f64) -> f64 {
        self.mean().map_or(1.0, |mean| boundary(1.0, mean, |m| self.ln_wealth_below(m) >= -alpha.ln()))
    }
}

/// Logarithm of the wealth against "the mean of `a` exceeds that of `b` by at most `h`": both bets together, at the least that any
/// mean of `b` leaves of them. Samples must be independent of each other.
pub fn ln_wealth_above(a: &Bounded, b: &Bounded, h: f64) -> f64 {
    let (Some(of_a), Some(of_b)) = (a.mean(), b.mean()) else { return 0.0 };
    if of_a - of_b <= h {
        return 0.0;
    }
    let together = |m: f64| a.ln_wealth_above(m + h) + b.ln_wealth_below(m);
    // Between both means one bet's gain is the other one's loss; outside, one of them only loses more slowly.
    let (low, high) = ((-h).max(0.0), (1.0 - h).min(1.0));
    const PARTS: u32 = 32;
    let at = |i: u32| low + (high - low) * f64::from(i) / f64::from(PARTS);
    let mut best = (f64::INFINITY, 0);
    for i in 0..=PARTS {
        let value = together(at(i));
        if value < best.0 {
            best = (value, i);
        }
    }
    best.0.min(valley(at(best.1.saturating_sub(1)), at((best.1 + 1).min(PARTS)), together))
}

/// Lower bound of how much the mean of `a` exceeds that of `b`.
pub fn lower_difference(a: &Bounded, b: &Bounded, alpha: f64) -> f64 {
    let best = a.mean().zip(b.mean()).map_or(0.0, |(a, b)| a - b);
    boundary(-1.0, best, |h| ln_wealth_above(a, b, h) >= -alpha.ln())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    fn drawn(n: usize, seed: u64, draw: impl Fn(f64) -> f64) -> Bounded {
        let (mut random, mut out) = (Random::new(seed), Bounded::new());
        (0..n).for_each(|_| out.push(draw(random.unit())));
        out
    }

    #[test]
    fn what_is_no_share_is_not_counted() {
        let mut values = Bounded::new();
        [f64::NAN, -0.1, 1.1, f64::INFINITY].into_iter().for_each(|v| values.push(v));
        assert!(values.is_empty() && values.mean().is_none() && values.lower(0.05) == 0.0 && values.upper(0.05) == 1.0);
    }

    #[test]
    fn order_does_not_matter() {
        let (mut one, mut two) = (Bounded::new(), Bounded::new());
        let values = [0.2, 0.9, 0.31, 0.77];
        values.iter().for_each(|v| one.push(*v));
        values.iter().rev().for_each(|v| two.push(*v));
        assert_eq!(one, two);
    }

    #[test]
    fn extreme_values_have_finite_bounds() {
        let ones = drawn(100, 1, |_| 1.0);
        assert!(ones.upper(0.05) == 1.0 && ones.lower(0.05) > 0.9, "{}", ones.lower(0.05));
        let zeros = drawn(100, 1, |_| 0.0);
        assert!(zeros.lower(0.05) == 0.0 && zeros.upper(0.05) < 0.1);
        assert!(lower_difference(&ones, &zeros, 0.05) > 0.8);
        assert!(lower_difference(&zeros, &ones, 0.05) <= -1.0);
    }

    #[test]
    fn looking_daily_does_not_refute_the_truth() {
        let wrong = |seed: u64| {
            let (mut random, mut a, mut b) = (Random::new(seed), Bounded::new(), Bounded::new());
            (0..30).any(|_| {
                for _ in 0..10 {
                    a.push((random.unit() * 5.0).floor() / 4.0);
                    b.push(if random.unit() < 0.5 { 1.0 } else { 0.0 });
                }
                let border = 20.0_f64.ln();
                let single = b.ln_wealth_above(0.5) >= border;
                single || ln_wealth_above(&a, &b, 0.0) >= border
            })
        };
        // Two tests at 5 %: of 200 runs 20; 37 have a chance of 2e-4.
        let count = (0..200).filter(|s| wrong(1 + s)).count();
        assert!(count <= 37, "{count}");
    }

    #[test]
    fn a_difference_of_ratings_is_found() {
        let good = drawn(400, 3, |u| if u < 0.7 { 1.0 } else { 0.75 });
        let bad = drawn(400, 4, |u| if u < 0.3 { 0.75 } else { 0.5 });
        let low = lower_difference(&good, &bad, 0.05);
        assert!(low > 0.2 && low < 0.35, "{low}");
    }
}
