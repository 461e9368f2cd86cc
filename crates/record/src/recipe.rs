//! Recipes, what came of their passes, and the ranking of candidates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Figure, OutputDamage, Report, Stage, Verdict};

/// One pass with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Family: `simplify`, `prune`, `quantize`, `strip-names`.
    pub pass: String,
    /// Parameters as the command line takes them.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub parameters: std::collections::BTreeMap<String, String>,
}

/// An ordered list of passes: data, not code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recipe {
    /// `plimsoll.recipe/1`.
    pub schema: String,
    /// A short name, such as `prune-20+int8`.
    pub name: String,
    /// The passes.
    pub steps: Vec<Step>,
}

impl Recipe {
    /// A recipe of steps.
    pub fn new(name: impl Into<String>, steps: Vec<Step>) -> Self {
        Self { schema: "plimsoll.recipe/1".into(), name: name.into(), steps }
    }
}

/// What one pass did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PassRecord {
    /// The pass.
    pub pass: String,
    /// `applied`, `nothing to do`, or the reason of a refusal.
    pub outcome: String,
    /// One line a change.
    pub reasons: Vec<String>,
    /// Nodes before and after.
    pub nodes: [u64; 2],
    /// Bytes of the encoded model before and after.
    pub bytes: [u64; 2],
}

/// One candidate of the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RankedCandidate {
    /// How it was made.
    pub recipe: Recipe,
    /// Digest of the model; empty where none came of the recipe.
    pub model_digest: String,
    /// How far it was taken; `null` where no model came of the recipe.
    pub stage: Option<Stage>,
    /// What its passes did.
    pub passes: Vec<PassRecord>,
    /// Distance of its outputs from the original's on the calibration samples; `null` where it was not compared.
    pub damage: Option<OutputDamage>,
    /// Figures on the validation set, and static ones.
    pub figures: Vec<Figure>,
    /// The objective: the weighted sum of the logarithms of its figures over the original's; less is better, 0 is the original. `null`
    /// where a figure is missing.
    pub score: Option<f64>,
    /// Whether no other candidate in the running is at least as good in size, multiply-accumulates, time and damage, and better in one.
    pub front: bool,
    /// Against every profile.
    pub verdict: Verdict,
    /// Budgets that it violates, or is not shown to keep, the furthest off first.
    pub misses: Vec<Miss>,
    /// Why it is not in the running, where it is not.
    pub refused: Option<String>,
}

/// A budget that a candidate does not keep for certain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Miss {
    /// Name of the profile or spec.
    pub profile: String,
    /// Metric.
    pub metric: String,
    /// The limit in words.
    pub limit: String,
    /// The figure in words.
    pub found: String,
    /// `fail` or `inconclusive`.
    pub verdict: Verdict,
    /// By which share of the limit the figure exceeds it; negative where it keeps it but is not shown to. `null` where there is no figure.
    pub excess: Option<f64>,
    /// What would settle it; empty where nothing is open.
    pub note: String,
}

/// Which candidate is chosen for all profiles, or for one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    /// The profile; `null` for all of them together.
    pub profile: Option<String>,
    /// Name of the winning recipe; `null` where every candidate violates a budget.
    pub winner: Option<String>,
    /// Whether the winner keeps every budget (`pass`), or is not shown to (`inconclusive`); `fail` where there is none.
    pub verdict: Verdict,
    /// The next in the order, judged on the test data beside the winner.
    pub runner_up: Option<String>,
    /// Where there is no winner: the candidate that comes nearest.
    pub nearest: Option<String>,
    /// Where there is no winner: the budget that stands in its way.
    pub binding: Option<Miss>,
}

/// A candidate on the test data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FinalJudgement {
    /// The profile that it was chosen for; `null` for all of them together.
    pub profile: Option<String>,
    /// Name of its recipe.
    pub recipe: String,
    /// Against the budgets of the spec and of what it was chosen for.
    pub report: Report,
}

/// Candidates, best first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ranking {
    /// `plimsoll.ranking/1`.
    pub schema: String,
    /// What the order is by.
    pub objective: String,
    /// Name of the winning recipe; `null` where every candidate violates a budget, or each profile has a winner of its own.
    pub winner: Option<String>,
    /// The choices: one for all profiles, or one for each.
    pub choices: Vec<Choice>,
    /// Whether the search came to its end; otherwise its time did.
    pub complete: bool,
    /// The candidates.
    pub candidates: Vec<RankedCandidate>,
    /// The winner and the runner-up on the test data, which nothing else has touched and nothing was chosen by; empty where there are
    /// none.
    pub judged: Vec<FinalJudgement>,
}

impl Ranking {
    /// The candidate of a recipe.
    pub fn candidate(&self, recipe: &str) -> Option<&RankedCandidate> {
        self.candidates.iter().find(|c| c.recipe.name == recipe)
    }
}
