//! `Constant` nodes become initializers.

use plimsoll_onnx::{Model, Patch, attr, node};

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
        if model.proto().ir_version < 4 {
            return Err(Refusal::CheckFailed("before IR version 4 an initializer must be an input as well".into()));
        }
        let view = model.view();
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is(n, "Constant")) {
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
