//! The search: every recipe is carried out, counted, and measured as far as it stays in the running.

use plimsoll_dataset::{Dataset, Samples};
use plimsoll_onnx::Model;
use plimsoll_profile::{Objective, Spec};
use plimsoll_record::{RankedCandidate, Ranking, Recipe, Step, Verdict};
use plimsoll_transform::{Context, LatencyOracle, Progress, Ranges};

use crate::{
    Assessed, OptimizeError, Tools,
    budgets::Budgeted,
    clock::Stopwatch,
    recipe,
    recipes::{ORIGINAL, default_recipes},
};

/// What is searched for.
#[derive(Clone, Copy)]
pub struct Task<'t> {
    /// The original.
    pub model: &'t Model,
    /// For ranges of activations.
    pub calibration: Option<&'t Dataset>,
    /// Ranges of inputs, as a contract declares them.
    pub ranges: Option<&'t Ranges>,
    /// What is chosen by; not the test data.
    pub validation: Option<&'t Dataset>,
    /// What candidates are held against.
    pub budgets: Budgeted<'t>,
    /// What is made small.
    pub objective: Objective,
    /// What is tried; the original is always among them.
    pub recipes: &'t [Recipe],
}

/// A candidate and, where its recipe came to its end, its model.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What is known of it.
    pub entry: RankedCandidate,
    /// The model.
    pub model: Option<Model>,
}

/// The recipes of a spec, or the default ones.
pub fn recipes(spec: &Spec, calibrated: bool) -> Vec<Recipe> {
    let Some(named) = &spec.recipes else { return default_recipes(calibrated) };
    let step = |s: &plimsoll_profile::StepSpec| Step {
        pass: s.pass.value.clone(),
        parameters: s.parameters.iter().map(|(k, v)| (k.clone(), v.value.clone())).collect(),
    };
    let recipe = |r: &plimsoll_profile::RecipeSpec| Recipe::new(&r.name.value, r.steps.iter().map(step).collect());
    std::iter::once(Recipe::new(ORIGINAL, vec![])).chain(named.iter().map(recipe)).collect()
}

/// Tries every recipe and ranks what comes of it: what keeps every budget first, the smallest by the objective before others.
/// A candidate that violates a counted budget is not run, one that loses too much accuracy is not timed.
pub fn search(task: &Task<'_>, tools: &Tools<'_>, progress: &dyn Progress) -> Result<Vec<Candidate>, OptimizeError> {
    let mut candidates = Vec::new();
    for recipe in task.recipes {
        progress.start(&format!("recipe {}", recipe.name), 4);
        candidates.push(candidate(task, tools, progress, recipe)?);
        progress.finish();
    }
    // Stable: of equal candidates the simpler recipe, which stands earlier, wins.
    candidates.sort_by(|a, b| {
        key(a, task.objective).partial_cmp(&key(b, task.objective)).unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(candidates)
}

/// The document of a search.
pub fn ranking(candidates: &[Candidate], objective: Objective) -> Ranking {
    Ranking {
        schema: "plimsoll.ranking/1".into(),
        objective: objective.name().into(),
        winner: winner(candidates).map(|c| c.entry.recipe.name.clone()),
        candidates: candidates.iter().map(|c| c.entry.clone()).collect(),
    }
}

/// The first candidate, where it keeps every budget.
pub fn winner(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.first().filter(|c| c.entry.verdict == Verdict::Pass)
}

fn candidate(
    task: &Task<'_>,
    tools: &Tools<'_>,
    progress: &dyn Progress,
    recipe: &Recipe,
) -> Result<Candidate, OptimizeError> {
    let mut entry = RankedCandidate {
        recipe: recipe.clone(),
        model_digest: String::new(),
        passes: vec![],
        figures: vec![],
        verdict: Verdict::Skipped("the recipe was refused".into()),
        refused: None,
    };
    let clock = task.calibration.map(|data| Stopwatch::new(tools.executor, data, 1));
    let context = Context {
        data: task.calibration,
        ranges: task.ranges,
        seed: tools.seed,
        latency: clock.as_ref().map(|c| c as &dyn LatencyOracle),
        ..Context::new(tools.executor)
    };
    let made = match recipe::apply(recipe, task.model, &context) {
        Ok(made) => made,
        Err(error @ recipe::RecipeError::Pipeline(_)) => {
            entry.refused = Some(error.to_string());
            return Ok(Candidate { entry, model: None });
        }
        Err(error) => return Err(error.into()),
    };
    progress.advance(1);
    entry.model_digest = made.model.digest().to_string();
    entry.passes = made.passes;
    let original = recipe.name == ORIGINAL;
    match measure(task, tools, progress, &made.model) {
        Ok((assessed, verdict, refused)) => {
            entry.figures = assessed.figures;
            entry.verdict = verdict;
            entry.refused = refused;
        }
        // A candidate that cannot be run is out; an original that cannot be run is an error.
        Err(error) if original => return Err(error.into()),
        Err(error) => entry.refused = Some(format!("it cannot be measured: {error}")),
    }
    Ok(Candidate { entry, model: Some(made.model) })
}

type Measured = (Assessed, Verdict, Option<String>);

fn measure(
    task: &Task<'_>,
    tools: &Tools<'_>,
    progress: &dyn Progress,
    model: &Model,
) -> Result<Measured, plimsoll_measure::MeasureError> {
    let digest = model.digest().to_string();
    let samples = task.validation.or(task.calibration).map(|d| d as &dyn Samples);
    let mut assessed = Assessed::count(model, Some(task.model), samples)?;
    if let Some(metric) = task.budgets.violated(&digest, &assessed) {
        return Ok((assessed, Verdict::Fail, Some(format!("`{metric}` is over its budget; not run"))));
    }
    progress.advance(1);
    if let Some(data) = task.validation {
        assessed.add_accuracy(tools, model, Some(task.model), data, &task.budgets.endpoints())?;
        if let Some(metric) = task.budgets.violated(&digest, &assessed) {
            return Ok((assessed, Verdict::Fail, Some(format!("`{metric}` is over its budget; not timed"))));
        }
    }
    progress.advance(1);
    assessed.add_latency(tools, model, Some(task.model), samples)?;
    progress.advance(1);
    let verdict = task.budgets.verdict(&digest, &assessed);
    Ok((assessed, verdict, None))
}

/// Smaller is better: verdict, then the objective, then bytes.
fn key(candidate: &Candidate, objective: Objective) -> (u8, f64, f64) {
    let get = |metric: &str| {
        let figure = candidate.entry.figures.iter().find(|f| f.metric == metric);
        figure.map_or(f64::INFINITY, |f| f.value)
    };
    let verdict = match &candidate.entry.verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive => 1,
        Verdict::Fail => 2,
        Verdict::Skipped(_) => 3,
    };
    let first = match objective {
        Objective::ArtifactSize => get("artifact-size"),
        Objective::Latency => get("latency.ratio"),
        Objective::Macs => get("macs"),
    };
    (verdict, first, get("artifact-size"))
}
