//! Sparsity: single weights become zero, anywhere or N of each M. Which ones: those of smallest magnitude within their layer, one
//! threshold for the whole model once layers are scaled (LAMP, Lee et al., arXiv 2010.07611); with samples, as many of each
//! layer, those whose error the others can best compensate ([`compensate`]). Shapes stay: the file gets smaller only once it is compressed, and dense
//! executors save no time. Says so. This module must not know budgets.

mod compensate;
mod layers;
mod pattern;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
    str::FromStr,
};

use plimsoll_onnx::{DType, Model, Patch, Tensor, Use, View, attr, node, proto::NodeProto};

use self::compensate::Keep;
pub use self::pattern::{Blocks, NotBlocks, Pattern};
use super::{Share, layers::set_constant, removal::apply};
use crate::{Context, Effect, Pass, Refusal};

/// What makes up for zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compensation {
    /// Nothing: the weights of smallest magnitude go, the others stay as they are.
    None,
    /// Zeros are chosen, and the other weights changed, by what each layer computes on samples ("optimal brain surgeon").
    Obs,
}

/// A text that names no compensation.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("`{0}` is no repair of sparse weights; it may be none or obs")]
pub struct NotACompensation(String);

impl FromStr for Compensation {
    type Err = NotACompensation;
    fn from_str(s: &str) -> Result<Self, NotACompensation> {
        match s {
            "none" => Ok(Self::None),
            "obs" => Ok(Self::Obs),
            _ => Err(NotACompensation(s.into())),
        }
    }
}

/// The pass.
#[derive(Debug, Clone)]
pub struct Sparsity {
    /// How zeros lie in the weights of Conv, ConvTranspose, Gemm, MatMul and recurrent layers.
    pub pattern: Pattern,
    /// What makes up for them. By default OBS where samples are given.
    pub repair: Option<Compensation>,
    /// Nodes that keep their weights: names of nodes, or of values that they compute.
    pub exclude: Vec<String>,
    /// At most so many samples are used.
    pub samples: usize,
}

impl Sparsity {
    /// Zeros anywhere, this share of all weights.
    pub fn new(share: Share) -> Self {
        Self::of(Pattern::Anywhere(share))
    }

    /// With the defaults: compensated where samples are given, nothing excluded.
    pub fn of(pattern: Pattern) -> Self {
        Self { pattern, repair: None, exclude: Vec::new(), samples: 512 }
    }
}

/// A constant that layers multiply by.
struct Weight<'m> {
    name: &'m str,
    tensor: Tensor,
    values: Vec<f32>,
    layout: Layout,
}

/// Where the sums of a layer run in its weight.
#[derive(Clone, Copy)]
struct Layout {
    /// The axis of what is summed over.
    axis: usize,
    /// Elements behind it, each summed over apart.
    inner: usize,
}

impl Pass for Sparsity {
    fn name(&self) -> &'static str {
        "prune-weights"
    }

    fn effect(&self) -> Effect {
        Effect::Lossy("single weights become zero; smaller only when compressed, no faster")
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let weights = self.weights(model, &view)?;
        let total: usize = weights.iter().map(|w| w.values.len()).sum();
        if total == 0 {
            return Err(Refusal::NoMatch);
        }
        let before: usize = weights.iter().map(|w| zeros(&w.values)).sum();
        let sparse = match self.pattern {
            Pattern::Anywhere(share) => {
                // At least the share that was asked for, and never all.
                let wanted = ((total as f64 * share.fraction()).ceil() as usize).min(total.saturating_sub(1));
                if before >= wanted {
                    return Err(Refusal::NoGain(format!("{before} of {total} weights are zero already")));
                }
                anywhere(&weights, wanted)
            }
            Pattern::Blocks(blocks) => weights.iter().map(|w| in_blocks(w, blocks)).collect(),
        };
        let mut plain = Patch::new();
        for (w, values) in weights.iter().zip(&sparse).filter(|(w, values)| w.values != **values) {
            set_constant(&view, &mut plain, w.name, &Tensor::from_elements(w.tensor.shape(), values)?);
        }
        if plain.is_empty() {
            return Err(Refusal::NoGain(format!("{before} of {total} weights are zero already, in this pattern")));
        }
        let mut changed = model.clone();
        apply(plain.clone(), &mut changed)?;
        let (mut patch, how) = self.repaired(model, &changed, context, plain, &weights, &sparse)?;
        let mut result = model.clone();
        apply(patch.clone(), &mut result)?;
        let after = result.view();
        let mut count = 0;
        for w in &weights {
            let Some(proto) = after.constant(w.name) else { continue };
            let now = zeros(&Tensor::from_proto(proto)?.to_vec::<f32>()?);
            count += now;
            patch.because(format!("`{}`: {now} of {} weights are zero", w.name, w.values.len()));
        }
        patch.because(how);
        let deflated = [model, &result].map(deflated);
        let compressed = match deflated {
            [Some(a), Some(b)] => format!(" ({a} bytes deflated before, {b} now)"),
            _ => String::new(),
        };
        patch.because(format!(
            "{count} of {total} weights are zero: the file is smaller once compressed{compressed}; dense executors save no time"
        ));
        Ok(patch)
    }
}

