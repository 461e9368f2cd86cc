//! Operators whose attributes became inputs: what was a list in the node is a constant beside it.

use plimsoll_onnx::{Tensor, attr, node, proto::NodeProto};

use super::scope::{Scope, Upgraded};

/// Moves a list attribute into input `slot`.
fn to_input(n: &NodeProto, attribute: &str, slot: usize, scope: &mut Scope<'_>) -> NodeProto {
    let mut changed = n.clone();
    attr::remove(&mut changed, attribute);
    if let Some(values) = attr::ints(n, attribute) {
        put(&mut changed, slot, scope.list(values));
    }
    changed
}

/// Sets an input, absent ones before it being empty names.
pub(super) fn put(n: &mut NodeProto, slot: usize, value: String) {
    while n.input.len() <= slot {
        n.input.push(String::new());
    }
    n.input[slot] = value;
}

/// `Squeeze`, `Unsqueeze`, `ReduceSum`: axes are an input since 13.
pub(super) fn axes_13(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    Ok((scope.crosses(13) && attr::has(n, "axes")).then(|| vec![to_input(n, "axes", 1, scope)]))
}

/// The other reductions: axes are an input since 18.
pub(super) fn axes_18(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    Ok((scope.crosses(18) && attr::has(n, "axes")).then(|| vec![to_input(n, "axes", 1, scope)]))
}

/// `Split`: sizes are an input since 13; since 18 equal parts are counted in an attribute.
pub(super) fn split(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    let mut changed = n.clone();
    if scope.crosses(13) && attr::has(n, "split") {
        changed = to_input(n, "split", 1, scope);
    }
    if scope.crosses(18) && node::input(&changed, 1).is_none() && !attr::has(&changed, "num_outputs") {
        attr::set(&mut changed, attr::from_int("num_outputs", n.output.len() as i64));
    }
    Ok((changed != *n).then(|| vec![changed]))
}

/// `Slice`: everything is an input since 10.
pub(super) fn slice(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if !scope.crosses(10) {
        return Ok(None);
    }
    let (starts, ends) = (attr::ints(n, "starts"), attr::ints(n, "ends"));
    if starts.is_none() || ends.is_none() {
        return Err("it has no starts and ends".into());
    }
    let changed = to_input(n, "starts", 1, scope);
    let changed = to_input(&changed, "ends", 2, scope);
    Ok(Some(vec![to_input(&changed, "axes", 3, scope)]))
}

/// `TopK`: k is an input since 10.
pub(super) fn top_k(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if !scope.crosses(10) {
        return Ok(None);
    }
    let k = attr::int(n, "k").ok_or("it has no k")?;
    let mut changed = n.clone();
    attr::remove(&mut changed, "k");
    put(&mut changed, 1, scope.list(&[k]));
    Ok(Some(vec![changed]))
}

/// `Pad`: pads and value are inputs since 11.
pub(super) fn pad(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if !scope.crosses(11) {
        return Ok(None);
    }
    let mut changed = to_input(n, "pads", 1, scope);
    attr::remove(&mut changed, "value");
    let data = node::input(n, 0).ok_or("it has no input")?;
    if let Some(value) = attr::float(n, "value").filter(|&v| v != 0.0) {
        let value = scope.scalar_like(value, data)?;
        put(&mut changed, 2, value);
    }
    Ok(Some(vec![changed]))
}

/// `Clip`: bounds are inputs since 11.
pub(super) fn clip(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if !scope.crosses(11) || !(attr::has(n, "min") || attr::has(n, "max")) {
        return Ok(None);
    }
    let mut changed = n.clone();
    let data = node::input(n, 0).ok_or("it has no input")?;
    for (slot, name) in [(1, "min"), (2, "max")] {
        attr::remove(&mut changed, name);
        if let Some(bound) = attr::float(n, name) {
            let bound = scope.scalar_like(bound, data)?;
            put(&mut changed, slot, bound);
        }
    }
    Ok(Some(vec![changed]))
}

/// `DFT`: the axis is an input since 20.
pub(super) fn dft(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if !scope.crosses(20) {
        return Ok(None);
    }
    let mut changed = n.clone();
    attr::remove(&mut changed, "axis");
    let axis = scope.hold("axis", Tensor::scalar(attr::int(n, "axis").unwrap_or(1)));
    put(&mut changed, 2, axis);
    Ok(Some(vec![changed]))
}
