//! Streams calibration samples through the executor and keeps running statistics of inner values. Memory holds one batch a
//! worker, whatever the size of the data set. Knows executors by their trait only.

use std::{collections::BTreeMap, ops::Range as Span};

use plimsoll_onnx::{DType, DimSpec, Model, Tensor};
use plimsoll_runtime::LoadOptions;
use rayon::prelude::*;

use super::affine::Range;
use crate::{Context, Refusal};

/// Running statistics of one value, mergeable across workers in any order.
pub(super) trait Statistic: Send + Sized {
    /// Before anything was seen.
    fn new() -> Self;
    /// Takes in one tensor; `false` where it holds NaN or an infinity.
    fn observe(&mut self, values: &[f32]) -> bool;
    /// Both together.
    fn merge(self, other: Self) -> Self;
}

impl Statistic for Range {
    fn new() -> Self {
        Self::EMPTY
    }
    fn observe(&mut self, values: &[f32]) -> bool {
        self.observe(values)
    }
    fn merge(self, other: Self) -> Self {
        self.union(other)
    }
}

/// Runs at most `samples` samples and gathers a statistic of each named value (inner values and inputs).
pub(super) fn gather<S: Statistic>(
    model: &Model,
    context: &Context<'_>,
    values: &[String],
    samples: usize,
) -> Result<BTreeMap<String, S>, Refusal> {
    let data = context.data.ok_or(Refusal::NeedsData)?;
    let inputs = model.inputs();
    data.check_against(&inputs).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    let fixed = inputs.iter().find_map(|i| match i.dims.as_ref()?.first()? {
        DimSpec::Fixed(n) => Some(*n as usize),
        _ => None,
    });
    let batch = fixed.unwrap_or(1).max(1);
    let runs = samples.max(batch).min(data.len()) / batch;
    if runs == 0 {
        let reason = format!("one run of the model takes {batch} samples, the calibration data hold {}", data.len());
        return Err(Refusal::CheckFailed(reason));
    }
    let bytes = model.to_bytes().map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    let inner = values.iter().filter(|v| inputs.iter().all(|i| i.name != **v)).cloned();
    let options = LoadOptions::for_inputs(&data.batch(0..batch)).capturing(inner);
    let workers = rayon::current_num_threads().clamp(1, runs);
    let share = |w: usize| (w * runs / workers)..((w + 1) * runs / workers);
    let work = |span: Span<usize>| -> Result<BTreeMap<String, S>, Refusal> {
        let mut session = context.executor.load(&bytes, &options)?;
        let mut found: BTreeMap<String, S> = values.iter().map(|v| (v.clone(), S::new())).collect();
        for run in span {
            let fed = data.batch(run * batch..(run + 1) * batch);
            let captured = session.run(&fed)?;
            for (name, statistic) in &mut found {
                let Some(tensor) = captured.get(name).or_else(|| fed.get(name)) else {
                    return Err(Refusal::CheckFailed(format!(
                        "the executor did not return the captured value `{name}`"
                    )));
                };
                if !statistic.observe(&floats(name, tensor)?) {
                    let reason = format!("value `{name}` is not finite in sample {}", run * batch);
                    return Err(Refusal::CheckFailed(reason));
                }
            }
            context.progress.advance(batch);
        }
        Ok(found)
    };
    context.progress.start("calibrate", runs * batch);
    let parts: Result<Vec<_>, Refusal> = (0..workers).into_par_iter().map(|w| work(share(w))).collect();
    context.progress.finish();
    let mut parts = parts?.into_iter();
    let mut all = parts.next().unwrap_or_default();
    for part in parts {
        for (name, statistic) in part {
            let merged = match all.remove(&name) {
                Some(before) => before.merge(statistic),
                None => statistic,
            };
            all.insert(name, merged);
        }
    }
    Ok(all)
}

fn floats(name: &str, tensor: &Tensor) -> Result<Vec<f32>, Refusal> {
    if tensor.dtype() != DType::F32 {
        return Err(Refusal::CheckFailed(format!("value `{name}` is {}, not float32", tensor.dtype())));
    }
    Ok(tensor.to_vec()?)
}
