//! Shapes of operators that move data: reshape, slice, concatenate, gather, pad, and constants.

use onnx_protobuf::NodeProto;

use super::{Dim, Dims, Element, Infer, ValueType, axis_of};
use crate::{DType, Tensor, attr, node};

impl Infer<'_> {
    pub(super) fn infer_movement(&mut self, n: &NodeProto) -> Option<Vec<ValueType>> {
        let same = self.dtype(n, 0);
        let dims = match n.op_type.as_str() {
            "Reshape" => self.reshape(n),
            "Flatten" => self.dims(n, 0).and_then(|d| {
                let axis = attr::int(n, "axis").unwrap_or(1);
                let axis = if axis == d.len() as i64 { d.len() } else { axis_of(axis, d.len())? };
                Some(vec![self.multiply(&d[..axis]), self.multiply(&d[axis..])])
            }),
            "Transpose" => self.dims(n, 0).and_then(|d| match attr::ints(n, "perm") {
                None => Some(d.into_iter().rev().collect()),
                Some(perm) if perm.len() == d.len() => perm.iter().map(|&p| Some(d[axis_of(p, d.len())?])).collect(),
                Some(_) => None,
            }),
            "Squeeze" => self.squeeze(n),
            "Unsqueeze" => self.unsqueeze(n),
            "Concat" => self.concat(n),
            "Slice" => self.slice(n),
            "Gather" => self.dims(n, 0).zip(self.dims(n, 1)).and_then(|(data, indices)| {
                let axis = axis_of(attr::int(n, "axis").unwrap_or(0), data.len())?;
                Some(data[..axis].iter().chain(&indices).chain(&data[axis + 1..]).copied().collect())
            }),
            "GatherElements" => self.dims(n, 1),
            "GatherND" => self.dims(n, 0).zip(self.dims(n, 1)).and_then(|(data, indices)| {
                let batch = usize::try_from(attr::int(n, "batch_dims").unwrap_or(0)).ok()?;
                let depth = usize::try_from(indices.last()?.known()?).ok()?;
                let rest = data.get(batch.checked_add(depth)?..)?;
                Some(indices[..indices.len() - 1].iter().chain(rest).copied().collect())
            }),
            "Expand" => self.target(n, 1).and_then(|target| {
                let own = self.dims(n, 0);
                self.broadcast(vec![own, Some(target)])
            }),
            "Tile" => self.dims(n, 0).zip(self.integers(n, 1)).and_then(|(d, repeats)| {
                if d.len() != repeats.len() {
                    return None;
                }
                let scaled = |(d, r): (Dim, i64)| match (d, r) {
                    (d, 1) => Some(d),
                    (d, r) => Some(Dim::Known(d.known()?.checked_mul(u64::try_from(r).ok()?)?)),
                };
                d.into_iter().zip(repeats).map(scaled).collect()
            }),
            "Pad" => self.pad(n),
            "DepthToSpace" | "SpaceToDepth" => self.dims(n, 0).filter(|d| d.len() == 4).and_then(|d| {
                let block = u64::try_from(attr::int(n, "blocksize")?).ok().filter(|&b| b > 0)?;
                let square = block.checked_mul(block)?;
                let deeper = n.op_type == "SpaceToDepth";
                let across = |x: Dim, up: bool, by: u64| {
                    let size = x.known()?;
                    if up { size.checked_mul(by).map(Dim::Known) } else { Some(Dim::Known(size / by)) }
                };
                let (rows, columns) = (across(d[2], !deeper, block)?, across(d[3], !deeper, block)?);
                Some(vec![d[0], across(d[1], deeper, square)?, rows, columns])
            }),
            "Shape" | "Size" => {
                let rank = self.dims(n, 0).map(|d| shape_range(n, d.len()).len() as u64);
                let dims = if n.op_type == "Size" { Some(vec![]) } else { rank.map(|r| vec![Dim::Known(r)]) };
                return Some(vec![ValueType { dtype: Some(DType::I64), dims }]);
            }
            "Constant" => return constant_type(n).map(|t| vec![t]),
            "ConstantOfShape" => {
                let dtype = attr::tensor(n, "value").map_or(Some(DType::F32), |t| DType::from_onnx(t.data_type));
                let dims = self.target(n, 0);
                return Some(vec![ValueType { dtype, dims }]);
            }
            "Range" => {
                let values: Option<Vec<i64>> = (0..3).map(|i| self.integers(n, i)?.first().copied()).collect();
                let length = values.and_then(|v| {
                    let span = v[1].checked_sub(v[0])?;
                    let whole = span.checked_div(v[2])?;
                    let more = i64::from(span.checked_rem(v[2])? != 0 && (span > 0) == (v[2] > 0));
                    Some(Dim::Known(u64::try_from(whole.checked_add(more)?.max(0)).ok()?))
                });
                let length = length.unwrap_or_else(|| self.fresh());
                Some(vec![length])
            }
            "OneHot" => {
                let dims = self.dims(n, 0).and_then(|mut d| {
                    let depth = self.integers(n, 1).and_then(|v| u64::try_from(*v.first()?).ok());
                    let depth = depth.map_or_else(|| self.fresh(), Dim::Known);
                    let axis = attr::int(n, "axis").unwrap_or(-1);
                    d.insert(axis_of(axis, d.len() + 1)?, depth);
                    Some(d)
                });
                return Some(vec![ValueType { dtype: self.dtype(n, 2), dims }]);
            }
            "Split" => return self.split(n),
            "Resize" | "Upsample" => self.resize(n),
            "NonZero" => {
                let dims = self.dims(n, 0).map(|d| vec![Dim::Known(d.len() as u64), self.fresh()]);
                return Some(vec![ValueType { dtype: Some(DType::I64), dims }]);
            }
            _ => return None,
        };
        Some(vec![ValueType { dtype: same, dims }])
    }

    fn multiply(&mut self, dims: &[Dim]) -> Dim {
        let mut known = 1u64;
        let mut symbols = Vec::new();
        for dim in dims {
            match dim {
                Dim::Known(n) => match known.checked_mul(*n) {
                    Some(product) => known = product,
                    None => return self.fresh(),
                },
                symbol => symbols.push(*symbol),
            }
        }
        match (known, symbols.as_slice()) {
            (n, []) => Dim::Known(n),
            (0, _) => Dim::Known(0),
            (1, [one]) => *one,
            _ => self.fresh(),
        }
    }

    /// Dimensions that an input's elements name; unknown ones become fresh symbols, negative ones make it unknown.
    fn target(&mut self, n: &NodeProto, slot: usize) -> Dims {
        let Some(elements) = self.elements(n, slot) else {
            let rank = self.dims(n, slot)?.first()?.known()?;
            return if rank <= super::MOST_RANK as u64 {
                Some((0..rank).map(|_| self.fresh()).collect())
            } else {
                None
            };
        };
        let dim = |e: Element| match e {
            Element::Known(v) => u64::try_from(v).ok().map(Dim::Known),
            Element::Dim(s) => Some(Dim::Symbol(s)),
            Element::Unknown => Some(self.fresh()),
        };
        elements.into_iter().map(dim).collect()
    }

    fn reshape(&mut self, n: &NodeProto) -> Dims {
        let own = self.dims(n, 0);
        let elements = match attr::ints(n, "shape") {
            Some(shape) => shape.iter().map(|&v| Element::Known(v)).collect(),
            None => match self.elements(n, 1) {
                Some(elements) => elements,
                None => return self.target(n, 1),
            },
        };
        let zero_is_zero = attr::flag(n, "allowzero", false)?;
        let mut out = Vec::with_capacity(elements.len());
        let mut open = None;
        for (axis, element) in elements.iter().enumerate() {
            out.push(match element {
                Element::Known(-1) => {
                    open = Some(axis);
                    Dim::Known(1)
                }
                Element::Known(0) if !zero_is_zero => match &own {
                    Some(own) => *own.get(axis)?,
                    None => self.fresh(),
                },
                Element::Known(v) => Dim::Known(u64::try_from(*v).ok()?),
                Element::Dim(s) => Dim::Symbol(*s),
                Element::Unknown => self.fresh(),
            });
        }
        if let Some(axis) = open {
            let rest = own.and_then(|own| quotient(&own, &out));
            out[axis] = rest.unwrap_or_else(|| self.fresh());
        }
        Some(out)
    }

    fn squeeze(&mut self, n: &NodeProto) -> Dims {
        let dims = self.dims(n, 0)?;
        match self.list(n, "axes", 1)? {
            Some(axes) => {
                let axes: Vec<usize> = axes.iter().map(|&a| axis_of(a, dims.len())).collect::<Option<_>>()?;
                Some(dims.into_iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d).collect())
            }
            // Without axes every 1 goes, which only known sizes tell.
            None if dims.iter().all(|d| d.known().is_some()) => {
                Some(dims.into_iter().filter(|d| *d != Dim::Known(1)).collect())
            }
            None => None,
        }
    }

    fn unsqueeze(&mut self, n: &NodeProto) -> Dims {
        let dims = self.dims(n, 0)?;
        let axes = self.list(n, "axes", 1)??;
        let rank = dims.len().checked_add(axes.len())?;
        let axes: Vec<usize> = axes.iter().map(|&a| axis_of(a, rank)).collect::<Option<_>>()?;
        let mut rest = dims.into_iter();
        (0..rank).map(|i| if axes.contains(&i) { Some(Dim::Known(1)) } else { rest.next() }).collect()
    }

    fn concat(&mut self, n: &NodeProto) -> Dims {
        let all: Vec<Vec<Dim>> = (0..n.input.len()).map(|i| self.dims(n, i)).collect::<Option<_>>()?;
        let mut out = all.first()?.clone();
        let axis = axis_of(attr::int(n, "axis")?, out.len())?;
        for dims in &all {
            if dims.len() != out.len() {
                return None;
            }
            for (i, d) in dims.iter().enumerate().filter(|(i, d)| *i != axis && d.known().is_some()) {
                out[i] = *d;
            }
        }
        let sizes: Option<Vec<u64>> = all.iter().map(|d| d[axis].known()).collect();
        out[axis] = match (sizes.and_then(|s| s.into_iter().try_fold(0u64, u64::checked_add)), all.len()) {
            (Some(sum), _) => Dim::Known(sum),
            (None, 1) => all[0][axis],
            (None, _) => self.fresh(),
        };
        Some(out)
    }

    fn slice(&mut self, n: &NodeProto) -> Dims {
        let mut dims = self.dims(n, 0)?;
        let rank = dims.len();
        let starts = self.list(n, "starts", 1)?;
        let ends = self.list(n, "ends", 2)?;
        let axes = self.list(n, "axes", 3)?;
        let steps = self.list(n, "steps", 4)?;
        let (starts, ends) = (starts?, ends?);
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()].iter().any(|&l| l != starts.len()) {
            return None;
        }
        for (i, &axis) in axes.iter().enumerate() {
            let axis = axis_of(axis, rank)?;
            let whole = starts[i] == 0 && steps[i] == 1 && ends[i] >= i64::from(i32::MAX);
            dims[axis] = match dims[axis] {
                d if whole => d,
                Dim::Known(size) => Dim::Known(slice_length(i64::try_from(size).ok()?, starts[i], ends[i], steps[i])?),
                Dim::Symbol(_) => self.fresh(),
            };
        }
        Some(dims)
    }

    fn pad(&mut self, n: &NodeProto) -> Dims {
        let dims = self.dims(n, 0)?;
        let pads = self.list(n, "pads", 1)??;
        let axes: Vec<usize> = match node::input(n, 3) {
            None => (0..dims.len()).collect(),
            Some(_) => self.integers(n, 3)?.iter().map(|&a| axis_of(a, dims.len())).collect::<Option<_>>()?,
        };
        if pads.len() != 2 * axes.len() {
            return None;
        }
        let mut out = dims;
        for (i, &axis) in axes.iter().enumerate() {
            let more = pads[i].checked_add(pads[i + axes.len()])?;
            out[axis] = match out[axis] {
                d if more == 0 => d,
                Dim::Known(size) => Dim::Known(u64::try_from(i64::try_from(size).ok()?.checked_add(more)?).ok()?),
                Dim::Symbol(_) => self.fresh(),
            };
        }
        Some(out)
    }

    fn split(&mut self, n: &NodeProto) -> Option<Vec<ValueType>> {
        let dims = self.dims(n, 0)?;
        let dtype = self.dtype(n, 0);
        let axis = axis_of(attr::int(n, "axis").unwrap_or(0), dims.len())?;
        let parts = n.output.len() as u64;
        let sizes: Vec<Dim> = match self.list(n, "split", 1) {
            Some(Some(sizes)) => sizes.iter().map(|&s| u64::try_from(s).ok().map(Dim::Known)).collect::<Option<_>>()?,
            Some(None) if parts > 0 => match dims[axis] {
                Dim::Known(size) => {
                    let each = size.div_ceil(parts);
                    (0..parts).map(|i| Dim::Known(each.min(size.saturating_sub(i * each)))).collect()
                }
                Dim::Symbol(_) => (0..parts).map(|_| self.fresh()).collect(),
            },
            _ => (0..parts).map(|_| self.fresh()).collect(),
        };
        let part = |size: Dim| {
            let mut dims = dims.clone();
            dims[axis] = size;
            ValueType { dtype, dims: Some(dims) }
        };
        Some(sizes.into_iter().map(part).collect())
    }

    fn resize(&mut self, n: &NodeProto) -> Dims {
        let dims = self.dims(n, 0)?;
        if attr::has(n, "axes") || attr::has(n, "keep_aspect_ratio_policy") {
            return None;
        }
        let sizes = self.integers(n, 3).filter(|s| s.len() == dims.len());
        if let Some(sizes) = sizes {
            return sizes.iter().map(|&s| u64::try_from(s).ok().map(Dim::Known)).collect();
        }
        let slot = if n.op_type == "Upsample" || self.opset < 11 { 1 } else { 2 };
        let scales = self.constant(node::input(n, slot)?)?.to_f32().ok().filter(|s| s.len() == dims.len())?;
        let scaled = |(d, s): (Dim, f32)| match d {
            d if s == 1.0 => d,
            Dim::Known(size) => Dim::Known((size as f64 * f64::from(s)).floor() as u64),
            Dim::Symbol(_) => self.fresh(),
        };
        Some(dims.into_iter().zip(scales).map(scaled).collect())
    }
}

