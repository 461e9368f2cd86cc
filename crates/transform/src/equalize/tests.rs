use std::path::Path;

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{Tensors, attr, node};
use plimsoll_runtime::TractExecutor;

use super::*;
use crate::{
    prune::testing::{Dice, output, patched},
    quantize::pass,
    testing::{F32, Net},
};

fn samples(shape: &[usize]) -> Dataset {
    let shape: Vec<usize> = std::iter::once(96).chain(shape.iter().copied()).collect();
    let inputs = Tensors::from([("x".to_owned(), Dice(99).tensor(&shape))]);
    Dataset::new(Path::new("memory"), inputs, None, None).unwrap()
}

fn spread(shape: &[usize], seed: u64, factor: impl Fn(usize) -> f32) -> Tensor {
    let values: Vec<f32> = Dice(seed).tensor(shape).to_vec::<f32>().unwrap();
    let values: Vec<f32> = values.iter().enumerate().map(|(i, v)| v * factor(i)).collect();
    Tensor::from_elements(shape, &values).unwrap()
}

/// Sizes of channels as folding a normalization leaves them.
fn size(channel: usize) -> f32 {
    if channel % 8 == 3 { 60.0 } else { 1.0 }
}

/// A wide convolution, a depthwise one and a narrow one; some channels are large before the readers' weights make them small.
fn separable() -> Model {
    let pads = || attr::from_ints("pads", &[1; 4]);
    Net::new()
        .input("x", F32, &[1, 4, 8, 8])
        .weight("w1", &spread(&[16, 4, 3, 3], 1, |i| size(i / 36)))
        .weight("b1", &spread(&[16], 2, size))
        .weight("w2", &spread(&[16, 1, 3, 3], 3, |i| 1.0 / size(i / 9)))
        .weight("w3", &spread(&[10, 16, 1, 1], 4, |_| 1.0))
        .node(node::with("Conv", &["x", "w1", "b1"], &["a"], vec![pads()]))
        .node(node::new("Relu", &["a"], &["b"]))
        .node(node::with("Conv", &["b", "w2"], &["c"], vec![pads(), attr::from_int("group", 16)]))
        .node(node::new("Relu", &["c"], &["d"]))
        .node(node::with("Conv", &["d", "w3"], &["e"], vec![]))
        .node(node::new("GlobalAveragePool", &["e"], &["f"]))
        .node(node::new("Flatten", &["f"], &["y"]))
        .output("y", F32)
        .build()
}

/// A normalization with a few large gains, read by three products.
fn attention(fused: bool) -> Model {
    let wide = |i: usize| if i % 16 == 5 { 80.0 } else { 1.0 };
    let narrow = |i: usize| 1.0 / wide(i / 24);
    let net = Net::new()
        .input("x", F32, &[1, 6, 32])
        .weight("gain", &spread(&[32], 1, wide))
        .weight("shift", &spread(&[32], 2, wide))
        .weight("q", &spread(&[32, 24], 3, narrow))
        .weight("k", &spread(&[32, 24], 4, narrow))
        .weight("v", &spread(&[32, 24], 5, narrow));
    let net = if fused {
        net.node(node::with("LayerNormalization", &["x", "gain", "shift"], &["n"], vec![]))
    } else {
        net.node(node::new("Tanh", &["x"], &["t"])).node(node::new("Mul", &["t", "gain"], &["m"])).node(node::new(
            "Add",
            &["shift", "m"],
            &["n"],
        ))
    };
    net.node(node::new("MatMul", &["n", "q"], &["a"]))
        .node(node::new("MatMul", &["n", "k"], &["b"]))
        .node(node::new("MatMul", &["n", "v"], &["c"]))
        .node(node::new("Add", &["a", "b"], &["d"]))
        .node(node::new("Add", &["d", "c"], &["y"]))
        .output("y", F32)
        .build()
}

