//! Outputs: another order of classes, fewer classes, shares, labels.

use plimsoll_onnx::{DType, Tensor, attr};

use super::{Array, Step, Writer};

/// Another order of classes.
#[derive(Debug)]
pub(crate) struct Pick {
    pub(crate) axis: usize,
    /// The class that each class of the result was.
    pub(crate) order: Vec<usize>,
}

impl Step for Pick {
    fn what(&self) -> String {
        let order: Vec<String> = self.order.iter().map(usize::to_string).collect();
        let shown = order.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        format!("classes in the order {shown}{}", if order.len() > 8 { ", …" } else { "" })
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let order: Vec<i64> = self.order.iter().map(|&o| o as i64).collect();
        let order = writer.list("order", &order);
        writer.node("Gather", &[value, &order], vec![attr::from_int("axis", self.axis as i64)])
    }

    fn apply(&self, x: Array) -> Array {
        x.lines(self.axis, |line, _| self.order.iter().map(|&o| line[o]).collect())
    }
}

/// Shares of classes that the pipeline does not tell apart, added up. The classes are the last axis.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(crate) axis: usize,
    /// The class that each class of the model becomes.
    pub(crate) into: Vec<usize>,
    pub(crate) classes: usize,
}

impl Step for Merge {
    fn what(&self) -> String {
        format!("add up {} classes to {}", self.into.len(), self.classes)
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let mut weights = vec![0f32; self.into.len() * self.classes];
        self.into.iter().enumerate().for_each(|(from, &to)| weights[from * self.classes + to] = 1.0);
        let tensor = Tensor::from_elements(&[self.into.len(), self.classes], &weights);
        let weights = writer.constant("merge", &tensor.unwrap_or_else(|_| Tensor::vector(&weights)));
        writer.node("MatMul", &[value, &weights], vec![])
    }

    fn apply(&self, x: Array) -> Array {
        x.lines(self.axis, |line, _| {
            let mut sums = vec![0.0; self.classes];
            line.iter().zip(&self.into).for_each(|(v, &to)| sums[to] += v);
            sums
        })
    }
}

/// Logits become shares.
#[derive(Debug)]
pub(crate) struct Softmax {
    pub(crate) axis: usize,
}

impl Step for Softmax {
    fn what(&self) -> String {
        "softmax".into()
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        writer.node("Softmax", &[value], vec![attr::from_int("axis", self.axis as i64)])
    }

    fn apply(&self, x: Array) -> Array {
        x.lines(self.axis, |line, _| {
            let top = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let parts: Vec<f64> = line.iter().map(|v| (v - top).exp()).collect();
            let sum: f64 = parts.iter().sum();
            parts.iter().map(|p| p / sum).collect()
        })
    }
}

/// Shares become logits.
#[derive(Debug)]
pub(crate) struct Log;

impl Step for Log {
    fn what(&self) -> String {
        "logarithm".into()
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        writer.node("Log", &[value], vec![])
    }

    fn apply(&self, x: Array) -> Array {
        x.each(None, |v, _| v.ln())
    }
}

/// The class with the highest score, the first of equal ones; its axis goes.
#[derive(Debug)]
pub(crate) struct ArgMax {
    pub(crate) axis: usize,
}

impl Step for ArgMax {
    fn what(&self) -> String {
        "the class with the highest score".into()
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let axis = attr::from_int("axis", self.axis as i64);
        writer.node("ArgMax", &[value], vec![axis, attr::from_int("keepdims", 0)])
    }

    fn apply(&self, x: Array) -> Array {
        let best = x.lines(self.axis, |line, _| {
            let mut best = 0;
            line.iter().enumerate().for_each(|(i, v)| {
                if *v > line[best] {
                    best = i;
                }
            });
            vec![best as f64]
        });
        without(best, self.axis)
    }
}

/// 1 where the last of two classes has at least this share; their axis goes.
#[derive(Debug)]
pub(crate) struct Threshold {
    pub(crate) axis: usize,
    pub(crate) least: f64,
}

impl Step for Threshold {
    fn what(&self) -> String {
        format!("the second class from a share of {} on", self.least)
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let second = writer.constant("second", &Tensor::scalar(1i64));
        let share = writer.node("Gather", &[value, &second], vec![attr::from_int("axis", self.axis as i64)]);
        let least = writer.scalar("threshold", self.least, DType::F32);
        let reached = writer.node("GreaterOrEqual", &[&share, &least], vec![]);
        writer.cast(&reached, DType::I64)
    }

    fn apply(&self, x: Array) -> Array {
        let least = f64::from(self.least as f32);
        without(x.lines(self.axis, |line, _| vec![f64::from(u8::from(line[1] >= least))]), self.axis)
    }
}

/// Numbers of classes become those that the pipeline gives them.
#[derive(Debug)]
pub(crate) struct Relabel {
    /// By the model's number.
    pub(crate) numbers: Vec<usize>,
}

impl Step for Relabel {
    fn what(&self) -> String {
        "the pipeline's number of the class".into()
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let numbers: Vec<i64> = self.numbers.iter().map(|&n| n as i64).collect();
        let numbers = writer.list("labels", &numbers);
        writer.node("Gather", &[&numbers, value], vec![attr::from_int("axis", 0)])
    }

    fn apply(&self, x: Array) -> Array {
        x.each(None, |v, _| self.numbers.get(v as usize).map_or(f64::NAN, |n| *n as f64))
    }
}

/// Drops an axis of length 1.
fn without(x: Array, axis: usize) -> Array {
    let mut shape = x.shape;
    shape.remove(axis);
    Array { shape, data: x.data }
}
