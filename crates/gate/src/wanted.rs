//! What is left to measure where evidence has been given.

use plimsoll_profile::{Basis, Bound, Budget, Limit, Metric};
use plimsoll_record::Machine;

use crate::{
    Evidence, Subject,
    judge::{Judge, figure_of},
};

/// A figure that a budget asks for, that evidence does not settle, and that a run on this machine may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'w> {
    /// The metric of the figure.
    pub metric: Metric,
    /// What the figure rests on.
    pub basis: Basis,
    /// The executor that it must come from; `None` for any.
    pub executor: Option<&'w str>,
}

/// What is left to measure of a subject's budgets. A figure that evidence has from another kind of machine is asked for again only
/// where `here` is of the right kind.
pub fn wanted<'w>(subject: &Subject<'w>, evidence: &Evidence<'_>, here: &Machine) -> Vec<Wanted<'w>> {
    let each = |budget: &Budget| {
        let of_limit = |limit: &Limit| one(subject, evidence, here, budget.metric, limit.bound);
        budget.limits.iter().filter_map(of_limit).collect::<Vec<_>>()
    };
    subject.budgets.budgets.iter().flat_map(each).collect()
}

fn one<'w>(
    subject: &Subject<'w>,
    evidence: &Evidence<'_>,
    here: &Machine,
    budgeted: Metric,
    bound: Bound,
) -> Option<Wanted<'w>> {
    let (metric, basis) = figure_of(budgeted, bound);
    // What is worked out of a time is settled by whoever measured that.
    let metric = metric.rests_on().unwrap_or(metric);
    if !metric.is_measured() {
        return None;
    }
    let judge = Judge { subject, evidence, metric: budgeted };
    let mut own = evidence
        .taken_over
        .iter()
        .map(|t| &t.figure)
        .filter(|f| f.metric == metric.figure() && f.model_digest == evidence.model_digest)
        .peekable();
    let absent = own.peek().is_none();
    let settled = own.any(|f| judge.obstacle(f, basis).is_none());
    let better_here = basis != Basis::Machine || subject.stranger(here).is_none();
    // An increase is judged beside the baseline's own figure of the same run, which evidence does not hold.
    let beside = matches!(bound, Bound::MaxIncrease(_)) && !metric.is_relative();
    (absent || beside || !settled && better_here).then_some(Wanted { metric, basis, executor: subject.executor })
}
