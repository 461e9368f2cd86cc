//! How long a model takes, alone and against a baseline in the same process.

mod alternation;
mod inputs;
mod moments;
mod steps;
mod throughput;

use std::time::{Duration, Instant};

use plimsoll_dataset::Samples;
use plimsoll_onnx::{Model, Tensors};
use plimsoll_record::{Figure, Verdict};
use plimsoll_runtime::{Allocated, Executor, LoadOptions, Watch};
use plimsoll_stats::{Decision, EarlyStopping, interval};

pub use self::steps::Commands;
use self::{
    alternation::{Subject, Timed, alternate},
    inputs::inputs_for,
    moments::moments,
    steps::Steps,
};
use crate::{MeasureError, origin::Origin, statics::open_dimensions};

/// How to bench.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Samples a run (1 for latency); a fixed batch of the model goes before.
    pub batch: usize,
    /// Batch size for a throughput figure besides; 0 for none.
    pub throughput_batch: usize,
    /// Sessions that run at once for an offline throughput figure, one thread each; 0 for none.
    pub offline_threads: usize,
    /// Runs before anything counts.
    pub warmup: usize,
    /// Runs wanted at least, unless they take more than four times the time budget.
    pub min_runs: usize,
    /// Runs at the most.
    pub max_runs: usize,
    /// Time to spend on the alternation, at the most.
    pub time_budget: Duration,
    /// The most that the time over the baseline's may be, such as 1.05: measuring ends when that is settled.
    pub most_ratio: Option<f64>,
    /// Threads of one run.
    pub threads: usize,
    /// Loads for the cold-start figure; 0 for none.
    pub cold_starts: usize,
    /// Seconds from one inference to the next of a stream, for the real-time factor.
    pub hop: Option<f64>,
    /// Commands around the model, for the time end to end. With one before it, samples are that one's, and the model's inputs what it
    /// makes of them.
    pub commands: Option<Commands>,
    /// For drawn inputs and resampling.
    pub seed: u64,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            batch: 1,
            throughput_batch: 0,
            offline_threads: 0,
            warmup: 20,
            // What the 99th percentile needs.
            min_runs: 700,
            max_runs: 2_000_000,
            time_budget: Duration::from_secs(3),
            most_ratio: None,
            threads: 1,
            // A median of fewer has no interval.
            cold_starts: 7,
            hop: None,
            commands: None,
            seed: 0,
        }
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The figures: `latency.p50`, `.p90`, `.p99`, `.mean`, `.cv`, `latency.normalized`, `latency.ratio` against a baseline, `cold-start`,
    /// `throughput`, `throughput.offline`, `real-time-factor`, `peak-rss`, `allocations`, `allocated-bytes`; with commands `end-to-end.p50`, `.p90`, `.p99`,
    /// `end-to-end.ratio`.
    pub figures: Vec<Figure>,
    /// The baseline's own `peak-rss`, `allocations`, `allocated-bytes` and `cold-start`, taken in turns with the model's; empty without a baseline.
    pub baseline: Vec<Figure>,
    /// Figures that the runs do not carry, each with the reason.
    pub withheld: Vec<String>,
    /// What makes this machine unfit for absolute times.
    pub warnings: Vec<String>,
    /// Whether the ratio is at most what was allowed; `None` where nothing was asked.
    pub verdict: Option<Verdict>,
}

/// The calibration kernel's slowest tenth over its fastest, above which a machine is called unsteady.
const UNSTEADY: f64 = 1.25;

