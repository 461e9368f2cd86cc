//! Streams calibration samples through the executor and keeps running statistics of inner values. Memory holds one batch a
//! worker, whatever the size of the data set. Knows executors by their trait only.

use std::{collections::BTreeMap, ops::Range as Span};

use plimsoll_onnx::Model;
use plimsoll_runtime::LoadOptions;

use super::Statistic;
use crate::{
    Context, Refusal,
    observe::{Runs, floats},
};

/// Runs at most `samples` samples and gathers a statistic of each named value (inner values and inputs).
pub(super) fn gather<S: Statistic>(
    model: &Model,
    context: &Context<'_>,
    values: &[String],
    samples: usize,
) -> Result<BTreeMap<String, S>, Refusal> {
    let runs = Runs::of(model, context, samples)?;
    let inputs = model.inputs();
    let bytes = model.to_bytes().map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    let inner = values.iter().filter(|v| inputs.iter().all(|i| i.name != **v)).cloned();
    let options = LoadOptions::for_inputs(&runs.feed(0)).capturing(inner);
    let work = |span: Span<usize>| -> Result<BTreeMap<String, S>, Refusal> {
        let mut session = context.executor.load(&bytes, &options)?;
        let mut found: BTreeMap<String, S> = values.iter().map(|v| (v.clone(), S::new())).collect();
        for run in span {
            let fed = runs.feed(run);
            let captured = session.run(&fed)?;
            for (name, statistic) in &mut found {
                let Some(tensor) = captured.get(name).or_else(|| fed.get(name)) else {
                    return Err(Refusal::CheckFailed(format!(
                        "the executor did not return the captured value `{name}`"
                    )));
                };
                if !statistic.observe(&floats(name, tensor)?) {
                    let reason = format!("value `{name}` is not finite in sample {}", runs.first_sample(run));
                    return Err(Refusal::CheckFailed(reason));
                }
            }
            context.progress.advance(runs.batch);
        }
        Ok(found)
    };
    context.progress.start("calibrate", runs.len() * runs.batch);
    let parts = runs.shared(work);
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
