//! Shapes of reductions.

use onnx_protobuf::NodeProto;

use super::{Dim, Dims, Infer, ValueType, axis_of};
use crate::{DType, attr};

impl Infer<'_> {
    pub(super) fn infer_reduction(&mut self, n: &NodeProto) -> Option<Vec<ValueType>> {
        match n.op_type.as_str() {
            "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2"
            | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare" => {
                let dims = self.reduced(n);
                Some(vec![ValueType { dtype: self.dtype(n, 0), dims }])
            }
            "ArgMax" | "ArgMin" => {
                let dims = self.dims(n, 0).and_then(|dims| {
                    let axis = axis_of(attr::int(n, "axis").unwrap_or(0), dims.len())?;
                    Some(without(dims, &[axis], attr::flag(n, "keepdims", true)?))
                });
                Some(vec![ValueType { dtype: Some(DType::I64), dims }])
            }
            "TopK" => {
                let dims = self.dims(n, 0).and_then(|mut dims| {
                    let axis = axis_of(attr::int(n, "axis").unwrap_or(-1), dims.len())?;
                    let k = attr::int(n, "k").or_else(|| self.integers(n, 1).and_then(|k| k.first().copied()));
                    dims[axis] = match k.and_then(|k| u64::try_from(k).ok()) {
                        Some(k) => Dim::Known(k),
                        None => self.fresh(),
                    };
                    Some(dims)
                });
                let values = ValueType { dtype: self.dtype(n, 0), dims: dims.clone() };
                Some(vec![values, ValueType { dtype: Some(DType::I64), dims }])
            }
            _ => None,
        }
    }

    fn reduced(&mut self, n: &NodeProto) -> Dims {
        let dims = self.dims(n, 0)?;
        let keep = attr::flag(n, "keepdims", true)?;
        let axes = self.list(n, "axes", 1)?.unwrap_or_default();
        if axes.is_empty() {
            if attr::flag(n, "noop_with_empty_axes", false)? {
                return Some(dims);
            }
            let all: Vec<usize> = (0..dims.len()).collect();
            return Some(without(dims, &all, keep));
        }
        let axes: Vec<usize> = axes.iter().map(|&a| axis_of(a, dims.len())).collect::<Option<_>>()?;
        Some(without(dims, &axes, keep))
    }
}

fn without(dims: Vec<Dim>, axes: &[usize], keep: bool) -> Vec<Dim> {
    let kept = dims.into_iter().enumerate();
    if keep {
        kept.map(|(i, d)| if axes.contains(&i) { Dim::Known(1) } else { d }).collect()
    } else {
        kept.filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d).collect()
    }
}
