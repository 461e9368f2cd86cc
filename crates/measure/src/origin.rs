//! What all figures of one measurement have in common.

use plimsoll_dataset::Samples;
use plimsoll_onnx::Model;
use plimsoll_record::{Figure, Machine};
use plimsoll_runtime::{Executor, MachineFacts};

use crate::{MeasureError, metrics::compares};

/// This machine, as figures name it.
pub fn machine(threads: usize) -> Machine {
    let facts = MachineFacts::read();
    Machine { cpu: facts.cpu, isa: facts.isa, threads }
}

/// Where the figures come from.
pub(crate) struct Origin {
    blank: Figure,
    /// Digest of the baseline, for the figures that compare with it.
    baseline: String,
}

impl Origin {
    pub(crate) fn new(
        executor: &dyn Executor,
        model: &Model,
        baseline: Option<&Model>,
        data: Option<&dyn Samples>,
        threads: usize,
    ) -> Result<Self, MeasureError> {
        let digest = data.map(|d| d.digest()).transpose()?;
        let blank = Figure {
            metric: String::new(),
            value: 0.0,
            unit: String::new(),
            n: 0,
            interval: None,
            method: String::new(),
            executor: executor.name().into(),
            executor_version: executor.version(),
            machine: machine(threads),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
            model_digest: model.digest().to_string(),
            data_digest: digest.map(|d| d.to_string()).unwrap_or_default(),
            baseline_digest: String::new(),
        };
        Ok(Self { blank, baseline: baseline.map(|b| b.digest().to_string()).unwrap_or_default() })
    }

    /// Whether the model is its own baseline.
    pub(crate) fn is_beside_itself(&self) -> bool {
        self.blank.model_digest == self.baseline
    }

    pub(crate) fn figure(
        &self,
        metric: &str,
        unit: &str,
        n: usize,
        value: f64,
        interval: Option<[f64; 2]>,
        method: impl Into<String>,
    ) -> Result<Figure, MeasureError> {
        let figure = Figure {
            metric: metric.into(),
            value,
            unit: unit.into(),
            n: n as u64,
            interval,
            method: method.into(),
            baseline_digest: if compares(metric) { self.baseline.clone() } else { String::new() },
            ..self.blank.clone()
        };
        Ok(figure.checked()?)
    }
}
