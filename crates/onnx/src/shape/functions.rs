//! Calls of the model's functions: each is followed with the arguments and the attributes of the call.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use onnx_protobuf::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};

use super::{Body, Infer, Inner, Runs, Shapes, bodies::Types};
use crate::{Model, NodeId, node};

/// The functions of a model by domain and name.
pub(super) struct Functions<'m> {
    pub(super) by_name: HashMap<(&'m str, &'m str), &'m FunctionProto>,
    pub(super) ir_version: i64,
    opset: i64,
}

impl<'m> Functions<'m> {
    pub(super) fn of(model: &'m Model) -> Self {
        let proto: &'m ModelProto = model.proto();
        // Overloads are told apart by a field that nodes of older files lack; of several none is followed.
        let mut by_name = HashMap::new();
        let mut twice = HashSet::new();
        for f in &proto.functions {
            let key = (f.domain.as_str(), f.name.as_str());
            if by_name.insert(key, f).is_some() {
                twice.insert(key);
            }
        }
        by_name.retain(|key, _| !twice.contains(key));
        Self { by_name, ir_version: proto.ir_version, opset: model.opset("").unwrap_or(1) }
    }
}

impl Infer<'_> {
    /// Follows a call of one of the model's functions, which sees its arguments alone.
    pub(super) fn call(&mut self, id: NodeId, n: &NodeProto, function: &FunctionProto) -> Types {
        self.left = self.left.checked_sub(function.node.len() + 1)?;
        let value = |name: &String| ValueInfoProto { name: name.clone(), ..Default::default() };
        let graph = GraphProto {
            node: function.node.iter().map(|body| with_arguments(body, n, function)).collect(),
            input: function.input.iter().map(value).collect(),
            output: function.output.iter().map(value).collect(),
            value_info: function.value_info.clone(),
            ..Default::default()
        };
        let default = function.opset_import.iter().find(|o| node::is_default_domain(&o.domain));
        let mut shapes = Shapes::default();
        let mut given = HashMap::new();
        for (slot, formal) in function.input.iter().enumerate() {
            let Some(actual) = node::input(n, slot) else { continue };
            given.extend(self.constant_proto(actual).map(|t| (formal.as_str(), t)));
            shapes.elements.extend(self.shapes.elements.get(actual).map(|e| (formal.clone(), e.clone())));
        }
        let inputs = (0..function.input.len()).map(|i| self.like(n, i)).collect();
        let opset = default.map_or(self.functions.opset, |o| o.version);
        let mut inner = Infer { given, opset, ..self.nested(&graph, shapes) };
        let found = inner.follow(&graph, inputs);
        let (next, left) = (inner.next, inner.left);
        (self.next, self.left) = (next, left);
        let shapes = found?;
        let types = |o: &ValueInfoProto| shapes.get(&o.name).cloned().unwrap_or_default();
        let outputs = graph.output.iter().map(types).collect();
        if let (Some(output), Some(inner)) = (n.output.first(), graph.output.first())
            && let Some(elements) = shapes.elements(&inner.name)
        {
            self.shapes.elements.insert(output.clone(), elements.to_vec());
        }
        let body = Body { shapes, called: Some(Arc::new(graph)) };
        self.shapes.inner.insert(id, Inner { bodies: vec![body], runs: Runs::Exactly(1) });
        Some(outputs)
    }
}

/// A node of a function with the attributes of a call in the places that name them.
fn with_arguments(body: &NodeProto, call: &NodeProto, function: &FunctionProto) -> NodeProto {
    let mut out = body.clone();
    let resolve = |a: &AttributeProto| -> Option<AttributeProto> {
        if a.ref_attr_name.is_empty() {
            return Some(a.clone());
        }
        let given = call.attribute.iter().chain(&function.attribute_proto).find(|g| g.name == a.ref_attr_name)?;
        Some(AttributeProto { name: a.name.clone(), ..given.clone() })
    };
    out.attribute = body.attribute.iter().filter_map(resolve).collect();
    for graph in crate::subgraphs_mut(&mut out) {
        for n in &mut graph.node {
            *n = with_arguments(n, call, function);
        }
    }
    out
}
