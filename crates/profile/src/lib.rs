//! Every file that a human writes: release specs, profiles, contracts, rollout policies. TOML becomes validated types whose
//! numbers have units and whose values remember where they were written.
//!
//! This crate must not know models, nor how a figure is made. Files are hostile input: bounded in size, and whatever is wrong
//! with one is reported at once, each problem with its place and its remedy.
//!
//! - [`Spec`] is `plimsoll.toml`, [`Profile`] a server or device, [`Contract`] what a running pipeline delivers and expects,
//!   [`Policy`] how a release reaches everybody, [`DeviceSpec`] a device as its agent sees it, [`Demands`] what whoever takes a
//!   release wants to see of it.
//! - [`Metric`] is the closed list of what may be budgeted; [`Budgets`] are limits on metrics.
//! - A file is read in two steps: text → TOML tree with spans (the unvalidated form) → the type. [`ConfigError`] holds every
//!   [`Problem`] of both.

mod budget;
mod change;
mod contract;
mod day;
mod demands;
mod device;
mod endpoint;
mod error;
mod extends;
mod facts;
mod hardware;
mod metric;
mod money;
mod nearest;
mod objective;
mod policy;
mod profile;
mod reader;
mod recipe;
mod server;
mod source;
mod spec;
mod units;
mod version;
mod waiver;

pub use budget::{Bound, Budget, Budgets, Level, Limit};
pub use change::{Change, TraceSpec};
pub use contract::{
    Align, Axis, Contract, Dim, Fill, InputSpec, Meaning, Missing, ModelInput, ModelOutput, ModelSide, Normalisation,
    OutputSpec, Signal, Take,
};
pub use day::Day;
pub use demands::Demands;
pub use device::{DeviceSpec, Enrolled, Enrolment};
pub use endpoint::{Endpoint, EndpointOf, ShiftLimit, ShiftStatistic};
pub use error::{ConfigError, Problem};
pub use extends::read_text;
pub use hardware::{ByType, Hardware, Power, Stream};
pub use metric::{Basis, Better, Metric, Unit};
pub use money::{Money, Price, PriceOfGigabyte};
pub use objective::{Aim, Models, Objective};
pub use policy::{Incidents, Plan, Policy, RolloutMetric, Stage, Tolerance};
pub use profile::{ExecutorName, Kind, Profile};
pub use recipe::{PASSES, PRUNE_TARGETS, RecipeSpec, StepSpec};
pub use server::{InstanceType, Server};
pub use source::{Place, Source, Span, Spanned, snippet};
pub use spec::{DataPaths, PathAt, Pipeline, Spec};
pub use units::{Bandwidth, Bytes, Count, Hertz, Increase, Joules, Seconds, Share, Usage, Watts};
pub use version::Version;
pub use waiver::Waiver;
