//! What ranking and targets must not get wrong, on small models in the default executor.

use std::{collections::BTreeMap, path::Path};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{Model, Patch, Tensor, Tensors, attr, node};
use plimsoll_runtime::TractExecutor;

use super::*;
use crate::{
    prune::testing::{Builder, Dice, output, patched},
    quantize::{Granularity, Portion, QuantizedNode, Scheme, Target, pass},
};

/// Four products and a rectifier; one weight of the second has an outlier beside which all others round to zero under one scale.
fn net(seed: u64, outlier: f32) -> Model {
    let mut b = Builder::new(seed, &[1, 24]);
    // What the outlier multiplies is always zero: it does nothing but widen the scale.
    let mut values = b.dice.tensor(&[24, 48]).to_f32().unwrap();
    values.iter_mut().skip(7).step_by(48).for_each(|v| *v = 0.0);
    let w = b.hold(&Tensor::from_elements(&[24, 48], &values).unwrap());
    let x = b.add("MatMul", &["x", &w], vec![]);
    let x = b.add("Relu", &[&x], vec![]);
    let mut values = b.dice.tensor(&[48, 48]).to_f32().unwrap();
    values[48 * 7 + 5] = outlier;
    let w = b.hold(&Tensor::from_elements(&[48, 48], &values).unwrap());
    let x = b.add("MatMul", &[&x, &w], vec![]);
    let w = b.weight(&[48, 32]);
    let x = b.add("MatMul", &[&x, &w], vec![]);
    let w = b.weight(&[32, 5]);
    let y = b.add("MatMul", &[&x, &w], vec![]);
    b.finish(&y, &[1, 5])
}

fn samples(n: usize, shape: &[usize], label: Option<Vec<i64>>) -> Dataset {
    let shape: Vec<usize> = std::iter::once(n).chain(shape.iter().copied()).collect();
    let inputs = Tensors::from([("x".to_owned(), Dice(99).tensor(&shape))]);
    Dataset::new(Path::new("memory"), inputs, label, None).unwrap()
}

fn options(target: Target) -> QuantizeOptions {
    let granularity = Granularity::PerTensor;
    QuantizeOptions { granularity, repair: Some(Repair::None), target, ..QuantizeOptions::new(Scheme::Int8Weights) }
}

fn agreement(least: f64) -> Target {
    Target { min_agreement: Portion::new(least), max_drop: None }
}

fn check(model: &Model, options: &QuantizeOptions, data: &Dataset) -> Result<Patch, Refusal> {
    pass(options.clone()).run(model, &Context::new(&TractExecutor).with_data(data))
}

fn ranked(model: &Model, options: &QuantizeOptions, data: &Dataset) -> Vec<NodeCost> {
    sensitivity(model, options, &Context::new(&TractExecutor).with_data(data)).unwrap()
}

#[test]
fn the_node_that_ruins_the_outputs_stands_first() {
    let model = net(1, 600.0);
    let second = model.graph().node[2].output[0].clone();
    for scheme in [Scheme::Int8Weights, Scheme::Int8] {
        let found =
            ranked(&model, &QuantizeOptions { scheme, ..options(Target::default()) }, &samples(64, &[24], None));
        assert_eq!(found[0].outputs, std::slice::from_ref(&second), "{scheme}");
        assert!(found[0].damage.cost() > 10.0 * found[1].damage.cost(), "{scheme}: {found:?}");
        assert!(found[0].bytes_saved > 6000, "{scheme}: {found:?}");
    }
}

#[test]
fn only_what_ruins_the_target_stays_in_float() {
    let (model, data) = (net(1, 600.0), samples(400, &[24], None));
    let all = check(&model, &options(agreement(0.0)), &data).unwrap();
    let most = check(&model, &options(agreement(0.97)), &data).unwrap();
    let second = &model.graph().node[2].output[0];
    let quantized = |patch: Patch| quantized_of(&model, &patched(&model, patch), &BTreeMap::new());
    assert!(quantized(all).contains(second));
    let told = most.reasons().iter().any(|r| r.contains("1 of 3 stay in float") && r.contains("on 100 held-back"));
    assert!(told, "{:?}", most.reasons());
    let found = quantized(most);
    assert!(found.len() == 2 && !found.contains(second), "{found:?}");
}

