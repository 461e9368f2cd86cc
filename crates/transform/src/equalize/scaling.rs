//! How large the factor of each channel is. Knows numbers, not graphs.
//!
//! Factors are powers of two: dividing and multiplying by them rounds nothing, so that what a model computes stays the same to
//! the last bit.

use super::pairs::{Pair, Part, Reader};

/// Parts of the way from the weights' spread to the activations' that are tried.
const ALPHAS: [f64; 4] = [0.25, 0.5, 0.75, 1.0];
/// Beyond these powers of two denormals and overflows would be near.
const MOST: f64 = 24.0;

/// What was seen of each channel of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// Least and largest value of each channel, zero included.
    pub(super) lo: Vec<f64>,
    pub(super) hi: Vec<f64>,
    /// Mean square of each channel.
    pub(super) power: Vec<f64>,
    pub(super) count: usize,
}

impl Seen {
    pub(super) fn new(channels: usize) -> Self {
        Self { lo: vec![0.0; channels], hi: vec![0.0; channels], power: vec![0.0; channels], count: 0 }
    }

    /// Both together.
    pub(super) fn merge(mut self, other: &Self) -> Self {
        let n = (self.count + other.count).max(1) as f64;
        for c in 0..self.lo.len().min(other.lo.len()) {
            self.lo[c] = self.lo[c].min(other.lo[c]);
            self.hi[c] = self.hi[c].max(other.hi[c]);
            self.power[c] = (self.power[c] * self.count as f64 + other.power[c] * other.count as f64) / n;
        }
        self.count += other.count;
        self
    }

    fn largest(&self, c: usize) -> f64 {
        self.hi[c].max(-self.lo[c])
    }
}

/// How a scheme rounds what it multiplies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounding {
    /// Whether activations are rounded to 8 bits, with one scale a value.
    pub(super) activations: bool,
    /// The greatest code of a weight.
    pub(super) highest: f64,
    /// Whether each row of a weight has a scale of its own.
    pub(super) per_row: bool,
}

/// The largest magnitude in each channel.
pub(super) fn largest<'p, 'm: 'p>(parts: impl IntoIterator<Item = &'p Part<'m>>, channels: usize) -> Vec<f64> {
    let mut largest = vec![0f64; channels];
    for part in parts {
        for (i, v) in part.tensor.to_vec::<f32>().unwrap_or_default().into_iter().enumerate() {
            if let Some(m) = largest.get_mut(part.channel(i)) {
                *m = m.max(f64::from(v.abs()));
            }
        }
    }
    largest
}

/// Factors that give each channel the same range on both sides (Nagel et al., arXiv 1906.04721).
pub(super) fn alike(pair: &Pair<'_>) -> Vec<f32> {
    let source = largest(&pair.source, pair.channels);
    let read = largest(pair.readers.iter().map(|r| &r.part), pair.channels);
    rounded(source.iter().zip(&read).map(|(a, b)| (a / b).sqrt()))
}

/// Factors that move a part of the activations' spread into the weights: max|X|^α / max|W|^(1−α) (SmoothQuant: Xiao et al., arXiv
/// 2211.10438).
pub(super) fn smooth(pair: &Pair<'_>, seen: &Seen, alpha: f64) -> Vec<f32> {
    let read = largest(pair.readers.iter().map(|r| &r.part), pair.channels);
    let one = |c: usize| seen.largest(c).powf(alpha) / read[c].powf(1.0 - alpha);
    rounded((0..pair.channels).map(one))
}

/// The nearest powers of two, around 1; 1 where a channel is dead on one side.
fn rounded(factors: impl Iterator<Item = f64>) -> Vec<f32> {
    let logs: Vec<Option<f64>> =
        factors.map(|s| Some(s.log2()).filter(|_| s.is_finite() && s > f64::MIN_POSITIVE)).collect();
    let known: Vec<f64> = logs.iter().copied().flatten().collect();
    let middle = (known.iter().sum::<f64>() / known.len().max(1) as f64).round();
    logs.into_iter().map(|l| l.map_or(1.0, |l| (l - middle).round().clamp(-MOST, MOST).exp2() as f32)).collect()
}

