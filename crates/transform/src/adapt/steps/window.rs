//! Parts of an axis, and longer axes.

use plimsoll_onnx::DType;

use super::{Array, Step, Writer};

/// Positions `start..end` of an axis.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) axis: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) name: &'static str,
}

impl Step for Slice {
    fn what(&self) -> String {
        format!("take {} {} to {}", self.name, self.start, self.end)
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let ends = [self.start, self.end, self.axis].map(|n| writer.list("slice", &[n as i64]));
        writer.node("Slice", &[value, &ends[0], &ends[1], &ends[2]], vec![])
    }

    fn apply(&self, x: Array) -> Array {
        x.lines(self.axis, |line, _| line[self.start..self.end].to_vec())
    }
}

/// More positions before and after, all of one value.
#[derive(Debug)]
pub(crate) struct Pad {
    pub(crate) axis: usize,
    pub(crate) rank: usize,
    pub(crate) before: usize,
    pub(crate) after: usize,
    pub(crate) value: f64,
    pub(crate) dtype: DType,
}

impl Step for Pad {
    fn what(&self) -> String {
        format!("pad time by {} before and {} after with {}", self.before, self.after, self.value)
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        let mut pads = vec![0; 2 * self.rank];
        (pads[self.axis], pads[self.rank + self.axis]) = (self.before as i64, self.after as i64);
        let pads = writer.list("pads", &pads);
        let filler = writer.scalar("pad", self.value, self.dtype);
        writer.node("Pad", &[value, &pads, &filler], vec![])
    }

    fn apply(&self, x: Array) -> Array {
        x.lines(self.axis, |line, _| {
            let around = |n: usize| std::iter::repeat_n(self.value, n);
            around(self.before).chain(line.iter().copied()).chain(around(self.after)).collect()
        })
    }
}
