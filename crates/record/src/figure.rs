//! Figures: a measured or counted number with everything that is needed to trust it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EndpointShift, Verdict};

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
    /// It lies where nothing of its unit can lie.
    #[error("figure `{metric}` is {value}, but what is in `{unit}` lies in {range}")]
    Range {
        /// The metric.
        metric: String,
        /// The value, or an end of the interval.
        value: f64,
        /// The unit.
        unit: String,
        /// Where it must lie.
        range: &'static str,
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
    /// It lacks what is needed to trust it.
    #[error("figure `{metric}` does not say {what}")]
    Incomplete {
        /// The metric.
        metric: String,
        /// What it leaves out, in words.
        what: &'static str,
    },
}

/// Why bytes are no document of figures.
#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    /// It is no such document at all, is cut short, or holds what JSON has no number for.
    #[error("it is no document of figures: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is a document of another kind or version.
    #[error("its schema is `{found}`, expected `{expected}`")]
    Schema {
        /// What it says.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// One of its figures is none.
    #[error(transparent)]
    Figure(#[from] FigureError),
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// What it is, such as `latency.p50` or `accuracy`.
    pub metric: String,
    /// The value, in `unit`.
    pub value: f64,
    /// `s`, `bytes`, `count`, `ratio`, `share`, `dB`, `1/s`, `J`, a currency such as `USD`, or `target`, the unit of a regression's
    /// targets.
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
    /// Digest of the model that the figure compares with; empty where it compares with none.
    pub baseline_digest: String,
}

impl Figure {
    /// Refuses what is not finite (it would become `null` in JSON and pass for absent), and what cannot be: a negative time or size,
    /// a share outside 0 … 1. What tells how much worse a model is than another may be negative.
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
        let (range, [least, most]) = self.range();
        // Ends of intervals are computed: their last digits decide nothing.
        let outside = |v: &f64| *v < least - 1e-9 || *v > most + 1e-9;
        if let Some(value) = [self.value].into_iter().chain(self.interval.into_iter().flatten()).find(outside) {
            return Err(FigureError::Range { metric: self.metric, value, unit: self.unit, range });
        }
        Ok(self)
    }

    /// Where a figure of its unit can lie, in words and numbers.
    fn range(&self) -> (&'static str, [f64; 2]) {
        let difference =
            self.metric.ends_with("-drop") || self.metric.ends_with("-increase") || self.metric.contains(".shift.");
        match self.unit.as_str() {
            _ if difference => ("all numbers", [f64::NEG_INFINITY, f64::INFINITY]),
            "share" => ("0 … 1", [0.0, 1.0]),
            "s" | "bytes" | "count" | "1/s" | "J" => ("0 … ∞", [0.0, f64::INFINITY]),
            _ => ("all numbers", [f64::NEG_INFINITY, f64::INFINITY]),
        }
    }

    /// Refuses a figure that leaves out what is needed to trust it: how it was made, of what, in what, on what, from how many
    /// observations. Of counted figures (executor `static`) no machine is asked.
    pub fn complete(&self) -> Result<(), FigureError> {
        let ran = self.executor != "static";
        let absent = [
            (self.metric.is_empty(), "what it measures"),
            (self.unit.is_empty(), "its unit"),
            (self.n == 0, "from how many observations it comes"),
            (self.method.is_empty(), "how it was made"),
            (self.executor.is_empty(), "in which executor it was taken"),
            (self.executor_version.is_empty(), "the version of its executor"),
            (ran && self.machine.cpu.is_empty(), "on which machine it was taken"),
            (ran && self.machine.threads == 0, "with how many threads it was taken"),
            (!matches!(self.build.as_str(), "release" | "debug"), "whether it was taken in a release build"),
            (self.model_digest.is_empty(), "of which model it is"),
        ];
        match absent.into_iter().find(|(absent, _)| *absent) {
            Some((_, what)) => Err(FigureError::Incomplete { metric: self.metric.clone(), what }),
            None => Ok(()),
        }
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
    /// What made the machine unfit for absolute times.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether a limit that was given holds; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Endpoints beside the baseline's, with the groups that shift most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointShift>,
}

impl Figures {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.figures/1";

    /// The document of some figures.
    pub fn new(figures: Vec<Figure>, withheld: Vec<String>) -> Self {
        Self { schema: Self::SCHEMA.into(), figures, withheld, warnings: vec![], verdict: None, endpoints: vec![] }
    }

    /// Reads a document from somebody else: every figure must be finite and complete.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FiguresError> {
        #[derive(Deserialize)]
        struct Kind {
            schema: String,
        }
        // Asked first: what another version holds is not for this one to complain of.
        let Kind { schema } = serde_json::from_slice(bytes)?;
        if schema != Self::SCHEMA {
            return Err(FiguresError::Schema { found: schema, expected: Self::SCHEMA });
        }
        let read: Self = serde_json::from_slice(bytes)?;
        for figure in &read.figures {
            figure.clone().checked()?.complete()?;
        }
        Ok(read)
    }

    /// The figure of a metric.
    pub fn get(&self, metric: &str) -> Option<&Figure> {
        self.figures.iter().find(|f| f.metric == metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        Figure {
            metric: "accuracy".into(),
            value: 0.5,
            unit: "share".into(),
            n: 1,
            interval: None,
            method: "share of samples".into(),
            executor: "tract".into(),
            executor_version: "1".into(),
            machine: Machine { cpu: "a CPU".into(), isa: vec![], threads: 1 },
            build: "release".into(),
            model_digest: "model".into(),
            data_digest: "data".into(),
            baseline_digest: String::new(),
        }
    }

    fn check(value: f64, interval: Option<[f64; 2]>) -> Result<Figure, FigureError> {
        Figure { value, interval, ..figure() }.checked()
    }

    /// Reads a document after a change of its text.
    fn read(change: impl Fn(String) -> String) -> Result<Figures, String> {
        let text = serde_json::to_string(&Figures::new(vec![figure()], vec![])).unwrap();
        Figures::from_json(change(text).as_bytes()).map_err(|e| e.to_string())
    }

    /// What a release is rebuilt from, byte for byte. Without `float_roundtrip` serde_json reads some numbers a unit in the last place off.
    #[test]
    fn numbers_that_are_written_and_read_stay_what_they_were() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = 0.5 + (state >> 11) as f64 / (1u64 << 52) as f64;
            let text = serde_json::to_string(&value).unwrap();
            let read: f64 = serde_json::from_str(&text).unwrap();
            assert_eq!(read.to_bits(), value.to_bits(), "{text}");
        }
    }

    #[test]
    fn nan_and_reversed_intervals_are_refused() {
        assert!(check(0.5, Some([0.4, 0.6])).is_ok());
        assert!(check(f64::NAN, None).is_err());
        assert!(check(0.5, Some([0.4, f64::INFINITY])).is_err());
        assert!(check(0.5, Some([0.6, 0.4])).is_err());
    }

    #[test]
    fn negative_times_and_shares_outside_their_range_are_refused() {
        let of = |metric: &str, unit: &str, value: f64, interval| {
            Figure { metric: metric.into(), unit: unit.into(), value, interval, ..figure() }.checked()
        };
        let refused = |found: Result<Figure, FigureError>| matches!(found, Err(FigureError::Range { .. }));
        assert!(refused(of("latency.p50", "s", -1e-3, None)));
        assert!(refused(of("latency.p50", "s", 1e-3, Some([-1e-3, 1e-3]))));
        assert!(refused(of("artifact-size", "bytes", -1.0, None)));
        assert!(refused(of("accuracy", "share", 1.5, None)));
        assert!(refused(of("accuracy", "share", 0.9, Some([0.8, 1.1]))));
        assert!(refused(of("auc", "share", -0.1, None)));
        assert!(of("accuracy", "share", 1.0, Some([0.9, 1.0 + 1e-12])).is_ok());
        assert!(of("accuracy-drop", "share", -0.1, Some([-0.2, 0.1])).is_ok());
        assert!(of("endpoint.sleep.shift.mean", "s", -60.0, None).is_ok());
        assert!(of("kappa", "ratio", -0.2, None).is_ok());
        assert!(of("output-sqnr", "dB", -3.0, None).is_ok());
    }

    #[test]
    fn a_figure_that_leaves_out_where_it_comes_from_is_refused() {
        figure().complete().unwrap();
        type Blank = (&'static str, fn(&mut Figure));
        let blanks: [Blank; 10] = [
            ("what it measures", |f| f.metric.clear()),
            ("its unit", |f| f.unit.clear()),
            ("observations", |f| f.n = 0),
            ("how it was made", |f| f.method.clear()),
            ("which executor", |f| f.executor.clear()),
            ("version", |f| f.executor_version.clear()),
            ("which machine", |f| f.machine.cpu.clear()),
            ("threads", |f| f.machine.threads = 0),
            ("release build", |f| f.build = "fast".into()),
            ("which model", |f| f.model_digest.clear()),
        ];
        for (what, blank) in blanks {
            let mut figure = figure();
            blank(&mut figure);
            let message = figure.complete().unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        }
    }

    #[test]
    fn documents_of_others_are_refused_with_the_reason() {
        assert_eq!(read(|t| t).unwrap().figures, [figure()]);
        let refused = |from: &str, to: &str, says: &str| {
            let message = read(|t| t.replace(from, to)).unwrap_err();
            assert!(message.contains(says), "{message}");
        };
        refused("figures/1", "figures/2", "plimsoll.figures/2");
        // What JSON writers make of NaN and infinity.
        for no_number in ["NaN", "null", "1e999", "\"NaN\""] {
            refused("\"value\":0.5", &format!("\"value\":{no_number}"), "no document of figures");
        }
        refused("\"n\":1", "\"n\":-1", "no document of figures");
        refused("\"n\":1", "\"n\":0", "observations");
        refused("\"baseline_digest\"", "\"base\"", "baseline_digest");
        assert!(read(|t| t[..t.len() / 2].into()).is_err());
    }
}
