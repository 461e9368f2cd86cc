//! Accepted baselines: one JSON document a line of `history.jsonl`, the newest last.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Figure, Verdict};

/// A baseline that somebody accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// `plimsoll.accepted/1`.
    pub schema: String,
    /// The day, such as `2026-11-30`, UTC.
    pub day: String,
    /// Why.
    pub reason: String,
    /// Name of the release.
    pub release: String,
    /// The model, as named.
    pub model: String,
    /// Its canonical digest.
    pub model_digest: String,
    /// What the report said before it was accepted.
    pub verdict: Verdict,
    /// The model's figures.
    pub figures: Vec<Figure>,
}

/// An accepted baseline in a report: which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedBy {
    /// The day.
    pub day: String,
    /// Why it was accepted.
    pub reason: String,
    /// Digest of the model that was accepted.
    pub model_digest: String,
}

/// A figure over the baselines that were accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    /// Metric.
    pub metric: String,
    /// Unit of the values.
    pub unit: String,
    /// The oldest first.
    pub points: Vec<TrendPoint>,
}

/// A figure on a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrendPoint {
    /// The day on which it was accepted; empty of the model that is checked.
    pub day: String,
    /// The value.
    pub value: f64,
}

impl Trend {
    /// A figure over the accepted baselines that have it; `None` where none has.
    pub fn of(figure: &Figure, accepted: &[&Accepted]) -> Option<Self> {
        let same = |f: &&Figure| f.metric == figure.metric && f.unit == figure.unit;
        let point = |a: &&Accepted| Some(TrendPoint { day: a.day.clone(), value: a.figures.iter().find(same)?.value });
        let mut points: Vec<TrendPoint> = accepted.iter().filter_map(point).collect();
        (!points.is_empty()).then(|| {
            points.push(TrendPoint { day: String::new(), value: figure.value });
            Self { metric: figure.metric.clone(), unit: figure.unit.clone(), points }
        })
    }
}

impl Accepted {
    /// Reads a history, the oldest first. `Err` names the line that is none, from 1, and why.
    pub fn read(text: &str) -> Result<Vec<Self>, (usize, String)> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let one = |(i, line): (usize, &str)| {
            let read: Self = serde_json::from_str(line).map_err(|e| (i + 1, e.to_string()))?;
            if read.schema != "plimsoll.accepted/1" {
                return Err((i + 1, format!("its schema is `{}`, expected `plimsoll.accepted/1`", read.schema)));
            }
            Ok(read)
        };
        lines.map(one).collect()
    }

    /// What a report says of it.
    pub fn by(&self) -> AcceptedBy {
        AcceptedBy { day: self.day.clone(), reason: self.reason.clone(), model_digest: self.model_digest.clone() }
    }
}
