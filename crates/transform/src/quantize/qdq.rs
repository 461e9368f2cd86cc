//! Static quantization in QDQ form: u8 activations, asymmetric; symmetric i8 weights, one scale a channel or tensor; int32 biases.
//! Or, with the same activations, weights in 4 bits but for those that cost more in accuracy than they save in bytes. Weights of
//! nodes without integer kernels (recurrent layers, transposed convolutions) are stored in 8 bits and dequantized at load.
//!
//! The pass: plan the nodes, choose the numbers, repair them, write. Knows neither how nodes are written nor how samples stream.

use std::collections::{BTreeMap, btree_map::Entry};

use plimsoll_onnx::{Model, NodeId, Patch, View, node};
use plimsoll_runtime::Keep;

use super::{
    Granularity, QuantizeOptions,
    affine::{self, Codebook},
    allocation::{self, Candidate},
    anchor::{Anchor, BiasPlace},
    calibrate, opset,
    plan::{Kind, Plan},
    repair::{self, Job},
    rounding,
    solution::{Activations, Layer, Site, Solution},
    stored::StoredWeights,
    table,
    writer::{Form, Writer},
};
use crate::{Context, Effect, Pass, Refusal, ranges};

/// Below this many elements a scale, 4 bits save next to nothing over 8 and cost the most.
pub(super) const FEWEST_A_SCALE: usize = 16;

/// The pass.
#[derive(Debug, Clone)]
pub(super) struct StaticInt8 {
    options: QuantizeOptions,
    /// Whether most weights get 4 bits.
    four: bool,
}

impl StaticInt8 {
    /// Weights and activations in 8 bits.
    pub(super) fn new(options: QuantizeOptions) -> Self {
        Self { options, four: false }
    }

    /// Weights in 4 bits, but for those that cost more in accuracy than they save in bytes; activations in 8.
    pub(super) fn w4a8(options: QuantizeOptions) -> Self {
        Self { options, four: true }
    }

    /// The codes that a layer starts with.
    fn book(&self, view: &View<'_>, anchor: &Anchor<'_>) -> Codebook {
        let scales = if self.options.granularity == Granularity::PerChannel { anchor.operands.channels() } else { 1 };
        let many = anchor.operands.weight.len() / scales.max(1) >= FEWEST_A_SCALE;
        let four = self.four && many && !self.options.widens(view.node(anchor.id));
        if four { Codebook::FOUR } else { self.options.codebook() }
    }
}

impl Pass for StaticInt8 {
    fn name(&self) -> &'static str {
        if self.four { "quantize-w4a8" } else { "quantize-int8" }
    }

    fn effect(&self) -> Effect {
        Effect::Lossy(if self.four {
            "weights are rounded to 4 bits, some to 8; activations to 8"
        } else {
            "weights and activations are rounded to 8 bits"
        })
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        let options = &self.options;
        options.check_excluded(model)?;
        let view = model.view();
        let plan = Plan::of(model, &view, options)?;
        let taken = |name: &str| view.users(name).iter().any(|(id, _)| plan.chosen.contains_key(id));
        let stored = StoredWeights::but(model, &view, options, taken)?;
        if plan.chosen.is_empty() && stored.weights.is_empty() {
            return Err(super::nothing(model, "int8"));
        }
        let mut patch = Patch::new();
        for why in &stored.left {
            patch.because(why);
        }
        match options.granularity {
            _ if self.four => opset::require(model, 21, "int4", &mut patch)?,
            Granularity::PerChannel => opset::require(model, 13, "one scale a channel", &mut patch)?,
            Granularity::PerTensor => opset::require(model, 10, "QuantizeLinear", &mut patch)?,
        }
        let anchors = anchors(&view, &plan)?;
        let activations = Activations::of(&view, &plan, options.activations);
        let mut solution = Solution { activations, layers: BTreeMap::new() };
        let method = options.repair(context)?;
        let keep = calibrate::keep(options.calibration);
        let classes = solution.activations.members();
        let summarise: BTreeMap<String, Keep> = classes.iter().flatten().map(|v| ((*v).to_owned(), keep)).collect();
        let (kept, evidence) = repair::evidence(model, &view, context, &anchors, method, options.samples, summarise)?;
        let mut found = calibrate::ranges(classes, kept, options.calibration);
        let rows = plan.tables.iter().filter_map(|(id, table)| {
            let output = view.node(*id).output.first().filter(|o| plan.coded.contains(o.as_str()))?;
            Some((solution.activations.class(output)?, table::bulk(&table.tensor)?))
        });
        for (class, bulk) in rows.collect::<Vec<_>>() {
            // Rows that no sample looked up count as well.
            found.get_mut(class).into_iter().for_each(|range| *range = range.union(bulk));
        }
        solution.activations.settle(&found);
        for anchor in anchors.values() {
            let book = self.book(&view, anchor);
            let layer = nearest(&view, anchor, options, book, &solution.activations);
            solution.layers.insert(Site::anchor(anchor.id), layer);
        }
        for weight in &stored.weights {
            solution.layers.insert(weight.site, weight.nearest(options.codebook())?);
        }
        for table in plan.tables.values() {
            if let Entry::Vacant(free) = solution.layers.entry(table.site) {
                free.insert(Layer { weight: table::rounded(&table.tensor, options)?, bias: None });
            }
        }
        let writer = Writer { model, view: &view, plan: &plan, anchors: &anchors, stored: &stored };
        let base = patch.clone();
        let twin = |solution: &Solution<'_>| {
            let written = writer.write(solution, Form::Twin, base.clone())?;
            let mut twin = model.clone();
            written.patch.apply(&mut twin).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
            Ok((twin, written.inputs))
        };
        if self.four {
            let narrow = anchors.values().filter(|a| self.book(&view, a) == Codebook::FOUR);
            let candidates = narrow.map(|anchor| Candidate {
                name: anchor.operands.name,
                site: Site::anchor(anchor.id),
                elements: anchor.operands.weight.len(),
                wide: nearest(&view, anchor, options, options.codebook(), &solution.activations),
            });
            let candidates = candidates.collect();
            let chosen = allocation::allocate(model, context, options.samples, candidates, &mut solution, &twin)?;
            for why in chosen {
                patch.because(why);
            }
        }
        let books: BTreeMap<NodeId, Codebook> =
            solution.layers.iter().map(|(site, layer)| (site.node, layer.weight.book)).collect();
        let job = Job {
            context,
            anchors: &anchors,
            method,
            twin: &twin,
            least: &|anchor, solution, bias| {
                let own = matches!(anchor.place, BiasPlace::Own);
                let x_scale = solution.activations.codes(&view.node(anchor.id).input[0]).scale;
                if own { affine::least_scale(bias, x_scale) } else { 0.0 }
            },
            book: &|id| books.get(&id).copied().unwrap_or(options.codebook()),
        };
        let (solution, repaired) = repair::repair(&job, evidence.as_ref(), solution)?;
        patch.because(repaired);
        let mut patch = writer.write(&solution, Form::Stored, patch)?.patch;
        if let Some(data) = context.data {
            for (key, range) in ranges::records(&data.batch(0..options.samples)) {
                patch.set_metadata(&key, &range);
            }
        }
        drop_orphans(model, patch)
    }
}

