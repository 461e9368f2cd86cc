//! Changing models: passes, the manager that applies them, and the passes themselves.
//!
//! A pass looks at a model and yields a [`Patch`](plimsoll_onnx::Patch) or a typed [`Refusal`]; it never mutates. This crate
//! must not know wall clocks, budgets or profiles; of the files that people write it knows contracts alone.

mod algebra;
mod draw;
mod manager;
mod observe;
mod operators;
mod pad_channels;
mod pass;
mod strip_names;
#[cfg(test)]
mod testing;

pub mod adapt;
pub mod equalize;
pub mod opset;
pub mod prune;
pub mod quantize;
pub mod ranges;
pub mod simplify;
pub mod verify;

pub use manager::{Outcome, PipelineError, Step, run};
pub use pad_channels::PadChannels;
pub use pass::{Context, Effect, LatencyOracle, Pass, Progress, Ranges, Refusal, Silent};
pub use strip_names::strip_names;
