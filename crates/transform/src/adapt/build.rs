//! Writing an adapter into a model: the interface becomes the pipeline's, the steps become nodes, and what can be folded is.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_onnx::{
    Model, check, node,
    proto::{
        GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_shape_proto::{Dimension, dimension::Value as DimValue},
        type_proto,
    },
    rename_inputs,
};
use plimsoll_profile::{Contract, Dim, Missing};

use super::{Plan, fold, plan::Port, steps::Step, writer::Writer};
use crate::{Context, Pass, PipelineError, Ranges, manager, opset, ranges, simplify, verify::Checked};

/// Adapters are written in this operator set or a later one.
const WRITTEN_IN: i64 = 13;
/// The IR version that goes with it.
const IR_VERSION: i64 = 7;
/// Rounds of passes until nothing changes.
const ROUNDS: usize = 12;

/// A model with its adapter.
#[derive(Debug)]
pub struct Adapted {
    /// The model.
    pub model: Model,
    /// What passes did to it.
    pub steps: Vec<manager::Step>,
    /// Whether folding was checked.
    pub checked: Checked,
}

/// Writes an adapter, simplifies what comes of it, and folds what is exact into neighbours.
pub fn build(contract: &Contract, model: &Model, plan: &Plan, context: &Context<'_>) -> Result<Adapted, PipelineError> {
    let refused = |why: String| PipelineError::Refused { pass: "adapt", source: crate::Refusal::CheckFailed(why) };
    let written = interface(contract, model, plan).map_err(refused)?;
    let passes: Vec<&dyn Pass> = simplify::passes().iter().copied().chain(fold::passes().iter().copied()).collect();
    // Folding is checked where nothing is missing: what gaps do is for the proof.
    let ranges: Ranges =
        contract.inputs.iter().filter_map(|i| Some((i.name.value.clone(), i.signal.range.as_ref()?.value))).collect();
    let context = Context { data: None, ranges: Some(&ranges), ..*context };
    let (folded, steps, checked) = manager::run(&written, &passes, ROUNDS, &context)?;
    let model = ceiling(contract, folded).map_err(refused)?;
    Ok(Adapted { model, steps, checked })
}

/// The adapted model as it is written at first: nothing simplified or folded.
pub(super) fn written(contract: &Contract, model: &Model, plan: &Plan) -> Result<Model, String> {
    let written = interface(contract, model, plan)?;
    ceiling(contract, fold::statically(written))
}

/// Brings the operator set under what the pipeline's executor reads.
fn ceiling(contract: &Contract, model: Model) -> Result<Model, String> {
    let most = contract.max_opset.as_ref().map_or(i64::MAX, |m| i64::try_from(m.value).unwrap_or(i64::MAX));
    if model.opset("").unwrap_or(1) <= most { Ok(model) } else { opset::lower(&model, most) }
}

fn interface(contract: &Contract, model: &Model, plan: &Plan) -> Result<Model, String> {
    let mut model = model.clone();
    if !plan.only_renames() {
        if model.opset("").unwrap_or(1) < WRITTEN_IN {
            model = opset::raised(&model, WRITTEN_IN)?;
        }
        if model.proto().ir_version < IR_VERSION {
            model = model.with_proto(raised_ir(model.proto().clone()));
        }
    }
    let mut writer = Writer::new(&model);
    let mut proto = model.proto().clone();
    let graph = proto.graph.mut_or_insert_default();
    let held: BTreeSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    make_room(graph, plan, &held, &mut writer);
    let (kept, own): (Vec<ValueInfoProto>, Vec<ValueInfoProto>) =
        std::mem::take(&mut graph.input).into_iter().partition(|v| held.contains(&v.name));
    graph.input = plan.takes.iter().map(declaration).chain(kept).collect();
    // The inner names of the model's inputs and outputs, after room was made.
    let inner_outputs: Vec<String> = graph.output.iter().map(|v| v.name.clone()).collect();
    let outer: Vec<String> = model.outputs().into_iter().map(|o| o.name).collect();
    graph.output = plan.gives.iter().map(declaration).collect();
    // What inner values have become.
    let mut now: BTreeMap<String, String> = BTreeMap::new();
    for (input, declared) in plan.inputs.iter().zip(&own) {
        let inner = &declared.name;
        let parts: Vec<String> = input.sources.iter().map(|(from, steps)| emit(&mut writer, from, steps)).collect();
        let value = match parts.as_slice() {
            [one] => one.clone(),
            several => {
                let parts: Vec<&str> = several.iter().map(String::as_str).collect();
                let axis = plimsoll_onnx::attr::from_int("axis", input.along as i64);
                writer.node("Concat", &parts, vec![axis])
            }
        };
        rename(graph, &BTreeMap::from([(inner.clone(), value.clone())]));
        now.insert(inner.clone(), value);
    }
    for output in &plan.outputs {
        let at = outer.iter().position(|o| *o == output.model).ok_or("an output is gone")?;
        let inner = now.get(&inner_outputs[at]).unwrap_or(&inner_outputs[at]).clone();
        let value = emit(&mut writer, &inner, &output.steps);
        if let Some(last) = writer.nodes.last_mut().filter(|n| !output.steps.is_empty() && n.output.contains(&value)) {
            // The last node of the adapter gives the output its name.
            last.output[0].clone_from(&output.pipeline);
            last.name.clone_from(&output.pipeline);
        } else if value == inner_outputs[at] && graph.node.iter().any(|n| n.output.contains(&value)) {
            rename_everywhere(graph, &mut writer.nodes, &value, &output.pipeline);
            now.insert(value, output.pipeline.clone());
        } else {
            let mut same = node::new("Identity", &[&value], &[&output.pipeline]);
            same.name.clone_from(&output.pipeline);
            writer.nodes.push(same);
        }
    }
    let gaps = contract.inputs.iter().filter(|i| i.signal.missing.as_ref().is_some_and(|m| m.value == Missing::Nan));
    let gaps = gaps.map(|i| (format!("{}{}", ranges::GAPS_PREFIX, i.name.value), "nan".to_owned()));
    for (key, value) in gaps.chain([(super::TERMS.to_owned(), contract.terms())]) {
        proto.metadata_props.retain(|e| e.key != key);
        proto.metadata_props.push(StringStringEntryProto { key, value, ..Default::default() });
    }
    // What is said of inner values may speak of the old interface's shapes.
    graph.value_info.clear();
    graph.initializer.extend(std::mem::take(&mut writer.constants));
    graph.node.extend(std::mem::take(&mut writer.nodes));
    sort(graph)?;
    let adapted = model.with_proto(proto);
    check(&adapted).map_err(|defect| format!("the adapted graph is not whole: {defect}"))?;
    Ok(adapted)
}

