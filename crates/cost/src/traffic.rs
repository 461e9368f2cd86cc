//! Bytes that one node reads and writes: what its arithmetic is weighed against.

use std::collections::HashSet;

use plimsoll_onnx::{node, proto::NodeProto};

use crate::{operators, scope::Scope};

/// Every operand read once and every result written once, as without fusion and with caches that forget; bodies apart. What does
/// nothing in a run moves nothing: views, questions about shapes, what is settled before the first run, and dequantizations that
/// only products in 8 bits read. A look-up reads the rows that it gives, not the table.
pub(crate) fn of(scope: &Scope<'_>, n: &NodeProto) -> Option<u64> {
    let still = node::is_default_domain(&n.domain)
        && (operators::is_view(&n.op_type) || matches!(n.op_type.as_str(), "Shape" | "Size" | "Constant"));
    let fused = n.output.first().is_some_and(|o| scope.read_as(o) != o);
    if still || fused || scope.is_done(n) {
        return Some(0);
    }
    // What nobody reads need not be known.
    let written = |o: &String| scope.bytes_of(o).or_else(|| scope.view.uses(o).is_empty().then_some(0));
    let outputs = n.output.iter().filter(|o| !o.is_empty());
    let written = outputs.map(written).try_fold(0u64, |sum, b| Some(sum.saturating_add(b?)))?;
    if node::is_default_domain(&n.domain)
        && matches!(n.op_type.as_str(), "Gather" | "GatherND" | "GatherElements" | "Slice")
    {
        let indices = n.input.iter().skip(1).filter(|i| !i.is_empty()).map(|i| scope.bytes_of(i));
        let indices = indices.sum::<Option<u64>>()?;
        return Some(written.saturating_mul(2).saturating_add(indices));
    }
    let mut seen = HashSet::new();
    let inputs = n.input.iter().map(String::as_str).filter(|i| !i.is_empty() && seen.insert(*i));
    inputs.map(|i| scope.bytes_of(scope.read_as(i))).try_fold(written, |sum, b| Some(sum.saturating_add(b?)))
}
