//! Which node costs what: each is quantized alone, and the outputs of the model are held against the original's. Label-free, on
//! samples that calibration did not see.
//!
//! One at a time, because its figures mean something by themselves (SQNR and divergence as measures of a layer's sensitivity:
//! Nagel et al., "A White Paper on Neural Network Quantization", arXiv 2106.08295, section 4.3; ranking by measured divergence: Dong et al., "HAWQ", arXiv 1905.03696, for the idea). Nodes
//! that share a weight are one unit; of models with very many nodes neighbours are ranked together, so that the number of
//! runs is bounded. This module must not know how a scheme writes its nodes.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{DType, DimSpec, Model, Tensors, node};
use rayon::prelude::*;

use super::{
    Damage, QuantizeOptions, Repair,
    nodes::{quantized_nodes, quantized_of},
    propose,
    runnable::runnable,
};
use crate::{Context, Refusal, Silent, observe::Reference};

/// Most units that are tried one by one.
const UNITS: usize = 64;
/// Samples that each trial calibrates with and is judged on.
const SAMPLES: usize = 48;
/// One run in so many is held back from calibration.
const HELD_BACK: usize = 4;

/// What it costs to quantize a node, or a few that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeCost {
    /// The first values that the nodes compute: names that `exclude` takes.
    pub outputs: Vec<String>,
    /// The nodes' names, or what stands for them.
    pub nodes: Vec<String>,
    /// Their operators, without repetition.
    pub operators: Vec<String>,
    /// Bytes of the model that are saved when they alone are quantized; negative where codes and scales cost more.
    pub bytes_saved: i64,
    /// What becomes of the outputs when they alone are quantized.
    pub damage: Damage,
}

/// Ranks the nodes that a scheme quantizes, the most damaging first. Weights are rounded to nearest: repair is not part of it.
pub fn sensitivity(model: &Model, options: &QuantizeOptions, context: &Context<'_>) -> Result<Vec<NodeCost>, Refusal> {
    let data = context.data.ok_or(Refusal::NeedsData)?;
    options.check_excluded(model)?;
    let (calibration, held) = split(model, data)?;
    rank(model, options, &context.with_data(&calibration), &context.with_data(&held))
}

/// The same on samples that are split already.
pub(super) fn rank(
    model: &Model,
    options: &QuantizeOptions,
    calibration: &Context<'_>,
    held: &Context<'_>,
) -> Result<Vec<NodeCost>, Refusal> {
    let quick = QuantizeOptions { repair: Some(Repair::None), samples: SAMPLES, ..options.clone() };
    let whole = quantized(model, &quick, calibration)?;
    let units = units(model, &quantized_of(model, &whole, &BTreeMap::new()));
    let reference = Reference::of(model, held, SAMPLES)?;
    let all: BTreeSet<&String> = units.iter().flatten().collect();
    held.progress.start("sensitivity", units.len());
    let one = |unit: &Vec<String>| {
        let others = all.iter().filter(|o| !unit.contains(**o)).map(|o| (*o).clone());
        let alone =
            QuantizeOptions { exclude: options.exclude.iter().cloned().chain(others).collect(), ..quick.clone() };
        let found = match quantized(model, &alone, calibration) {
            Ok(changed) => Some(cost(model, &changed, unit, &reference)?),
            Err(Refusal::Exec(e)) => return Err(Refusal::Exec(e)),
            // It is quantized only together with others.
            Err(_) => None,
        };
        held.progress.advance(1);
        Ok(found)
    };
    let found = units.par_iter().map(one).collect::<Result<Vec<_>, Refusal>>();
    held.progress.finish();
    let mut ranked: Vec<NodeCost> = found?.into_iter().flatten().collect();
    ranked.sort_by(|a, b| b.damage.cost().total_cmp(&a.damage.cost()));
    Ok(ranked)
}

