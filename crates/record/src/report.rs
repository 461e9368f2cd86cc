//! Reports: budgets, figures, verdicts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EndpointShift, EvidenceSource, Figure, Verdict};

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
    /// The verdict.
    pub verdict: Verdict,
    /// Why, and what would settle it; empty where the row speaks for itself.
    pub note: String,
    /// Where the limit was set.
    pub source: BudgetSource,
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
}
