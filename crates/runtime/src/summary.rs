//! What is kept of inner values where they are computed, so that they need not travel: ranges and histograms over the runs of a
//! session.

use plimsoll_stats::{Histogram, Range};
use serde::{Deserialize, Serialize};

/// Which summary of a value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep {
    /// The range that it lies in.
    Range,
    /// A histogram.
    Histogram,
}

/// What was kept of a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Kept {
    /// The range that it lies in.
    Range(Range),
    /// A histogram.
    Histogram(Histogram),
}

/// A value over the runs of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What was kept of it.
    pub kept: Kept,
    /// The first run (counted from 0) in which it held NaN or an infinity; that run is not in what was kept.
    pub not_finite: Option<usize>,
    runs: usize,
}

impl Summary {
    /// Of no run.
    pub fn new(keep: Keep) -> Self {
        let kept = match keep {
            Keep::Range => Kept::Range(Range::EMPTY),
            Keep::Histogram => Kept::Histogram(Histogram::new()),
        };
        Self { kept, not_finite: None, runs: 0 }
    }

    /// Takes in the value of one run.
    pub fn observe(&mut self, values: &[f32]) {
        let finite = match &mut self.kept {
            Kept::Range(range) => range.observe(values),
            Kept::Histogram(histogram) => histogram.observe(values),
        };
        if !finite {
            self.not_finite.get_or_insert(self.runs);
        }
        self.runs += 1;
    }
}

impl Kept {
    /// Both together; a range and a histogram make the range of both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Histogram(a), Self::Histogram(b)) => Self::Histogram(a.merge(b)),
            (a, b) => Self::Range(a.range().union(b.range())),
        }
    }

    /// The range that it lies in.
    pub fn range(&self) -> Range {
        match self {
            Self::Range(range) => *range,
            Self::Histogram(histogram) => histogram.seen(),
        }
    }
}