fn anchors<'m>(view: &View<'m>, plan: &Plan<'m>) -> Result<BTreeMap<NodeId, Anchor<'m>>, Refusal> {
    let mut found = BTreeMap::new();
    for (&id, _) in plan.chosen.iter().filter(|(_, kind)| **kind == Kind::Anchor) {
        found.extend(Anchor::of(view, id)?.map(|anchor| (id, anchor)));
    }
    Ok(found)
}

/// Nearest codes, under the scales of the least squared error.
fn nearest(
    view: &View<'_>,
    anchor: &Anchor<'_>,
    options: &QuantizeOptions,
    book: Codebook,
    activations: &Activations<'_>,
) -> Layer {
    let (operands, n) = (&anchor.operands, view.node(anchor.id));
    let x_scale = activations.codes(&n.input[0]).scale;
    // A stack of matrices has no channel axis that integer kernels know (onnxruntime fails on one).
    let channels = operands.shape.len() == 2 || !node::is(n, "MatMul");
    let axis = Some(operands.axis).filter(|_| options.granularity == Granularity::PerChannel && channels);
    let bias = operands.bias.as_deref();
    let least = least_scales(bias.unwrap_or_default(), axis, x_scale);
    let weight = rounding::least_error(&operands.weight, &operands.shape, axis, book, least);
    Layer { weight, bias: None }
}

/// The least weight scale of each channel under which its bias has an int32 code.
fn least_scales(bias: &[f32], axis: Option<usize>, x_scale: f32) -> impl Fn(usize) -> f32 {
    let largest = bias.iter().fold(0f32, |m, b| m.max(b.abs()));
    move |channel| {
        let bias = axis.and_then(|_| bias.get(channel)).map_or(largest, |b| b.abs());
        affine::least_scale(bias, x_scale)
    }
}

/// Drops the constants that lost their last reader to the patch.
pub(super) fn drop_orphans(model: &Model, mut patch: Patch) -> Result<Patch, Refusal> {
    let mut changed = model.clone();
    patch.clone().apply(&mut changed).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    let (before, after) = (model.view(), changed.view());
    let orphan = |name: &str| !before.uses(name).is_empty() && after.uses(name).is_empty();
    for t in model.graph().initializer.iter().filter(|t| orphan(&t.name)) {
        patch.drop_initializer(&t.name).forget(&t.name);
    }
    for (id, n) in before.nodes().filter(|(_, n)| node::is(n, "Constant")) {
        if n.output.iter().all(|o| orphan(o)) && !patch.touches(id) {
            patch.remove(id);
        }
    }
    Ok(patch)
}