/// The factors of the least noise among those tried, with what the logarithm of noise over signal falls by; `None` where the
/// channels are best as they are.
pub(super) fn best(pair: &Pair<'_>, seen: &Seen, rounding: Rounding) -> Option<(Vec<f32>, f64)> {
    let without = noise(pair, seen, &vec![1.0; pair.channels], rounding);
    let tried = ALPHAS.into_iter().map(|alpha| smooth(pair, seen, alpha)).chain([alike(pair)]);
    let judged = tried.map(|s| (noise(pair, seen, &s, rounding), s));
    let (noise, factors) = judged.min_by(|a, b| a.0.total_cmp(&b.0))?;
    (noise < without).then_some((factors, without - noise))
}

/// The mean over rows of the logarithm of noise over signal, were activations and weights rounded with these factors. Rounding
/// errors are taken for uniform and for independent of each other. (The mean of logarithms, because a row of small values may
/// be multiplied by large weights later.)
fn noise(pair: &Pair<'_>, seen: &Seen, factors: &[f32], rounding: Rounding) -> f64 {
    let factor = |c: usize| f64::from(factors.get(c).copied().unwrap_or(1.0));
    let ends = (0..pair.channels).map(|c| (seen.lo[c] / factor(c), seen.hi[c] / factor(c)));
    let (lo, hi) = ends.fold((0f64, 0f64), |(lo, hi), (a, b)| (lo.min(a), hi.max(b)));
    let step = if rounding.activations { (hi - lo) / 255.0 } else { 0.0 };
    let (mut total, mut rows) = (0.0, 0usize);
    for reader in &pair.readers {
        let of = rows_of(reader, seen, &factor, step);
        let largest = of.iter().fold(0f64, |m, r| m.max(r.largest));
        for row in of.iter().filter(|r| r.signal > 0.0) {
            let largest = if rounding.per_row { row.largest } else { largest };
            let weights = (largest / rounding.highest).powi(2) * row.inputs;
            total += ((row.activations + weights) / row.signal).max(f64::MIN_POSITIVE).ln();
            rows += 1;
        }
    }
    if !rounding.per_row {
        // The source is rounded under one scale as well: small channels lose what large ones take.
        let sizes: Vec<f64> = pair.source.last().map(|p| sizes(p, pair.channels, &factor)).unwrap_or_default();
        let largest = sizes.iter().fold(0f64, |m, v| m.max(*v));
        for size in sizes.iter().filter(|v| **v > 0.0) {
            total += 2.0 * (largest / rounding.highest / size).ln();
            rows += 1;
        }
    }
    total / rows.max(1) as f64
}

/// The largest magnitude of each channel of a source under the factors.
fn sizes(part: &Part<'_>, channels: usize, factor: &impl Fn(usize) -> f64) -> Vec<f64> {
    largest([part], channels).into_iter().enumerate().map(|(c, v)| v / factor(c)).collect()
}

/// What a row of a weight makes of signal and noise.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    signal: f64,
    activations: f64,
    /// Mean squares of what the weights' errors are multiplied by.
    inputs: f64,
    largest: f64,
}

fn rows_of(reader: &Reader<'_>, seen: &Seen, factor: &impl Fn(usize) -> f64, step: f64) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (i, w) in reader.part.tensor.to_vec::<f32>().unwrap_or_default().into_iter().enumerate() {
        let (row, c) = (reader.row(i), reader.part.channel(i));
        if rows.len() <= row {
            rows.resize(row + 1, Row::default());
        }
        let (w, s, power) = (f64::from(w), factor(c), seen.power.get(c).copied().unwrap_or(0.0));
        let row = &mut rows[row];
        row.signal += w * w * power;
        row.activations += (w * s * step).powi(2);
        row.inputs += power / (s * s);
        row.largest = row.largest.max(w.abs() * s);
    }
    rows
}