#[test]
fn four_bits_that_miss_the_target_become_eight_before_they_become_float() {
    let (model, data) = (net(1, 1.0), samples(400, &[24], None));
    let scheme = Scheme::Int4Weights;
    let options = |target| QuantizeOptions {
        scheme,
        repair: Some(Repair::None),
        granularity: Granularity::PerChannel,
        target,
        ..QuantizeOptions::new(scheme)
    };
    let mut b = model.proto().clone();
    b.opset_import[0].version = 21;
    let model = Model::from_proto(b).unwrap();
    let forms = |patch: Patch| -> Vec<String> {
        let found = quantized_nodes(&patched(&model, patch));
        found.into_iter().map(|n| n.form).collect()
    };
    let loose = check(&model, &options(Target::default()), &data).unwrap();
    let strict = check(&model, &options(agreement(0.99)), &data).unwrap();
    assert!(strict.reasons().iter().any(|r| r.contains("get 8 bits")), "{:?}", strict.reasons());
    let (loose, strict) = (forms(loose), forms(strict));
    let count = |forms: &[String], form: &str| forms.iter().filter(|f| *f == form).count();
    assert_eq!(loose.len(), strict.len());
    assert!(count(&strict, "int4 weights") < count(&loose, "int4 weights"), "{loose:?} {strict:?}");
    assert!(count(&strict, "int8 weights") > count(&loose, "int8 weights"), "{loose:?} {strict:?}");
}

#[test]
fn a_target_out_of_reach_is_refused_with_the_best_that_was_reached() {
    let data = samples(64, &[24], None);
    let strict = Target { max_drop: Portion::new(0.0), min_agreement: None };
    // Nothing that is rounded has outputs equal to the original's; the model has no classes.
    let mut b = Builder::new(5, &[1, 24]);
    let (v, w) = (b.weight(&[24, 48]), b.weight(&[48, 40]));
    let x = b.add("MatMul", &["x", &v], vec![]);
    let x = b.add("MatMul", &[&x, &w], vec![]);
    let shape = b.hold(&Tensor::vector(&[1i64, 2, 20]));
    let y = b.add("Reshape", &[&x, &shape], vec![]);
    let error = check(&b.finish(&y, &[1, 2, 20]), &options(strict), &data).unwrap_err().to_string();
    assert!(error.contains("out of reach") && error.contains("relative output error 0.0"), "{error}");
}

#[test]
fn agreement_of_what_is_no_class_is_not_made_up() {
    let mut b = Builder::new(5, &[1, 3, 8, 8]);
    let y = b.conv("x", 3, 16, 3);
    let model = b.finish(&y, &[1, 16, 8, 8]);
    let error = check(&model, &options(agreement(0.5)), &samples(16, &[3, 8, 8], None)).unwrap_err();
    assert!(error.to_string().contains("class scores"), "{error}");
}

#[test]
fn a_drop_of_accuracy_is_measured_where_there_are_labels() {
    let (model, plain) = (net(1, 600.0), samples(200, &[24], None));
    // Labels that the original never hits: its accuracy is 0 and cannot fall, however many classes change.
    let label = (0..200).map(|i| {
        let scores = output(&model, &plain.sample(i));
        let worst = (0..scores.len()).min_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
        i64::try_from(worst).unwrap()
    });
    let data = samples(200, &[24], Some(label.collect()));
    let target = Target { min_agreement: None, max_drop: Portion::new(0.0) };
    let patch = check(&model, &options(target), &data).unwrap();
    let says = |reasons: &[String], what: [&str; 2]| reasons.iter().any(|r| what.iter().all(|w| r.contains(w)));
    assert!(says(patch.reasons(), ["accuracy drop", "every node"]), "{:?}", patch.reasons());
    match check(&model, &options(target), &plain) {
        Ok(patch) => assert!(says(patch.reasons(), ["share of changed classes 0.0000", "stay in float"])),
        Err(error) => assert!(error.to_string().contains("share of changed classes"), "{error}"),
    }
}

#[test]
fn held_back_samples_are_not_calibrated_with() {
    let data = samples(41, &[24], Some((0..41).collect()));
    let (calibration, held) = split(&net(1, 1.0), &data).unwrap();
    assert!(calibration.overlap(&held).is_empty());
    assert_eq!((calibration.len(), held.len()), (31, 10));
    assert_eq!(held.label().unwrap()[..3], [3, 7, 11]);
    assert_eq!(held.overlap(&data)[1], (1, 7));
    assert!(matches!(split(&net(1, 1.0), &samples(3, &[24], None)), Err(Refusal::CheckFailed(_))));
}