fn cost(model: &Model, changed: &Model, unit: &[String], reference: &Reference<'_>) -> Result<NodeCost, Refusal> {
    let view = model.view();
    let nodes = || unit.iter().filter_map(|o| view.producer(o)).map(|(_, n)| n);
    let size = |m: &Model| i64::try_from(m.encoded_len()).unwrap_or(i64::MAX);
    Ok(NodeCost {
        outputs: unit.to_vec(),
        nodes: nodes().map(node::label).collect(),
        operators: nodes().map(|n| n.op_type.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
        bytes_saved: size(model) - size(changed),
        damage: reference.damage(&runnable(changed)?)?.0,
    })
}

/// The model that a scheme makes, whatever its size.
pub(crate) fn quantized(model: &Model, options: &QuantizeOptions, context: &Context<'_>) -> Result<Model, Refusal> {
    let quiet = Context { progress: &Silent, ..*context };
    let patch = propose(options.clone()).run(model, &quiet)?;
    let mut changed = model.clone();
    patch.apply(&mut changed).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    if quantized_nodes(&changed).is_empty() { Err(Refusal::NoMatch) } else { Ok(changed) }
}

/// Nodes by their first output, those together that read the same weight; neighbours together where there are too many.
fn units(model: &Model, outputs: &[String]) -> Vec<Vec<String>> {
    let view = model.view();
    let mut by_weight: BTreeMap<&str, usize> = BTreeMap::new();
    let mut units: Vec<Vec<String>> = Vec::new();
    for output in outputs {
        let Some((_, n)) = view.producer(output) else { continue };
        let matrix = |v: &&String| {
            let constant = view.constant(v.as_str());
            constant.is_some_and(|t| t.data_type == DType::F32.to_onnx() && t.dims.len() > 1)
        };
        // Sums and pools follow the nodes around them.
        let Some(weight) = n.input.iter().find(matrix) else { continue };
        match by_weight.get(weight.as_str()).and_then(|&at| units.get_mut(at)) {
            Some(unit) => unit.push(output.clone()),
            None => {
                by_weight.insert(weight, units.len());
                units.push(vec![output.clone()]);
            }
        }
    }
    let together = units.len().div_ceil(UNITS).max(1);
    units.chunks(together).map(|block| block.concat()).collect()
}

/// Samples to calibrate with, and samples to judge by: every fourth run. Labels go along.
pub(crate) fn split(model: &Model, data: &Dataset) -> Result<(Dataset, Dataset), Refusal> {
    let inputs = model.inputs();
    data.check_against(&inputs).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    let fixed = inputs.iter().find_map(|i| match i.dims.as_ref()?.first()? {
        DimSpec::Fixed(n) => usize::try_from(*n).ok(),
        _ => None,
    });
    let batch = fixed.unwrap_or(1).max(1);
    let runs = data.len() / batch;
    if runs < HELD_BACK {
        let reason = format!("{} samples are too few to hold some back from calibration", data.len());
        return Err(Refusal::CheckFailed(reason));
    }
    let pick = |held: bool| {
        let chosen = (0..runs).filter(|run| (run % HELD_BACK == HELD_BACK - 1) == held);
        let samples: Vec<usize> = chosen.flat_map(|run| run * batch..(run + 1) * batch).collect();
        select(data, &samples)
    };
    Ok((pick(false)?, pick(true)?))
}

fn select(data: &Dataset, samples: &[usize]) -> Result<Dataset, Refusal> {
    let failed = |e: &dyn std::fmt::Display| Refusal::CheckFailed(e.to_string());
    let mut inputs = Tensors::new();
    for (name, tensor) in data.inputs() {
        let stride = tensor.bytes().len() / data.len().max(1);
        let parts = samples.iter().filter_map(|s| tensor.bytes().get(s * stride..(s + 1) * stride));
        let mut shape = tensor.shape().to_vec();
        if let Some(first) = shape.first_mut() {
            *first = samples.len();
        }
        let picked = plimsoll_onnx::Tensor::new(tensor.dtype(), shape, parts.flatten().copied().collect());
        inputs.insert(name.clone(), picked.map_err(|e| failed(&e))?);
    }
    let codes = |v: &[i64]| samples.iter().filter_map(|s| v.get(*s).copied()).collect();
    Dataset::new(data.path(), inputs, data.label().map(codes), data.group().map(codes)).map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests;
