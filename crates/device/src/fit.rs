//! Whether a release suits the pipeline of a device, as far as that shows without running it: names, types and shapes in the model; what
//! values mean, by the contract that the release was made for; operators that the device's executor has.

use plimsoll_onnx::{DType, DimSpec, Model, ValueSpec};
use plimsoll_profile::{Contract, Dim};

/// Why a model, made for a pipeline, does not suit this one.
pub(crate) fn fits(model: &Model, pipeline: &Contract, made_for: Option<&Contract>) -> Result<(), String> {
    let (inputs, outputs) = (model.inputs(), model.outputs());
    for input in &pipeline.inputs {
        same("input", &input.name.value, input.dtype.value, &input.shape.value, &inputs)?;
    }
    let delivered = |name: &str| pipeline.inputs.iter().any(|i| i.name.value == name);
    if let Some(extra) = inputs.iter().find(|i| !delivered(&i.name)) {
        return Err(format!("the model needs the input `{}`, which the pipeline does not deliver", extra.name));
    }
    for output in &pipeline.outputs {
        same("output", &output.name.value, output.dtype.value, &output.shape.value, &outputs)?;
    }
    if let Some(difference) = made_for.and_then(|made_for| pipeline.difference(made_for)) {
        return Err(difference);
    }
    runs(model, pipeline)
}

fn same(what: &str, name: &str, dtype: &str, shape: &[Dim], found: &[ValueSpec]) -> Result<(), String> {
    let spec = found.iter().find(|s| s.name == name);
    let spec = spec.ok_or_else(|| format!("the pipeline has the {what} `{name}`, the model has none"))?;
    if spec.dtype != DType::from_name(dtype).or_else(|| DType::from_short_name(dtype)) {
        let found = spec.dtype.map_or("no numbers".to_owned(), |d| d.to_string());
        return Err(format!("the {what} `{name}` is {dtype} in the pipeline and {found} in the model"));
    }
    let Some(dims) = &spec.dims else { return Ok(()) };
    let fits = |(a, b): (&DimSpec, &Dim)| !matches!((a, b), (DimSpec::Fixed(a), Dim::Fixed(b)) if a != b);
    if dims.len() != shape.len() || !dims.iter().zip(shape).all(fits) {
        let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
        let found = dims.join(", ");
        return Err(format!("the {what} `{name}` is [{found}] in the model, which the pipeline's contract is not"));
    }
    Ok(())
}

/// The executor reads the operator set, and has the operators.
fn runs(model: &Model, pipeline: &Contract) -> Result<(), String> {
    let has = model.opset("").unwrap_or(1);
    if let Some(most) = pipeline.max_opset.as_ref().filter(|most| i64::try_from(most.value).is_ok_and(|m| has > m)) {
        return Err(format!(
            "the model is of operator set {has}; the pipeline's executor reads {} at most",
            most.value
        ));
    }
    let Some(allowed) = &pipeline.operators else { return Ok(()) };
    let lacking: Vec<String> = model.operators().into_iter().filter(|op| !allowed.value.contains(op)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(format!("the model needs {}, which the pipeline's executor does not have", lacking.join(", ")))
}
