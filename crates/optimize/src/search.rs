//! The search: which candidates are taken how far. It knows what a laboratory finds, not how; the same findings lead to the same steps.
//!
//! Every scheme is tried once without pruning; then the share of what is pruned is bisected for the scheme that promises most; from the
//! best candidate so far the search goes to its neighbours, until none is left that could be better, or no time. A candidate is
//! counted first, then compared without labels, then evaluated, then timed, and leaves where it is over a budget or can no longer win.

use plimsoll_dataset::{Dataset, Samples};
use plimsoll_onnx::Model;
use plimsoll_profile::{Models, Objective, Profile, Spec};
use plimsoll_record::{Choice, FinalJudgement, Ranking, Recipe, Report, Stage, Step, TrialEnd, Verdict};
use plimsoll_runtime::Executor;
use plimsoll_transform::{Progress, Ranges};

use crate::{
    Assessed, Lab, OptimizeError,
    budgets::Budgeted,
    pool::{Pool, cost},
    space::{ORIGINAL, Point},
    standing::{Held, Standing},
};

/// What is searched for.
#[derive(Clone)]
pub struct Task<'t> {
    /// The original.
    pub model: &'t Model,
    /// For ranges of activations, and for comparing outputs.
    pub calibration: Option<&'t Dataset>,
    /// Ranges of inputs, as a contract declares them.
    pub ranges: Option<&'t Ranges>,
    /// What is chosen by; not the test data.
    pub validation: Option<&'t Dataset>,
    /// What the winner and the runner-up are judged on.
    pub test: Option<&'t dyn Samples>,
    /// What candidates are held against.
    pub budgets: Budgeted<'t>,
    /// Where passes run models to calibrate and repair: any executor that runs the original, the same for the same bytes.
    pub passes: &'t dyn Executor,
    /// Where candidates are timed: each executor that a profile names.
    pub executors: Vec<&'t dyn Executor>,
    /// What is made small.
    pub objective: Objective,
    /// Whether one model serves all profiles.
    pub models: Models,
    /// What is tried; `None` for whatever the search finds. The original is always among the candidates.
    pub recipes: Option<Vec<Recipe>>,
    /// Which part of the work is done here; `None` for all of it.
    pub shard: Option<Shard>,
}

/// One of several machines that share a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Shard {
    fn takes(self, item: usize) -> bool {
        item % self.of == self.index
    }
}

/// The recipes that a spec names.
pub fn recipes(spec: &Spec) -> Option<Vec<Recipe>> {
    let step = |s: &plimsoll_profile::StepSpec| Step {
        pass: s.pass.value.clone(),
        parameters: s.parameters.iter().map(|(k, v)| (k.clone(), v.value.clone())).collect(),
    };
    let recipe = |r: &plimsoll_profile::RecipeSpec| Recipe::new(&r.name.value, r.steps.iter().map(step).collect());
    Some(spec.recipes.as_ref()?.iter().map(recipe).collect())
}

/// Searches, and ranks what was found. `judge` says whether the winner and the runner-up are judged on the test data.
pub fn search(
    task: &Task<'_>,
    lab: &mut dyn Lab,
    progress: &dyn Progress,
    judge: bool,
) -> Result<Ranking, OptimizeError> {
    let more = task.test.zip(task.validation).map(|(test, here)| test.count() as f64 / here.len().max(1) as f64);
    let mut search = Search {
        task,
        lab,
        progress,
        pool: Pool::new(more),
        complete: true,
        lossy_from: f64::INFINITY,
        required: Standing::Kept,
    };
    let original = search.pool.enter(Recipe::new(ORIGINAL, vec![]), None);
    for stage in [Stage::Made, Stage::Evaluated, Stage::Timed] {
        search.take(original, stage)?;
    }
    // What is not shown of the original, which loses nothing, these samples can show of no candidate.
    let best = search.pool.held(original, &task.budgets).map_or(Standing::Likely, |h| h.of_data);
    search.required = best.min(Standing::Likely);
    let groups = search.groups();
    match &task.recipes {
        Some(recipes) => search.try_each(recipes)?,
        None => {
            for (_, profiles) in &groups {
                search.explore(&Budgeted { profiles, ..task.budgets })?;
            }
        }
    }
    for (_, profiles) in &groups {
        search.settle(&Budgeted { profiles, ..task.budgets })?;
    }
    search.finish(&groups, judge)
}

