//! Statistics: metrics with their intervals, paired comparisons, resampling, histograms in one pass. Pure functions, seeded where
//! random.
//!
//! This crate must not know models, files or budgets.

mod early_stopping;
mod estimate;
mod groups;
mod histogram;
mod random;
mod range;
mod sequential;
mod shifts;
mod spread;

pub mod anytime;
pub mod interval;
pub mod metrics;
pub mod paired;
pub mod special;

pub use early_stopping::EarlyStopping;
pub use estimate::{Estimate, FEW_SAMPLES, FEWEST_GROUPS, NoInterval, Scale};
pub use groups::Groups;
pub use histogram::{Bin, Histogram};
pub use paired::{Decision, Loss, NonInferiority};
pub use random::Random;
pub use range::Range;
pub use sequential::Sequential;
pub use shifts::{NoMean, Shifts};
pub use spread::Spread;
