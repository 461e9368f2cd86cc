//! Running models: one trait for every executor, errors that say whose fault it was.
//!
//! This crate must not know budgets, nor what a figure means. Models are hostile: a panic of an executor becomes an error, and
//! `isolated` runs any executor in a child process with memory and time limits.

mod allocations;
mod executor;
mod filter;
mod isolated;
mod kernel;
mod machine;
#[cfg(feature = "ort")]
mod onnxruntime;
mod protocol;
mod quiet;
mod summary;
mod tract;
mod wanted;

pub mod worker;

pub use allocations::{Allocated, Counting};
pub use executor::{ExecError, Executor, LoadOptions, Session};
pub use filter::{Filter, FilterError};
pub use isolated::{Isolated, Limits, WorkerCommand};
pub use machine::{MachineFacts, Watch, peak_resident_bytes};
#[cfg(feature = "ort")]
pub use onnxruntime::OnnxRuntimeExecutor;
pub use summary::{Keep, Kept, Summary};
pub use tract::{PlainTractExecutor, TractExecutor};
