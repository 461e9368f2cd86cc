//! Running models: one trait for every executor, errors that say whose fault it was.
//!
//! This crate must not know budgets, nor what a figure means. Models are hostile: a panic of an executor becomes an error, and
//! `isolated` runs any executor in a child process with memory and time limits.

mod executor;
mod quiet;
mod tract;

pub use executor::{ExecError, Executor, LoadOptions, Session};
pub use tract::TractExecutor;
