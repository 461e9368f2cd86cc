//! What is done to every element of a row that was looked up in a constant table, done to the table instead.
//!
//! f(T[i]) is f(T)[i] for every f that treats each element by itself and knows only its place within the row. The table keeps
//! its size, and the work is done once, when the model is simplified.

use std::collections::{BTreeMap, HashMap, HashSet};

use plimsoll_onnx::{
    DType, Model, Names, NodeId, Patch, Tensor, Tensors, Use, View, attr, node,
    proto::NodeProto,
    shape::{self, Bindings},
};

use super::{common, fold};
use crate::{Context, Effect, Pass, Refusal};

/// Operators that treat each element by itself.
const POINTWISE: &[&str] = &[
    "Abs",
    "Add",
    "Ceil",
    "Clip",
    "Cos",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Selu",
    "Sigmoid",
    "Sin",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Tanh",
];
/// Nodes after one look-up that are considered at the most.
const MOST: usize = 64;

pub(super) struct Lookups;

impl Pass for Lookups {
    fn name(&self) -> &'static str {
        "lookups"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn after(&self) -> &'static [&'static str] {
        &["constant-nodes", "one-hot-products"]
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        // Before operator set 7 broadcasting was an attribute with other rules.
        if model.proto().ir_version < 4 || model.opset("").unwrap_or(1) < 7 {
            return Err(Refusal::NoMatch);
        }
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let mut names = Names::of(model);
        let mut patch = Patch::new();
        for (id, gather) in
            view.nodes().filter(|(_, n)| node::is(n, "Gather") && attr::int(n, "axis").unwrap_or(0) == 0)
        {
            let (Some(name), Some(looked_up)) = (node::input(gather, 0), gather.output.first()) else { continue };
            let Some(rank) = shapes.dims(looked_up).map(<[_]>::len) else { continue };
            if view.sole_user(name).is_none() || view.constant(name).is_none() {
                continue;
            }
            let Some(table) = common::constant(&view, name).filter(|t| t.dtype() == DType::F32 && t.shape().len() > 1)
            else {
                continue;
            };
            let after = After::of(&view, looked_up, rank, table.shape().len() - 1);
            let Some((last, gone)) = after.longest(&view, looked_up) else { continue };
            let Some(changed) = after.apply(model, &gone, last, name, &table, looked_up, context) else { continue };
            let fresh = names.fresh(&format!("{name}_rows"));
            let mut new = gather.clone();
            new.input[0].clone_from(&fresh);
            new.output[0] = last.to_owned();
            patch.because(format!("what follows {} is done to its table ({} nodes)", node::label(gather), gone.len()));
            patch.set_initializer(&fresh, &changed).replace(id, vec![new]);
            for id in gone {
                patch.remove(id);
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// The pointwise nodes that depend on a looked-up value and on constants alone.
struct After<'m> {
    nodes: BTreeMap<NodeId, &'m NodeProto>,
    /// What these nodes read besides, without leading dimensions of 1.
    constants: Tensors,
}

impl<'m> After<'m> {
    fn of(view: &View<'m>, looked_up: &'m str, rank: usize, row_rank: usize) -> Self {
        let mut found = Self { nodes: BTreeMap::new(), constants: Tensors::new() };
        let mut values = HashSet::from([looked_up]);
        for (id, n) in view.nodes() {
            let [output] = n.output.as_slice() else { continue };
            let fed = n.input.iter().any(|i| values.contains(i.as_str()));
            if !fed || !node::is_default_domain(&n.domain) || !POINTWISE.contains(&n.op_type.as_str()) {
                continue;
            }
            let others: Vec<&String> =
                n.input.iter().filter(|i| !i.is_empty() && !values.contains(i.as_str())).collect();
            let constants: Option<Vec<(String, Tensor)>> =
                others.into_iter().map(|i| Some((i.clone(), within_row(view, i, rank, row_rank)?))).collect();
            if let Some(constants) = constants {
                found.constants.extend(constants);
                found.nodes.insert(id, n);
                values.insert(output);
                if found.nodes.len() == MOST {
                    break;
                }
            }
        }
        found
    }

    /// The value for which the most nodes work that nothing else reads, and these nodes.
    fn longest(&self, view: &View<'_>, looked_up: &str) -> Option<(&'m str, Vec<NodeId>)> {
        let by_output: HashMap<&str, NodeId> =
            self.nodes.iter().filter_map(|(id, n)| Some((n.output.first()?.as_str(), *id))).collect();
        let mut best: Option<(&str, Vec<NodeId>)> = None;
        for last in self.nodes.values().filter_map(|n| n.output.first()) {
            let mut gone = HashSet::new();
            let mut open = vec![last.as_str()];
            while let Some(id) = open.pop().and_then(|v| by_output.get(v)) {
                if gone.insert(*id) {
                    let inputs = self.nodes[id].input.iter().map(String::as_str);
                    open.extend(inputs.filter(|i| by_output.contains_key(i)));
                }
            }
            let inside = |value: &str| {
                view.uses(value).iter().all(|u| matches!(u, Use::Input { node, .. } if gone.contains(node)))
            };
            let values = gone.iter().filter_map(|id| self.nodes[id].output.first()).map(String::as_str);
            let closed = values.chain([looked_up]).all(|v| v == last || inside(v));
            if closed && best.as_ref().is_none_or(|(_, b)| gone.len() > b.len()) {
                let mut gone: Vec<NodeId> = gone.into_iter().collect();
                gone.sort_unstable();
                best = Some((last, gone));
            }
        }
        best
    }

    /// The table with what the nodes do done to it.
    #[expect(clippy::too_many_arguments, reason = "one call, and no two of them belong together")]
    fn apply(
        &self,
        model: &Model,
        gone: &[NodeId],
        last: &str,
        name: &str,
        table: &Tensor,
        looked_up: &str,
        context: &Context<'_>,
    ) -> Option<Tensor> {
        let mut nodes: Vec<NodeProto> = gone.iter().filter_map(|id| self.nodes.get(id)).map(|n| (*n).clone()).collect();
        for input in nodes.iter_mut().flat_map(|n| &mut n.input).filter(|i| *i == looked_up) {
            name.clone_into(input);
        }
        let inputs = self.constants.iter().map(|(n, t)| (n.as_str(), t)).chain([(name, table)]);
        let result = fold::run(model, nodes, inputs, std::iter::once(last), context)?.remove(last)?;
        (result.shape() == table.shape() && result.dtype() == table.dtype()).then_some(result)
    }
}

/// A constant that is the same for every row.
fn within_row(view: &View<'_>, value: &str, rank: usize, row_rank: usize) -> Option<Tensor> {
    let tensor = common::constant(view, value)?;
    let shape = tensor.shape();
    let kept: Vec<usize> = shape.iter().copied().skip_while(|&d| d == 1).collect();
    if shape.len() > rank || kept.len() > row_rank {
        return None;
    }
    Tensor::new(tensor.dtype(), kept, tensor.into_bytes()).ok()
}
