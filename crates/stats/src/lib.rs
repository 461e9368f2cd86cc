//! Statistics: intervals, resampling, the ROC curve. Pure functions, seeded where random.
//!
//! This crate must not know models, files or budgets.

mod random;
mod roc;

pub mod interval;

pub use random::Random;
pub use roc::auc;
