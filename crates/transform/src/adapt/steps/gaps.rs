//! Missing values: another value that stands for them, or something in their place.

use plimsoll_onnx::{DType, attr};
use plimsoll_profile::Missing;

use super::{Array, Step, Writer};

/// What stands for a missing value becomes something else; no value is made up.
#[derive(Debug)]
pub(crate) struct Replace {
    /// NaN, or a number. Never `Missing::Never`.
    pub(crate) from: Missing,
    /// NaN for NaN.
    pub(crate) to: f64,
    pub(crate) dtype: DType,
}

impl Step for Replace {
    fn what(&self) -> String {
        let from = match self.from {
            Missing::Value(v) => v.to_string(),
            Missing::Nan | Missing::Never => "NaN".into(),
        };
        format!("missing values: {from} becomes {}", self.to)
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let gap = match self.from {
            Missing::Value(v) => {
                let code = writer.scalar("missing", v, self.dtype);
                writer.node("Equal", &[value, &code], vec![])
            }
            Missing::Nan | Missing::Never => writer.is_nan(value),
        };
        let new = writer.scalar("missing", self.to, self.dtype);
        writer.node("Where", &[&gap, &new, value], vec![])
    }

    fn apply(&self, x: Array) -> Array {
        x.each(None, |v, _| {
            let gap = match self.from {
                Missing::Value(code) => v == code,
                Missing::Nan | Missing::Never => v.is_nan(),
            };
            if gap { self.to } else { v }
        })
    }
}

/// What is put in the place of NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum How {
    Hold,
    Mean,
    Value(f64),
}

/// Fills NaN. Where a window holds no value at all, each channel gets a value of its own.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) how: How,
    /// The axis of time, and how long it is.
    pub(crate) time: usize,
    pub(crate) length: usize,
    pub(crate) rank: usize,
    /// The axis of channels, where there is one.
    pub(crate) signals: Option<usize>,
    /// For windows without any value, one number or one for each channel.
    pub(crate) fallback: Vec<f64>,
}

impl Fill {
    pub(crate) fn how(fill: plimsoll_profile::Fill) -> How {
        match fill {
            plimsoll_profile::Fill::Hold => How::Hold,
            plimsoll_profile::Fill::Mean => How::Mean,
            plimsoll_profile::Fill::Value(v) => How::Value(v),
        }
    }

    fn of(&self, at: usize) -> f64 {
        self.fallback.get(at).or(self.fallback.first()).copied().unwrap_or_default()
    }

    /// The place of the last value so far is the greatest of the places of values so far, which a pooling finds; where there is
    /// none yet, it is the first of all.
    fn hold(&self, writer: &mut Writer, value: &str) -> String {
        let last = self.rank - 1;
        let order: Vec<usize> = (0..self.rank).filter(|a| *a != self.time).chain([self.time]).collect();
        let moved = if self.time == last { value.to_owned() } else { writer.transpose(value, &order) };
        let gap = writer.is_nan(&moved);
        let places: Vec<f64> = (0..self.length).map(|t| t as f64).collect();
        let places = writer.along("places", &places, Some(last), self.rank);
        let none = writer.scalar("none", -1.0, DType::F32);
        let most = writer.scalar("most", self.length as f64, DType::F32);
        let seen = writer.node("Where", &[&gap, &none, &places], vec![]);
        // Pooling needs an axis of batch and one of channels.
        let flat = if self.rank == 2 { writer.reshape(&seen, &[-1, 1, self.length as i64]) } else { seen };
        let dims = self.rank.max(3) - 2;
        let mut kernel = vec![1; dims];
        kernel[dims - 1] = self.length as i64;
        let mut pads = vec![0; 2 * dims];
        pads[dims - 1] = self.length as i64 - 1;
        let strides = vec![1; dims];
        let attributes = vec![
            attr::from_ints("kernel_shape", &kernel),
            attr::from_ints("pads", &pads),
            attr::from_ints("strides", &strides),
        ];
        let pooled = writer.node("MaxPool", &[&flat], attributes);
        let before = if self.rank == 2 { writer.reshape(&pooled, &[-1, self.length as i64]) } else { pooled };
        let ahead = writer.node("Where", &[&gap, &most, &places], vec![]);
        let first = writer.reduce("ReduceMin", &ahead, &[last]);
        let zero = writer.scalar("zero", 0.0, DType::F32);
        let end = writer.scalar("end", self.length as f64 - 1.0, DType::F32);
        let bounded = writer.node("Min", &[&first, &end], vec![]);
        let early = writer.node("Less", &[&before, &zero], vec![]);
        let place = writer.node("Where", &[&early, &bounded, &before], vec![]);
        let index = writer.cast(&place, DType::I64);
        let held = writer.node("GatherElements", &[&moved, &index], vec![attr::from_int("axis", last as i64)]);
        if self.time == last {
            return held;
        }
        let mut back = vec![0; self.rank];
        order.iter().enumerate().for_each(|(new, &old)| back[old] = new);
        writer.transpose(&held, &back)
    }

    fn mean(&self, writer: &mut Writer, value: &str) -> String {
        let gap = writer.is_nan(value);
        let zero = writer.scalar("zero", 0.0, DType::F32);
        let known = writer.node("Where", &[&gap, &zero, value], vec![]);
        let there = writer.node("Not", &[&gap], vec![]);
        let there = writer.cast(&there, DType::F32);
        let sum = writer.reduce("ReduceSum", &known, &[self.time]);
        let count = writer.reduce("ReduceSum", &there, &[self.time]);
        let mean = writer.node("Div", &[&sum, &count], vec![]);
        writer.node("Where", &[&gap, &mean, value], vec![])
    }
}

impl Step for Fill {
    fn what(&self) -> String {
        match self.how {
            How::Hold => "fill gaps with the last value".into(),
            How::Mean => "fill gaps with the window's mean".into(),
            How::Value(v) => format!("fill gaps with {v}"),
        }
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let (filled, rest) = match self.how {
            How::Hold => (self.hold(writer, value), self.fallback.clone()),
            How::Mean => (self.mean(writer, value), self.fallback.clone()),
            How::Value(v) => (value.to_owned(), vec![v]),
        };
        let gap = writer.is_nan(&filled);
        let rest = writer.along("filler", &rest, self.signals, self.rank);
        writer.node("Where", &[&gap, &rest, &filled], vec![])
    }

    fn apply(&self, x: Array) -> Array {
        if let How::Value(fill) = self.how {
            return x.each(None, |v, _| if v.is_nan() { fill } else { v });
        }
        let filled = x.lines(self.time, |line, _| {
            let known: Vec<f64> = line.iter().copied().filter(|v| !v.is_nan()).collect();
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            let mut last = known.first().copied().unwrap_or(f64::NAN);
            line.iter()
                .map(|&v| {
                    if !v.is_nan() {
                        last = v;
                    }
                    match self.how {
                        _ if !v.is_nan() => v,
                        How::Hold => last,
                        _ => mean,
                    }
                })
                .collect()
        });
        filled.each(self.signals, |v, at| if v.is_nan() { self.of(at) } else { v })
    }
}
