//! Budgets × figures → a report: pass, fail, inconclusive, or skipped with a reason.
//!
//! This crate must not know how figures were made, nor run anything. A gate never guesses: a figure that is absent, that comes
//! from another kind of machine, or whose interval straddles the limit is inconclusive, and the row says what would settle it.
//!
//! - [`judge_profile`] and [`judge_spec`] make rows, [`report()`] makes one report of them.
//! - [`render`] turns a report into text; every renderer is a pure function.

mod contract;
mod endpoint;
mod judge;
mod kind;
mod load;
mod loosened;
mod note;
mod report;
mod waiver;
mod wanted;

pub mod render;

pub use contract::{CONTRACT, Unfit, contract_rows};
pub use judge::{Evidence, Scope, judge, judge_profile, judge_spec, obstacle};
pub use kind::Subject;
pub use loosened::{Set, loosened};
pub use report::{report, verdict};
pub use waiver::waive;
pub use wanted::{Wanted, wanted};
