//! Figures: a measured or counted number with everything that is needed to trust it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine a figure was taken on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// CPU model, as the operating system names it.
    pub cpu: String,
    /// Instruction-set extensions that matter for inference.
    pub isa: Vec<String>,
    /// Threads that the figure was taken with.
    pub threads: usize,
}

/// Why a number is no figure.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FigureError {
    /// JSON has no NaN and no infinity, and a gate could not judge them.
    #[error("figure `{metric}` is {value}, which is no finite number")]
    NotFinite {
        /// The metric.
        metric: String,
        /// The value.
        value: f64,
    },
    /// The interval is the wrong way round.
    #[error("figure `{metric}` has the interval [{low}, {high}]")]
    Interval {
        /// The metric.
        metric: String,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// What it is, such as `latency.p50` or `accuracy`.
    pub metric: String,
    /// The value, in `unit`.
    pub value: f64,
    /// `s`, `bytes`, `count`, `ratio`, `share`, `dB`, `1/s`.
    pub unit: String,
    /// Number of observations behind it.
    pub n: u64,
    /// 95 % interval, in `unit`; `null` where the figure is exact or has none.
    pub interval: Option<[f64; 2]>,
    /// How it was made.
    pub method: String,
    /// Executor, or `static` where nothing was run.
    pub executor: String,
    /// Version of the executor.
    pub executor_version: String,
    /// The machine.
    pub machine: Machine,
    /// `release` or `debug`.
    pub build: String,
    /// Digest of the model.
    pub model_digest: String,
    /// Digest of the data; empty where none were used.
    pub data_digest: String,
}

impl Figure {
    /// Refuses what is not finite: it would become `null` in JSON and pass for absent.
    pub fn checked(self) -> Result<Self, FigureError> {
        let not_finite = |value| FigureError::NotFinite { metric: self.metric.clone(), value };
        if !self.value.is_finite() {
            return Err(not_finite(self.value));
        }
        if let Some([low, high]) = self.interval {
            if let Some(value) = [low, high].into_iter().find(|v| !v.is_finite()) {
                return Err(not_finite(value));
            }
            if low > high {
                return Err(FigureError::Interval { metric: self.metric, low, high });
            }
        }
        Ok(self)
    }

    /// The interval, or the value itself twice.
    pub fn bounds(&self) -> [f64; 2] {
        self.interval.unwrap_or([self.value, self.value])
    }
}

/// What `evaluate` and `bench` print, and what a release keeps as evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// `plimsoll.figures/1`.
    pub schema: String,
    /// The figures.
    pub figures: Vec<Figure>,
    /// Figures that were asked for and are withheld, each with the reason.
    pub withheld: Vec<String>,
}

impl Figures {
    /// The document of some figures.
    pub fn new(figures: Vec<Figure>, withheld: Vec<String>) -> Self {
        Self { schema: "plimsoll.figures/1".into(), figures, withheld }
    }

    /// The figure of a metric.
    pub fn get(&self, metric: &str) -> Option<&Figure> {
        self.figures.iter().find(|f| f.metric == metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: f64, interval: Option<[f64; 2]>) -> Result<Figure, FigureError> {
        Figure {
            metric: "accuracy".into(),
            value,
            unit: "share".into(),
            n: 1,
            interval,
            method: String::new(),
            executor: String::new(),
            executor_version: String::new(),
            machine: Machine::default(),
            build: "release".into(),
            model_digest: String::new(),
            data_digest: String::new(),
        }
        .checked()
    }

    #[test]
    fn nan_and_reversed_intervals_are_refused() {
        assert!(check(0.5, Some([0.4, 0.6])).is_ok());
        assert!(check(f64::NAN, None).is_err());
        assert!(check(0.5, Some([0.4, f64::INFINITY])).is_err());
        assert!(check(0.5, Some([0.6, 0.4])).is_err());
    }
}
