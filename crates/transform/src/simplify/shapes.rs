//! Shape computations whose result inference proves.

use plimsoll_onnx::{
    DType, DimSpec, Model, Names, Patch, Tensor, ValueSpec, attr, node,
    proto::NodeProto,
    shape::{self, Bindings, Dim, Element, Shapes},
};

use super::common;
use crate::{Context, Effect, Pass, Refusal};

/// Replaces nodes that compute integers which are the same in every run.
pub(super) struct FoldShapes;

impl Pass for FoldShapes {
    fn name(&self) -> &'static str {
        "fold-shapes"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| common::is_pure(n) && !node::is(n, "Constant")) {
            let [output] = n.output.as_slice() else { continue };
            if view.is_output(output) {
                continue;
            }
            if let Some(tensor) = known(&shapes, output) {
                patch.because(format!("{} always gives {:?}", node::label(n), tensor.to_i64().unwrap_or_default()));
                common::put_constant(model, &mut patch, id, n, &tensor);
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

fn known(shapes: &Shapes, value: &str) -> Option<Tensor> {
    let number = |e: &Element| if let Element::Known(v) = e { Some(*v) } else { None };
    let values: Vec<i64> = shapes.elements(value)?.iter().map(number).collect::<Option<_>>()?;
    let shape = shapes.concrete(value)?;
    match shapes.dtype(value)? {
        DType::I64 => Tensor::from_elements(&shape, &values).ok(),
        DType::I32 => {
            let values: Vec<i32> = values.iter().map(|&v| i32::try_from(v).ok()).collect::<Option<_>>()?;
            Tensor::from_elements(&shape, &values).ok()
        }
        DType::Bool => Tensor::from_elements(&shape, &values.iter().map(|&v| v != 0).collect::<Vec<_>>()).ok(),
        _ => None,
    }
}

/// Gives `Reshape` and `Expand` constant targets where only the batch (or another copied dimension) kept them from it.
pub(super) struct FixTargets;

impl Pass for FixTargets {
    fn name(&self) -> &'static str {
        "fix-targets"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        if model.proto().ir_version < 4 {
            return Err(Refusal::CheckFailed("before IR version 4 an initializer must be an input as well".into()));
        }
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let outputs = model.outputs();
        let mut names = Names::of(model);
        let mut patch = Patch::new();
        for (id, n) in view.nodes() {
            let target = match n.op_type.as_str() {
                "Reshape" if node::is(n, "Reshape") && attr::int(n, "allowzero").unwrap_or(0) == 0 => {
                    reshape_target(n, &shapes)
                }
                "Expand" if node::is(n, "Expand") => expand_target(n, &shapes),
                _ => None,
            };
            let (Some(target), Some(slot)) = (target, node::input(n, 1)) else { continue };
            if view.constant(slot).is_some() || n.output.first().is_some_and(|o| contradicts(&outputs, o, &target)) {
                continue;
            }
            let name = names.fresh(&format!("{}_shape", n.output.first().map_or("", |o| o.as_str())));
            patch.because(format!("{} takes the constant target {target:?}", node::label(n)));
            patch.set_initializer(&name, &Tensor::vector(&target));
            let mut changed = n.clone();
            changed.input[1] = name;
            patch.replace(id, vec![changed]);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// Whether a target contradicts what the model declares for an output. That cannot be changed, and nobody noticed as long as the
/// target was computed: a checker would, now.
fn contradicts(outputs: &[ValueSpec], output: &str, target: &[i64]) -> bool {
    let Some(dims) = outputs.iter().find(|o| o.name == output).and_then(|o| o.dims.as_ref()) else { return false };
    let other = |(dim, &t): (&DimSpec, &i64)| matches!(dim, DimSpec::Fixed(n) if t > 0 && t.unsigned_abs() != *n);
    dims.len() != target.len() || dims.iter().zip(target).any(other)
}

/// Numbers as they are, 0 where a dimension is copied from the same place, and at most one -1.
fn reshape_target(n: &NodeProto, shapes: &Shapes) -> Option<Vec<i64>> {
    let own = shapes.dims(node::input(n, 0)?);
    let elements = shapes.elements(node::input(n, 1)?)?;
    let mut open = 0;
    let target = elements.iter().enumerate().map(|(axis, element)| match element {
        Element::Known(v) => {
            open += usize::from(*v == -1);
            *v
        }
        Element::Dim(s) if own.and_then(|d| d.get(axis)) == Some(&Dim::Symbol(*s)) => 0,
        _ => {
            open += 1;
            -1
        }
    });
    let target: Vec<i64> = target.collect();
    // -1 beside a dimension of size 0 means nothing; a copied one is as large as in the input, where -1 is then exact.
    (open <= 1 && !(open == 1 && elements.contains(&Element::Known(0)))).then_some(target)
}

/// Numbers as they are, and 1 where the input has the dimension already.
fn expand_target(n: &NodeProto, shapes: &Shapes) -> Option<Vec<i64>> {
    let own = shapes.dims(node::input(n, 0)?)?;
    let elements = shapes.elements(node::input(n, 1)?)?;
    let rank = elements.len();
    let one = |(axis, element): (usize, &Element)| match element {
        Element::Known(v) => Some(*v),
        Element::Dim(s) => {
            let at = (axis + own.len()).checked_sub(rank)?;
            (own[at] == Dim::Symbol(*s)).then_some(1)
        }
        Element::Unknown => None,
    };
    elements.iter().enumerate().map(one).collect()
}
