//! Nodes and weights that no output depends on.

use std::collections::HashSet;

use plimsoll_onnx::{Model, Patch, captured_names};

use crate::{Context, Effect, Pass, Refusal};

pub(super) struct Dead;

impl Pass for Dead {
    fn name(&self) -> &'static str {
        "dead"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let graph = model.graph();
        let mut needed: HashSet<&str> = HashSet::new();
        let mut open: Vec<&str> = graph.output.iter().map(|v| v.name.as_str()).collect();
        let mut alive = HashSet::new();
        while let Some(value) = open.pop() {
            if !needed.insert(value) {
                continue;
            }
            if let Some((id, n)) = view.producer(value)
                && alive.insert(id)
            {
                open.extend(n.input.iter().map(String::as_str).filter(|i| !i.is_empty()));
                open.extend(captured_names(n));
            }
        }
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(id, _)| !alive.contains(id)) {
            patch.because(format!("{} has no effect", plimsoll_onnx::node::label(n)));
            patch.remove(id);
        }
        for tensor in &graph.initializer {
            // One that is an input as well belongs to the interface.
            if !needed.contains(tensor.name.as_str()) && view.constant(&tensor.name).is_some() {
                patch.because(format!("weight `{}` is not used", tensor.name));
                patch.drop_initializer(&tensor.name);
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}
