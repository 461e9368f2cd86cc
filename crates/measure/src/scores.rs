//! Scores of every sample: the model's first output, as a table.

use std::{
    ops::ControlFlow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use plimsoll_dataset::Samples;
use plimsoll_onnx::{DimSpec, Model, Tensor, Tensors};
use plimsoll_runtime::{ExecError, Executor, LoadOptions, Session};

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
    data: &dyn Samples,
    batch: usize,
    threads: usize,
) -> Result<Scores, MeasureError> {
    Ok(outputs(executor, model, data, batch, threads)?.into_classes())
}

/// Runs every sample and gives the first output as it is. `batch` 0 lets the model decide: 1 where it has convolutions (tract is faster
/// per sample then), else 32; a fixed batch of the model goes before. The last batch is filled up with copies of its last sample where
/// it has to be, and the copies' results are dropped. Batches are spread over `threads`, each with a session of its own. Of the inputs
/// no more than two batches a thread are held at a time; of the outputs every one is kept.
pub(crate) fn outputs(
    executor: &dyn Executor,
    model: &Model,
    data: &dyn Samples,
    batch: usize,
    threads: usize,
) -> Result<Scores, MeasureError> {
    data.check_shapes(&model.inputs())?;
    let bytes = model.to_bytes()?;
    let output = model
        .outputs()
        .first()
        .map(|o| o.name.clone())
        .ok_or_else(|| MeasureError::Model("it has no output".into()))?;
    let batch = fixed_batch(model)?.unwrap_or_else(|| batch_for(model, batch)).min(1 << 20);
    let threads = threads.clamp(1, data.count().div_ceil(batch));
    let runner = Runner { executor, model: &bytes, output: &output, batch, samples: data.count() };
    let table = Mutex::new(Scores { classes: 0, values: Vec::new() });
    if threads == 1 {
        runner.run_here(data, &table)?;
    } else {
        runner.run_spread(data, threads, &table)?;
    }
    let all = table.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = all.values.iter().position(|v| !v.is_finite()) {
        return Err(MeasureError::NotFinite { output, value: all.values[at], sample: at / all.classes });
    }
    Ok(all)
}

/// What runs batches.
struct Runner<'r> {
    executor: &'r dyn Executor,
    model: &'r [u8],
    output: &'r str,
    batch: usize,
    samples: usize,
}

impl Runner<'_> {
    fn run_here(&self, data: &dyn Samples, table: &Mutex<Scores>) -> Result<(), MeasureError> {
        let (mut session, mut step, mut failure) = (None, 0, None);
        data.for_each_slice(self.batch, &mut |slice| {
            let done = self.step(&mut session, step, slice, table);
            step += 1;
            flow(done.map_err(|e| failure = Some(e)).is_ok())
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// This thread reads, the others run; whoever is free takes the next batch.
    fn run_spread(&self, data: &dyn Samples, threads: usize, table: &Mutex<Scores>) -> Result<(), MeasureError> {
        let (sender, receiver) = mpsc::sync_channel(threads);
        let (queue, failed) = (Mutex::new(receiver), AtomicBool::new(false));
        let work = || -> Result<(), MeasureError> {
            let mut session = None;
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((step, slice)) = next else { return Ok(()) };
                // After a failure batches are only taken from the queue, so that its reader is not left waiting.
                if !failed.load(Ordering::Relaxed) {
                    self.step(&mut session, step, slice, table)
                        .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                }
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut step = 0;
            let read = data.for_each_slice(self.batch, &mut |slice| {
                let sent = !failed.load(Ordering::Relaxed) && sender.send((step, slice)).is_ok();
                step += 1;
                flow(sent)
            });
            drop(sender);
            let crash =
                || ExecError::Crash { executor: self.executor.name().into(), reason: "a thread panicked".into() };
            let ends: Vec<_> = workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(crash().into()))).collect();
            ends.into_iter().collect::<Result<(), _>>()?;
            Ok(read?)
        })
    }

    /// Runs the batch number `step` and puts its rows into the table.
    fn step(
        &self,
        session: &mut Option<Box<dyn Session>>,
        step: usize,
        slice: Tensors,
        table: &Mutex<Scores>,
    ) -> Result<(), MeasureError> {
        let (start, inputs) = (step * self.batch, filled(slice, self.batch)?);
        let session = match session {
            Some(session) => session,
            none => none.insert(self.executor.load(self.model, &LoadOptions::for_inputs(&inputs))?),
        };
        let outputs = session.run(&inputs)?;
        let Some(found) = outputs.get(self.output) else {
            return Err(MeasureError::Model(format!("the executor gave no output `{}`", self.output)));
        };
        let shape = found.shape().to_vec();
        let not_scores =
            || MeasureError::NotScores { output: self.output.into(), shape: shape.clone(), batch: self.batch };
        let values = found.to_f64().map_err(|_| not_scores())?;
        let classes = values.len() / self.batch;
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.values.is_empty() && classes > 0 {
            *table = Scores { classes, values: vec![f64::NAN; self.samples * classes] };
        }
        if shape.first() != Some(&self.batch) || classes == 0 || table.classes != classes {
            return Err(not_scores());
        }
        let real = self.batch.min(self.samples - start) * classes;
        table.values[start * classes..][..real].copy_from_slice(&values[..real]);
        Ok(())
    }
}

fn flow(goes_on: bool) -> ControlFlow<()> {
    if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
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

/// Samples, filled up to `batch` with the last one.
pub(crate) fn filled(samples: Tensors, batch: usize) -> Result<Tensors, MeasureError> {
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
    samples.into_iter().map(fill).collect()
}
