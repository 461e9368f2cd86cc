//! Arrays of the reference that adapters are held against: plain loops over float64, no graph, no executor.

use plimsoll_onnx::{DType, Tensor, TensorError};

/// A dense array, row-major. Whole numbers beyond 2⁵³ are not held exactly.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f64>,
}

impl Array {
    pub(super) fn of(tensor: &Tensor) -> Result<Self, TensorError> {
        Ok(Self { shape: tensor.shape().to_vec(), data: tensor.to_f64()? })
    }

    /// The tensor of a dtype; whole numbers are rounded as casts round: towards zero.
    pub(super) fn tensor(&self, dtype: DType) -> Result<Tensor, TensorError> {
        let whole = |bytes: usize| {
            let one = |x: &f64| (*x as i64).to_le_bytes().into_iter().take(bytes).collect::<Vec<u8>>();
            self.data.iter().flat_map(one).collect::<Vec<u8>>()
        };
        let bytes = match dtype {
            DType::F64 => self.data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            DType::F32 => self.data.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
            DType::F16 => self.data.iter().flat_map(|x| half::f16::from_f64(*x).to_le_bytes()).collect(),
            DType::BF16 => self.data.iter().flat_map(|x| half::bf16::from_f64(*x).to_le_bytes()).collect(),
            DType::Bool => self.data.iter().map(|x| u8::from(*x != 0.0)).collect(),
            DType::I8 | DType::U8 => whole(1),
            DType::I16 | DType::U16 => whole(2),
            DType::I32 | DType::U32 => whole(4),
            DType::I64 | DType::U64 => whole(8),
            other => return Err(TensorError::Convert(other, "an array")),
        };
        Tensor::new(dtype, self.shape.clone(), bytes)
    }

    /// Elements between two neighbours along an axis.
    fn stride(&self, axis: usize) -> usize {
        self.shape[axis + 1..].iter().product()
    }

    /// Another array in which each line along an axis is what `change` makes of it.
    pub(super) fn lines(&self, axis: usize, change: impl Fn(&[f64], usize) -> Vec<f64>) -> Self {
        let (length, stride) = (self.shape[axis], self.stride(axis));
        let outer: usize = self.shape[..axis].iter().product();
        let mut lines = Vec::with_capacity(outer * stride);
        for o in 0..outer {
            for s in 0..stride {
                let line: Vec<f64> = (0..length).map(|t| self.data[(o * length + t) * stride + s]).collect();
                lines.push(change(&line, o * stride + s));
            }
        }
        let new = lines.first().map_or(0, Vec::len);
        let mut data = vec![0.0; outer * new * stride];
        for (at, line) in lines.iter().enumerate() {
            let (o, s) = (at / stride, at % stride);
            for (t, value) in line.iter().enumerate() {
                data[(o * new + t) * stride + s] = *value;
            }
        }
        let mut shape = self.shape.clone();
        shape[axis] = new;
        Self { shape, data }
    }

    /// Each element by itself, told its position along an axis (0 where there is none).
    pub(super) fn each(&self, axis: Option<usize>, change: impl Fn(f64, usize) -> f64) -> Self {
        let at = |i: usize| axis.map_or(0, |axis| i / self.stride(axis) % self.shape[axis]);
        let data = self.data.iter().enumerate().map(|(i, x)| change(*x, at(i))).collect();
        Self { shape: self.shape.clone(), data }
    }

    pub(super) fn transposed(&self, perm: &[usize]) -> Self {
        let shape: Vec<usize> = perm.iter().map(|&p| self.shape[p]).collect();
        let strides: Vec<usize> = perm.iter().map(|&p| self.stride(p)).collect();
        let mut position = vec![0; shape.len()];
        let mut data = Vec::with_capacity(self.data.len());
        for _ in 0..self.data.len() {
            data.push(self.data[position.iter().zip(&strides).map(|(p, s)| p * s).sum::<usize>()]);
            for axis in (0..shape.len()).rev() {
                position[axis] += 1;
                if position[axis] < shape[axis] {
                    break;
                }
                position[axis] = 0;
            }
        }
        Self { shape, data }
    }

    /// Arrays joined along an axis.
    pub(super) fn joined(parts: &[Self], axis: usize) -> Option<Self> {
        let first = parts.first()?;
        let outer: usize = first.shape[..axis].iter().product();
        let mut data = Vec::new();
        for o in 0..outer {
            for part in parts {
                let block = part.data.len() / outer;
                data.extend_from_slice(&part.data[o * block..(o + 1) * block]);
            }
        }
        let mut shape = first.shape.clone();
        shape[axis] = parts.iter().map(|p| p.shape[axis]).sum();
        Some(Self { shape, data })
    }
}
