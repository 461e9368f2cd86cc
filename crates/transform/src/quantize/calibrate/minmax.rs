//! The smallest and the largest value seen.

use super::{Range, Statistic};

/// The statistic.
pub(super) struct MinMax(Range);

impl Statistic for MinMax {
    fn new() -> Self {
        Self(Range::EMPTY)
    }
    fn observe(&mut self, values: &[f32]) -> bool {
        self.0.observe(values)
    }
    fn merge(self, other: Self) -> Self {
        Self(self.0.union(other.0))
    }
    fn range(&self) -> Range {
        self.0
    }
}
