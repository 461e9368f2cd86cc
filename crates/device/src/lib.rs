//! The reference agent of a device: follows a channel, verifies, tests, swaps, runs, reports, goes back.
//!
//! It must not know the optimizer, nor how a release is made: what it links is what a small device needs. The clock, the executor
//! and the file system come in as values.
//!
//! - [`Agent`] looks at the channel and keeps two slots, one of which is active; an update is the replacement of one small file.
//! - [`Runner`] runs the active release, the other one in shadow or for a share of the requests, and keeps the day's record.
//! - [`Reference`] is what a release ships for the self-test.

mod agent;
mod channel;
mod day;
mod decide;
mod error;
mod fit;
mod install;
mod keys;
mod lane;
mod reference;
mod runner;
mod selftest;
mod state;

pub use agent::Agent;
pub use day::records;
pub use error::DeviceError;
use plimsoll_trust::disk;
pub use plimsoll_trust::disk::{Disk, RealDisk};
pub use reference::{CASES, DISTRIBUTIONS, Reference, distributions};
pub use runner::{Answer, Runner};
pub use state::{Installed, Slot, State};
