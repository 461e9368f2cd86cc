//! Schemes and calibration methods on layers of many kinds: what they store, and how far results are from the original's.

use std::path::Path;

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{DType, Model, Tensor, Tensors, attr, node, proto::NodeProto};
use plimsoll_runtime::{Executor, LoadOptions, TractExecutor};

use super::*;
use crate::{
    prune::testing::{Builder, Dice, patched},
    testing::{F32, I64, Net},
};

fn samples(shape: &[usize]) -> Dataset {
    let shape: Vec<usize> = std::iter::once(32).chain(shape[1..].iter().copied()).collect();
    let inputs = Tensors::from([("x".to_owned(), Dice(99).tensor(&shape))]);
    Dataset::new(Path::new("memory"), inputs, None, None).unwrap()
}

fn run(model: &Model, fed: &Tensors) -> Vec<f32> {
    let model = runnable(model).unwrap();
    let mut session = TractExecutor.load(&model.to_bytes().unwrap(), &LoadOptions::for_inputs(fed)).unwrap();
    session.run(fed).unwrap()[&model.outputs()[0].name].to_vec().unwrap()
}

/// Quantizes without repair, and holds the relative error of the first output over the samples below `tolerance`.
fn check_on(model: &Model, data: &Dataset, options: QuantizeOptions, tolerance: f64) -> Model {
    let options = QuantizeOptions { repair: Some(Repair::None), ..options };
    let context = Context::new(&TractExecutor).with_data(data);
    let changed = patched(model, pass(options.clone()).run(model, &context).unwrap());
    let (mut error, mut power) = (0.0, 0.0);
    for i in 0..8 {
        let fed = data.batch(i..i + 1);
        for (a, b) in run(model, &fed).iter().zip(run(&changed, &fed)) {
            error += f64::from(a - b).powi(2);
            power += f64::from(*a).powi(2);
        }
    }
    let relative = (error / power).sqrt();
    assert!(relative > 0.0 && relative < tolerance, "{options:?}: relative error {relative}");
    changed
}

fn check(model: &Model, shape: &[usize], options: QuantizeOptions, tolerance: f64) -> Model {
    check_on(model, &samples(shape), options, tolerance)
}

/// Convolutions, plain, grouped and depthwise with bias and padding, then a transposed Gemm with factors, then a MatMul.
fn mixed() -> Model {
    let mut b = Builder::new(5, &[1, 8, 8, 8]);
    let attributes = |group: i64| {
        vec![
            attr::from_ints("pads", &[1; 4]),
            attr::from_ints("kernel_shape", &[3, 3]),
            attr::from_int("group", group),
            attr::from_ints("strides", &[1, 2]),
        ]
    };
    let (w, c) = (b.weight(&[16, 8, 3, 3]), b.weight(&[16]));
    let x = b.add("Conv", &["x", &w, &c], attributes(1));
    let x = b.add("Relu", &[&x], vec![]);
    let (w, c) = (b.weight(&[16, 4, 3, 3]), b.weight(&[16]));
    let x = b.add("Conv", &[&x, &w, &c], attributes(4));
    let w = b.weight(&[32, 1, 3, 3]);
    let x = b.add("Conv", &[&x, &w], attributes(16));
    let x = b.add("Flatten", &[&x], vec![]);
    let (w, c) = (b.weight(&[24, 256]), b.weight(&[24]));
    let factors = vec![attr::from_int("transB", 1), attr::from_float("alpha", 0.5), attr::from_float("beta", 2.0)];
    let x = b.add("Gemm", &[&x, &w, &c], factors);
    let w = b.weight(&[24, 12]);
    let y = b.add("MatMul", &[&x, &w], vec![]);
    b.finish(&y, &[1, 12])
}

const IMAGE: [usize; 4] = [1, 8, 8, 8];

fn stored(model: &Model, dtype: DType) -> usize {
    model.graph().initializer.iter().filter(|t| t.data_type == dtype.to_onnx() && t.dims.len() > 1).count()
}

#[test]
fn every_calibration_method_keeps_outputs_near() {
    for calibration in Calibration::ALL {
        let tolerance = if calibration == Calibration::Entropy { 0.12 } else { 0.04 };
        check(&mixed(), &IMAGE, QuantizeOptions { calibration, ..QuantizeOptions::new(Scheme::Int8) }, tolerance);
    }
}

