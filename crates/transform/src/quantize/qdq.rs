//! Static int8 in QDQ form: u8 activations, asymmetric; symmetric i8 weights, one scale a channel or tensor; int32 biases.
//!
//! The pass: plan the nodes, choose the numbers, repair them, write. Knows neither how nodes are written nor how samples stream.

use std::collections::{BTreeMap, btree_map::Entry};

use plimsoll_onnx::{Model, NodeId, Patch, View, node};

use super::{
    Granularity, QuantizeOptions, affine,
    anchor::{Anchor, BiasPlace},
    calibrate, opset,
    plan::{Kind, Plan},
    repair::{self, Job},
    solution::{Activations, Layer, Site, Solution},
    table,
    writer::{Form, Writer},
};
use crate::{Context, Effect, Pass, Refusal, ranges};

/// The pass.
#[derive(Debug, Clone)]
pub(super) struct StaticInt8 {
    options: QuantizeOptions,
}

impl StaticInt8 {
    pub(super) fn new(options: QuantizeOptions) -> Self {
        Self { options }
    }
}

impl Pass for StaticInt8 {
    fn name(&self) -> &'static str {
        "quantize-int8"
    }

    fn effect(&self) -> Effect {
        Effect::Lossy("weights and activations are rounded to 8 bits")
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        let options = &self.options;
        options.check_excluded(model)?;
        let view = model.view();
        let plan = Plan::of(model, &view, options)?;
        if plan.chosen.is_empty() {
            return Err(super::nothing(model, "int8"));
        }
        let mut patch = Patch::new();
        match options.granularity {
            Granularity::PerChannel => opset::require(model, 13, "one scale a channel", &mut patch)?,
            Granularity::PerTensor => opset::require(model, 10, "QuantizeLinear", &mut patch)?,
        }
        let anchors = anchors(&view, &plan)?;
        let activations = Activations::of(&view, &plan, options.activations);
        let mut solution = Solution { activations, layers: BTreeMap::new() };
        let mut found =
            calibrate::ranges(model, context, solution.activations.members(), options.calibration, options.samples)?;
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
            solution.layers.insert(Site::anchor(anchor.id), nearest(&view, anchor, options, &solution.activations));
        }
        for table in plan.tables.values() {
            if let Entry::Vacant(free) = solution.layers.entry(table.site) {
                free.insert(Layer { weight: table::rounded(&table.tensor, options)?, bias: None });
            }
        }
        let writer = Writer { model, view: &view, plan: &plan, anchors: &anchors };
        let base = patch.clone();
        let job = Job {
            model,
            view: &view,
            context,
            anchors: &anchors,
            method: options.repair(context)?,
            samples: options.samples,
            twin: &|solution| {
                let written = writer.write(solution, Form::Twin, base.clone())?;
                let mut twin = model.clone();
                written.patch.apply(&mut twin).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
                Ok((twin, written.inputs))
            },
            least: &|anchor, solution, bias| {
                let own = matches!(anchor.place, BiasPlace::Own);
                let x_scale = solution.activations.codes(&view.node(anchor.id).input[0]).scale;
                if own { affine::least_scale(bias, x_scale) } else { 0.0 }
            },
            book: &|_| options.codebook(),
        };
        let (solution, repaired) = repair::repair(&job, solution)?;
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

/// Nearest codes under the scales of the largest magnitudes.
fn nearest(view: &View<'_>, anchor: &Anchor<'_>, options: &QuantizeOptions, activations: &Activations<'_>) -> Layer {
    let (operands, n) = (&anchor.operands, view.node(anchor.id));
    let x_scale = activations.codes(&n.input[0]).scale;
    // A stack of matrices has no channel axis that integer kernels know (onnxruntime fails on one).
    let channels = operands.shape.len() == 2 || !node::is(n, "MatMul");
    let axis = Some(operands.axis).filter(|_| options.granularity == Granularity::PerChannel && channels);
    let bias = operands.bias.as_deref();
    let least = least_scales(bias.unwrap_or_default(), axis, x_scale);
    let weight = affine::weight(&operands.weight, &operands.shape, axis, options.codebook(), least);
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