/// Measures a model, in alternation with a baseline where one is given. Inputs are the first samples of the data, or are drawn
/// for the declared shapes and dtypes.
pub fn bench(
    executor: &dyn Executor,
    model: &Model,
    baseline: Option<&Model>,
    data: Option<&dyn Samples>,
    options: &BenchOptions,
) -> Result<Bench, MeasureError> {
    let watch = Watch::start();
    let origin = Origin::new(executor, model, baseline, data, options.threads.max(1))?;
    let mut result = Bench { figures: vec![], baseline: vec![], withheld: vec![], warnings: vec![], verdict: None };
    let bytes = model.to_bytes()?;
    let steps = options.commands.as_ref().map(Steps::start).transpose()?;
    let fed = Fed { data, steps: steps.as_ref(), options };
    let subject = fed.subject(model, &bytes, options.batch)?;
    let batch = batch_of(&subject);

    let mut session = executor.load(&bytes, &subject.options)?;
    session.time(&subject.inputs, 1)?;
    // Taken before the baseline is loaded into the same process.
    match session.peak_memory() {
        Some(peak) => result.figures.push(peak_memory(&origin, peak)?),
        None => result.withheld.push("peak-rss: the model does not run in a process of its own".into()),
    }
    match session.allocations(&subject.inputs)? {
        Some(allocated) => result.figures.extend(allocations(&origin, allocated)?),
        None => result.withheld.push("allocations: the executor's allocator does not count".into()),
    }
    let before = baseline.map(Model::to_bytes).transpose()?;
    let other = match (baseline, &before) {
        (Some(b), Some(bytes)) => Some(fed.subject(b, bytes, options.batch)?),
        _ => None,
    };
    let origin_before = baseline.map(|b| Origin::new(executor, b, None, data, options.threads.max(1))).transpose()?;
    let other_with_origin = other.as_ref().zip(origin_before.as_ref());
    if let Some((other, origin)) = other_with_origin {
        let mut session = executor.load(other.bytes, &other.options)?;
        session.time(&other.inputs, 1)?;
        if let Some(peak) = session.peak_memory() {
            result.baseline.push(peak_memory(origin, peak)?);
        }
        if let Some(allocated) = session.allocations(&other.inputs)? {
            result.baseline.extend(allocations(origin, allocated)?);
        }
    }
    let timed = alternate(executor, session, &subject, other.as_ref(), options)?;
    let how = format!("batch {batch}, warm, {}", source(model, data));
    result.percentiles("latency", &origin, &timed, &how)?;
    result.service(&origin, &timed, &how, options.seed)?;
    result.normalized(&origin, &timed)?;
    result.real_time(&origin, options)?;
    if baseline.is_some() {
        result.ratio("latency", &origin, &timed, options)?;
    }
    if let Some(steps) = &steps {
        let whole = fed.whole(&subject, model)?;
        let before = other.as_ref().zip(baseline).map(|(alone, model)| fed.whole(alone, model)).transpose()?;
        let session = executor.load(&bytes, &subject.options)?;
        let timed = alternate(executor, session, &whole, before.as_ref(), options)?;
        result.percentiles("end-to-end", &origin, &timed, &format!("{}, one after the other; {how}", steps.words()))?;
        if baseline.is_some() {
            result.ratio("end-to-end", &origin, &timed, options)?;
        }
    }
    if options.cold_starts > 0 {
        let mut colds = [vec![], vec![]];
        // In turns, so that both meet the same machine.
        for _ in 0..options.cold_starts {
            colds[0].push(cold_start(executor, &subject)?);
            if let Some(other) = &other {
                colds[1].push(cold_start(executor, other)?);
            }
        }
        let [model, before] = colds;
        result.figures.push(cold_starts(&origin, &subject, model)?);
        if let Some((other, origin)) = other_with_origin {
            result.baseline.push(cold_starts(origin, other, before)?);
        }
    }
    if options.throughput_batch > 0 {
        let subject = fed.subject(model, &bytes, options.throughput_batch)?;
        result.throughput(&origin, executor, &subject, 1, options)?;
    }
    if options.offline_threads > 0 {
        let one = BenchOptions { threads: 1, ..options.clone() };
        let subject = Fed { options: &one, ..fed }.subject(model, &bytes, options.throughput_batch.max(1))?;
        result.throughput(&origin, executor, &subject, options.offline_threads, options)?;
    }
    result.warnings.splice(0..0, watch.warnings());
    Ok(result)
}

/// What models are fed with.
#[derive(Clone, Copy)]
struct Fed<'f> {
    data: Option<&'f dyn Samples>,
    steps: Option<&'f Steps>,
    options: &'f BenchOptions,
}

impl<'f> Fed<'f> {
    /// What goes into the first step.
    fn sample(&self, model: &Model, batch: usize) -> Result<Tensors, MeasureError> {
        let raw = self.steps.is_some_and(Steps::makes_inputs);
        let own = self.steps.filter(|_| raw).and_then(Steps::samples);
        inputs_for(model, own.or(self.data), raw, batch, self.options.seed)
    }

