//! Recipes, what came of their passes, and the ranking of candidates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Figure, Verdict};

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
    /// What its passes did.
    pub passes: Vec<PassRecord>,
    /// Figures on the validation set, and static ones.
    pub figures: Vec<Figure>,
    /// Against every profile.
    pub verdict: Verdict,
    /// Why it is not in the running, where it is not.
    pub refused: Option<String>,
}

/// Candidates, best first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ranking {
    /// `plimsoll.ranking/1`.
    pub schema: String,
    /// What the order is by.
    pub objective: String,
    /// Name of the winning recipe; `null` where no candidate keeps every budget.
    pub winner: Option<String>,
    /// The candidates.
    pub candidates: Vec<RankedCandidate>,
}
