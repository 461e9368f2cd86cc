//! What verbs share about contracts: recorded samples, and the failure of a model that does not fit.

use std::path::Path;

use plimsoll_dataset::Dataset;
use plimsoll_gate::{Unfit, contract_rows};
use plimsoll_onnx::{Model, Tensor, Tensors};
use plimsoll_profile::{Axis, ConfigError, Contract, Dim, InputSpec, Meaning, PathAt};
use plimsoll_record::{BesideIncumbent, Row};
use plimsoll_transform::adapt::{Fit, Point, compare};

use crate::{failure::Failure, manual::Code};

/// Samples in one run, where the contract leaves their number open.
const BATCH: usize = 32;

/// What the pipeline really delivered, and what the incumbent made of it.
pub(crate) struct Recorded {
    pub(crate) batches: Vec<Tensors>,
    outputs: Option<Dataset>,
}

impl Recorded {
    /// Reads what a contract names; `None` where it names nothing.
    pub(crate) fn read(contract: &Contract) -> Result<Option<Self>, Failure> {
        let Some(at) = &contract.recorded_inputs else { return Ok(None) };
        there(contract, at)?;
        let data = Dataset::read_npz(&at.path)?;
        for input in &contract.inputs {
            fits(contract, at, &data, input)?;
        }
        let outputs = match &contract.recorded_outputs {
            None => None,
            Some(at) => {
                there(contract, at)?;
                Some(Dataset::read_npz(&at.path)?)
            }
        };
        Ok(Some(Self { batches: batches(contract, at, &data)?, outputs }))
    }

    /// Each output beside the incumbent's.
    pub(crate) fn beside(&self, contract: &Contract, found: &[Tensors]) -> Result<Vec<BesideIncumbent>, Failure> {
        let (Some(recorded), Some(at)) = (&self.outputs, &contract.recorded_outputs) else { return Ok(vec![]) };
        let mut all = Vec::new();
        for output in &contract.outputs {
            let name = &output.name.value;
            let Some(before) = recorded.inputs().get(name) else {
                return Err(wrong(contract, at, format!("it holds no array `{name}`, which the pipeline reads")));
            };
            let mut now = Vec::new();
            for run in found {
                now.extend(
                    run.get(name)
                        .map(Tensor::to_f64)
                        .transpose()
                        .map_err(|e| wrong(contract, at, e.to_string()))?
                        .unwrap_or_default(),
                );
            }
            let before = before.to_f64().map_err(|e| wrong(contract, at, e.to_string()))?;
            // The last samples may not fill a batch of a fixed size.
            if now.is_empty() || before.len() < now.len() {
                let message =
                    format!("`{name}` has {} values, and the recorded inputs give {}", before.len(), now.len());
                return Err(wrong(contract, at, message));
            }
            let samples: usize = self.batches.iter().map(|b| samples_of(contract, b)).sum();
            let each = now.len() / samples.max(1);
            let class = output.axes.value.contains(&Axis::Class) && output.axes.value.len() <= 2;
            let best = |row: &[f64]| {
                let better = |a: usize, b: usize| if row[b] > row[a] { b } else { a };
                (0..row.len()).reduce(better).unwrap_or(0)
            };
            let same = match output.meaning.value {
                Meaning::Label => {
                    Some(now.iter().zip(&before).filter(|(a, b)| a == b).count() as f64 / now.len() as f64)
                }
                Meaning::Logits | Meaning::Probabilities if class && each > 0 => {
                    let rows = now.chunks_exact(each).zip(before.chunks_exact(each));
                    Some(rows.filter(|(a, b)| best(a) == best(b)).count() as f64 / samples as f64)
                }
                _ => None,
            };
            let most = now
                .iter()
                .zip(&before)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, |m: f64, d| if d.is_nan() { f64::NAN } else { m.max(d) });
            all.push(BesideIncumbent {
                output: name.clone(),
                samples: samples as u64,
                agreement: same,
                largest_difference: most.is_finite().then_some(most),
            });
        }
        Ok(all)
    }
}

/// Samples that one run is of.
pub(crate) fn samples_of(contract: &Contract, batch: &Tensors) -> usize {
    let first = contract.inputs.first();
    let axis = first.and_then(|i| i.axes.value.iter().position(|a| *a == Axis::Batch));
    let tensor = first.and_then(|i| batch.get(&i.name.value));
    axis.zip(tensor).and_then(|(axis, t)| t.shape().get(axis).copied()).unwrap_or(1)
}

fn there(contract: &Contract, at: &PathAt) -> Result<(), Failure> {
    if at.path.is_file() {
        return Ok(());
    }
    let help = "paths are relative to the contract's folder";
    Err(ConfigError::into(contract.path_error(at, format!("`{}` does not exist", at.written), help)))
}