fn equalized(model: &Model, method: Equalization, options: &QuantizeOptions, data: &Dataset) -> Result<Model, Refusal> {
    let context = Context::new(&TractExecutor).with_data(data);
    Equalize::new(method, options.clone()).run(model, &context).map(|patch| patched(model, patch))
}

/// Relative error of the outputs after quantization.
fn error(original: &Model, model: &Model, options: &QuantizeOptions, data: &Dataset) -> f64 {
    let context = Context::new(&TractExecutor).with_data(data);
    let changed = patched(model, pass(options.clone()).run(model, &context).unwrap());
    let (mut error, mut power) = (0.0, 0.0);
    for i in 0..16 {
        let fed = data.batch(i..i + 1);
        for (a, b) in output(original, &fed).iter().zip(output(&changed, &fed)) {
            error += f64::from(a - b).powi(2);
            power += f64::from(*a).powi(2);
        }
    }
    (error / power).sqrt()
}

/// Equalizes, checks that nothing changes by it, and that quantization has at most this share of the error that it had.
fn check(model: &Model, shape: &[usize], method: Equalization, scheme: Scheme, share: f64) {
    let data = samples(shape);
    let options = QuantizeOptions { repair: Some(Repair::None), ..QuantizeOptions::new(scheme) };
    let changed = equalized(model, method, &options, &data).unwrap_or_else(|e| panic!("{method} {scheme}: {e}"));
    for i in 0..4 {
        let fed = data.batch(i..i + 1);
        assert_eq!(output(model, &fed), output(&changed, &fed), "{method}");
    }
    let (before, after) = (error(model, model, &options, &data), error(model, &changed, &options, &data));
    assert!(after < share * before, "{method} {scheme}: {before} → {after}");
}

#[test]
fn large_channels_do_not_take_the_codes_of_small_ones() {
    for method in [Equalization::CrossLayer, Equalization::Smooth, Equalization::Auto] {
        check(&separable(), &[4, 8, 8], method, Scheme::Int8, 0.5);
        for fused in [true, false] {
            check(&attention(fused), &[6, 32], method, Scheme::Int8, 0.5);
        }
    }
    check(&attention(true), &[6, 32], Equalization::Auto, Scheme::Int8Dynamic, 0.5);
    check(&attention(true), &[6, 32], Equalization::Auto, Scheme::Int8Weights, 0.5);
}

#[test]
fn one_scale_for_a_whole_weight_profits_too() {
    let data = samples(&[4, 8, 8]);
    let model = separable();
    let options = QuantizeOptions {
        granularity: Granularity::PerTensor,
        repair: Some(Repair::None),
        ..QuantizeOptions::new(Scheme::Int8)
    };
    let changed = equalized(&model, Equalization::Auto, &options, &data).unwrap();
    let (before, after) = (error(&model, &model, &options, &data), error(&model, &changed, &options, &data));
    assert!(after < 0.5 * before, "{before} → {after}");
}

#[test]
fn even_channels_are_left_alone_unless_asked_for() {
    let net = Net::new()
        .input("x", F32, &[1, 32])
        .random("w1", &[32, 48])
        .random("w2", &[48, 16])
        .node(node::new("MatMul", &["x", "w1"], &["a"]))
        .node(node::new("Relu", &["a"], &["b"]))
        .node(node::new("MatMul", &["b", "w2"], &["y"]))
        .output("y", F32)
        .build();
    let (data, options) = (samples(&[32]), QuantizeOptions::new(Scheme::Int8));
    assert!(matches!(equalized(&net, Equalization::Auto, &options, &data), Err(Refusal::NoMatch)));
    assert!(matches!(equalized(&net, Equalization::None, &options, &data), Err(Refusal::NoMatch)));
    assert!(matches!(
        Equalize::new(Equalization::Smooth, options.clone()).run(&net, &Context::new(&TractExecutor)),
        Err(Refusal::NeedsData)
    ));
    let half = QuantizeOptions::new(Scheme::F16);
    assert!(matches!(
        equalized(&separable(), Equalization::CrossLayer, &half, &samples(&[4, 8, 8])),
        Err(Refusal::NoMatch)
    ));
}

