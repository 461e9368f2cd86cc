//! Adapters: a model against the contract of the pipeline that runs today, and the nodes that make it fit.
//!
//! [`compare`] holds the two against each other, point by point, and plans what an adapter has to do; [`build`] writes it into the
//! model, with what can be folded into neighbours folded; [`prove`] runs both ways on samples: "what the pipeline would have to do,
//! then the original" in plain loops, and the adapted model. This module knows contracts, and neither where recorded samples lie
//! nor what a verdict means for an exit code.

mod array;
mod build;
mod executor;
mod fold;
mod inputs;
mod outputs;
mod plan;
mod point;
mod proof;
mod steps;
mod units;
mod writer;

#[cfg(test)]
mod tests;

use plimsoll_onnx::{DType, Model, ValueSpec};
use plimsoll_profile::{Contract, ModelInput, ModelOutput, ModelSide, Signal};

use plan::{Plan as Planned, Port};
use point::Points;

pub use build::{Adapted, build};
pub use plan::Plan;
pub use point::{Fit, Point};
pub use proof::{Against, Proof, ProofError, drawn, prove};

/// The metadata key under which an adapted model says which terms it was adapted to.
pub const TERMS: &str = "plimsoll.contract";

/// A model against a contract.
#[derive(Debug)]
pub struct Comparison {
    /// Every respect, in the order of the model's inputs, the pipeline's outputs, and the executor.
    pub points: Vec<Point>,
    /// What an adapter has to do; `None` where there can be none.
    pub plan: Option<Plan>,
}

impl Comparison {
    /// The worst of all points.
    pub fn fit(&self) -> Fit {
        self.points.iter().map(|p| p.fit).max().unwrap_or(Fit::Fits)
    }
}

/// Holds a model against a contract. Nothing is run.
///
/// A model that carries an adapter for these very terms takes and gives what the pipeline does: what the contract says of the model's
/// side is of the model before. One that carries an adapter for other terms is refused, as what it computes is not known.
pub fn compare(contract: &Contract, model: &Model) -> Comparison {
    let mut points = Vec::new();
    let adapted = model.metadata(TERMS).map(|terms| terms == contract.terms());
    let bare = Contract { model: ModelSide::default(), ..contract.clone() };
    let contract = if adapted == Some(true) { &bare } else { contract };
    if let Some(same) = adapted {
        let fit = if same { Fit::Fits } else { Fit::Never };
        let note = if same { "" } else { "it carries an adapter for other terms: adapt the model that it was made of" };
        let (name, span) = ("model".into(), plimsoll_profile::Span::default());
        let mut points = Points { side: "adapter", name, all: &mut points, span };
        points.say(
            "terms",
            fit,
            ["of this contract".into(), if same { "the same" } else { "others" }.into()],
            note,
            None,
        );
    }
    let plan = planned(contract, model, &mut points);
    executor::operator_set(contract, model, &mut points);
    let whole = |points: &[Point]| points.iter().all(|p| p.fit != Fit::Never);
    let plan = plan.filter(|_| whole(&points));
    // Which operators an adapter needs is known from the adapter.
    executor::operators(contract, model, plan.as_ref(), &mut points);
    Comparison { plan: plan.filter(|_| whole(&points)), points }
}

fn planned(contract: &Contract, model: &Model, all: &mut Vec<Point>) -> Option<Planned> {
    let (takes, gives) = (model.inputs(), model.outputs());
    let mut plan = Planned::default();
    let mut whole = unknown_names(contract, &takes, &gives, all);
    for spec in &takes {
        match input(contract, spec, all) {
            Some(found) => plan.inputs.push(found),
            None => whole = false,
        }
    }
    unused(contract, &plan, all);
    for spec in &contract.outputs {
        match output(contract, spec, &gives, all) {
            Some(found) => plan.outputs.push(found),
            None => whole = false,
        }
    }
    let port = |name: &str, dtype: &str, dims: &[plimsoll_profile::Dim]| {
        Some(Port { name: name.to_owned(), dtype: DType::from_short_name(dtype)?, dims: dims.to_vec() })
    };
    plan.takes = contract.inputs.iter().filter_map(|i| port(&i.name.value, i.dtype.value, &i.shape.value)).collect();
    plan.gives = contract.outputs.iter().filter_map(|o| port(&o.name.value, o.dtype.value, &o.shape.value)).collect();
    whole.then_some(plan)
}

