//! Structure: identities, pairs, copies, dead parts, sub-graphs, outputs.

use plimsoll_onnx::{DType, Tensor, attr, node, proto::NodeProto};

use super::*;
use crate::testing::{F32, I64, Net, value};

fn cast(from: &str, to: &str, dtype: DType) -> NodeProto {
    node::with("Cast", &[from], &[to], vec![attr::from_int("to", dtype.to_onnx().into())])
}

#[test]
fn casts_that_lose_precision_stay() {
    let net = |dtypes: &[DType]| {
        let mut net = Net::new().input("v0", F32, &[-1, 4]);
        for (i, &dtype) in dtypes.iter().enumerate() {
            net = net.node(cast(&format!("v{i}"), &format!("v{}", i + 1), dtype));
        }
        let last = dtypes.len();
        net.node(node::new("Neg", &[&format!("v{last}")], &["y"])).output("y", dtypes[last - 1].to_onnx()).build()
    };
    check(&net(&[DType::F16, DType::F32]), "Cast Cast Neg");
    check(&net(&[DType::I32, DType::F32]), "Cast Cast Neg");
    check(&net(&[DType::F64, DType::F32]), "Neg");
    check(&net(&[DType::F64, DType::I32]), "Cast Neg");
    check(&net(&[DType::F32]), "Neg");
}

#[test]
fn neutral_operands_go_only_where_shape_and_values_stay() {
    let net = |op: &str, input: &[i64], constant: &Tensor, swapped: bool| {
        let operands = if swapped { ["k", "x"] } else { ["x", "k"] };
        let net = Net::new().input("x", F32, input).weight("k", constant).node(node::new(op, &operands, &["c"]));
        net.node(node::new("Relu", &["c"], &["y"])).output("y", F32).build()
    };
    let zeros = |n| Tensor::vector(&vec![0f32; n]);
    let ones = |n| Tensor::vector(&vec![1f32; n]);
    check(&net("Add", &[-1, 4], &zeros(4), true), "Relu");
    check(&net("Sub", &[-1, 4], &zeros(1), false), "Relu");
    check(&net("Mul", &[-1, 4], &ones(4), true), "Relu");
    check(&net("Div", &[-1, 4], &ones(4), false), "Relu");
    check(&net("Sub", &[-1, 4], &zeros(4), true), "Sub Relu");
    check(&net("Div", &[-1, 4], &ones(4), true), "Div Relu");
    // It would widen the result.
    check(&net("Add", &[-1, 1], &zeros(4), false), "Add Relu");
    check(&net("Add", &[-1, 4], &Tensor::vector(&[0f32, 0.0, f32::NAN, 0.0]), false), "Add Relu");
}

#[test]
fn transpositions_are_combined() {
    let transpose = |from: &str, to: &str, perm: &[i64]| {
        node::with("Transpose", &[from], &[to], vec![attr::from_ints("perm", perm)])
    };
    let net = |a: &[i64], b: &[i64]| {
        let net = Net::new().input("x", F32, &[-1, 2, 3]).node(transpose("x", "t", a)).node(transpose("t", "u", b));
        net.node(node::new("Relu", &["u"], &["y"])).output("y", F32).build()
    };
    check(&net(&[1, 2, 0], &[2, 0, 1]), "Relu");
    let found = check(&net(&[1, 2, 0], &[0, 2, 1]), "Transpose Relu");
    assert_eq!(attr::ints(&found.graph().node[0], "perm"), Some(&[1, 0, 2][..]));
}