/// How a candidate fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fared {
    /// It may be chosen.
    Fits,
    /// It loses too much.
    TooLossy,
    /// It is over a budget that less of the model would keep.
    TooHeavy,
    /// It may fit, and is no better than what is known already.
    NoBetter,
    /// It could not be made or run.
    Refused,
    /// Time is up.
    OutOfTime,
}

struct Search<'s> {
    task: &'s Task<'s>,
    lab: &'s mut dyn Lab,
    progress: &'s dyn Progress,
    pool: Pool,
    complete: bool,
    /// Damage from which candidates have been seen to lose too much.
    lossy_from: f64,
    /// How sure it must be that a candidate keeps what is taken on data.
    required: Standing,
}

type Group<'g> = (Option<&'g str>, &'g [Profile]);

impl<'s> Search<'s> {
    /// Whom a model is chosen for.
    fn groups(&self) -> Vec<Group<'s>> {
        let profiles = self.task.budgets.profiles;
        match self.task.models {
            Models::OneAProfile if profiles.len() > 1 => {
                profiles.iter().map(|p| (Some(p.name.as_str()), std::slice::from_ref(p))).collect()
            }
            _ => vec![(None, profiles)],
        }
    }

    /// Takes a candidate to a stage, unless it is there; whether it got there.
    fn take(&mut self, at: usize, stage: Stage) -> Result<bool, OptimizeError> {
        if self.pool.known(at).stage >= Some(stage) {
            return Ok(true);
        }
        let recipe = self.pool.candidates[at].0.clone();
        let end = self.lab.examine(&recipe, stage)?;
        let known = &mut self.pool.candidates[at].1;
        match end {
            TrialEnd::Found(found) => {
                known.add(stage, *found);
                known.cost = self.task.budgets.monthly_cost(&known.assessed);
            }
            TrialEnd::Refused(reason) => known.refused = Some(reason),
            TrialEnd::OutOfTime => {
                known.left = Some("there was no time left".into());
                self.complete = false;
            }
        }
        let known = self.pool.known(at);
        Ok(known.refused.is_none() && known.stage >= Some(stage))
    }

    /// The stage at which everything that budgets and the objective ask for is known.
    fn last_stage(&self, budgets: &Budgeted<'_>) -> Stage {
        let asked = budgets.asked();
        let timed = asked.iter().any(|m| {
            matches!(m.basis(), plimsoll_profile::Basis::Machine | plimsoll_profile::Basis::Paired)
                || m.paired_ratio().is_some()
        });
        if timed || self.task.objective.is_timed() { Stage::Timed } else { Stage::Evaluated }
    }

    /// The best candidate so far, where it may be chosen.
    fn best(&self, budgets: &Budgeted<'_>) -> Option<usize> {
        let last = self.last_stage(budgets);
        let best = *self.pool.order(budgets, &self.task.objective, last).first()?;
        let fits = |h: Held| h.standing <= Standing::Likely && h.of_data <= self.required;
        let whole = self.pool.score(best, &self.task.objective, false).is_some();
        (whole && self.pool.held(best, budgets).is_some_and(fits) && self.pool.known(best).stage >= Some(last))
            .then_some(best)
    }

    /// Takes a candidate as far as it deserves. With `to_beat`, one whose objective is no better than that is left.
    fn consider(
        &mut self,
        recipe: Recipe,
        point: Option<Point>,
        budgets: &Budgeted<'_>,
        to_beat: Option<f64>,
    ) -> Result<Fared, OptimizeError> {
        let told = self.told(&recipe, budgets);
        let at = self.pool.enter(recipe, point);
        let last = self.last_stage(budgets);
        self.progress.start(&told, 4);
        let fared = self.advance(at, budgets, to_beat, last);
        self.progress.finish();
        fared
    }

    fn advance(
        &mut self,
        at: usize,
        budgets: &Budgeted<'_>,
        to_beat: Option<f64>,
        last: Stage,
    ) -> Result<Fared, OptimizeError> {
        for stage in [Stage::Made, Stage::Compared, Stage::Evaluated, Stage::Timed] {
            if stage > last || (stage == Stage::Compared && self.task.calibration.is_none()) {
                continue;
            }
            if !self.take(at, stage)? {
                let known = self.pool.known(at);
                return Ok(if known.refused.is_some() { Fared::Refused } else { Fared::OutOfTime });
            }
            self.progress.advance(1);
            let held = self.pool.held(at, budgets);
            let violated = held.as_ref().filter(|h| h.standing == Standing::Violated);
            let worse = violated.and_then(|h| h.misses.first());
            match stage {
                Stage::Made => {
                    if let Some(miss) = worse {
                        self.leave(at, format!("`{}` is over its budget; not run", miss.metric));
                        return Ok(Fared::TooHeavy);
                    }
                }
                Stage::Compared => {
                    let damage = self.pool.known(at).damage.clone();
                    let blind = self.task.validation.is_none();
                    let far = |d: &plimsoll_record::OutputDamage| {
                        // Without labels, what most samples keep has to do.
                        blind && d.agreement.map_or(d.sqnr.is_some_and(|s| s < 20.0), |a| a < 0.95)
                    };
                    if damage.as_ref().is_some_and(|d| cost(d) >= self.lossy_from || far(d)) {
                        self.leave(at, "its outputs are further from the original's than those of what loses too much; not evaluated".into());
                        return Ok(Fared::TooLossy);
                    }
                }
                Stage::Evaluated => {
                    if held.as_ref().is_some_and(|h| h.of_data > self.required) {
                        if violated.is_some() {
                            // Luck on a few samples is no measure: only what is clearly further off is left out by it.
                            self.lossy_from = self.lossy_from.min(1.5 * self.pool.known(at).damage().max(1e-9));
                        }
                        let metric = held.and_then(|h| h.misses.first().map(|m| m.metric.clone()));
                        let why = metric.map_or(
                            "what it loses is within the margin here, and may not be on fresh samples".into(),
                            |m| format!("`{m}` is not kept for certain"),
                        );
                        self.leave(at, format!("{why}; not timed"));
                        return Ok(Fared::TooLossy);
                    }
                }
                _ => {
                    if let Some(h) = held.filter(|h| h.standing >= Standing::Unlikely) {
                        let metric = h.misses.first().map(|m| m.metric.clone()).unwrap_or_default();
                        self.leave(at, format!("`{metric}` is not kept"));
                        return Ok(Fared::TooHeavy);
                    }
                }
            }
            let score = self.pool.score(at, &self.task.objective, true);
            if let (Some(score), Some(bar)) = (score, to_beat)
                && score >= bar
            {
                self.leave(at, "a candidate that fits is better by the objective".into());
                return Ok(Fared::NoBetter);
            }
        }
        Ok(Fared::Fits)
    }

    fn leave(&mut self, at: usize, why: String) {
        self.pool.candidates[at].1.left = Some(why);
    }

    /// What is being tried, what has been found, how long it may take.
    fn told(&self, recipe: &Recipe, budgets: &Budgeted<'_>) -> String {
        let best = self.best(budgets).map(|b| {
            let score = self.pool.score(b, &self.task.objective, false).map_or(0.0, f64::exp);
            format!("; best {} ({:.3} of the original)", self.pool.candidates[b].0.name, score)
        });
        let left = self.lab.left().map(|s| format!("; {:.0} s left", s));
        format!("{}{}{}", recipe.name, best.unwrap_or_default(), left.unwrap_or_default())
    }

    /// Takes every recipe of a list as far as it deserves.
    fn try_each(&mut self, recipes: &[Recipe]) -> Result<(), OptimizeError> {
        let budgets = self.task.budgets;
        for (item, recipe) in recipes.iter().enumerate() {
            let here = self.task.shard.is_none_or(|s| s.takes(item));
            if here && recipe.name != ORIGINAL {
                self.consider(recipe.clone(), None, &budgets, None)?;
            }
        }
        Ok(())
    }

    /// Times the best few, so that the winner's figures are whole and its order holds.
    fn settle(&mut self, budgets: &Budgeted<'_>) -> Result<(), OptimizeError> {
        const SETTLED: usize = 3;
        let order = self.pool.order(budgets, &self.task.objective, self.last_stage(budgets));
        for at in order.into_iter().take(SETTLED) {
            let fits = self.pool.held(at, budgets).is_some_and(|h| h.standing <= Standing::Likely);
            if fits && self.pool.known(at).stage >= Some(Stage::Evaluated) {
                self.progress.start(&format!("timing {}", self.pool.candidates[at].0.name), 1);
                self.take(at, Stage::Timed)?;
                self.progress.finish();
            }
        }
        Ok(())
    }

    fn finish(self, groups: &[Group<'_>], judge: bool) -> Result<Ranking, OptimizeError> {
        let objective = &self.task.objective;
        let mut choices = Vec::new();
        for (profile, profiles) in groups {
            choices.push(self.choose(*profile, &Budgeted { profiles, ..self.task.budgets }));
        }
        let all = &self.task.budgets;
        let order = self.pool.order(all, objective, self.last_stage(all));
        let candidates = self.pool.ranked(&order, all, objective);
        let mut judged: Vec<FinalJudgement> = Vec::new();
        if judge && self.task.test.is_some() {
            for (choice, (_, profiles)) in choices.iter().zip(groups) {
                for name in [&choice.winner, &choice.runner_up].into_iter().flatten() {
                    let Some(candidate) = candidates.iter().find(|c| c.recipe.name == *name) else { continue };
                    self.progress.start(&format!("judging {name} on the test data"), 1);
                    if let TrialEnd::Found(found) = self.lab.examine(&candidate.recipe, Stage::Judged)? {
                        let budgets = Budgeted { profiles, ..self.task.budgets };
                        let (profile, recipe) = (choice.profile.clone(), name.clone());
                        judged.push(FinalJudgement { profile, report: report(&budgets, name, *found), recipe });
                    }
                    self.progress.finish();
                }
            }
        }
        let winner = match choices.as_slice() {
            [one] => one.winner.clone(),
            several => several
                .first()
                .and_then(|f| f.winner.clone())
                .filter(|w| several.iter().all(|c| c.winner.as_ref() == Some(w))),
        };
        Ok(Ranking {
            schema: "plimsoll.ranking/1".into(),
            objective: objective.to_string(),
            winner,
            choices,
            complete: self.complete,
            candidates,
            judged,
        })
    }

    fn choose(&self, profile: Option<&str>, budgets: &Budgeted<'_>) -> Choice {
        let last = self.last_stage(budgets);
        let order = self.pool.order(budgets, &self.task.objective, last);
        let name = |at: usize| self.pool.candidates[at].0.name.clone();
        // A time that could not be taken surely enough says nothing of the objective.
        let fits = |at: usize| {
            self.pool.known(at).stage >= Some(last)
                && self.pool.score(at, &self.task.objective, false).is_some()
                && self.pool.held(at, budgets).is_some_and(|h| h.standing <= Standing::Likely)
        };
        let mut fit = order.iter().copied().filter(|at| fits(*at));
        let (winner, runner_up) = (fit.next(), fit.next());
        let held = |at: usize| self.pool.held(at, budgets);
        let profile = profile.map(str::to_owned);
        if let Some(winner) = winner {
            let verdict = held(winner).map_or(Verdict::Inconclusive, |h| h.verdict);
            return Choice {
                profile,
                winner: Some(name(winner)),
                verdict,
                runner_up: runner_up.map(name),
                nearest: None,
                binding: None,
            };
        }
        let nearest = order.first().copied().filter(|at| held(*at).is_some());
        let held = nearest.and_then(held);
        let verdict = held.as_ref().map_or(Verdict::Fail, |h| h.verdict.clone());
        let binding = held.and_then(|h| h.misses.first().cloned());
        Choice { profile, winner: None, verdict, runner_up: None, nearest: nearest.map(name), binding }
    }
}

fn report(budgets: &Budgeted<'_>, name: &str, found: plimsoll_record::Found) -> Report {
    let plimsoll_record::Found { model_digest, figures, baseline, withheld, endpoints, .. } = found;
    let assessed = Assessed { figures, baseline, withheld, endpoints, ..Assessed::default() };
    budgets.report(name, &model_digest, &assessed)
}

mod explore;
#[cfg(test)]
mod tests;
