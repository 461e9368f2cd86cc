//! Shapes of layers: convolutions, matrix products, pools, recurrent layers.

use onnx_protobuf::NodeProto;

use super::{Dim, Dims, Infer, ValueType};
use crate::{DType, attr};

impl Infer<'_> {
    pub(super) fn infer_layer(&mut self, n: &NodeProto) -> Option<Vec<ValueType>> {
        let typed = |dtype, dims| Some(vec![ValueType { dtype, dims }]);
        match n.op_type.as_str() {
            "Conv" => {
                let dims = self.convolution(n, 0, 1);
                typed(self.dtype(n, 0), dims)
            }
            "ConvInteger" => {
                let dims = self.convolution(n, 0, 1);
                typed(Some(DType::I32), dims)
            }
            "QLinearConv" => {
                let dims = self.convolution(n, 0, 3);
                typed(self.dtype(n, 7), dims)
            }
            "ConvTranspose" => {
                let dims = self.transposed_convolution(n);
                typed(self.dtype(n, 0), dims)
            }
            "MatMul" => {
                let dims = self.product(n, 0, 1);
                typed(self.dtype(n, 0), dims)
            }
            "MatMulInteger" => {
                let dims = self.product(n, 0, 1);
                typed(Some(DType::I32), dims)
            }
            "QLinearMatMul" => {
                let dims = self.product(n, 0, 3);
                typed(self.dtype(n, 7), dims)
            }
            "Gemm" => {
                let side = |dims: Dims, flag: &str, last: usize| {
                    let dims = dims.filter(|d| d.len() == 2)?;
                    Some(dims[if attr::flag(n, flag, false)? { 1 - last } else { last }])
                };
                let rows = side(self.dims(n, 0), "transA", 0);
                let columns = side(self.dims(n, 1), "transB", 1);
                typed(self.dtype(n, 0), rows.zip(columns).map(|(r, c)| vec![r, c]))
            }
            "MaxPool" | "AveragePool" | "LpPool" => {
                let dims = self.dims(n, 0).and_then(|dims| {
                    let kernel = attr::ints(n, "kernel_shape")?.to_vec();
                    self.window(n, &dims, dims.get(1).copied()?, &kernel)
                });
                let values = ValueType { dtype: self.dtype(n, 0), dims: dims.clone() };
                Some(vec![values, ValueType { dtype: Some(DType::I64), dims }])
            }
            "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
                let dims = self.dims(n, 0).filter(|d| d.len() >= 2).map(|d| {
                    let rest = std::iter::repeat_n(Dim::Known(1), d.len() - 2);
                    d[..2].iter().copied().chain(rest).collect()
                });
                typed(self.dtype(n, 0), dims)
            }
            "LSTM" | "GRU" | "RNN" => self.recurrent(n),
            _ => None,
        }
    }

    fn convolution(&mut self, n: &NodeProto, input: usize, weight: usize) -> Dims {
        let dims = self.dims(n, input)?;
        let weight = self.dims(n, weight)?;
        let given = attr::ints(n, "kernel_shape").map(<[i64]>::to_vec);
        let kernel = match given {
            Some(kernel) => kernel,
            None => {
                weight.get(2..)?.iter().map(|d| d.known().and_then(|k| i64::try_from(k).ok())).collect::<Option<_>>()?
            }
        };
        self.window(n, &dims, weight.first().copied()?, &kernel)
    }

    /// Output of a sliding window: [batch, channels, spatial…].
    fn window(&mut self, n: &NodeProto, dims: &[Dim], channels: Dim, kernel: &[i64]) -> Dims {
        let spatial = dims.get(2..)?;
        if spatial.len() != kernel.len() {
            return None;
        }
        let strides = attr::ints(n, "strides").map(<[i64]>::to_vec);
        let dilations = attr::ints(n, "dilations").map(<[i64]>::to_vec);
        let pads = attr::ints(n, "pads").map(<[i64]>::to_vec);
        let auto = attr::string(n, "auto_pad").unwrap_or("NOTSET").to_owned();
        let ceil = attr::flag(n, "ceil_mode", false)?;
        let mut out = vec![dims[0], channels];
        for (axis, (&size, &k)) in spatial.iter().zip(kernel).enumerate() {
            let at =
                |list: &Option<Vec<i64>>, i: usize, default| list.as_ref().map_or(Some(default), |l| l.get(i).copied());
            let stride = at(&strides, axis, 1).filter(|&s| s > 0)?;
            let reach = at(&dilations, axis, 1)?.checked_mul(k.checked_sub(1)?)?.checked_add(1)?;
            let begin = at(&pads, axis, 0)?;
            let pad = begin.checked_add(at(&pads, axis + kernel.len(), 0)?)?;
            let same = auto.starts_with("SAME");
            let pad = if auto == "NOTSET" { pad } else { 0 };
            out.push(match size {
                Dim::Symbol(_) if stride == 1 && (same || pad + 1 == reach) => size,
                Dim::Symbol(_) => self.fresh(),
                Dim::Known(size) => {
                    let size = i64::try_from(size).ok()?;
                    let count = if same {
                        size.checked_add(stride - 1)? / stride
                    } else {
                        let room = size.checked_add(pad)?.checked_sub(reach)?;
                        if room < 0 {
                            return None;
                        }
                        let mut count = room / stride + 1;
                        // With ceil_mode a window may start in the input or its left padding, not beyond.
                        if ceil && room % stride != 0 && count.checked_mul(stride)? < size.checked_add(begin)? {
                            count += 1;
                        }
                        count
                    };
                    Dim::Known(u64::try_from(count).ok()?)
                }
            });
        }
        Some(out)
    }

    fn transposed_convolution(&mut self, n: &NodeProto) -> Dims {
        let dims = self.dims(n, 0)?;
        let weight = self.dims(n, 1)?;
        let group = u64::try_from(attr::int(n, "group").unwrap_or(1)).ok()?;
        let channels = weight.get(1)?.known()?.checked_mul(group)?;
        let spatial = dims.get(2..)?.to_vec();
        let list = |name: &str| attr::ints(n, name).map(<[i64]>::to_vec);
        let (strides, dilations, pads) = (list("strides"), list("dilations"), list("pads"));
        let (extra, wanted) = (list("output_padding"), list("output_shape"));
        let auto = attr::string(n, "auto_pad").unwrap_or("NOTSET");
        let mut out = vec![*dims.first()?, Dim::Known(channels)];
        for (axis, size) in spatial.iter().enumerate() {
            let at = |l: &Option<Vec<i64>>, i: usize, default| l.as_ref().map_or(Some(default), |l| l.get(i).copied());
            if let Some(wanted) = &wanted {
                out.push(Dim::Known(u64::try_from(*wanted.get(axis)?).ok()?));
                continue;
            }
            let Some(size) = size.known() else {
                out.push(self.fresh());
                continue;
            };
            let size = i64::try_from(size).ok()?;
            let stride = at(&strides, axis, 1)?;
            let kernel = i64::try_from(weight.get(2 + axis)?.known()?).ok()?;
            let length = if auto.starts_with("SAME") {
                size.checked_mul(stride)?
            } else {
                let reach = at(&dilations, axis, 1)?.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
                let pad = if auto == "NOTSET" {
                    at(&pads, axis, 0)?.checked_add(at(&pads, axis + spatial.len(), 0)?)?
                } else {
                    0
                };
                let full = stride.checked_mul(size.checked_sub(1)?)?.checked_add(at(&extra, axis, 0)?)?;
                full.checked_add(reach)?.checked_sub(pad)?
            };
            out.push(Dim::Known(u64::try_from(length).ok()?));
        }
        Some(out)
    }

    fn product(&mut self, n: &NodeProto, a: usize, b: usize) -> Dims {
        let (a, b) = (self.dims(n, a)?, self.dims(n, b)?);
        if a.is_empty() || b.is_empty() {
            return None;
        }
        // numpy.matmul: a vector gains a dimension for the product and loses it again.
        let (a_vector, b_vector) = (a.len() == 1, b.len() == 1);
        let a = if a_vector { vec![Dim::Known(1), a[0]] } else { a };
        let b = if b_vector { vec![b[0], Dim::Known(1)] } else { b };
        let (rows, columns) = (a[a.len() - 2], b[b.len() - 1]);
        let mut out = self.broadcast(vec![Some(a[..a.len() - 2].to_vec()), Some(b[..b.len() - 2].to_vec())])?;
        if !a_vector {
            out.push(rows);
        }
        if !b_vector {
            out.push(columns);
        }
        Some(out)
    }

    fn recurrent(&mut self, n: &NodeProto) -> Option<Vec<ValueType>> {
        let x = self.dims(n, 0).filter(|d| d.len() == 3)?;
        let directions = self.dims(n, 1)?.first()?.known()?;
        let hidden = self.dims(n, 2)?.get(2).copied()?;
        let batch_first = attr::int(n, "layout").unwrap_or(0) != 0;
        let (steps, batch) = if batch_first { (x[1], x[0]) } else { (x[0], x[1]) };
        let d = Dim::Known(directions);
        let dtype = self.dtype(n, 0);
        let value = |dims: Vec<Dim>| ValueType { dtype, dims: Some(dims) };
        let (all, last) = if batch_first {
            (vec![batch, steps, d, hidden], vec![batch, d, hidden])
        } else {
            (vec![steps, d, batch, hidden], vec![d, batch, hidden])
        };
        Some(vec![value(all), value(last.clone()), value(last)])
    }
}
