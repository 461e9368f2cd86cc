//! Graphs inside nodes, and branches that are always taken.

use plimsoll_onnx::{
    Tensor, attr, node,
    proto::{AttributeProto, GraphProto, NodeProto, attribute_proto::AttributeType},
};

use super::*;
use crate::testing::{F32, I64, Net, value};

fn branch(name: &str, nodes: Vec<NodeProto>, output: &str) -> AttributeProto {
    let graph =
        GraphProto { name: name.into(), node: nodes, output: vec![value(output, F32, None)], ..Default::default() };
    AttributeProto {
        name: name.into(),
        g: Some(graph).into(),
        type_: AttributeType::GRAPH.into(),
        ..Default::default()
    }
}

#[test]
fn branches_are_simplified_and_what_they_read_is_kept() {
    let then =
        branch("then_branch", vec![node::new("Identity", &["i"], &["a"]), node::new("Add", &["a", "w"], &["t"])], "t");
    let otherwise = branch("else_branch", vec![node::new("Add", &["c", "c"], &["e"])], "e");
    let net = Net::new().input("x", F32, &[4]).input("p", 9, &[]).random("w", &[4]).random("k", &[4]);
    let net = net.node(node::new("Identity", &["x"], &["i"])).node(node::new("Neg", &["k"], &["c"]));
    let net = net.node(node::with("If", &["p"], &["y"], vec![then, otherwise])).output("y", F32);
    let found = check(&net.build(), "If");
    // The branch reads the input itself now.
    let inner = plimsoll_onnx::subgraphs(&found.graph().node[0]).next().unwrap();
    assert_eq!(inner.node.len(), 1);
    assert_eq!(inner.node[0].input, ["x", "w"]);
    assert_eq!(weights(&found), ["w", "c"]);
}

#[test]
fn a_name_that_a_branch_defines_itself_hides_the_outer_one() {
    let own = vec![node::new("Neg", &["x"], &["i"]), node::new("Abs", &["i"], &["t"])];
    let otherwise = branch("else_branch", vec![node::new("Abs", &["i"], &["e"])], "e");
    let net = Net::new().input("x", F32, &[4]).input("p", 9, &[]).node(node::new("Identity", &["x"], &["i"]));
    let branches = vec![branch("then_branch", own, "t"), otherwise];
    let found = check_unrun(&net.node(node::with("If", &["p"], &["y"], branches)).output("y", F32).build(), "If");
    let mut graphs = plimsoll_onnx::subgraphs(&found.graph().node[0]);
    assert_eq!(graphs.next().unwrap().node[1].input, ["i"]);
    assert_eq!(graphs.next().unwrap().node[0].input, ["x"]);
}

fn inner(model: &Model) -> Vec<&str> {
    let graphs = plimsoll_onnx::subgraphs(&model.graph().node[0]);
    graphs.flat_map(|g| g.node.iter().map(|n| n.op_type.as_str())).collect()
}

#[test]
fn bodies_fold_what_the_graph_around_them_holds_and_name_nothing_twice() {
    // `k` is a constant outside; `r` is made of it in the branch, beside an outer value of the name that the result would take.
    let nodes = vec![
        node::new("Neg", &["k"], &["r"]),
        node::new("Mul", &["r", "k"], &["q"]),
        node::new("Add", &["x", "q"], &["t"]),
    ];
    let otherwise = branch("else_branch", vec![node::new("Mul", &["x", "k"], &["e"])], "e");
    let net = Net::new().input("x", F32, &[4]).input("p", 9, &[]).random("k", &[4]).random("r_shape", &[4]);
    let branches = vec![branch("then_branch", nodes, "t"), otherwise];
    let net = net.node(node::with("If", &["p"], &["y"], branches)).node(node::new("Add", &["x", "r_shape"], &["z"]));
    let found = check_within(&net.output("y", F32).output("z", F32).build(), [0.0, 1.0], "If Add");
    assert_eq!(inner(&found), ["Add", "Mul"]);
    let then = plimsoll_onnx::subgraphs(&found.graph().node[0]).next().unwrap();
    // What the branch took from outside is still taken from there, not held twice.
    assert_eq!(then.initializer.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["q"]);
}

