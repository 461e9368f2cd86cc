//! Least-squares refit of a layer to the original's pre-activations, from inputs as they are after quantization: ridge regression
//! that shrinks towards the original weights (Hoerl and Kennard, "Ridge Regression", Technometrics 12, 1970, with a prior mean;
//! in this use as in AdaPrune, Hubara et al., arXiv 2102.08124).

use faer::{Accum, Mat, MatMut, MatRef, Par, linalg::matmul::matmul};

use super::moments::{Factor, Moments};

/// Weights W that minimise |XW − T|² + λ|W − W₀|²; `w0` and the result hold one row an output channel.
pub(crate) fn refit(w0: &Mat<f64>, moments: &Moments, factor: &Factor) -> Mat<f64> {
    let mut residual = moments.cross.clone();
    matmul(&mut residual, Accum::Add, &moments.gram, w0.transpose(), -1.0, Par::Seq);
    let change = factor.solve(&residual);
    Mat::from_fn(w0.nrows(), w0.ncols(), |o, k| w0[(o, k)] + change[(k, o)])
}

/// Weights, one row an output channel, and what is added to their product with centred rows.
#[derive(Debug, Clone)]
pub(crate) struct Fitted {
    pub(crate) weights: Mat<f64>,
    pub(crate) centre: Vec<f64>,
}

impl Fitted {
    /// The refit to the moments' targets, centred on their means.
    pub(crate) fn of(w0: &Mat<f64>, moments: &Moments, factor: &Factor) -> Self {
        Self { weights: refit(w0, moments, factor), centre: moments.mean_t.clone() }
    }

    /// What comes of `n` centred rows `x`, row-major.
    pub(crate) fn of_rows(&self, x: &[f32], n: usize) -> Vec<f32> {
        let (channels, width) = (self.weights.nrows(), self.weights.ncols());
        let weights = Mat::<f32>::from_fn(width, channels, |k, o| self.weights[(o, k)] as f32);
        let mut out: Vec<f32> = self.centre.iter().map(|c| *c as f32).collect::<Vec<_>>().repeat(n);
        let x = MatRef::from_row_major_slice(x, n, width);
        matmul(MatMut::from_row_major_slice_mut(&mut out, n, channels), Accum::Add, x, &weights, 1.0, Par::Seq);
        out
    }
}
