//! What `verify` says: each thing that was checked, in order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Verdict;

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifyStep {
    /// What, such as `signature` or `metadata`.
    pub name: String,
    /// `pass`, `fail`, or `skipped` with the reason.
    pub outcome: Verdict,
    /// With which key, how many files, or what did not hold.
    pub detail: String,
}

/// A release or a repository, verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// `plimsoll.verification/1`.
    pub schema: String,
    /// Pass only where no step failed and at least one passed.
    pub verdict: Verdict,
    /// The steps, in the order they were taken.
    pub steps: Vec<VerifyStep>,
}

impl Verification {
    /// The document of some steps.
    pub fn new(steps: Vec<VerifyStep>) -> Self {
        let verdict = Verdict::of_several(steps.iter().map(|s| &s.outcome));
        Self { schema: "plimsoll.verification/1".into(), verdict, steps }
    }

    /// The step that did not hold.
    pub fn failure(&self) -> Option<&VerifyStep> {
        self.steps.iter().find(|s| s.outcome == Verdict::Fail)
    }
}
