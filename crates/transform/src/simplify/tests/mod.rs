//! Each pass against the models that would catch it out. What is simplified is run before and after, on drawn inputs.

mod folding;
mod layers;
mod linear;
mod lookup;
mod nested;
mod reshaping;
mod structure;

use plimsoll_onnx::{Model, node};
use plimsoll_runtime::TractExecutor;

use super::*;
use crate::{Outcome, Ranges};

/// Simplifies, holds the operators of the result against `expected` (in stored order, separated by spaces), and asks that the
/// result be checked by running it.
fn check(model: &Model, expected: &str) -> Model {
    check_within(model, [-2.0, 2.0], expected)
}

/// The same with inputs drawn from another range.
fn check_within(model: &Model, range: [f64; 2], expected: &str) -> Model {
    let (found, _, checked) = simplified_within(model, range);
    assert_eq!(operators(&found), expected);
    assert!(matches!(checked, Checked::Same { .. }), "{checked:?}");
    found
}

/// The same for a model that is not run.
fn check_unrun(model: &Model, expected: &str) -> Model {
    let (found, _, _) = simplified(model);
    assert_eq!(operators(&found), expected);
    found
}

fn simplified(model: &Model) -> (Model, Vec<Step>, Checked) {
    simplified_within(model, [-2.0, 2.0])
}

fn simplified_within(model: &Model, range: [f64; 2]) -> (Model, Vec<Step>, Checked) {
    let ranges: Ranges = model.inputs().into_iter().map(|i| (i.name, range)).collect();
    let context = Context { ranges: Some(&ranges), ..Context::new(&TractExecutor) };
    let found = simplify(model, &context).unwrap();
    // Nothing is left to do, and what was not touched is still there.
    let (_, again, _) = simplify(&found.0, &context).unwrap();
    assert!(again.iter().all(|s| s.outcome != Outcome::Applied), "{again:?}");
    assert_eq!((found.0.inputs(), found.0.outputs()), (model.inputs(), model.outputs()));
    found
}

fn operators(model: &Model) -> String {
    let names = model.graph().node.iter().map(|n| n.op_type.as_str());
    names.collect::<Vec<_>>().join(" ")
}

fn weights(model: &Model) -> Vec<&str> {
    model.graph().initializer.iter().map(|t| t.name.as_str()).collect()
}

/// The slice that ships is in the order that its passes ask for, and a pass that stands too early is refused.
#[test]
fn order_is_data() {
    let names: Vec<&str> = passes().iter().map(|p| p.name()).collect();
    for (i, pass) in passes().iter().enumerate() {
        for after in pass.after() {
            assert!(names.contains(after), "`{}` names `{after}`, which is no pass", pass.name());
            assert!(names[..i].contains(after), "`{}` stands before `{after}`", pass.name());
        }
    }
    let mut reversed = passes().to_vec();
    reversed.reverse();
    let model = crate::prune::testing::random(1);
    let error = manager::run(&model, &reversed, 1, &Context::new(&TractExecutor)).unwrap_err();
    assert!(matches!(error, PipelineError::Order { .. }), "{error}");
}

#[test]
fn random_graphs_stay_what_they_compute() {
    for seed in 0..60 {
        let model = crate::prune::testing::random(seed);
        let (found, _, checked) = simplified(&model);
        assert!(matches!(checked, Checked::Same { .. }), "seed {seed}: {checked:?}");
        assert!(found.graph().node.iter().all(|n| !node::is(n, "Identity")), "seed {seed}");
    }
}
