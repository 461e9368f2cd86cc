//! Values of small integer matrices. PyTorch writes the paddings of `torch.nn.functional.pad` as such: pairs in the order of its
//! own, which are put into a matrix, turned over, transposed, and laid out as ONNX wants them.

use onnx_protobuf::NodeProto;

use super::{Element, Infer, MOST_ELEMENTS, axis_of, movement};
use crate::{DType, attr, node};

/// Rows of equal length.
pub(super) type Matrix = Vec<Vec<Element>>;

impl Infer<'_> {
    /// Elements of the first output, where it is a matrix that is made of known ones by moving them.
    pub(super) fn matrix_of(&self, n: &NodeProto) -> Option<Matrix> {
        let output = n.output.first()?;
        let &[rows, columns] = self.shapes.dims(output)? else { return None };
        if !matches!(self.shapes.dtype(output)?, DType::I64 | DType::I32) {
            return None;
        }
        let (rows, columns) = (usize::try_from(rows.known()?).ok()?, usize::try_from(columns.known()?).ok()?);
        if columns == 0 || rows.checked_mul(columns)? > MOST_ELEMENTS {
            return None;
        }
        let found: Matrix = match n.op_type.as_str() {
            "Reshape" => self.flat(n)?.chunks(columns).map(<[Element]>::to_vec).collect(),
            "Transpose" if attr::ints(n, "perm").is_none_or(|p| p == [1, 0]) => {
                let from = self.matrix(n)?;
                let column = |c: usize| from.iter().map(|row| row.get(c).copied()).collect::<Option<Vec<_>>>();
                (0..rows).map(column).collect::<Option<_>>()?
            }
            "Slice" => self.slice_matrix(n)?,
            _ => return None,
        };
        (found.len() == rows && found.iter().all(|row| row.len() == columns)).then_some(found)
    }

    /// Elements of the first input in stored order, be it a vector or a matrix.
    pub(super) fn flat(&self, n: &NodeProto) -> Option<Vec<Element>> {
        let matrix = || self.matrix(n).map(|rows| rows.concat());
        self.elements(n, 0).or_else(matrix)
    }

    fn matrix(&self, n: &NodeProto) -> Option<&Matrix> {
        self.shapes.matrices.get(node::input(n, 0)?)
    }

    fn slice_matrix(&self, n: &NodeProto) -> Option<Matrix> {
        let from = self.matrix(n)?;
        let one = |name: &str, slot: usize, default: Option<i64>| match self.list(n, name, slot)? {
            Some(list) if list.len() == 1 => Some(list[0]),
            Some(_) => None,
            None => default,
        };
        let (start, end) = (one("starts", 1, None)?, one("ends", 2, None)?);
        let (axis, step) = (axis_of(one("axes", 3, Some(0))?, 2)?, one("steps", 4, Some(1))?);
        let length = if axis == 0 { from.len() } else { from.first()?.len() };
        let (mut at, stop) = movement::slice_bounds(length as i64, start, end, step)?;
        let mut kept = Vec::new();
        while (step > 0 && at < stop) || (step < 0 && at > stop) {
            kept.push(usize::try_from(at).ok()?);
            at = at.checked_add(step)?;
        }
        let pick = |row: &Vec<Element>| kept.iter().map(|&i| row.get(i).copied()).collect::<Option<Vec<_>>>();
        if axis == 0 { kept.iter().map(|&i| from.get(i).cloned()).collect() } else { from.iter().map(pick).collect() }
    }
}
