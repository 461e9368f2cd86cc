//! Products with one-hot vectors, and what follows a look-up.

use plimsoll_onnx::{DType, Tensor, attr, node, proto::NodeProto};

use super::*;
use crate::testing::{F32, I64, Net};

const I32: i32 = 6;
const U8: i32 = 2;

fn cast(from: &str, to: &str, dtype: DType) -> NodeProto {
    node::with("Cast", &[from], &[to], vec![attr::from_int("to", dtype.to_onnx().into())])
}

/// Whole numbers `[n, 3]` compared with `places`, cast, and multiplied by a matrix of `width` columns.
fn compared(dtype: i32, places: &Tensor, width: usize) -> Net {
    let count = places.shape().last().copied().unwrap_or(0);
    Net::new()
        .input("x", dtype, &[-1, 3])
        .weight("a", &Tensor::vector(&[2i64]))
        .weight("p", places)
        .random("w", &[count, width])
        .node(node::new("Unsqueeze", &["x", "a"], &["u"]))
        .node(node::new("Equal", &["u", "p"], &["e"]))
        .node(cast("e", "h", DType::F32))
        .node(node::new("MatMul", &["h", "w"], &["m"]))
}

/// A last node that nothing can take in, so that what stands before it is seen.
fn ended(net: Net, value: &str) -> Model {
    net.node(node::new("Identity", &[value], &["y"])).output("y", F32).build()
}

fn i32s(values: &[i32]) -> Tensor {
    Tensor::vector(values)
}

fn encoded(dtype: i32, depth: i64, values: &[f32], axis: i64) -> Net {
    Net::new()
        .input("x", dtype, &[-1, 3])
        .weight("d", &Tensor::scalar(depth))
        .weight("v", &Tensor::vector(values))
        .random("w", &[depth as usize, 5])
        .node(node::with("OneHot", &["x", "d", "v"], &["h"], vec![attr::from_int("axis", axis)]))
        .node(node::new("MatMul", &["h", "w"], &["m"]))
}

#[test]
fn numbers_without_a_place_look_up_a_row_of_zeros() {
    let places: Vec<i32> = (0..10).collect();
    for range in [[-3.0, 13.0], [-2e9, 2e9], [0.0, 9.0], [10.0, 10.0], [-1.0, -1.0]] {
        check_within(&ended(compared(I32, &i32s(&places), 5), "m"), range, "Clip Gather");
    }
    let places: Vec<i64> = (0..10).collect();
    check_within(&ended(compared(I64, &Tensor::vector(&places), 5), "m"), [-3.0, 13.0], "Clip Gather");
}

#[test]
fn places_may_start_anywhere_and_stand_in_any_order() {
    let places: Vec<i32> = (-4..12).collect();
    check_within(&ended(compared(I32, &i32s(&places), 5), "m"), [-8.0, 14.0], "Clip Sub Gather");
    let shuffled = [5, 3, 7, 4, 9, 6, 8, 11, 10];
    check_within(&ended(compared(I32, &i32s(&shuffled), 5), "m"), [0.0, 14.0], "Clip Sub Gather");
    // One that stands twice counts twice, one that is missing gives zeros.
    let twice = [0, 1, 2, 3, 3, 4, 6, 7, 8, 9];
    check_within(&ended(compared(I32, &i32s(&twice), 5), "m"), [-1.0, 11.0], "Clip Gather");
    let apart = [0, 10, 20, 30, 40, 50, 60, 70, 80];
    check_within(&ended(compared(I32, &i32s(&apart), 5), "m"), [0.0, 90.0], "Unsqueeze Equal Cast MatMul");
    let edge: Vec<i32> = (0..9).map(|i| i32::MIN + i).collect();
    check_within(&ended(compared(I32, &i32s(&edge), 5), "m"), [0.0, 9.0], "Unsqueeze Equal Cast MatMul");
}

#[test]
fn bytes_need_no_clip_and_become_an_index() {
    let places: Vec<u8> = (0..=255).collect();
    check_within(&ended(compared(U8, &Tensor::vector(&places), 5), "m"), [0.0, 255.0], "Cast Gather");
    let few: Vec<u8> = (0..20).collect();
    check_within(&ended(compared(U8, &Tensor::vector(&few), 5), "m"), [0.0, 255.0], "Cast Clip Gather");
}

#[test]
fn few_places_and_readers_in_between_are_left_alone() {
    check(&ended(compared(I32, &i32s(&[0, 1, 2]), 5), "m"), "Unsqueeze Equal Cast MatMul");
    let places: Vec<i32> = (0..10).collect();
    let net = compared(I32, &i32s(&places), 5).output("h", F32);
    check(&ended(net, "m"), "Unsqueeze Equal Cast MatMul");
    let net = compared(I32, &i32s(&places), 5).output("w", F32);
    check(&ended(net, "m"), "Unsqueeze Equal Cast MatMul");
    let net = compared(I32, &i32s(&places), 5).opset(11);
    check_unrun(&ended(net, "m"), "Unsqueeze Equal Cast MatMul");
}

#[test]
fn infinite_weights_are_no_table() {
    let places: Vec<i32> = (0..10).collect();
    let mut net = compared(I32, &i32s(&places), 5);
    let mut weight = vec![0f32; 50];
    weight[7] = f32::INFINITY;
    net.graph().initializer.retain(|t| t.name != "w");
    let net = net.weight("w", &Tensor::from_elements(&[10, 5], &weight).unwrap());
    check(&ended(net, "m"), "Unsqueeze Equal Cast MatMul");
}

