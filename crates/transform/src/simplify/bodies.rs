//! The graphs inside `If`, `Loop` and `Scan`, simplified by the same passes.
//!
//! A body becomes a model of its own for that: what it takes from the graph around it is an input there, or a constant where it
//! is one. Shapes that a body declares for its inputs and outputs are not believed, because no executor checks them.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_onnx::{
    Model, Patch, View, captured_names, node,
    proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_shape_proto::{Dimension, dimension},
        type_proto,
    },
    shape::{self, Bindings, Dim, Shapes},
    subgraphs, subgraphs_mut,
};

use crate::{Context, Effect, Pass, Refusal};

/// Rounds over a body; what more of them would find, the next round over the whole model finds.
const ROUNDS: usize = 4;

pub(super) struct Bodies;

impl Pass for Bodies {
    fn name(&self) -> &'static str {
        "bodies"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        if model.proto().ir_version < 4 || view.nodes().all(|(_, n)| subgraphs(n).next().is_none()) {
            return Err(Refusal::NoMatch);
        }
        let shapes = shape::infer(model, &Bindings::none());
        let outer = Outer { model, view: &view, shapes: &shapes };
        let mut patch = Patch::new();
        for (id, n) in view.nodes().filter(|(_, n)| node::is_default_domain(&n.domain)) {
            let mut changed = n.clone();
            let mut reasons = Vec::new();
            for body in subgraphs_mut(&mut changed) {
                if let Some((simpler, why)) = outer.simplified(body, context) {
                    *body = simpler;
                    reasons.extend(why);
                }
            }
            if reasons.is_empty() {
                continue;
            }
            for reason in reasons {
                patch.because(format!("in {}: {reason}", node::label(n)));
            }
            patch.replace(id, vec![changed]);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// The graph around a body.
struct Outer<'o> {
    model: &'o Model,
    view: &'o View<'o>,
    shapes: &'o Shapes,
}

impl Outer<'_> {
    /// A body that does the same with less, and what was done to it.
    fn simplified(&self, body: &GraphProto, context: &Context<'_>) -> Option<(GraphProto, Vec<String>)> {
        let captured = captured(body);
        let mut model = Model::from_proto(self.as_model(body, &captured)).ok()?;
        let mut reasons = Vec::new();
        for _ in 0..ROUNDS {
            let before = reasons.len();
            for pass in super::passes() {
                let Ok(patch) = pass.run(&model, context) else { continue };
                let why = patch.reasons().to_vec();
                // A patch that does not fit leaves the body as it was.
                if patch.apply(&mut model).is_ok() {
                    reasons.extend(why);
                }
            }
            if reasons.len() == before {
                break;
            }
        }
        let declared: BTreeSet<&str> = body.value_info.iter().map(|v| v.name.as_str()).collect();
        let found = model.graph();
        let simpler = GraphProto {
            node: found.node.clone(),
            initializer: found.initializer.iter().filter(|t| !captured.contains(&t.name)).cloned().collect(),
            value_info: found.value_info.iter().filter(|v| declared.contains(v.name.as_str())).cloned().collect(),
            ..body.clone()
        };
        (!reasons.is_empty() && simpler != *body).then_some((simpler, reasons))
    }

    fn as_model(&self, body: &GraphProto, captured: &BTreeSet<String>) -> ModelProto {
        let mut graph = body.clone();
        graph.input.iter_mut().chain(&mut graph.output).for_each(forget_shape);
        for name in captured {
            match self.view.constant(name) {
                Some(tensor) => {
                    let mut tensor = tensor.clone();
                    tensor.name.clone_from(name);
                    graph.initializer.push(tensor);
                }
                None => graph.input.push(self.declaration(name)),
            }
        }
        // Names around the body are taken: a new one inside must not hide them.
        let taken = self.view.graph();
        let values = taken.node.iter().flat_map(|n| &n.output).filter(|o| !o.is_empty());
        let values = values.chain(taken.initializer.iter().map(|t| &t.name)).chain(taken.input.iter().map(|v| &v.name));
        let own: BTreeSet<String> = graph.value_info.iter().map(|v| v.name.clone()).collect();
        let named: BTreeMap<&String, ()> = values.filter(|v| !own.contains(*v)).map(|v| (v, ())).collect();
        let placeholder = |name: &String| ValueInfoProto { name: name.clone(), ..Default::default() };
        graph.value_info.extend(named.into_keys().chain(taken.value_info.iter().map(|v| &v.name)).map(placeholder));
        let around = self.model.proto();
        ModelProto {
            ir_version: around.ir_version,
            opset_import: around.opset_import.clone(),
            functions: around.functions.clone(),
            graph: Some(graph).into(),
            ..Default::default()
        }
    }

    /// What is known of a value around the body.
    fn declaration(&self, name: &str) -> ValueInfoProto {
        let found = self.shapes.get(name).cloned().unwrap_or_default();
        let Some(dtype) = found.dtype else { return ValueInfoProto { name: name.into(), ..Default::default() } };
        let dim = |d: &Dim| {
            let value = match d {
                Dim::Known(n) => i64::try_from(*n).ok().map(dimension::Value::DimValue),
                Dim::Symbol(symbol) => Some(dimension::Value::DimParam(format!("{symbol:?}"))),
            };
            Dimension { value, ..Default::default() }
        };
        let shape = found.dims.map(|d| TensorShapeProto { dim: d.iter().map(dim).collect(), ..Default::default() });
        let tensor = type_proto::Tensor { elem_type: dtype.to_onnx(), shape: shape.into(), ..Default::default() };
        let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
    }
}

fn captured(body: &GraphProto) -> BTreeSet<String> {
    let holder = NodeProto {
        attribute: vec![AttributeProto { g: Some(body.clone()).into(), ..Default::default() }],
        ..Default::default()
    };
    captured_names(&holder).into_iter().map(str::to_owned).collect()
}

fn forget_shape(value: &mut ValueInfoProto) {
    let kind = value.type_.as_mut().and_then(|t| t.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = kind {
        tensor.shape = None.into();
    }
}
