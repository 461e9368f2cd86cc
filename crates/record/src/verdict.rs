//! Verdicts and how they combine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a gate says of one budget, or of all of them. In JSON `"pass"`, `"fail"`, `"inconclusive"`, or `{"skipped": "reason"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The figure, interval included, keeps the budget.
    Pass,
    /// The figure, interval included, violates the budget.
    Fail,
    /// The figure does not settle it.
    Inconclusive,
    /// Not asked for here, and why.
    Skipped(String),
}

impl Verdict {
    /// The verdict of several: fail, else inconclusive, else pass; skipped only where all were.
    pub fn of_several<'v>(verdicts: impl IntoIterator<Item = &'v Self>) -> Self {
        let mut overall = Self::Skipped("nothing to judge".into());
        for verdict in verdicts {
            overall = match (overall, verdict) {
                (Self::Fail, _) | (_, Self::Fail) => Self::Fail,
                (Self::Inconclusive, _) | (_, Self::Inconclusive) => Self::Inconclusive,
                (Self::Pass, _) | (_, Self::Pass) => Self::Pass,
                (_, Self::Skipped(reason)) => Self::Skipped(reason.clone()),
            };
        }
        overall
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Skipped(_) => "skipped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{self, *};

    fn check(verdicts: &[Verdict], overall: Verdict) {
        assert_eq!(Verdict::of_several(verdicts), overall);
    }

    #[test]
    fn an_absent_figure_is_never_a_pass() {
        check(&[Pass, Inconclusive], Inconclusive);
        check(&[Pass, Inconclusive, Fail], Fail);
        check(&[Pass, Skipped("no data".into())], Pass);
        check(&[Skipped("no data".into())], Skipped("no data".into()));
        assert!(matches!(Verdict::of_several(&[]), Skipped(_)));
    }
}
