//! How far each weight goes by its gradient: momentum, normalised a tensor at a time. Where a weight multiplies rows, its gradient is
//! measured by what it does to the outputs of its layer: directions in which inputs are large go as far as others (the input side
//! of K-FAC, Martens and Grosse, arXiv 1503.05671). So a network whose normalisation was folded, fed with pixels from 0 to 255, learns as well as
//! one whose layers are alike. Knows numbers, neither losses nor samples.

use faer::{Accum, Mat, MatMut, MatRef, Par, linalg::matmul::matmul};

use super::{Tensors, tape::Layout};
use crate::algebra::Factor;

/// How much of the momentum, and of the size, is kept from step to step.
const DECAYS: [f64; 2] = [0.9, 0.98];
/// Damping of a layer's metric relative to the mean of its diagonal.
const DAMPING: f64 = 0.03;
/// Above this many elements a row the metric is not inverted.
const WIDEST: usize = 2048;

/// What a step of one tensor is measured by.
#[derive(Clone)]
enum Measure {
    /// A magnitude: its own, or how far the outputs of its layer spread.
    Magnitude(f32),
    /// What it does to the outputs: the inverse of the rows' second moments, and the magnitude of the outputs.
    Outputs { layout: Layout, inverse: Vec<f32>, magnitude: f32 },
}

/// The state of a descent.
#[derive(Clone)]
pub(super) struct Steps {
    measures: Vec<Measure>,
    momentum: Tensors,
    sizes: Vec<f64>,
    taken: i32,
}

/// Whether the second moments of these rows are worth taking.
pub(super) fn measured(layout: Option<Layout>) -> Option<Layout> {
    layout.filter(|l| l.inner <= WIDEST)
}

impl Steps {
    /// For these weights, some of them biases of others; `grams` holds the sums of the outer products of the rows that each
    /// multiplies, of the rows, and their number, or nothing.
    pub(super) fn of(weights: &Tensors, layouts: &[Option<Layout>], biases: &[Option<usize>], grams: &Tensors) -> Self {
        let one = |((w, layout), gram): ((&Vec<f32>, &Option<Layout>), &Vec<f32>)| {
            layout
                .filter(|_| !gram.is_empty())
                .and_then(|l| outputs(w, l, gram))
                .unwrap_or_else(|| Measure::Magnitude((w.iter().map(|v| v * v).sum::<f32>()).sqrt()))
        };
        let mut measures: Vec<Measure> = weights.iter().zip(layouts).zip(grams).map(one).collect();
        for (bias, layer) in biases.iter().enumerate() {
            // A bias that takes up the mean of large inputs is large, and says nothing of how far outputs spread.
            if let Some(Measure::Outputs { magnitude, .. }) = layer.and_then(|l| measures.get(l)) {
                measures[bias] = Measure::Magnitude(*magnitude);
            }
        }
        let momentum = weights.iter().map(|w| vec![0.0; w.len()]).collect();
        Self { measures, momentum, sizes: vec![0.0; weights.len()], taken: 0 }
    }

    /// One step down the mean of these gradients; `rate` is relative to the magnitudes.
    pub(super) fn step(&mut self, weights: &mut Tensors, parts: &[Tensors], rate: f64) {
        self.taken += 1;
        let corrected = DECAYS.map(|d| 1.0 - d.powi(self.taken));
        let many = parts.len().max(1) as f32;
        for (w, tensor) in weights.iter_mut().enumerate() {
            let sum = |i: usize| parts.iter().map(|p| p[w].get(i).copied().unwrap_or(0.0)).sum::<f32>() / many;
            let gradient: Vec<f32> = (0..tensor.len()).map(sum).map(|g| if g.is_finite() { g } else { 0.0 }).collect();
            let measure = &self.measures[w];
            let size = dot(&measure.direction(&gradient), &gradient).max(0.0);
            self.sizes[w] = DECAYS[1] * self.sizes[w] + (1.0 - DECAYS[1]) * size;
            let momentum = &mut self.momentum[w];
            let keep = DECAYS[0] as f32;
            momentum.iter_mut().zip(&gradient).for_each(|(m, g)| *m = keep * *m + (1.0 - keep) * g);
            let norm = (self.sizes[w] / corrected[1]).sqrt();
            if norm > 0.0 {
                let scale = (rate * measure.magnitude() / corrected[0] / norm) as f32;
                let direction = measure.direction(momentum);
                tensor.iter_mut().zip(direction).for_each(|(v, d)| *v -= scale * d);
            }
        }
    }
}

impl Measure {
    /// The direction of steepest descent.
    fn direction(&self, gradient: &[f32]) -> Vec<f32> {
        let Self::Outputs { layout, inverse, .. } = self else { return gradient.to_vec() };
        let k = layout.inner;
        let (n, mut out) = (gradient.len() / k.max(1), vec![0f32; gradient.len()]);
        let inverse = MatRef::from_row_major_slice(inverse, k, k);
        if layout.upright {
            let g = MatRef::from_row_major_slice(gradient, k, n);
            matmul(MatMut::from_row_major_slice_mut(&mut out, k, n), Accum::Replace, inverse, g, 1.0, Par::Seq);
        } else {
            let g = MatRef::from_row_major_slice(gradient, n, k);
            matmul(MatMut::from_row_major_slice_mut(&mut out, n, k), Accum::Replace, g, inverse, 1.0, Par::Seq);
        }
        out
    }

    /// What a step of length 1 in the measure is to be scaled by.
    fn magnitude(&self) -> f64 {
        match self {
            Self::Magnitude(magnitude) | Self::Outputs { magnitude, .. } => f64::from(*magnitude),
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn outputs(weight: &[f32], layout: Layout, sums: &[f32]) -> Option<Measure> {
    let k = layout.inner;
    let rows = f64::from(*sums.get(k * k + k)?).max(1.0);
    let mean = |j: usize| f64::from(sums[k * k + j]) / rows;
    let gram = Mat::from_fn(k, k, |i, j| f64::from(sums[i * k + j]) / rows);
    let power = (0..k).map(|i| gram[(i, i)]).sum::<f64>() / k.max(1) as f64;
    let order: Vec<usize> = (0..k).collect();
    let inverse = Factor::of(&gram, (DAMPING * power).max(f64::MIN_POSITIVE), &order)?.solve(&Mat::identity(k, k));
    let n = weight.len() / k.max(1);
    let at = |o: usize, j: usize| f64::from(weight[if layout.upright { j * n + o } else { o * k + j }]);
    let weights = Mat::from_fn(n, k, at);
    // How far the outputs spread about their means.
    let spread = Mat::from_fn(k, k, |i, j| gram[(i, j)] - mean(i) * mean(j));
    let product = &weights * &spread;
    let energy: f64 = (0..k).flat_map(|j| (0..n).map(move |o| (o, j))).map(|p| product[p] * weights[p]).sum();
    let inverse = (0..k * k).map(|e| inverse[(e / k, e % k)] as f32).collect::<Vec<_>>();
    let usable = energy.is_finite() && energy > 0.0 && inverse.iter().all(|v| v.is_finite());
    usable.then(|| Measure::Outputs { layout, inverse, magnitude: energy.sqrt() as f32 })
}
