//! Regression, and how near the outputs of two models are.
//!
//! Tables are row-major, `samples × width`; both of a pair have the same shape.

use super::{equal_terms, ratio_influence};
use crate::{
    Scale,
    estimate::{Estimate, Tail},
};

/// The mean of one number a sample.
pub fn mean(values: &[f64], scale: Scale) -> Option<Estimate> {
    let n = values.len() as f64;
    let value = values.iter().sum::<f64>() / n;
    let terms = equal_terms(values.iter().map(|v| (v - value) / n));
    (!values.is_empty()).then(|| Estimate::new(value, scale, Tail::Heavy, values.len(), terms))
}

/// The mean absolute error.
pub fn mae(found: &[f64], wanted: &[f64]) -> Option<Estimate> {
    let errors: Vec<f64> = found.iter().zip(wanted).map(|(f, w)| (f - w).abs()).collect();
    mean(&errors, Scale::POSITIVE)
}

/// The root of the mean squared error.
pub fn rmse(found: &[f64], wanted: &[f64]) -> Option<Estimate> {
    let squares: Vec<f64> = found.iter().zip(wanted).map(|(f, w)| (f - w) * (f - w)).collect();
    root_mean(&squares)
}

/// The root of the mean of one square a sample.
pub fn root_mean(squares: &[f64]) -> Option<Estimate> {
    let n = squares.len() as f64;
    let value = (squares.iter().sum::<f64>() / n).sqrt();
    let slope = if value > 0.0 { 0.5 / value } else { 0.0 };
    let terms = equal_terms(squares.iter().map(|s| slope * (s - value * value) / n));
    (!squares.is_empty()).then(|| Estimate::new(value, Scale::ROOT, Tail::Heavy, squares.len(), terms))
}

/// The signal-to-quantization-noise ratio in dB: `10·log10` of the energy of the reference over that of the difference. `None` where
/// one of them is zero.
pub fn sqnr(found: &[f64], reference: &[f64], width: usize) -> Option<Estimate> {
    let energies = energies(found, reference, width);
    let (noise, signal) = sums(&energies);
    let slope = 10.0 / std::f64::consts::LN_10;
    let influence = |&(e, r): &(f64, f64)| slope * (r / signal - e / noise);
    let terms = equal_terms(energies.iter().map(influence));
    let value = 10.0 * (signal / noise).log10();
    (noise > 0.0 && signal > 0.0).then(|| Estimate::new(value, Scale::Real, Tail::Heavy, energies.len(), terms))
}

/// The relative L2 distance: the root of the energy of the difference over that of the reference. `None` where the latter is zero.
pub fn relative_error(found: &[f64], reference: &[f64], width: usize) -> Option<Estimate> {
    let energies = energies(found, reference, width);
    let (noise, signal) = sums(&energies);
    let value = (noise / signal).sqrt();
    let slope = if value > 0.0 { 0.5 / value } else { 0.0 };
    let influence = |&(e, r): &(f64, f64)| ratio_influence(slope, e, r, value * value, signal);
    let terms = equal_terms(energies.iter().map(influence));
    (signal > 0.0).then(|| Estimate::new(value, Scale::ROOT, Tail::Heavy, energies.len(), terms))
}

/// The cosine between all of the outputs and all of the reference's. `None` where one of them is zero.
pub fn cosine(found: &[f64], reference: &[f64], width: usize) -> Option<Estimate> {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let rows = found.chunks_exact(width).zip(reference.chunks_exact(width));
    let rows: Vec<[f64; 3]> = rows.map(|(a, b)| [dot(a, b), dot(a, a), dot(b, b)]).collect();
    let [ab, aa, bb] = rows.iter().fold([0.0; 3], |s, r| [s[0] + r[0], s[1] + r[1], s[2] + r[2]]);
    let norm = (aa * bb).sqrt();
    let value = ab / norm;
    let influence = |r: &[f64; 3]| r[0] / norm - value * (r[1] / aa + r[2] / bb) / 2.0;
    let terms = equal_terms(rows.iter().map(influence));
    let scale = Scale::Log { offset: 1.0, factor: -1.0, power: 1.0 };
    (norm > 0.0).then(|| Estimate::new(value, scale, Tail::Heavy, rows.len(), terms))
}

/// Of each sample: the energy of the difference and of the reference.
fn energies(found: &[f64], reference: &[f64], width: usize) -> Vec<(f64, f64)> {
    let of_row = |(a, b): (&[f64], &[f64])| {
        a.iter().zip(b).fold((0.0, 0.0), |(e, r), (a, b)| (e + (a - b) * (a - b), r + b * b))
    };
    found.chunks_exact(width).zip(reference.chunks_exact(width)).map(of_row).collect()
}

fn sums(energies: &[(f64, f64)]) -> (f64, f64) {
    energies.iter().fold((0.0, 0.0), |(e, r), (a, b)| (e + a, r + b))
}