impl Sparsity {
    fn weights<'m>(&self, model: &'m Model, view: &View<'m>) -> Result<Vec<Weight<'m>>, Refusal> {
        let is = |n: &NodeProto, e: &String| *e == n.name || n.output.contains(e) || *e == node::label(n);
        if let Some(e) = self.exclude.iter().find(|e| !model.graph().node.iter().any(|n| is(n, e))) {
            return Err(Refusal::CheckFailed(format!("`{e}` is to be excluded, but no node has this name")));
        }
        let excluded = |n: &NodeProto| self.exclude.iter().any(|e| is(n, e));
        let mut found = Vec::new();
        for name in names(model) {
            let Some(proto) = view.constant(name).filter(|t| t.data_type == DType::F32.to_onnx()) else { continue };
            let Some(layout) = layout(view, name, &proto.dims, &excluded) else { continue };
            let tensor = Tensor::from_proto(proto)?;
            let values = tensor.to_vec()?;
            found.push(Weight { name, tensor, values, layout });
        }
        Ok(found)
    }

    /// The better one of the plain and the compensated model, as a patch, and one line about it.
    fn repaired(
        &self,
        model: &Model,
        sparse: &Model,
        context: &Context<'_>,
        plain: Patch,
        weights: &[Weight<'_>],
        values: &[Vec<f32>],
    ) -> Result<(Patch, String), Refusal> {
        let repair = match (self.repair, context.data) {
            (Some(Compensation::Obs), None) => return Err(Refusal::NeedsData),
            (Some(repair), _) => repair,
            (None, Some(_)) => Compensation::Obs,
            (None, None) => Compensation::None,
        };
        if repair == Compensation::None {
            return Ok((plain, "not compensated: the weights of smallest magnitude are zero".into()));
        }
        let keep = |(w, values): (&Weight<'_>, &Vec<f32>)| {
            let keep = match self.pattern {
                Pattern::Anywhere(_) => Keep::AllBut(zeros(values)),
                Pattern::Blocks(blocks) => Keep::Blocks(blocks, w.taps()),
            };
            (w.name.to_owned(), keep)
        };
        let keep = weights.iter().zip(values).map(keep).collect::<BTreeMap<_, _>>();
        let found = layers::compensate(model, sparse, context, self.samples, &keep)?;
        let figures = found.distances.map_or_else(String::new, |[plain, compensated]| {
            format!(": distance from the original on held-back runs {plain:.3e} → {compensated:.3e}")
        });
        if found.layers == 0 || found.distances.is_some_and(|[plain, compensated]| compensated >= plain) {
            return Ok((plain, format!("not compensated: it does not help{figures}")));
        }
        Ok((between(model, &found.model)?, format!("{} layers compensated{figures}", found.layers)))
    }
}

impl Weight<'_> {
    /// Kernel positions, which are summed over apart.
    fn taps(&self) -> usize {
        // The last axis of a matrix may be that of the rows; only what lies behind the channels of a kernel are taps.
        if self.layout.axis == 1 { self.layout.inner } else { 1 }
    }
}

