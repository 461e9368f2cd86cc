//! Values of small integer tensors: what shape computations are made of.

use onnx_protobuf::NodeProto;

use super::{Element, Infer, MOST_ELEMENTS, axis_of, movement};
use crate::{DType, attr};

impl Infer<'_> {
    /// Elements of the first output, where the operator is one that shapes are computed with and the result is an integer
    /// scalar or vector.
    pub(super) fn elements_of(&self, n: &NodeProto) -> Option<Vec<Element>> {
        let output = n.output.first()?;
        let rank = self.shapes.dims(output)?.len();
        let integer = matches!(self.shapes.dtype(output)?, DType::I64 | DType::I32 | DType::Bool);
        if rank > 1 || !integer {
            return None;
        }
        let found = match n.op_type.as_str() {
            "Constant" => attr::constant(n)?.to_i64().ok()?.into_iter().map(Element::Known).collect(),
            "Shape" => {
                let dims = self.dims(n, 0)?;
                dims[movement::shape_range(n, dims.len())].iter().map(|&d| d.into()).collect()
            }
            "Size" => {
                let dims: Option<Vec<u64>> = self.dims(n, 0)?.into_iter().map(super::Dim::known).collect();
                let product = dims?.into_iter().try_fold(1u64, u64::checked_mul)?;
                vec![Element::Known(i64::try_from(product).ok()?)]
            }
            "Reshape" => self.flat(n)?,
            "Identity" | "Squeeze" | "Unsqueeze" | "Flatten" => self.elements(n, 0)?,
            "Cast" => {
                let kept = matches!(self.dtype(n, 0)?, DType::I64 | DType::I32 | DType::Bool);
                let to = self.shapes.dtype(output)?;
                let fits = |e: &Element| match (to, e) {
                    (DType::I32, Element::Known(v)) => i32::try_from(*v).is_ok(),
                    (DType::Bool, Element::Known(v)) => (0..=1).contains(v),
                    (DType::Bool, _) => false,
                    _ => true,
                };
                self.elements(n, 0).filter(|e| kept && e.iter().all(fits))?
            }
            "Concat" => {
                let parts: Vec<Vec<Element>> = (0..n.input.len()).map(|i| self.part(n, i)).collect::<Option<_>>()?;
                parts.concat()
            }
            "Gather" => {
                let data = self.elements(n, 0)?;
                let pick = |i: i64| axis_of(i, data.len()).map(|i| data[i]);
                self.integers(n, 1)?.into_iter().map(pick).collect::<Option<_>>()?
            }
            "Slice" => self.slice_elements(n)?,
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "Mod" => self.arithmetic(n)?,
            "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" => self.logic(n)?,
            "Not" => self.each(n, |v| if v == 0 || v == 1 { Some(1 - v) } else { None })?,
            "Neg" => self.each(n, |v| v.checked_neg())?,
            "Abs" => self.each(n, |v| v.checked_abs())?,
            "Equal" => self.equal(n)?,
            "Where" => self.choose(n)?,
            "ConstantOfShape" => {
                let length = self.integers(n, 0)?;
                let length = usize::try_from(*length.first()?).ok().filter(|&l| l <= MOST_ELEMENTS)?;
                let value = crate::Tensor::from_proto(attr::tensor(n, "value")?).ok()?.to_i64().ok()?;
                vec![Element::Known(*value.first()?); length]
            }
            "Range" => {
                let v: Vec<i64> = (0..3).map(|i| self.integers(n, i)?.first().copied()).collect::<Option<_>>()?;
                let length = self.shapes.dims(output)?.first()?.known().filter(|&l| l <= MOST_ELEMENTS as u64)?;
                let at = |i: u64| v[2].checked_mul(i as i64)?.checked_add(v[0]).map(Element::Known);
                (0..length).map(at).collect::<Option<_>>()?
            }
            "ReduceProd" => {
                let factors = self.integers(n, 0)?;
                vec![Element::Known(factors.into_iter().try_fold(1i64, i64::checked_mul)?)]
            }
            _ => return None,
        };
        // A rank and a length that disagree mean a model that no executor would run.
        let length = self.shapes.dims(output)?.first().map_or(Some(1), |d| d.known());
        (length == Some(found.len() as u64)).then_some(found)
    }

    /// An input of `Concat`: its elements, or as many unknown ones.
    fn part(&self, n: &NodeProto, slot: usize) -> Option<Vec<Element>> {
        if let Some(elements) = self.elements(n, slot) {
            return Some(elements);
        }
        let length = self.dims(n, slot)?.first()?.known()?;
        (length <= MOST_ELEMENTS as u64).then(|| vec![Element::Unknown; length as usize])
    }

    fn slice_elements(&self, n: &NodeProto) -> Option<Vec<Element>> {
        let data = self.elements(n, 0)?;
        let one = |name: &str, slot: usize, default: Option<i64>| match self.list(n, name, slot)? {
            Some(list) if list.len() == 1 => Some(list[0]),
            Some(_) => None,
            None => default,
        };
        let (start, end) = (one("starts", 1, None)?, one("ends", 2, None)?);
        let (axis, step) = (one("axes", 3, Some(0))?, one("steps", 4, Some(1))?);
        axis_of(axis, 1)?;
        let (mut at, stop) = movement::slice_bounds(data.len() as i64, start, end, step)?;
        let mut out = Vec::new();
        while (step > 0 && at < stop) || (step < 0 && at > stop) {
            out.push(*data.get(usize::try_from(at).ok()?)?);
            at = at.checked_add(step)?;
        }
        Some(out)
    }

    fn pairs(&self, n: &NodeProto) -> Option<Vec<(Element, Element)>> {
        let (a, b) = (self.elements(n, 0)?, self.elements(n, 1)?);
        let length = a.len().max(b.len());
        if n.input.len() != 2 || [a.len(), b.len()].iter().any(|&l| l != length && l != 1) {
            return None;
        }
        Some((0..length).map(|i| (a[if a.len() == 1 { 0 } else { i }], b[if b.len() == 1 { 0 } else { i }])).collect())
    }

    fn arithmetic(&self, n: &NodeProto) -> Option<Vec<Element>> {
        use Element::{Dim, Known, Unknown};
        let op = n.op_type.as_str();
        let apply = |(a, b): (Element, Element)| match (op, a, b) {
            // Integer division of ONNX truncates.
            (_, Known(a), Known(b)) => match op {
                "Add" => a.checked_add(b),
                "Sub" => a.checked_sub(b),
                "Mul" => a.checked_mul(b),
                "Div" => a.checked_div(b),
                "Max" => Some(a.max(b)),
                "Min" => Some(a.min(b)),
                _ if attr::int(n, "fmod").unwrap_or(0) == 0 && b > 0 => Some(a.rem_euclid(b)),
                _ => None,
            }
            .map_or(Unknown, Known),
            ("Add", Dim(s), Known(0)) | ("Add", Known(0), Dim(s)) | ("Sub", Dim(s), Known(0)) => Dim(s),
            ("Mul", Dim(s), Known(1)) | ("Mul", Known(1), Dim(s)) | ("Div", Dim(s), Known(1)) => Dim(s),
            ("Max" | "Min", Dim(a), Dim(b)) if a == b => Dim(a),
            ("Max", Dim(s), Known(v)) | ("Max", Known(v), Dim(s)) if v <= 0 => Dim(s),
            _ => Unknown,
        };
        Some(self.pairs(n)?.into_iter().map(apply).collect())
    }

    fn each(&self, n: &NodeProto, f: impl Fn(i64) -> Option<i64>) -> Option<Vec<Element>> {
        let apply = |e| match e {
            Element::Known(v) => f(v).map_or(Element::Unknown, Element::Known),
            _ => Element::Unknown,
        };
        Some(self.elements(n, 0)?.into_iter().map(apply).collect())
    }

    fn equal(&self, n: &NodeProto) -> Option<Vec<Element>> {
        use Element::{Dim, Known, Unknown};
        let apply = |(a, b)| match (a, b) {
            (Known(a), Known(b)) => Known((a == b).into()),
            (Dim(a), Dim(b)) if a == b => Known(1),
            // A size is never negative.
            (Dim(_), Known(v)) | (Known(v), Dim(_)) if v < 0 => Known(0),
            _ => Unknown,
        };
        Some(self.pairs(n)?.into_iter().map(apply).collect())
    }

    fn logic(&self, n: &NodeProto) -> Option<Vec<Element>> {
        use Element::{Known, Unknown};
        let apply = |pair| match pair {
            (Known(a), Known(b)) => {
                let truth = |v: i64| v != 0;
                let found = match n.op_type.as_str() {
                    "Less" => a < b,
                    "LessOrEqual" => a <= b,
                    "Greater" => a > b,
                    "GreaterOrEqual" => a >= b,
                    "And" => truth(a) && truth(b),
                    "Or" => truth(a) || truth(b),
                    _ => truth(a) != truth(b),
                };
                Known(found.into())
            }
            _ => Unknown,
        };
        Some(self.pairs(n)?.into_iter().map(apply).collect())
    }

    fn choose(&self, n: &NodeProto) -> Option<Vec<Element>> {
        let parts: Vec<Vec<Element>> = (0..3).map(|i| self.elements(n, i)).collect::<Option<_>>()?;
        let length = parts.iter().map(Vec::len).max()?;
        if parts.iter().any(|p| p.len() != length && p.len() != 1) {
            return None;
        }
        let at = |p: &[Element], i: usize| p[if p.len() == 1 { 0 } else { i }];
        let pick = |i| match at(&parts[0], i) {
            Element::Known(0) => at(&parts[2], i),
            Element::Known(_) => at(&parts[1], i),
            _ => Element::Unknown,
        };
        Some((0..length).map(pick).collect())
    }
}
