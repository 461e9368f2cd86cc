//! The schemes on small models, run in the default executor.

use std::{collections::BTreeMap, path::Path};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{Model, Tensor, Tensors, attr, node};
use plimsoll_runtime::TractExecutor;

use super::*;
use crate::{
    Context,
    prune::testing::{Builder, Dice, context, output, patched},
};

/// A residual net whose weights are large enough to be worth quantizing.
fn net(seed: u64) -> Model {
    let mut b = Builder::new(seed, &[1, 3, 8, 8]);
    let x = b.conv("x", 3, 16, 3);
    let x = b.add("Relu", &[&x], vec![]);
    let y = b.conv(&x, 16, 16, 3);
    let y = b.add("Add", &[&y, &x], vec![]);
    let y = b.add("Relu", &[&y], vec![]);
    let y =
        b.add("MaxPool", &[&y], vec![attr::from_ints("kernel_shape", &[2, 2]), attr::from_ints("strides", &[2, 2])]);
    let y = b.add("Flatten", &[&y], vec![]);
    let (w, c) = (b.weight(&[10, 256]), b.weight(&[10]));
    let attributes = vec![attr::from_int("transB", 1), attr::from_float("alpha", 0.5), attr::from_float("beta", 2.0)];
    let y = b.add("Gemm", &[&y, &w, &c], attributes);
    b.finish(&y, &[1, 10])
}

fn samples(n: usize) -> Dataset {
    let inputs = Tensors::from([("x".to_owned(), Dice(99).tensor(&[n, 3, 8, 8]))]);
    Dataset::new(Path::new("memory"), inputs, None, None).unwrap()
}

fn quantized(model: &Model, options: QuantizeOptions) -> Result<Model, Refusal> {
    let data = samples(32);
    let context = Context::new(&TractExecutor).with_data(&data);
    pass(options).run(model, &context).map(|patch| patched(model, patch))
}

/// Quantizes, and holds the relative error of the outputs below `tolerance`.
fn check(options: QuantizeOptions, tolerance: f64) -> Model {
    let model = net(1);
    let changed = quantized(&model, options).unwrap();
    let data = samples(32);
    let (mut error, mut power) = (0.0, 0.0);
    for i in 0..8 {
        let fed = data.batch(i..i + 1);
        for (a, b) in output(&model, &fed).iter().zip(output(&changed, &fed)) {
            error += f64::from(a - b).powi(2);
            power += f64::from(*a).powi(2);
        }
    }
    let relative = (error / power).sqrt();
    assert!(relative > 0.0 && relative < tolerance, "relative error {relative}");
    changed
}

fn ops(model: &Model) -> BTreeMap<&str, usize> {
    let mut count = BTreeMap::new();
    model.graph().node.iter().for_each(|n| *count.entry(n.op_type.as_str()).or_default() += 1);
    count
}

#[test]
fn f16_keeps_outputs() {
    let changed = check(QuantizeOptions::new(Scheme::F16), 2e-3);
    assert_eq!(ops(&changed)["Cast"], 3);
}

#[test]
fn int8_weights_keep_outputs() {
    check(QuantizeOptions::new(Scheme::Int8Weights), 0.02);
}

#[test]
fn static_int8_keeps_outputs() {
    check(QuantizeOptions::new(Scheme::Int8), 0.04);
    check(QuantizeOptions { granularity: Granularity::PerTensor, ..QuantizeOptions::new(Scheme::Int8) }, 0.05);
}

#[test]
fn relu_is_folded_and_nothing_is_dequantized_twice() {
    let changed = quantized(&net(1), QuantizeOptions::new(Scheme::Int8)).unwrap();
    assert!(!ops(&changed).contains_key("Relu"));
    let mut sources: Vec<&str> = Vec::new();
    for n in changed.graph().node.iter().filter(|n| node::is(n, "DequantizeLinear")) {
        assert!(!sources.contains(&n.input[0].as_str()), "`{}` is dequantized twice", n.input[0]);
        sources.push(&n.input[0]);
    }
    // MaxPool and Flatten move codes: no pair of their own.
    assert_eq!(ops(&changed)["QuantizeLinear"], 4);
}

