//! What stands in the graph twice: equal weights, equal computations.

use std::collections::HashMap;

use plimsoll_onnx::{
    Model, Patch, Tensor, node,
    proto::{Message, NodeProto},
};

use super::common;
use crate::{Context, Effect, Pass, Refusal};

/// Initializers with the same content.
pub(super) struct SharedWeights;

impl Pass for SharedWeights {
    fn name(&self) -> &'static str {
        "shared-weights"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let mut first: HashMap<(i32, &[i64], Vec<u8>), &str> = HashMap::new();
        let mut patch = Patch::new();
        for proto in &model.graph().initializer {
            let name = proto.name.as_str();
            if view.constant(name).is_none() || view.is_output(name) {
                continue;
            }
            let Ok(tensor) = Tensor::from_proto(proto) else { continue };
            match first.entry((proto.data_type, proto.dims.as_slice(), tensor.into_bytes())) {
                std::collections::hash_map::Entry::Vacant(slot) => {
                    slot.insert(name);
                }
                std::collections::hash_map::Entry::Occupied(kept) => {
                    patch.because(format!("`{name}` is equal to `{}`", kept.get()));
                    patch.drop_initializer(name).redirect(name, kept.get());
                }
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// Nodes that do the same to the same values.
pub(super) struct CommonSubexpressions;

impl Pass for CommonSubexpressions {
    fn name(&self) -> &'static str {
        "common-subexpressions"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let mut seen: HashMap<Vec<u8>, &NodeProto> = HashMap::new();
        let mut same: HashMap<&str, &str> = HashMap::new();
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| common::is_pure(n) && !n.output.is_empty()) {
            let input = n.input.iter().map(|i| same.get(i.as_str()).map_or_else(|| i.clone(), |s| (*s).into()));
            let mut key = NodeProto {
                op_type: n.op_type.clone(),
                input: input.collect(),
                attribute: n.attribute.clone(),
                ..Default::default()
            };
            key.attribute.sort_by(|a, b| a.name.cmp(&b.name));
            let given: Vec<&str> = n.output.iter().map(|o| if o.is_empty() { "" } else { "+" }).collect();
            key.output = given.iter().map(|&s| s.into()).collect();
            let Ok(bytes) = key.write_to_bytes() else { continue };
            let Some(kept) = seen.get(&bytes) else {
                seen.insert(bytes, n);
                continue;
            };
            let pairs: Vec<(&str, &str)> = n
                .output
                .iter()
                .zip(&kept.output)
                .filter(|(o, _)| !o.is_empty())
                .map(|(a, b)| (a.as_str(), b.as_str()))
                .collect();
            if pairs.iter().all(|(from, _)| !view.is_output(from)) {
                patch.because(format!("{} does what {} does", node::label(n), node::label(kept)));
                patch.remove(id);
                for (from, to) in pairs {
                    patch.redirect(from, to);
                    same.insert(from, to);
                }
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}
