//! Where a search goes when no recipes are named: every scheme once, then how much may be pruned, then from neighbour to neighbour.

use plimsoll_record::{NodeSensitivity, Stage, TrialEnd};

use super::{Fared, Search};
use crate::{
    OptimizeError,
    budgets::Budgeted,
    pool::cost,
    space::{Care, NARROW, Point, Prune, Quantize, SHARES, Space},
    standing::Standing,
};

impl Search<'_> {
    fn visit(&mut self, point: &Point, budgets: &Budgeted<'_>, to_beat: Option<f64>) -> Result<Fared, OptimizeError> {
        self.consider(point.recipe(), Some(point.clone()), budgets, to_beat)
    }

    /// Looks for the best candidate that these budgets allow.
    pub(super) fn explore(&mut self, budgets: &Budgeted<'_>) -> Result<(), OptimizeError> {
        let names: Vec<&str> = self.task.executors.iter().map(|e| e.name()).collect();
        let mut space = Space::new(&self.task.objective, &names, self.task.calibration.is_some());
        if let Some(shard) = self.task.shard {
            let mut item = 0;
            space.schemes.retain(|_| {
                item += 1;
                shard.takes(item - 1)
            });
        }
        let mut seeds = Vec::new();
        for seed in space.seeds() {
            if seed.scheme().is_some_and(|s| !space.schemes.contains(&s)) {
                continue;
            }
            let fared = self.visit(&seed, budgets, None)?;
            if fared == Fared::Refused {
                let scheme = seed.scheme().unwrap_or_default();
                let four_bits = NARROW.contains(&scheme);
                space.schemes.retain(|s| *s != scheme && !(four_bits && NARROW.contains(s)));
            } else if matches!(fared, Fared::Fits | Fared::TooHeavy) {
                seeds.push(seed);
            }
        }
        // The scheme that makes most of the objective is bisected first: what it stands, others mostly do.
        let score = |point: &Point| {
            self.pool.place(point).and_then(|at| self.pool.score(at, &self.task.objective, true)).unwrap_or(0.0)
        };
        let mut scored: Vec<(f64, Point)> = seeds.into_iter().map(|p| (score(&p), p)).collect();
        scored.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        for (_, seed) in scored.iter().take(2) {
            self.bisect(&space, seed, budgets)?;
            if self.best(budgets).is_some() {
                break;
            }
        }
        let asked = self.required;
        self.climb(&space, budgets)?;
        if asked < Standing::Likely && self.best(budgets).is_none() {
            // Nothing that is sure to lose little enough keeps the other budgets: what may lose little enough is better than nothing, and
            // the verdict on it says how many samples are missing.
            self.required = Standing::Likely;
            self.resume(budgets)?;
            self.climb(&space, budgets)?;
            self.required = asked;
        }
        Ok(())
    }

    /// Takes candidates further that were left for what the samples do not show of them, and are no longer.
    fn resume(&mut self, budgets: &Budgeted<'_>) -> Result<(), OptimizeError> {
        for at in self.pool.order(budgets, &self.task.objective, Stage::Evaluated) {
            let open = self.pool.held(at, budgets).is_some_and(|h| h.of_data <= self.required);
            let known = self.pool.known(at);
            if let Some(point) = known.point.clone().filter(|_| open && known.stage == Some(Stage::Evaluated)) {
                let bar = self.best(budgets).and_then(|b| self.pool.score(b, &self.task.objective, true));
                self.visit(&point, budgets, bar)?;
            }
        }
        Ok(())
    }

    /// Finds the largest share that may be pruned.
    fn bisect(&mut self, space: &Space, seed: &Point, budgets: &Budgeted<'_>) -> Result<(), OptimizeError> {
        let (mut low, mut high) = (0, SHARES.len());
        // What is pruned by a third at most is the rule.
        let mut at = 3;
        while low < high {
            let prune = Prune { of: space.prune_by[0], permille: SHARES[at], care: Care::Quick };
            match self.visit(&seed.with_prune(Some(prune)), budgets, None)? {
                Fared::Fits | Fared::TooHeavy | Fared::NoBetter => low = at + 1,
                Fared::TooLossy | Fared::Refused => high = at,
                Fared::OutOfTime => return Ok(()),
            }
            at = (low + high) / 2;
        }
        Ok(())
    }

    /// Goes to neighbours of the best candidate until none of them is untried.
    fn climb(&mut self, space: &Space, budgets: &Budgeted<'_>) -> Result<(), OptimizeError> {
        /// So many steps in a row for which there was no time: there will be none for others.
        const LATE: usize = 3;
        let last = self.last_stage(budgets);
        let mut late = 0;
        loop {
            let order = self.pool.order(budgets, &self.task.objective, last);
            let Some(point) = order.iter().find_map(|at| self.pool.known(*at).point.clone()) else { return Ok(()) };
            let bar = self.best(budgets).and_then(|b| self.pool.score(b, &self.task.objective, true));
            let next = space.neighbours(&point).into_iter().find(|n| !self.pool.holds(&n.recipe().name));
            let next = match next {
                Some(next) => Some(next),
                None => self.spared(&point, space, budgets)?,
            };
            let Some(next) = next else { return Ok(()) };
            // The clock is not looked at here: a search that is repeated has none.
            if self.visit(&next, budgets, bar)? == Fared::OutOfTime {
                late += 1;
                if late == LATE {
                    return Ok(());
                }
            } else {
                late = 0;
            }
        }
    }

    /// The neighbour that loses too much by a little, with the most damaging nodes left as they are; `None` where that was tried.
    fn spared(&mut self, point: &Point, space: &Space, budgets: &Budgeted<'_>) -> Result<Option<Point>, OptimizeError> {
        const SPARED: [usize; 2] = [1, 3];
        if point.quantize.as_ref().is_none_or(|q| !q.exclude.is_empty()) || self.task.calibration.is_none() {
            return Ok(None);
        }
        let lossy = |p: &Point| {
            let at = self.pool.place(p)?;
            let held = self.pool.held(at, budgets)?;
            let evaluated = self.pool.known(at).stage == Some(Stage::Evaluated);
            (evaluated && held.of_data > self.required).then_some((held.excess(), at))
        };
        let near = space.neighbours(point);
        let mut near: Vec<(f64, usize)> = near.iter().filter(|n| n.quantize.is_some()).filter_map(lossy).collect();
        near.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let Some(&(_, at)) = near.first() else { return Ok(None) };
        let (recipe, known) = self.pool.candidates[at].clone();
        let Some(whole) = known.point else { return Ok(None) };
        let TrialEnd::Found(found) = self.lab.examine(&recipe, Stage::Dissected)? else { return Ok(None) };
        // By the damage for each byte that it saves to quantize them.
        let mut nodes = found.nodes;
        let price = |n: &NodeSensitivity| cost(&n.damage) / n.bytes_saved.max(1) as f64;
        nodes.sort_by(|a, b| price(b).total_cmp(&price(a)));
        for count in SPARED.into_iter().filter(|c| *c < nodes.len()) {
            let exclude = nodes.iter().take(count).flat_map(|n| n.exclude.clone()).collect();
            let quantize = whole.quantize.clone().map(|q| Quantize { exclude, ..q });
            let next = Point { quantize, ..whole.clone() };
            if !self.pool.holds(&next.recipe().name) {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }
}
