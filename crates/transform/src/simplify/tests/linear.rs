//! What goes into a layer, what is an activation written out, and states that begin at zero.

use plimsoll_onnx::{Tensor, attr, node, proto::NodeProto};

use super::*;
use crate::testing::{F32, I64, Net};

fn conv() -> Net {
    let net = Net::new().input("x", F32, &[-1, 3, 6, 6]).random("w", &[4, 3, 3, 3]);
    net.random("c", &[1, 4, 1, 1]).node(node::new("Conv", &["x", "w"], &["v"]))
}

fn then(net: Net, op: &str, inputs: &[&str]) -> Model {
    net.node(node::new(op, inputs, &["y"])).output("y", F32).build()
}

#[test]
fn constants_of_each_channel_go_into_the_layer() {
    for (op, inputs) in [("Add", ["v", "c"]), ("Sub", ["v", "c"]), ("Mul", ["c", "v"]), ("Div", ["v", "c"])] {
        check(&then(conv(), op, &inputs), "Conv");
    }
    check(&then(conv(), "Neg", &["v"]), "Conv");
    check(&then(conv().weight("k", &Tensor::scalar(3f32)), "Add", &["v", "k"]), "Conv");
    let net = conv().node(node::new("Mul", &["v", "c"], &["a"])).node(node::new("Neg", &["a"], &["b"]));
    check(&then(net, "Sub", &["b", "c"]), "Conv");
}

#[test]
fn what_is_not_one_number_a_channel_stays() {
    check(&then(conv(), "Div", &["c", "v"]), "Conv Div");
    check(&then(conv().random("d", &[4]), "Add", &["v", "d"]), "Conv Add");
    check(&then(conv().random("d", &[1, 1, 1, 4]), "Mul", &["v", "d"]), "Conv Mul");
    check(&then(conv().random("d", &[1, 4, 4, 4]), "Mul", &["v", "d"]), "Conv Mul");
    check(&then(conv().random("d", &[1, 1, 4, 1, 1]), "Add", &["v", "d"]), "Conv Add");
    check(&then(conv().random("d", &[2, 4, 1, 1]).opset(17), "Div", &["v", "d"]), "Conv Div");
    let zero = Tensor::from_elements(&[1, 4, 1, 1], &[1f32, 0.0, 2.0, 3.0]).unwrap();
    let net = Net::new().input("x", F32, &[-1, 3, 6, 6]).random("w", &[4, 3, 3, 3]).weight("c", &zero);
    let net = net.node(node::new("Conv", &["x", "w"], &["v"]));
    let found = check_unrun(&then(net, "Div", &["v", "c"]), "Conv Div");
    assert!(weights(&found).contains(&"c"));
    // Something else reads what the layer computes, or its weights.
    check(&then(conv().output("v", F32), "Add", &["v", "c"]), "Conv Add");
    check(&then(conv().output("w", F32), "Mul", &["v", "c"]), "Conv Mul");
    check(&then(conv().output("w", F32), "Add", &["v", "c"]), "Conv");
}

#[test]
fn groups_and_transposed_weights_keep_their_channels() {
    let with_group = |op: &str, weight: &[usize], channels: usize| {
        let net = Net::new().input("x", F32, &[-1, 6, 5]).random("w", weight).random("c", &[1, channels, 1]);
        let net = net.random("b", &[channels]).random("d", &[channels, 1]);
        let net = net.node(node::with(op, &["x", "w", "b"], &["v"], vec![attr::from_int("group", 2)]));
        then(net.node(node::new("Mul", &["v", "c"], &["u"])), "Add", &["d", "u"])
    };
    check(&with_group("Conv", &[4, 3, 2], 4), "Conv");
    check(&with_group("ConvTranspose", &[6, 5, 2], 10), "ConvTranspose");
}

#[test]
fn products_of_matrices_become_layers_with_a_bias() {
    let net = |input: &[i64], bias: &[usize], swapped: bool| {
        let net = Net::new().input("x", F32, input).random("w", &[4, 3]).random("b", bias);
        let operands = if swapped { ["b", "v"] } else { ["v", "b"] };
        then(net.node(node::new("MatMul", &["x", "w"], &["v"])), "Add", &operands)
    };
    check(&net(&[-1, 4], &[3], false), "Gemm");
    check(&net(&[-1, 4], &[1, 3], true), "Gemm");
    check(&net(&[-1, 4], &[1], true), "Gemm");
    check(&net(&[-1, 5, 4], &[3], false), "MatMul Add");
    check(&net(&[2, 4], &[2, 3], false), "MatMul Add");
    check(&net(&[2, 4], &[2, 1], false), "MatMul Add");
    // Rows are scaled in any rank.
    let net = Net::new().input("x", F32, &[-1, 5, 4]).random("w", &[4, 3]).random("c", &[3]);
    check(&then(net.node(node::new("MatMul", &["x", "w"], &["v"])), "Mul", &["v", "c"]), "MatMul");
    // Left of the input the weights count something else.
    let net = Net::new().input("x", F32, &[4, 3]).random("w", &[3, 4]).random("c", &[3]);
    check(&then(net.node(node::new("MatMul", &["w", "x"], &["v"])), "Mul", &["v", "c"]), "MatMul Mul");
}

