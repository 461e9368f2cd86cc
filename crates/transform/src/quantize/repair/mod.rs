//! Repair: numbers are chosen again so that the quantized model computes what the original did, label-free.
//!
//! Layers are taken in the order of the graph, those together that do not depend on each other. Each is fitted to the original's
//! pre-activations from its input as it is after everything before it was quantized ("quantized prefix"):
//! - bias correction: the mean error of each channel goes into its bias (Nagel et al., arXiv 1906.04721);
//! - least squares: before rounding, the weights are refitted ([`least_squares`](crate::algebra::least_squares));
//! - GPTQ: codes compensate each other's rounding ([`gptq`]); those of recurrent layers by the original's inputs and states
//!   ([`recurrent`]).
//!
//! In the end the repaired model is held against the unrepaired one on samples that were kept back, and the better one is taken.
//! This module must not know how nodes are written: it is handed a way to make a model of a [`Solution`].

mod fit;
mod gptq;
mod layer;
mod recurrent;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use plimsoll_onnx::{Model, NodeId, View, attr, captured_names, node};
use plimsoll_runtime::{Keep, Kept};
use rayon::prelude::*;

pub(super) use self::gptq::search_scale;
use super::{
    Repair,
    affine::Codebook,
    anchor::Anchor,
    solution::{Site, Solution},
};
use crate::{
    Context, Refusal,
    observe::{Parted, Reading, Resumed, Runs, Seen, Wanted, Wish, inputs, rows_a_run, study},
};

/// One run in so many is held back to judge by.
const HELD_BACK: usize = 5;

/// A model of a solution in which weights are float32, and the value that each anchor reads there.
pub(super) type Twin = (Model, BTreeMap<NodeId, String>);

/// What is to be repaired, and with what.
pub(super) struct Job<'j, 'm> {
    pub(super) context: &'j Context<'j>,
    /// The layers that may be changed.
    pub(super) anchors: &'j BTreeMap<NodeId, Anchor<'m>>,
    pub(super) method: Repair,
    /// Makes the model of a solution.
    pub(super) twin: &'j (dyn Fn(&Solution<'m>) -> Result<Twin, Refusal> + Sync),
    /// The least weight scale under which a bias of the anchor can be stored.
    pub(super) least: &'j (dyn Fn(&Anchor<'m>, &Solution<'m>, f32) -> f32 + Sync),
    /// The codes that a layer may have.
    pub(super) book: &'j (dyn Fn(NodeId) -> Codebook + Sync),
}

/// A layer that can be captured.
struct Layer<'w> {
    reading: Reading,
    groups: usize,
    width: usize,
    channels: usize,
    output: &'w str,
}

impl Layer<'_> {
    fn wanted(&self, id: NodeId, value: String) -> Wanted<'_> {
        Wanted { id, reading: &self.reading, width: self.width, channels: self.channels, value }
    }
}

/// What repair knows of the original.
pub(super) struct Evidence<'j, 'm> {
    layers: BTreeMap<NodeId, Layer<'m>>,
    levels: Vec<Vec<NodeId>>,
    parted: Parted<'j>,
    each: usize,
    seen: Seen<'j>,
    recurrent: recurrent::Weights,
}

/// Runs the original once over at most `samples` samples: for what is to be summarised, and for the repair of the anchors unless
/// there is to be none. What was kept of the values, and the evidence.
pub(super) fn evidence<'j, 'm>(
    model: &'m Model,
    view: &View<'m>,
    context: &'j Context<'j>,
    anchors: &BTreeMap<NodeId, Anchor<'m>>,
    method: Repair,
    samples: usize,
    summarise: BTreeMap<String, Keep>,
) -> Result<(BTreeMap<String, Kept>, Option<Evidence<'j, 'm>>), Refusal> {
    let recurs = method >= Repair::Gptq && recurrent::any(view);
    let method = if anchors.is_empty() && !recurs { Repair::None } else { method };
    if method == Repair::None && summarise.is_empty() {
        return Ok((BTreeMap::new(), None));
    }
    let runs = Runs::of(model, context, samples)?;
    if method == Repair::None {
        let wish = Wish { summarise, ..Wish::default() };
        return Ok((study(model, context, &runs, None, &wish)?.kept, None));
    }
    let (fit, held) = runs.clone().held_back(HELD_BACK);
    let parted = Parted { fit, held };
    let layers = layers(view, anchors);
    let levels = levels(view, &layers);
    let wanted: Vec<Wanted<'_>> = layers.iter().map(|(id, l)| l.wanted(*id, l.output.to_owned())).collect();
    let widest = levels.iter().map(|level| level.iter().filter_map(|id| layers.get(id)).map(|l| l.width).sum()).max();
    let channels: usize = layers.values().map(|l| l.channels).sum();
    let each = rows_a_run(&parted.fit, channels + widest.unwrap_or(0));
    let wish = Wish { summarise, layers: &wanted, each };
    let mut seen = study(model, context, &runs, Some(&parted), &wish)?;
    let kept = std::mem::take(&mut seen.kept);
    let recurrent =
        if recurs { recurrent::observed(model, view, context, &parted.fit)? } else { recurrent::Weights::new() };
    Ok((kept, Some(Evidence { layers, levels, parted, each, seen, recurrent })))
}

