//! Affine quantization arithmetic: ranges, scales, zero points, codes (Jacob et al., "Quantization and Training of Neural
//! Networks for Efficient Integer-Arithmetic-Only Inference", arXiv 1712.05877). Knows numbers, not graphs.

use plimsoll_onnx::{Tensor, TensorError};

/// What an activation was seen to lie in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) lo: f32,
    pub(super) hi: f32,
}

impl Range {
    pub(super) const EMPTY: Self = Self { lo: f32::INFINITY, hi: f32::NEG_INFINITY };

    /// The smallest range that holds both.
    pub(super) fn union(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// Widened to all these values; NaN counts as outside of every range and is reported by returning `false`.
    pub(super) fn observe(&mut self, values: &[f32]) -> bool {
        let mut finite = true;
        for &v in values {
            finite &= v.is_finite();
            self.lo = self.lo.min(v);
            self.hi = self.hi.max(v);
        }
        finite
    }

    /// u8, asymmetric: zero has a code of its own, so that padding and ReLU are exact.
    pub(super) fn to_u8(self) -> Codes {
        let span = f64::from(self.hi.max(0.0)) - f64::from(self.lo.min(0.0));
        if !(span.is_finite() && span > f64::from(f32::MIN_POSITIVE) * 255.0) {
            return Codes { scale: 1.0, zero: 0 };
        }
        let scale = (span / 255.0) as f32;
        let zero = (-f64::from(self.lo.min(0.0)) / f64::from(scale)).round_ties_even().clamp(0.0, 255.0) as u8;
        Codes { scale, zero }
    }
}

/// Scale and zero point of a u8 activation: real = scale · (code − zero).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Codes {
    pub(super) scale: f32,
    pub(super) zero: u8,
}

impl Codes {
    /// The largest real number that has a code.
    pub(super) fn highest(self) -> f32 {
        self.scale * (255.0 - f32::from(self.zero))
    }
}

/// A weight in symmetric i8 codes.
#[derive(Debug, Clone)]
pub(super) struct Weight {
    /// The codes, in the shape of the weight.
    pub(super) codes: Tensor,
    /// One scale, or one a channel along `axis`.
    pub(super) scales: Vec<f32>,
    /// The axis of the channels; `None` per tensor.
    pub(super) axis: Option<usize>,
}

/// Codes of a weight: scale = max |w| / `code_max`, at least `least(channel)`.
pub(super) fn weight(
    values: &[f32],
    shape: &[usize],
    axis: Option<usize>,
    code_max: f32,
    least: impl Fn(usize) -> f32,
) -> Result<Weight, TensorError> {
    let channel = channel_of(shape, axis);
    let channels = axis.map_or(1, |a| shape[a]);
    let mut largest = vec![0f32; channels];
    for (i, v) in values.iter().enumerate() {
        let c = channel(i);
        largest[c] = largest[c].max(v.abs());
    }
    let scale = |(c, m): (usize, f32)| match (m / code_max).max(least(c)) {
        s if s.is_normal() => s,
        _ => 1.0,
    };
    let scales: Vec<f32> = largest.into_iter().enumerate().map(scale).collect();
    let code = |(i, v): (usize, &f32)| (v / scales[channel(i)]).round_ties_even().clamp(-code_max, code_max) as i8;
    let codes: Vec<i8> = values.iter().enumerate().map(code).collect();
    Ok(Weight { codes: Tensor::from_elements(shape, &codes)?, scales, axis })
}

/// Which channel the element at a row-major position belongs to.
pub(super) fn channel_of(shape: &[usize], axis: Option<usize>) -> impl Fn(usize) -> usize {
    let (inner, channels) = match axis {
        Some(a) => (shape[a + 1..].iter().product::<usize>().max(1), shape[a].max(1)),
        None => (1, 1),
    };
    move |i| i / inner % channels
}

/// An int32 bias under scale x·w: its codes add up with the integer products.
pub(super) fn bias(values: &[f32], scales: &[f32]) -> Vec<i32> {
    let code = |(b, s): (&f32, &f32)| (f64::from(*b) / f64::from(*s)).round_ties_even() as i32;
    values.iter().zip(scales).map(code).collect()
}

/// The least weight scale at which a bias still fits into int32 with a bit to spare.
pub(super) fn least_scale(bias: f32, x_scale: f32) -> f32 {
    bias.abs() / x_scale / (1u32 << 30) as f32
}
