//! Reshapes, slices, and what stands next to them.

use plimsoll_onnx::{
    Tensor, attr, node,
    proto::{NodeProto, tensor_shape_proto::dimension, type_proto},
};

use super::*;
use crate::testing::{F32, Net};

fn ints(net: Net, name: &str, values: &[i64]) -> Net {
    net.weight(name, &Tensor::vector(values))
}

fn ended(net: Net, value: &str) -> Model {
    net.node(node::new("Relu", &[value], &["y"])).output("y", F32).build()
}

#[test]
fn pairs_of_reshapes_are_one() {
    let net = |first: NodeProto, second: NodeProto| {
        let net = Net::new().input("x", F32, &[-1, 1, 6, 1]);
        let net = ints(ints(ints(net, "one", &[1]), "last", &[-1]), "to", &[0, 2, 3]);
        ended(net.node(first).node(second), "b")
    };
    let squeeze = node::new("Squeeze", &["x", "one"], &["a"]);
    check(&net(squeeze.clone(), node::new("Unsqueeze", &["a", "last"], &["b"])), "Reshape Relu");
    check(&net(squeeze, node::new("Squeeze", &["a", "last"], &["b"])), "Reshape Relu");
    let reshape = node::new("Reshape", &["x", "to"], &["a"]);
    check(&net(reshape.clone(), node::new("Unsqueeze", &["a", "one"], &["b"])), "Reshape Relu");
    check(&net(reshape, node::with("Flatten", &["a"], &["b"], vec![attr::from_int("axis", 1)])), "Reshape Relu");
}

