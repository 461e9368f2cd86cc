//! Models with 4-bit weights as executors see them that cannot read such: the weights in float32, everything else as it is.
//! (tract 0.23 refuses int4.)

use plimsoll_onnx::{DType, Model, Patch, Tensor, attr, node, proto::NodeProto};

use crate::Refusal;

/// Whether a model has 4-bit weights.
pub(crate) fn holds_int4(model: &Model) -> bool {
    let narrow =
        |t: &plimsoll_onnx::proto::TensorProto| [DType::I4, DType::U4].iter().any(|d| d.to_onnx() == t.data_type);
    model.graph().initializer.iter().any(narrow)
}

/// The same function with every 4-bit weight dequantized; other models as they are.
pub(crate) fn runnable(model: &Model) -> Result<Model, Refusal> {
    let view = model.view();
    let mut patch = Patch::new();
    for (id, n) in view.nodes().filter(|(_, n)| node::is(n, "DequantizeLinear")) {
        let constant = |slot: usize| node::input(n, slot).and_then(|v| view.constant(v));
        let (Some(codes), Some(scale), Some(output)) = (constant(0), constant(1), n.output.first()) else { continue };
        if ![DType::I4, DType::U4].iter().any(|d| d.to_onnx() == codes.data_type) {
            continue;
        }
        let zero = constant(2).map(Tensor::from_proto).transpose()?;
        let Some(values) = dequantized(n, &Tensor::from_proto(codes)?, &Tensor::from_proto(scale)?, zero.as_ref())?
        else {
            continue;
        };
        patch.remove(id).set_initializer(output, &values).drop_initializer(&codes.name);
    }
    let mut changed = model.clone();
    if !patch.is_empty() {
        patch.apply(&mut changed).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    }
    Ok(changed)
}

/// `None` where the shapes do not fit.
fn dequantized(
    n: &NodeProto,
    codes: &Tensor,
    scale: &Tensor,
    zero: Option<&Tensor>,
) -> Result<Option<Tensor>, Refusal> {
    let shape = codes.shape();
    let (scales, zeros) = (scale.to_f32()?, zero.map(Tensor::to_f32).transpose()?);
    let place = |i: usize| -> Option<usize> {
        if scales.len() == 1 {
            return Some(0);
        }
        let axis = attr::int(n, "axis").unwrap_or(1);
        let axis = if axis < 0 { axis.checked_add(i64::try_from(shape.len()).ok()?)? } else { axis };
        let axis = usize::try_from(axis).ok()?;
        let inner: usize = shape.get(axis + 1..)?.iter().product();
        let along = i / inner.max(1) % (*shape.get(axis)?).max(1);
        if scale.shape().len() < shape.len() {
            return Some(along);
        }
        let block = usize::try_from(attr::int(n, "block_size")?).ok().filter(|b| *b > 0)?;
        let blocks = *scale.shape().get(axis)?;
        Some((i / inner.max(1) / (*shape.get(axis)?).max(1) * blocks + along / block) * inner.max(1) + i % inner.max(1))
    };
    let value = |(i, code): (usize, f32)| {
        let at = place(i)?;
        let zero = match &zeros {
            Some(zeros) => *zeros.get(at)?,
            None => 0.0,
        };
        Some((code - zero) * scales.get(at)?)
    };
    let values: Option<Vec<f32>> = codes.to_f32()?.into_iter().enumerate().map(value).collect();
    Ok(values.map(|v| Tensor::from_elements(shape, &v)).transpose()?)
}
