//! The candidates of a search: what is known of each, their order, and the front that none of them beats in everything.

use std::collections::BTreeMap;

use plimsoll_profile::{Aim, Objective};
use plimsoll_record::{Found, OutputDamage, PassRecord, RankedCandidate, Recipe, Stage, Verdict};

use crate::{
    Assessed, Budgeted,
    space::{ORIGINAL, Point},
    standing::{Held, Standing},
};

/// What is known of a candidate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) point: Option<Point>,
    pub(crate) stage: Option<Stage>,
    pub(crate) digest: String,
    pub(crate) passes: Vec<PassRecord>,
    pub(crate) damage: Option<OutputDamage>,
    pub(crate) assessed: Assessed,
    /// What a month costs with it, once it was timed.
    pub(crate) cost: Option<f64>,
    pub(crate) refused: Option<String>,
    /// Why it was left where it is, though nothing speaks against it.
    pub(crate) left: Option<String>,
}

impl Known {
    /// Adds what a stage found.
    pub(crate) fn add(&mut self, stage: Stage, found: Found) {
        self.stage = Some(stage);
        self.digest = found.model_digest;
        self.passes.extend(found.passes);
        self.damage = found.damage.or(self.damage.take());
        self.assessed.figures.extend(found.figures);
        self.assessed.baseline.extend(found.baseline);
        self.assessed.withheld.extend(found.withheld);
        self.assessed.endpoints.extend(found.endpoints);
    }

    /// What damage is ordered by; nothing where the outputs are the original's or were not compared.
    pub(crate) fn damage(&self) -> f64 {
        self.damage.as_ref().map_or(0.0, cost)
    }
}

/// Divergence where there is one, else noise over signal.
pub(crate) fn cost(damage: &OutputDamage) -> f64 {
    damage.divergence.or_else(|| Some(10f64.powf(-damage.sqnr? / 10.0))).unwrap_or(0.0)
}

/// All candidates, in the order in which they were tried.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) candidates: Vec<(Recipe, Known)>,
    by_name: BTreeMap<String, usize>,
    /// How many times as many samples there are to judge the winner on as were evaluated; `None` where it is not judged again.
    more: Option<f64>,
}

impl Pool {
    /// No candidates; the winner will be judged on so many times as many samples.
    pub(crate) fn new(more: Option<f64>) -> Self {
        Self { more, ..Self::default() }
    }

    /// The place of a recipe's candidate, new where it was not tried.
    pub(crate) fn enter(&mut self, recipe: Recipe, point: Option<Point>) -> usize {
        let next = self.candidates.len();
        let at = *self.by_name.entry(recipe.name.clone()).or_insert(next);
        if at == next {
            self.candidates.push((recipe, Known { point, ..Known::default() }));
        }
        at
    }

