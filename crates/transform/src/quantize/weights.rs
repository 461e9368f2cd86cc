//! Weights stored in 8 or 4 bits with symmetric scales and dequantized at load; everything is computed in float32 as before.
//!
//! The passes: find the weights, choose the bits and the codes, repair them, write. Knows neither how weights are written nor how
//! samples stream.

use std::collections::BTreeMap;

use plimsoll_onnx::{Model, NodeId, Patch, View};

use super::{
    Granularity, QuantizeOptions,
    affine::Codebook,
    allocation::{self, Candidate},
    opset,
    qdq::{FEWEST_A_SCALE, drop_orphans},
    repair::{self, Job},
    solution::{Activations, Solution},
    stored::{StoredWeight, StoredWeights},
    writer::Form,
};
use crate::{Context, Effect, Pass, Refusal};

/// The pass.
#[derive(Debug, Clone)]
pub(super) struct WeightsOnly {
    options: QuantizeOptions,
    /// The codes that most weights get.
    four: bool,
}

impl WeightsOnly {
    /// Weights in 8 bits.
    pub(super) fn int8(options: QuantizeOptions) -> Self {
        Self { options, four: false }
    }

    /// Weights in 4 bits, but for those that cost more in accuracy than they save in bytes.
    pub(super) fn int4(options: QuantizeOptions) -> Self {
        Self { options, four: true }
    }
}

impl Pass for WeightsOnly {
    fn name(&self) -> &'static str {
        if self.four { "quantize-int4-weights" } else { "quantize-int8-weights" }
    }

    fn effect(&self) -> Effect {
        Effect::Lossy(if self.four {
            "weights are rounded to 4 bits, some to 8; activations stay in float32"
        } else {
            "weights are rounded to 8 bits; activations stay in float32"
        })
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        let options = &self.options;
        options.check_excluded(model)?;
        let mut patch = Patch::new();
        match options.granularity {
            _ if self.four => opset::require(model, 21, "int4", &mut patch)?,
            Granularity::PerChannel => opset::require(model, 13, "one scale a channel", &mut patch)?,
            Granularity::PerTensor => opset::require(model, 10, "DequantizeLinear", &mut patch)?,
        }
        let view = model.view();
        let stored = StoredWeights::of(model, &view, options)?;
        for why in &stored.left {
            patch.because(why);
        }
        if stored.weights.is_empty() {
            return Err(super::nothing(model, self.name()));
        }
        let eight = options.codebook();
        let may_be_four =
            |w: &StoredWeight<'_>| self.four && is_narrow(&stored, w) && !options.widens(view.node(w.site.node));
        let mut solution = Solution { activations: Activations::default(), layers: BTreeMap::new() };
        for weight in &stored.weights {
            let book = if may_be_four(weight) { Codebook::FOUR } else { eight };
            solution.layers.insert(weight.site, weight.nearest(book)?);
        }
        let method = options.repair(context)?;
        let base = patch.clone();
        let twin = |solution: &Solution<'_>| twin(model, &view, &stored, solution, &base);
        if self.four {
            let candidates = stored.weights.iter().filter(|w| may_be_four(w)).map(|w| candidate(w, eight));
            let candidates: Vec<Candidate<'_>> = candidates.collect::<Result<_, Refusal>>()?;
            let chosen = allocation::allocate(model, context, options.samples, candidates, &mut solution, &twin)?;
            for why in chosen {
                patch.because(why);
            }
        }
        let (_, evidence) =
            repair::evidence(model, &view, context, &stored.anchors, method, options.samples, BTreeMap::new())?;
        let books: BTreeMap<NodeId, Codebook> =
            solution.layers.iter().map(|(site, layer)| (site.node, layer.weight.book)).collect();
        let job = Job {
            context,
            anchors: &stored.anchors,
            method,
            twin: &twin,
            least: &|_, _, _| 0.0,
            book: &|id| books.get(&id).copied().unwrap_or(eight),
        };
        let (solution, repaired) = repair::repair(&job, evidence.as_ref(), solution)?;
        patch.because(repaired);
        let written = stored.write(model, &view, &solution, Form::Stored, patch)?;
        drop_orphans(model, written.patch)
    }
}

fn twin<'m>(
    model: &'m Model,
    view: &View<'m>,
    stored: &StoredWeights<'m>,
    solution: &Solution<'m>,
    base: &Patch,
) -> Result<repair::Twin, Refusal> {
    let written = stored.write(model, view, solution, Form::Twin, base.clone())?;
    let mut twin = model.clone();
    written.patch.apply(&mut twin).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    Ok((twin, written.inputs))
}

/// Whether a weight may have 4 bits: the matrix of a layer, with enough elements to each scale.
fn is_narrow(stored: &StoredWeights<'_>, weight: &StoredWeight<'_>) -> bool {
    let scales = weight.axis.map_or(1, |a| weight.tensor.shape()[a]);
    stored.anchors.contains_key(&weight.site.node) && weight.tensor.len() / scales.max(1) >= FEWEST_A_SCALE
}

fn candidate<'m>(w: &StoredWeight<'m>, wide: Codebook) -> Result<Candidate<'m>, Refusal> {
    Ok(Candidate { name: w.name, site: w.site, elements: w.tensor.len(), wide: w.nearest(wide)? })
}
