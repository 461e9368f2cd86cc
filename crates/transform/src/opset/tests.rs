//! Models run before and after, and what must be refused.

use plimsoll_onnx::{
    Model, Tensor, Tensors, attr, node,
    proto::{AttributeProto, GraphProto, NodeProto, attribute_proto::AttributeType},
};
use plimsoll_runtime::{Executor, LoadOptions, TractExecutor};

use super::*;
use crate::{
    prune::testing::{Dice, context, patched},
    testing::{F32, Net, value},
};

const SHAPE: [usize; 3] = [2, 3, 4];

/// `x` [2, 3, 4] through some nodes to `y`.
fn model(opset: i64, nodes: Vec<NodeProto>) -> Model {
    let net = Net::new().opset(opset).input("x", F32, &[2, 3, 4]);
    nodes.into_iter().fold(net, Net::node).output("y", F32).build()
}

fn run(model: &Model, shape: &[usize]) -> Vec<f32> {
    let fed = Tensors::from([("x".to_owned(), Dice(4).tensor(shape))]);
    let mut session = TractExecutor.load(&model.to_bytes().unwrap(), &LoadOptions::for_inputs(&fed)).unwrap();
    session.run(&fed).unwrap()["y"].to_vec().unwrap()
}

fn raised(model: &Model, to: i64) -> Result<Model, String> {
    let patch = RaiseOpset { to }.run(model, &context()).map_err(|e| e.to_string())?;
    Ok(patched(model, patch))
}

/// Results are equal at every version on the way, and the form at the end is the one expected.
fn check(from: i64, nodes: Vec<NodeProto>, forms: &[(&str, usize)]) {
    let old = model(from, nodes);
    let expected = run(&old, &SHAPE);
    for to in [10, 11, 13, 18, 20, 21].into_iter().filter(|to| *to > from) {
        let new = raised(&old, to).unwrap();
        assert_eq!(new.opset(""), Some(to));
        assert_eq!(run(&new, &SHAPE), expected, "{from} → {to}");
    }
    let new = raised(&old, 21).unwrap();
    let found: Vec<_> = new.graph().node.iter().map(|n| (n.op_type.as_str(), n.input.len())).collect();
    assert_eq!(found, forms);
}

fn one(op: &str, attributes: Vec<AttributeProto>) -> Vec<NodeProto> {
    vec![node::with(op, &["x"], &["y"], attributes)]
}

#[test]
fn softmax_over_several_dimensions_keeps_its_meaning() {
    let joined = [("Shape", 1), ("Flatten", 1), ("Softmax", 1), ("Reshape", 2)];
    check(11, one("Softmax", vec![]), &joined);
    check(9, one("Softmax", vec![attr::from_int("axis", 2)]), &[("Softmax", 1)]);
    check(11, one("LogSoftmax", vec![attr::from_int("axis", -1)]), &[("LogSoftmax", 1)]);
}

#[test]
fn a_softmax_that_relied_on_the_default_does_not_change_it() {
    let new = raised(&model(11, one("Softmax", vec![])), 13).unwrap();
    let soft = new.graph().node.iter().find(|n| node::is(n, "Softmax")).unwrap();
    assert_eq!(attr::int(soft, "axis"), Some(-1));
}

#[test]
fn lists_become_inputs() {
    let axes = |axes: &[i64]| attr::from_ints("axes", axes);
    check(11, one("Unsqueeze", vec![axes(&[0])]), &[("Unsqueeze", 2)]);
    check(11, one("ReduceSum", vec![axes(&[1]), attr::from_int("keepdims", 0)]), &[("ReduceSum", 2)]);
    check(13, one("ReduceMean", vec![axes(&[1, 2])]), &[("ReduceMean", 2)]);
    check(11, one("ReduceMax", vec![]), &[("ReduceMax", 1)]);
    let squeeze = vec![
        node::with("Unsqueeze", &["x"], &["u"], vec![axes(&[1])]),
        node::with("Squeeze", &["u"], &["y"], vec![axes(&[1])]),
    ];
    check(9, squeeze, &[("Unsqueeze", 2), ("Squeeze", 2)]);
    let slice = vec![attr::from_ints("starts", &[0, 1]), attr::from_ints("ends", &[2, 3]), axes(&[1, 2])];
    check(9, one("Slice", slice), &[("Slice", 4)]);
    let split = |attributes| {
        vec![node::with("Split", &["x"], &["a", "b"], attributes), node::new("Concat", &["b", "a"], &["y"])]
    };
    let concat = |mut nodes: Vec<NodeProto>| {
        nodes[1].attribute.push(attr::from_int("axis", 2));
        nodes
    };
    let last = || attr::from_int("axis", 2);
    check(11, concat(split(vec![last(), attr::from_ints("split", &[1, 3])])), &[("Split", 2), ("Concat", 2)]);
    check(11, concat(split(vec![last()])), &[("Split", 1), ("Concat", 2)]);
}

