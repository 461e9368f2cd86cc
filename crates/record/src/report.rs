//! Reports: budgets, figures, verdicts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AcceptedBy, Changes, EndpointShift, EvidenceSource, Figure, Forecast, Trend, Verdict};

/// The place that set a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetSource {
    /// The file, as named in the spec or on the command line.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// Byte offset of the limit's text.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// The line that it stands in, so that a report can be shown without the file.
    pub text: String,
}

/// To which side of a limit a figure must stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// At or below it.
    Max,
    /// At or above it.
    Min,
}

/// A limit and what was held against it, as numbers of one unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// To which side of the limit the figure must stay.
    pub side: Side,
    /// The limit.
    pub limit: f64,
    /// The limit with its tolerance; the limit itself where it has none.
    pub tolerated: f64,
    /// The metric's unit, or `increase`: the share of the baseline's figure that it grew by.
    pub unit: String,
    /// What was found; `null` where nothing can be held against the limit.
    pub value: Option<f64>,
    /// 95 % interval of what was found; `null` where it is exact or has none.
    pub interval: Option<[f64; 2]>,
}

/// One budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Name of the profile or spec.
    pub profile: String,
    /// Metric.
    pub metric: String,
    /// The limit in words, such as `max 8 ms` or `max-increase 5 %`.
    pub limit: String,
    /// `error` or `warn`.
    pub level: String,
    /// The figure that was judged; `null` where there is none.
    pub figure: Option<Figure>,
    /// Where the figure comes from, if it was taken over from signed evidence; `null` where this run took it.
    pub evidence: Option<EvidenceSource>,
    /// What the baseline's figure was, for relative limits.
    pub baseline: Option<Figure>,
    /// The figure in words.
    pub found: String,
    /// Limit and figure as numbers; absent of reports that were written before there was such a thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, and what would settle it; empty where the row speaks for itself.
    pub note: String,
    /// Where the limit was set.
    pub source: BudgetSource,
    /// Who lets it be violated, and until when; absent where nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Waived>,
    /// Of a limit as it was before the change under review, which loosens it: what has become of it. Absent of every other row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loosened: Option<Loosened>,
}

impl Row {
    /// The verdict as it counts: what is waived today passes.
    pub fn counts_as(&self) -> Verdict {
        match (&self.verdict, &self.waiver) {
            (Verdict::Fail | Verdict::Inconclusive, Some(waived)) if waived.in_force => Verdict::Pass,
            (verdict, _) => verdict.clone(),
        }
    }

    /// Whether a waiver in force is what lets it pass.
    pub fn is_waived(&self) -> bool {
        self.counts_as() != self.verdict
    }
}

/// What has become of a limit that was stricter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loosened {
    /// In words.
    pub became: String,
    /// Where it is set now; `null` where it is not set any more.
    pub now_at: Option<BudgetSource>,
}

/// A waiver of a budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waived {
    /// The last day on which it holds, such as `2026-11-30`, UTC.
    pub until: String,
    /// Whether it holds on the day of the report.
    pub in_force: bool,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub signed_off_by: String,
    /// Line of the spec that it stands in.
    pub line: u64,
}

/// One model against its budgets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `plimsoll.report/1`.
    pub schema: String,
    /// The model, as named.
    pub model: String,
    /// Its canonical digest.
    pub model_digest: String,
    /// Over all rows of level `error`.
    pub verdict: Verdict,
    /// The rows.
    pub rows: Vec<Row>,
    /// Figures that were withheld, and why.
    pub withheld: Vec<String>,
    /// What users feel of the model, with the groups that shift most; absent where the spec asks for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointShift>,
    /// What has changed since the revision that it is compared with; absent where it is compared with none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// The accepted figures that increases of counted figures are held against; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<AcceptedBy>,
    /// Counted figures over the accepted baselines, this model last; absent where nothing was accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trend: Vec<Trend>,
    /// What else a reader should know, such as waivers that have expired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// How long what runs today will do; absent where nobody asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forecast: Vec<Forecast>,
}