#[test]
fn reshapes_are_combined_and_what_the_second_copies_is_written_out() {
    let net = |second: &[i64]| {
        let net = Net::new().input("x", F32, &[2, 6]).weight("a", &Tensor::vector(&[3i64, 4]));
        let net = net.weight("b", &Tensor::vector(second)).node(node::new("Reshape", &["x", "a"], &["r"]));
        let net = net.node(node::new("Reshape", &["r", "b"], &["s"]));
        net.node(node::new("Relu", &["s"], &["y"])).output("y", F32).build()
    };
    check(&net(&[4, -1]), "Reshape Relu");
    check(&net(&[2, 6]), "Relu");
    let found = check(&net(&[0, 2, 2]), "Reshape Relu");
    assert_eq!(Tensor::from_proto(&found.graph().initializer[0]).unwrap().to_i64().unwrap(), [3, 2, 2]);
}

#[test]
fn equal_work_is_done_once() {
    let net = Net::new().input("x", F32, &[-1, 4]);
    let net = net.node(node::new("Exp", &["x"], &["a"])).node(node::new("Exp", &["x"], &["b"]));
    let net = net.node(node::new("Neg", &["a"], &["c"])).node(node::new("Neg", &["b"], &["d"]));
    check(&net.node(node::new("Mul", &["c", "d"], &["y"])).output("y", F32).build(), "Exp Neg Mul");
    // Both are outputs: each keeps its name.
    let net = Net::new().input("x", F32, &[-1, 4]);
    let net = net.node(node::new("Exp", &["x"], &["a"])).node(node::new("Exp", &["x"], &["b"]));
    check(&net.output("a", F32).output("b", F32).build(), "Exp Exp");
    let soft = |to: &str, axis| node::with("Softmax", &["x"], &[to], vec![attr::from_int("axis", axis)]);
    let net = Net::new().input("x", F32, &[2, 4]).node(soft("a", 0)).node(soft("b", 1));
    check(&net.node(node::new("Sub", &["a", "b"], &["y"])).output("y", F32).build(), "Softmax Softmax Sub");
}

#[test]
fn equal_weights_are_held_once_and_others_kept_apart() {
    let net = Net::new().input("x", F32, &[-1, 2]);
    let net = net.weight("a", &Tensor::vector(&[1f32, 2.0])).weight("b", &Tensor::vector(&[1f32, 2.0]));
    let net = net.weight("c", &Tensor::from_elements(&[1, 2], &[1f32, 2.0]).unwrap());
    let net = net.weight("d", &Tensor::vector(&[0i64, 0])).weight("e", &Tensor::vector(&[0f64, 0.0]));
    let net = net.node(node::new("Add", &["x", "a"], &["p"])).node(node::new("Mul", &["p", "b"], &["q"]));
    let net = net.node(node::new("Sub", &["q", "c"], &["y"])).output("y", F32);
    let net = net.node(cast("e", "f", DType::I64)).node(node::new("Add", &["d", "f"], &["z"])).output("z", I64);
    let found = check(&net.build(), "Add Mul Sub Add");
    let mut names = weights(&found);
    names.sort_unstable();
    assert_eq!(names, ["a", "c", "d"]);
}

#[test]
fn outputs_keep_their_names() {
    // An input that is handed through.
    let net = Net::new().input("x", F32, &[4]).node(node::new("Identity", &["x"], &["y"])).output("y", F32);
    check(&net.build(), "Identity");
    // A value that goes out under its own name and under another.
    let net = Net::new().input("x", F32, &[4]).node(node::new("Relu", &["x"], &["r"]));
    let net = net.node(node::new("Identity", &["r"], &["y"])).output("r", F32).output("y", F32);
    check(&net.build(), "Relu Identity");
    // One that goes out under another name only, and is read inside.
    let net = Net::new().input("x", F32, &[4]).node(node::new("Relu", &["x"], &["r"]));
    let net = net.node(node::new("Identity", &["r"], &["y"])).node(node::new("Neg", &["r"], &["z"]));
    let found = check(&net.output("y", F32).output("z", F32).build(), "Relu Neg");
    assert_eq!(found.graph().node[1].input, ["y"]);
    // A weight that goes out.
    let net = Net::new().input("x", F32, &[4]).random("w", &[4]).node(node::new("Identity", &["w"], &["y"]));
    check_unrun(
        &net.node(node::new("Add", &["x", "w"], &["z"])).output("y", F32).output("z", F32).build(),
        "Identity Add",
    );
}

