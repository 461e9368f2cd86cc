//! Operators whose attributes changed names or defaults, or that took another's place.

use plimsoll_onnx::{Tensor, attr, node, proto::NodeProto};

use super::{
    axes::put,
    scope::{Scope, Upgraded},
};

/// Whether an output is there and has a name.
fn has_output(n: &NodeProto, slot: usize) -> bool {
    n.output.get(slot).is_some_and(|o| !o.is_empty())
}

/// `BatchNormalization`: statistics of training are other outputs since 14; `spatial` is gone since 9.
pub(super) fn batch_normalization(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if scope.crosses(14) && (1..5).any(|slot| has_output(n, slot)) {
        return Err("its outputs of training are others from opset 14 on".into());
    }
    if !scope.crosses(9) || !attr::has(n, "spatial") {
        return Ok(None);
    }
    if attr::int(n, "spatial") != Some(1) {
        return Err("statistics per element (spatial = 0) are gone from opset 9 on".into());
    }
    let mut changed = n.clone();
    attr::remove(&mut changed, "spatial");
    Ok(Some(vec![changed]))
}

/// `Dropout`: the ratio is an input since 12, and without effect where nothing is trained.
pub(super) fn dropout(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if !scope.crosses(12) {
        return Ok(None);
    }
    if has_output(n, 1) {
        return Err("its mask means something else from opset 12 on".into());
    }
    let mut changed = n.clone();
    attr::remove(&mut changed, "ratio");
    Ok((changed != *n).then(|| vec![changed]))
}

/// `ConvTranspose`: where automatic padding puts the odd element is settled since 11 only.
pub(super) fn conv_transpose(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    let automatic = matches!(attr::string(n, "auto_pad"), Some("SAME_UPPER" | "SAME_LOWER"));
    if scope.crosses(11) && (automatic || attr::has(n, "output_shape")) {
        return Err("automatic padding means something else from opset 11 on".into());
    }
    Ok(None)
}

/// `Scan`: another operator since 9.
pub(super) fn scan(_: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if scope.crosses(9) { Err("it is another operator from opset 9 on".into()) } else { Ok(None) }
}

/// `GroupNormalization`: one scale a channel, not a group, since 21.
pub(super) fn group_normalization(_: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if scope.crosses(21) { Err("its scales are those of channels from opset 21 on".into()) } else { Ok(None) }
}

/// `RoiAlign`: half a pixel is taken off since 16, unless the node says otherwise.
pub(super) fn roi_align(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    if !scope.crosses(16) {
        return Ok(None);
    }
    let mut changed = n.clone();
    attr::set(&mut changed, attr::from_string("coordinate_transformation_mode", "output_half_pixel"));
    Ok(Some(vec![changed]))
}

/// `GridSample`: modes have other names since 20.
pub(super) fn grid_sample(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    let new = match attr::string(n, "mode") {
        _ if !scope.crosses(20) => return Ok(None),
        Some("bilinear") => "linear",
        Some("bicubic") => "cubic",
        _ => return Ok(None),
    };
    let mut changed = n.clone();
    attr::set(&mut changed, attr::from_string("mode", new));
    Ok(Some(vec![changed]))
}

/// `Scatter`: `ScatterElements` since 11.
pub(super) fn scatter(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    Ok(scope.crosses(11).then(|| vec![NodeProto { op_type: "ScatterElements".into(), ..n.clone() }]))
}

/// `Upsample`: scales are an input since 9; `Resize` since 10.
pub(super) fn upsample(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    let mut changed = n.clone();
    if scope.crosses(9) {
        let scales = n.attribute.iter().find(|a| a.name == "scales").map(|a| a.floats.as_slice());
        let scales = Tensor::vector(scales.ok_or("it has no scales")?);
        attr::remove(&mut changed, "scales");
        let scales = scope.hold("scales", scales);
        put(&mut changed, 1, scales);
    }
    if scope.crosses(10) {
        changed.op_type = "Resize".into();
    }
    if scope.crosses(11) {
        as_resize_11(&mut changed, scope);
    }
    Ok((changed != *n).then(|| vec![changed]))
}

/// Gives what enlarges by scales in input 1 the form of `Resize` 11, by the rule that was the only one before.
fn as_resize_11(n: &mut NodeProto, scope: &mut Scope<'_>) {
    let scales = std::mem::take(&mut n.input[1]);
    n.input.truncate(1);
    let roi = if scope.to() < 13 { scope.hold("roi", Tensor::vector::<f32>(&[])) } else { String::new() };
    put(n, 1, roi);
    put(n, 2, scales);
    attr::set(n, attr::from_string("coordinate_transformation_mode", "asymmetric"));
    if attr::string(n, "mode").unwrap_or("nearest") == "nearest" {
        attr::set(n, attr::from_string("nearest_mode", "floor"));
    }
}

/// `Resize`: another way of naming places since 11.
pub(super) fn resize(n: &NodeProto, scope: &mut Scope<'_>) -> Upgraded {
    let mut changed = n.clone();
    if scope.from() < 11 && scope.to() >= 11 {
        let scales = node::input(n, 1).and_then(|v| scope.constant(v)).and_then(|t| t.to_f64().ok());
        if !scales.is_some_and(|s| s.iter().all(|&v| v >= 1.0)) {
            return Err("how it makes smaller is not defined before opset 11".into());
        }
        as_resize_11(&mut changed, scope);
    }
    if scope.crosses(13) {
        if attr::string(n, "coordinate_transformation_mode") == Some("tf_half_pixel_for_nn") {
            return Err("tf_half_pixel_for_nn is gone from opset 13 on".into());
        }
        // An empty list stood for an absent input.
        for slot in [1, 2] {
            let empty = node::input(&changed, slot).and_then(|v| scope.constant(v)).is_some_and(|t| t.is_empty());
            if empty {
                changed.input[slot].clear();
            }
        }
    }
    Ok((changed != *n).then(|| vec![changed]))
}
