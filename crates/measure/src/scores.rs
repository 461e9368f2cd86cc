//! Scores of every sample: the model's first output, as a table.

use std::{ops::Range, thread};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{DimSpec, Model, Tensor, Tensors};
use plimsoll_runtime::{ExecError, Executor, LoadOptions};

use crate::MeasureError;

/// One row of class scores a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Columns.
    pub classes: usize,
    /// Row-major, `samples × classes`.
    pub values: Vec<f64>,
}

impl Scores {
    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.classes)
    }

    /// The class of each sample: the highest score, of equal ones the first.
    pub fn predicted(&self) -> Vec<usize> {
        let best = |row: &[f64]| row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best });
        self.rows().map(best).collect()
    }

    /// The rows as probabilities: as they are where all rows are shares of one, else by softmax.
    pub(crate) fn probabilities(&self) -> Vec<f64> {
        let is_one = |row: &[f64]| row.iter().all(|v| *v >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() < 1e-3;
        if self.rows().all(is_one) {
            return self.values.clone();
        }
        let softmax = |row: &[f64]| -> Vec<f64> {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let raised: Vec<f64> = row.iter().map(|v| (v - most).exp()).collect();
            let sum: f64 = raised.iter().sum();
            raised.into_iter().map(|v| v / sum).collect()
        };
        self.rows().flat_map(softmax).collect()
    }

    /// A single column is the score of class 1 of two: a probability where all lie in 0 … 1, else a logit.
    pub(crate) fn into_classes(self) -> Self {
        if self.classes != 1 {
            return self;
        }
        let probability = self.values.iter().all(|v| (0.0..=1.0).contains(v));
        let threshold = if probability { 0.5 } else { 0.0 };
        Self { classes: 2, values: self.values.into_iter().flat_map(|v| [threshold, v]).collect() }
    }
}

/// Runs every sample: scores of classes, two where the model has one output a sample. Otherwise as [`outputs`].
pub fn scores(
    executor: &dyn Executor,
    model: &Model,
    data: &Dataset,
    batch: usize,
    threads: usize,
) -> Result<Scores, MeasureError> {
    Ok(outputs(executor, model, data, batch, threads)?.into_classes())
}

/// Runs every sample and gives the first output as it is. `batch` 0 lets the model decide: 1 where it has convolutions (tract is faster per sample then), else 32; a
/// fixed batch of the model goes before. The last batch is filled up with copies of its last sample where it has to be, and
/// the copies' results are dropped. Samples are spread over `threads`, each with a session of its own.
pub(crate) fn outputs(
    executor: &dyn Executor,
    model: &Model,
    data: &Dataset,
    batch: usize,
    threads: usize,
) -> Result<Scores, MeasureError> {
    data.check_against(&model.inputs())?;
    let bytes = model.to_bytes()?;
    let output = model
        .outputs()
        .first()
        .map(|o| o.name.clone())
        .ok_or_else(|| MeasureError::Model("it has no output".into()))?;
    let batch = fixed_batch(model)?.unwrap_or_else(|| batch_for(model, batch)).min(1 << 20);
    let steps = data.len().div_ceil(batch);
    let threads = threads.clamp(1, steps);
    let part = |t: usize| {
        let steps = t * steps / threads..(t + 1) * steps / threads;
        run_part(executor, &bytes, data, batch, steps, &output)
    };
    let parts: Vec<Result<Scores, MeasureError>> = if threads == 1 {
        vec![part(0)]
    } else {
        let part = &part;
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|t| scope.spawn(move || part(t))).collect();
            let panicked = || ExecError::Crash { executor: executor.name().into(), reason: "a thread panicked".into() };
            workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(panicked().into()))).collect()
        })
    };
    let mut all = Scores { classes: 0, values: Vec::new() };
    for part in parts {
        let part = part?;
        all.classes = part.classes;
        all.values.extend(part.values);
    }
    if let Some(at) = all.values.iter().position(|v| !v.is_finite()) {
        return Err(MeasureError::NotFinite { output, value: all.values[at], sample: at / all.classes });
    }
    Ok(all)
}

fn run_part(
    executor: &dyn Executor,
    bytes: &[u8],
    data: &Dataset,
    batch: usize,
    steps: Range<usize>,
    output: &str,
) -> Result<Scores, MeasureError> {
    let first = full_batch(data, steps.start * batch, batch)?;
    let mut session = executor.load(bytes, &LoadOptions::for_inputs(&first))?;
    let mut part = Scores { classes: 0, values: Vec::new() };
    for step in steps {
        let start = step * batch;
        let real = batch.min(data.len() - start);
        let outputs = session.run(&full_batch(data, start, batch)?)?;
        let Some(found) = outputs.get(output) else {
            return Err(MeasureError::Model(format!("the executor gave no output `{output}`")));
        };
        let shape = found.shape().to_vec();
        let not_scores = || MeasureError::NotScores { output: output.into(), shape: shape.clone(), batch };
        let values = found.to_f64().map_err(|_| not_scores())?;
        let classes = values.len() / batch;
        let fits = shape.first() == Some(&batch) && classes > 0 && (part.classes == 0 || part.classes == classes);
        if !fits {
            return Err(not_scores());
        }
        part.classes = classes;
        part.values.extend_from_slice(&values[..real * classes]);
    }
    Ok(part)
}

/// The one fixed first dimension of the inputs, if there is any.
pub(crate) fn fixed_batch(model: &Model) -> Result<Option<usize>, MeasureError> {
    let mut fixed = None;
    for spec in model.inputs() {
        if let Some(DimSpec::Fixed(n)) = spec.dims.as_ref().and_then(|d| d.first()) {
            let n = (*n as usize).max(1);
            match fixed {
                Some(other) if other != n => return Err(MeasureError::Batches(other, n)),
                _ => fixed = Some(n),
            }
        }
    }
    Ok(fixed)
}

fn batch_for(model: &Model, asked: usize) -> usize {
    let convolves = || model.graph().node.iter().any(|n| n.op_type.contains("Conv"));
    match asked {
        0 if convolves() => 1,
        0 => 32,
        n => n,
    }
}

/// Samples from `start`, filled up to `batch` with the last one.
pub(crate) fn full_batch(data: &Dataset, start: usize, batch: usize) -> Result<Tensors, MeasureError> {
    let part = data.batch(start..start.saturating_add(batch));
    let fill = |(name, tensor): (String, Tensor)| {
        let (dtype, mut shape) = (tensor.dtype(), tensor.shape().to_vec());
        let real = shape.first().copied().unwrap_or(0);
        if real == batch || real == 0 {
            return Ok((name, tensor));
        }
        let mut bytes = tensor.into_bytes();
        let last = bytes[bytes.len() - bytes.len() / real..].to_vec();
        (real..batch).for_each(|_| bytes.extend_from_slice(&last));
        shape[0] = batch;
        let filled = Tensor::new(dtype, shape, bytes).map_err(|e| MeasureError::Model(e.to_string()))?;
        Ok((name, filled))
    };
    part.into_iter().map(fill).collect()
}