#[test]
fn signed_activations_give_the_same_numbers() {
    let options = QuantizeOptions::new(Scheme::Int8);
    let signed = QuantizeOptions { activations: ActivationType::S8, ..options.clone() };
    let (a, b) = (check(&mixed(), &IMAGE, options, 0.04), check(&mixed(), &IMAGE, signed, 0.04));
    let scalars = |m: &Model, dtype: DType| {
        let scalar = |t: &&plimsoll_onnx::proto::TensorProto| t.data_type == dtype.to_onnx() && t.dims.is_empty();
        m.graph().initializer.iter().filter(scalar).count()
    };
    assert!(scalars(&a, DType::U8) > 0 && scalars(&b, DType::U8) == 0);
    let fed = samples(&IMAGE).batch(0..1);
    assert_eq!(run(&a, &fed), run(&b, &fed));
}

#[test]
fn reduced_range_keeps_codes_within_seven_bits() {
    let options = QuantizeOptions { reduce_range: true, ..QuantizeOptions::new(Scheme::Int8) };
    let changed = check(&mixed(), &IMAGE, options, 0.08);
    for t in changed.graph().initializer.iter().filter(|t| t.data_type == DType::I8.to_onnx()) {
        let codes = Tensor::from_proto(t).unwrap().to_vec::<i8>().unwrap();
        assert!(codes.iter().all(|c| (-64..=63).contains(c)), "`{}`", t.name);
    }
}

#[test]
fn dynamic_scales_need_no_samples_and_fit_every_layer() {
    for granularity in [Granularity::PerChannel, Granularity::PerTensor] {
        let options = QuantizeOptions { granularity, ..QuantizeOptions::new(Scheme::Int8Dynamic) };
        let changed = check(&mixed(), &IMAGE, options.clone(), 0.04);
        let count = |op: &str| changed.graph().node.iter().filter(|n| node::is(n, op)).count();
        assert_eq!((count("ConvInteger"), count("MatMulInteger"), count("DynamicQuantizeLinear")), (3, 2, 5));
        let float = |t: &plimsoll_onnx::proto::TensorProto| t.data_type == F32 && t.dims.iter().product::<i64>() > 32;
        assert!(!changed.graph().initializer.iter().any(float));
        let alone = pass(options).run(&mixed(), &Context::new(&TractExecutor)).unwrap();
        assert_eq!(patched(&mixed(), alone).digest(), changed.digest());
    }
}

#[test]
fn a_value_that_several_nodes_read_is_quantized_once_and_a_shared_weight_stored_once() {
    let mut b = Builder::new(5, &[1, 4, 32]);
    let w = b.weight(&[32, 32]);
    let (one, two) = (b.add("MatMul", &["x", &w], vec![]), b.add("MatMul", &["x", &w], vec![]));
    let y = b.add("Add", &[&one, &two], vec![]);
    let model = b.finish(&y, &[1, 4, 32]);
    let changed = check(&model, &[1, 4, 32], QuantizeOptions::new(Scheme::Int8Dynamic), 0.03);
    let count = |op: &str| changed.graph().node.iter().filter(|n| node::is(n, op)).count();
    assert_eq!((count("DynamicQuantizeLinear"), stored(&changed, DType::I8)), (1, 1));
}

/// LSTM, GRU and RNN, forward and bidirectional: `x` [1, 6, 16] to `y`.
fn recurrent(op: &str, gates: usize, directions: usize) -> Model {
    const HIDDEN: usize = 24;
    let direction = attr::from_string("direction", if directions == 2 { "bidirectional" } else { "forward" });
    let small = |name: &str, shape: &[usize]| {
        let seed = name.bytes().map(u64::from).sum();
        let values: Vec<f32> = Dice(seed).tensor(shape).to_vec::<f32>().unwrap().iter().map(|v| v * 0.4).collect();
        Tensor::from_elements(shape, &values).unwrap()
    };
    let rows = gates * HIDDEN;
    let net = Net::new()
        .input("x", F32, &[1, 6, 16])
        .weight("w", &small("w", &[directions, rows, 16]))
        .weight("r", &small("r", &[directions, rows, HIDDEN]))
        .weight("b", &small("b", &[directions, 2 * rows]));
    let attributes = vec![direction, attr::from_int("hidden_size", HIDDEN as i64)];
    let turn = vec![attr::from_ints("perm", &[1, 0, 2])];
    net.node(node::with("Transpose", &["x"], &["t"], turn))
        .node(node::with(op, &["t", "w", "r", "b"], &["y"], attributes))
        .output("y", F32)
        .build()
}