    /// A model alone.
    fn subject<'s>(&self, model: &Model, bytes: &'s [u8], batch: usize) -> Result<Subject<'s>, MeasureError> {
        let sample = self.sample(model, batch)?;
        let inputs = self.steps.map_or(Ok(sample.clone()), |steps| steps.inputs(model, sample))?;
        let load = LoadOptions { threads: self.options.threads.max(1), ..LoadOptions::for_inputs(&inputs) };
        Ok(Subject { bytes, inputs, options: load, pipeline: None })
    }

    /// The same between the commands.
    fn whole<'s>(&self, alone: &Subject<'s>, model: &Model) -> Result<Subject<'s>, MeasureError>
    where
        'f: 's,
    {
        let sample = self.sample(model, self.options.batch)?;
        let (inputs, options) = (alone.inputs.clone(), alone.options.clone());
        Ok(Subject { bytes: alone.bytes, inputs, options, pipeline: self.steps.map(|steps| (steps, sample)) })
    }
}

fn batch_of(subject: &Subject<'_>) -> usize {
    subject.inputs.values().next().and_then(|t| t.shape().first().copied()).unwrap_or(1)
}

/// Where the inputs come from.
fn source(model: &Model, data: Option<&dyn Samples>) -> String {
    let open = open_dimensions(model);
    match data {
        Some(_) => "first samples of the data".to_owned(),
        None if open.is_empty() => "drawn inputs".to_owned(),
        None => format!("drawn inputs, 1 for {}", open.join(", ")),
    }
}

fn peak_memory(origin: &Origin, peak: u64) -> Result<Figure, MeasureError> {
    let method = "most resident memory of a fresh process after loading and one run, the program itself included";
    origin.figure("peak-rss", "bytes", 1, peak as f64, None, method)
}

/// Of one run of a warm session. Counted before anything is timed, and not while it is.
fn allocations(origin: &Origin, allocated: Allocated) -> Result<[Figure; 2], MeasureError> {
    let figure = |metric, unit, value: u64, what| {
        let method =
            format!("{what} in one inference of a warm model, all threads; mean of three runs that are not timed");
        origin.figure(metric, unit, 3, value as f64, None, method)
    };
    Ok([
        figure("allocations", "count", allocated.count, "calls of the allocator")?,
        figure("allocated-bytes", "bytes", allocated.bytes, "bytes asked of the allocator")?,
    ])
}

/// Seconds of loading and the first run.
fn cold_start(executor: &dyn Executor, subject: &Subject<'_>) -> Result<f64, MeasureError> {
    let start = Instant::now();
    executor.load(subject.bytes, &subject.options)?.run(&subject.inputs)?;
    Ok(start.elapsed().as_secs_f64())
}

