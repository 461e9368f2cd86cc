//! Weights stored as float16, cast to float32 at load. Every executor folds the cast, so that time and memory at run time stay
//! as they were; the file halves.

use half::f16;
use plimsoll_onnx::{Model, Names, Patch, Tensor, attr, node, proto::NodeProto};

use super::{QuantizeOptions, float_constant, replace_constant};
use crate::{Context, Effect, Pass, Refusal};

/// Below this many elements the cast and its names cost more than half the data.
const FEWEST: usize = 128;

/// The pass.
#[derive(Debug, Clone)]
pub(super) struct F16Weights {
    options: QuantizeOptions,
}

impl F16Weights {
    pub(super) fn new(options: QuantizeOptions) -> Self {
        Self { options }
    }
}

impl Pass for F16Weights {
    fn name(&self) -> &'static str {
        "quantize-f16"
    }

    fn effect(&self) -> Effect {
        Effect::Lossy("weights are rounded to float16 (11 significant bits)")
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        self.options.check_excluded(model)?;
        let view = model.view();
        let mut names = Names::of(model);
        let mut patch = Patch::new();
        for name in constants(model) {
            let Some(tensor) = float_constant(&view, name)? else { continue };
            if tensor.len() < FEWEST || view.is_output(name) || view.uses(name).is_empty() {
                continue;
            }
            if view.users(name).iter().any(|(_, n)| self.options.excludes(n)) {
                continue;
            }
            let half = tensor.to_f16()?;
            // A value that was infinite stays so; one that becomes infinite would not be the same weight any more.
            if let Some(large) = overflow(&tensor, &half)? {
                patch.because(format!("`{name}` stays in float32: {large} is beyond the range of float16"));
                continue;
            }
            let stored = names.fresh("h");
            patch.set_initializer(&stored, &half);
            replace_constant(&mut patch, &view, name, cast(&stored, name));
            patch.because(format!("`{name}` {:?} is stored as float16", tensor.shape()));
        }
        Ok(patch)
    }
}

fn overflow(before: &Tensor, after: &Tensor) -> Result<Option<f32>, Refusal> {
    let (before, after) = (before.to_vec::<f32>()?, after.to_vec::<f16>()?);
    Ok(before.iter().zip(&after).find(|(b, a)| b.is_finite() && !a.is_finite()).map(|(b, _)| *b))
}

fn cast(from: &str, to: &str) -> NodeProto {
    node::with("Cast", &[from], &[to], vec![attr::from_int("to", 1)])
}

/// Names of initializers and of tensors in `Constant` nodes, in stored order.
pub(super) fn constants(model: &Model) -> impl Iterator<Item = &str> {
    let graph = model.graph();
    let nodes = graph.node.iter().filter(|n| node::is(n, "Constant")).filter_map(|n| n.output.first());
    graph.initializer.iter().map(|t| t.name.as_str()).chain(nodes.map(String::as_str))
}
