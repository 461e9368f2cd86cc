//! A `Concat` of a `Concat` along the same axis.

use plimsoll_onnx::{
    Model, Patch, attr, node,
    shape::{self, Bindings},
};

use crate::{Context, Effect, Pass, Refusal};

pub(super) struct NestedConcat;

impl Pass for NestedConcat {
    fn name(&self) -> &'static str {
        "nested-concat"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let axis_of = |n: &plimsoll_onnx::proto::NodeProto| {
            let axis = attr::int(n, "axis")?;
            let rank = shapes.dims(n.output.first()?)?.len() as i64;
            Some(if axis < 0 { axis + rank } else { axis })
        };
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is(n, "Concat")) {
            let Some(axis) = axis_of(n) else { continue };
            let mut inputs = Vec::new();
            for input in &n.input {
                let inner = view.producer_of(input, "Concat").filter(|(p, inner)| {
                    view.sole_user(input).is_some() && axis_of(inner) == Some(axis) && !patch.touches(*p)
                });
                match inner {
                    Some((p, inner)) => {
                        patch.remove(p);
                        inputs.extend(inner.input.iter().cloned());
                    }
                    None => inputs.push(input.clone()),
                }
            }
            if inputs != n.input {
                patch.because(format!("{} takes in the concatenations before it", node::label(n)));
                patch.replace(id, vec![plimsoll_onnx::proto::NodeProto { input: inputs, ..n.clone() }]);
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}
