//! The executor trait and its errors.

use std::collections::BTreeMap;

use plimsoll_onnx::{Model, Tensors};

use crate::{
    Keep, Summary,
    allocations::{self, Allocated},
    kernel,
};

/// How a model is to be loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Concrete shapes of inputs, by name. An input that is not named here keeps its declared shape, symbolic dimensions
    /// being 1. Executors optimize for concrete shapes: a symbolic batch costs up to a factor of two.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Inner values that every run returns besides the model's outputs (captured activations).
    pub capture: Vec<String>,
    /// Float32 values (inputs among them) of which a summary is kept over the runs of the session; they are not returned.
    pub summarise: BTreeMap<String, Keep>,
    /// Threads that one run may use; 0 counts as 1.
    pub threads: usize,
}

impl LoadOptions {
    /// Options for inputs of exactly these shapes, one thread.
    pub fn for_inputs(inputs: &Tensors) -> Self {
        let shapes = inputs.iter().map(|(name, t)| (name.clone(), t.shape().to_vec())).collect();
        Self { shapes, threads: 1, ..Self::default() }
    }

    /// Options for a model at one batch size: the first dimension where it is not a fixed number becomes `batch`, every other
    /// open dimension 1; one thread.
    pub fn for_batch(model: &Model, batch: usize) -> Self {
        let shape = |spec: &plimsoll_onnx::ValueSpec| {
            let dims = spec.dims.clone().unwrap_or_default();
            let dim = |(axis, d): (usize, plimsoll_onnx::DimSpec)| match d {
                plimsoll_onnx::DimSpec::Fixed(n) => n as usize,
                _ if axis == 0 => batch,
                _ => 1,
            };
            dims.into_iter().enumerate().map(dim).collect()
        };
        let shapes = model.inputs().iter().map(|spec| (spec.name.clone(), shape(spec))).collect();
        Self { shapes, threads: 1, ..Self::default() }
    }

    /// The same with captured inner values.
    pub fn capturing(self, names: impl IntoIterator<Item = String>) -> Self {
        Self { capture: names.into_iter().collect(), ..self }
    }
}

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum ExecError {
    /// The executor does not know an operator, or this form of it.
    #[error("{executor} cannot run this model: {reason}")]
    Unsupported {
        /// Name of the executor.
        executor: String,
        /// What it said.
        reason: String,
    },
    /// The inputs do not fit the model.
    #[error("input `{input}`: {reason}")]
    BadInput {
        /// The input's name.
        input: String,
        /// What does not fit.
        reason: String,
    },
    /// The executor is not on this machine.
    #[error("{executor} was not found: {reason}")]
    Missing {
        /// Name of the executor.
        executor: String,
        /// Where it was looked for.
        reason: String,
    },
    /// The executor panicked, or its process died.
    #[error("{executor} crashed: {reason}")]
    Crash {
        /// Name of the executor.
        executor: String,
        /// The panic message or signal.
        reason: String,
    },
    /// The time limit ran out.
    #[error("{executor} did not finish within {seconds} s")]
    TimeLimit {
        /// Name of the executor.
        executor: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// The memory limit was reached.
    #[error("{executor} asked for more than the {bytes} bytes of memory that it may have")]
    MemoryLimit {
        /// Name of the executor.
        executor: String,
        /// The limit, in bytes.
        bytes: u64,
    },
    /// A run failed for another reason.
    #[error("{executor} failed: {reason}")]
    Failed {
        /// Name of the executor.
        executor: String,
        /// What it said.
        reason: String,
    },
}

impl ExecError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unsupported { .. } => "try another executor (`plimsoll doctor` lists those at hand)".into(),
            Self::BadInput { .. } => {
                "compare with `plimsoll inspect MODEL`: arrays are matched to inputs by name".into()
            }
            Self::TimeLimit { .. } => "raise --time-limit if the model is meant to take that long".into(),
            Self::MemoryLimit { .. } => "raise --memory-limit if the model is meant to need that much".into(),
            Self::Crash { .. } => {
                "the executor does not survive this model, and plimsoll does; try another executor, or report it".into()
            }
            Self::Missing { .. } => {
                "name its library with --ort-lib or ORT_DYLIB_PATH, or `pip install onnxruntime` (1.24 or newer)".into()
            }
            Self::Failed { .. } => return None,
        })
    }
}

/// Something that runs models.
pub trait Executor: Send + Sync {
    /// Its name, as in a profile's `executor` and `--executor`.
    fn name(&self) -> &str;
    /// The version of the library behind it.
    fn version(&self) -> String;
    /// Loads an encoded model (external data taken in) for concrete shapes.
    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Session>, ExecError>;
    /// Keeps alive what the sessions of this thread run in, until the result is dropped: a process ends with its last session, and takes
    /// longer to start than a small model to load. `None` where there is nothing to keep; what is wrong shows at the next load.
    fn hold(&self) -> Option<Box<dyn Send>> {
        None
    }
}

/// A loaded model.
pub trait Session: Send {
    /// Runs once. Inputs must have the dtypes of the model and the shapes it was loaded for; returns the outputs and whatever
    /// was to be captured.
    fn run(&mut self, inputs: &Tensors) -> Result<Tensors, ExecError>;
    /// Runs once on each of these inputs, in their order, and returns as many results. The first error ends it; what was computed
    /// before is lost. Short runs gain by it where they go to another process, several in a request, whose time limit is as many times as
    /// long; all inputs and results of a call are in memory together.
    fn run_each(&mut self, inputs: &[Tensors]) -> Result<Vec<Tensors>, ExecError> {
        inputs.iter().map(|inputs| self.run(inputs)).collect()
    }
    /// What was kept so far of the values that were to be summarised.
    fn summaries(&mut self) -> Result<BTreeMap<String, Summary>, ExecError>;
    /// Runs `runs` times and returns the wall time of each, in nanoseconds. Conversion of inputs and outputs is left out as far
    /// as the executor allows.
    fn time(&mut self, inputs: &Tensors, runs: usize) -> Result<Vec<u64>, ExecError>;
    /// Runs a fixed piece of arithmetic `runs` times where the model runs, and returns the wall time of each in nanoseconds: what
    /// it takes beyond its fastest says how far the machine is slowed at that moment.
    fn calibrate(&mut self, runs: usize) -> Result<Vec<u64>, ExecError> {
        Ok(kernel::time(runs))
    }
    /// What one run allocates once the session has warmed up, threads included; `None` where the program's allocator does not count, or
    /// the executor has an allocator of its own. These runs are not timed.
    fn allocations(&mut self, inputs: &Tensors) -> Result<Option<Allocated>, ExecError> {
        if !allocations::are_counted() {
            return Ok(None);
        }
        self.time(inputs, 1)?;
        let mut of = |runs| {
            let (ran, allocated) = allocations::counted(|| self.time(inputs, runs));
            ran.map(|_| allocated)
        };
        // What is allocated once a call does not count. The times of up to four runs fit into what a vector takes at first.
        let (one, four) = (of(1)?, of(4)?);
        let Allocated { count, bytes } = four - one;
        Ok(Some(Allocated { count: count / 3, bytes: bytes / 3 }))
    }
    /// Most memory that the process of this session has held resident so far, in bytes; `None` where it is shared with other
    /// work (an executor in this process) or not known.
    fn peak_memory(&mut self) -> Option<u64> {
        None
    }
}
