//! The end of a search: a time, or somebody who wants it to end. Passes know nothing of it; the executor that they run models in stops
//! answering.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use plimsoll_onnx::Tensors;
use plimsoll_runtime::{Allocated, ExecError, Executor, LoadOptions, Session, Summary};

/// When a search has to end.
#[derive(Debug, Clone, Copy)]
pub struct Deadline<'d> {
    end: Instant,
    stop: &'d AtomicBool,
}

impl<'d> Deadline<'d> {
    /// So long from now, or as soon as `stop` is set.
    pub fn after(time: Duration, stop: &'d AtomicBool) -> Self {
        // Instants end somewhere: a hundred years are as good as more.
        const LONG: Duration = Duration::from_secs(3_155_760_000);
        let now = Instant::now();
        Self { end: now.checked_add(time.min(LONG)).unwrap_or(now), stop }
    }

    /// Seconds that are left; 0 where it has passed.
    pub fn left(&self) -> f64 {
        if self.stop.load(Ordering::Relaxed) {
            return 0.0;
        }
        self.end.saturating_duration_since(Instant::now()).as_secs_f64()
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left() <= 0.0
    }
}

/// An executor that runs nothing any more once a deadline has passed, if it has one, so that a pass which runs models ends soon after it.
pub(crate) struct Until<'u> {
    inner: &'u dyn Executor,
    deadline: Option<Deadline<'u>>,
}

impl<'u> Until<'u> {
    pub(crate) fn new(inner: &'u dyn Executor, deadline: Option<Deadline<'u>>) -> Self {
        Self { inner, deadline }
    }
}

impl Executor for Until<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn version(&self) -> String {
        self.inner.version()
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Session>, ExecError> {
        let Some(deadline) = self.deadline else { return self.inner.load(model, options) };
        if deadline.passed() {
            return Err(over(self.name()));
        }
        let inner = self.inner.load(model, options)?;
        // Sessions outlive borrows: they carry the time, and the flag is looked at when the next model is loaded.
        Ok(Box::new(Ending { inner, end: deadline.end, executor: self.name().to_owned() }))
    }

    fn hold(&self) -> Option<Box<dyn Send>> {
        self.inner.hold()
    }
}

fn over(executor: &str) -> ExecError {
    ExecError::Failed { executor: executor.to_owned(), reason: "the time of the search is over".into() }
}

struct Ending {
    inner: Box<dyn Session>,
    end: Instant,
    executor: String,
}

/// Runs between two looks at the clock.
const FEW: usize = 8;

impl Ending {
    fn check(&self) -> Result<(), ExecError> {
        if Instant::now() >= self.end { Err(over(&self.executor)) } else { Ok(()) }
    }
}

impl Session for Ending {
    fn run(&mut self, inputs: &Tensors) -> Result<Tensors, ExecError> {
        self.check()?;
        self.inner.run(inputs)
    }

    fn run_each(&mut self, inputs: &[Tensors]) -> Result<Vec<Tensors>, ExecError> {
        let mut found = Vec::with_capacity(inputs.len());
        for some in inputs.chunks(FEW) {
            self.check()?;
            found.extend(self.inner.run_each(some)?);
        }
        Ok(found)
    }

    fn summaries(&mut self) -> Result<BTreeMap<String, Summary>, ExecError> {
        self.inner.summaries()
    }

    fn time(&mut self, inputs: &Tensors, runs: usize) -> Result<Vec<u64>, ExecError> {
        self.check()?;
        self.inner.time(inputs, runs)
    }

    fn calibrate(&mut self, runs: usize) -> Result<Vec<u64>, ExecError> {
        self.inner.calibrate(runs)
    }

    fn allocations(&mut self, inputs: &Tensors) -> Result<Option<Allocated>, ExecError> {
        self.inner.allocations(inputs)
    }

    fn peak_memory(&mut self) -> Option<u64> {
        self.inner.peak_memory()
    }
}
