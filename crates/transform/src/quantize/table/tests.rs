use std::{collections::BTreeMap, path::Path};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{Model, Tensor, Tensors, attr, node};
use plimsoll_runtime::TractExecutor;

use super::*;
use crate::{
    Context,
    prune::testing::{output, patched},
    quantize::{QuantizeOptions, Scheme, pass, quantized_nodes},
    testing::{F32, I64, Net},
};

const ROWS: usize = 60;

/// Five indices a sample, all rows among them, some counted from the end.
fn indices() -> Dataset {
    let codes: Vec<i64> = (0..160).map(|i| (i * 7) % ROWS as i64 - if i % 3 == 0 { ROWS as i64 } else { 0 }).collect();
    let inputs = Tensors::from([("x".to_owned(), Tensor::from_elements(&[32, 5], &codes).unwrap())]);
    Dataset::new(Path::new("memory"), inputs, None, None).unwrap()
}

/// Quantizes, holds the relative error of the first output below `tolerance`, counts operators.
fn check(model: &Model, scheme: Scheme, tolerance: f64) -> (Model, BTreeMap<String, usize>) {
    let data = indices();
    let context = Context::new(&TractExecutor).with_data(&data);
    let changed = patched(model, pass(QuantizeOptions::new(scheme)).run(model, &context).unwrap());
    let (mut error, mut power) = (0.0, 0.0);
    for i in 0..32 {
        let fed = data.batch(i..i + 1);
        for (a, b) in output(model, &fed).iter().zip(output(&changed, &fed)) {
            error += f64::from(a - b).powi(2);
            power += f64::from(*a).powi(2);
        }
    }
    let relative = (error / power).sqrt();
    assert!(relative > 0.0 && relative < tolerance, "{scheme}: relative error {relative}");
    let float = |t: &&plimsoll_onnx::proto::TensorProto| t.data_type == F32 && t.dims.iter().product::<i64>() >= 256;
    assert_eq!(changed.graph().initializer.iter().filter(float).count(), 0);
    let mut ops = BTreeMap::new();
    changed.graph().node.iter().for_each(|n| *ops.entry(n.op_type.clone()).or_default() += 1);
    (changed, ops)
}

fn look_up(net: Net, output: &str) -> Net {
    net.node(node::new("Gather", &["table", "x"], &[output]))
}

fn counts<'a>(ops: &'a BTreeMap<String, usize>) -> impl Fn(&str) -> usize + 'a {
    |op| ops.get(op).copied().unwrap_or(0)
}

#[test]
fn codes_are_looked_up_and_dequantized_behind() {
    for scheme in [Scheme::Int8, Scheme::Int8Weights, Scheme::Int4Weights] {
        let net = Net::new().opset(21).input("x", I64, &[1, 5]).random("table", &[ROWS, 16]);
        let model = look_up(net, "y").output("y", F32).build();
        let (changed, ops) = check(&model, scheme, 0.006);
        assert_eq!((counts(&ops)("Gather"), counts(&ops)("DequantizeLinear"), ops.len()), (1, 1, 2), "{scheme}");
        assert_eq!(changed.graph().node[0].op_type, "Gather");
        let found = quantized_nodes(&changed);
        assert_eq!(found.iter().map(|n| n.form.as_str()).collect::<Vec<_>>(), ["int8 weights"]);
    }
}

#[test]
fn small_rows_between_large_ones_keep_their_precision() {
    let mut values = crate::prune::testing::Dice(3).tensor(&[ROWS, 16]).to_vec::<f32>().unwrap();
    values.iter_mut().enumerate().for_each(|(i, v)| *v *= if i / 16 % 2 == 0 { 1e-3 } else { 1.0 });
    let table = Tensor::from_elements(&[ROWS, 16], &values).unwrap();
    let net = Net::new().input("x", I64, &[1, 5]).weight("table", &table);
    // What is looked up is compared by sign and size of the small rows as well.
    let model = look_up(net, "r")
        .weight("tiny", &Tensor::scalar(1e-4f32))
        .node(node::new("Abs", &["r"], &["a"]))
        .node(node::new("Add", &["a", "tiny"], &["b"]))
        .node(node::new("Log", &["b"], &["y"]))
        .output("y", F32)
        .build();
    for scheme in [Scheme::Int8, Scheme::Int8Weights] {
        let (_, ops) = check(&model, scheme, 0.01);
        assert_eq!((counts(&ops)("Gather"), counts(&ops)("DequantizeLinear")), (2, 0), "{scheme}");
    }
}

