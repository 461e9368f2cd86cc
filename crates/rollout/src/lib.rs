//! From beta to everybody: what a fleet's telemetry says of a release, and what follows from it.
//!
//! In the order in which data flow: telemetry is read and held against what it may say ([`ingest`]), kept in a [`store`], summed to one
//! row a device ([`outcome`]), those to what two arms showed ([`evidence`]); a policy's rules make a verdict of it ([`judge`]), which
//! is chained to those before ([`chain`]). [`simulate`] plays all of it on devices that do not exist, [`replay`] on what is past.
//!
//! This crate must not know models, nor where releases lie: it says that a release may move, others move it. Nothing here looks at a
//! clock: days come from outside.

pub mod chain;
pub mod course;
pub mod evidence;
mod incidents;
pub mod ingest;
pub mod judge;
pub mod observed;
pub mod outcome;
pub mod render;
pub mod replay;
pub mod simulate;
pub mod store;
pub mod warehouse;

mod error;
mod ladder;
mod metrics;
mod moments;
mod pseudonym;

pub use error::RolloutError;
pub use ladder::{Ladder, Rung};
pub use pseudonym::{Pseudonym, Pseudonyms};
