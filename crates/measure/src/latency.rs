//! How long a model takes, alone and against a baseline in the same process.
//!
//! Blocks of runs alternate (model, baseline, baseline, model), so that drift of the machine hits both alike; the ratio is
//! taken block by block.

use std::time::{Duration, Instant};

use plimsoll_dataset::{Dataset, draw};
use plimsoll_onnx::{DimSpec, Model, Tensors};
use plimsoll_record::Figure;
use plimsoll_runtime::{Executor, LoadOptions, Session};
use plimsoll_stats::{Random, interval};

use crate::{
    MeasureError,
    origin::Origin,
    scores::{fixed_batch, full_batch},
    statics::open_dimensions,
};

/// How to bench.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Samples a run (1 for latency); a fixed batch of the model goes before.
    pub batch: usize,
    /// Batch size for a throughput figure besides; 0 for none.
    pub throughput_batch: usize,
    /// Runs before anything counts.
    pub warmup: usize,
    /// Runs wanted at least, unless they take more than four times the time budget.
    pub min_runs: usize,
    /// Runs at the most.
    pub max_runs: usize,
    /// Time to spend on the alternation.
    pub time_budget: Duration,
    /// Threads of one run.
    pub threads: usize,
    /// Loads for the cold-start figure; 0 for none.
    pub cold_starts: usize,
    /// For drawn inputs and resampling.
    pub seed: u64,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            batch: 1,
            throughput_batch: 0,
            warmup: 20,
            min_runs: 400,
            max_runs: 20_000,
            time_budget: Duration::from_secs(3),
            threads: 1,
            // A median of fewer has no interval.
            cold_starts: 7,
            seed: 0,
        }
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The figures: `latency.p50`, `.p90`, `.p99`, `latency.ratio` against a baseline, `cold-start`, `throughput`, `peak-rss`.
    pub figures: Vec<Figure>,
    /// Figures that the runs do not carry, each with the reason.
    pub withheld: Vec<String>,
}

/// Measures a model, in alternation with a baseline where one is given. Inputs are the first samples of the data, or are drawn
/// for the declared shapes and dtypes.
pub fn bench(
    executor: &dyn Executor,
    model: &Model,
    baseline: Option<&Model>,
    data: Option<&Dataset>,
    options: &BenchOptions,
) -> Result<Bench, MeasureError> {
    let origin = Origin::new(executor, model, baseline, data, options.threads.max(1));
    let mut result = Bench { figures: vec![], withheld: vec![] };
    let open = open_dimensions(model);
    let source = match data {
        Some(_) => "first samples of the data".to_owned(),
        None if open.is_empty() => "drawn inputs".to_owned(),
        None => format!("drawn inputs, 1 for {}", open.join(", ")),
    };
    let bytes = model.to_bytes()?;
    let inputs = inputs_for(model, data, options.batch, options.seed)?;
    let batch = inputs.values().next().and_then(|t| t.shape().first().copied()).unwrap_or(1);
    let load_options = LoadOptions { threads: options.threads.max(1), ..LoadOptions::for_inputs(&inputs) };

    let mut session = executor.load(&bytes, &load_options)?;
    session.time(&inputs, 1)?;
    // Taken before the baseline is loaded into the same process.
    match session.peak_memory() {
        Some(peak) => {
            let method =
                "most resident memory of a fresh process after loading and one run, the program itself included";
            result.figures.push(origin.figure("peak-rss", "bytes", 1, peak as f64, None, method)?);
        }
        None => result.withheld.push("peak-rss: the model does not run in a process of its own".into()),
    }
    let mut other = match baseline {
        None => None,
        Some(b) => {
            let inputs = inputs_for(b, data, options.batch, options.seed)?;
            let load = LoadOptions { threads: options.threads.max(1), ..LoadOptions::for_inputs(&inputs) };
            Some((executor.load(&b.to_bytes()?, &load)?, inputs))
        }
    };

    let (times, ratios) = alternate(&mut *session, &inputs, other.as_mut(), options)?;
    let mut sorted: Vec<f64> = times.iter().map(|ns| *ns as f64 * 1e-9).collect();
    sorted.sort_by(f64::total_cmp);
    let method = format!("batch {batch}, warm, {source}; interval between order statistics");
    for (metric, q) in [("latency.p50", 0.5), ("latency.p90", 0.9), ("latency.p99", 0.99)] {
        match interval::quantile(&sorted, q) {
            (value, Some(bounds)) => {
                result.figures.push(origin.figure(metric, "s", sorted.len(), value, Some(bounds), method.as_str())?);
            }
            (_, None) => {
                let needed = interval::needed(q);
                result.withheld.push(format!("{metric}: {} runs were made, {needed} are needed", sorted.len()));
            }
        }
    }
    if baseline.is_some() {
        result.ratio(&origin, &ratios, options.seed)?;
    }
    if options.cold_starts > 0 {
        let mut colds = Vec::new();
        for _ in 0..options.cold_starts {
            let start = Instant::now();
            executor.load(&bytes, &load_options)?.run(&inputs)?;
            colds.push(start.elapsed().as_secs_f64());
        }
        colds.sort_by(f64::total_cmp);
        let value = interval::quantile(&colds, 0.5);
        let method = format!("loading and the first run, batch {batch}, in a running process, file in memory; median");
        result.figures.push(origin.figure("cold-start", "s", colds.len(), value.0, value.1, method)?);
    }
    drop(session);
    if options.throughput_batch > 0 {
        result.throughput(&origin, executor, model, data, &bytes, options)?;
    }
    Ok(result)
}

