//! tract, the embedded executor.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use plimsoll_lower::{Isa, lower};
use plimsoll_onnx::{DType, Tensor, Tensors};
use tract_onnx::prelude::{
    self as tract, DatumType, Framework, InferenceFact, InferenceModelExt, IntoRunnable, IntoTValue, TValue, TVec,
};

use tract_onnx::{tract_core::knobs::KnobScope, tract_hir::infer::Factoid};

use crate::{ExecError, Executor, LoadOptions, Session, Summary, quiet::guard, wanted::Wanted};

const NAME: &str = "tract";
/// tract writes out all windows of a convolution before it multiplies them where a kernel has fewer than six elements. Gathering
/// them as they are needed took 3 to 20 % off the time of models with kernels of three and five elements on x86.
const KNOBS: [(&str, &str); 1] = [("TRACT_LAZY_IM2COL_MIN_KERNEL", "2")];

/// Runs models by tract, lowered to the fused operators of `plimsoll-lower` for this machine's instruction set, in this process. Panics
/// become errors.
#[derive(Debug, Clone, Copy, Default)]
pub struct TractExecutor;

impl Executor for TractExecutor {
    fn name(&self) -> &str {
        NAME
    }

    fn version(&self) -> String {
        format!("{}, lowered for {}", env!("PLIMSOLL_TRACT_VERSION"), Isa::detect().name())
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Session>, ExecError> {
        let loaded = guard(NAME, || load(model, options, Some(Isa::detect())))??;
        Ok(Box::new(loaded))
    }
}

/// Runs models by tract's own plan.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainTractExecutor;

impl Executor for PlainTractExecutor {
    fn name(&self) -> &str {
        NAME
    }

    fn version(&self) -> String {
        env!("PLIMSOLL_TRACT_VERSION").to_owned()
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Session>, ExecError> {
        let loaded = guard(NAME, || load(model, options, None))??;
        Ok(Box::new(loaded))
    }
}

fn unsupported(error: impl std::fmt::Debug) -> ExecError {
    ExecError::Unsupported { executor: NAME.into(), reason: one_line(&error) }
}

fn failed(error: impl std::fmt::Debug) -> ExecError {
    ExecError::Failed { executor: NAME.into(), reason: one_line(&error) }
}

/// The chain of causes without the backtrace.
fn one_line(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let text = text.split("\n\nStack backtrace").next().unwrap_or_default();
    let causes = text.lines().map(str::trim).filter(|l| !l.is_empty() && *l != "Caused by:");
    let mut line = causes.collect::<Vec<_>>().join(": ");
    if let Some((cut, _)) = line.char_indices().nth(600) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

struct Loaded {
    plan: Arc<tract::TypedRunnableModel>,
    inputs: Vec<(String, DatumType, Vec<usize>)>,
    outputs: Vec<Wanted>,
}

/// `lowered` is the instruction set that the plan is lowered for; `None` leaves it tract's own.
fn load(bytes: &[u8], options: &LoadOptions, lowered: Option<Isa>) -> Result<Loaded, ExecError> {
    let framework = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
    let mut model = framework.model_for_read(&mut &*bytes).map_err(unsupported)?;
    let input_outlets = model.input_outlets().map_err(unsupported)?.to_vec();
    for (index, outlet) in input_outlets.iter().enumerate() {
        let name = model.node(outlet.node).name.clone();
        let declared = model.outlet_fact(*outlet).map_err(unsupported)?.clone();
        let shape = match options.shapes.get(&name) {
            Some(shape) => shape.clone(),
            None => declared_shape(&declared).ok_or_else(|| ExecError::BadInput {
                input: name.clone(),
                reason: "its rank is not declared and no shape was given".into(),
            })?,
        };
        let fact = match declared.datum_type.concretize() {
            Some(dt) => InferenceFact::dt_shape(dt, &*shape),
            None => InferenceFact::shape(&*shape),
        };
        model.set_input_fact(index, fact).map_err(unsupported)?;
    }
    let names: Vec<String> = input_outlets.iter().map(|o| model.node(o.node).name.clone()).collect();
    let mut outlets = model.output_outlets().map_err(unsupported)?.to_vec();
    let own =
        outlets.iter().map(|o| model.outlet_label(*o).map_or_else(|| model.node(o.node).name.clone(), str::to_owned));
    let outputs = Wanted::all(own, options);
    for Wanted { name, .. } in &outputs[outlets.len()..] {
        // Inputs and initializers have no label; they are nodes without inputs that bear the value's name.
        let source = |n: &&tract_onnx::tract_hir::infer::InferenceNode| n.name == *name && n.inputs.is_empty();
        let by_node = || model.nodes().iter().find(source).map(|n| tract::OutletId::new(n.id, 0));
        let outlet = model.find_outlet_label(name).or_else(by_node);
        outlets.push(outlet.ok_or_else(|| failed(format!("no value `{name}` to capture")))?);
    }
    model.select_output_outlets(&outlets).map_err(unsupported)?;
    let mut model = model.into_typed().map_err(unsupported)?;
    if let Some(isa) = lowered {
        // What cannot be lowered runs as it is.
        model = lower(model.clone(), isa).map_or(model, |lowered| lowered.model);
    }
    let scope = KnobScope::new(KNOBS).map_err(unsupported)?;
    let model = scope.enter(|| model.into_decluttered()?.into_optimized()).map_err(unsupported)?;
    let mut inputs = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let fact = model.input_fact(index).map_err(unsupported)?;
        let shape = fact.shape.as_concrete().ok_or_else(|| unsupported("an input's shape is still symbolic"))?;
        inputs.push((name, fact.datum_type, shape.to_vec()));
    }
    Ok(Loaded { plan: model.into_runnable().map_err(unsupported)?, inputs, outputs })
}

/// The declared shape, open dimensions being 1.
fn declared_shape(fact: &InferenceFact) -> Option<Vec<usize>> {
    let rank = fact.shape.rank().concretize()?;
    let dims = fact.shape.dims().take(rank as usize);
    Some(dims.map(|d| d.concretize().and_then(|d| d.to_i64().ok()).map(|d| d.max(1) as usize).unwrap_or(1)).collect())
}

impl Loaded {
    fn prepare(&self, inputs: &Tensors) -> Result<TVec<TValue>, ExecError> {
        let one = |(name, dtype, shape): &(String, DatumType, Vec<usize>)| {
            let bad = |reason: String| ExecError::BadInput { input: name.clone(), reason };
            let tensor = inputs.get(name).ok_or_else(|| bad("it was not given".into()))?;
            if tensor.shape() != shape.as_slice() {
                return Err(bad(format!("its shape is {:?}; the model was loaded for {shape:?}", tensor.shape())));
            }
            let found = to_tract(tensor).map_err(bad)?;
            if found.datum_type().unquantized() != dtype.unquantized() {
                return Err(bad(format!("it is {}; the model needs {dtype:?}", tensor.dtype())));
            }
            Ok(found.into_tvalue())
        };
        self.inputs.iter().map(one).collect()
    }
}

impl Session for Loaded {
    fn run(&mut self, inputs: &Tensors) -> Result<Tensors, ExecError> {
        let values = self.prepare(inputs)?;
        let computed = guard(NAME, || self.plan.run(values))?.map_err(failed)?;
        let mut returned = Tensors::new();
        for (output, value) in self.outputs.iter_mut().zip(computed.iter()) {
            if let Some(summary) = &mut output.summary {
                let float = |_| failed(format!("value `{}` is {:?}, not float32", output.name, value.datum_type()));
                summary.observe(value.try_as_plain_ram().and_then(|v| v.as_slice::<f32>()).map_err(float)?);
            }
            if output.returned {
                returned.insert(output.name.clone(), from_tract(value)?);
            }
        }
        Ok(returned)
    }

