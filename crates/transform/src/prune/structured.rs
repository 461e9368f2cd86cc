//! Removing whole channels: weights, biases and normalisation parameters are cut, shapes follow, inputs and outputs stay.
//!
//! Which channels go first is said by scores ([`Score`]), how many of each group by an [`Allocation`], and what is left is brought
//! back towards the original by a [`Repair`]: all label-free. Without samples there are the norms of the weights alone.

use plimsoll_onnx::{Model, Patch, node};

use super::{
    choose::{Chosen, choose},
    groups::Groups,
    guided, magnitude,
    meter::{Allocation, Meter, Repair, Score, TOLERANCE, Target, assumes_sizes},
    removal::{remove, sweep},
};
use crate::{Context, Effect, Pass, Refusal};

/// What to remove, and how to choose it.
#[derive(Debug, Clone, PartialEq)]
pub struct PruneOptions {
    /// What is to be removed.
    pub target: Target,
    /// How channels are ranked. By default OBS where a refit follows, ThiNet where samples are given but none does, else magnitude.
    pub score: Option<Score>,
    /// How the removal is spread over the layers. By default searched for where a refit follows, else global.
    pub allocation: Option<Allocation>,
    /// What follows. By default least squares where samples are given.
    pub repair: Option<Repair>,
    /// Every layer keeps at least so many channels.
    pub least_channels: usize,
    /// Layers that lose channels keep a multiple of so many, as kernels like them.
    pub round_to: Option<usize>,
    /// Nodes that keep their channels: names of nodes, or of values that they compute.
    pub exclude: Vec<String>,
    /// At most so many samples are used.
    pub samples: usize,
}

impl PruneOptions {
    /// A target with the defaults: at least two channels a layer, nothing excluded.
    pub fn new(target: Target) -> Self {
        let (score, allocation, repair) = (None, None, None);
        let (round_to, exclude) = (None, Vec::new());
        Self { target, score, allocation, repair, least_channels: 2, round_to, exclude, samples: 512 }
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

/// The choices with the defaults filled in.
pub(super) struct Choices {
    pub(super) score: Score,
    pub(super) allocation: Allocation,
    pub(super) repair: Repair,
}

impl Choices {
    fn of(options: &PruneOptions, context: &Context<'_>) -> Result<Self, Refusal> {
        let given = context.data.is_some();
        let repair = options.repair.unwrap_or(if given { Repair::LeastSquares } else { Repair::None });
        let repaired = repair != Repair::None;
        let score = options.score.unwrap_or(match (given, repaired) {
            (true, true) => Score::Obs,
            (true, false) => Score::Thinet,
            (false, _) => Score::Magnitude,
        });
        let allocation = options.allocation.unwrap_or(if repaired { Allocation::Search } else { Allocation::Global });
        let measured = matches!(allocation, Allocation::Sensitivity | Allocation::Search);
        if !given && (repaired || measured || score != Score::Magnitude) {
            return Err(Refusal::NeedsData);
        }
        if allocation == Allocation::Search && !repaired {
            return Err(Refusal::CheckFailed(
                "the search judges repaired models: take sensitivity, or a repair".into(),
            ));
        }
        Ok(Self { score, allocation, repair })
    }

    /// Whether the original has to be observed.
    fn observe(&self) -> bool {
        self.repair != Repair::None || self.score != Score::Magnitude || self.allocation >= Allocation::Sensitivity
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
        let choices = Choices::of(options, context)?;
        let groups = self.groups(model)?;
        let meter = Meter::of(model, &groups, (options.target, options.round_to), context)?;
        let mut reasons = Vec::new();
        let (chosen, repaired) = if choices.observe() {
            guided::choose(options, &choices, &meter, context, &mut reasons)?
        } else {
            let scores = magnitude::scores(&model.view(), &groups)?;
            let order = magnitude::order(&groups, &scores, choices.allocation, options.least_channels);
            (choose(&meter, &order, context)?, None)
        };
        let mut patch = remove(model, &groups, &chosen.channels)?;
        if let Some(repaired) = repaired {
            adopt(model, &repaired, &mut patch);
        }
        let mut patch = sweep(model, patch)?;
        explain(&meter, &chosen, context, &mut patch);
        reasons.into_iter().for_each(|r| _ = patch.because(r));
        for (layer, reason) in &groups.refused {
            patch.because(format!("`{layer}` keeps channels: {reason}"));
        }
        Ok(patch)
    }
}

impl Structured {
    fn groups<'m>(&self, model: &'m Model) -> Result<Groups<'m>, Refusal> {
        let known = |e: &&String| {
            let mut nodes = model.graph().node.iter();
            nodes.any(|n| **e == n.name || n.output.contains(e) || **e == node::label(n))
        };
        if let Some(e) = self.options.exclude.iter().find(|e| !known(e)) {
            return Err(Refusal::CheckFailed(format!("`{e}` is to be excluded, but no node has this name")));
        }
        let groups = Groups::of(model, &self.options.exclude);
        if groups.groups.is_empty() {
            return Err(match groups.refused.first() {
                None => Refusal::NoMatch,
                Some((layer, reason)) => Refusal::Node {
                    node: layer.clone(),
                    reason: format!("no layer has channels that can be removed; of this one, {reason}"),
                },
            });
        }
        Ok(groups)
    }
}

/// Takes over what a repair changed: the nodes and constants of the repaired model that are not the original's.
fn adopt(model: &Model, repaired: &Model, patch: &mut Patch) {
    let view = model.view();
    let after = repaired.view();
    for (_, n) in after.nodes() {
        let Some((id, before)) = n.output.iter().find(|o| !o.is_empty()).and_then(|o| view.producer(o)) else {
            continue;
        };
        if before != n {
            patch.replace(id, vec![n.clone()]);
        }
    }
    for tensor in &repaired.graph().initializer {
        if view.initializer(&tensor.name) != Some(tensor) {
            patch.set_initializer_proto(tensor.clone());
        }
    }
}

/// What was removed, and what to know about it.
fn explain(meter: &Meter<'_, '_>, chosen: &Chosen, context: &Context<'_>, patch: &mut Patch) {
    let percent = |share: f64| (share * 1e4).round() / 100.0;
    let (what, wanted) = (meter.target.what(), meter.target.share());
    patch.because(format!("{} channels removed, {} % of the {what}", chosen.channels.len(), percent(chosen.share)));
    if matches!(meter.target, Target::Macs(_)) && assumes_sizes(meter.model, context) {
        patch.because(
            "open dimensions of the inputs are counted as 1: layers weigh otherwise at real sizes, which samples (--data) would \
             tell",
        );
    }
    let gone = meter.share(&Default::default()).unwrap_or(0.0);
    if gone > 5e-4 {
        patch.because(format!("{} % of the {what} went before, by exact passes", percent(gone)));
    }
    let timed = matches!(meter.target, Target::Latency(_));
    chosen.measured.iter().for_each(|m| _ = patch.because(m.as_str()));
    if let Some(block) = meter.round_to {
        patch.because(format!("layers that lose channels keep a multiple of {block}"));
    } else if chosen.share > wanted + TOLERANCE && !timed {
        patch.because(format!("no set of whole channels comes nearer to {} % of the {what}", percent(wanted)));
    }
    for group in &meter.groups.groups {
        let gone = group.channels.iter().filter(|c| chosen.channels.contains(c)).count();
        patch.because(format!("`{}`: {gone} of {} channels removed", group.layers.join("`, `"), group.channels.len()));
    }
}