#[test]
fn nodes_that_share_a_weight_are_judged_together() {
    let mut b = Builder::new(2, &[1, 24]);
    let w = b.weight(&[24, 24]);
    let x = b.add("MatMul", &["x", &w], vec![]);
    let x = b.add("Relu", &[&x], vec![]);
    let y = b.add("MatMul", &[&x, &w], vec![]);
    let v = b.weight(&[24, 12]);
    let y = b.add("MatMul", &[&y, &v], vec![]);
    let found = ranked(&b.finish(&y, &[1, 12]), &options(Target::default()), &samples(32, &[24], None));
    let mut sizes: Vec<usize> = found.iter().map(|c| c.outputs.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2]);
}

#[test]
fn a_model_of_very_many_nodes_takes_a_bounded_number_of_trials() {
    let mut b = Builder::new(2, &[1, 16]);
    let mut x = "x".to_owned();
    for _ in 0..150 {
        let w = b.weight(&[16, 16]);
        x = b.add("MatMul", &[&x, &w], vec![]);
        x = b.add("Sigmoid", &[&x], vec![]);
    }
    let model = b.finish(&x, &[1, 16]);
    let outputs: Vec<String> = model.graph().node.iter().map(|n| n.output[0].clone()).collect();
    let found = units(&model, &outputs);
    assert!(found.len() <= UNITS, "{}", found.len());
    assert_eq!(found.iter().flatten().count(), 150);
}

#[test]
fn four_bit_weights_are_run_as_the_values_that_they_stand_for() {
    let codes = Tensor::new(plimsoll_onnx::DType::I4, vec![2, 3], vec![0x21, 0xf3, 0x87]).unwrap();
    for (scale, axis, expected) in [
        (Tensor::scalar(0.5f32), None, [0.5, 1.0, 1.5, -0.5, 3.5, -4.0]),
        (Tensor::vector(&[1.0f32, 10.0]), Some(0), [1.0, 2.0, 3.0, -10.0, 70.0, -80.0]),
        (Tensor::vector(&[1.0f32, 10.0, 100.0]), Some(-1), [1.0, 20.0, 300.0, -1.0, 70.0, -800.0]),
    ] {
        let mut b = Builder::new(1, &[1, 2]);
        b.opset = 21;
        let (w, s) = (b.hold(&codes), b.hold(&scale));
        let attributes = axis.map(|a| attr::from_int("axis", a)).into_iter().collect();
        let d = b.add("DequantizeLinear", &[&w, &s], attributes);
        let y = b.add("MatMul", &["x", &d], vec![]);
        let changed = runnable(&b.finish(&y, &[1, 3])).unwrap();
        let found = Tensor::from_proto(changed.view().initializer(&d).unwrap()).unwrap().to_f32().unwrap();
        assert_eq!(found, expected);
        assert!(changed.graph().node.iter().all(|n| !node::is(n, "DequantizeLinear")));
    }
}

#[test]
fn integer_kernels_of_other_tools_are_recognised() {
    let mut b = Builder::new(1, &[1, 8]);
    (0..9).for_each(|_| drop(b.name()));
    let w = b.weight(&[8, 8]);
    let y = b.add("MatMul", &["x", &w], vec![]);
    let original = b.finish(&y, &[1, 8]);
    // Dynamic quantization: the float node's value is what rescaling ends in.
    let mut b = Builder::new(1, &[1, 8]);
    let w = b.weight(&[8, 8]);
    let integer = b.add("MatMulInteger", &["x", &w], vec![]);
    let cast = b.add("Cast", &[&integer], vec![attr::from_int("to", 1)]);
    let mut proto = b.finish(&cast, &[1, 8]).proto().clone();
    let graph = proto.graph.mut_or_insert_default();
    graph.node[1].output = vec![y.clone()];
    graph.output[0].name = y.clone();
    let dynamic = Model::from_proto(proto).unwrap();
    assert_eq!(quantized_of(&original, &dynamic, &BTreeMap::new()), [y]);
    assert!(matches!(&quantized_nodes(&dynamic)[..], [QuantizedNode { form, .. }] if form == "int8 dynamic"));
}

#[test]
fn every_scheme_refuses_to_enlarge_a_model() {
    let mut b = Builder::new(1, &[1, 2]);
    let w = b.weight(&[2, 2]);
    let y = b.add("MatMul", &["x", &w], vec![]);
    let model = b.finish(&y, &[1, 2]);
    for scheme in Scheme::ALL {
        let found = check(&model, &QuantizeOptions::new(scheme), &samples(8, &[2], None));
        let refused = matches!(found, Err(Refusal::NoGain(_) | Refusal::NoMatch | Refusal::CheckFailed(_)));
        assert!(refused, "{scheme}: {found:?}");
    }
}
