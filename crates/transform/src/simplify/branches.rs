//! `If` with a condition that is always the same: the branch that is taken stands in its place.

use std::collections::{HashMap, HashSet};

use plimsoll_onnx::{
    Model, Names, Patch, View, node,
    proto::{GraphProto, NodeProto},
    rename_inputs,
};

use super::common;
use crate::{Context, Effect, Pass, Refusal};

pub(super) struct TakenBranches;

impl Pass for TakenBranches {
    fn name(&self) -> &'static str {
        "taken-branches"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn after(&self) -> &'static [&'static str] {
        &["constant-nodes", "fold-shapes", "fold-constants"]
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        if model.proto().ir_version < 4 {
            return Err(Refusal::NoMatch);
        }
        let view = model.view();
        let mut names = Names::of(model);
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is(n, "If")) {
            let Some(taken) = taken(&view, n).filter(|b| b.sparse_initializer.is_empty() && b.input.is_empty()) else {
                continue;
            };
            if taken.output.len() != n.output.len() {
                continue;
            }
            let inlined = Inlined::of(taken, &mut names);
            patch.because(format!("{} always takes the same branch", node::label(n)));
            for tensor in inlined.initializers {
                patch.set_initializer_proto(tensor);
            }
            patch.replace(id, inlined.nodes);
            for (output, inner) in n.output.iter().zip(&inlined.outputs).filter(|(o, _)| !o.is_empty()) {
                patch.redirect(output, inner);
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// The branch that is taken in every run.
fn taken<'m>(view: &View<'_>, n: &'m NodeProto) -> Option<&'m GraphProto> {
    let condition = common::constant(view, node::input(n, 0)?)?.to_i64().ok()?;
    let &[condition] = condition.as_slice() else { return None };
    let name = if condition != 0 { "then_branch" } else { "else_branch" };
    n.attribute.iter().find(|a| a.name == name)?.g.as_ref()
}

/// A branch as part of the graph around it: what it defines has names of its own there.
struct Inlined {
    nodes: Vec<NodeProto>,
    initializers: Vec<plimsoll_onnx::proto::TensorProto>,
    outputs: Vec<String>,
}

impl Inlined {
    fn of(branch: &GraphProto, names: &mut Names) -> Self {
        let mut renamed: HashMap<&str, String> = HashMap::new();
        let weights = branch.initializer.iter().map(|t| &t.name);
        let values = branch.node.iter().flat_map(|n| &n.output);
        for name in weights.chain(values).filter(|n| !n.is_empty()) {
            renamed.entry(name).or_insert_with(|| names.fresh(name));
        }
        let new = |name: &str| renamed.get(name).cloned();
        let mut nodes = branch.node.clone();
        for n in &mut nodes {
            rename_inputs(n, &new);
            n.output.iter_mut().for_each(|o| o.clone_from(&new(o).unwrap_or_default()));
        }
        let mut initializers = branch.initializer.clone();
        initializers.iter_mut().for_each(|t| t.name = new(&t.name).unwrap_or_default());
        let mut seen = HashSet::new();
        initializers.retain(|t| seen.insert(t.name.clone()));
        let outputs = branch.output.iter().map(|o| new(&o.name).unwrap_or_else(|| o.name.clone())).collect();
        Self { nodes, initializers, outputs }
    }
}
