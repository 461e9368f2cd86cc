//! Showing that an adapted model does what was planned: the pipeline's values, brought to the model's form by plain loops, through
//! the original model, and its outputs brought to the pipeline's form by plain loops, against the adapted model.

use std::collections::BTreeMap;

use plimsoll_dataset::draw;
use plimsoll_onnx::{DType, Model, Tensor, Tensors};
use plimsoll_profile::{Axis, Contract, Dim, Missing};
use plimsoll_runtime::{ExecError, LoadOptions, Session};
use plimsoll_stats::Random;

use super::{Plan, array::Array, plan::InputPlan};
use crate::{Context, verify};

/// The batch that is drawn and run where it is open.
const BATCH: usize = 8;
/// Drawn batches.
const BATCHES: usize = 4;
/// Open dimensions besides the batch.
const OPEN: usize = 5;
/// A drawn value is missing so often.
const GAPS: f64 = 0.15;

/// What came of running both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// They gave the same on so many samples.
    Same {
        /// Number of samples.
        samples: usize,
    },
    /// They did not: where, and by how much.
    Differs(String),
}

/// A proof, and what the adapted model gave.
#[derive(Debug)]
pub struct Proof {
    /// Whether both ways give the same.
    pub against: Against,
    /// The adapted model's outputs, run by run.
    pub outputs: Vec<Tensors>,
}

/// A session for each set of shapes.
type Sessions = BTreeMap<Vec<Vec<usize>>, Box<dyn Session>>;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A model does not run.
    #[error("the {which} model does not run: {source}")]
    Run {
        /// `original` or `adapted`.
        which: &'static str,
        /// Why.
        source: ExecError,
    },
    /// Values that do not become tensors.
    #[error(transparent)]
    Tensor(#[from] plimsoll_onnx::TensorError),
    /// A model that could not be encoded.
    #[error("failed to encode a model: {0}")]
    Encode(String),
}

/// Runs both ways on batches of the pipeline's inputs.
pub fn prove(
    original: &Model,
    adapted: &Model,
    plan: &Plan,
    batches: &[Tensors],
    context: &Context<'_>,
) -> Result<Proof, ProofError> {
    let mut sessions = [Sessions::new(), Sessions::new()];
    let bytes = [original, adapted].map(|m| m.to_bytes().map_err(|e| ProofError::Encode(e.to_string())));
    let [original_bytes, adapted_bytes] = bytes;
    let (original_bytes, adapted_bytes) = (original_bytes?, adapted_bytes?);
    let mut samples = 0;
    let mut outputs = Vec::new();
    let mut against = None;
    for batch in batches {
        let inputs = plan.inputs.iter().map(|i| Ok((i.model.clone(), reference(i, batch)?)));
        let inputs = inputs.collect::<Result<Tensors, plimsoll_onnx::TensorError>>()?;
        let raw = run(&mut sessions[0], &original_bytes, &inputs, "original", context)?;
        let found = run(&mut sessions[1], &adapted_bytes, batch, "adapted", context)?;
        let mut expected = Tensors::new();
        for output in &plan.outputs {
            let Some(tensor) = raw.get(&output.model) else { continue };
            let array = output.steps.iter().fold(Array::of(tensor)?, |x, step| step.apply(x));
            expected.insert(output.pipeline.clone(), array.tensor(output.dtype)?);
        }
        if let (Err(difference), None) = (verify::compare(&expected, &found, "given"), &against) {
            against = Some(Against::Differs(difference.to_string()));
        }
        samples += batch.values().next().and_then(|t| t.shape().first().copied()).unwrap_or(1);
        outputs.push(found);
    }
    Ok(Proof { against: against.unwrap_or(Against::Same { samples }), outputs })
}

fn run(
    sessions: &mut Sessions,
    bytes: &[u8],
    inputs: &Tensors,
    which: &'static str,
    context: &Context<'_>,
) -> Result<Tensors, ProofError> {
    let failed = |source| ProofError::Run { which, source };
    let shapes: Vec<Vec<usize>> = inputs.values().map(|t| t.shape().to_vec()).collect();
    if !sessions.contains_key(&shapes) {
        let session = context.executor.load(bytes, &LoadOptions::for_inputs(inputs)).map_err(failed)?;
        sessions.insert(shapes.clone(), session);
    }
    match sessions.get_mut(&shapes) {
        Some(session) => session.run(inputs).map_err(failed),
        None => Ok(Tensors::new()),
    }
}

/// What the model's input is, by plain loops.
fn reference(input: &InputPlan, batch: &Tensors) -> Result<Tensor, plimsoll_onnx::TensorError> {
    let mut parts = Vec::new();
    for (from, steps) in &input.sources {
        let Some(tensor) = batch.get(from) else { continue };
        parts.push(steps.iter().fold(Array::of(tensor)?, |x, step| step.apply(x)));
    }
    let whole = if parts.len() == 1 { parts.pop() } else { Array::joined(&parts, input.along) };
    whole.unwrap_or(Array { shape: vec![0], data: vec![] }).tensor(input.dtype)
}

/// Batches drawn from the ranges that a contract states, with gaps where it says that there are some; which range is not stated,
/// where one is not.
pub fn drawn(contract: &Contract, seed: u64) -> Result<Vec<Tensors>, String> {
    let mut dice = Random::new(seed);
    let batch = |_| {
        let one = |input: &plimsoll_profile::InputSpec| {
            let name = &input.name.value;
            let dtype = DType::from_short_name(input.dtype.value).unwrap_or(DType::F32);
            let size = |(axis, dim): (&Axis, &Dim)| match dim {
                Dim::Fixed(n) => usize::try_from(*n).unwrap_or(usize::MAX),
                Dim::Named(_) if *axis == Axis::Batch => BATCH,
                Dim::Named(_) => OPEN,
            };
            let shape: Vec<usize> = input.axes.value.iter().zip(&input.shape.value).map(size).collect();
            let range = input.signal.range.as_ref().map(|r| r.value);
            let whole = [DType::U8, DType::I8, DType::Bool].contains(&dtype);
            let range = range.or(whole.then(|| {
                if dtype == DType::I8 { [-128.0, 127.0] } else { [0.0, if dtype == DType::Bool { 1.0 } else { 255.0 }] }
            }));
            let range = range.ok_or_else(|| format!("no range of input `{name}` is stated"))?;
            let tensor = draw(&mut dice, dtype, &shape, range).map_err(|why| format!("input `{name}`: {why}"))?;
            let gap = match input.signal.missing.as_ref().map(|m| m.value) {
                Some(Missing::Nan) => Some(f64::NAN),
                Some(Missing::Value(v)) => Some(v),
                Some(Missing::Never) | None => None,
            };
            let Some(gap) = gap else { return Ok((name.clone(), tensor)) };
            let mut array = Array::of(&tensor).map_err(|e| e.to_string())?;
            holes(&mut array, gap, &mut dice);
            Ok((name.clone(), array.tensor(dtype).map_err(|e| e.to_string())?))
        };
        contract.inputs.iter().map(one).collect::<Result<Tensors, String>>()
    };
    (0..BATCHES).map(batch).collect()
}

/// Runs of missing values, short and long.
fn holes(array: &mut Array, gap: f64, dice: &mut Random) {
    let mut left = 0usize;
    for value in &mut array.data {
        if left == 0 && dice.unit() < GAPS / 4.0 {
            left = 1 + (dice.unit() * 8.0) as usize;
        }
        if left > 0 {
            *value = gap;
            left -= 1;
        }
    }
}
