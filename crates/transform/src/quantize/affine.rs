//! Affine quantization arithmetic: ranges, scales, zero points, codes (Jacob et al., "Quantization and Training of Neural
//! Networks for Efficient Integer-Arithmetic-Only Inference", arXiv 1712.05877). Knows numbers, not graphs.

use plimsoll_onnx::{DType, Tensor, TensorError};
use plimsoll_stats::Range;

/// Scale and zero point of a u8 activation: real = scale · (code − zero).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Codes {
    pub(super) scale: f32,
    pub(super) zero: u8,
}

impl Codes {
    /// Of a value that is not quantized, or of which nothing is known.
    pub(super) const ONE: Self = Self { scale: 1.0, zero: 0 };

    /// The nearest code of a value.
    pub(super) fn nearest(self, value: f32) -> u8 {
        ((value / self.scale).round_ties_even() + f32::from(self.zero)).clamp(0.0, 255.0) as u8
    }

    /// u8, asymmetric, for values of a range: zero has a code of its own, so that padding and ReLU are exact.
    pub(super) fn covering(range: Range) -> Self {
        let span = f64::from(range.hi.max(0.0)) - f64::from(range.lo.min(0.0));
        if !(span.is_finite() && span > f64::from(f32::MIN_POSITIVE) * 255.0) {
            return Self::ONE;
        }
        let scale = (span / 255.0) as f32;
        let zero = (-f64::from(range.lo.min(0.0)) / f64::from(scale)).round_ties_even().clamp(0.0, 255.0) as u8;
        Self { scale, zero }
    }

    /// The largest real number that has a code.
    pub(super) fn highest(self) -> f32 {
        self.scale * (255.0 - f32::from(self.zero))
    }
}

/// The codes that a symmetric weight may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Codebook {
    /// Bits of a stored code: 4 or 8.
    pub(super) bits: u8,
    /// The least code.
    pub(super) lowest: i8,
    /// The greatest code; the scale of a weight that is not searched for is its largest magnitude divided by this.
    pub(super) highest: i8,
}

impl Codebook {
    /// 8 bits, both ends alike.
    pub(super) const EIGHT: Self = Self { bits: 8, lowest: -127, highest: 127 };
    /// 7 bits in 8: pairs of u8·i8 products fit into i16 (x86 without VNNI).
    pub(super) const SEVEN: Self = Self { bits: 8, lowest: -63, highest: 63 };
    /// 4 bits, two's complement.
    pub(super) const FOUR: Self = Self { bits: 4, lowest: -8, highest: 7 };

    /// The nearest code of a value that was divided by its scale.
    pub(super) fn nearest(self, value: f32) -> i8 {
        value.round_ties_even().clamp(self.lowest.into(), self.highest.into()) as i8
    }
}

/// A weight in symmetric codes: real = scale · code.
#[derive(Debug, Clone)]
pub(super) struct Weight {
    /// The codes, row-major.
    pub(super) codes: Vec<i8>,
    /// The shape of the weight.
    pub(super) shape: Vec<usize>,
    /// One scale, or one a channel along `axis`.
    pub(super) scales: Vec<f32>,
    /// The axis of the channels; `None` per tensor.
    pub(super) axis: Option<usize>,
    /// Which codes there are.
    pub(super) book: Codebook,
}

impl Weight {
    /// The codes as they are stored; of 4 bits two a byte, the first in the low one.
    pub(super) fn tensor(&self) -> Result<Tensor, TensorError> {
        if self.book.bits != 4 {
            return Tensor::from_elements(&self.shape, &self.codes);
        }
        let nibble = |code: &i8| (*code as u8) & 0x0f;
        let pack = |pair: &[i8]| pair.iter().rev().fold(0, |byte, code| byte << 4 | nibble(code));
        Tensor::new(DType::I4, self.shape.clone(), self.codes.chunks(2).map(pack).collect())
    }

    /// What the codes stand for.
    pub(super) fn values(&self) -> Vec<f32> {
        let channel = channel_of(&self.shape, self.axis);
        self.codes.iter().enumerate().map(|(i, &code)| f32::from(code) * self.scales[channel(i)]).collect()
    }
}

/// The largest magnitude of each channel.
pub(super) fn largest(values: &[f32], shape: &[usize], axis: Option<usize>) -> Vec<f32> {
    let channel = channel_of(shape, axis);
    let mut largest = vec![0f32; axis.map_or(1, |a| shape[a])];
    for (i, v) in values.iter().enumerate() {
        let c = channel(i);
        largest[c] = largest[c].max(v.abs());
    }
    largest
}

/// A scale that can be divided by.
pub(super) fn usable(scale: f32) -> f32 {
    if scale.is_normal() { scale } else { 1.0 }
}

/// Nearest codes of a weight: scale = max |w| / greatest code, at least `least(channel)`.
pub(super) fn weight(
    values: &[f32],
    shape: &[usize],
    axis: Option<usize>,
    book: Codebook,
    least: impl Fn(usize) -> f32,
) -> Weight {
    let scale = |(c, m): (usize, f32)| usable((m / f32::from(book.highest)).max(least(c)));
    let scales = largest(values, shape, axis).into_iter().enumerate().map(scale).collect();
    rounded(values, shape, axis, book, scales)
}

/// Nearest codes under given scales.
pub(super) fn rounded(
    values: &[f32],
    shape: &[usize],
    axis: Option<usize>,
    book: Codebook,
    scales: Vec<f32>,
) -> Weight {
    let channel = channel_of(shape, axis);
    let code = |(i, v): (usize, &f32)| book.nearest(v / scales[channel(i)]);
    let codes = values.iter().enumerate().map(code).collect();
    Weight { codes, shape: shape.to_vec(), scales, axis, book }
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
