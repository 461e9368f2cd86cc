//! An island inside a tract plan: one operator that runs a program.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tract_core::internal::*;

use crate::{
    compile::Compiled,
    isa::Isa,
    program::{Env, Slots, Step, View},
};

/// The operator. Clones share the program and its packed weights.
#[derive(Clone)]
pub(crate) struct Island {
    inner: Arc<Inner>,
}

struct Inner {
    isa: Isa,
    compiled: Compiled,
    /// Buffers of runs that are over; as many as ran at once.
    slots: Mutex<Vec<Slots>>,
    outputs: Vec<TypedFact>,
    names: Vec<String>,
}

impl Island {
    /// `outputs` are the facts of the values that it replaces, `names` those of the nodes.
    pub(crate) fn new(isa: Isa, compiled: Compiled, outputs: Vec<TypedFact>, names: Vec<String>) -> Self {
        Self { inner: Arc::new(Inner { isa, compiled, slots: Mutex::default(), outputs, names }) }
    }
}

impl fmt::Debug for Island {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Island({} nodes, {} steps)", self.inner.names.len(), self.inner.compiled.program.steps.len())
    }
}

impl PartialEq for Island {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Island {}

impl Hash for Island {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.inner).hash(state);
    }
}

impl Op for Island {
    fn name(&self) -> StaticName {
        "Lowered".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{} on {}", self.inner.names.join(", "), self.inner.isa.name())])
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for Island {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.run(&inputs, None)
    }
}

impl Island {
    /// The time of each step of one run, by the step's label.
    pub(crate) fn step_times(&self, inputs: &[TValue]) -> TractResult<Vec<(String, Duration)>> {
        let mut times = Vec::new();
        self.run(inputs, Some(&mut times))?;
        let labels = self.inner.compiled.program.steps.iter().map(Step::label);
        Ok(labels.zip(times).collect())
    }

    fn run(&self, inputs: &[TValue], times: Option<&mut Vec<Duration>>) -> TractResult<TVec<TValue>> {
        let Inner { isa, compiled, slots, outputs, .. } = &*self.inner;
        let plain = inputs.iter().map(|i| i.try_as_plain_ram()).collect::<TractResult<Vec<_>>>()?;
        // int8 is computed as uint8 with 128 added. Types are looked at first: a slice of another type is an error, and making one may
        // take longer than a small model.
        let mut shifted: Vec<Option<Vec<u8>>> = Vec::with_capacity(inputs.len());
        for (input, plain) in inputs.iter().zip(&plain) {
            let signed = if input.datum_type() == DatumType::I8 { Some(plain.as_slice::<i8>()?) } else { None };
            shifted.push(signed.map(|s| s.iter().map(|v| (*v as u8) ^ 0x80).collect()));
        }
        let mut views = Vec::with_capacity(inputs.len());
        for ((input, plain), shifted) in inputs.iter().zip(&plain).zip(&shifted) {
            views.push(match (input.datum_type(), shifted) {
                (_, Some(bytes)) => View::U8(bytes),
                (DatumType::U8, _) => View::U8(plain.as_slice::<u8>()?),
                _ => View::F32(plain.as_slice::<f32>()?),
            });
        }
        let pooled = slots.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut own = pooled.unwrap_or_else(|| Slots::new(&compiled.program));
        let mut env = Env { inputs: &views, slots: &mut own, consts: &compiled.program.const_f32, times };
        isa.run(&compiled.program, &mut env);
        let mut results = tvec!();
        for (buffer, fact) in compiled.outputs.iter().zip(outputs) {
            let shape = fact.shape.as_concrete().context("islands have concrete shapes")?;
            let len = shape.iter().product::<usize>();
            results.push(match (env.view(*buffer), fact.datum_type) {
                (View::F32(x), _) => Tensor::from_shape(shape, &x[..len])?.into_tvalue(),
                (View::U8(x), DatumType::I8) => {
                    let signed: Vec<i8> = x[..len].iter().map(|v| (v ^ 0x80) as i8).collect();
                    Tensor::from_shape(shape, &signed)?.into_tvalue()
                }
                (View::U8(x), _) => Tensor::from_shape(shape, &x[..len])?.into_tvalue(),
            });
        }
        slots.lock().unwrap_or_else(PoisonError::into_inner).push(own);
        Ok(results)
    }
}

impl TypedOp for Island {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.inner.outputs.iter().cloned().collect())
    }

    as_op!();
}
