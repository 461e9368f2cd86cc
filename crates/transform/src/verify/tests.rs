//! Where inputs come from, and what counts as a difference.

use std::{collections::BTreeMap, path::Path};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{Tensor, attr, node};
use plimsoll_runtime::TractExecutor;

use super::*;
use crate::{
    Ranges,
    testing::{F32, I64, Net},
};

fn relu() -> Net {
    Net::new().input("x", F32, &[-1, 4]).node(node::new("Relu", &["x"], &["y"])).output("y", F32)
}

/// Compares a model with another, and says what came of it in one word.
fn check(before: &Model, after: &Model, context: &Context<'_>, expected: &str) {
    let found = match same(before, after, context) {
        Ok(Checked::Same { source, .. }) => source.to_owned(),
        Ok(Checked::NotChecked(why)) => format!("not checked: {why}"),
        Err(Difference::Values { .. }) => "values".into(),
        Err(Difference::Type(_)) => "type".into(),
        Err(Difference::Run(_)) => "does not run".into(),
    };
    assert!(found.starts_with(expected), "{found}");
}

fn ranges(name: &str, lo: f64, hi: f64) -> Ranges {
    BTreeMap::from([(name.to_owned(), [lo, hi])])
}

#[test]
fn without_samples_and_ranges_nothing_is_claimed() {
    let model = relu().build();
    check(
        &model,
        &model,
        &Context::new(&TractExecutor),
        "not checked: no samples were given, and no range of input `x`",
    );
}

#[test]
fn declared_and_recorded_ranges_are_drawn_from() {
    let model = relu().build();
    let declared = ranges("x", -1.0, 1.0);
    let context = Context { ranges: Some(&declared), ..Context::new(&TractExecutor) };
    check(&model, &model, &context, "drawn");
    let negative = Net::new().input("x", F32, &[-1, 4]).node(node::new("Neg", &["x"], &["y"])).output("y", F32).build();
    check(&model, &negative, &context, "values");
    // Within this range the two differ by a sign that Relu takes away: the range decides.
    let always_zero = ranges("x", 0.0, 0.0);
    check(&model, &negative, &Context { ranges: Some(&always_zero), ..context }, "drawn");
    let mut recorded = model.clone();
    let mut patch = plimsoll_onnx::Patch::new();
    for (key, text) in ranges::records(&Tensors::from([("x".into(), Tensor::vector(&[-1.5f32, f32::NAN, 3.0]))])) {
        assert_eq!((key.as_str(), text.as_str()), ("plimsoll.range.x", "-1.5..3"));
        patch.set_metadata(&key, &text);
    }
    patch.apply(&mut recorded).unwrap();
    check(&recorded, &negative, &Context::new(&TractExecutor), "values");
    assert_eq!(ranges::of(&recorded, None), Ok(ranges("x", -1.5, 3.0)));
    // What is declared counts before what is recorded.
    assert_eq!(ranges::of(&recorded, Some(&declared)), Ok(declared.clone()));
}

#[test]
fn impossible_ranges_are_named() {
    let model = relu().build();
    for (lo, hi) in [(1.0, -1.0), (f64::NAN, 1.0), (f64::NEG_INFINITY, 0.0)] {
        let declared = ranges("x", lo, hi);
        let context = Context { ranges: Some(&declared), ..Context::new(&TractExecutor) };
        check(&model, &model, &context, "not checked: the range");
    }
    let mut recorded = model.clone();
    let mut patch = plimsoll_onnx::Patch::new();
    patch.set_metadata("plimsoll.range.x", "wide");
    patch.apply(&mut recorded).unwrap();
    check(&recorded, &model, &Context::new(&TractExecutor), "not checked: the recorded range `wide`");
}

#[test]
fn indices_stay_within_what_they_index() {
    let net = Net::new().input("i", I64, &[-1, 3]).random("table", &[7, 2]);
    let net = net.node(node::with("Cast", &["i"], &["k"], vec![attr::from_int("to", 6)]));
    let model = net.node(node::new("Gather", &["table", "k"], &["y"])).output("y", F32).build();
    assert_eq!(ranges::of(&model, None), Ok(ranges("i", 0.0, 6.0)));
    check(&model, &model, &Context::new(&TractExecutor), "drawn");
    let net = Net::new().input("i", I64, &[-1, 1]).weight("codes", &Tensor::vector(&[3i64, 4, 5]));
    let net = net.node(node::new("Equal", &["i", "codes"], &["e"]));
    let net = net.node(node::with("Cast", &["e"], &["y"], vec![attr::from_int("to", 1)]));
    assert_eq!(ranges::of(&net.output("y", F32).build(), None), Ok(ranges("i", 3.0, 5.0)));
    // A number that indexes nothing has no range.
    let net = Net::new().input("i", I64, &[-1]).node(node::new("Neg", &["i"], &["y"])).output("y", I64);
    assert!(ranges::of(&net.build(), None).is_err());
}

#[test]
fn given_samples_count_before_ranges() {
    let model = relu().build();
    let samples = Tensors::from([("x".into(), Tensor::from_elements(&[3, 4], &[0.5f32; 12]).unwrap())]);
    let data = Dataset::new(Path::new("memory"), samples, None, None).unwrap();
    let context = Context::new(&TractExecutor).with_data(&data);
    assert_eq!(same(&model, &model, &context), Ok(Checked::Same { samples: 3, source: "given" }));
    // A fixed batch takes its own number at a time.
    let fixed = Net::new().input("x", F32, &[1, 4]).node(node::new("Relu", &["x"], &["y"])).output("y", F32).build();
    assert_eq!(same(&fixed, &fixed, &context), Ok(Checked::Same { samples: 3, source: "given" }));
}

#[test]
fn a_model_that_does_not_run_any_more_is_a_difference() {
    let model = relu().build();
    let unknown = Net::new().input("x", F32, &[-1, 4]).node(node::new("NoSuchOperator", &["x"], &["y"]));
    let unknown = unknown.output("y", F32).build();
    let declared = ranges("x", -1.0, 1.0);
    let context = Context { ranges: Some(&declared), ..Context::new(&TractExecutor) };
    check(&model, &unknown, &context, "does not run");
    check(&unknown, &model, &context, "not checked: the original does not run");
}

#[test]
fn differences_are_found_by_value_type_and_shape() {
    let one = |t: Tensor| Tensors::from([("y".into(), t)]);
    let a = one(Tensor::vector(&[1f32, f32::NAN, f32::INFINITY]));
    assert!(compare(&a, &a, "given").is_ok());
    assert!(compare(&a, &one(Tensor::vector(&[1f32, 0.0, f32::INFINITY])), "given").is_err());
    assert!(compare(&a, &one(Tensor::vector(&[1f32, f32::NAN, 1e30])), "given").is_err());
    assert!(compare(&a, &one(Tensor::vector(&[1.000_01f32, f32::NAN, f32::INFINITY])), "given").is_ok());
    assert!(compare(&a, &one(Tensor::vector(&[1f64, f64::NAN, f64::INFINITY])), "given").is_err());
    assert!(compare(&a, &Tensors::new(), "given").is_err());
    assert!(compare(&one(Tensor::vector(&[5i64])), &one(Tensor::vector(&[6i64])), "given").is_err());
}