#[test]
fn numbers_become_inputs() {
    let bounds = vec![attr::from_float("min", -0.25), attr::from_float("max", 0.5)];
    check(9, one("Clip", bounds), &[("Clip", 3)]);
    check(9, one("Clip", vec![attr::from_float("max", 0.5)]), &[("Clip", 3)]);
    let pads = attr::from_ints("pads", &[0, 0, 1, 0, 0, 2]);
    check(9, one("Pad", vec![pads.clone(), attr::from_float("value", 1.5)]), &[("Pad", 3)]);
    check(9, one("Pad", vec![pads]), &[("Pad", 2)]);
    check(9, one("Dropout", vec![attr::from_float("ratio", 0.3)]), &[("Dropout", 1)]);
}

#[test]
fn upsample_becomes_resize_of_the_same_places() {
    let scales = Tensor::vector(&[1f32, 1.0, 2.0, 2.0]);
    let net = Net::new().opset(9).input("x", F32, &[1, 2, 3, 4]).weight("s", &scales);
    let old = net.node(node::new("Upsample", &["x", "s"], &["y"])).output("y", F32).build();
    let shape = [1, 2, 3, 4];
    let x: Vec<f32> = Dice(4).tensor(&shape).to_vec().unwrap();
    let place = |i: usize| (i / 48) * 12 + (i / 8 % 6) / 2 * 4 + (i % 8) / 2;
    let expected: Vec<f32> = (0..96).map(|i| x[place(i)]).collect();
    for to in [11, 13, 21] {
        assert_eq!(run(&raised(&old, to).unwrap(), &shape), expected);
    }
}

#[test]
fn what_is_not_known_or_has_no_newer_form_is_refused() {
    let refused = |from, to, nodes| raised(&model(from, nodes), to).unwrap_err();
    assert!(refused(11, 13, one("Frobnicate", vec![])).contains("not known here"));
    let mask = vec![node::new("Dropout", &["x"], &["y", "mask"])];
    assert!(refused(11, 13, mask).contains("mask"));
    assert!(refused(20, 21, vec![node::new("GroupNormalization", &["x", "x", "x"], &["y"])]).contains("channels"));
    assert!(refused(6, 13, one("Relu", vec![])).contains("only from 7"));
    assert!(refused(13, 22, one("Relu", vec![])).contains("up to 21"));
    let same = RaiseOpset { to: 13 }.run(&model(17, one("Relu", vec![])), &context());
    assert!(matches!(same, Err(Refusal::NoMatch)));
}

#[test]
fn operators_of_other_domains_are_left_alone() {
    let mut nodes = one("Relu", vec![]);
    nodes.push(NodeProto { domain: "com.example".into(), ..node::new("Frobnicate", &["x"], &["z"]) });
    let new = raised(&model(11, nodes), 13).unwrap();
    assert_eq!(new.graph().node[1].domain, "com.example");
}

#[test]
fn a_patch_that_would_rewrite_nodes_is_left_to_the_pass() {
    let mut patch = Patch::new();
    let softmax = model(11, one("Softmax", vec![]));
    let error = require(&softmax, 13, "one scale a channel", &mut patch).unwrap_err().to_string();
    assert!(error.contains("raise-opset") && patch.is_empty(), "{error}");
    require(&model(11, one("Relu", vec![])), 13, "one scale a channel", &mut patch).unwrap();
    assert!(!patch.is_empty());
}