/// Two products with something between them; how many places for factors there are.
fn places(between: impl Fn(Net) -> Net) -> usize {
    let net = Net::new().input("x", F32, &[1, 32]).random("w1", &[32, 48]).random("w2", &[48, 16]).node(node::new(
        "MatMul",
        &["x", "w1"],
        &["a"],
    ));
    let model = between(net).node(node::new("MatMul", &["b", "w2"], &["y"])).output("y", F32).build();
    pairs(&model.view()).len()
}

#[test]
fn factors_pass_only_what_they_commute_with() {
    let alone = |op: &'static str| move |net: Net| net.node(node::new(op, &["a"], &["b"]));
    for (op, expected) in [("Relu", 1), ("LeakyRelu", 1), ("Identity", 1), ("Sigmoid", 0), ("Tanh", 0), ("Gelu", 0)] {
        assert_eq!(places(alone(op)), expected, "{op}");
    }
    let clip = |high: bool| {
        move |net: Net| {
            let net = net.weight("lo", &Tensor::scalar(0f32)).weight("hi", &Tensor::scalar(6f32));
            let inputs: &[&str] = if high { &["a", "lo", "hi"] } else { &["a", "lo"] };
            net.node(node::new("Clip", inputs, &["b"]))
        }
    };
    assert_eq!((places(clip(true)), places(clip(false))), (0, 1));
    // Somebody else reads the value, or the weight.
    let shown = |net: Net| net.node(node::new("Relu", &["a"], &["b"])).output("a", F32);
    let shared = |net: Net| net.node(node::new("Relu", &["a"], &["b"])).node(node::new("Neg", &["w1"], &["c"]));
    assert_eq!((places(shown), places(shared)), (0, 0));
    // A bias belongs to the source; a residual sum has none.
    let biased = |net: Net| net.random("c", &[48]).node(node::new("Add", &["a", "c"], &["b"]));
    let single = |net: Net| net.random("c", &[1]).node(node::new("Add", &["a", "c"], &["b"]));
    let doubled = |net: Net| net.node(node::new("Add", &["a", "a"], &["b"]));
    assert_eq!((places(biased), places(single), places(doubled)), (1, 0, 0));
}

#[test]
fn channels_are_followed_through_flattening_and_transposition() {
    let pads = || vec![attr::from_ints("pads", &[1; 2])];
    let net =
        || {
            Net::new()
                .input("x", F32, &[1, 4, 6])
                .weight("w1", &spread(&[8, 4, 3], 1, |i| size(i / 12)))
                .node(node::with("Conv", &["x", "w1"], &["a"], pads()))
        };
    let flat = net()
        .random("w2", &[16, 48])
        .random("b2", &[16])
        .node(node::new("Flatten", &["a"], &["b"]))
        .node(node::with("Gemm", &["b", "w2", "b2"], &["y"], vec![attr::from_int("transB", 1)]))
        .output("y", F32)
        .build();
    let turned = net()
        .random("w2", &[8, 16])
        .node(node::new("Relu", &["a"], &["b"]))
        .node(node::with("Transpose", &["b"], &["c"], vec![attr::from_ints("perm", &[0, 2, 1])]))
        .node(node::new("MatMul", &["c", "w2"], &["y"]))
        .output("y", F32)
        .build();
    for model in [flat, turned] {
        let data = samples(&[4, 6]);
        let options = QuantizeOptions::new(Scheme::Int8);
        for method in [Equalization::CrossLayer, Equalization::Smooth] {
            let changed = equalized(&model, method, &options, &data).unwrap();
            assert_ne!(changed.digest(), model.digest());
            let fed = data.batch(0..1);
            assert_eq!(output(&model, &fed), output(&changed, &fed));
        }
    }
}
