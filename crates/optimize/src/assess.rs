//! Everything that budgets may ask of one model: counted, measured, against a baseline.

use std::num::NonZero;

use plimsoll_dataset::Samples;
use plimsoll_measure::{
    BenchOptions, Endpoint, EvaluationOptions, MeasureError, bench, evaluate, open_dimensions, static_figures,
};
use plimsoll_onnx::Model;
use plimsoll_profile::{Basis, Metric};
use plimsoll_record::{EndpointShift, Figure, TakenOver};
use plimsoll_runtime::Executor;

/// Samples a run where throughput is budgeted; a fixed batch of the model goes before.
const THROUGHPUT_BATCH: usize = 32;

/// What measuring takes.
#[derive(Clone)]
pub struct Tools<'t> {
    /// Runs the models.
    pub executor: &'t dyn Executor,
    /// Threads over which samples are spread, and that one timed run may use.
    pub threads: usize,
    /// For whatever draws random numbers.
    pub seed: u64,
    /// How long, how often, how many.
    pub bench: BenchOptions,
    /// What budgets ask for: some figures are taken only then.
    pub asked: Vec<Metric>,
}

/// A model's figures.
#[derive(Debug, Clone, Default)]
pub struct Assessed {
    /// Its own, and those that compare it with the baseline.
    pub figures: Vec<Figure>,
    /// Figures from verified evidence, which stand in for a measurement.
    pub taken_over: Vec<TakenOver>,
    /// The baseline's own figures.
    pub baseline: Vec<Figure>,
    /// What could not be said, and why.
    pub withheld: Vec<String>,
    /// Endpoints beside the baseline's; their figures stand among the others.
    pub endpoints: Vec<EndpointShift>,
}

impl Assessed {
    /// The figure of a metric.
    pub fn get(&self, metric: &str) -> Option<&Figure> {
        self.figures.iter().find(|f| f.metric == metric)
    }

    /// Counts a model and its baseline. Nothing is run; data only settle dimensions that a model leaves open.
    pub fn count(model: &Model, baseline: Option<&Model>, data: Option<&dyn Samples>) -> Result<Self, MeasureError> {
        let (figures, withheld) = static_figures(model, data)?;
        let baseline = baseline.map(|b| static_figures(b, data)).transpose()?;
        let baseline = baseline.map(|(figures, _)| figures).unwrap_or_default();
        Ok(Self { figures, baseline, withheld, ..Self::default() })
    }

    /// The same figures as those of a baseline.
    pub fn into_baseline(self) -> Self {
        Self { baseline: self.figures, withheld: self.withheld, ..Self::default() }
    }

    /// Adds accuracy, agreement with the baseline, and the endpoints that are asked for.
    pub fn add_accuracy(
        &mut self,
        tools: &Tools<'_>,
        model: &Model,
        baseline: Option<&Model>,
        data: &dyn Samples,
        endpoints: &[Endpoint],
    ) -> Result<(), MeasureError> {
        let endpoints = endpoints.to_vec();
        let besides = tools.asked.iter().filter(|m| m.basis() == Basis::Data).map(|m| m.figure().to_owned()).collect();
        let options = EvaluationOptions { threads: tools.threads, endpoints, besides, ..EvaluationOptions::default() };
        let found = evaluate(tools.executor, model, baseline, data, &options)?;
        self.figures.extend(found.figures);
        self.withheld.extend(found.withheld);
        self.endpoints.extend(found.endpoints);
        Ok(())
    }

    /// Adds latency and memory. They are withheld where a model leaves dimensions open and no data settle them.
    pub fn add_latency(
        &mut self,
        tools: &Tools<'_>,
        model: &Model,
        baseline: Option<&Model>,
        data: Option<&dyn Samples>,
    ) -> Result<(), MeasureError> {
        let open = if data.is_some() { vec![] } else { open_dimensions(model) };
        if !open.is_empty() {
            self.withheld.push(format!("latency: no samples settle {}, which the model leaves open", open.join(", ")));
            return Ok(());
        }
        let asked = |metric| tools.asked.contains(&metric);
        let mut options = BenchOptions { threads: tools.threads, seed: tools.seed, ..tools.bench.clone() };
        if asked(Metric::Throughput) || asked(Metric::ThroughputOffline) {
            options.throughput_batch = THROUGHPUT_BATCH;
        }
        if asked(Metric::ThroughputOffline) {
            options.offline_threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        }
        if !tools.asked.iter().any(|m| m.is_end_to_end()) {
            options.commands = None;
        }
        let found = bench(tools.executor, model, baseline, data, &options)?;
        self.figures.extend(found.figures);
        self.baseline.extend(found.baseline);
        self.withheld.extend(found.withheld);
        Ok(())
    }
}
