//! The search for the lightest model that keeps its budgets: recipes as data, candidates, ranking.
//!
//! This crate must not know signing, channels or files: models and data come in memory, the executor as a trait.

mod assess;
mod budgets;
mod clock;
mod data;
mod error;
mod recipes;
mod search;

pub mod recipe;

pub use assess::{Assessed, Tools};
pub use budgets::Budgeted;
pub use clock::Stopwatch;
pub use data::check_disjoint;
pub use error::OptimizeError;
pub use recipe::RecipeError;
pub use recipes::{ORIGINAL, default_recipes};
pub use search::{Candidate, Task, ranking, recipes, search, winner};
