//! The range that values lie in.

use serde::{Deserialize, Serialize};

/// The smallest interval that holds what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Its lower end.
    pub lo: f32,
    /// Its upper end.
    pub hi: f32,
}

/// Comparisons side by side: the compiler may not reorder one.
const LANES: usize = 16;

impl Range {
    /// Of nothing: every union with it is the other range.
    pub const EMPTY: Self = Self { lo: f32::MAX, hi: f32::MIN };

    /// The smallest range that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// Widened to all these values; `false` where one of them is NaN or an infinity, which are not taken in.
    pub fn observe(&mut self, values: &[f32]) -> bool {
        let (mut lo, mut hi, mut finite) = ([self.lo; LANES], [self.hi; LANES], [true; LANES]);
        let mut chunks = values.chunks_exact(LANES);
        let mut take = |i: usize, v: f32| {
            lo[i] = if v < lo[i] { v } else { lo[i] };
            hi[i] = if v > hi[i] { v } else { hi[i] };
            finite[i] &= v.is_finite();
        };
        for chunk in &mut chunks {
            for (i, &v) in chunk.iter().enumerate() {
                take(i, v);
            }
        }
        for (i, &v) in chunks.remainder().iter().enumerate() {
            take(i, v);
        }
        let finite = finite.iter().all(|f| *f);
        if finite {
            self.lo = lo.iter().fold(self.lo, |m, v| m.min(*v));
            self.hi = hi.iter().fold(self.hi, |m, v| m.max(*v));
        }
        finite
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f32]) -> Option<[f32; 2]> {
        let mut range = Range::EMPTY;
        range.observe(values).then_some([range.lo, range.hi])
    }

    #[test]
    fn every_position_counts() {
        for at in 0..40 {
            let mut values = [1.0f32; 40];
            values[at] = -3.0;
            assert_eq!(check(&values), Some([-3.0, 1.0]), "{at}");
            values[at] = f32::NAN;
            assert_eq!(check(&values), None, "{at}");
            values[at] = f32::NEG_INFINITY;
            assert_eq!(check(&values), None, "{at}");
        }
    }

    #[test]
    fn what_is_not_finite_leaves_the_range_as_it_was() {
        let mut range = Range { lo: -1.0, hi: 2.0 };
        assert!(!range.observe(&[7.0, f32::NAN]));
        assert_eq!(range, Range { lo: -1.0, hi: 2.0 });
        assert!(range.observe(&[]));
        assert_eq!(range.union(Range::EMPTY), range);
    }
}
