//! onnxruntime, from a library that is loaded when it is asked for: the one of the Python wheel serves as well as any other.

use std::{collections::BTreeMap, path::Path, time::Instant};

use half::{bf16, f16};
use ort::{
    environment::Environment,
    session::{SessionInputValue, SessionOutputs, builder::GraphOptimizationLevel},
    value::{DynValue, PrimitiveTensorElementType, TensorElementType, Value},
};
use plimsoll_onnx::{DType, Element, Model, Tensor, Tensors, proto::ValueInfoProto};

use crate::{Allocated, ExecError, Executor, LoadOptions, Session, Summary, quiet::guard, wanted::Wanted};

const NAME: &str = "onnxruntime";

/// Runs models by onnxruntime on the CPU, in this process.
pub struct OnnxRuntimeExecutor {
    environment: Environment,
    version: String,
}

impl OnnxRuntimeExecutor {
    /// Loads the library at `path`. A process can load one only; what it says of a second one is not defined.
    pub fn open(path: &Path) -> Result<Self, ExecError> {
        let environment = guard(NAME, || -> Result<Environment, String> {
            let builder = ort::init_from(path).map_err(|e| e.to_string())?;
            builder.with_name("plimsoll").with_telemetry(false).build().map_err(text)
        })?;
        let unusable = |reason| failed(format!("{} cannot be used: {reason}", path.display()));
        let environment = environment.map_err(unusable)?;
        let version = version(path).unwrap_or_else(|| ort::info().chars().take(80).collect());
        Ok(Self { environment, version })
    }
}

/// The version in the name of the library (`libonnxruntime.so.1.32.0`), or else in that of the branch it was built from.
fn version(path: &Path) -> Option<String> {
    let name = path.canonicalize().ok()?.file_name()?.to_string_lossy().into_owned();
    let text = [name.as_str(), ort::info()].into_iter().find_map(|text| {
        let start = text.match_indices(|c: char| c.is_ascii_digit()).map(|(i, _)| &text[i..]);
        start
            .map(|rest| rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap_or_default())
            .find(|v| v.matches('.').count() >= 2)
    })?;
    Some(text.trim_end_matches('.').to_owned())
}

fn text<R>(error: ort::Error<R>) -> String {
    error.to_string()
}

fn failed(reason: impl ToString) -> ExecError {
    ExecError::Failed { executor: NAME.into(), reason: reason.to_string() }
}

impl Executor for OnnxRuntimeExecutor {
    fn name(&self) -> &str {
        NAME
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Session>, ExecError> {
        let loaded = guard(NAME, || load(&self.environment, model, options))??;
        Ok(Box::new(loaded))
    }
}

struct Loaded {
    session: ort::session::Session,
    inputs: Vec<(String, Option<TensorElementType>)>,
    shapes: BTreeMap<String, Vec<usize>>,
    outputs: Vec<Wanted>,
}

fn load(environment: &Environment, bytes: &[u8], options: &LoadOptions) -> Result<Loaded, ExecError> {
    let unsupported = |reason: String| ExecError::Unsupported { executor: NAME.into(), reason };
    let model = Model::from_bytes(bytes).map_err(|e| unsupported(e.to_string()))?;
    let outputs = Wanted::all(model.outputs().into_iter().map(|o| o.name), options);
    let inner = &outputs[model.outputs().len()..];
    let mut proto = model.proto().clone();
    // Types of inner values are inferred.
    let declared = inner.iter().map(|w| ValueInfoProto { name: w.name.clone(), ..Default::default() });
    proto.graph.mut_or_insert_default().output.extend(declared);
    let widened = !inner.is_empty();
    let widened = if widened { model.with_proto(proto).to_bytes().map_err(failed)? } else { bytes.to_vec() };
    let start = || -> Result<ort::session::Session, String> {
        let builder = ort::session::Session::builder(environment).map_err(text)?;
        let builder = builder.with_intra_threads(options.threads.max(1)).map_err(text)?;
        let builder = builder.with_inter_threads(1).map_err(text)?;
        let mut builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(text)?;
        builder.commit_from_memory(&widened).map_err(text)
    };
    let session = start().map_err(unsupported)?;
    let inputs = session.inputs().iter().map(|i| (i.name().to_owned(), i.dtype().tensor_type())).collect();
    Ok(Loaded { session, inputs, shapes: options.shapes.clone(), outputs })
}

impl Loaded {
    fn prepare(&self, inputs: &Tensors) -> Result<Vec<(String, DynValue)>, ExecError> {
        let one = |(name, dtype): &(String, Option<TensorElementType>)| {
            let bad = |reason: String| ExecError::BadInput { input: name.clone(), reason };
            let tensor = inputs.get(name).ok_or_else(|| bad("it was not given".into()))?;
            if let Some(shape) = self.shapes.get(name).filter(|s| s.as_slice() != tensor.shape()) {
                return Err(bad(format!("its shape is {:?}; the model was loaded for {shape:?}", tensor.shape())));
            }
            let value = to_ort(tensor).map_err(bad)?;
            let found = value.dtype().tensor_type();
            match (found, dtype) {
                (Some(found), Some(wanted)) if found != *wanted => {
                    Err(bad(format!("it is {}; the model needs {wanted}", tensor.dtype())))
                }
                _ => Ok((name.clone(), value)),
            }
        };
        self.inputs.iter().map(one).collect()
    }
}

/// Views of the values, for one run.
fn views(values: &[(String, DynValue)]) -> Vec<(&str, SessionInputValue<'_>)> {
    values.iter().map(|(name, value)| (name.as_str(), SessionInputValue::from(value))).collect()
}

impl Session for Loaded {
    fn run(&mut self, inputs: &Tensors) -> Result<Tensors, ExecError> {
        let values = self.prepare(inputs)?;
        let Self { session, outputs, .. } = self;
        guard(NAME, || {
            let computed = session.run(views(&values)).map_err(failed)?;
            collect(outputs, &computed)
        })?
    }