fn cold_starts(origin: &Origin, subject: &Subject<'_>, seconds: Vec<f64>) -> Result<Figure, MeasureError> {
    let (value, bounds) = interval::quantile(&sorted(seconds.iter().copied()), 0.5);
    let batch = batch_of(subject);
    let method = format!("loading and the first run, batch {batch}, in a running process, file in memory; median");
    origin.figure("cold-start", "s", seconds.len(), value, bounds, method)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

impl Bench {
    /// Percentiles with as many runs as MLPerf's early stopping asks for.
    fn percentiles(&mut self, of: &str, origin: &Origin, timed: &Timed, how: &str) -> Result<(), MeasureError> {
        let seconds = sorted(timed.runs.iter().map(|ns| *ns as f64 * 1e-9));
        let method =
            format!("{how}; interval between order statistics, its upper end also MLPerf's early-stopping bound");
        for (percentile, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            let metric = format!("{of}.{percentile}");
            match (interval::quantile(&seconds, q), EarlyStopping::new(q).estimate(&seconds)) {
                ((value, Some([low, high])), Ok(bound)) => {
                    let bounds = Some([low, high.max(bound)]);
                    self.figures.push(origin.figure(&metric, "s", seconds.len(), value, bounds, method.as_str())?);
                }
                (_, needed) => {
                    let needed = needed.err().map_or(interval::needed(q), |n| interval::needed(q).max(n as usize));
                    self.withheld.push(format!("{metric}: {} runs were made, {needed} are needed", seconds.len()));
                }
            }
        }
        Ok(())
    }

    /// Mean and coefficient of variation, for whatever queues in front of the model.
    fn service(&mut self, origin: &Origin, timed: &Timed, how: &str, seed: u64) -> Result<(), MeasureError> {
        let seconds: Vec<f64> = timed.runs.iter().map(|ns| *ns as f64 * 1e-9).collect();
        let Some(m) = moments(&seconds, seed) else {
            self.withheld.push(format!("latency.mean: {} runs were made, which are too few", seconds.len()));
            return Ok(());
        };
        let (n, method) = (seconds.len(), format!("mean of all runs, {how}; interval from 30 batch means"));
        self.figures.push(origin.figure("latency.mean", "s", n, m.mean, Some(m.mean_interval), method)?);
        let method = "standard deviation of all runs over their mean; interval by resampling 30 batches of runs";
        self.figures.push(origin.figure("latency.cv", "ratio", n, m.variation, Some(m.variation_interval), method)?);
        Ok(())
    }

    /// The median as it would be on a machine that nothing slows.
    fn normalized(&mut self, origin: &Origin, timed: &Timed) -> Result<(), MeasureError> {
        let kernels = sorted(timed.blocks.iter().map(|b| b[1] as f64));
        let fastest = interval::quantile(&kernels, 0.05).0.max(1.0);
        let slowest = interval::quantile(&kernels, 0.9).0;
        if slowest > UNSTEADY * fastest {
            self.warnings.push(format!(
                "a fixed calibration kernel took {:.2} times its fastest one time in ten: other work or a changing clock slows this \
                 machine",
                slowest / fastest
            ));
        }
        let steady = sorted(timed.blocks.iter().map(|[model, kernel]| {
            let slowdown = (*kernel as f64 / fastest).max(1.0);
            *model as f64 * 1e-9 / slowdown
        }));
        if let (value, Some(bounds)) = interval::quantile(&steady, 0.5) {
            let method = "median of blocks of runs, each divided by how much slower than its fastest twentieth a calibration kernel (a \
                          product of fixed matrices) ran beside it";
            self.figures.push(origin.figure("latency.normalized", "s", steady.len(), value, Some(bounds), method)?);
        }
        Ok(())
    }

    fn real_time(&mut self, origin: &Origin, options: &BenchOptions) -> Result<(), MeasureError> {
        if let Some(hop) = options.hop
            && let Some(p99) = self.figures.iter().find(|f| f.metric == "latency.p99").cloned()
        {
            let bounds = p99.interval.map(|b| b.map(|s| s / hop));
            let method = format!("99th percentile of the latency over the hop of {hop} s");
            self.figures.push(origin.figure(
                "real-time-factor",
                "ratio",
                p99.n as usize,
                p99.value / hop,
                bounds,
                method,
            )?);
        }
        Ok(())
    }

    fn ratio(&mut self, of: &str, origin: &Origin, timed: &Timed, options: &BenchOptions) -> Result<(), MeasureError> {
        let (n, ratios) = (timed.ratios.len(), &timed.ratios);
        let found = ratios.median().zip(ratios.interval());
        // The limit is on the model itself.
        if let Some(most) = options.most_ratio.filter(|_| of == "latency") {
            self.verdict = Some(match ratios.verdict(most.ln()) {
                Decision::Pass => Verdict::Pass,
                Decision::Fail => Verdict::Fail,
                Decision::Inconclusive => Verdict::Inconclusive,
            });
        }
        match found {
            Some((value, [low, high])) => {
                let bounds = Some([low.min(value).exp(), high.max(value).exp()]);
                let method = "median of the model's time over the baseline's in alternating blocks (ABBA), loaded again in turns; an \
                              interval of 98 % that holds at every look";
                self.figures.push(origin.figure(&format!("{of}.ratio"), "ratio", n, value.exp(), bounds, method)?);
            }
            None => self.withheld.push(format!("{of}.ratio: {n} fours of blocks were timed, which settle nothing")),
        }
        Ok(())
    }

    fn throughput(
        &mut self,
        origin: &Origin,
        executor: &dyn Executor,
        subject: &Subject<'_>,
        threads: usize,
        options: &BenchOptions,
    ) -> Result<(), MeasureError> {
        let batch = batch_of(subject);
        let rates = throughput::rates(executor, subject, threads, options.time_budget)?;
        let rates: Vec<f64> = rates.into_iter().map(|r| r * batch as f64).collect();
        let (metric, sessions) = match threads {
            1 => ("throughput", "one session".to_owned()),
            n => ("throughput.offline", format!("{n} sessions at once, one thread each")),
        };
        let (value, bounds) = interval::quantile(&rates, 0.5);
        let method = format!("samples a second at batch {batch}, {sessions}; median of parts of the time");
        self.figures.push(origin.figure(metric, "1/s", rates.len(), value, bounds, method)?);
        Ok(())
    }
}