#[test]
fn no_float_weight_is_left_behind() {
    let changed = quantized(&net(1), QuantizeOptions::new(Scheme::Int8)).unwrap();
    let view = changed.view();
    for t in &changed.graph().initializer {
        assert!(!view.uses(&t.name).is_empty(), "`{}` has no reader", t.name);
        assert!(t.data_type != 1 || t.dims.len() < 2, "`{}` is float32 {:?}", t.name, t.dims);
    }
}

#[test]
fn tiny_model_is_refused_as_no_gain() {
    let mut b = Builder::new(1, &[1, 2]);
    let w = b.weight(&[2, 2]);
    let y = b.add("MatMul", &["x", &w], vec![]);
    let model = b.finish(&y, &[1, 2]);
    let inputs = Tensors::from([("x".to_owned(), Dice(9).tensor(&[4, 2]))]);
    let data = Dataset::new(Path::new("memory"), inputs, None, None).unwrap();
    let context = Context::new(&TractExecutor).with_data(&data);
    let found = pass(QuantizeOptions::new(Scheme::Int8)).run(&model, &context);
    assert!(matches!(found, Err(Refusal::NoGain(_))), "{found:?}");
}

#[test]
fn missing_data_are_asked_for() {
    let found = pass(QuantizeOptions::new(Scheme::Int8)).run(&net(1), &context());
    assert!(matches!(found, Err(Refusal::NeedsData)), "{found:?}");
}

#[test]
fn misspelt_exclusion_is_refused() {
    let options = QuantizeOptions { exclude: vec!["Conv_typo".into()], ..QuantizeOptions::new(Scheme::Int8) };
    assert!(matches!(quantized(&net(1), options), Err(Refusal::CheckFailed(_))));
}

#[test]
fn excluded_node_stays_float() {
    let model = net(1);
    let name = model.graph().node[0].name.clone();
    let options = QuantizeOptions { exclude: vec![name.clone()], ..QuantizeOptions::new(Scheme::Int8) };
    let changed = quantized(&model, options).unwrap();
    let first = changed.graph().node.iter().find(|n| n.name == name).unwrap();
    assert_eq!(first.input[0], "x");
}

#[test]
fn old_opset_is_raised_only_where_nothing_changes() {
    let build = |softmax: bool| {
        let mut b = Builder::new(1, &[1, 64]);
        b.opset = 11;
        let w = b.weight(&[64, 64]);
        let mut y = b.add("MatMul", &["x", &w], vec![]);
        if softmax {
            y = b.add("Softmax", &[&y], vec![]);
        }
        b.finish(&y, &[1, 64])
    };
    let options = QuantizeOptions::new(Scheme::Int8Weights);
    let raised = patched(&build(false), pass(options.clone()).run(&build(false), &context()).unwrap());
    assert_eq!(raised.opset(""), Some(13));
    assert!(matches!(pass(options).run(&build(true), &context()), Err(Refusal::CheckFailed(_))));
}

#[test]
fn weight_beyond_float16_stays_float32() {
    let mut b = Builder::new(1, &[1, 64]);
    let small = b.weight(&[64, 64]);
    let mut values = vec![0.5f32; 64 * 64];
    values[7] = 1e6;
    let large = b.hold(&Tensor::from_elements(&[64, 64], &values).unwrap());
    let y = b.add("MatMul", &["x", &small], vec![]);
    let y = b.add("MatMul", &[&y, &large], vec![]);
    let model = b.finish(&y, &[1, 64]);
    let patch = pass(QuantizeOptions::new(Scheme::F16)).run(&model, &context()).unwrap();
    assert!(patch.reasons().iter().any(|r| r.contains("beyond the range")), "{:?}", patch.reasons());
    assert!(patched(&model, patch).view().initializer(&large).is_some());
}