#[test]
fn axes_of_two_open_dimensions_are_added_and_dropped_together() {
    // No target can name both dimensions: neither is where it was.
    let mut net = Net::new().input("x", F32, &[-1, -1]);
    let kind = net.graph().input[0].type_.as_mut().and_then(|t| t.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = kind {
        tensor.shape.as_mut().unwrap().dim[1].value = Some(dimension::Value::DimParam("m".into()));
    }
    let net = ints(ints(net, "front", &[0]), "second", &[1]);
    let net = net.node(node::new("Unsqueeze", &["x", "front"], &["a"])).node(node::new(
        "Unsqueeze",
        &["a", "second"],
        &["b"],
    ));
    let found = check(&ended(net, "b"), "Unsqueeze Relu");
    let axes = Tensor::from_proto(&found.graph().initializer[0]).unwrap().to_i64().unwrap();
    assert_eq!(axes, [0, 1]);
}

#[test]
fn a_reshape_that_something_else_reads_stays() {
    let net = ints(ints(Net::new().input("x", F32, &[-1, 1, 6]), "one", &[1]), "last", &[-1]);
    let net =
        net.node(node::new("Squeeze", &["x", "one"], &["a"])).node(node::new("Unsqueeze", &["a", "last"], &["b"]));
    check(&ended(net.output("a", F32), "b"), "Squeeze Unsqueeze Relu");
}

#[test]
fn reductions_drop_their_axes_themselves() {
    let net = |op: &str, reduced: &[i64], dropped: &[i64], keep: i64| {
        let net = ints(Net::new().opset(18).input("x", F32, &[-1, 3, 4]), "r", reduced);
        let net =
            ints(net, "d", dropped).node(node::with(op, &["x", "r"], &["a"], vec![attr::from_int("keepdims", keep)]));
        ended(net.node(node::new("Squeeze", &["a", "d"], &["b"])), "b")
    };
    check(&net("ReduceMean", &[2], &[-1], 1), "ReduceMean Relu");
    check(&net("ReduceMax", &[-1, 1], &[1, 2], 1), "ReduceMax Relu");
    // Not all of them are dropped.
    check(&net("ReduceSum", &[1, 2], &[2], 1), "ReduceSum Squeeze Relu");
}

#[test]
fn a_padding_comes_after_a_reshape_that_adds_axes_only() {
    let net = |target: &[i64], pads: &[i64]| {
        let net = ints(ints(Net::new().input("x", F32, &[-1, 2, 10]), "p", pads), "t", target);
        let net = net.random("w", &[3, 2, 1, 3]).node(node::new("Pad", &["x", "p"], &["a"]));
        let net = net.node(node::new("Reshape", &["a", "t"], &["b"])).node(node::new("Conv", &["b", "w"], &["c"]));
        ended(net, "c")
    };
    let found = check(&net(&[0, 2, 1, 13], &[0, 0, 1, 0, 0, 2]), "Reshape Conv Relu");
    assert_eq!(attr::ints(&found.graph().node[1], "pads"), Some(&[0, 1, 0, 2][..]));
    // A reshape that mixes what was padded with the rest.
    check(&net(&[0, 2, 2, 6], &[0, 0, 1, 0, 0, 1]), "Pad Reshape Conv Relu");
}

#[test]
fn transpositions_of_empty_axes_are_reshapes_beside_reshapes() {
    let net = |shape: &[i64], perm: &[i64]| {
        let net = ints(Net::new().input("x", F32, shape), "t", &[0, -1]);
        let net = net.node(node::with("Transpose", &["x"], &["a"], vec![attr::from_ints("perm", perm)]));
        ended(net.node(node::new("Reshape", &["a", "t"], &["b"])), "b")
    };
    check(&net(&[-1, 4, 1, 3], &[0, 2, 1, 3]), "Reshape Relu");
    check(&net(&[-1, 4, 2, 3], &[0, 2, 1, 3]), "Transpose Reshape Relu");
}

fn sliced(first: [&[i64]; 4], second: [&[i64]; 4]) -> Model {
    let mut net = Net::new().input("x", F32, &[-1, 9, 8]);
    for (prefix, lists) in [("f", first), ("s", second)] {
        for (i, list) in lists.into_iter().enumerate() {
            net = ints(net, &format!("{prefix}{i}"), list);
        }
    }
    let net = net.node(node::new("Slice", &["x", "f0", "f1", "f2", "f3"], &["a"]));
    ended(net.node(node::new("Slice", &["a", "s0", "s1", "s2", "s3"], &["b"])), "b")
}

#[test]
fn slices_are_joined_where_the_second_needs_no_size_of_the_first() {
    check(&sliced([&[1], &[7], &[1], &[1]], [&[2], &[i64::MAX], &[-1], &[2]]), "Slice Relu");
    check(&sliced([&[1], &[7], &[1], &[1]], [&[2], &[4], &[1], &[1]]), "Slice Relu");
    check(&sliced([&[1], &[4], &[1], &[1]], [&[2], &[i64::MAX], &[1], &[1]]), "Slice Relu");
    check(&sliced([&[-3], &[-1], &[1], &[1]], [&[-2], &[8], &[2], &[1]]), "Slice Relu");
    check(&sliced([&[1], &[7], &[1], &[1]], [&[-2], &[i64::MAX], &[1], &[1]]), "Slice Slice Relu");
    check(&sliced([&[0], &[8], &[1], &[2]], [&[1], &[3], &[1], &[1]]), "Slice Slice Relu");
}

#[test]
fn a_choice_by_a_negated_condition_is_the_opposite_choice() {
    let net = Net::new().input("p", 9, &[-1, 3]).input("x", F32, &[-1, 3]).random("k", &[3]);
    let net = net.node(node::new("Not", &["p"], &["q"])).node(node::new("Where", &["q", "x", "k"], &["a"]));
    let found = check_within(&ended(net, "a"), [0.0, 1.0], "Where Relu");
    assert_eq!(found.graph().node[0].input, ["p", "k", "x"]);
}

#[test]
fn switches_that_are_neither_on_nor_off_prove_nothing() {
    // Some executors ask whether it is 1, others whether it is not 0.
    let net = |keep: i64| {
        let net = ints(ints(Net::new().input("x", F32, &[-1, 4]), "r", &[1]), "t", &[-1, 1]);
        let net = net.node(node::with("ReduceSum", &["x", "r"], &["a"], vec![attr::from_int("keepdims", keep)]));
        ended(net.node(node::new("Reshape", &["a", "t"], &["b"])), "b")
    };
    check(&net(1), "ReduceSum Relu");
    check_unrun(&net(1 << 40), "ReduceSum Reshape Relu");
}
