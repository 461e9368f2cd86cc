//! Histograms that grow with what they see, in one pass and bounded memory.
//!
//! Bins are as wide as a power of two and start at multiples of it. Where values would need more bins than there may be, the
//! width doubles and neighbours join, which gives exactly the bins that counting at that width from the start would have given.
//! So the result depends on the values alone: not on their order, nor on how they were shared among workers.

use serde::{Deserialize, Serialize};

use crate::Range;

/// The most bins; at least half as many are in use once values spread at all.
const MOST_BINS: usize = 8192;
/// Bits of a bin's number: the narrowest width is the largest magnitude seen divided by 2 to the power of this.
const NUMBER_BITS: i32 = 40;
/// The narrowest width, a power of two, of any histogram.
const NARROWEST: i32 = -140;

/// How often values were seen, zeros apart, with the range that they lie in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Log2 of the width of a bin.
    exponent: i32,
    /// Number of the first bin: it starts at that many widths.
    first: i64,
    counts: Vec<u64>,
    /// Exact zeros are counted apart: every code has one for them.
    zeros: u64,
    seen: Range,
}

/// A bin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Its left edge.
    pub lo: f64,
    /// Its right edge.
    pub hi: f64,
    /// Values in it, zeros apart.
    pub count: u64,
}

impl Bin {
    /// Where its values are taken to be.
    pub fn centre(self) -> f64 {
        (self.lo + self.hi) / 2.0
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { exponent: NARROWEST, first: 0, counts: Vec::new(), zeros: 0, seen: Range::EMPTY }
    }
}

impl Histogram {
    /// Of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts these values; `false` where one is NaN or an infinity, and then nothing is counted.
    pub fn observe(&mut self, values: &[f32]) -> bool {
        let mut seen = Range::EMPTY;
        if !seen.observe(values) {
            return false;
        }
        if values.is_empty() {
            return true;
        }
        self.cover(seen);
        let (scale, first) = (exp2(-self.exponent), self.first);
        for &v in values {
            if v == 0.0 {
                self.zeros += 1;
            } else if let Some(count) = self.counts.get_mut((number(v, scale) - first) as usize) {
                *count += 1;
            }
        }
        true
    }

    /// Both together, in any order.
    pub fn merge(mut self, mut other: Self) -> Self {
        if other.seen == Range::EMPTY {
            return self;
        }
        self.cover(other.seen);
        other.cover(self.seen);
        debug_assert_eq!((self.exponent, self.first), (other.exponent, other.first));
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.zeros += other.zeros;
        self
    }

    /// What was seen.
    pub fn seen(&self) -> Range {
        self.seen
    }

    /// Exact zeros.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// The bins, empty ones included, from the lowest.
    pub fn bins(&self) -> impl DoubleEndedIterator<Item = Bin> + ExactSizeIterator + '_ {
        let width = exp2(self.exponent);
        self.counts.iter().enumerate().map(move |(i, &count)| {
            let lo = (self.first + i as i64) as f64 * width;
            Bin { lo, hi: lo + width, count }
        })
    }

    /// Makes room for these values as well.
    fn cover(&mut self, more: Range) {
        let all = self.seen.union(more);
        if all == self.seen {
            return;
        }
        let exponent = width_of(all, self.exponent);
        let scale = exp2(-exponent);
        let (first, last) = (number(all.lo, scale), number(all.hi, scale));
        let mut counts = vec![0u64; usize::try_from(last - first + 1).unwrap_or(MOST_BINS).min(MOST_BINS)];
        let shift = (exponent - self.exponent).clamp(0, 63);
        for (i, count) in self.counts.iter().enumerate() {
            if let Some(joined) = counts.get_mut((((self.first + i as i64) >> shift) - first) as usize) {
                *joined += count;
            }
        }
        *self = Self { exponent, first, counts, zeros: self.zeros, seen: all };
    }
}

