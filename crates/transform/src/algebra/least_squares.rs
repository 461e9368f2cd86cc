//! Least-squares refit of a layer to the original's pre-activations, from inputs as they are after quantization: ridge regression
//! that shrinks towards the original weights (Hoerl and Kennard, "Ridge Regression", Technometrics 12, 1970, with a prior mean;
//! in this use as in AdaPrune, Hubara et al., arXiv 2102.08124).

use faer::{Accum, Mat, Par, linalg::matmul::matmul};

use super::moments::{Factor, Moments};

/// Weights W that minimise |XW − T|² + λ|W − W₀|²; `w0` and the result hold one row an output channel.
pub(crate) fn refit(w0: &Mat<f64>, moments: &Moments, factor: &Factor) -> Mat<f64> {
    let mut residual = moments.cross.clone();
    matmul(&mut residual, Accum::Add, &moments.gram, w0.transpose(), -1.0, Par::Seq);
    let change = factor.solve(&residual);
    Mat::from_fn(w0.nrows(), w0.ncols(), |o, k| w0[(o, k)] + change[(k, o)])
}