/// As it is before a scheme that needs the newest operators.
fn raised(model: &Model) -> Model {
    let mut proto = model.proto().clone();
    proto.opset_import[0].version = 21;
    Model::from_proto(proto).unwrap()
}

#[test]
fn weights_of_four_bits_go_with_activations_of_eight() {
    let changed = check(&raised(&mixed()), &IMAGE, QuantizeOptions::new(Scheme::W4A8), 0.25);
    assert_eq!(stored(&changed, DType::I4) + stored(&changed, DType::I8), 5);
    // The depthwise layer has 9 elements a channel, the last one is small enough to get 8 bits.
    assert!(stored(&changed, DType::I4) >= 3);
    let quantized = changed.graph().node.iter().filter(|n| node::is(n, "QuantizeLinear")).count();
    assert!(quantized >= 4, "{quantized}");
    let forms: Vec<String> = quantized_nodes(&changed).into_iter().map(|n| n.form).collect();
    assert!(forms.iter().any(|f| f == "int4") && forms.iter().all(|f| f == "int4" || f == "int8"), "{forms:?}");
}

#[test]
fn weights_of_recurrent_layers_are_stored_in_int8() {
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        for directions in [1, 2] {
            let model = recurrent(op, gates, directions);
            for scheme in [Scheme::Int8Weights, Scheme::Int8, Scheme::W4A8] {
                let model = if scheme == Scheme::W4A8 { raised(&model) } else { model.clone() };
                let changed = check(&model, &[1, 6, 16], QuantizeOptions::new(scheme), 0.01);
                assert_eq!(stored(&changed, DType::I8), 2, "{op} {scheme}");
                assert!(changed.encoded_len() * 2 < model.encoded_len());
            }
        }
    }
}

#[test]
fn embeddings_transposed_convolutions_and_constants_in_nodes_are_stored_in_int8() {
    let constant = |name: &str, shape: &[usize]| {
        let tensor = Dice(shape.len() as u64).tensor(shape).to_proto("");
        NodeProto { attribute: vec![attr::from_tensor("value", tensor)], ..node::new("Constant", &[], &[name]) }
    };
    let model = Net::new()
        .input("x", F32, &[1, 8, 6, 6])
        .node(constant("w", &[8, 3, 4, 4]))
        .node(node::with("ConvTranspose", &["x", "w"], &["y"], vec![attr::from_int("group", 2)]))
        .output("y", F32)
        .build();
    let changed = check(&model, &[1, 8, 6, 6], QuantizeOptions::new(Scheme::Int8Weights), 0.01);
    assert_eq!((stored(&changed, DType::I8), changed.graph().node.len()), (1, 2));
    let table = Dice(7).tensor(&[50, 16]);
    let model = Net::new()
        .input("x", I64, &[1, 5])
        .weight("table", &table)
        .node(node::new("Gather", &["table", "x"], &["y"]))
        .output("y", F32)
        .build();
    let codes: Vec<i64> = (0..160).map(|i| i * 7 % 50).collect();
    let inputs = Tensors::from([("x".to_owned(), Tensor::from_elements(&[32, 5], &codes).unwrap())]);
    let data = Dataset::new(Path::new("memory"), inputs, None, None).unwrap();
    let changed = check_on(&model, &data, QuantizeOptions::new(Scheme::Int8Weights), 0.01);
    assert_eq!(stored(&changed, DType::I8), 1);
}

#[test]
fn an_old_model_is_quantized_once_its_operator_set_is_raised() {
    let mut b = Builder::new(1, &[1, 4, 16]);
    b.opset = 9;
    let w = b.weight(&[16, 64]);
    let y = b.add("MatMul", &["x", &w], vec![]);
    let y = b.add("Softmax", &[&y], vec![attr::from_int("axis", 1)]);
    let model = b.finish(&y, &[1, 4, 64]);
    for scheme in [Scheme::Int8, Scheme::Int8Dynamic, Scheme::Int8Weights] {
        let options = QuantizeOptions::new(scheme);
        let raise = crate::opset::RaiseOpset { to: opset_of(&options) };
        let raised = patched(&model, raise.run(&model, &Context::new(&TractExecutor)).unwrap());
        let fed = samples(&[1, 4, 16]).batch(0..1);
        assert_eq!(run(&raised, &fed), run(&model, &fed));
        check(&raised, &[1, 4, 16], options, 0.05);
    }
}