fn emit(writer: &mut Writer, from: &str, steps: &[Box<dyn Step>]) -> String {
    steps.iter().fold(from.to_owned(), |value, step| step.emit(writer, &value))
}

/// Renames every value of the model whose name the new interface needs, and the old inputs and outputs.
fn make_room(graph: &mut GraphProto, plan: &Plan, held: &BTreeSet<String>, writer: &mut Writer) {
    let mut names: BTreeSet<String> = plan.takes.iter().chain(&plan.gives).map(|p| p.name.clone()).collect();
    names.extend(graph.input.iter().map(|v| v.name.clone()).filter(|n| !held.contains(n)));
    names.extend(graph.output.iter().map(|v| v.name.clone()));
    let mut taken: BTreeSet<&str> = graph.input.iter().map(|v| v.name.as_str()).collect();
    taken.extend(graph.initializer.iter().map(|t| t.name.as_str()));
    taken.extend(graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)));
    let map: BTreeMap<String, String> = names
        .into_iter()
        .filter(|name| taken.contains(name.as_str()))
        .map(|name| {
            let new = writer.fresh(&format!("{name}_model"));
            (name, new)
        })
        .collect();
    for tensor in &mut graph.initializer {
        if let Some(new) = map.get(&tensor.name) {
            tensor.name.clone_from(new);
        }
    }
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        if let Some(new) = map.get(&value.name) {
            value.name.clone_from(new);
        }
    }
    for n in &mut graph.node {
        for output in &mut n.output {
            if let Some(new) = map.get(output) {
                output.clone_from(new);
            }
        }
    }
    rename(graph, &map);
}

/// Renames what nodes read.
fn rename(graph: &mut GraphProto, map: &BTreeMap<String, String>) {
    graph.node.iter_mut().for_each(|n| rename_inputs(n, &|name| map.get(name).cloned()));
}

fn rename_everywhere(graph: &mut GraphProto, more: &mut [NodeProto], from: &str, to: &str) {
    for n in graph.node.iter_mut().chain(more) {
        rename_inputs(n, &|name| (name == from).then(|| to.to_owned()));
        n.output.iter_mut().filter(|o| *o == from).for_each(|o| to.clone_into(o));
    }
}

fn declaration(port: &Port) -> ValueInfoProto {
    let dim = |d: &Dim| {
        let value = match d {
            Dim::Fixed(n) => DimValue::DimValue(*n as i64),
            Dim::Named(name) => DimValue::DimParam(name.clone()),
        };
        Dimension { value: Some(value), ..Default::default() }
    };
    let shape = TensorShapeProto { dim: port.dims.iter().map(dim).collect(), ..Default::default() };
    let kind = type_proto::Tensor { elem_type: port.dtype.to_onnx(), shape: Some(shape).into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(kind)), ..Default::default() };
    ValueInfoProto { name: port.name.clone(), type_: Some(kind).into(), ..Default::default() }
}

/// Before IR version 4 initializers were inputs as well, which nobody could override; since then one could.
fn raised_ir(mut proto: ModelProto) -> ModelProto {
    if proto.ir_version < 4
        && let Some(graph) = proto.graph.as_mut()
    {
        let held: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        graph.input.retain(|v| !held.contains(v.name.as_str()));
    }
    proto.ir_version = IR_VERSION;
    proto
}

/// Brings nodes into an order in which everything is computed before it is read; otherwise as they were.
fn sort(graph: &mut GraphProto) -> Result<(), String> {
    let mut waiting: Vec<Option<NodeProto>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    let producers: BTreeMap<String, usize> = waiting
        .iter()
        .enumerate()
        .flat_map(|(i, n)| n.iter().flat_map(|n| &n.output).filter(|o| !o.is_empty()).map(move |o| (o.clone(), i)))
        .collect();
    let mut open: Vec<(usize, bool)> = (0..waiting.len()).rev().map(|i| (i, false)).collect();
    let mut begun = vec![false; waiting.len()];
    while let Some((i, ready)) = open.pop() {
        let Some(n) = &waiting[i] else { continue };
        if ready {
            graph.node.extend(waiting[i].take());
            continue;
        }
        if std::mem::replace(&mut begun[i], true) {
            return Err("the adapter reads what it computes".into());
        }
        open.push((i, true));
        let captured = plimsoll_onnx::captured_names(n);
        let read = n.input.iter().map(String::as_str).chain(captured);
        let needs: BTreeSet<usize> = read.filter_map(|name| producers.get(name).copied()).collect();
        open.extend(needs.into_iter().rev().filter(|&p| waiting[p].is_some()).map(|p| (p, false)));
    }
    Ok(())
}
