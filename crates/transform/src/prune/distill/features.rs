//! What layers read inside a pruned model, compared with the same channels in the original: squared error over variance. Each place of a
//! value is one more equation, where an output is a handful a sample (hints: Romero et al., "FitNets", arXiv 1412.6550; blocks: Li
//! et al., "BRECQ", arXiv 2102.05426). Knows numbers and positions, neither weights nor training.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_onnx::Model;

/// Positions that are left of each value's channels, by its name.
pub(in super::super) type Kept = BTreeMap<String, Vec<usize>>;

/// The values inside both models that convolutions and matrix products read.
pub(super) fn values(original: &Model, pruned: &Model) -> Vec<String> {
    let (view, after) = (original.view(), pruned.view());
    let outputs: BTreeSet<String> = original.outputs().into_iter().map(|o| o.name).collect();
    let mut found: Vec<String> = Vec::new();
    let layers = view.nodes().filter(|(_, n)| matches!(n.op_type.as_str(), "Conv" | "Gemm" | "MatMul"));
    for x in layers.filter_map(|(_, n)| n.input.first()) {
        let computed = view.producer(x).is_some() && after.producer(x).is_some();
        if computed && view.constant(x).is_none() && !outputs.contains(x) && !found.contains(x) {
            found.push(x.clone());
        }
    }
    found
}

/// One value that is compared.
pub(super) struct Feature {
    /// Positions in the original of the channels that are left.
    kept: Vec<usize>,
    /// Channels in the original, and elements of one.
    count: usize,
    inner: usize,
    sums: Sums,
}

/// What was seen of a value: elements, squared error, and by channel the number, sum and sum of squares.
#[derive(Default)]
struct Sums {
    error: f64,
    channels: Vec<[f64; 3]>,
}

impl Feature {
    /// A value of these shapes; `None` where it is not clear which elements correspond.
    pub(super) fn of(kept: Option<&Vec<usize>>, original: &[usize], pruned: &[usize]) -> Option<Self> {
        if original.len() != pruned.len() {
            return None;
        }
        let apart: Vec<usize> = (0..original.len()).filter(|a| original[*a] != pruned[*a]).collect();
        let (kept, count, inner) = match apart.as_slice() {
            [] => (vec![0], 1, original.iter().product()),
            &[axis] => {
                let kept = kept.filter(|k| k.len() == pruned[axis] && k.iter().all(|k| *k < original[axis]))?;
                (kept.clone(), original[axis], original[axis + 1..].iter().product())
            }
            _ => return None,
        };
        let channels = vec![[0.0; 3]; kept.len()];
        Some(Self { kept, count, inner, sums: Sums { error: 0.0, channels } })
    }

    /// Channel by channel what is left of the original's value, with its place among the channels that are left.
    fn left<'v>(&'v self, original: &'v [f32]) -> impl Iterator<Item = (usize, &'v [f32])> {
        let channel = move |block: &'v [f32], k: usize| &block[k * self.inner..(k + 1) * self.inner];
        let kept = move |block: &'v [f32]| self.kept.iter().map(move |k| channel(block, *k)).enumerate();
        original.chunks_exact((self.count * self.inner).max(1)).flat_map(kept)
    }

    /// Takes note of a run of both models.
    pub(super) fn see(&mut self, original: &[f32], pruned: &[f32]) {
        let mut sums = std::mem::take(&mut self.sums);
        for ((place, t), s) in self.left(original).zip(pruned.chunks_exact(self.inner.max(1))) {
            let [n, sum, squares] = &mut sums.channels[place];
            for (t, s) in t.iter().zip(s).map(|(t, s)| (f64::from(*t), f64::from(*s))) {
                sums.error += (s - t).powi(2);
                (*n, *sum, *squares) = (*n + 1.0, *sum + t, *squares + t * t);
            }
        }
        self.sums = sums;
    }

    /// The variance of the channels about their means, where there is any.
    fn variance(&self) -> Option<f64> {
        let n: f64 = self.sums.channels.iter().map(|c| c[0]).sum();
        let spread = |[n, sum, squares]: &[f64; 3]| squares - sum * sum / n.max(1.0);
        let variance = self.sums.channels.iter().map(spread).sum::<f64>() / n.max(1.0);
        (variance.is_finite() && variance > 1e-30).then_some(variance)
    }

    /// Squared error over variance in what was seen; `None` where there is nothing to compare.
    pub(super) fn seen(&self) -> Option<f64> {
        let n: f64 = self.sums.channels.iter().map(|c| c[0]).sum();
        Some(self.sums.error / n.max(1.0) / self.variance()?).filter(|e| e.is_finite())
    }

    /// The gradient of `weight` times the squared error over the variance.
    pub(super) fn gradient(&self, original: &[f32], pruned: &[f32], weight: f64) -> Vec<f32> {
        let Some(variance) = self.variance() else { return vec![] };
        let by = (2.0 * weight / (variance * pruned.len().max(1) as f64)) as f32;
        let mut found = Vec::with_capacity(pruned.len());
        for ((_, t), s) in self.left(original).zip(pruned.chunks_exact(self.inner.max(1))) {
            found.extend(t.iter().zip(s).map(|(t, s)| by * (s - t)));
        }
        found
    }
}
