//! A lower sampling rate.

use plimsoll_onnx::{Tensor, attr};

use super::{Array, Step, Writer};

/// Means of so many neighbours in time each; of those that are there, where some are NaN. One operator sums and brings the axes
/// into another order, so that a layout costs nothing where a rate changes.
#[derive(Debug)]
pub(crate) struct Resample {
    pub(crate) time: usize,
    /// How many become one.
    pub(crate) factor: usize,
    /// Length of every axis before; -1 where it is open, which at most one is.
    pub(crate) dims: Vec<i64>,
    /// The axis that each axis of the result was.
    pub(crate) perm: Vec<usize>,
    /// Whether some values may be NaN.
    pub(crate) gaps: bool,
}

impl Resample {
    fn sum(&self, writer: &mut Writer, value: &str, weights: &str) -> String {
        // Axis i is the letter i; the parted axis is followed by z.
        let letter = |axis: usize| char::from(b'a' + axis as u8);
        let mut input: String = (0..self.dims.len()).map(letter).collect();
        input.insert(self.time + 1, 'z');
        let output: String = self.perm.iter().map(|&p| letter(p)).collect();
        let equation = format!("{input},z->{output}");
        writer.node("Einsum", &[value, weights], vec![attr::from_string("equation", &equation)])
    }
}

impl Step for Resample {
    fn what(&self) -> String {
        let moved = self.perm.iter().enumerate().any(|(i, &p)| i != p);
        format!("mean of every {} values{}", self.factor, if moved { ", axes reordered" } else { "" })
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let mut parted = self.dims.clone();
        parted[self.time] /= self.factor as i64;
        parted.insert(self.time + 1, self.factor as i64);
        super::copy_open(&mut parted, self.dims.iter().position(|d| *d < 0));
        let parted = writer.reshape(value, &parted);
        if !self.gaps {
            let weights = writer.constant("mean", &Tensor::vector(&vec![1.0 / self.factor as f32; self.factor]));
            return self.sum(writer, &parted, &weights);
        }
        let ones = writer.constant("ones", &Tensor::vector(&vec![1f32; self.factor]));
        let gap = writer.is_nan(&parted);
        let zero = writer.scalar("zero", 0.0, plimsoll_onnx::DType::F32);
        let known = writer.node("Where", &[&gap, &zero, &parted], vec![]);
        let there = writer.node("Not", &[&gap], vec![]);
        let there = writer.cast(&there, plimsoll_onnx::DType::F32);
        let (sum, count) = (self.sum(writer, &known, &ones), self.sum(writer, &there, &ones));
        // 0 / 0 is NaN: where nothing is there, nothing is known.
        writer.node("Div", &[&sum, &count], vec![])
    }

    fn apply(&self, x: Array) -> Array {
        let means = x.lines(self.time, |line, _| {
            let mean = |part: &[f64]| {
                let known: Vec<f64> = part.iter().copied().filter(|v| !v.is_nan() || !self.gaps).collect();
                known.iter().sum::<f64>() / known.len() as f64
            };
            line.chunks_exact(self.factor).map(mean).collect()
        });
        means.transposed(&self.perm)
    }
}
