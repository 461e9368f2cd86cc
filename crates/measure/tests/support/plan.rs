//! What tract says of the memory that its plan takes.

use std::collections::BTreeMap;

use tract_onnx::{
    prelude::{Datum, Framework, InferenceFact, InferenceModelExt, TractResult, TypedModel},
    tract_core::{ops::konst::Const, plan::SimplePlan},
    tract_hir::infer::Factoid,
};

/// Peaks in bytes over the steps of the typed, decluttered model, before it is turned into operators of a machine (those have arrays
/// of their own, such as all windows of a convolution): with nodes in tract's evaluation order, and in the order of its plan, which
/// it chooses for memory.
pub(crate) struct Peaks {
    pub(crate) evaluation_order: u64,
    pub(crate) plan_order: u64,
}

/// Asks tract (`eval_tmp_memory_usage`) about a model with inputs of these shapes.
pub(crate) fn peaks(bytes: &[u8], shapes: &BTreeMap<String, Vec<usize>>) -> TractResult<Peaks> {
    let framework = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
    let mut model = framework.model_for_read(&mut &*bytes)?;
    for (index, outlet) in model.input_outlets()?.to_vec().into_iter().enumerate() {
        let name = model.node(outlet.node).name.clone();
        let dtype = model.outlet_fact(outlet)?.datum_type.concretize().unwrap_or(f32::datum_type());
        model.set_input_fact(index, InferenceFact::dt_shape(dtype, &*shapes[&name]))?;
    }
    let model = model.into_typed()?.into_decluttered()?;
    let evaluation_order = peak(&model, &model.eval_order()?)?;
    let plan = SimplePlan::new(model)?;
    Ok(Peaks { evaluation_order, plan_order: peak(plan.model(), plan.order_without_consts())? })
}

fn peak(model: &TypedModel, order: &[usize]) -> TractResult<u64> {
    // Constants are weights.
    let steps = model.eval_tmp_memory_usage(order, |n| !n.op_is::<Const>())?;
    let mut peak = 0;
    for (_, bytes) in steps {
        peak = peak.max(u64::try_from(bytes.to_i64()?)?);
    }
    Ok(peak)
}
