//! Running two models on the same inputs and comparing what comes out.
//!
//! The inputs are samples that somebody gave, or are drawn from ranges that are declared or recorded (see [`crate::ranges`]).
//! Where there is neither, nothing is compared, and that is said: inputs out of thin air prove nothing about a model whose
//! domain is not known. This module must not know passes.

use plimsoll_cost::analyse;
use plimsoll_onnx::{
    DType, DimSpec, Model, Tensor, Tensors,
    shape::{Bindings, infer},
};
use plimsoll_runtime::{LoadOptions, Session};

use crate::{Context, draw, quantize::runnable, ranges};

/// Samples that are run, where samples are given and no more than [`WORK`] comes of it.
const SAMPLES: usize = 8;
/// Multiply-accumulates after which more samples of a large model are not worth the wait.
const WORK: u64 = 1 << 30;
/// Samples that are run to see that a model does run; more than one, so that a batch does.
const FEW: usize = 2;
/// Batches that are drawn, where ranges are known.
const DRAWN: usize = 3;
/// Sizes for open dimensions other than the batch, in the order in which they are tried: the first at which the original runs.
const OPEN: [usize; 3] = [5, 1, 64];
/// Relative to the largest magnitude of the output; float32 sums in another order differ by less.
const RELATIVE: f64 = 1e-4;
const ABSOLUTE: f64 = 1e-5;

/// Whether two models were compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// They gave the same results on so many samples, and where these came from.
    Same {
        /// Number of samples.
        samples: usize,
        /// `given` or `drawn`.
        source: &'static str,
    },
    /// They were not compared, and why.
    NotChecked(String),
}

/// Where two models differ.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Difference {
    /// An output has other values.
    #[error("output `{output}` differs by {by:.3e} (largest magnitude {scale:.3e}) on {source_of} samples")]
    Values {
        /// The output.
        output: String,
        /// Largest absolute difference.
        by: f64,
        /// Largest magnitude before.
        scale: f64,
        /// `given` or `drawn`.
        source_of: &'static str,
    },
    /// An output has another dtype or shape, or is gone.
    #[error("output `{0}` has another dtype or shape")]
    Type(String),
    /// The changed model does not run any more.
    #[error("the changed model does not run: {0}")]
    Run(String),
}

/// Runs both models on the samples of the context, or on inputs drawn from ranges, and compares what comes out.
pub fn same(before: &Model, after: &Model, context: &Context<'_>) -> Result<Checked, Difference> {
    if let Some(operator) = draw::random_operator(before) {
        return Ok(Checked::NotChecked(format!("{operator} gives other results each time")));
    }
    run_both(before, after, context, samples(before, SAMPLES), |expected, found, source| {
        compare(&as_declared(before, expected), found, source)
    })
}

/// Whether a model that was changed on purpose still runs where the original does, with outputs of the same dtypes and shapes.
pub fn runs(before: &Model, after: &Model, context: &Context<'_>) -> Result<Checked, Difference> {
    run_both(before, after, context, samples(before, FEW), |expected, found, _| {
        let alike = |name: &String, a: &Tensor| {
            found.get(name).is_some_and(|b| b.dtype() == a.dtype() && b.shape() == a.shape())
        };
        match as_declared(before, expected).iter().find(|(name, a)| !alike(name, a)) {
            Some((name, _)) => Err(Difference::Type(name.clone())),
            None => Ok(()),
        }
    })
}

/// At most so many samples; fewer of a large model.
fn samples(model: &Model, most: usize) -> usize {
    let macs = analyse(model, &infer(model, &Bindings::batch(1))).macs;
    usize::try_from(WORK * most as u64 / SAMPLES as u64 / macs.max(1)).unwrap_or(most).clamp(1, most)
}

