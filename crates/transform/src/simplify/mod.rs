//! Removing what costs and does nothing. Every pass here is exact.

mod batch_norm;
mod common;
mod concat;
mod constants;
mod dead;
mod expand;
mod fold;
mod identities;
mod lookup;
mod merge;
mod one_hot;
mod pad;
mod shapes;

#[cfg(test)]
mod tests;

pub(crate) use common::is_random;

use plimsoll_onnx::Model;

use crate::{Context, Pass, PipelineError, Step, manager, verify::Checked};

/// The passes in their order. A new one is a file and a line here.
pub fn passes() -> &'static [&'static dyn Pass] {
    &[
        &constants::ConstantNodes,
        &shapes::FoldShapes,
        &shapes::FixTargets,
        &fold::FoldConstants,
        &identities::Identities,
        &expand::Expands,
        &concat::NestedConcat,
        &batch_norm::BatchNorm,
        &pad::Pads,
        &one_hot::OneHotProducts,
        &lookup::Lookups,
        &merge::SharedWeights,
        &merge::CommonSubexpressions,
        &dead::Dead,
    ]
}

/// Rounds until nothing changes; real models settle in three or four.
const ROUNDS: usize = 12;

/// Simplifies a model and checks the result against the original.
pub fn simplify(model: &Model, context: &Context<'_>) -> Result<(Model, Vec<Step>, Checked), PipelineError> {
    manager::run(model, passes(), ROUNDS, context)
}
