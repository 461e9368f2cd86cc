//! What has changed since a revision, and what a check of everything that changed found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Report, Verdict};

/// What has changed in a spec and in what it names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// The revision, as named.
    pub since: String,
    /// Its commit.
    pub commit: String,
    /// Path of the spec there, where it had another; empty where it had none.
    pub spec_before: String,
    /// Files that are not what they were, by their path in the repository; the spec itself included.
    pub files: Vec<String>,
    /// Counted figures, before and after.
    pub moved: Vec<Moved>,
    /// Nodes whose cost is not what it was, the largest change first.
    pub nodes: Vec<NodeMoved>,
}

/// A figure before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moved {
    /// Metric.
    pub metric: String,
    /// Unit of both values.
    pub unit: String,
    /// At the revision; `null` where there was none.
    pub before: Option<f64>,
    /// Now; `null` where there is none.
    pub after: Option<f64>,
}

/// A node's cost before and after; `null` where the node was not there, or its cost is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeMoved {
    /// Name.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Multiply-accumulates at the revision.
    pub macs_before: Option<u64>,
    /// Multiply-accumulates now.
    pub macs_after: Option<u64>,
    /// Bytes of parameters at the revision.
    pub bytes_before: Option<u64>,
    /// Bytes of parameters now.
    pub bytes_after: Option<u64>,
}

/// Something that could not be checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// What was to be checked.
    pub target: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// The file that is wrong; empty where no file can be named.
    pub file: String,
    /// Line in it, from 1; 0 for the file as a whole.
    pub line: u64,
    /// Column, from 1; 0 for the line or the file as a whole.
    pub column: u64,
}

/// Several models against their budgets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// `plimsoll.check/1`.
    pub schema: String,
    /// The revision since which changes were looked for, as named; absent where every target was to be checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Over all reports; `fail` where something could not be checked.
    pub verdict: Verdict,
    /// Whether what could not be settled only warns.
    pub inconclusive_warns: bool,
    /// One for each model that was checked.
    pub reports: Vec<Report>,
    /// What could not be checked.
    pub faults: Vec<Fault>,
    /// Specs that are as they were, and were not checked.
    pub unchanged: Vec<String>,
    /// Specs that are there no more: nothing holds their models against a budget.
    pub removed: Vec<String>,
}

impl Check {
    /// What was found, as one document.
    pub fn new(since: Option<String>, reports: Vec<Report>, faults: Vec<Fault>, unchanged: Vec<String>) -> Self {
        let verdict = match (faults.is_empty(), since.is_some() && reports.is_empty()) {
            (false, _) => Verdict::Fail,
            (true, true) => Verdict::Skipped("nothing that a spec names has changed".into()),
            (true, false) => Verdict::of_several(reports.iter().map(|r| &r.verdict)),
        };
        let schema = "plimsoll.check/1".into();
        Self { schema, since, verdict, inconclusive_warns: false, reports, faults, unchanged, removed: vec![] }
    }
}
