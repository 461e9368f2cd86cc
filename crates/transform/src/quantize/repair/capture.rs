//! Captures, for layers none of which depends on another, rows of their inputs in the partly quantized model and of their outputs
//! in the original. Only what leads to these values is executed; of each run a few positions are kept, so that memory does not
//! grow with the data set. Knows executors by their trait only.

use std::collections::{BTreeMap, HashSet};

use plimsoll_onnx::{
    Model, NodeId, Tensor, Tensors, captured_names,
    proto::{TypeProto, ValueInfoProto, type_proto},
};
use plimsoll_runtime::{LoadOptions, Session};

use super::windows::Reading;
use crate::{
    Context, Refusal,
    quantize::calibrate::{Runs, floats},
};

/// Rows that a layer is fitted to; more do not pay.
const ROWS: usize = 12_288;
/// Elements of the rows of all layers that are captured together.
const ELEMENTS: usize = 64 << 20;

/// One layer to capture.
pub(super) struct Wanted<'w> {
    /// The node in the original.
    pub(super) id: NodeId,
    /// What it reads in the partly quantized model.
    pub(super) input: String,
    /// What it computes in the original.
    pub(super) output: &'w str,
    /// How it reads.
    pub(super) reading: &'w Reading,
    /// Elements of a row.
    pub(super) width: usize,
    /// Output channels.
    pub(super) channels: usize,
}

/// Rows of a layer's input and of its output in the original, both row-major.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) x: Vec<f32>,
    pub(super) y: Vec<f32>,
}

/// The rows of each wanted layer over all runs, in the order of the runs.
pub(super) fn capture(
    original: &Model,
    quantized: &Model,
    context: &Context<'_>,
    runs: &Runs<'_>,
    wanted: &[Wanted<'_>],
) -> Result<BTreeMap<NodeId, Rows>, Refusal> {
    let outputs: Vec<&str> = wanted.iter().map(|w| w.output).collect();
    let inputs: Vec<&str> = wanted.iter().map(|w| w.input.as_str()).collect();
    let (float, twin) = (Part::of(original, &outputs)?, Part::of(quantized, &inputs)?);
    let elements: usize = wanted.iter().map(|w| w.width + w.channels).sum();
    let rows = ROWS.min(ELEMENTS / elements.max(1)).max(runs.len());
    let each = rows.div_ceil(runs.len().max(1));
    let options = LoadOptions::for_inputs(&runs.feed(0));
    let parts = runs.shared(|span| {
        let (mut float, mut twin) = (float.load(context, &options)?, twin.load(context, &options)?);
        let mut found: Vec<Rows> = wanted.iter().map(|_| Rows::default()).collect();
        for run in span {
            let fed = runs.feed(run);
            let (from_float, from_twin) = (float.run(&fed)?, twin.run(&fed)?);
            for (w, rows) in wanted.iter().zip(&mut found) {
                let (x, y) = (value(&w.input, &from_twin, &fed)?, value(w.output, &from_float, &fed)?);
                pick(w, x, y, each, context.seed ^ (run as u64), rows)?;
            }
            context.progress.advance(1);
        }
        Ok(found)
    })?;
    let mut all: BTreeMap<NodeId, Rows> = BTreeMap::new();
    for part in parts {
        for (w, rows) in wanted.iter().zip(part) {
            let entry = all.entry(w.id).or_default();
            entry.x.extend(rows.x);
            entry.y.extend(rows.y);
        }
    }
    Ok(all)
}

/// Keeps at most `each` positions of one run, one drawn from each of as many equal stretches.
fn pick(w: &Wanted<'_>, x: &Tensor, y: &Tensor, each: usize, seed: u64, rows: &mut Rows) -> Result<(), Refusal> {
    let positions = w.reading.positions(x.shape(), y.shape(), w.width);
    let fits = positions.filter(|p| p.checked_mul(w.channels) == Some(y.len()));
    let Some(positions) = fits else {
        let reason = format!("value `{}` has shape {:?}, which its layer does not read", w.input, x.shape());
        return Err(Refusal::CheckFailed(reason));
    };
    let (input, output) = (floats(&w.input, x)?, floats(w.output, y)?);
    let mut dice = crate::draw::Dice::new(seed);
    let stretches = each.min(positions);
    for i in 0..stretches {
        let (from, to) = (i * positions / stretches, (i + 1) * positions / stretches);
        let position = from + (dice.next() % (to - from).max(1) as u64) as usize;
        w.reading.input(&input, x.shape(), y.shape(), position, &mut rows.x);
        w.reading.output(&output, y.shape(), position, &mut rows.y);
    }
    if !rows.x.iter().chain(&rows.y).all(|v| v.is_finite()) {
        return Err(Refusal::CheckFailed(format!("value `{}` or `{}` is not finite", w.input, w.output)));
    }
    Ok(())
}

fn value<'t>(name: &str, captured: &'t Tensors, fed: &'t Tensors) -> Result<&'t Tensor, Refusal> {
    captured
        .get(name)
        .or_else(|| fed.get(name))
        .ok_or_else(|| Refusal::CheckFailed(format!("the executor did not return the captured value `{name}`")))
}

/// The part of a model that leads to some values; nothing where these are inputs.
pub(super) struct Part(Option<Vec<u8>>);

impl Part {
    pub(super) fn of(model: &Model, values: &[&str]) -> Result<Self, Refusal> {
        let view = model.view();
        let mut ends: Vec<&str> = values.iter().copied().filter(|v| view.producer(v).is_some()).collect();
        ends.sort_unstable();
        ends.dedup();
        if ends.is_empty() {
            return Ok(Self(None));
        }
        let mut open = ends.clone();
        let mut nodes: HashSet<NodeId> = HashSet::new();
        let mut read: HashSet<&str> = HashSet::new();
        while let Some(name) = open.pop() {
            if !read.insert(name) {
                continue;
            }
            if let Some((id, n)) = view.producer(name)
                && nodes.insert(id)
            {
                open.extend(n.input.iter().map(String::as_str).filter(|i| !i.is_empty()));
                open.extend(captured_names(n));
            }
        }
        let mut proto = model.proto().clone();
        let graph = proto.graph.mut_or_insert_default();
        let mut position = 0;
        graph.node.retain(|_| {
            position += 1;
            nodes.contains(&NodeId(position - 1))
        });
        graph.initializer.retain(|t| read.contains(t.name.as_str()));
        graph.sparse_initializer.retain(|t| read.contains(t.values.name.as_str()));
        graph.output = ends.iter().map(|name| float_value(name)).collect();
        graph.value_info.clear();
        let bytes = Model::from_proto(proto).map_err(|e| Refusal::CheckFailed(e.to_string()))?.to_bytes();
        Ok(Self(Some(bytes.map_err(|e| Refusal::CheckFailed(e.to_string()))?)))
    }

    pub(super) fn load(&self, context: &Context<'_>, options: &LoadOptions) -> Result<Loaded, Refusal> {
        Ok(Loaded(self.0.as_ref().map(|bytes| context.executor.load(bytes, options)).transpose()?))
    }
}

/// A part, loaded.
pub(super) struct Loaded(Option<Box<dyn Session>>);

impl Loaded {
    pub(super) fn run(&mut self, fed: &Tensors) -> Result<Tensors, Refusal> {
        Ok(self.0.as_mut().map(|session| session.run(fed)).transpose()?.unwrap_or_default())
    }
}

fn float_value(name: &str) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: plimsoll_onnx::DType::F32.to_onnx(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
}
