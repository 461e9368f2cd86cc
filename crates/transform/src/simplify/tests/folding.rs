//! Folding: what must be computed, and what must never be.

use plimsoll_onnx::{Tensor, attr, node};

use super::*;
use crate::testing::{F32, I64, Net};

#[test]
fn constants_are_computed() {
    let net = Net::new().input("x", F32, &[-1, 4]).random("a", &[4]).random("b", &[4]);
    let net = net.node(node::new("Mul", &["a", "b"], &["c"])).node(node::new("Sqrt", &["c"], &["d"]));
    let found = check(&net.node(node::new("Add", &["x", "c"], &["y"])).output("y", F32).build(), "Add");
    assert_eq!(weights(&found), ["c"]);
}

#[test]
fn constant_nodes_of_every_form_become_weights() {
    let constant = |name: &str, a| node::with("Constant", &[], &[name], vec![a]);
    let net = Net::new().input("x", F32, &[-1, 2]);
    let net = net.node(constant("a", attr::from_tensor("value", Tensor::vector(&[1f32, 2.0]).to_proto(""))));
    let net = net.node(constant("b", attr::from_float("value_float", 3.0)));
    let net = net.node(constant("s", attr::from_ints("value_ints", &[-1, 2])));
    let net = net.node(node::new("Add", &["x", "a"], &["c"])).node(node::new("Mul", &["c", "b"], &["d"]));
    let found = check(&net.node(node::new("Reshape", &["d", "s"], &["y"])).output("y", F32).build(), "Add Mul");
    assert_eq!(weights(&found), ["a", "b"]);
}

#[test]
fn a_constant_that_is_an_output_stays_a_node() {
    let value = attr::from_tensor("value", Tensor::vector(&[1f32, 2.0]).to_proto(""));
    let net = Net::new().input("x", F32, &[2]).node(node::with("Constant", &[], &["k"], vec![value]));
    let net = net.node(node::new("Add", &["x", "k"], &["y"])).output("y", F32).output("k", F32);
    check(&net.build(), "Constant Add");
}

#[test]
fn old_files_keep_constant_nodes() {
    let value = attr::from_tensor("value", Tensor::vector(&[1f32, 2.0]).to_proto(""));
    let net = Net::new().ir(3).opset(8).input("x", F32, &[2]).node(node::with("Constant", &[], &["k"], vec![value]));
    let net = net.node(node::new("Neg", &["k"], &["l"])).node(node::new("Add", &["x", "l"], &["y"])).output("y", F32);
    check(&net.build(), "Constant Add");
}

#[test]
fn folding_that_would_enlarge_the_file_is_not_done() {
    let big = Tensor::vector(&[1024i64, 512]);
    let fill = attr::from_tensor("value", Tensor::vector(&[2f32]).to_proto(""));
    let net = Net::new().input("x", F32, &[1, 512]).weight("s", &big);
    let net = net.node(node::with("ConstantOfShape", &["s"], &["c"], vec![fill]));
    check(&net.node(node::new("Mul", &["x", "c"], &["y"])).output("y", F32).build(), "ConstantOfShape Mul");
    let net = Net::new().input("x", F32, &[1, 512]).random("w", &[1, 512]).weight("r", &Tensor::vector(&[1024i64, 1]));
    let net = net.node(node::new("Tile", &["w", "r"], &["c"]));
    check(&net.node(node::new("Mul", &["x", "c"], &["y"])).output("y", F32).build(), "Tile Mul");
    // Terabytes are not even tried.
    let net = Net::new().input("x", F32, &[1]).weight("s", &Tensor::vector(&[1i64 << 20, 1 << 20]));
    let net = net.node(node::new("ConstantOfShape", &["s"], &["c"])).node(node::new("Size", &["c"], &["z"]));
    check_unrun(&net.output("z", I64).build(), "ConstantOfShape Size");
}

#[test]
fn a_small_fill_is_folded() {
    let net = Net::new().input("x", F32, &[2, 3]).weight("s", &Tensor::vector(&[2i64, 3]));
    let net = net.node(node::new("ConstantOfShape", &["s"], &["c"])).node(node::new("Sub", &["c", "x"], &["y"]));
    check(&net.output("y", F32).build(), "Sub");
}

