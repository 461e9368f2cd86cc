//! Arguments of the verbs that measure models and judge them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values::{increase, margin, number, seconds};
use crate::evidence;

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// The model, an ONNX file; or a release spec (a TOML file), which names a model, its test data and its endpoints
    #[arg(value_name = "MODEL|SPEC")]
    pub(crate) model: PathBuf,
    /// Labelled samples, an npz file: arrays named as the inputs, `label`, and `group` where samples are not independent; of a spec,
    /// its test data where none are given
    #[arg(long, value_name = "NPZ")]
    pub(crate) data: Option<PathBuf>,
    /// A model to compare with: agreement and differences are taken on the same samples
    #[arg(long, value_name = "MODEL")]
    pub(crate) baseline: Option<PathBuf>,
    /// A metric to take [default: all that apply]; may be given more than once
    #[arg(long, value_name = "METRIC")]
    pub(crate) metric: Vec<String>,
    /// How much worse than the baseline the model may be, such as accuracy-drop=0.5pp; may be given more than once
    #[arg(long, value_name = "METRIC=MARGIN", value_parser = margin, requires = "baseline")]
    pub(crate) margin: Vec<(String, f64)>,
    /// Write the first output of every sample, one row each, as float64 to an npy file
    #[arg(long, value_name = "NPY")]
    pub(crate) save_scores: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) record: evidence::Record,
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Release specs, TOML files
    #[arg(required = true, value_name = "SPEC")]
    pub(crate) specs: Vec<PathBuf>,
    /// Write a page as well
    #[arg(short, long, value_name = "HTML")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The model, an ONNX file
    pub(crate) model: PathBuf,
    /// A model to alternate with; the ratio is the median of paired runs
    #[arg(long, value_name = "MODEL")]
    pub(crate) baseline: Option<PathBuf>,
    /// Samples to run on; without them, inputs are drawn
    #[arg(long, value_name = "NPZ")]
    pub(crate) data: Option<PathBuf>,
    /// How much slower than the baseline the model may be: pass, fail (100) or inconclusive (102), and measuring ends when that is
    /// settled
    #[arg(long, value_name = "SHARE", requires = "baseline", value_parser = increase)]
    pub(crate) max_increase: Option<f64>,
    /// Samples in one run
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = number::<1, { usize::MAX }>)]
    pub(crate) batch: usize,
    /// Also measure how many samples a second so many sessions give that run at once, one thread each
    #[arg(long, value_name = "N", value_parser = number::<1, 1024>)]
    pub(crate) offline: Option<usize>,
    /// A command that makes the model's inputs of each sample, run by the shell: with it, or --after, the time end to end is taken as
    /// well. It is started once; for each sample it reads a line with names and then the arrays in npy format, one after the other,
    /// answers in the same way, and flushes
    #[arg(long, value_name = "COMMAND")]
    pub(crate) before: Option<String>,
    /// A command that takes the model's outputs, in the same way; its answer may be an empty line
    #[arg(long, value_name = "COMMAND")]
    pub(crate) after: Option<String>,
    /// Seconds from one inference of a stream to the next, for the real-time factor
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) hop: Option<f64>,
    /// Seconds that measuring may take
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) budget: f64,
    #[command(flatten)]
    pub(crate) record: evidence::Record,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Models (ONNX files) or release specs (TOML files); with --changed-since release specs, or nothing for all that changed
    #[arg(required_unless_present = "changed_since")]
    pub(crate) targets: Vec<PathBuf>,
    /// Check the release specs that changed since a revision of git, in themselves or in a model, data, profile or contract that they
    /// name, against what they were there. A budget that the change loosens is judged as it was, too. Nothing is written to the
    /// work tree
    #[arg(long, value_name = "REV", conflicts_with_all = ["profile", "data"])]
    pub(crate) changed_since: Option<String>,
    /// Record the model's figures as the baseline that increases of counted figures are held against from now on, in history.jsonl
    /// beside the spec; commit it with the model
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) accept: Option<String>,
    /// Profile to hold a model against; a spec names its own. May be given more than once
    #[arg(long, value_name = "TOML")]
    pub(crate) profile: Vec<PathBuf>,
    /// Labelled samples for accuracy budgets of a model; a spec names its own
    #[arg(long, value_name = "NPZ")]
    pub(crate) data: Option<PathBuf>,
    /// The model that relative budgets compare with; of a spec, its own model where none is given
    #[arg(long, value_name = "MODEL")]
    pub(crate) baseline: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) evidence: evidence::Evidence,
    /// Only what can be counted on any machine: nothing is run
    #[arg(long)]
    pub(crate) cost_only: bool,
    /// Say how long it will hold, too: until how many devices (and when, at the growth that a profile states) the instances of today
    /// do, for how many releases that grow as this one the flash, for how many days the battery; and which listed type of instance is
    /// the cheapest
    #[arg(long)]
    pub(crate) forecast: bool,
    /// Seconds that timing may take
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) budget: f64,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Terminal)]
    pub(crate) format: Format,
    /// Write the report to a file instead of printing it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// What an inconclusive budget means for the exit code
    #[arg(long, value_enum, default_value_t = OnInconclusive::Fail)]
    pub(crate) on_inconclusive: OnInconclusive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table, and every violated budget with its line
    Terminal,
    /// plimsoll.report/1; of several models, or with --changed-since, plimsoll.check/1
    Json,
    /// A comment for a pull request, of less than 65,000 characters
    Markdown,
    /// Annotations for GitHub
    Github,
    /// JUnit XML
    Junit,
    /// SARIF 2.1.0
    Sarif,
    /// One page for a browser, which needs nothing but itself
    Html,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnInconclusive {
    /// Exit code 102
    Fail,
    /// A warning
    Warn,
}