#[test]
fn dead_parts_go_and_inputs_stay() {
    let net = Net::new().input("x", F32, &[4]).input("unused", F32, &[4]).random("w", &[4]).random("v", &[4]);
    let net = net.node(node::new("Exp", &["x"], &["dead"])).node(node::new("Add", &["dead", "w"], &["deader"]));
    let found = check(&net.node(node::new("Relu", &["x"], &["y"])).output("y", F32).build(), "Relu");
    assert!(weights(&found).is_empty());
    assert_eq!(found.inputs().len(), 2);
}

#[test]
fn nothing_is_lost_but_what_a_pass_takes() {
    let mut net = Net::new().input("x", F32, &[-1, 4]).node(node::new("Identity", &["x"], &["i"]));
    net.proto.producer_name = "somebody".into();
    net.proto.metadata_props.push(Default::default());
    net.proto.metadata_props[0].key = "k".into();
    net.graph().value_info.push(value("r", F32, Some(&[-1, 4])));
    net.graph().value_info.push(value("i", F32, Some(&[-1, 4])));
    let mut relu = node::new("Relu", &["i"], &["r"]);
    (relu.name, relu.doc_string) = ("kept".into(), "why".into());
    let net = net.node(relu).node(node::new("Neg", &["r"], &["y"])).output("y", F32);
    let found = check(&net.build(), "Relu Neg");
    assert_eq!(found.proto().producer_name, "somebody");
    assert_eq!(found.proto().metadata_props.len(), 1);
    assert_eq!(found.graph().node[0].doc_string, "why");
    let said: Vec<&str> = found.graph().value_info.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(said, ["r"]);
}

/// Operator sets 7 to 24 differ in where Squeeze, Unsqueeze, Pad, Clip and the reductions take their axes and bounds from.
#[test]
fn every_operator_set_gives_the_same() {
    for opset in 7..=24 {
        let mut net = Net::new().opset(opset).input("x", F32, &[1, 3, 6, 6]).random("w", &[4, 3, 3, 3]);
        let pads = [0, 0, 1, 1, 0, 0, 1, 1];
        net = if opset < 11 {
            net.node(node::with("Pad", &["x"], &["p"], vec![attr::from_ints("pads", &pads)]))
        } else {
            net.weight("pads", &Tensor::vector(&pads)).node(node::new("Pad", &["x", "pads"], &["p"]))
        };
        net = net.node(node::new("Conv", &["p", "w"], &["c"])).node(node::new("Dropout", &["c"], &["d"]));
        net = if opset < 13 {
            net.node(node::with("Unsqueeze", &["d"], &["u"], vec![attr::from_ints("axes", &[0])])).node(node::with(
                "Squeeze",
                &["u"],
                &["s"],
                vec![attr::from_ints("axes", &[0])],
            ))
        } else {
            net.weight("axes", &Tensor::vector(&[0i64]))
                .node(node::new("Unsqueeze", &["d", "axes"], &["u"]))
                .node(node::new("Squeeze", &["u", "axes"], &["s"]))
        };
        net = net.node(node::new("GlobalAveragePool", &["s"], &["g"])).node(node::new("Flatten", &["g"], &["y"]));
        check(&net.output("y", F32).build(), "Conv GlobalAveragePool Flatten");
    }
}

/// A Sum of one value with a second output, which the operator does not have: a graph output reads it.
#[test]
fn output_that_an_operator_does_not_have_is_not_lost() {
    let net = Net::new().input("x", F32, &[2]).node(node::new("Neg", &["x"], &["a"]));
    let net = net.node(node::new("Sum", &["a"], &["y", "z"])).output("y", F32).output("z", F32);
    check_unrun(&net.build(), "Neg Sum");
}
