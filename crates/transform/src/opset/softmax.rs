//! `Softmax`, `LogSoftmax`, `Hardmax`: before 13 over all dimensions from `axis` on together, since then over one.

use plimsoll_onnx::{attr, node, proto::NodeProto};

use super::scope::{Scope, Upgraded};

/// Over the last dimension both mean the same; otherwise the dimensions are joined before and parted after.
pub(super) fn upgrade(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if !scope.crosses(13) {
        return Ok(None);
    }
    let axis = attr::int(n, "axis").unwrap_or(1);
    let (Some(data), Some(output)) = (node::input(n, 0), n.output.first()) else {
        return Err("it has no input or output".into());
    };
    let mut changed = n.clone();
    attr::set(&mut changed, attr::from_int("axis", -1));
    let last = axis == -1 || scope.rank(data).is_some_and(|rank| axis == rank as i64 - 1);
    if last {
        return Ok(Some(vec![changed]));
    }
    let [shape, flat, result] = ["shape", "flat", "soft"].map(|base| scope.fresh(base));
    changed.input[0].clone_from(&flat);
    changed.output[0].clone_from(&result);
    Ok(Some(vec![
        node::new("Shape", &[data], &[&shape]),
        node::with("Flatten", &[data], &[&flat], vec![attr::from_int("axis", axis)]),
        changed,
        node::new("Reshape", &[&result, &shape], &[output]),
    ]))
}