#[test]
fn quantized_weights_stay_quantized() {
    let codes = Tensor::from_elements(&[4, 2], &[1i8, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let net = Net::new().input("x", F32, &[-1, 4]).weight("q", &codes).weight("s", &Tensor::scalar(0.5f32));
    let net = net.weight("z", &Tensor::scalar(0i8)).node(node::new("DequantizeLinear", &["q", "s", "z"], &["w"]));
    let model = net.node(node::new("MatMul", &["x", "w"], &["y"])).output("y", F32).build();
    check(&model, "DequantizeLinear MatMul");
}

#[test]
fn weights_stored_in_half_precision_stay_so() {
    let half = crate::prune::testing::Dice(3).tensor(&[32, 16]).to_f16().unwrap();
    let net = Net::new().input("x", F32, &[-1, 32]).weight("h", &half);
    let net = net.node(node::with("Cast", &["h"], &["w"], vec![attr::from_int("to", 1)]));
    check(&net.node(node::new("MatMul", &["x", "w"], &["y"])).output("y", F32).build(), "Cast MatMul");
}

#[test]
fn random_operators_are_neither_folded_nor_merged() {
    let shape = || vec![attr::from_ints("shape", &[2, 3])];
    let net = Net::new().input("x", F32, &[2, 3]);
    let net = net.node(node::with("RandomNormal", &[], &["a"], shape()));
    let net = net.node(node::with("RandomNormal", &[], &["b"], shape()));
    let net =
        net.node(node::new("RandomUniformLike", &["x"], &["c"])).node(node::new("RandomUniformLike", &["x"], &["d"]));
    let net = net.node(node::new("Sum", &["a", "b", "c", "d"], &["y"])).output("y", F32);
    let model = net.build();
    check_unrun(&model, "RandomNormal RandomNormal RandomUniformLike RandomUniformLike Sum");
    let (_, _, checked) = simplified(&model);
    assert!(matches!(&checked, Checked::NotChecked(why) if why.contains("RandomNormal")), "{checked:?}");
}

#[test]
fn overridable_weights_are_not_folded() {
    let mut net = Net::new().input("x", F32, &[4]).random("a", &[4]).random("b", &[4]);
    net.graph().input.push(crate::testing::value("a", F32, Some(&[4])));
    let net = net.node(node::new("Mul", &["a", "b"], &["c"])).node(node::new("Add", &["x", "c"], &["y"]));
    let found = check(&net.output("y", F32).build(), "Mul Add");
    assert_eq!(weights(&found), ["a", "b"]);
}

#[test]
fn shapes_are_folded_where_they_are_the_same_in_every_run() {
    let build = |dims: &[i64]| {
        let net = Net::new().input("x", F32, dims).weight("i", &Tensor::vector(&[1i64]));
        let net = net.node(node::new("Shape", &["x"], &["s"])).node(node::new("Gather", &["s", "i"], &["k"]));
        let net = net.node(node::with("Cast", &["k"], &["f"], vec![attr::from_int("to", 1)]));
        net.node(node::new("Mul", &["x", "f"], &["y"])).output("y", F32).build()
    };
    check(&build(&[-1, 3]), "Mul");
    check(&build(&[3, -1]), "Shape Gather Cast Mul");
}

#[test]
fn nan_and_infinite_constants_survive() {
    let net = Net::new().input("x", F32, &[2]).weight("a", &Tensor::vector(&[f32::NAN, f32::INFINITY]));
    let net = net.weight("o", &Tensor::vector(&[1f32, 1.0])).node(node::new("Add", &["a", "o"], &["b"]));
    let found = check(&net.node(node::new("Add", &["x", "b"], &["y"])).output("y", F32).build(), "Add");
    let stored = Tensor::from_proto(&found.graph().initializer[0]).unwrap().to_vec::<f32>().unwrap();
    assert!(stored[0].is_nan() && stored[1] == f32::INFINITY, "{stored:?}");
}

/// The executor's maximum of nothing but -∞ is a finite number: folding it would write that down.
#[test]
fn a_maximum_of_infinities_is_not_folded() {
    let net = Net::new().input("x", F32, &[1]).weight("a", &Tensor::vector(&[f32::NEG_INFINITY; 3]));
    let net = net.node(node::with("ReduceMax", &["a"], &["m"], vec![attr::from_ints("axes", &[0])]));
    check_unrun(&net.node(node::new("Add", &["x", "m"], &["y"])).output("y", F32).build(), "ReduceMax Add");
}

#[test]
fn a_target_that_contradicts_a_declared_output_stays_computed() {
    let net = |declared: &[i64]| {
        let mut net = Net::new().input("x", F32, &[2, 6]).weight("zero", &Tensor::vector(&[0i64]));
        let attribute = vec![attr::from_int("axis", 0)];
        net = net.weight("one", &Tensor::vector(&[1i64])).weight("rest", &Tensor::vector(&[-1i64]));
        net = net.node(node::new("Shape", &["x"], &["s"])).node(node::new("Gather", &["s", "zero"], &["n"]));
        net = net.node(node::with("Concat", &["n", "one", "rest"], &["t"], attribute));
        net = net.node(node::new("Reshape", &["x", "t"], &["y"]));
        net.graph().output.push(crate::testing::value("y", F32, Some(declared)));
        net.build()
    };
    check(&net(&[2, 1, 6]), "Reshape");
    // The same graph, where the batch is open and one declares a matrix.
    let lying = |declared: &[i64]| {
        let mut model = net(declared).proto().clone();
        model.graph.mut_or_insert_default().input[0] = crate::testing::value("x", F32, Some(&[-1, 6]));
        Model::from_proto(model).unwrap()
    };
    check(&lying(&[-1, 1, 6]), "Reshape");
    check(&lying(&[-1, 6]), "Shape Gather Concat Reshape");
}
