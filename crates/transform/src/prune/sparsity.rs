//! Unstructured sparsity: the weights of smallest magnitude become zero, one threshold for the whole model (Han et al.,
//! "Learning both Weights and Connections", arXiv 1506.02626). Shapes stay: the file gets smaller only once it is compressed, and
//! dense executors save no time. Says so.

use plimsoll_onnx::{DType, Model, Patch, Tensor, Use, View, attr, node, proto::NodeProto};

use super::Share;
use crate::{Context, Effect, Pass, Refusal};

/// The pass.
#[derive(Debug, Clone)]
pub struct Sparsity {
    share: Share,
}

impl Sparsity {
    /// Makes this share of the weights of Conv, ConvTranspose, Gemm and MatMul zero.
    pub fn new(share: Share) -> Self {
        Self { share }
    }
}

impl Pass for Sparsity {
    fn name(&self) -> &'static str {
        "prune-weights"
    }

    fn effect(&self) -> Effect {
        Effect::Lossy("single weights become zero; smaller only when compressed, no faster")
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let mut weights: Vec<(&str, Tensor, Vec<f32>)> = Vec::new();
        for name in names(model) {
            let Some(proto) = view.constant(name).filter(|t| t.data_type == DType::F32.to_onnx()) else { continue };
            if !is_weight(&view, name) || proto.dims.len() < 2 {
                continue;
            }
            let tensor = Tensor::from_proto(proto)?;
            let values = tensor.to_vec()?;
            weights.push((name, tensor, values));
        }
        let total: usize = weights.iter().map(|(_, _, v)| v.len()).sum();
        let zeros = |v: &[f32]| v.iter().filter(|x| **x == 0.0).count();
        let before: usize = weights.iter().map(|(_, _, v)| zeros(v)).sum();
        // At least the share that was asked for, and never all.
        let wanted = ((total as f64 * self.share.fraction()).ceil() as usize).min(total.saturating_sub(1));
        if total == 0 {
            return Err(Refusal::NoMatch);
        }
        if before >= wanted {
            return Err(Refusal::NoGain(format!("{before} of {total} weights are zero already")));
        }
        let mut magnitudes: Vec<f32> = weights.iter().flat_map(|(_, _, v)| v.iter().map(|x| x.abs())).collect();
        let (_, &mut threshold, _) = magnitudes.select_nth_unstable_by(wanted - 1, f32::total_cmp);
        let below: usize = weights.iter().map(|(_, _, v)| v.iter().filter(|x| x.abs() < threshold).count()).sum();
        // Ties at the threshold go in stored order until the count is exact.
        let mut ties = wanted - below;
        let mut patch = Patch::new();
        for (name, tensor, mut values) in weights {
            let had = zeros(&values);
            for v in &mut values {
                let tie = v.abs() == threshold && ties > 0;
                ties -= usize::from(tie);
                if tie || v.abs() < threshold {
                    *v = 0.0;
                }
            }
            let (now, of) = (zeros(&values), values.len());
            if now == had {
                continue;
            }
            let tensor = Tensor::from_elements(tensor.shape(), &values)?;
            match view.producer(name) {
                Some((id, n)) => {
                    let mut changed = n.clone();
                    attr::set(&mut changed, attr::from_tensor("value", tensor.to_proto("")));
                    patch.replace(id, vec![changed]);
                }
                None => _ = patch.set_initializer(name, &tensor),
            }
            patch.because(format!("`{name}`: {now} of {of} weights are zero"));
        }
        patch.because(format!(
            "{wanted} of {total} weights are zero: the file is smaller once compressed; dense executors save no time"
        ));
        Ok(patch)
    }
}

fn names(model: &Model) -> impl Iterator<Item = &str> {
    let graph = model.graph();
    let nodes = graph.node.iter().filter(|n| node::is(n, "Constant")).filter_map(|n| n.output.first());
    graph.initializer.iter().map(|t| t.name.as_str()).chain(nodes.map(String::as_str))
}

/// Whether every reader takes the value as the weight of a linear operator.
fn is_weight(view: &View<'_>, name: &str) -> bool {
    let linear = |n: &NodeProto| ["Conv", "ConvTranspose", "Gemm", "MatMul"].iter().any(|op| node::is(n, op));
    let weight = |u: &Use| matches!(*u, Use::Input { node, slot: 1 } if linear(view.node(node)));
    let uses = view.uses(name);
    !uses.is_empty() && uses.iter().all(weight)
}
