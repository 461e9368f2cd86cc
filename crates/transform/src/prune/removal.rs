//! The patch that takes channels out: parameters are cut, attributes and shapes that count channels follow. Knows labels, not
//! which channels are worth keeping.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_onnx::{Model, Names, Patch, Tensor, attr, proto::NodeProto};

use super::{edits::Editor, groups::Groups};
use crate::Refusal;

/// The patch that takes these channels out.
pub(super) fn remove(model: &Model, groups: &Groups<'_>, removed: &BTreeSet<usize>) -> Result<Patch, Refusal> {
    let view = model.view();
    let gone = |label: &usize| removed.contains(&groups.labels.root(*label));
    let kept = |labels: &[usize]| -> Vec<usize> { (0..labels.len()).filter(|i| !gone(&labels[*i])).collect() };
    let mut names = Names::of(model);
    let mut patch = Patch::new();
    let mut cuts: BTreeMap<&str, BTreeMap<usize, &[usize]>> = BTreeMap::new();
    for cut in groups.cuts.iter().filter(|c| c.labels.iter().any(gone)) {
        cuts.entry(cut.param).or_default().insert(cut.axis, &cut.labels);
    }
    for (param, axes) in cuts {
        let Some(proto) = view.constant(param) else { continue };
        let mut tensor = Tensor::from_proto(proto)?;
        for (axis, labels) in axes {
            tensor = take(&tensor, axis, &kept(labels))?;
        }
        if let Some((id, n)) = view.producer(param) {
            let mut changed = n.clone();
            attr::set(&mut changed, attr::from_tensor("value", tensor.to_proto("")));
            patch.replace(id, vec![changed]).forget(param);
        } else if model.graph().input.iter().any(|i| i.name == param) {
            // Old files repeat initializers as inputs, with their old shapes.
            let name = names.fresh(param);
            patch.drop_initializer(param).set_initializer(&name, &tensor).redirect(param, &name);
        } else {
            patch.set_initializer(param, &tensor);
        }
    }
    for (&id, edits) in &groups.edits {
        let n = view.node(id);
        let mut changed = vec![n.clone()];
        let mut editor = Editor { names: &mut names, patch: &mut patch, kept: &kept };
        edits.iter().for_each(|edit| editor.edit(edit, &mut changed));
        if changed.as_slice() != std::slice::from_ref(n) {
            patch.replace(id, changed);
        }
    }
    for (value, labels) in &groups.tracked {
        if labels.iter().any(gone) {
            patch.forget(value);
        }
    }
    Ok(patch)
}

/// The slices of a tensor at these positions of an axis.
fn take(tensor: &Tensor, axis: usize, kept: &[usize]) -> Result<Tensor, Refusal> {
    let shape = tensor.shape();
    let wrong = || Refusal::CheckFailed(format!("a weight of shape {shape:?} has no axis {axis} to cut"));
    let count = *shape.get(axis).ok_or_else(wrong)?;
    if !tensor.dtype().bits().is_multiple_of(8) || kept.iter().any(|k| *k >= count) {
        return Err(wrong());
    }
    let run = shape[axis + 1..].iter().product::<usize>() * tensor.dtype().bits() / 8;
    let mut bytes = Vec::new();
    if run * count > 0 {
        for block in tensor.bytes().chunks_exact(run * count) {
            kept.iter().for_each(|k| bytes.extend_from_slice(&block[k * run..(k + 1) * run]));
        }
    }
    let mut shape = shape.to_vec();
    shape[axis] = kept.len();
    Ok(Tensor::new(tensor.dtype(), shape, bytes)?)
}

/// Takes out what only the replaced shapes were computed by.
pub(super) fn sweep(model: &Model, mut patch: Patch) -> Result<Patch, Refusal> {
    let before = model.view();
    loop {
        let mut changed = model.clone();
        apply(patch.clone(), &mut changed)?;
        let after = changed.view();
        let orphan = |name: &str| !before.uses(name).is_empty() && after.uses(name).is_empty();
        let still: BTreeSet<&str> = after.nodes().flat_map(|(_, n)| n.output.iter().map(String::as_str)).collect();
        let dead = |n: &NodeProto| {
            let mut outputs = n.output.iter().filter(|o| !o.is_empty()).peekable();
            outputs.peek().is_some() && outputs.all(|o| still.contains(o.as_str()) && orphan(o))
        };
        let nodes: Vec<_> = before.nodes().filter(|(id, n)| dead(n) && !patch.touches(*id)).map(|(id, _)| id).collect();
        let weights: Vec<&str> = model.graph().initializer.iter().map(|t| t.name.as_str()).collect();
        let weights: Vec<&str> = weights.into_iter().filter(|w| after.initializer(w).is_some() && orphan(w)).collect();
        if nodes.is_empty() && weights.is_empty() {
            return Ok(patch);
        }
        nodes.into_iter().for_each(|id| _ = patch.remove(id));
        weights.into_iter().for_each(|w| _ = patch.drop_initializer(w));
    }
}

/// Applies a patch whose graph is whole by construction.
pub(super) fn apply(patch: Patch, model: &mut Model) -> Result<(), Refusal> {
    patch.apply(model).map_err(|e| Refusal::CheckFailed(e.to_string()))
}
