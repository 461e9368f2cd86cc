//! What is fed to a model that is timed.

use plimsoll_dataset::{Samples, draw};
use plimsoll_onnx::{DimSpec, Model, Tensors};
use plimsoll_stats::Random;

use crate::{
    MeasureError,
    scores::{filled, fixed_batch},
};

/// Inputs of one run; `raw` samples become inputs elsewhere, and need not fit the model.
pub(super) fn inputs_for(
    model: &Model,
    data: Option<&dyn Samples>,
    raw: bool,
    batch: usize,
    seed: u64,
) -> Result<Tensors, MeasureError> {
    if let Some(data) = data {
        if !raw {
            data.check_shapes(&model.inputs())?;
        }
        let batch = fixed_batch(model)?.unwrap_or(batch.max(1));
        return filled(data.first(batch)?, batch);
    }
    // A state whose first axis counts layers has another first dimension than the samples have.
    let batch = fixed_batch(model).ok().flatten().unwrap_or(batch.max(1));
    let mut random = Random::new(seed);
    let mut inputs = Tensors::new();
    for spec in model.inputs() {
        let unknown = |what: &str| MeasureError::Model(format!("input `{}` has no declared {what}", spec.name));
        let dims = spec.dims.as_ref().ok_or_else(|| unknown("rank"))?;
        let no_numbers = || MeasureError::Model(format!("input `{}` is no tensor of numbers", spec.name));
        let dtype = spec.dtype.ok_or_else(no_numbers)?;
        let dim = |(axis, d): (usize, &DimSpec)| match d {
            DimSpec::Fixed(n) => *n as usize,
            _ if axis == 0 => batch,
            _ => 1,
        };
        let shape: Vec<usize> = dims.iter().enumerate().map(dim).collect();
        // Whole numbers in {0, 1} are valid as indices of whatever has two rows.
        let range = if dtype.is_float() { [-1.0, 1.0] } else { [0.0, 1.0] };
        let tensor = draw(&mut random, dtype, &shape, range);
        let tensor = tensor.map_err(|why| MeasureError::Model(format!("input `{}`: {why}", spec.name)))?;
        inputs.insert(spec.name.clone(), tensor);
    }
    Ok(inputs)
}