/// One threshold for the scores of all weights; ties at it go in stored order until the count is exact.
fn anywhere(weights: &[Weight<'_>], wanted: usize) -> Vec<Vec<f32>> {
    let scores: Vec<Vec<f64>> = weights.iter().map(|w| scores(&w.values)).collect();
    let mut all: Vec<f64> = scores.iter().flatten().copied().collect();
    let (_, &mut threshold, _) = all.select_nth_unstable_by(wanted - 1, f64::total_cmp);
    let mut ties = wanted - all.iter().filter(|s| **s < threshold).count();
    let one = |(w, scores): (&Weight<'_>, &Vec<f64>)| {
        let mut values = w.values.clone();
        for (v, score) in values.iter_mut().zip(scores) {
            let tie = *score == threshold && ties > 0;
            ties -= usize::from(tie);
            if tie || *score < threshold {
                *v = 0.0;
            }
        }
        values
    };
    weights.iter().zip(&scores).map(one).collect()
}

/// What share of a layer's power a weight has among those that are no smaller: layers compare whatever their scale, and none
/// loses all.
fn scores(values: &[f32]) -> Vec<f64> {
    let power = |i: usize| f64::from(values[i]).powi(2);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| power(*b).total_cmp(&power(*a)).then(b.cmp(a)));
    let (mut scores, mut sum) = (vec![0.0; values.len()], 0.0);
    for i in order {
        sum += power(i);
        scores[i] = if sum > 0.0 { power(i) / sum } else { 0.0 };
    }
    scores
}

/// Zeros in each block along the summed axis.
fn in_blocks(w: &Weight<'_>, blocks: Blocks) -> Vec<f32> {
    let mut values = w.values.clone();
    let Layout { axis, inner } = w.layout;
    let length = w.tensor.shape()[axis];
    let along = blocks.of_columns(length, 1);
    for start in (0..values.len()).step_by((length * inner).max(1)) {
        for offset in 0..inner {
            let at = |p: usize| start + p * inner + offset;
            for block in &along {
                let magnitudes: Vec<f64> = block.iter().map(|&p| f64::from(values[at(p)].abs())).collect();
                let first = block.first().copied().unwrap_or(0);
                blocks.zero(block, |p| magnitudes[p - first], &mut |p| values[at(p)] = 0.0);
            }
        }
    }
    values
}

/// What must change in one model to get the other, which has the same nodes but for constants and added biases.
fn between(from: &Model, to: &Model) -> Result<Patch, Refusal> {
    let mut patch = Patch::new();
    let before: BTreeMap<&str, _> = from.graph().initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    for proto in to.graph().initializer.iter().filter(|t| before.get(t.name.as_str()) != Some(t)) {
        patch.set_initializer(&proto.name, &Tensor::from_proto(proto)?);
    }
    for ((id, old), new) in from.view().nodes().zip(&to.graph().node) {
        if old != new {
            patch.replace(id, vec![new.clone()]);
        }
    }
    Ok(patch)
}

/// Bytes of a model's file once deflated.
fn deflated(model: &Model) -> Option<u64> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("model.onnx", zip::write::SimpleFileOptions::default()).ok()?;
    archive.write_all(&model.to_bytes().ok()?).ok()?;
    let mut archive = zip::ZipArchive::new(archive.finish().ok()?).ok()?;
    archive.by_index(0).ok().map(|file| file.compressed_size())
}

fn zeros(values: &[f32]) -> usize {
    values.iter().filter(|v| **v == 0.0).count()
}

fn names(model: &Model) -> impl Iterator<Item = &str> {
    let graph = model.graph();
    let nodes = graph.node.iter().filter(|n| node::is(n, "Constant")).filter_map(|n| n.output.first());
    graph.initializer.iter().map(|t| t.name.as_str()).chain(nodes.map(String::as_str))
}

/// How a value is summed over, where every reader takes it as the weight of a linear operator, in one way, and none is excluded.
fn layout(view: &View<'_>, name: &str, dims: &[i64], excluded: &impl Fn(&NodeProto) -> bool) -> Option<Layout> {
    let one = |u: &Use| -> Option<usize> {
        let &Use::Input { node: id, slot } = u else { return None };
        let n = view.node(id);
        let rank = dims.len();
        if excluded(n) || rank < 2 || !node::is_default_domain(&n.domain) {
            return None;
        }
        match (n.op_type.as_str(), slot) {
            ("Conv", 1) => Some(1),
            ("ConvTranspose", 1) => Some(0),
            ("Gemm", 1) => Some(usize::from(attr::int(n, "transB").unwrap_or(0) != 0)),
            ("MatMul", 1) => Some(rank - 2),
            ("LSTM" | "GRU" | "RNN", 1 | 2) => Some(2).filter(|_| rank == 3),
            _ => None,
        }
    };
    let uses: Vec<usize> = view.uses(name).iter().map(one).collect::<Option<_>>()?;
    let axis = *uses.first()?;
    let sizes: Vec<usize> = dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
    let inner = sizes.get(axis + 1..)?.iter().product::<usize>();
    (uses.iter().all(|a| *a == axis) && !sizes.contains(&0)).then_some(Layout { axis, inner })
}