fn wrong(contract: &Contract, at: &PathAt, message: String) -> Failure {
    let help = "record the arrays as the contract describes them, the first axis counting samples";
    ConfigError::into(contract.path_error(at, format!("`{}`: {message}", at.written), help))
}

/// Whether an array is what the contract says of an input.
fn fits(contract: &Contract, at: &PathAt, data: &Dataset, input: &InputSpec) -> Result<(), Failure> {
    let name = &input.name.value;
    let fail = |message: String| Err(wrong(contract, at, message));
    let Some(tensor) = data.inputs().get(name) else { return fail(format!("it holds no array `{name}`")) };
    if tensor.dtype().short_name() != Some(input.dtype.value) {
        return fail(format!("`{name}` is {}, and the contract says {}", tensor.dtype(), input.dtype.value));
    }
    let batch = input.axes.value.iter().position(|a| *a == Axis::Batch);
    if batch.is_some_and(|b| b != 0) {
        return fail(format!("`{name}` does not count samples along its first axis"));
    }
    let dims = &input.shape.value[usize::from(batch.is_some())..];
    let same = |(d, n): (&Dim, &usize)| !matches!(d, Dim::Fixed(fixed) if *fixed != *n as u64);
    let has = &tensor.shape()[1..];
    if dims.len() != has.len() || !dims.iter().zip(has).all(same) {
        let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
        return fail(format!("each sample of `{name}` is {has:?}, and the contract says [{}]", dims.join(", ")));
    }
    Ok(())
}

/// Samples as the pipeline delivers them: so many at once as it does, or one at a time without their axis.
fn batches(contract: &Contract, at: &PathAt, data: &Dataset) -> Result<Vec<Tensors>, Failure> {
    let first = |i: &InputSpec| i.axes.value.first() == Some(&Axis::Batch);
    let fixed = contract.inputs.iter().filter(|i| first(i)).find_map(|i| match i.shape.value.first() {
        Some(Dim::Fixed(n)) => usize::try_from(*n).ok(),
        _ => None,
    });
    let single = contract.inputs.iter().any(|i| !first(i));
    let size = if single { 1 } else { fixed.unwrap_or(BATCH) };
    let count = if fixed.is_some() { data.len() / size.max(1) } else { data.len().div_ceil(size.max(1)) };
    if count == 0 {
        return Err(wrong(
            contract,
            at,
            format!("it holds {} samples, and the pipeline delivers {size} at once", data.len()),
        ));
    }
    let batch = |i: usize| {
        let all = data.batch(i * size..(i + 1) * size);
        let of = |input: &InputSpec| {
            let tensor = all.get(&input.name.value)?.clone();
            let tensor = if first(input) {
                tensor
            } else {
                let shape = tensor.shape()[1..].to_vec();
                tensor.reshape(shape).ok()?
            };
            Some((input.name.value.clone(), tensor))
        };
        contract.inputs.iter().filter_map(of).collect()
    };
    Ok((0..count).map(batch).collect())
}

/// What a report says of a model and the contract that a spec of this name names: it must fit as it is.
pub(crate) fn rows(spec: &str, contract: &Contract, model: &Model) -> Vec<Row> {
    let points = compare(contract, model).points;
    let unfit = points.iter().filter(|p| p.fit != Fit::Fits).map(|p| Unfit {
        what: format!("{} `{}`, {}", p.side, p.name, p.aspect),
        sides: [p.pipeline.clone(), p.model.clone()],
        note: match p.fit {
            Fit::Adapts => format!(
                "an adapter can do this ({}): `plimsoll adapt MODEL --contract {} -o OUT`",
                p.note,
                contract.source.path().display()
            ),
            _ => p.note.clone(),
        },
        span: p.span,
    });
    contract_rows(spec, &contract.source, points.len(), &unfit.collect::<Vec<_>>())
}

/// The failure of a model that no adapter makes fit: what is missing, and where the contract says so.
pub(crate) fn incompatible(model: &Path, contract: &Contract, points: &[Point]) -> Failure {
    let missing: Vec<&Point> = points.iter().filter(|p| p.fit == Fit::Never).collect();
    let line = |p: &&Point| {
        let place = p.span.map(|s| contract.source.place(s));
        let at = place.map_or(String::new(), |at| format!(" ({}:{})", contract.source.path().display(), at.line));
        format!("{} `{}`, {}: {}{at}", p.side, p.name, p.aspect, p.note)
    };
    let lines: Vec<String> = missing.iter().map(line).collect();
    let message = format!(
        "{} does not fit the pipeline, and no adapter makes it fit:\n  {}",
        model.display(),
        lines.join("\n  ")
    );
    let failure = Failure::new(Code::Incompatible, message)
        .help("change the model, the pipeline, or what the contract says of either; nothing was written");
    match missing.first().and_then(|p| p.span) {
        None => failure,
        Some(span) => {
            let at = contract.source.place(span);
            failure.place(contract.source.path(), at.line as u64, at.column as u64)
        }
    }
}
