//! The clock of passes: times models in an executor, on one batch of the given samples.

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{DimSpec, Model, Tensors};
use plimsoll_runtime::{ExecError, Executor, LoadOptions};
use plimsoll_transform::LatencyOracle;

/// Runs before anything counts.
const WARM: usize = 5;
/// Blocks of runs; the least of their medians counts, because other work on the machine only ever adds.
const BLOCKS: usize = 7;
/// Runs of a block.
const RUNS: usize = 15;

/// Times models on one sample.
pub struct Stopwatch<'s> {
    executor: &'s dyn Executor,
    data: &'s Dataset,
    threads: usize,
}

impl<'s> Stopwatch<'s> {
    /// In an executor, with so many threads.
    pub fn new(executor: &'s dyn Executor, data: &'s Dataset, threads: usize) -> Self {
        Self { executor, data, threads }
    }

    /// One sample, or as many as the model takes at a time.
    fn inputs(&self, model: &Model) -> Tensors {
        let fixed = model.inputs().iter().find_map(|i| match i.dims.as_ref()?.first()? {
            DimSpec::Fixed(n) => usize::try_from(*n).ok(),
            _ => None,
        });
        self.data.batch(0..fixed.unwrap_or(1).max(1))
    }
}

impl LatencyOracle for Stopwatch<'_> {
    fn milliseconds(&self, model: &Model) -> Result<f64, ExecError> {
        let failed = |reason: String| ExecError::Failed { executor: self.executor.name().to_owned(), reason };
        let bytes = model.to_bytes().map_err(|e| failed(e.to_string()))?;
        let inputs = self.inputs(model);
        let options = LoadOptions { threads: self.threads, ..LoadOptions::for_inputs(&inputs) };
        let mut session = self.executor.load(&bytes, &options)?;
        session.time(&inputs, WARM)?;
        let mut least = f64::INFINITY;
        for _ in 0..BLOCKS {
            let mut times = session.time(&inputs, RUNS)?;
            times.sort_unstable();
            let median = times.get(times.len() / 2).ok_or_else(|| failed("no run was timed".into()))?;
            least = least.min(*median as f64 / 1e6);
        }
        Ok(least)
    }
}