/// A branch that a condition chooses has nodes of its own, and reads values from outside.
#[test]
fn nodes_inside_branches_are_raised_too() {
    let branch = |op: &str| {
        let mut attributes = vec![attr::from_int("keepdims", 0)];
        attributes.push(attr::from_ints("axes", &[1]));
        GraphProto {
            name: "b".into(),
            node: vec![NodeProto { output: vec![format!("{op}_out")], ..node::with(op, &["x"], &[], attributes) }],
            output: vec![value(&format!("{op}_out"), F32, None)],
            ..Default::default()
        }
    };
    let graph = |name: &str, g: GraphProto| AttributeProto {
        name: name.into(),
        type_: AttributeType::GRAPH.into(),
        g: Some(g).into(),
        ..Default::default()
    };
    let branches = vec![graph("then_branch", branch("ReduceSum")), graph("else_branch", branch("ReduceMax"))];
    let build = |condition: bool| {
        let net = Net::new().opset(11).input("x", F32, &[2, 3, 4]).weight("c", &Tensor::scalar(condition));
        net.node(node::with("If", &["c"], &["y"], branches.clone())).output("y", F32).build()
    };
    for condition in [true, false] {
        let old = build(condition);
        let new = raised(&old, 21).unwrap();
        assert_eq!(run(&new, &SHAPE), run(&old, &SHAPE));
        let inner: Vec<usize> = plimsoll_onnx::all_nodes(new.graph()).iter().skip(1).map(|n| n.input.len()).collect();
        assert_eq!(inner, [2, 2]);
    }
}

/// Results stay when a model is written in an older version, and each node has so many inputs there.
fn check_down(from: i64, to: i64, nodes: Vec<NodeProto>, inputs: &[usize]) {
    let old = raised(&model(11, nodes), from).unwrap();
    let new = lower(&old, to).unwrap();
    assert_eq!((new.opset(""), run(&new, &SHAPE)), (Some(to), run(&old, &SHAPE)));
    assert_eq!(new.graph().node.iter().map(|n| n.input.len()).collect::<Vec<_>>(), inputs);
    assert!(plimsoll_onnx::check(&new).is_ok());
}

#[test]
fn lists_become_attributes_again() {
    let axes = |axes: &[i64]| attr::from_ints("axes", axes);
    check_down(21, 11, one("Unsqueeze", vec![axes(&[0])]), &[1]);
    check_down(21, 12, one("ReduceMean", vec![axes(&[1])]), &[1]);
    check_down(21, 13, one("ReduceSum", vec![axes(&[1])]), &[2]);
    check_down(13, 11, one("ReduceSum", vec![axes(&[1])]), &[1]);
    check_down(20, 11, one("Softmax", vec![attr::from_int("axis", -1)]), &[1]);
    // What held the list is gone.
    let old = raised(&model(11, one("ReduceSum", vec![axes(&[1])])), 13).unwrap();
    assert_eq!(lower(&old, 11).unwrap().graph().initializer.len(), 0);
}

#[test]
fn what_an_older_version_cannot_say_is_named() {
    let refused = |model: &Model, to: i64, says: &str| {
        let why = lower(model, to).unwrap_err();
        assert!(why.contains(says), "{why}");
    };
    refused(&model(20, one("Gelu", vec![])), 17, "came in with opset 20");
    refused(&model(17, one("Softmax", vec![attr::from_int("axis", 1)])), 11, "over all axes");
    refused(&model(17, one("NoSuch", vec![])), 13, "not known");
    refused(&model(17, one("Relu", vec![])), 9, "not below 11");
    let noop = vec![attr::from_int("noop_with_empty_axes", 1)];
    refused(&model(17, one("ReduceSum", noop)), 11, "does nothing without axes");
    let computed = vec![node::new("Shape", &["x"], &["s"]), node::new("ReduceSum", &["x", "s"], &["y"])];
    refused(&model(17, computed), 11, "are computed");
    let later = one("Shape", vec![attr::from_int("start", 1)]);
    refused(&model(17, later), 13, "`start` came in with opset 15");
}
