//! Shapes of `Einsum`: letters are axes, and an axis of the result is as long as in the operand that names it.

use onnx_protobuf::NodeProto;

use super::{Dim, Infer};
use crate::attr;

impl Infer<'_> {
    /// Of an equation that says its result and has no ellipsis; others are rare, and nothing is claimed of them.
    pub(super) fn einsum(&self, n: &NodeProto) -> Option<Vec<Dim>> {
        let equation: String = attr::string(n, "equation")?.chars().filter(|c| !c.is_whitespace()).collect();
        let (operands, result) = equation.split_once("->")?;
        let named = |letter: char| {
            let mut found: Option<Dim> = None;
            for (slot, operand) in operands.split(',').enumerate() {
                for (axis, _) in operand.chars().enumerate().filter(|(_, c)| *c == letter) {
                    let dim = self.dims(n, slot).filter(|dims| dims.len() == operand.chars().count())?[axis];
                    // A length of 1 broadcasts.
                    if found.is_none() || found == Some(Dim::Known(1)) {
                        found = Some(dim);
                    }
                }
            }
            found
        };
        if !equation.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, ',' | '-' | '>')) {
            return None;
        }
        result.chars().map(named).collect()
    }
}