    pub(crate) fn holds(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The place of a point's candidate.
    pub(crate) fn place(&self, point: &Point) -> Option<usize> {
        self.candidates.iter().position(|(_, k)| k.point.as_ref() == Some(point))
    }

    pub(crate) fn known(&self, at: usize) -> &Known {
        &self.candidates[at].1
    }

    fn figure(&self, at: usize, aim: Aim) -> Option<f64> {
        match aim {
            Aim::Cost => self.known(at).cost,
            _ => self.known(at).assessed.get(aim.metric().figure()).map(|f| f.value),
        }
    }

    /// The candidate of a scheme without pruning.
    fn seed(&self, scheme: Option<&str>) -> Option<usize> {
        let seed = |k: &Known| k.point.as_ref().is_some_and(|p| p.prune.is_none() && p.scheme() == scheme);
        self.candidates.iter().position(|(_, k)| seed(k))
    }

    /// The objective of a candidate, less being better; `None` where a figure is missing. Before it is timed what takes a time is guessed,
    /// where that is asked for: as much less than that of its scheme without pruning as its multiply-accumulates are.
    pub(crate) fn score(&self, at: usize, objective: &Objective, guess: bool) -> Option<f64> {
        let original = self.by_name.get(ORIGINAL).copied()?;
        let mut score = 0.0;
        for &(aim, weight) in &objective.aims {
            let reference = match aim {
                // It is a ratio to the original already.
                Aim::Latency => 1.0,
                _ => self.figure(original, aim)?,
            };
            let value = self.figure(at, aim).or_else(|| self.guessed(at, aim).filter(|_| guess))?;
            score += weight * (value.max(f64::MIN_POSITIVE) / reference.max(f64::MIN_POSITIVE)).ln();
        }
        Some(score)
    }

    fn guessed(&self, at: usize, aim: Aim) -> Option<f64> {
        let seed = self.seed(self.known(at).point.as_ref()?.scheme())?;
        let (macs, of_seed) = (self.figure(at, Aim::Macs)?, self.figure(seed, Aim::Macs)?);
        Some(self.figure(seed, aim).filter(|_| aim.is_timed())? * (macs / of_seed.max(1.0)))
    }

    /// Against budgets, as far as the figures go.
    pub(crate) fn held(&self, at: usize, budgets: &Budgeted<'_>) -> Option<Held> {
        let known = self.known(at);
        (known.refused.is_none() && known.stage.is_some())
            .then(|| Held::of(budgets, &known.digest, &known.assessed, self.more))
    }

    /// The candidates from the best to the worst: who keeps the budgets, then who likely does, then who comes nearest; of these by the
    /// objective, of equal ones the one that was tried first. `least` is the stage that a candidate must have reached to count as likely.
    pub(crate) fn order(&self, budgets: &Budgeted<'_>, objective: &Objective, least: Stage) -> Vec<usize> {
        let key = |at: usize| {
            let held = self.held(at, budgets);
            let known = self.known(at);
            let reached = known.stage >= Some(least);
            let class = match held.as_ref().map(|h| h.standing) {
                Some(Standing::Kept) if reached => 0,
                Some(Standing::Likely | Standing::Kept) if reached => 1,
                Some(Standing::Unlikely) if reached => 2,
                // What was left behind before it got there is better than what was refused.
                Some(Standing::Violated) => 3,
                Some(_) => 4,
                None => 5,
            };
            let excess = held.filter(|_| class == 3).map_or(0.0, |h| h.excess());
            (class, excess, self.score(at, objective, true).unwrap_or(f64::INFINITY))
        };
        let mut order: Vec<(usize, (u8, f64, f64))> = (0..self.candidates.len()).map(|at| (at, key(at))).collect();
        order.sort_by(|(_, a), (_, b)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        order.into_iter().map(|(at, _)| at).collect()
    }

    /// The document's entries, in an order.
    pub(crate) fn ranked(
        &self,
        order: &[usize],
        budgets: &Budgeted<'_>,
        objective: &Objective,
    ) -> Vec<RankedCandidate> {
        let all: Vec<(usize, Option<Held>)> = order.iter().map(|&at| (at, self.held(at, budgets))).collect();
        let in_running = |(at, held): &&(usize, Option<Held>)| {
            held.as_ref().is_some_and(|h| h.standing < Standing::Violated)
                && self.known(*at).stage >= Some(Stage::Evaluated)
        };
        let running: Vec<usize> = all.iter().filter(in_running).map(|(at, _)| *at).collect();
        let front = |at: usize| running.contains(&at) && !running.iter().any(|&o| o != at && self.beats(o, at));
        let entry = |(at, held): &(usize, Option<Held>)| {
            let (at, held) = (*at, held.as_ref());
            let (recipe, known) = &self.candidates[at];
            let skipped = || Verdict::Skipped("the recipe was refused".into());
            RankedCandidate {
                recipe: recipe.clone(),
                model_digest: known.digest.clone(),
                stage: known.stage,
                passes: known.passes.clone(),
                damage: known.damage.clone(),
                figures: known.assessed.figures.clone(),
                score: self.score(at, objective, false),
                front: front(at),
                verdict: held.map_or_else(skipped, |h| h.verdict.clone()),
                misses: held.map(|h| h.misses.clone()).unwrap_or_default(),
                refused: known.refused.clone().or_else(|| known.left.clone()),
            }
        };
        all.iter().map(entry).collect()
    }

    /// Whether one candidate is at least as good as another in everything that is known of both, and better in something.
    fn beats(&self, a: usize, b: usize) -> bool {
        let mut better = self.known(a).damage() < self.known(b).damage();
        let mut worse = self.known(a).damage() > self.known(b).damage();
        for aim in Aim::ALL {
            if let (Some(x), Some(y)) = (self.figure(a, aim), self.figure(b, aim)) {
                better |= x < y;
                worse |= x > y;
            }
        }
        better && !worse
    }
}
