//! `Expand` before an operator that broadcasts anyway, and what is an `Expand` in other words.

use plimsoll_onnx::{
    Model, Patch, Tensor, Use, attr, node,
    proto::NodeProto,
    shape::{self, Bindings, Shapes},
};

use super::{common, identities};
use crate::{Context, Effect, Pass, Refusal};

/// Operators that broadcast two inputs by the same rule as `Expand`.
const BROADCASTING: &[&str] = &[
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Equal",
    "Less",
    "LessOrEqual",
    "Greater",
    "GreaterOrEqual",
    "And",
    "Or",
    "Xor",
    "Max",
    "Min",
];

pub(super) struct Expands;

impl Pass for Expands {
    fn name(&self) -> &'static str {
        "expands"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        if model.opset("").unwrap_or(1) < 7 {
            return Err(Refusal::NoMatch);
        }
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let mut patch = Patch::new();
        let mut touched: Vec<String> = Vec::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is(n, "Expand")) {
            let (Some(source), [output]) = (node::input(n, 0), n.output.as_slice()) else { continue };
            let users = view.users(output);
            // One of two expanded inputs must stay: the other gives the result its shape.
            let clashes = users.iter().any(|(_, u)| u.input.iter().any(|i| touched.contains(i)));
            let free = !clashes && view.uses(output).iter().all(|u| matches!(u, Use::Input { .. }));
            if free && users.iter().all(|(_, u)| broadcasts_anyway(&shapes, u, output, source)) {
                patch.because(format!("{} stands before operators that broadcast", node::label(n)));
                patch.remove(id).redirect(output, source);
                touched.push(output.clone());
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// A tensor of zeros that is added, or of ones that is multiplied by, for its shape alone.
pub(super) struct Fillers;

impl Pass for Fillers {
    fn name(&self) -> &'static str {
        "fillers"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        if model.opset("").unwrap_or(1) < 8 {
            return Err(Refusal::NoMatch);
        }
        let view = model.view();
        let mut patch = Patch::new();
        let arithmetic = |n: &NodeProto| node::is_default_domain(&n.domain) && ARITHMETIC.contains(&n.op_type.as_str());
        for (id, n) in view.nodes().filter(|(_, n)| arithmetic(n) && n.input.len() == 2) {
            let found = identities::operands(n).find_map(|(x, filler)| {
                let filler = node::input(n, filler)?;
                view.sole_user(filler)?;
                let (filler_id, made) = view.producer_of(filler, "ConstantOfShape")?;
                let fill = attr::tensor(made, "value").map(Tensor::from_proto);
                let fill = fill.map_or(Some(0.0), |t| t.ok()?.to_f64().ok()?.first().copied());
                let neutral = fill == Some(identities::neutral_operand(n)) && !patch.touches(filler_id);
                neutral.then_some((node::input(n, x)?, node::input(made, 0)?, filler_id))
            });
            let (Some((x, shape, filler)), [output]) = (found, n.output.as_slice()) else { continue };
            patch.because(format!("{} gives its result a shape only", node::label(n)));
            let expand = NodeProto { name: n.name.clone(), ..node::new("Expand", &[x, shape], &[output]) };
            patch.replace(id, vec![expand]).remove(filler);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// Operators that have a neutral operand.
const ARITHMETIC: &[&str] = &["Add", "Sub", "Mul", "Div"];

fn broadcasts_anyway(shapes: &Shapes, user: &NodeProto, expanded: &str, source: &str) -> bool {
    let known = || -> Option<bool> {
        let [a, b] = user.input.as_slice() else { return None };
        let other = if a == expanded { b } else { a };
        if other == expanded || !BROADCASTING.contains(&user.op_type.as_str()) || !node::is_default_domain(&user.domain)
        {
            return None;
        }
        let result = common::broadcast(shapes.dims(source)?, shapes.dims(other)?)?;
        Some(shapes.dims(user.output.first()?)? == result.as_slice())
    };
    known().unwrap_or(false)
}