    fn summaries(&mut self) -> Result<BTreeMap<String, Summary>, ExecError> {
        Ok(Wanted::summaries(&self.outputs))
    }

    /// The library allocates by itself.
    fn allocations(&mut self, _inputs: &Tensors) -> Result<Option<Allocated>, ExecError> {
        Ok(None)
    }

    fn time(&mut self, inputs: &Tensors, runs: usize) -> Result<Vec<u64>, ExecError> {
        let values = self.prepare(inputs)?;
        let session = &mut self.session;
        guard(NAME, || {
            let one = |_| {
                let fed = views(&values);
                let start = Instant::now();
                let outputs = session.run(fed).map_err(failed)?;
                let elapsed = start.elapsed().as_nanos() as u64;
                drop(outputs);
                Ok(elapsed)
            };
            (0..runs).map(one).collect::<Result<Vec<u64>, ExecError>>()
        })?
    }
}

/// What is returned of a run; what is summarised is taken in.
fn collect(outputs: &mut [Wanted], computed: &SessionOutputs<'_>) -> Result<Tensors, ExecError> {
    let mut tensors = Tensors::new();
    for Wanted { name, returned, summary } in outputs {
        let value = computed.get(name.as_str()).ok_or_else(|| failed(format!("no value `{name}` came out")))?;
        if let Some(summary) = summary {
            let float = |e| failed(format!("value `{name}` is not float32: {e}"));
            summary.observe(value.try_extract_tensor::<f32>().map_err(float)?.1);
        }
        if *returned {
            let tensor = from_ort(value).map_err(|e| failed(format!("output `{name}`: {e}")))?;
            tensors.insert(name.clone(), tensor);
        }
    }
    Ok(tensors)
}

fn to_ort(tensor: &Tensor) -> Result<DynValue, String> {
    fn typed<T: Element + PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
        tensor: &Tensor,
    ) -> Result<DynValue, String> {
        let elements = tensor.to_vec::<T>().map_err(|e| e.to_string())?;
        let made = ort::value::Tensor::<T>::from_array((tensor.shape().to_vec(), elements));
        made.map(Value::into_dyn).map_err(|e| e.to_string())
    }
    match tensor.dtype() {
        DType::F32 => typed::<f32>(tensor),
        DType::F64 => typed::<f64>(tensor),
        DType::F16 => typed::<f16>(tensor),
        DType::BF16 => typed::<bf16>(tensor),
        DType::I8 => typed::<i8>(tensor),
        DType::I16 => typed::<i16>(tensor),
        DType::I32 => typed::<i32>(tensor),
        DType::I64 => typed::<i64>(tensor),
        DType::U8 => typed::<u8>(tensor),
        DType::U16 => typed::<u16>(tensor),
        DType::U32 => typed::<u32>(tensor),
        DType::U64 => typed::<u64>(tensor),
        DType::Bool => typed::<bool>(tensor),
        other => Err(format!("it is {other}, which cannot be given to onnxruntime")),
    }
}

fn from_ort(value: &DynValue) -> Result<Tensor, String> {
    fn typed<T: Element + PrimitiveTensorElementType>(value: &DynValue) -> Result<Tensor, String> {
        let (shape, elements) = value.try_extract_tensor::<T>().map_err(|e| e.to_string())?;
        let shape: Option<Vec<usize>> = shape.iter().map(|d| usize::try_from(*d).ok()).collect();
        let shape = shape.ok_or("its shape is not known")?;
        Tensor::from_elements(&shape, elements).map_err(|e| e.to_string())
    }
    match value.dtype().tensor_type() {
        Some(TensorElementType::Float32) => typed::<f32>(value),
        Some(TensorElementType::Float64) => typed::<f64>(value),
        Some(TensorElementType::Float16) => typed::<f16>(value),
        Some(TensorElementType::Bfloat16) => typed::<bf16>(value),
        Some(TensorElementType::Int8) => typed::<i8>(value),
        Some(TensorElementType::Int16) => typed::<i16>(value),
        Some(TensorElementType::Int32) => typed::<i32>(value),
        Some(TensorElementType::Int64) => typed::<i64>(value),
        Some(TensorElementType::Uint8) => typed::<u8>(value),
        Some(TensorElementType::Uint16) => typed::<u16>(value),
        Some(TensorElementType::Uint32) => typed::<u32>(value),
        Some(TensorElementType::Uint64) => typed::<u64>(value),
        Some(TensorElementType::Bool) => typed::<bool>(value),
        other => Err(format!("it is {other:?}, which has no dense numeric form")),
    }
}