fn run_both(
    before: &Model,
    after: &Model,
    context: &Context<'_>,
    most: usize,
    judge: impl Fn(Tensors, &Tensors, &'static str) -> Result<(), Difference>,
) -> Result<Checked, Difference> {
    let (batches, source) = match inputs_of(before, context, most) {
        Ok(found) => found,
        Err(reason) => return Ok(Checked::NotChecked(reason)),
    };
    let mut samples = 0;
    let mut sessions: [Option<Box<dyn Session>>; 2] = [None, None];
    for inputs in &batches {
        let [original, changed] = &mut sessions;
        // Side by side: each worker has a process of its own.
        let (expected, found) =
            rayon::join(|| run(original, before, inputs, context), || run(changed, after, inputs, context));
        let expected = match expected {
            Ok(outputs) => outputs,
            Err(reason) => return Ok(Checked::NotChecked(not_run(&reason))),
        };
        judge(expected, &found.map_err(Difference::Run)?, source)?;
        samples += inputs.values().next().and_then(|t| t.shape().first().copied()).unwrap_or(1);
    }
    Ok(Checked::Same { samples, source })
}

fn not_run(reason: &str) -> String {
    format!("the original does not run: {reason}")
}

/// Runs a model, which is loaded at the first call.
fn run(
    session: &mut Option<Box<dyn Session>>,
    model: &Model,
    inputs: &Tensors,
    context: &Context<'_>,
) -> Result<Tensors, String> {
    let session = match session {
        Some(session) => session,
        None => session.insert(load(model, inputs, context)?),
    };
    session.run(inputs).map_err(|e| e.to_string())
}

fn load(model: &Model, inputs: &Tensors, context: &Context<'_>) -> Result<Box<dyn Session>, String> {
    // The function is the same; that 4-bit weights can be read is for the executor that the model is made for to show.
    let bytes = runnable(model).map_err(|e| e.to_string())?.to_bytes().map_err(|e| e.to_string())?;
    context.executor.load(&bytes, &LoadOptions::for_inputs(inputs)).map_err(|e| e.to_string())
}

/// Outputs that the executor computes in double precision where single is declared (tract does, where a float32 is the default
/// of an attribute), as they are declared: a changed model that says so outright must not count as different.
fn as_declared(model: &Model, outputs: Tensors) -> Tensors {
    let declared = model.outputs();
    let single = |name: &str| declared.iter().any(|o| o.name == name && o.dtype == Some(DType::F32));
    let convert = |(name, tensor): (String, Tensor)| match tensor.to_f32() {
        Ok(values) if tensor.dtype() == DType::F64 && single(&name) => {
            let converted = Tensor::from_elements(tensor.shape(), &values);
            (name, converted.unwrap_or(tensor))
        }
        _ => (name, tensor),
    };
    outputs.into_iter().map(convert).collect()
}

/// Compares outputs: floats within rounding of the largest magnitude, everything else exactly; NaN equals NaN.
pub fn compare(expected: &Tensors, found: &Tensors, source_of: &'static str) -> Result<(), Difference> {
    for (name, a) in expected {
        let b = found.get(name).filter(|b| b.dtype() == a.dtype() && b.shape() == a.shape());
        let b = b.ok_or_else(|| Difference::Type(name.clone()))?;
        if a.bytes() == b.bytes() {
            continue;
        }
        let (Ok(x), Ok(y)) = (a.to_f64(), b.to_f64()) else { return Err(Difference::Type(name.clone())) };
        let scale = x.iter().filter(|v| v.is_finite()).fold(0f64, |m, v| m.max(v.abs()));
        let apart = |(x, y): (&f64, &f64)| if x == y || (x.is_nan() && y.is_nan()) { 0.0 } else { (x - y).abs() };
        let by = x.iter().zip(&y).map(apart).fold(0f64, |m, d| if d.is_nan() { f64::INFINITY } else { m.max(d) });
        // Half precision rounds at 2⁻¹¹ of the value.
        let relative = if matches!(a.dtype(), DType::F16 | DType::BF16) { 1e-2 } else { RELATIVE };
        let allowed = if a.dtype().is_float() { ABSOLUTE + relative * scale } else { 0.0 };
        if by > allowed {
            return Err(Difference::Values { output: name.clone(), by, scale, source_of });
        }
    }
    Ok(())
}

/// Batches that the original is run on, and where they came from.
fn inputs_of(model: &Model, context: &Context<'_>, most: usize) -> Result<(Vec<Tensors>, &'static str), String> {
    let specs = model.inputs();
    if let Some(data) = context.data {
        data.check_against(&specs).map_err(|e| e.to_string())?;
        // A fixed batch size is the only one that the model takes.
        let fixed = specs.iter().find_map(|s| match s.dims.as_ref()?.first()? {
            DimSpec::Fixed(n) => Some(*n as usize),
            _ => None,
        });
        let samples = fixed.unwrap_or(most).min(data.len());
        if fixed.is_none_or(|n| n == samples && n > 0) {
            let runs = if fixed.is_some() { (most / samples.max(1)).clamp(1, data.len() / samples.max(1)) } else { 1 };
            let batches: Vec<Tensors> = (0..runs).map(|i| data.batch(i * samples..(i + 1) * samples)).collect();
            return if batches.is_empty() { Err("the data hold no samples".into()) } else { Ok((batches, "given")) };
        }
    }
    let ranges = ranges::of(model, context.ranges)?;
    let mut last = "it has no inputs".to_owned();
    for open in OPEN {
        let mut dice = draw::Dice::new(context.seed);
        let batches: Vec<Tensors> =
            (0..DRAWN).map(|_| draw::inputs(&mut dice, &specs, &ranges, open)).collect::<Result<_, _>>()?;
        let Some(first) = batches.first() else { continue };
        // Shapes that do not fit are refused at load or in the first run, so both are tried.
        match run(&mut None, model, first, context) {
            Ok(_) => return Ok((batches, "drawn")),
            Err(error) => last = error,
        }
    }
    Err(not_run(&last))
}

#[cfg(test)]
mod tests;
