//! Endpoint metrics: what users feel of a record, of a model and of its baseline, group by group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far an endpoint of a model shifts against its baseline's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointShift {
    /// Name of the endpoint.
    pub name: String,
    /// What it is, in words.
    pub what: String,
    /// Number of groups.
    pub groups: u64,
    /// The groups that shift most, the farthest first; of several the one that comes first in the data.
    pub worst: Vec<GroupShift>,
    /// Groups in which it never comes in the model's predictions, in the order of the data; there it counts as the length of
    /// the whole record.
    pub never_in_model: Vec<i64>,
    /// The same in the baseline's predictions.
    pub never_in_baseline: Vec<i64>,
    /// Limits on the mean and the percentile, and how many groups would settle each.
    pub needed: Vec<NeededGroups>,
}

/// An endpoint of one group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupShift {
    /// The group's name in the data.
    pub group: i64,
    /// Seconds, by the model.
    pub model: f64,
    /// Seconds, by its baseline.
    pub baseline: f64,
}

impl GroupShift {
    /// Seconds that the model's value is above the baseline's; negative where it is below.
    pub fn shift(&self) -> f64 {
        self.model - self.baseline
    }
}

/// How many groups would settle a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NeededGroups {
    /// Metric of the figure.
    pub metric: String,
    /// The limit, in seconds.
    pub limit: f64,
    /// Groups with which an interval lies on one side of the limit in about four of five cases, if shifts are as observed; `null`
    /// where no number would do.
    pub groups: Option<u64>,
}
