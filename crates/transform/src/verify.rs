//! Running two models on the same inputs and comparing what comes out.

use plimsoll_onnx::{DType, DimSpec, Model, Tensor, Tensors, ValueSpec};
use plimsoll_runtime::LoadOptions;

use crate::Context;

/// Samples that are run.
const SAMPLES: usize = 8;
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

/// Runs both models on the samples of the context, or on drawn ones.
pub fn same(before: &Model, after: &Model, context: &Context<'_>) -> Result<Checked, Difference> {
    let (inputs, samples, source) = match inputs_of(before, context) {
        Ok(found) => found,
        Err(reason) => return Ok(Checked::NotChecked(reason)),
    };
    let options = LoadOptions::for_inputs(&inputs);
    let run = |model: &Model| {
        let bytes = model.to_bytes().map_err(|e| e.to_string())?;
        let mut session = context.executor.load(&bytes, &options).map_err(|e| e.to_string())?;
        session.run(&inputs).map_err(|e| e.to_string())
    };
    let expected = match run(before) {
        Ok(outputs) => outputs,
        Err(reason) => return Ok(Checked::NotChecked(format!("the original does not run: {reason}"))),
    };
    let found = run(after).map_err(Difference::Run)?;
    compare(&expected, &found, source)?;
    Ok(Checked::Same { samples, source })
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

fn inputs_of(model: &Model, context: &Context<'_>) -> Result<(Tensors, usize, &'static str), String> {
    let specs = model.inputs();
    if let Some(data) = context.data {
        data.check_against(&specs).map_err(|e| e.to_string())?;
        // A fixed batch size is the only one that the model takes.
        let fixed = specs.iter().find_map(|s| match s.dims.as_ref()?.first()? {
            DimSpec::Fixed(n) => Some(*n as usize),
            _ => None,
        });
        let samples = fixed.unwrap_or(SAMPLES).min(data.len());
        if fixed.is_none_or(|n| n == samples) {
            return Ok((data.batch(0..samples), samples, "given"));
        }
    }
    let mut draw = Draw(context.seed ^ 0x9e37_79b9_7f4a_7c15);
    let inputs = specs.iter().map(|s| Ok((s.name.clone(), draw.tensor(s)?))).collect::<Result<_, String>>()?;
    Ok((inputs, 1, "drawn"))
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for test inputs.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Floats in [-2, 2), whole numbers 0 or 1 (small enough for whatever they index), open dimensions 2 for the batch, else 1.
    fn tensor(&mut self, spec: &ValueSpec) -> Result<Tensor, String> {
        let dtype = spec.dtype.ok_or_else(|| format!("input `{}` has no dense numeric dtype", spec.name))?;
        let dims = spec.dims.as_ref().ok_or_else(|| format!("input `{}` declares no shape", spec.name))?;
        let size = |(axis, d): (usize, &DimSpec)| match d {
            DimSpec::Fixed(n) => *n as usize,
            _ => 1 + usize::from(axis == 0),
        };
        let shape: Vec<usize> = dims.iter().enumerate().map(size).collect();
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= 1 << 26);
        let elements = elements.ok_or_else(|| format!("input `{}` is too large to draw", spec.name))?;
        let floats: Vec<f32> = (0..elements).map(|_| (self.next() >> 40) as f32 / (1u64 << 22) as f32 - 2.0).collect();
        let bits: Vec<u8> = floats.iter().map(|&v| u8::from(v > 0.0)).collect();
        let whole = |width: usize| {
            bits.iter().flat_map(|&b| std::iter::once(b).chain(std::iter::repeat_n(0, width - 1))).collect()
        };
        let tensor = match dtype {
            DType::F32 => Tensor::from_elements(&shape, &floats),
            DType::F64 => Tensor::from_elements(&shape, &floats.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()),
            DType::F16 => Tensor::from_elements(&shape, &floats).and_then(|t| t.to_f16()),
            d if d.is_float() || d.bits() < 8 => return Err(format!("inputs of {d} are not drawn")),
            d => Tensor::new(d, shape, whole(d.bits() / 8)),
        };
        tensor.map_err(|e| e.to_string())
    }
}