#[test]
fn names_of_choices_round_trip() {
    for scheme in Scheme::ALL {
        assert_eq!(scheme.name().parse(), Ok(scheme));
    }
    assert!("int4".parse::<Scheme>().is_err());
}

#[test]
fn range_holds_zero_and_its_ends() {
    let codes = affine::Codes::covering(plimsoll_stats::Range { lo: -1.0, hi: 3.0 });
    let real = |code: f32| codes.scale * (code - f32::from(codes.zero));
    assert!((real(0.0) + 1.0).abs() < codes.scale && (real(255.0) - 3.0).abs() < codes.scale);
    assert_eq!(affine::Codes::covering(plimsoll_stats::Range { lo: 1.0, hi: 3.0 }).zero, 0);
    assert_eq!(
        affine::Codes::covering(plimsoll_stats::Range { lo: 0.0, hi: 0.0 }),
        affine::Codes { scale: 1.0, zero: 0 }
    );
}

#[test]
fn old_files_repeat_new_weights_as_inputs() {
    let mut proto = net(1).proto().clone();
    proto.ir_version = 3;
    let graph = proto.graph.mut_or_insert_default();
    let repeated: Vec<_> = graph
        .initializer
        .iter()
        .map(|t| plimsoll_onnx::proto::ValueInfoProto { name: t.name.clone(), ..Default::default() })
        .collect();
    graph.input.extend(repeated);
    let model = Model::from_proto(proto).unwrap();
    let changed = patched(&model, pass(QuantizeOptions::new(Scheme::F16)).run(&model, &context()).unwrap());
    let inputs: Vec<&str> = changed.graph().input.iter().map(|v| v.name.as_str()).collect();
    assert!(changed.graph().initializer.iter().all(|t| inputs.contains(&t.name.as_str())));
    assert_eq!(changed.inputs().len(), 1);
}

#[test]
fn the_range_of_what_was_seen_is_recorded() {
    let changed = quantized(&net(1), QuantizeOptions::new(Scheme::Int8)).unwrap();
    let seen = samples(32).inputs()["x"].to_vec::<f32>().unwrap();
    let (lo, hi) = seen.iter().fold((f32::MAX, f32::MIN), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
    let expected = crate::Ranges::from([("x".to_owned(), [f64::from(lo), f64::from(hi)])]);
    assert_eq!(crate::ranges::of(&changed, None), Ok(expected));
}

/// onnxruntime's integer kernel fails on a stack of matrices with one scale a channel.
#[test]
fn a_stack_of_matrices_gets_one_scale() {
    let mut b = Builder::new(3, &[1, 6, 64]);
    let w = b.weight(&[1, 64, 32]);
    let y = b.add("MatMul", &["x", &w], vec![]);
    let model = b.finish(&y, &[1, 6, 32]);
    let inputs = Tensors::from([("x".to_owned(), Dice(5).tensor(&[8, 6, 64]))]);
    let data = Dataset::new(Path::new("memory"), inputs, None, None).unwrap();
    let context = Context::new(&TractExecutor).with_data(&data);
    let changed = patched(&model, pass(QuantizeOptions::new(Scheme::Int8)).run(&model, &context).unwrap());
    let view = changed.view();
    let (_, product) = view.nodes().find(|(_, n)| node::is(n, "MatMul")).unwrap();
    let (_, dequantize) = view.producer_of(&product.input[1], "DequantizeLinear").unwrap();
    assert!(view.initializer(&dequantize.input[1]).unwrap().dims.is_empty());
}

#[test]
fn a_scheme_without_work_says_why() {
    let half =
        crate::testing::Net::new().input("x", 10, &[-1, 32]).weight("w", &Dice(1).tensor(&[32, 32]).to_f16().unwrap());
    let half = half.node(node::new("MatMul", &["x", "w"], &["y"])).output("y", 10).build();
    for scheme in Scheme::ALL {
        let error = pass(QuantizeOptions::new(scheme)).run(&half, &context()).unwrap_err();
        assert!(error.to_string().contains("no float32 matrices"), "{scheme}: {error}");
    }
}