#[test]
fn loops_are_simplified_and_keep_what_they_carry() {
    let mut body = GraphProto { name: "body".into(), ..Default::default() };
    body.input = vec![value("i", I64, Some(&[])), value("go", 9, Some(&[])), value("s", F32, Some(&[4]))];
    body.node = vec![
        node::new("Identity", &["go"], &["still"]),
        node::new("Identity", &["s"], &["a"]),
        node::new("Add", &["a", "x"], &["b"]),
        node::new("Relu", &["b"], &["c"]),
        node::new("Relu", &["c"], &["next"]),
    ];
    body.output = vec![value("still", 9, Some(&[])), value("next", F32, Some(&[4]))];
    let attribute = AttributeProto {
        name: "body".into(),
        g: Some(body).into(),
        type_: AttributeType::GRAPH.into(),
        ..Default::default()
    };
    let net = Net::new().input("x", F32, &[4]).weight("n", &Tensor::scalar(3i64)).weight("yes", &Tensor::scalar(true));
    let net = net.node(node::with("Loop", &["n", "yes", "x"], &["y"], vec![attribute])).output("y", F32);
    let found = check_unrun(&net.build(), "Loop");
    assert_eq!(inner(&found), ["Identity", "Add", "Relu"]);
    let body = plimsoll_onnx::subgraphs(&found.graph().node[0]).next().unwrap();
    assert_eq!(body.output[1].name, "next");
    assert_eq!(body.input[2], value("s", F32, Some(&[4])));
}

#[test]
fn shapes_that_a_body_declares_for_its_inputs_are_not_believed() {
    // The carried value grows, whatever is declared.
    let mut body = GraphProto { name: "body".into(), ..Default::default() };
    body.input = vec![value("i", I64, Some(&[])), value("go", 9, Some(&[])), value("s", F32, Some(&[4]))];
    body.node = vec![
        node::new("Identity", &["go"], &["still"]),
        node::new("Reshape", &["s", "four"], &["r"]),
        node::with("Concat", &["s", "x"], &["next"], vec![attr::from_int("axis", 0)]),
        node::new("ReduceSum", &["r"], &["sum"]),
    ];
    body.output = vec![value("still", 9, Some(&[])), value("next", F32, Some(&[4])), value("sum", F32, None)];
    let attribute = AttributeProto {
        name: "body".into(),
        g: Some(body).into(),
        type_: AttributeType::GRAPH.into(),
        ..Default::default()
    };
    let net = Net::new().input("x", F32, &[4]).weight("n", &Tensor::scalar(3i64)).weight("yes", &Tensor::scalar(true));
    let net = net.weight("four", &Tensor::vector(&[4i64]));
    let net = net.node(node::with("Loop", &["n", "yes", "x"], &["y", "z"], vec![attribute])).output("y", F32);
    let found = check_unrun(&net.output("z", F32).build(), "Loop");
    assert!(inner(&found).contains(&"Reshape"), "{:?}", inner(&found));
}

#[test]
fn a_branch_that_is_always_taken_stands_in_the_place_of_the_choice() {
    let net = |condition: bool| {
        let then =
            branch("then_branch", vec![node::new("Add", &["x", "k"], &["t"]), node::new("Exp", &["t"], &["u"])], "u");
        let otherwise = branch("else_branch", vec![node::new("Abs", &["x"], &["t"])], "t");
        let net = Net::new().input("x", F32, &[4]).random("k", &[4]).weight("p", &Tensor::scalar(condition));
        net.node(node::with("If", &["p"], &["y"], vec![then, otherwise])).output("y", F32).build()
    };
    check(&net(true), "Add Exp");
    check(&net(false), "Abs");
}

#[test]
fn two_choices_with_the_same_names_inside_are_kept_apart() {
    let branches = |source: &str| {
        let mut then = branch("then_branch", vec![node::new("Mul", &[source, "w"], &["t"])], "t");
        let weight = Tensor::vector(&[if source == "x" { 2f32 } else { 3.0 }]).to_proto("w");
        then.g.mut_or_insert_default().initializer.push(weight);
        vec![then, branch("else_branch", vec![node::new("Abs", &[source], &["t"])], "t")]
    };
    let net = Net::new().input("x", F32, &[4]).weight("p", &Tensor::scalar(true));
    let net = net.node(node::with("If", &["p"], &["a"], branches("x")));
    let net = net.node(node::new("Exp", &["a"], &["b"])).node(node::with("If", &["p"], &["y"], branches("b")));
    let found = check_unrun(&net.output("y", F32).build(), "Mul Exp Mul");
    assert_ne!(found.graph().node[0].input[1], found.graph().node[2].input[1]);
    // A value of the graph around it that a branch hands through, as an output under the name of the choice.
    let then = branch("then_branch", vec![], "x");
    let otherwise = branch("else_branch", vec![node::new("Abs", &["x"], &["t"])], "t");
    let net = Net::new().input("x", F32, &[4]).weight("p", &Tensor::scalar(true));
    let net = net.node(node::with("If", &["p"], &["y"], vec![then, otherwise])).output("y", F32);
    check_unrun(&net.build(), "Identity");
}
