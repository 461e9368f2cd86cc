//! Streams calibration samples through the executor and keeps running statistics of inner values. Memory holds one batch a
//! worker, whatever the size of the data set. Knows executors by their trait only.

use std::{collections::BTreeMap, ops::Range as Span};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{DType, DimSpec, Model, Tensor, Tensors};
use plimsoll_runtime::LoadOptions;
use rayon::prelude::*;

use super::Statistic;
use crate::{Context, Refusal};

/// Samples of a data set cut into runs of a model.
#[derive(Clone)]
pub(in crate::quantize) struct Runs<'d> {
    data: &'d Dataset,
    batch: usize,
    /// Positions of the runs, counted in runs.
    at: Vec<usize>,
}

impl<'d> Runs<'d> {
    /// At most `samples` samples in runs of the batch size that the model takes: its own where that is fixed, else 1.
    pub(in crate::quantize) fn of(model: &Model, context: &Context<'d>, samples: usize) -> Result<Self, Refusal> {
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
            let reason =
                format!("one run of the model takes {batch} samples, the calibration data hold {}", data.len());
            return Err(Refusal::CheckFailed(reason));
        }
        Ok(Self { data, batch, at: (0..runs).collect() })
    }

    /// Every `nth` run apart from the others; where there are too few to part with, both are all.
    pub(in crate::quantize) fn held_back(self, nth: usize) -> (Self, Self) {
        if self.len() < nth {
            return (self.clone(), self);
        }
        let (held, rest) = self.at.iter().partition(|i| **i % nth == nth - 1);
        (Self { at: rest, ..self.clone() }, Self { at: held, ..self })
    }

    /// At most so many of the runs, evenly spread.
    pub(in crate::quantize) fn thinned(self, most: usize) -> Self {
        let n = self.len();
        let at = (0..n.min(most)).filter_map(|i| self.at.get(i * n / n.min(most).max(1)).copied()).collect();
        Self { at, ..self }
    }

    /// Number of runs.
    pub(in crate::quantize) fn len(&self) -> usize {
        self.at.len()
    }

    /// What is fed to a run.
    pub(in crate::quantize) fn feed(&self, run: usize) -> Tensors {
        let at = self.at.get(run).copied().unwrap_or(0);
        self.data.batch(at * self.batch..(at + 1) * self.batch)
    }

    /// Position in the data set of the first sample of a run.
    fn first_sample(&self, run: usize) -> usize {
        self.at.get(run).copied().unwrap_or(0) * self.batch
    }

    /// Calls `work` with a share of the runs on each worker; the results in the order of the shares.
    pub(in crate::quantize) fn shared<T: Send>(
        &self,
        work: impl Fn(Span<usize>) -> Result<T, Refusal> + Sync,
    ) -> Result<Vec<T>, Refusal> {
        let (runs, workers) = (self.len(), rayon::current_num_threads().clamp(1, self.len().max(1)));
        let share = |w: usize| (w * runs / workers)..((w + 1) * runs / workers);
        (0..workers).into_par_iter().map(|w| work(share(w))).collect()
    }
}

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

pub(in crate::quantize) fn floats(name: &str, tensor: &Tensor) -> Result<Vec<f32>, Refusal> {
    if tensor.dtype() != DType::F32 {
        return Err(Refusal::CheckFailed(format!("value `{name}` is {}, not float32", tensor.dtype())));
    }
    Ok(tensor.to_vec()?)
}
