//! Pruning: fewer channels, or more zeros.
//!
//! [`structured`] removes whole channels: what comes out is an ordinary, smaller model. [`sparsity`] sets single weights to zero:
//! the same shapes, a smaller file once compressed, no time saved. Choosing by weight norms is in `magnitude`; which channels
//! must go together is in [`groups`]. This module must not know budgets, nor measure time.

mod allocate;
mod choose;
mod distill;
mod edits;
mod fold;
mod gain;
pub mod groups;
mod guess;
mod guided;
mod layers;
mod linear;
mod magnitude;
mod meter;
mod movement;
mod norms;
mod observed;
mod orders;
mod picking;
mod price;
mod propagate;
mod recurrent;
mod refit;
mod removal;
mod search;
pub mod sparsity;
pub mod structured;

#[cfg(test)]
mod generator;
#[cfg(test)]
mod guided_tests;
#[cfg(test)]
mod mask_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::str::FromStr;

pub use groups::{Group, Groups, Reason};
pub use meter::{Allocation, Milliseconds, NotATime, Repair, Score, Target, UnknownChoice};
pub use sparsity::{Blocks, Compensation, Pattern, Sparsity};
pub use structured::{PruneOptions, Structured};

/// A share, above 0 and below 1; written as `30%` or `0.3`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(f64);

/// A text that is no share.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("`{0}` is no share above 0 % and below 100 % (such as `30%`)")]
pub struct NotAShare(String);

impl Share {
    /// A share; `None` unless above 0 and below 1.
    pub fn new(value: f64) -> Option<Self> {
        (value > 0.0 && value < 1.0).then_some(Self(value))
    }

    /// The fraction, above 0 and below 1.
    pub fn fraction(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = NotAShare;
    fn from_str(s: &str) -> Result<Self, NotAShare> {
        let (digits, unit) = s.trim().strip_suffix('%').map_or((s.trim(), 1.0), |d| (d.trim_end(), 100.0));
        digits.parse::<f64>().ok().and_then(|v| Self::new(v / unit)).ok_or_else(|| NotAShare(s.into()))
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", (self.0 * 1e4).round() / 100.0)
    }
}
