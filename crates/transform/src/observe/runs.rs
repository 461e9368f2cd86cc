//! Samples of a data set cut into runs of a model, shared among workers. Knows no executor.

use std::ops::Range as Span;

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{DType, DimSpec, Model, Tensor, Tensors};
use rayon::prelude::*;

use crate::{Context, Refusal};

/// Samples of a data set cut into runs of a model.
#[derive(Clone)]
pub(crate) struct Runs<'d> {
    data: &'d Dataset,
    /// Samples of a run.
    pub(crate) batch: usize,
    /// Positions of the runs, counted in runs.
    at: Vec<usize>,
}

impl<'d> Runs<'d> {
    /// At most `samples` samples in runs of the batch size that the model takes: its own where that is fixed, else 1.
    pub(crate) fn of(model: &Model, context: &Context<'d>, samples: usize) -> Result<Self, Refusal> {
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
    pub(crate) fn held_back(self, nth: usize) -> (Self, Self) {
        if self.len() < nth {
            return (self.clone(), self);
        }
        let (held, rest) = self.at.iter().partition(|i| **i % nth == nth - 1);
        (Self { at: rest, ..self.clone() }, Self { at: held, ..self })
    }

    /// At most so many of the runs, evenly spread.
    pub(crate) fn thinned(self, most: usize) -> Self {
        let n = self.len();
        let at = (0..n.min(most)).filter_map(|i| self.at.get(i * n / n.min(most).max(1)).copied()).collect();
        Self { at, ..self }
    }

    /// Number of runs.
    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }

    /// What is fed to a run.
    pub(crate) fn feed(&self, run: usize) -> Tensors {
        let at = self.at.get(run).copied().unwrap_or(0);
        self.data.batch(at * self.batch..(at + 1) * self.batch)
    }

    /// The place of a run of `others` among these; `None` where it is not one of them. Both are cut from the same samples.
    pub(crate) fn place(&self, others: &Self, run: usize) -> Option<usize> {
        self.at.binary_search(others.at.get(run)?).ok()
    }

    /// Position in the data set of the first sample of a run.
    pub(crate) fn first_sample(&self, run: usize) -> usize {
        self.at.get(run).copied().unwrap_or(0) * self.batch
    }

    /// Calls `work` with a share of the runs on each worker; the results in the order of the shares.
    pub(crate) fn shared<T: Send>(
        &self,
        work: impl Fn(Span<usize>) -> Result<T, Refusal> + Sync,
    ) -> Result<Vec<T>, Refusal> {
        let (runs, workers) = (self.len(), rayon::current_num_threads().clamp(1, self.len().max(1)));
        let share = |w: usize| (w * runs / workers)..((w + 1) * runs / workers);
        (0..workers).into_par_iter().map(|w| work(share(w))).collect()
    }
}

/// The values of a tensor that must be float32.
pub(crate) fn floats(name: &str, tensor: &Tensor) -> Result<Vec<f32>, Refusal> {
    if tensor.dtype() != DType::F32 {
        return Err(Refusal::CheckFailed(format!("value `{name}` is {}, not float32", tensor.dtype())));
    }
    Ok(tensor.to_vec()?)
}
