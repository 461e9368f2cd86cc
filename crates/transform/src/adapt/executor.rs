//! What the pipeline's executor reads: operator set and operators.

use plimsoll_onnx::Model;
use plimsoll_profile::Contract;

use super::{
    Plan, build,
    point::{Fit, Point, Points},
};
use crate::opset;

/// The model's operator set against the highest that is read.
pub(super) fn operator_set(contract: &Contract, model: &Model, all: &mut Vec<Point>) {
    let Some(most) = &contract.max_opset else { return };
    let has = model.opset("").unwrap_or(1);
    let mut points = Points { side: "executor", name: "operator set".into(), all, span: most.span };
    let both = [format!("at most {}", most.value), has.to_string()];
    let most = i64::try_from(most.value).unwrap_or(i64::MAX);
    if has <= most {
        points.fits("opset", both);
    } else {
        match opset::lower(model, most) {
            Ok(_) => points.say("opset", Fit::Adapts, both, format!("written in version {most}"), None),
            Err(why) => points.say("opset", Fit::Never, both, why, None),
        }
    }
}

/// The operators of the model, with its adapter where there is one, against those that the executor has.
pub(super) fn operators(contract: &Contract, model: &Model, plan: Option<&Plan>, all: &mut Vec<Point>) {
    let Some(allowed) = &contract.operators else { return };
    let own = model.operators();
    let mut points = Points { side: "executor", name: "operators".into(), all, span: allowed.span };
    let adapted = match plan.map(|plan| build::written(contract, model, plan)) {
        None => own.clone(),
        Some(Ok(adapted)) => adapted.operators(),
        Some(Err(why)) => {
            let both = [format!("{} allowed", allowed.value.len()), own.len().to_string()];
            return points.say("operators", Fit::Never, both, why, None);
        }
    };
    let lacking: Vec<&String> = adapted.iter().filter(|op| !allowed.value.contains(op)).collect();
    let both = [format!("{} allowed", allowed.value.len()), format!("{} used", adapted.len())];
    if lacking.is_empty() {
        return points.fits("operators", both);
    }
    let (of_model, of_adapter): (Vec<&String>, Vec<&String>) = lacking.into_iter().partition(|op| own.contains(*op));
    let list = |ops: &[&String]| ops.iter().map(|o| o.as_str()).collect::<Vec<_>>().join(", ");
    let mut notes = Vec::new();
    if !of_model.is_empty() {
        notes.push(format!("the model needs {}", list(&of_model)));
    }
    if !of_adapter.is_empty() {
        notes.push(format!("the adapter needs {}", list(&of_adapter)));
    }
    points.say("operators", Fit::Never, both, format!("{}, which the executor does not have", notes.join("; ")), None);
}