fn hard(bounds: [f32; 3], divisor: f32, order: &str) -> Model {
    let scalar = |v: f32| Tensor::scalar(v);
    let net = Net::new().input("x", F32, &[-1, 4]).weight("a", &scalar(bounds[0])).weight("lo", &scalar(bounds[1]));
    let net = net.weight("hi", &scalar(bounds[2])).weight("d", &scalar(divisor)).weight("r", &scalar(1.0 / divisor));
    let net = net.node(node::new("Add", &["x", "a"], &["s"])).node(node::new("Clip", &["s", "lo", "hi"], &["t"]));
    match order {
        "sigmoid" => then(net, "Div", &["t", "d"]),
        "times reciprocal" => then(net, "Mul", &["r", "t"]),
        "swish" => then(net.node(node::new("Mul", &["x", "t"], &["u"])), "Div", &["u", "d"]),
        "divided first" => then(net.node(node::new("Div", &["t", "d"], &["u"])), "Mul", &["x", "u"]),
        _ => then(net, "Div", &["d", "t"]),
    }
}

#[test]
fn hard_sigmoids_are_recognized_in_each_spelling() {
    check_within(&hard([3.0, 0.0, 6.0], 6.0, "sigmoid"), [-5.0, 5.0], "HardSigmoid");
    check_within(&hard([3.0, 0.0, 6.0], 6.0, "times reciprocal"), [-5.0, 5.0], "HardSigmoid");
    check_within(&hard([3.0, 0.0, 6.0], 6.0, "swish"), [-5.0, 5.0], "HardSigmoid Mul");
    check_within(&hard([3.0, 0.0, 6.0], 6.0, "divided first"), [-5.0, 5.0], "HardSigmoid Mul");
    check_within(&hard([1.0, 0.0, 2.0], 2.0, "sigmoid"), [-5.0, 5.0], "HardSigmoid");
}

#[test]
fn other_bounds_and_divisors_are_no_hard_sigmoid() {
    check_within(&hard([3.0, 0.0, 6.0], 5.0, "sigmoid"), [-5.0, 5.0], "Add Clip Div");
    check_within(&hard([3.0, -1.0, 6.0], 6.0, "swish"), [-5.0, 5.0], "Add Clip Mul Div");
    check_within(&hard([4.0, 1.0, 6.0], 6.0, "the other way round"), [-5.0, 5.0], "Add Clip Div");
}

fn recurrent(op: &str, states: &[&str], net: Net) -> Model {
    let gates = if op == "LSTM" { 4 } else { 3 };
    let net = net.random("w", &[1, gates * 2, 3]).random("r", &[1, gates * 2, 2]);
    let inputs: Vec<&str> = ["x", "w", "r", "", ""].into_iter().chain(states.iter().copied()).collect();
    let layer: NodeProto = node::with(op, &inputs, &["out"], vec![attr::from_int("hidden_size", 2)]);
    then(net.node(layer), "Relu", &["out"])
}

#[test]
fn states_of_zeros_are_the_default() {
    // Zeros of the batch's size, cut out of a larger tensor.
    let made = |fill: f32| {
        let net = Net::new().input("x", F32, &[5, -1, 3]).weight("one", &Tensor::scalar(1i64));
        let net = net.weight("front", &Tensor::vector(&[4i64])).weight("back", &Tensor::vector(&[2i64]));
        let net = net.weight("zero", &Tensor::vector(&[0i64])).weight("end", &Tensor::vector(&[1i64]));
        let fill = attr::from_tensor("value", Tensor::vector(&[fill]).to_proto(""));
        let net = net.node(node::new("Shape", &["x"], &["s"])).node(node::new("Gather", &["s", "one"], &["n"]));
        let net = net.node(node::new("Unsqueeze", &["n", "zero"], &["m"]));
        let net = net.node(node::with("Concat", &["front", "m", "back"], &["t"], vec![attr::from_int("axis", 0)]));
        let net = net.node(node::with("ConstantOfShape", &["t"], &["z"], vec![fill]));
        net.node(node::new("Slice", &["z", "zero", "end", "zero"], &["state"]))
    };
    check(&recurrent("GRU", &["state"], made(0.0)), "GRU Relu");
    let kept = "Shape Gather Unsqueeze Concat ConstantOfShape Slice GRU Relu";
    check(&recurrent("GRU", &["state"], made(0.5)), kept);
    let net = Net::new().input("x", F32, &[5, 1, 3]).random("c", &[1, 1, 2]);
    let net = net.weight("h", &Tensor::from_elements(&[1, 1, 2], &[0f32, 0.0]).unwrap());
    let found = check(&recurrent("LSTM", &["h", "c"], net), "LSTM Relu");
    assert_eq!(found.graph().node[0].input, ["x", "w", "r", "", "", "", "c"]);
}

#[test]
fn tensors_that_only_give_a_shape_are_not_made() {
    let net = |op: &str, fill: f32, swapped: bool| {
        let net = Net::new().input("x", F32, &[1, -1]).input("z", I64, &[3]);
        let fill = attr::from_tensor("value", Tensor::vector(&[fill]).to_proto(""));
        let net = net.node(node::with("ConstantOfShape", &["z"], &["c"], vec![fill]));
        then(net, op, if swapped { &["c", "x"] } else { &["x", "c"] })
    };
    // tract 0.23.9 makes no tensors of a shape that is an input.
    check_unrun(&net("Add", 0.0, true), "Expand");
    check_unrun(&net("Div", 1.0, false), "Expand");
    check_unrun(&net("Sub", 0.0, true), "ConstantOfShape Sub");
    check_unrun(&net("Mul", 0.0, false), "ConstantOfShape Mul");
}
