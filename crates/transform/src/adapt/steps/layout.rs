//! Other orders of axes, and other shapes of the same elements.

use super::{Array, Step, Writer};

/// Another order of axes.
#[derive(Debug)]
pub(crate) struct Transpose {
    /// The axis that each axis of the result was.
    pub(crate) perm: Vec<usize>,
}

impl Step for Transpose {
    fn what(&self) -> String {
        let perm: Vec<String> = self.perm.iter().map(usize::to_string).collect();
        format!("axes in the order {}", perm.join(", "))
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        writer.transpose(value, &self.perm)
    }

    fn apply(&self, x: Array) -> Array {
        x.transposed(&self.perm)
    }
}

/// Says of an open dimension that it is copied, where it keeps its place: shapes are known of that.
pub(crate) fn copy_open(dims: &mut [i64], before: Option<usize>) {
    if let Some(open) = before.and_then(|at| dims.get_mut(at)).filter(|d| **d < 0) {
        *open = 0;
    }
}

/// Another shape.
#[derive(Debug)]
pub(crate) struct Reshape {
    /// The new dimensions; at most one is open: 0 where it is that of the same axis before, else -1.
    pub(crate) dims: Vec<i64>,
}

impl Step for Reshape {
    fn what(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(|d| if *d <= 0 { "…".into() } else { d.to_string() }).collect();
        format!("reshape to [{}]", dims.join(", "))
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        writer.reshape(value, &self.dims)
    }

    fn apply(&self, x: Array) -> Array {
        let known: i64 = self.dims.iter().filter(|d| **d > 0).product();
        let open = x.data.len() / known.max(1) as usize;
        let shape = self.dims.iter().map(|&d| if d > 0 { d as usize } else { open }).collect();
        Array { shape, ..x }
    }
}