/// Times of the model's runs in nanoseconds, and the logarithm of the ratio to the baseline of each pair of blocks.
fn alternate(
    session: &mut dyn Session,
    inputs: &Tensors,
    mut other: Option<&mut (Box<dyn Session>, Tensors)>,
    options: &BenchOptions,
) -> Result<(Vec<u64>, Vec<f64>), MeasureError> {
    let warm = session.time(inputs, options.warmup.max(1))?;
    if let Some((session, inputs)) = &mut other {
        session.time(inputs, options.warmup.max(1))?;
    }
    // A block of about two milliseconds: long enough to settle, short enough that drift does not enter.
    let block = (2_000_000 / median(&warm).max(1)).clamp(1, 64) as usize;
    let start = Instant::now();
    let (mut times, mut ratios) = (Vec::new(), Vec::new());
    loop {
        let spent = start.elapsed();
        let enough = times.len() >= options.min_runs && spent >= options.time_budget;
        if !times.is_empty() && (enough || times.len() >= options.max_runs || spent >= options.time_budget * 4) {
            return Ok((times, ratios));
        }
        let first = session.time(inputs, block)?;
        if let Some((baseline, its)) = &mut other {
            let second = baseline.time(its, block)?;
            let third = baseline.time(its, block)?;
            ratios.push((median(&first).max(1) as f64 / median(&second).max(1) as f64).ln());
            let fourth = session.time(inputs, block)?;
            ratios.push((median(&fourth).max(1) as f64 / median(&third).max(1) as f64).ln());
            times.extend(fourth);
        }
        times.extend(first);
    }
}

fn median(times: &[u64]) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

impl Bench {
    fn ratio(&mut self, origin: &Origin, logs: &[f64], seed: u64) -> Result<(), MeasureError> {
        let middle = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            interval::quantile(values, 0.5).0
        };
        let value = middle(&mut logs.to_vec());
        let bounds = interval::bootstrap(logs.len(), 2000, seed, |drawn| {
            Some(middle(&mut drawn.iter().map(|&i| logs[i]).collect()))
        });
        match bounds {
            Some([low, high]) => {
                let bounds = [low.min(value).exp(), high.max(value).exp()];
                let method =
                    "median of the model's time over the baseline's in alternating blocks (ABBA); percentile bootstrap";
                self.figures.push(origin.figure(
                    "latency.ratio",
                    "ratio",
                    logs.len(),
                    value.exp(),
                    Some(bounds),
                    method,
                )?);
            }
            None => {
                self.withheld.push(format!("latency.ratio: {} pairs of blocks were timed, 6 are needed", logs.len()))
            }
        }
        Ok(())
    }

    fn throughput(
        &mut self,
        origin: &Origin,
        executor: &dyn Executor,
        model: &Model,
        data: Option<&Dataset>,
        bytes: &[u8],
        options: &BenchOptions,
    ) -> Result<(), MeasureError> {
        let inputs = inputs_for(model, data, options.throughput_batch, options.seed)?;
        let batch = inputs.values().next().and_then(|t| t.shape().first().copied()).unwrap_or(1);
        let load = LoadOptions { threads: options.threads.max(1), ..LoadOptions::for_inputs(&inputs) };
        let mut session = executor.load(bytes, &load)?;
        let narrow = BenchOptions { warmup: 3, min_runs: 20, max_runs: 400, ..options.clone() };
        let (times, _) = alternate(&mut *session, &inputs, None, &narrow)?;
        let mut rates: Vec<f64> = times.iter().map(|ns| batch as f64 / ((*ns).max(1) as f64 * 1e-9)).collect();
        rates.sort_by(f64::total_cmp);
        let (value, bounds) = interval::quantile(&rates, 0.5);
        let method = format!("samples a second at batch {batch}; median of the runs");
        self.figures.push(origin.figure("throughput", "1/s", rates.len(), value, bounds, method)?);
        Ok(())
    }
}

/// Inputs of one run.
fn inputs_for(model: &Model, data: Option<&Dataset>, batch: usize, seed: u64) -> Result<Tensors, MeasureError> {
    if let Some(data) = data {
        data.check_against(&model.inputs())?;
        return full_batch(data, 0, fixed_batch(model)?.unwrap_or(batch.max(1)));
    }
    // A state whose first axis counts layers has another first dimension than the samples have.
    let batch = fixed_batch(model).ok().flatten().unwrap_or(batch.max(1));
    let mut random = Random::new(seed);
    let mut inputs = Tensors::new();
    for spec in model.inputs() {
        let unknown = |what: &str| MeasureError::Model(format!("input `{}` has no declared {what}", spec.name));
        let dims = spec.dims.as_ref().ok_or_else(|| unknown("rank"))?;
        let no_numbers = || MeasureError::Model(format!("input `{}` is no tensor of numbers", spec.name));
        let dtype = spec.dtype.ok_or_else(no_numbers)?;
        let dim = |(axis, d): (usize, &DimSpec)| match d {
            DimSpec::Fixed(n) => *n as usize,
            _ if axis == 0 => batch,
            _ => 1,
        };
        let shape: Vec<usize> = dims.iter().enumerate().map(dim).collect();
        // Whole numbers in {0, 1} are valid as indices of whatever has two rows.
        let range = if dtype.is_float() { [-1.0, 1.0] } else { [0.0, 1.0] };
        let tensor = draw(&mut random, dtype, &shape, range);
        let tensor = tensor.map_err(|why| MeasureError::Model(format!("input `{}`: {why}", spec.name)))?;
        inputs.insert(spec.name.clone(), tensor);
    }
    Ok(inputs)
}
