//! Other element types.

use plimsoll_onnx::DType;

use super::{Array, Step, Writer};

/// Another element type; what was not whole is rounded to nearest, ties to even, where the new type holds whole numbers only.
#[derive(Debug)]
pub(crate) struct Cast {
    pub(crate) from: DType,
    pub(crate) to: DType,
}

impl Cast {
    fn rounds(&self) -> bool {
        self.from.is_float() && !self.to.is_float() && self.to != DType::Bool
    }
}

impl Step for Cast {
    fn what(&self) -> String {
        let rounded = if self.rounds() { ", rounded" } else { "" };
        format!("cast {} to {}{rounded}", self.from, self.to)
    }

    fn emit(&self, writer: &mut Writer, value: &str) -> String {
        if self.rounds() {
            let rounded = writer.node("Round", &[value], vec![]);
            return writer.cast(&rounded, self.to);
        }
        writer.cast(value, self.to)
    }

    fn apply(&self, x: Array) -> Array {
        match self.to {
            _ if self.rounds() => x.each(None, |v, _| v.round_ties_even()),
            DType::F32 => x.each(None, |v, _| f64::from(v as f32)),
            DType::F16 => x.each(None, |v, _| half::f16::from_f64(v).to_f64()),
            DType::BF16 => x.each(None, |v, _| half::bf16::from_f64(v).to_f64()),
            DType::Bool => x.each(None, |v, _| f64::from(u8::from(v != 0.0))),
            _ => x,
        }
    }
}
