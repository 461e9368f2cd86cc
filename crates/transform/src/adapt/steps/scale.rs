//! Other units and scales, and normalisation.

use plimsoll_onnx::DType;

use super::{Array, Step, Writer};

/// Added to the variance of a window before its root is taken, as in layer and instance normalization: a window of equal values
/// does not make rounding errors large.
pub(crate) const EPSILON: f64 = 1e-5;

/// `scale · (x − centre)`, one number each for all or for each channel. The product comes last, where a layer can take it in.
#[derive(Debug)]
pub(crate) struct Affine {
    pub(crate) centre: Vec<f64>,
    pub(crate) scale: Vec<f64>,
    /// The axis of channels, where there are several numbers.
    pub(crate) axis: Option<usize>,
    pub(crate) rank: usize,
}

impl Affine {
    fn at(values: &[f64], i: usize) -> f64 {
        values.get(i).or(values.first()).copied().unwrap_or_default()
    }
}

impl Step for Affine {
    fn what(&self) -> String {
        let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
        match (self.centre.iter().all(|c| *c == 0.0), self.scale.iter().all(|s| *s == 1.0)) {
            (true, _) => format!("multiply by {}", list(&self.scale)),
            (false, true) => format!("subtract {}", list(&self.centre)),
            (false, false) => format!("subtract {}, multiply by {}", list(&self.centre), list(&self.scale)),
        }
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let mut value = value.to_owned();
        if self.centre.iter().any(|c| *c != 0.0) {
            let centre = writer.along("centre", &self.centre, self.axis, self.rank);
            value = writer.node("Sub", &[&value, &centre], vec![]);
        }
        if self.scale.iter().any(|s| *s != 1.0) {
            let scale = writer.along("scale", &self.scale, self.axis, self.rank);
            value = writer.node("Mul", &[&value, &scale], vec![]);
        }
        value
    }

    fn apply(&self, x: Array) -> Array {
        x.each(self.axis, |v, at| Self::at(&self.scale, at) * (v - Self::at(&self.centre, at)))
    }
}

/// `(x − mean) / √(variance + ε)` over some axes of each window.
#[derive(Debug)]
pub(crate) struct Standardise {
    pub(crate) over: Vec<usize>,
}

impl Step for Standardise {
    fn what(&self) -> String {
        "mean 0 and standard deviation 1 in each window".into()
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let mean = writer.reduce("ReduceMean", value, &self.over);
        let centred = writer.node("Sub", &[value, &mean], vec![]);
        let square = writer.node("Mul", &[&centred, &centred], vec![]);
        let variance = writer.reduce("ReduceMean", &square, &self.over);
        let epsilon = writer.scalar("epsilon", EPSILON, DType::F32);
        let above = writer.node("Add", &[&variance, &epsilon], vec![]);
        let deviation = writer.node("Sqrt", &[&above], vec![]);
        writer.node("Div", &[&centred, &deviation], vec![])
    }

    fn apply(&self, x: Array) -> Array {
        // The axes that are averaged over become one, at the end.
        let kept: Vec<usize> = (0..x.shape.len()).filter(|a| !self.over.contains(a)).collect();
        let order: Vec<usize> = kept.iter().chain(&self.over).copied().collect();
        let moved = x.transposed(&order);
        let outer: usize = kept.iter().map(|&a| x.shape[a]).product();
        let inner = moved.data.len() / outer.max(1);
        let flat = Array { shape: vec![outer, inner], data: moved.data };
        let done = flat.lines(1, |line, _| {
            let mean = line.iter().sum::<f64>() / line.len() as f64;
            let variance = line.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / line.len() as f64;
            line.iter().map(|v| (v - mean) / (variance + EPSILON).sqrt()).collect()
        });
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, &old)| back[old] = new);
        Array { shape: moved.shape, data: done.data }.transposed(&back)
    }
}