#[test]
fn a_layer_with_bias_and_factors_is_looked_up_whole() {
    let places: Vec<i32> = (0..10).collect();
    let attributes = vec![attr::from_int("transB", 1), attr::from_float("alpha", 0.5), attr::from_float("beta", 2.0)];
    let net = Net::new()
        .input("x", I32, &[-1, 1])
        .weight("p", &i32s(&places))
        .random("w", &[4, 10])
        .random("b", &[4])
        .node(node::new("Equal", &["p", "x"], &["e"]))
        .node(cast("e", "h", DType::F32))
        .node(node::with("Gemm", &["h", "w", "b"], &["m"], attributes));
    check_within(&ended(net, "m"), [-2.0, 12.0], "Squeeze Clip Gather");
}

#[test]
fn chosen_constants_scale_the_rows() {
    let places: Vec<i32> = (0..10).collect();
    let net = |cold: f32| {
        let net = Net::new()
            .input("x", I32, &[-1, 3, 1])
            .weight("p", &i32s(&places))
            .weight("one", &Tensor::scalar(3f32))
            .weight("zero", &Tensor::scalar(cold))
            .random("w", &[10, 4])
            .node(node::new("Equal", &["x", "p"], &["e"]))
            .node(node::new("Where", &["e", "one", "zero"], &["h"]))
            .node(node::new("MatMul", &["h", "w"], &["m"]));
        ended(net, "m")
    };
    check_within(&net(0.0), [-2.0, 12.0], "Squeeze Clip Gather");
    check_within(&net(0.5), [-2.0, 12.0], "Equal Where MatMul");
}

#[test]
fn encodings_count_negative_numbers_from_the_end() {
    // tract 0.23.9 runs no `OneHot` on numbers without a place.
    let wrapped = "Less Add Where Clip Gather";
    for dtype in [I32, I64] {
        check_within(&ended(encoded(dtype, 12, &[0.0, 2.0], -1), "m"), [-12.0, 11.0], wrapped);
    }
    check_within(&ended(encoded(I64, 12, &[0.0, 1.0], 2), "m"), [-12.0, -10.0], wrapped);
    check_within(&ended(encoded(I64, 12, &[0.1, 1.0], -1), "m"), [-12.0, 11.0], "OneHot MatMul");
    check_within(&ended(encoded(I64, 3, &[0.0, 1.0], 1), "m"), [-2.0, 2.0], "OneHot MatMul");
}

#[test]
fn what_follows_a_look_up_is_done_to_the_table() {
    let places: Vec<i32> = (0..10).collect();
    let net = || compared(I32, &i32s(&places), 5).random("b", &[1, 1, 5]).weight("k", &Tensor::scalar(0.5f32));
    // A value that several nodes read, and a last one that all of them lead to.
    let gate = net()
        .node(node::new("Add", &["m", "b"], &["s"]))
        .node(node::new("Mul", &["k", "s"], &["t"]))
        .node(node::new("Tanh", &["t"], &["q"]))
        .node(node::new("Mul", &["s", "q"], &["v"]));
    check_within(&ended(gate, "v"), [-3.0, 13.0], "Clip Gather");
    // As far as nothing else reads it.
    let read = net()
        .node(node::new("Add", &["m", "b"], &["s"]))
        .node(node::new("Tanh", &["s"], &["t"]))
        .node(node::new("Sub", &["s", "t"], &["v"]))
        .output("t", F32);
    check_within(&ended(read, "v"), [-3.0, 13.0], "Clip Gather Tanh Sub");
}

#[test]
fn what_differs_from_row_to_row_is_not_done_to_the_table() {
    let net = |operand: &[usize]| {
        let net = Net::new().input("x", I64, &[3, 4]).random("w", &[10, 5]).random("b", operand);
        let net = net.node(node::new("Gather", &["w", "x"], &["g"])).node(node::new("Add", &["g", "b"], &["s"]));
        ended(net, "s")
    };
    check_within(&net(&[4, 5]), [0.0, 9.0], "Gather Add");
    check_within(&net(&[3, 1, 1]), [0.0, 9.0], "Gather Add");
    check_within(&net(&[1, 1, 1, 5]), [0.0, 9.0], "Gather Add");
    check_within(&net(&[1, 1, 5]), [0.0, 9.0], "Gather");
    // Widened rows are another table.
    let net = Net::new().input("x", I64, &[3]).random("w", &[10, 1]).random("b", &[5]);
    let net = net.node(node::new("Gather", &["w", "x"], &["g"])).node(node::new("Mul", &["g", "b"], &["s"]));
    check_within(&ended(net, "s"), [0.0, 9.0], "Gather Mul");
    // Two look-ups in one table.
    let net = Net::new().input("x", I64, &[3]).input("z", I64, &[3]).random("w", &[10, 5]);
    let net = net.node(node::new("Gather", &["w", "x"], &["g"])).node(node::new("Relu", &["g"], &["s"]));
    let net = net.node(node::new("Gather", &["w", "z"], &["h"])).node(node::new("Add", &["s", "h"], &["t"]));
    check_within(&ended(net, "t"), [0.0, 9.0], "Gather Relu Gather Add");
}