/// Names of the model's side that the ONNX file does not have.
fn unknown_names(contract: &Contract, takes: &[ValueSpec], gives: &[ValueSpec], all: &mut Vec<Point>) -> bool {
    let mut whole = true;
    let mut check = |side: &'static str, name: &plimsoll_profile::Spanned<String>, has: &[ValueSpec]| {
        if has.iter().any(|v| v.name == name.value) {
            return;
        }
        whole = false;
        let names: Vec<&str> = has.iter().map(|v| v.name.as_str()).collect();
        let note = format!("the model has no {side} of this name; it has {}", names.join(", "));
        let mut points = Points { side, name: name.value.clone(), all, span: name.span };
        points.never::<()>("name", [name.value.clone(), "–".into()], note, Some(name.span));
    };
    contract.model.inputs.iter().for_each(|i| check("input", &i.name, takes));
    contract.model.outputs.iter().for_each(|o| check("output", &o.name, gives));
    whole
}

fn input(contract: &Contract, spec: &ValueSpec, all: &mut Vec<Point>) -> Option<plan::InputPlan> {
    let said = contract.model.inputs.iter().find(|i| i.name.value == spec.name);
    let own = contract.inputs.iter().find(|i| i.name.value == spec.name);
    let none = |name: &plimsoll_profile::Spanned<String>| ModelInput {
        name: name.clone(),
        from: vec![name.clone()],
        along: None,
        take: None,
        axes: None,
        signal: Signal::default(),
        fill: None,
        align: None,
        pad: None,
    };
    let said = said.cloned().or(own.map(|i| none(&i.name)));
    let Some(said) = said else {
        let mut points =
            Points { side: "input", name: spec.name.clone(), all, span: plimsoll_profile::Span::default() };
        let names: Vec<&str> = contract.inputs.iter().map(|i| i.name.value.as_str()).collect();
        let note = format!(
            "the pipeline delivers no `{}`; where it is there under another name, write [[model.inputs]] with name and from (one of {})",
            spec.name,
            names.join(", ")
        );
        return points.never(
            "signal",
            ["–".into(), spec.name.clone()],
            note,
            contract.inputs.first().map(|i| i.name.span),
        );
    };
    let mut points = Points { side: "input", name: spec.name.clone(), all, span: said.name.span };
    let names: Vec<&str> = said.from.iter().map(|f| f.value.as_str()).collect();
    let fit = if names == [spec.name.as_str()] { Fit::Fits } else { Fit::Adapts };
    let note = if fit == Fit::Fits { "" } else { "under another name" };
    points.say("signal", fit, [names.join(", "), spec.name.clone()], note, said.from.first().map(|f| f.span));
    inputs::plan(contract, spec, &said, &mut points)
}

/// What the pipeline delivers and the model does not take: it is taken, and dropped.
fn unused(contract: &Contract, plan: &Planned, all: &mut Vec<Point>) {
    let used = |name: &str| plan.inputs.iter().any(|i| i.sources.iter().any(|(from, _)| from == name));
    let said = |name: &str| contract.model.inputs.iter().any(|i| i.from.iter().any(|f| f.value == name));
    for input in contract.inputs.iter().filter(|i| !used(&i.name.value) && !said(&i.name.value)) {
        let name = &input.name.value;
        if all.iter().any(|p| p.side == "input" && p.name == *name) {
            continue;
        }
        let mut points = Points { side: "input", name: name.clone(), all, span: input.name.span };
        points.say("signal", Fit::Adapts, [name.clone(), "–".into()], "it is taken and not used", None);
    }
}

fn output(
    contract: &Contract,
    spec: &plimsoll_profile::OutputSpec,
    gives: &[ValueSpec],
    all: &mut Vec<Point>,
) -> Option<plan::OutputPlan> {
    let feeds = |o: &&ModelOutput| o.to.iter().any(|to| to.value == spec.name.value);
    let said = contract.model.outputs.iter().find(feeds);
    let name = said.map_or(&spec.name.value, |s| &s.name.value);
    let mut points = Points { side: "output", name: spec.name.value.clone(), all, span: spec.name.span };
    let Some(given) = gives.iter().find(|v| v.name == *name) else {
        let names: Vec<&str> = gives.iter().map(|v| v.name.as_str()).collect();
        let note = format!(
            "the model gives no `{name}`; where it is there under another name, write [[model.outputs]] with name (one of {}) and to",
            names.join(", ")
        );
        return points.never("signal", [spec.name.value.clone(), "–".into()], note, None);
    };
    let fit = if given.name == spec.name.value { Fit::Fits } else { Fit::Adapts };
    let note = if fit == Fit::Fits { "" } else { "under another name" };
    points.say("signal", fit, [spec.name.value.clone(), given.name.clone()], note, None);
    outputs::plan(spec, given, said, &mut points)
}
