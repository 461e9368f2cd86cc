//! What is refitted to some samples is judged on others: on those that a refit has seen, a model is nearer to the original than on any
//! other. Knows refit and judge, not what is chosen by them.

use std::collections::BTreeSet;

use plimsoll_onnx::Model;

use super::{
    groups::Groups,
    layers::Layer,
    observed::Observed,
    refit::refit,
    removal::{apply, remove},
};
use crate::{
    Context, Refusal,
    observe::{Losses, Reference, Runs},
};

/// Some samples to refit to, and others to judge by.
pub(super) struct Fold<'o, 'm> {
    fit: Observed<'o, 'm>,
    judge: Reference<'o>,
}

impl<'o, 'm> Fold<'o, 'm> {
    /// Refits to some runs and judges on others.
    pub(super) fn of(
        model: &'m Model,
        context: &'o Context<'o>,
        layers: &'o [Layer<'m>],
        [fit, judge]: [Runs<'o>; 2],
    ) -> Result<Self, Refusal> {
        Ok(Self { fit: Observed::of(model, context, layers, fit)?, judge: Reference::on(model, context, judge)? })
    }

    /// What the model without these channels loses on the samples to judge by, refitted to the others.
    pub(super) fn losses(&self, groups: &Groups<'m>, removed: &BTreeSet<usize>) -> Result<Losses, Refusal> {
        let model = self.fit.model;
        let mut pruned = model.clone();
        apply(remove(model, groups, removed)?, &mut pruned)?;
        let (fitted, _) = refit(&self.fit, groups, removed, pruned)?;
        self.judge.losses(&fitted)
    }
}
