//! `Constant` nodes become initializers; `ConstantOfShape` says what it is filled with.

use plimsoll_onnx::{Model, Patch, Tensor, attr, node};

use super::common;
use crate::{Context, Effect, Pass, Refusal};

pub(super) struct ConstantNodes;

impl Pass for ConstantNodes {
    fn name(&self) -> &'static str {
        "constant-nodes"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is(n, "ConstantOfShape") && !attr::has(n, "value")) {
            // The default is a float32 zero; tract 0.23.9 takes it for a float64.
            let mut changed = n.clone();
            attr::set(&mut changed, attr::from_tensor("value", Tensor::vector(&[0f32]).to_proto("")));
            patch.replace(id, vec![changed]);
            patch.because(format!("{} is filled with float32 zeros", node::label(n)));
        }
        let constants = view.nodes().filter(|(_, n)| node::is(n, "Constant"));
        // Before IR version 4 an initializer must be an input as well.
        for (id, n) in constants.filter(|(_, n)| model.proto().ir_version >= 4 && common::only_first_is_read(&view, n))
        {
            let Some(output) = n.output.first().filter(|o| !view.is_output(o)) else { continue };
            let mut tensor = match (attr::tensor(n, "value"), attr::constant(n)) {
                (Some(proto), _) => proto.clone(),
                (None, Some(tensor)) => tensor.to_proto(output),
                (None, None) => continue,
            };
            tensor.name.clone_from(output);
            patch.remove(id).set_initializer_proto(tensor);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}
