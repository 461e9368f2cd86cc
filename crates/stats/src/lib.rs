//! Statistics: intervals, resampling, the ROC curve, histograms in one pass. Pure functions, seeded where random.
//!
//! This crate must not know models, files or budgets.

mod histogram;
mod random;
mod range;
mod roc;

pub mod interval;

pub use histogram::{Bin, Histogram};
pub use random::Random;
pub use range::Range;
pub use roc::auc;
