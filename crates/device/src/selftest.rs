//! The self-test before a swap: the model as it lies on the device, run on the device, held against what the release ships.

use std::{fs, path::Path};

use plimsoll_onnx::{DimSpec, Model, Tensor, Tensors};
use plimsoll_profile::Contract;
use plimsoll_runtime::{ExecError, Executor, LoadOptions};

use crate::reference::{Reference, draw};

/// How far an output may lie from the reference, as a share of the reference's largest value: float sums in another order.
const TOLERANCE: f64 = 1e-3;

/// Why a test was not passed.
#[derive(Debug)]
pub(crate) enum Untested {
    /// The release does not do here what it is to do.
    Failed(String),
    /// It could not be run at all, which says nothing about it: another look tries again.
    NotRun(ExecError),
}

impl From<String> for Untested {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// What a passed test says of itself, or why there is none.
pub(crate) fn self_test(
    executor: &dyn Executor,
    payload: &Path,
    model: &str,
    memory: Option<u64>,
) -> Result<String, Untested> {
    let path = payload.join(model);
    let bytes = fs::read(&path).map_err(|e| format!("{model}: {e}"))?;
    let model = Model::from_bytes(&bytes).map_err(|e| e.to_string())?;
    let reference = Reference::read(payload)?;
    let (cases, how) = match &reference {
        Some(reference) if !reference.cases.is_empty() => {
            let cases = reference.cases.iter().map(|(i, o)| (i.clone(), Some(o))).collect();
            (cases, "shipped reference inputs, outputs as where the release was made")
        }
        _ => (vec![(drawn(&model, payload)?, None)], "inputs drawn from declared ranges, since the release ships none"),
    };
    let cases: Vec<(Tensors, Option<&Tensors>)> = cases;
    let first = cases.first().map(|(inputs, _)| inputs).ok_or_else(|| "there is nothing to run".to_owned())?;
    let mut session = executor.load(&bytes, &LoadOptions::for_inputs(first)).map_err(|e| match e {
        ExecError::Failed { .. } | ExecError::Missing { .. } => Untested::NotRun(e),
        e => Untested::Failed(e.to_string()),
    })?;
    for (i, (inputs, expected)) in cases.iter().enumerate() {
        let outputs = session.run(inputs).map_err(|e| format!("case {i}: {e}"))?;
        check(&outputs, *expected).map_err(|e| format!("case {i}: {e}"))?;
    }
    let peak = session.peak_memory();
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    if let (Some(peak), Some(most)) = (peak, memory.filter(|most| peak.is_some_and(|p| p > *most))) {
        let [peak, most] = [peak, most].map(mebibytes);
        return Err(format!("it needs {peak:.1} MiB of memory to run; the device has {most:.1} MiB for it").into());
    }
    let memory = peak.map_or_else(String::new, |p| format!(", {:.1} MiB at most", mebibytes(p)));
    Ok(format!("{} runs on {how}{memory}", cases.len()))
}

fn check(outputs: &Tensors, expected: Option<&Tensors>) -> Result<(), String> {
    if let Some((name, _)) = outputs.iter().find(|(_, t)| !t.is_finite()) {
        return Err(format!("the output `{name}` holds values that are no numbers"));
    }
    let Some(expected) = expected else { return Ok(()) };
    for (name, expected) in expected {
        let found = outputs.get(name).ok_or_else(|| format!("there is no output `{name}`"))?;
        if found.shape() != expected.shape() {
            return Err(format!("the output `{name}` is {:?}, expected {:?}", found.shape(), expected.shape()));
        }
        let [found, expected] = [found, expected].map(Tensor::to_f64);
        let (found, expected) = (found.map_err(|e| e.to_string())?, expected.map_err(|e| e.to_string())?);
        let scale = expected.iter().fold(1e-6_f64, |most, v| most.max(v.abs()));
        let far = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f64::max);
        if far > TOLERANCE {
            return Err(format!("the output `{name}` is off by {far:.2e} of its range; {TOLERANCE:.0e} is allowed"));
        }
    }
    Ok(())
}

/// The contract that a release was made for, where it ships one.
pub(crate) fn shipped_contract(payload: &Path) -> Result<Option<Contract>, String> {
    let contract = payload.join("contract.toml");
    contract.is_file().then(|| Contract::read(&contract)).transpose().map_err(|e| e.to_string())
}

/// Inputs in the ranges of the payload's contract, or from 0 to 1 where it gives none.
fn drawn(model: &Model, payload: &Path) -> Result<Tensors, String> {
    let contract = shipped_contract(payload)?;
    let mut inputs = Tensors::new();
    for spec in model.inputs() {
        let dims = spec.dims.unwrap_or_default();
        let shape: Vec<usize> = dims.iter().map(|d| if let DimSpec::Fixed(n) = d { *n as usize } else { 1 }).collect();
        let dtype = spec.dtype.ok_or_else(|| format!("the input `{}` is no tensor of numbers", spec.name))?;
        let declared = contract
            .as_ref()
            .and_then(|c| c.inputs.iter().find(|i| i.name.value == spec.name)?.signal.range.as_ref().map(|r| r.value));
        let range = declared.unwrap_or([0.0, 1.0]);
        inputs.insert(spec.name.clone(), draw(&spec.name, dtype, &shape, &range).map_err(|e| e.to_string())?);
    }
    Ok(inputs)
}