/// What `-1` stands for: the size of `whole` over the size of `part`, where symbols cancel.
fn quotient(whole: &[Dim], part: &[Dim]) -> Option<Dim> {
    let mut symbols: Vec<Dim> = whole.iter().filter(|d| d.known().is_none()).copied().collect();
    for d in part.iter().filter(|d| d.known().is_none()) {
        let at = symbols.iter().position(|s| s == d)?;
        symbols.remove(at);
    }
    let known = |dims: &[Dim]| dims.iter().filter_map(|d| d.known()).try_fold(1u64, u64::checked_mul);
    let (above, below) = (known(whole)?, known(part)?);
    if below == 0 || above % below != 0 {
        return None;
    }
    match (above / below, symbols.as_slice()) {
        (n, []) => Some(Dim::Known(n)),
        (1, [one]) => Some(*one),
        _ => None,
    }
}

/// Length of a slice, by the rules of NumPy; `None` for a step of 0 or where numbers overflow.
pub(super) fn slice_length(size: i64, start: i64, end: i64, step: i64) -> Option<u64> {
    let (start, end) = slice_bounds(size, start, end, step)?;
    let span = if step > 0 { end.checked_sub(start)? } else { start.checked_sub(end)? };
    let step = step.checked_abs()?;
    u64::try_from(span.max(0).checked_add(step - 1)? / step).ok()
}

