//! Two slices in a row that are one.

use plimsoll_onnx::{
    Model, Names, Patch, Tensor, View, node,
    proto::NodeProto,
    shape::{self, Bindings, Shapes},
};

use super::common;
use crate::{Context, Effect, Pass, Refusal};

pub(super) struct Slices;

impl Pass for Slices {
    fn name(&self) -> &'static str {
        "slices"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn after(&self) -> &'static [&'static str] {
        &["constant-nodes"]
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        // Older slices hold their numbers in attributes.
        if model.proto().ir_version < 4 || model.opset("").unwrap_or(1) < 10 {
            return Err(Refusal::NoMatch);
        }
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let mut names = Names::of(model);
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is(n, "Slice")) {
            let Some(input) = node::input(n, 0) else { continue };
            let Some((first_id, first)) = view.producer_of(input, "Slice").filter(|(p, _)| !patch.touches(*p)) else {
                continue;
            };
            let cuts = view.sole_user(input).and_then(|_| joined(&view, &shapes, first, n));
            let (Some(cuts), Some(source)) = (cuts, node::input(first, 0)) else { continue };
            let Some(output) = n.output.first() else { continue };
            let mut vector = |what: &str, of: fn(&Cut) -> i64| {
                let name = names.fresh(&format!("{output}_{what}"));
                patch.set_initializer(&name, &Tensor::vector(&cuts.iter().map(of).collect::<Vec<i64>>()));
                name
            };
            let (starts, ends) = (vector("starts", |c| c.start), vector("ends", |c| c.end));
            let (axes, steps) = (vector("axes", |c| c.axis), vector("steps", |c| c.step));
            let changed = node::new("Slice", &[source, &starts, &ends, &axes, &steps], &[output]);
            patch.because(format!("{} takes the place of two", node::label(n)));
            patch.replace(id, vec![NodeProto { name: n.name.clone(), ..changed }]).remove(first_id);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// What is kept of one axis.
#[derive(Clone, Copy)]
struct Cut {
    axis: i64,
    start: i64,
    end: i64,
    step: i64,
}

/// The cuts of a slice, axes counted from the first.
fn cuts(view: &View<'_>, shapes: &Shapes, n: &NodeProto) -> Option<Vec<Cut>> {
    let list = |slot: usize| match node::input(n, slot) {
        Some(name) => common::constant(view, name)?.to_i64().ok().map(Some),
        None => Some(None),
    };
    let (starts, ends, axes, steps) = (list(1)??, list(2)??, list(3)?, list(4)?);
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()].iter().any(|&l| l != starts.len()) {
        return None;
    }
    let rank = || shapes.dims(node::input(n, 0)?).map(|d| d.len() as i64);
    let cut = |i: usize| {
        let axis = if axes[i] < 0 { axes[i].checked_add(rank()?).filter(|&a| a >= 0)? } else { axes[i] };
        Some(Cut { axis, start: starts[i], end: ends[i], step: steps[i] })
    };
    (0..starts.len()).map(cut).collect()
}

fn joined(view: &View<'_>, shapes: &Shapes, first: &NodeProto, second: &NodeProto) -> Option<Vec<Cut>> {
    let mut all = cuts(view, shapes, first)?;
    for next in cuts(view, shapes, second)? {
        match all.iter_mut().find(|c| c.axis == next.axis) {
            None => all.push(next),
            Some(cut) => {
                // Only counted from the start and without steps does the second begin where the first one does.
                let plain = |c: &Cut| c.step == 1 && c.start >= 0 && c.end >= 0;
                if !plain(cut) || !plain(&next) {
                    return None;
                }
                cut.end = cut.end.min(cut.start.saturating_add(next.end));
                cut.start = cut.start.saturating_add(next.start);
            }
        }
    }
    Some(all)
}