/// The better one of a solution and its repaired form, with one line about what came of it.
pub(super) fn repair<'m>(
    job: &Job<'_, 'm>,
    evidence: Option<&Evidence<'_, 'm>>,
    before: Solution<'m>,
) -> Result<(Solution<'m>, String), Refusal> {
    let Some(evidence) = evidence else {
        let why = if job.method == Repair::None { "--repair none" } else { "no layer can be" };
        return Ok((before, format!("not repaired: {why}")));
    };
    let (levels, count) = (&evidence.levels, evidence.layers.len() + evidence.recurrent.len());
    let mut solution = before.clone();
    recurrent::compensate(&evidence.recurrent, &mut solution);
    job.context.progress.start("repair", levels.len() * evidence.parted.fit.len());
    let mut resumed = Resumed::default();
    for level in levels {
        let changed = one_level(job, evidence, level, &solution, &mut resumed)?;
        solution.layers.extend(changed.into_iter().map(|(id, layer)| (Site::anchor(id), layer)));
    }
    job.context.progress.finish();
    let Some(judge) = &evidence.seen.judge else {
        return Ok((solution, format!("{count} layers repaired by {}; no output to judge by", job.method)));
    };
    let (unrepaired, repaired) = (judge.distance(&(job.twin)(&before)?.0)?, judge.distance(&(job.twin)(&solution)?.0)?);
    let held = evidence.parted.held.len();
    let figures = format!("distance from the original on {held} held-back runs {unrepaired:.3e} → {repaired:.3e}");
    if repaired < unrepaired {
        Ok((solution, format!("{count} layers repaired by {}: {figures}", job.method)))
    } else {
        Ok((before, format!("not repaired: {} does not help: {figures}", job.method)))
    }
}

fn one_level<'m>(
    job: &Job<'_, 'm>,
    evidence: &Evidence<'_, 'm>,
    level: &[NodeId],
    solution: &Solution<'m>,
    resumed: &mut Resumed,
) -> Result<Vec<(NodeId, super::solution::Layer)>, Refusal> {
    let (layers, targets) = (&evidence.layers, &evidence.seen.targets);
    let (model, values) = (job.twin)(solution)?;
    let wanted = level.iter().filter_map(|id| Some(layers.get(id)?.wanted(*id, values.get(id)?.clone())));
    let wanted: Vec<Wanted<'_>> = wanted.collect();
    let resumed = resumed.called(values);
    let rows = inputs(Some(resumed), &model, job.context, &evidence.parted.fit, &wanted, targets, evidence.each)?;
    let one = |(id, rows): (&NodeId, &Vec<f32>)| {
        let (anchor, layer, targets) = (job.anchors.get(id)?, layers.get(id)?, targets.get(id)?);
        let before = solution.layers.get(&Site::anchor(*id))?;
        let least = |bias: f32| (job.least)(anchor, solution, bias);
        let limits = fit::Limits { least: &least, book: (job.book)(*id), method: job.method };
        Some((*id, layer::repaired(anchor, before, rows, targets, layer.groups, layer.width, &limits)?))
    };
    Ok(rows.par_iter().filter_map(one).collect())
}

fn layers<'m>(view: &View<'m>, anchors: &BTreeMap<NodeId, Anchor<'m>>) -> BTreeMap<NodeId, Layer<'m>> {
    let mut found = BTreeMap::new();
    for (&id, anchor) in anchors {
        let n = view.node(id);
        let groups = if node::is(n, "Conv") { attr::int(n, "group").unwrap_or(1) } else { 1 };
        let (Some(reading), Some(output)) = (Reading::of(n, &anchor.operands.shape), n.output.first()) else {
            continue;
        };
        let Some(groups) = usize::try_from(groups).ok().filter(|g| *g > 0) else { continue };
        let channels = anchor.operands.channels();
        let width = reading.width(&anchor.operands.shape, channels, groups);
        found.insert(id, Layer { reading, groups, width, channels, output });
    }
    found
}

/// The layers in the order of the graph, those together that do not depend on each other.
fn levels(view: &View<'_>, layers: &BTreeMap<NodeId, Layer<'_>>) -> Vec<Vec<NodeId>> {
    let mut depth: HashMap<&str, usize> = HashMap::new();
    let mut levels: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    for (id, n) in view.nodes() {
        let read = n.input.iter().map(String::as_str).chain(captured_names(n));
        let mut at = read.filter_map(|v| depth.get(v)).max().copied().unwrap_or(0);
        if layers.contains_key(&id) {
            levels.entry(at).or_default().push(id);
            at += 1;
        }
        depth.extend(n.output.iter().map(|o| (o.as_str(), at)));
    }
    levels.into_values().collect()
}
