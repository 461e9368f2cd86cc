//! Removing whole channels: weights, biases and normalisation parameters are cut, shapes follow, inputs and outputs stay.

use std::collections::BTreeSet;

use plimsoll_cost::{Cost, analyse};
use plimsoll_onnx::{
    DimSpec, Model, Patch, ValueSpec, node,
    shape::{Bindings, infer},
};

use super::{
    Share,
    groups::{Group, Groups},
    magnitude,
    removal::{apply, remove, sweep},
};
use crate::{Context, Effect, Pass, Refusal};

/// How far beyond the target is still what was asked for, as a share of the whole.
const TOLERANCE: f64 = 0.02;
/// How many sets of channels are tried to come within the tolerance.
const TRIES: usize = 512;

/// What is to be removed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// A share of the multiply-accumulates.
    Macs(Share),
    /// A share of the parameters.
    Params(Share),
}

impl Target {
    fn share(self) -> f64 {
        match self {
            Self::Macs(s) | Self::Params(s) => s.fraction(),
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Macs(_) => "multiply-accumulates",
            Self::Params(_) => "parameters",
        }
    }

    fn of(self, cost: &Cost) -> u64 {
        match self {
            Self::Macs(_) => cost.macs,
            Self::Params(_) => cost.params,
        }
    }
}

/// How the removal is spread over the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Allocation {
    /// The lowest scores of the whole model.
    #[default]
    Global,
    /// The same share of every group.
    Uniform,
}

/// What to remove, and how to choose it.
#[derive(Debug, Clone, PartialEq)]
pub struct PruneOptions {
    /// What is to be removed.
    pub target: Target,
    /// How the removal is spread over the layers.
    pub allocation: Allocation,
    /// Every layer keeps at least so many channels.
    pub least_channels: usize,
    /// Nodes that keep their channels: names of nodes, or of values that they compute.
    pub exclude: Vec<String>,
}

impl PruneOptions {
    /// A target with the defaults: global allocation, at least two channels a layer, nothing excluded.
    pub fn new(target: Target) -> Self {
        Self { target, allocation: Allocation::default(), least_channels: 2, exclude: Vec::new() }
    }
}

/// The pass.
#[derive(Debug, Clone)]
pub struct Structured {
    options: PruneOptions,
}

impl Structured {
    /// With these options.
    pub fn new(options: PruneOptions) -> Self {
        Self { options }
    }
}

impl Pass for Structured {
    fn name(&self) -> &'static str {
        "prune-channels"
    }

    fn effect(&self) -> Effect {
        Effect::Lossy("whole channels are removed")
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        let options = &self.options;
        let known = |e: &&String| {
            let mut nodes = model.graph().node.iter();
            nodes.any(|n| **e == n.name || n.output.contains(e) || **e == node::label(n))
        };
        if let Some(e) = options.exclude.iter().find(|e| !known(e)) {
            return Err(Refusal::CheckFailed(format!("`{e}` is to be excluded, but no node has this name")));
        }
        let groups = Groups::of(model, &options.exclude);
        if groups.groups.is_empty() {
            return Err(match groups.refused.first() {
                None => Refusal::NoMatch,
                Some((layer, reason)) => Refusal::Node {
                    node: layer.clone(),
                    reason: format!("no layer has channels that can be removed; of this one, {reason}"),
                },
            });
        }
        let scores = magnitude::scores(&model.view(), &groups)?;
        let order = magnitude::order(&groups, &scores, options.allocation, options.least_channels);
        let removed = choose(model, &groups, &order, options.target, context)?;
        let mut patch = sweep(model, remove(model, &groups, &removed.channels)?)?;
        let percent = |share: f64| (share * 1e4).round() / 100.0;
        let what = options.target.what();
        let (count, share) = (removed.channels.len(), percent(removed.share));
        patch.because(format!("{count} channels removed, {share} % of the {what}"));
        if matches!(options.target, Target::Macs(_)) && assumes_sizes(model, context) {
            patch.because(
                "open dimensions of the inputs are counted as 1: layers weigh otherwise at real sizes, which samples (--data) would \
                 tell",
            );
        }
        if removed.share > options.target.share() + TOLERANCE {
            patch.because(format!(
                "no set of whole channels comes nearer to {} % of the {what}",
                percent(options.target.share())
            ));
        }
        for group in &groups.groups {
            let gone = group.channels.iter().filter(|c| removed.channels.contains(c)).count();
            patch.because(format!(
                "`{}`: {gone} of {} channels removed",
                group.layers.join("`, `"),
                group.channels.len()
            ));
        }
        for (layer, reason) in &groups.refused {
            patch.because(format!("`{layer}` keeps channels: {reason}"));
        }
        Ok(patch)
    }
}

struct Chosen {
    channels: BTreeSet<usize>,
    share: f64,
}