/// First element, and the one to stop before, both clamped.
pub(super) fn slice_bounds(size: i64, start: i64, end: i64, step: i64) -> Option<(i64, i64)> {
    if step == 0 || size < 0 {
        return None;
    }
    let from_end = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
    let (start, end) = (from_end(start), from_end(end));
    Some(if step > 0 {
        (start.clamp(0, size), end.clamp(0, size))
    } else {
        (start.clamp(0, size.max(1) - 1), end.clamp(-1, size.max(1) - 1))
    })
}

/// The dimensions that `Shape` returns, by its `start` and `end`.
pub(super) fn shape_range(n: &NodeProto, rank: usize) -> std::ops::Range<usize> {
    let rank_i = rank as i64;
    let clamp = |v: i64| (if v < 0 { v.saturating_add(rank_i) } else { v }).clamp(0, rank_i) as usize;
    let start = clamp(attr::int(n, "start").unwrap_or(0));
    let end = clamp(attr::int(n, "end").unwrap_or(rank_i));
    start..end.max(start)
}

fn constant_type(n: &NodeProto) -> Option<ValueType> {
    if let Some(proto) = attr::tensor(n, "value") {
        let dims = proto.dims.iter().map(|&d| u64::try_from(d).map(Dim::Known)).collect::<Result<_, _>>().ok();
        return Some(ValueType { dtype: DType::from_onnx(proto.data_type), dims });
    }
    let typed = |t: Tensor| ValueType {
        dtype: Some(t.dtype()),
        dims: Some(t.shape().iter().map(|&d| Dim::Known(d as u64)).collect()),
    };
    attr::constant(n).map(typed)
}
