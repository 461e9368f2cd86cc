//! Measuring models: accuracy, latency, memory, each as figures with what is needed to trust them.
//!
//! This crate must not know budgets: it says what is, not what may be. Whatever cannot be said with the samples at hand is
//! withheld with a reason.

mod accuracy;
mod endpoints;
mod error;
mod latency;
mod metrics;
mod origin;
mod scores;
mod statics;

pub use accuracy::{Contender, ContenderError, Evaluation, EvaluationOptions, NonInferiority, compare, evaluate};
pub use endpoints::{Endpoint, EndpointOf, ShiftStatistic};
pub use error::MeasureError;
pub use latency::{Bench, BenchOptions, Commands, bench};
pub use origin::machine;
pub use plimsoll_stats::{Decision, metrics::Confusion};
pub use scores::{Scores, scores};
pub use statics::{one_sample, open_dimensions, static_figures};