    fn summaries(&mut self) -> Result<BTreeMap<String, Summary>, ExecError> {
        Ok(Wanted::summaries(&self.outputs))
    }

    fn time(&mut self, inputs: &Tensors, runs: usize) -> Result<Vec<u64>, ExecError> {
        let values = self.prepare(inputs)?;
        let timed = guard(NAME, || {
            let mut state = self.plan.spawn()?;
            (0..runs)
                .map(|_| {
                    let values = values.clone();
                    let start = Instant::now();
                    let outputs = state.run(values)?;
                    let elapsed = start.elapsed().as_nanos() as u64;
                    drop(outputs);
                    Ok(elapsed)
                })
                .collect::<tract::TractResult<Vec<u64>>>()
        })?;
        timed.map_err(failed)
    }
}

fn to_tract(tensor: &Tensor) -> Result<tract::Tensor, String> {
    let text = |e: plimsoll_onnx::TensorError| e.to_string();
    let dt = match tensor.dtype() {
        DType::F32 => DatumType::F32,
        DType::F64 => DatumType::F64,
        DType::F16 => DatumType::F16,
        DType::I8 => DatumType::I8,
        DType::I16 => DatumType::I16,
        DType::I32 => DatumType::I32,
        DType::I64 => DatumType::I64,
        DType::U8 => DatumType::U8,
        DType::U16 => DatumType::U16,
        DType::U32 => DatumType::U32,
        DType::U64 => DatumType::U64,
        DType::Bool => DatumType::Bool,
        DType::BF16 => {
            let widened = Tensor::from_elements(tensor.shape(), &tensor.to_f32().map_err(text)?).map_err(text)?;
            return to_tract(&widened);
        }
        other => return Err(format!("tract has no dtype {other}")),
    };
    let mut out = tract::Tensor::zero_dt(dt, tensor.shape()).map_err(|e| e.to_string())?;
    if !tensor.is_empty() {
        let bytes = out.as_bytes_mut();
        bytes.copy_from_slice(tensor.bytes());
        if dt == DatumType::Bool {
            // ONNX bools are bytes; Rust's may only be 0 or 1.
            bytes.iter_mut().for_each(|b| *b = u8::from(*b != 0));
        }
    }
    Ok(out)
}

fn from_tract(value: &tract::Tensor) -> Result<Tensor, ExecError> {
    let dtype = match value.datum_type().unquantized() {
        DatumType::F32 => DType::F32,
        DatumType::F64 => DType::F64,
        DatumType::F16 => DType::F16,
        DatumType::I8 => DType::I8,
        DatumType::I16 => DType::I16,
        DatumType::I32 => DType::I32,
        DatumType::I64 => DType::I64,
        DatumType::U8 => DType::U8,
        DatumType::U16 => DType::U16,
        DatumType::U32 => DType::U32,
        DatumType::U64 => DType::U64,
        DatumType::Bool => DType::Bool,
        DatumType::TDim => {
            let sizes = value.cast_to::<i64>().map_err(failed)?;
            return from_tract(&sizes);
        }
        other => {
            let reason = format!("an output is {other:?}, which has no dense numeric form");
            return Err(ExecError::Failed { executor: NAME.into(), reason });
        }
    };
    let bytes = if value.len() == 0 { vec![] } else { value.as_bytes().to_vec() };
    Tensor::new(dtype, value.shape().to_vec(), bytes).map_err(failed)
}
