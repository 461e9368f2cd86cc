//! A model and its baseline in alternation. Blocks of runs go model, baseline, baseline, model (ABBA), so that drift of the machine
//! hits both alike, and each four blocks give one logarithm of the ratio of times. Both are loaded again now and then, in turns: where
//! in memory a copy happens to lie moves its time by some per cent, and must not look like a difference between models. Looking at
//! the interval after every four blocks is accounted for ([`Sequential`]).

use std::time::{Duration, Instant};

use plimsoll_onnx::Tensors;
use plimsoll_runtime::{ExecError, Executor, LoadOptions, Session};
use plimsoll_stats::{Decision, Sequential};

use super::{BenchOptions, steps::Steps};
use crate::MeasureError;

/// The chance that the interval of the ratio ever excludes the truth, on both sides together.
const ALPHA: f64 = 0.02;
/// Both are loaded again so many times within the time budget. Ratios of one load resemble each other, so that few loads would say
/// less than one.
const LOADS: u32 = 32;
/// Loading may take one part in so many of such a stretch; models that take longer to load are loaded once.
const LOADING: u32 = 2;
/// Fours of blocks before the interval is looked at, and at the least.
const FEWEST: usize = 40;
/// Fours of blocks in the time budget that blocks are made short enough for, and how long a block is at the most: long enough to settle,
/// short enough that drift does not enter.
const WANTED: u32 = 160;
const LONGEST: Duration = Duration::from_millis(2);
/// Runs in a block at the most.
const RUNS: u64 = 4096;
/// Runs of a pipeline before anything counts.
const FIRST: usize = 3;
/// Runs of the calibration kernel beside each block.
const KERNELS: usize = 3;

/// A model as it is loaded and fed.
pub(super) struct Subject<'s> {
    pub(super) bytes: &'s [u8],
    pub(super) inputs: Tensors,
    pub(super) options: LoadOptions,
    /// What goes into the first step of a pipeline, and its steps: they are timed instead of the model alone.
    pub(super) pipeline: Option<(&'s Steps, Tensors)>,
}

impl Subject<'_> {
    fn load(&self, executor: &dyn Executor, warmup: usize) -> Result<Box<dyn Session>, ExecError> {
        let mut session = executor.load(self.bytes, &self.options)?;
        session.time(&self.inputs, warmup.max(1))?;
        Ok(session)
    }

    /// Nanoseconds of each run.
    fn time(&self, session: &mut dyn Session, runs: usize) -> Result<Vec<u64>, MeasureError> {
        match &self.pipeline {
            None => Ok(session.time(&self.inputs, runs)?),
            Some((steps, sample)) => (0..runs).map(|_| steps.time(session, sample)).collect(),
        }
    }
}

/// What was timed.
pub(super) struct Timed {
    /// Runs of the model, in nanoseconds.
    pub(super) runs: Vec<u64>,
    /// Of each block, the median of its runs and that of the calibration kernel beside it, in nanoseconds.
    pub(super) blocks: Vec<[u64; 2]>,
    /// Logarithms of the time over the baseline's.
    pub(super) ratios: Sequential,
}

/// Times the model, which is loaded already, and the baseline where there is one, until the ratio is settled or the time is up.
pub(super) fn alternate(
    executor: &dyn Executor,
    session: Box<dyn Session>,
    model: &Subject<'_>,
    baseline: Option<&Subject<'_>>,
    options: &BenchOptions,
) -> Result<Timed, MeasureError> {
    let mut timed = Timed { runs: vec![], blocks: vec![], ratios: Sequential::new(ALPHA) };
    let start = Instant::now();
    let mut session = session;
    // A whole pipeline may take long for each of as many runs as warm a model up.
    let first = if model.pipeline.is_some() { FIRST } else { options.warmup.max(1) };
    let warm = median(&model.time(&mut *session, first)?);
    let mut other = baseline.map(|b| b.load(executor, options.warmup)).transpose()?;
    let block = (options.time_budget / WANTED / 4).min(LONGEST).as_nanos() as u64;
    let size = (block / warm.max(1)).clamp(1, RUNS) as usize;
    let part = options.time_budget / LOADS;
    let mut loaded = Instant::now();
    let mut loading = start.elapsed();
    let mut turn = false;
    loop {
        if timed.is_enough(start.elapsed(), baseline.is_some(), options) {
            return Ok(timed);
        }
        if let Some(baseline) = baseline
            && loaded.elapsed() > part
            && loading * LOADING < part
        {
            let again = Instant::now();
            drop((session, other.take()));
            if turn {
                session = model.load(executor, options.warmup)?;
                other = Some(baseline.load(executor, options.warmup)?);
            } else {
                other = Some(baseline.load(executor, options.warmup)?);
                session = model.load(executor, options.warmup)?;
            }
            (turn, loaded, loading) = (!turn, Instant::now(), again.elapsed());
        }
        let first = timed.block(&mut *session, model, size)?;
        if let (Some(other), Some(baseline)) = (&mut other, baseline) {
            let second = median(&baseline.time(&mut **other, size)?);
            let third = median(&baseline.time(&mut **other, size)?);
            let fourth = timed.block(&mut *session, model, size)?;
            let ln = |ns: u64| (ns.max(1) as f64).ln();
            timed.ratios.push((ln(first) + ln(fourth) - ln(second) - ln(third)) / 2.0);
        }
    }
}

impl Timed {
    /// One block of the model's runs; their median.
    fn block(&mut self, session: &mut dyn Session, model: &Subject<'_>, size: usize) -> Result<u64, MeasureError> {
        let runs = model.time(session, size)?;
        let middle = median(&runs);
        self.blocks.push([middle, median(&session.calibrate(KERNELS)?)]);
        self.runs.extend(runs);
        Ok(middle)
    }

    fn is_enough(&self, spent: Duration, compared: bool, options: &BenchOptions) -> bool {
        if self.runs.is_empty() {
            return false;
        }
        let told = || self.ratios.len() >= FEWEST && self.ratios.interval().is_some();
        let few = self.runs.len() < options.min_runs || compared && !told();
        let settled =
            || options.most_ratio.is_some_and(|most| self.ratios.verdict(most.ln()) != Decision::Inconclusive);
        let enough = !few && (spent >= options.time_budget || settled());
        enough || self.runs.len() >= options.max_runs || spent >= options.time_budget * 4
    }
}

pub(super) fn median(times: &[u64]) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}
