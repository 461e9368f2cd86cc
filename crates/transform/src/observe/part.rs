//! The part of a model that leads to some values, and running it. Knows graphs and executors, not what the values are for.

use std::{collections::HashSet, ops::Range as Span};

use plimsoll_onnx::{
    Model, NodeId, Tensors, captured_names,
    proto::{TypeProto, ValueInfoProto, type_proto},
};
use plimsoll_runtime::{LoadOptions, Session};

use super::each;
use crate::{Context, Refusal};

/// The part of a model that leads to some values; nothing where these are inputs.
pub(crate) struct Part {
    bytes: Option<Vec<u8>>,
    /// The values that it is fed.
    inputs: HashSet<String>,
}

impl Part {
    /// All that leads to these values.
    pub(crate) fn of(model: &Model, values: &[&str]) -> Result<Self, Refusal> {
        Self::between(model, values, |_| false)
    }

    /// What leads to these values from others that are known.
    pub(crate) fn between(model: &Model, values: &[&str], known: impl Fn(&str) -> bool) -> Result<Self, Refusal> {
        let view = model.view();
        let mut ends: Vec<&str> = values.iter().copied().filter(|v| view.producer(v).is_some()).collect();
        ends.sort_unstable();
        ends.dedup();
        if ends.is_empty() {
            return Ok(Self { bytes: None, inputs: HashSet::new() });
        }
        let mut open = ends.clone();
        let mut nodes: HashSet<NodeId> = HashSet::new();
        let mut read: HashSet<&str> = HashSet::new();
        let mut starts: Vec<&str> = Vec::new();
        while let Some(name) = open.pop() {
            if !read.insert(name) {
                continue;
            }
            if known(name) && !ends.contains(&name) && view.producer(name).is_some() {
                starts.push(name);
            } else if let Some((id, n)) = view.producer(name)
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
        graph.input.retain(|i| read.contains(i.name.as_str()));
        // A node with several outputs may compute a value that is known beside one that is not.
        let computed: HashSet<String> = graph.node.iter().flat_map(|n| n.output.iter().cloned()).collect();
        let starts = starts.into_iter().filter(|s| !computed.contains(*s));
        graph.input.extend(starts.map(float_value));
        graph.output = ends.iter().map(|name| float_value(name)).collect();
        graph.value_info.clear();
        let inputs = graph.input.iter().map(|i| i.name.clone()).collect();
        let bytes = Model::from_proto(proto).map_err(|e| Refusal::CheckFailed(e.to_string()))?.to_bytes();
        Ok(Self { bytes: Some(bytes.map_err(|e| Refusal::CheckFailed(e.to_string()))?), inputs })
    }

    /// Whether it is fed this value.
    pub(crate) fn reads(&self, value: &str) -> bool {
        self.inputs.contains(value)
    }

    pub(crate) fn load(&self, context: &Context<'_>, options: &LoadOptions) -> Result<Loaded, Refusal> {
        Ok(Loaded(self.bytes.as_ref().map(|bytes| context.executor.load(bytes, options)).transpose()?))
    }
}

/// A part, loaded.
pub(crate) struct Loaded(Option<Box<dyn Session>>);

impl Loaded {
    /// [`each`] of the runs; nothing is computed where the part is empty.
    pub(crate) fn each(
        &mut self,
        mut runs: Span<usize>,
        feed: impl Fn(usize) -> Tensors,
        mut take: impl FnMut(usize, &Tensors, Tensors) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match &mut self.0 {
            Some(session) => each(session.as_mut(), runs, feed, take),
            None => runs.try_for_each(|run| take(run, &feed(run), Tensors::new())),
        }
    }
}

fn float_value(name: &str) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: plimsoll_onnx::DType::F32.to_onnx(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
}
