//! The search for the lightest model that keeps its budgets: recipes as data, candidates, ranking.
//!
//! This crate must not know signing, channels or files: models and data come in memory, the executor as a trait.

mod assess;
mod budgets;
mod clock;
mod data;
mod deadline;
mod derived;
mod error;
mod forecast;
mod lab;
mod live;
mod pool;
mod search;
mod space;
mod standing;
mod store;

pub mod recipe;
pub mod recorded;

pub use assess::{Assessed, Tools};
pub use budgets::Budgeted;
pub use clock::Stopwatch;
pub use data::check_disjoint;
pub use deadline::Deadline;
pub use error::OptimizeError;
pub use lab::{Lab, Recorded, Replayed};
pub use live::Live;
pub use recipe::RecipeError;
pub use search::{Shard, Task, recipes, search};
pub use space::ORIGINAL;
pub use store::Store;
