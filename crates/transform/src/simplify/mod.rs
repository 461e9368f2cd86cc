//! Removing what costs and does nothing. Every pass here is exact.

mod affine;
mod batch_norm;
mod bodies;
mod branches;
mod common;
mod concat;
mod constants;
mod dead;
mod expand;
mod fold;
mod hard;
mod identities;
mod layer;
mod lookup;
mod merge;
mod one_hot;
mod pad;
mod reshapes;
mod shapes;
mod slices;
mod states;

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
        &branches::TakenBranches,
        &identities::Identities,
        &reshapes::Reshapes,
        &expand::Fillers,
        &expand::Expands,
        &concat::NestedConcat,
        &slices::Slices,
        &states::ZeroStates,
        &batch_norm::BatchNorm,
        &affine::Affine,
        &hard::HardSigmoids,
        &pad::Pads,
        &one_hot::OneHotProducts,
        &lookup::Lookups,
        &merge::SharedWeights,
        &merge::CommonSubexpressions,
        &bodies::Bodies,
        &dead::Dead,
    ]
}

/// Rounds until nothing changes; real models settle in three or four.
const ROUNDS: usize = 12;

/// Simplifies a model and checks the result against the original.
pub fn simplify(model: &Model, context: &Context<'_>) -> Result<(Model, Vec<Step>, Checked), PipelineError> {
    manager::run(model, passes(), ROUNDS, context)
}