/// The least width (log2) of at least `least` under which a range needs no more bins than there may be.
fn width_of(range: Range, least: i32) -> i32 {
    let log2 = |v: f64| if v > 0.0 { v.log2().floor() as i32 } else { NARROWEST };
    let largest = f64::from(range.lo).abs().max(f64::from(range.hi).abs());
    let span = f64::from(range.hi) - f64::from(range.lo);
    // One below what the span asks for at least: rounding of the logarithm does not matter.
    let start = (log2(span / MOST_BINS as f64) - 1).max(log2(largest) - NUMBER_BITS).max(NARROWEST).max(least);
    let fits = |exponent: i32| {
        let scale = exp2(-exponent);
        number(range.hi, scale) - number(range.lo, scale) < MOST_BINS as i64
    };
    (start..).find(|&e| fits(e)).unwrap_or(start)
}

fn exp2(exponent: i32) -> f64 {
    f64::from(exponent).exp2()
}

/// Number of the bin that holds a value. `scale` is one over the width, a power of two: the product is exact.
fn number(value: f32, scale: f64) -> i64 {
    // The floor by comparison: where the target has no rounding instruction, `floor` is a call.
    let exact = f64::from(value) * scale;
    let towards_zero = exact as i64;
    towards_zero - i64::from(exact < towards_zero as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::new();
        assert!(histogram.observe(values));
        histogram
    }

    fn check(parts: &[&[f32]]) -> Histogram {
        let whole = of(&parts.concat());
        let merged = parts.iter().map(|p| of(p)).reduce(Histogram::merge).unwrap();
        let backwards = parts.iter().rev().map(|p| of(p)).reduce(Histogram::merge).unwrap();
        let mut streamed = Histogram::new();
        parts.iter().for_each(|p| assert!(streamed.observe(p)));
        assert_eq!(whole, merged);
        assert_eq!(whole, backwards);
        assert_eq!(whole, streamed);
        let values = parts.concat();
        let counted: u64 = whole.bins().map(|b| b.count).sum();
        assert_eq!(counted + whole.zeros(), values.len() as u64);
        for bin in whole.bins() {
            let inside = |v: &&f32| **v != 0.0 && (bin.lo..bin.hi).contains(&f64::from(**v));
            assert_eq!(values.iter().filter(inside).count() as u64, bin.count);
        }
        whole
    }

    #[test]
    fn the_order_of_samples_and_workers_does_not_matter() {
        let mut random = Random::new(1);
        let mut part =
            |n: usize, scale: f32| -> Vec<f32> { (0..n).map(|_| (random.unit() * 2.0 - 1.0) as f32 * scale).collect() };
        let (a, b, c) = (part(50, 1e-3), part(50, 40.0), part(50, 1.0));
        check(&[&a, &b, &c]);
        check(&[&c, &[], &[0.0, 0.0], &a]);
        check(&[&[5.0], &[5.5], &[-7.25]]);
    }

    #[test]
    fn extremes_keep_memory_bounded() {
        for parts in [[1e-38f32, 3e38], [-3e38, 3e38], [1e-45, 1e-44], [-1.0, 1e30], [7.0, 7.0]] {
            let histogram = check(&[&parts[..1], &parts[1..]]);
            assert!(histogram.bins().len() <= MOST_BINS);
        }
        let only_zeros = check(&[&[0.0], &[-0.0]]);
        assert_eq!(only_zeros.zeros(), 2);
    }

    #[test]
    fn spread_values_use_at_least_half_of_the_bins() {
        for hi in [0.9f32, 1.0, 1.1, 1000.3] {
            assert!(of(&[0.0, hi]).bins().len() > MOST_BINS / 2, "{hi}");
        }
    }

    #[test]
    fn what_is_not_finite_is_reported() {
        assert!(!Histogram::new().observe(&[1.0, f32::NAN]));
        assert!(!Histogram::new().observe(&[f32::INFINITY]));
    }
}
