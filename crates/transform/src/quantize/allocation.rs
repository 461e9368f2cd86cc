//! Which weights get 8 bits where most get 4: those that damage the outputs most for the bytes that they save, within a budget of
//! bytes. Damage is measured, one weight at a time in 4 bits and all others in 8 (the greedy choice by sensitivity per byte is
//! that of HAQ and HAWQ: Wang et al., arXiv 1811.08886; Dong et al., arXiv 1905.03696). Without samples the smallest weights
//! are the choice: first, last and narrow layers are small, and the errors of large ones average out.

use plimsoll_onnx::Model;

use super::{
    repair::Twin,
    solution::{Layer, Site, Solution},
};
use crate::{
    Context, Refusal,
    observe::{Judge, Runs},
};

/// The 8-bit weights may take this share of what the weights would take in 4 bits.
const BUDGET: f64 = 0.10;
/// Runs that each weight is judged on.
const RUNS: usize = 32;
/// With more candidates than this the measuring would take longer than the repair.
const MOST: usize = 64;

/// A weight that may have 4 bits or 8.
pub(super) struct Candidate<'m> {
    /// Its name.
    pub(super) name: &'m str,
    /// Where it is read.
    pub(super) site: Site,
    /// Number of its elements.
    pub(super) elements: usize,
    /// It in 8 bits.
    pub(super) wide: Layer,
}

impl Candidate<'_> {
    /// What 8 bits cost more than 4.
    fn bytes(&self) -> usize {
        self.elements.div_ceil(2).max(1)
    }
}

/// Gives some of the candidates, which have 4 bits in the solution, 8 instead; one line about each.
pub(super) fn allocate<'m>(
    model: &'m Model,
    context: &Context<'_>,
    samples: usize,
    candidates: Vec<Candidate<'m>>,
    solution: &mut Solution<'m>,
    twin: &(dyn Fn(&Solution<'m>) -> Result<Twin, Refusal> + Sync),
) -> Result<Vec<String>, Refusal> {
    let budget = candidates.iter().map(Candidate::bytes).sum::<usize>() as f64 * BUDGET;
    let mut eights = solution.clone();
    eights.layers.extend(candidates.iter().map(|w| (w.site, w.wide.clone())));
    let damages = damages(model, context, samples, &candidates, solution, &eights, twin)?;
    let mut order: Vec<(f64, usize)> = match &damages {
        Some(damages) => candidates.iter().zip(damages).map(|(w, d)| -d / w.bytes() as f64).zip(0..).collect(),
        None => candidates.iter().map(|w| w.bytes() as f64).zip(0..).collect(),
    };
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut spent, mut reasons) = (0.0, Vec::new());
    for (_, at) in order {
        let Some(weight) = candidates.get(at) else { continue };
        let cost = weight.bytes() as f64;
        if spent + cost > budget {
            continue;
        }
        spent += cost;
        if let Some(layer) = eights.layers.remove(&weight.site) {
            solution.layers.insert(weight.site, layer);
        }
        let why = match damages.as_ref().and_then(|d| d.get(at)) {
            Some(damage) => format!("in 4 bits it alone would move the outputs by {damage:.1e}"),
            None => "it is among the smallest".into(),
        };
        reasons.push(format!("`{}` gets 8 bits: {why}", weight.name));
    }
    Ok(reasons)
}

/// The damage of each candidate alone; `None` where it is not measured.
fn damages<'m>(
    model: &'m Model,
    context: &Context<'_>,
    samples: usize,
    candidates: &[Candidate<'m>],
    fours: &Solution<'m>,
    eights: &Solution<'m>,
    twin: &(dyn Fn(&Solution<'m>) -> Result<Twin, Refusal> + Sync),
) -> Result<Option<Vec<f64>>, Refusal> {
    if context.data.is_none() || !(2..=MOST).contains(&candidates.len()) {
        return Ok(None);
    }
    let runs = Runs::of(model, context, samples)?.thinned(RUNS);
    let Some(judge) = Judge::of(model, context, runs)? else { return Ok(None) };
    let base = judge.distance(&twin(eights)?.0)?;
    let one = |weight: &Candidate<'m>| {
        let mut alone = eights.clone();
        alone.layers.extend(fours.layers.get(&weight.site).map(|layer| (weight.site, layer.clone())));
        Ok((judge.distance(&twin(&alone)?.0)? - base).max(0.0))
    };
    candidates.iter().map(one).collect::<Result<Vec<f64>, Refusal>>().map(Some)
}
