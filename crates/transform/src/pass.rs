//! What a pass is.

use std::collections::BTreeMap;

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{Model, Patch, TensorError};
use plimsoll_runtime::{ExecError, Executor};

/// What a pass may change in the results of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing beyond rounding: checked by running the model before and after.
    Exact,
    /// Results change, by design; what is declared here is shown to the user.
    Lossy(&'static str),
}

/// Why a pass did not yield a patch. Never a panic, never silence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is nothing for this pass to do.
    #[error("nothing to do")]
    NoMatch,
    /// A precondition does not hold.
    #[error("{0}")]
    CheckFailed(String),
    /// A node that the pass would have to change, but cannot change safely.
    #[error("node `{node}`: {reason}")]
    Node {
        /// The node.
        node: String,
        /// Why it cannot be changed.
        reason: String,
    },
    /// The pass needs calibration data, and none were given.
    #[error("calibration data are needed")]
    NeedsData,
    /// The result would be no better than the original.
    #[error("{0}")]
    NoGain(String),
    /// A weight could not be decoded.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The model could not be run on the calibration data.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl Refusal {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NeedsData => Some("give samples with --data CALIB.npz: arrays named as the model's inputs".into()),
            Self::Exec(e) => e.help(),
            _ => None,
        }
    }
}

/// Told how far a long step has come; drawn by whoever is at the top.
pub trait Progress: Sync {
    /// A step begins: what it is, and how many units it has.
    fn start(&self, what: &str, units: usize);
    /// So many more units are done.
    fn advance(&self, units: usize);
    /// The step is over.
    fn finish(&self);
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: usize) {}
    fn advance(&self, _: usize) {}
    fn finish(&self) {}
}

/// The smallest and the largest value of an input, by its name.
pub type Ranges = BTreeMap<String, [f64; 2]>;

/// Takes the time that models need; handed in by whoever may know clocks.
pub trait LatencyOracle: Sync {
    /// Milliseconds of one run, in the executor that the model is made for.
    fn milliseconds(&self, model: &Model) -> Result<f64, ExecError>;
}

/// What a pass may use besides the model.
#[derive(Clone, Copy)]
pub struct Context<'c> {
    /// Runs the model for calibration and checks.
    pub executor: &'c dyn Executor,
    /// Unlabelled samples, if there are any.
    pub data: Option<&'c Dataset>,
    /// Ranges that somebody declared for inputs (a contract). Those that a model carries itself are found in it.
    pub ranges: Option<&'c Ranges>,
    /// For whatever draws random numbers.
    pub seed: u64,
    /// The model as it came, where passes before this one changed it: what shares are counted from.
    pub origin: Option<&'c Model>,
    /// Takes times, where there is a clock.
    pub latency: Option<&'c dyn LatencyOracle>,
    /// Who watches.
    pub progress: &'c dyn Progress,
}

impl<'c> Context<'c> {
    /// An executor, and nothing else: no samples, no ranges, seed 0, no clock, nobody watching.
    pub fn new(executor: &'c dyn Executor) -> Self {
        Self { executor, data: None, ranges: None, seed: 0, origin: None, latency: None, progress: &Silent }
    }

    /// The same with samples.
    pub fn with_data(self, data: &'c Dataset) -> Self {
        Self { data: Some(data), ..self }
    }
}

/// One transformation. A new pass is one file and its line in a pipeline's slice.
pub trait Pass: Sync {
    /// Its name, as in recipes and `--explain`: lower case, hyphens.
    fn name(&self) -> &'static str;
    /// What it may change.
    fn effect(&self) -> Effect;
    /// Names of passes that, where they are in the same pipeline, must stand before this one.
    fn after(&self) -> &'static [&'static str] {
        &[]
    }
    /// Looks at the model and says what to change.
    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal>;
}
