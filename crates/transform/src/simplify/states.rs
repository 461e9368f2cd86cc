//! States of recurrent layers that begin at zero, which is where they begin anyway.

use plimsoll_onnx::{DType, Model, Patch, Tensor, View, attr, node};

use super::common;
use crate::{Context, Effect, Pass, Refusal};

/// Operators that move elements about and invent none.
const MOVING: &[&str] =
    &["Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice", "Expand", "Tile", "Gather"];

pub(super) struct ZeroStates;

impl Pass for ZeroStates {
    fn name(&self) -> &'static str {
        "zero-states"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is_default_domain(&n.domain)) {
            let slots: &[usize] = match n.op_type.as_str() {
                "LSTM" => &[5, 6],
                "GRU" | "RNN" => &[5],
                _ => continue,
            };
            let mut changed = n.clone();
            for &slot in slots {
                if node::input(n, slot).is_some_and(|state| is_zero(&view, state)) {
                    changed.input[slot].clear();
                }
            }
            if changed == *n {
                continue;
            }
            while changed.input.last().is_some_and(String::is_empty) {
                changed.input.pop();
            }
            patch.because(format!("{} begins at zero anyway", node::label(n)));
            patch.replace(id, vec![changed]);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// Whether every element of a value is zero, whatever the inputs are.
fn is_zero(view: &View<'_>, value: &str) -> bool {
    let zero = |t: &Tensor| t.dtype() != DType::Bool && t.to_f64().is_ok_and(|v| v.iter().all(|&v| v == 0.0));
    let mut value = value.to_owned();
    loop {
        if let Some(tensor) = common::constant(view, &value) {
            return zero(&tensor);
        }
        let Some((_, n)) = view.producer(&value).filter(|(_, n)| node::is_default_domain(&n.domain)) else {
            return false;
        };
        if n.op_type == "ConstantOfShape" {
            let fill = attr::tensor(n, "value").map(Tensor::from_proto);
            return fill.is_none_or(|t| t.is_ok_and(|t| zero(&t)));
        }
        match node::input(n, 0) {
            Some(source) if MOVING.contains(&n.op_type.as_str()) => value = source.to_owned(),
            _ => return false,
        }
    }
}