#[test]
fn rows_that_integer_kernels_read_are_not_quantized_twice() {
    let net = Net::new().input("x", I64, &[1, 5]).random("table", &[ROWS, 16]).random("w", &[24, 16, 3]);
    let model = look_up(net, "r")
        .node(node::with("Transpose", &["r"], &["t"], vec![attr::from_ints("perm", &[0, 2, 1])]))
        .node(node::with("Conv", &["t", "w"], &["y"], vec![attr::from_ints("pads", &[1, 1])]))
        .output("y", F32)
        .build();
    let (changed, ops) = check(&model, Scheme::Int8, 0.02);
    assert_eq!((counts(&ops)("QuantizeLinear"), counts(&ops)("DequantizeLinear")), (0, 2));
    assert_eq!(changed.graph().node[0].op_type, "Gather");
    check(&model, Scheme::Int8Weights, 0.01);
}

#[test]
fn rows_that_are_an_output_as_well_keep_their_float_form() {
    let net = Net::new().input("x", I64, &[1, 5]).random("table", &[ROWS, 16]).random("w", &[16, 24]);
    let model =
        look_up(net, "r").node(node::new("MatMul", &["r", "w"], &["y"])).output("y", F32).output("r", F32).build();
    let (_, ops) = check(&model, Scheme::Int8, 0.02);
    assert_eq!(counts(&ops)("QuantizeLinear"), 1);
}

#[test]
fn a_table_of_two_readers_is_stored_once() {
    let net = Net::new().input("x", I64, &[1, 5]).random("table", &[ROWS, 16]).random("w", &[16, 24]);
    let plain = look_up(look_up(net, "r"), "s")
        .node(node::new("Neg", &["s"], &["n"]))
        .node(node::new("MatMul", &["r", "w"], &["p"]))
        .node(node::new("MatMul", &["n", "w"], &["q"]))
        .node(node::new("Sub", &["p", "q"], &["y"]))
        .output("y", F32)
        .build();
    let net = Net::new().input("x", I64, &[1, 5]).random("table", &[ROWS, 16]).random("w", &[16, 24]);
    let coded = look_up(look_up(net, "r"), "s")
        .random("v", &[16, 24])
        .node(node::new("MatMul", &["r", "w"], &["p"]))
        .node(node::new("MatMul", &["s", "v"], &["q"]))
        .node(node::new("Sub", &["p", "q"], &["y"]))
        .output("y", F32)
        .build();
    for (model, codes) in [(plain, 2), (coded, 1)] {
        let (changed, _) = check(&model, Scheme::Int8, 0.02);
        let table = |t: &&plimsoll_onnx::proto::TensorProto| t.dims == [ROWS as i64, 16] && t.data_type != F32;
        assert_eq!(changed.graph().initializer.iter().filter(table).count(), codes);
    }
}

#[test]
fn a_table_that_is_also_multiplied_or_excluded_is_not_taken_for_one() {
    let net = Net::new().input("x", I64, &[1, 5]).random("table", &[ROWS, 16]).random("w", &[16, 16]);
    let model = look_up(net, "r")
        .node(node::new("MatMul", &["table", "w"], &["p"]))
        .node(node::new("ReduceSum", &["p"], &["q"]))
        .node(node::new("Add", &["r", "q"], &["y"]))
        .output("y", F32)
        .build();
    let view = model.view();
    let options = QuantizeOptions::new(Scheme::Int8);
    assert!(table_of(&view, &model.graph().node[0], &options).unwrap().is_none());
    let net = Net::new().input("x", I64, &[1, 5]).random("table", &[ROWS, 16]);
    let model = look_up(net, "r").output("r", F32).build();
    let excluded = QuantizeOptions { exclude: vec!["r".into()], ..options.clone() };
    let view = model.view();
    assert!(table_of(&view, &model.graph().node[0], &excluded).unwrap().is_none());
    assert!(table_of(&view, &model.graph().node[0], &options).unwrap().is_some());
}