/// Bisects for the shortest prefix of the order that reaches the target.
fn choose(
    model: &Model,
    groups: &Groups<'_>,
    order: &[usize],
    target: Target,
    context: &Context<'_>,
) -> Result<Chosen, Refusal> {
    let sizes = sizes(model, context);
    let whole = target.of(&cost(model, &sizes));
    if whole == 0 {
        return Err(Refusal::CheckFailed(format!("the model's {} are not known", target.what())));
    }
    let share = |channels: &BTreeSet<usize>| -> Result<f64, Refusal> {
        context.progress.advance(1);
        let mut changed = model.clone();
        apply(remove(model, groups, channels)?, &mut changed)?;
        Ok(1.0 - target.of(&cost(&changed, &sizes)) as f64 / whole as f64)
    };
    let prefix = |k: usize| -> BTreeSet<usize> { order[..k].iter().copied().collect() };
    context.progress.start("choose channels", order.len().max(2).ilog2() as usize + 2);
    let most = share(&prefix(order.len()))?;
    let wanted = target.share();
    if most < wanted {
        context.progress.finish();
        let reason = format!(
            "at most {:.1} % of the {} can be removed, {:.1} % were asked for{}",
            most * 100.0,
            target.what(),
            wanted * 100.0,
            groups.refused.first().map(|(l, r)| format!("; of `{l}`, {r}")).unwrap_or_default(),
        );
        return Err(Refusal::CheckFailed(reason));
    }
    let (mut low, mut high) = (0, order.len());
    let mut best = most;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let found = share(&prefix(middle))?;
        if found >= wanted {
            (high, best) = (middle, found);
        } else {
            low = middle;
        }
    }
    let mut chosen = Chosen { channels: prefix(high), share: best };
    if best > wanted + TOLERANCE {
        chosen = nearest(groups, order, chosen, wanted, &share)?;
    }
    context.progress.finish();
    Ok(chosen)
}

/// Where whole channels are large, the shortest prefix overshoots. Other numbers of channels of the groups (each group's go in
/// their order) are tried then, the nearest first, until one is within the tolerance.
fn nearest(
    groups: &Groups<'_>,
    order: &[usize],
    start: Chosen,
    wanted: f64,
    share: &impl Fn(&BTreeSet<usize>) -> Result<f64, Refusal>,
) -> Result<Chosen, Refusal> {
    let of = |group: &Group| -> Vec<usize> { order.iter().copied().filter(|c| group.channels.contains(c)).collect() };
    let lists: Vec<Vec<usize>> = groups.groups.iter().map(of).filter(|l| !l.is_empty()).collect();
    let counts: Vec<usize> =
        lists.iter().map(|l| l.iter().take_while(|c| start.channels.contains(c)).count()).collect();
    let outside = |share: f64| (wanted - share).max(share - wanted - TOLERANCE).max(0.0);
    let mut seen = BTreeSet::from([counts.clone()]);
    let mut open = vec![(outside(start.share), counts)];
    let mut best = start;
    let mut tries = TRIES;
    while let Some(at) = (0..open.len()).min_by(|&a, &b| open[a].0.total_cmp(&open[b].0)) {
        let (_, counts) = open.swap_remove(at);
        for (more, less) in moves(counts.len()) {
            let mut next = counts.clone();
            let fits = more.is_none_or(|g| next[g] < lists[g].len()) && less.is_none_or(|g| next[g] > 0);
            if !fits {
                continue;
            }
            more.into_iter().for_each(|g| next[g] += 1);
            less.into_iter().for_each(|g| next[g] -= 1);
            if !seen.insert(next.clone()) {
                continue;
            }
            let channels = lists.iter().zip(&next).flat_map(|(l, &n)| &l[..n]).copied().collect();
            let found = share(&channels)?;
            if found >= wanted && found < best.share {
                best = Chosen { channels, share: found };
            }
            tries -= 1;
            if best.share <= wanted + TOLERANCE || tries == 0 {
                return Ok(best);
            }
            open.push((outside(found), next));
        }
    }
    Ok(best)
}

/// One channel more of a group, one less of another, or both.
fn moves(groups: usize) -> impl Iterator<Item = (Option<usize>, Option<usize>)> {
    let one = move || std::iter::once(None).chain((0..groups).map(Some));
    one().flat_map(move |more| one().map(move |less| (more, less))).filter(|(more, less)| more != less)
}

fn cost(model: &Model, sizes: &Bindings) -> Cost {
    analyse(model, &infer(model, sizes))
}

/// One sample, of the sizes that the given ones have; without these, open dimensions are 1.
fn sizes(model: &Model, context: &Context<'_>) -> Bindings {
    let shapes = context.data.and_then(|d| d.one_sample(&model.inputs()));
    shapes.map_or_else(|| Bindings::batch(1), Bindings::shapes)
}

/// Whether a count of operations rests on sizes that nobody gave.
fn assumes_sizes(model: &Model, context: &Context<'_>) -> bool {
    let open =
        |s: &ValueSpec| s.dims.as_ref().is_none_or(|d| d.iter().skip(1).any(|d| !matches!(d, DimSpec::Fixed(_))));
    sizes(model, context) == Bindings::batch(1) && model.inputs().iter().any(open)
}
