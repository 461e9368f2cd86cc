//! Branches, loops, scans and functions, counted by hand.

use plimsoll_onnx::proto::FunctionProto;

use super::*;

fn graph(name: &str, g: GraphProto) -> AttributeProto {
    let type_ = AttributeType::GRAPH.into();
    AttributeProto { name: name.into(), g: Some(g).into(), type_, ..Default::default() }
}

fn untyped(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.into(), ..Default::default() }
}

fn body(inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
    GraphProto {
        node: nodes,
        input: inputs.iter().map(|i| untyped(i)).collect(),
        output: outputs.iter().map(|o| untyped(o)).collect(),
        ..Default::default()
    }
}

fn constant<T: plimsoll_onnx::Element>(name: &str, shape: &[usize], values: &[T]) -> NodeProto {
    let tensor = Tensor::from_elements(shape, values).unwrap().to_proto("");
    node::with("Constant", &[], &[name], vec![attr::from_tensor("value", tensor)])
}

/// A product with `w` in the one branch, two with `v` in the other.
fn choice() -> Vec<AttributeProto> {
    let small = body(&[], vec![node::new("MatMul", &["x", "w"], &["t"])], &["t"]);
    let two = vec![node::new("MatMul", &["x", "v"], &["s"]), node::new("MatMul", &["s", "v"], &["t"])];
    vec![graph("then_branch", small), graph("else_branch", body(&[], two, &["t"]))]
}

const WEIGHTS: &[(&str, &[usize])] = &[("w", &[10, 10]), ("v", &[10, 10])];

#[test]
fn of_branches_the_dearest_counts() {
    let nodes = vec![
        node::with("ReduceMax", &["x"], &["m"], vec![attr::from_int("keepdims", 0)]),
        node::new("IsNaN", &["m"], &["p"]),
        node::with("If", &["p"], &["y"], choice()),
    ];
    let found = costs(&model(&[-1, 10], WEIGHTS, nodes), 1);
    let row = &found.nodes[2];
    assert_eq!((found.macs, row.macs, row.counted), (200, Some(200), Counted::DearestBranch));
    assert_eq!((found.params, row.params, found.unknown), (200, 200, 0));
    assert_eq!(row.shape.as_deref(), Some([1, 10].as_slice()));
    let inside: Vec<_> = row.bodies.iter().map(|b| (b.runs, b.nodes.iter().map(|n| n.macs).sum())).collect();
    assert_eq!(inside, [(Some(1), Some(100)), (Some(1), Some(200))]);
}

#[test]
fn a_branch_that_is_known_to_be_taken_counts_alone() {
    let nodes = vec![constant("p", &[], &[true]), node::with("If", &["p"], &["y"], choice())];
    let found = costs(&model(&[-1, 10], WEIGHTS, nodes), 1);
    assert_eq!((found.macs, found.nodes[1].counted), (100, Counted::Always));
    assert_eq!(found.nodes[1].bodies.iter().map(|b| b.runs).collect::<Vec<_>>(), [Some(1), Some(0)]);
}

#[test]
fn a_scan_runs_its_body_once_a_step() {
    // h' = tanh(h·r + e·w) for each element e of x [12, 1, 3], h [1, 4].
    let nodes = vec![
        node::new("MatMul", &["h", "r"], &["a"]),
        node::new("MatMul", &["e", "w"], &["b"]),
        node::new("Add", &["a", "b"], &["c"]),
        node::new("Tanh", &["c"], &["next"]),
        node::new("Identity", &["next"], &["each"]),
    ];
    let attributes =
        vec![graph("body", body(&["h", "e"], nodes, &["next", "each"])), attr::from_int("num_scan_inputs", 1)];
    let scan = node::with("Scan", &["start", "x"], &["last", "y"], attributes);
    let weights: &[(&str, &[usize])] = &[("start", &[1, 4]), ("r", &[4, 4]), ("w", &[3, 4])];
    let found = costs(&model(&[12, 1, 3], weights, vec![scan]), 1);
    assert_eq!((found.macs, found.unknown, found.params), (12 * (16 + 12), 0, 4 + 16 + 12));
    assert_eq!(found.nodes[0].bodies[0].runs, Some(12));
    // 36 numbers of x, 4 of the last state, 48 stacked up; inside, at the sum, its two operands and what comes of it.
    let inside = 3 * 4;
    assert_eq!(found.peak_activation_bytes, Some(4 * (36 + 4 + 48 + inside)));
}

/// A loop that multiplies what it carries by `w`, and asks `condition` whether to go on.
fn repeat(limit: Option<i64>, condition: Vec<NodeProto>) -> Vec<NodeProto> {
    let mut nodes = vec![node::new("MatMul", &["h", "w"], &["next"])];
    nodes.extend(condition);
    let inner = body(&["i", "going", "h"], nodes, &["on", "next"]);
    let limit = limit.map(|m| constant("m", &[], &[m]));
    let name = if limit.is_some() { "m" } else { "" };
    let loops = node::with("Loop", &[name, "", "x"], &["y"], vec![graph("body", inner)]);
    limit.into_iter().chain([loops]).collect()
}

fn check_loop(nodes: Vec<NodeProto>, macs: u64, unknown: u64, counted: Counted, runs: Option<u64>) {
    let found = costs(&model(&[-1, 10], WEIGHTS, nodes), 1);
    let row = found.nodes.last().unwrap();
    assert_eq!((found.macs, found.unknown, row.counted), (macs, unknown, counted));
    assert_eq!(row.bodies[0].runs, runs);
}

#[test]
fn loops_by_their_trip_count() {
    let on = || vec![node::new("Identity", &["going"], &["on"])];
    let until = || {
        let max = node::with("ReduceMax", &["next"], &["top"], vec![attr::from_int("keepdims", 0)]);
        vec![max, node::new("IsNaN", &["top"], &["on"])]
    };
    check_loop(repeat(Some(6), on()), 600, 0, Counted::Always, Some(6));
    check_loop(repeat(Some(6), vec![constant("on", &[], &[true])]), 600, 0, Counted::Always, Some(6));
    // A condition may end it earlier.
    check_loop(repeat(Some(6), until()), 600, 0, Counted::AtMost(6), Some(6));
    // Nobody knows how often: one iteration is counted, and the total is said to be unknown.
    check_loop(repeat(None, until()), 100, 1, Counted::OneIteration, None);
    check_loop(repeat(Some(i64::MAX), until()), 100, 1, Counted::OneIteration, None);
    check_loop(repeat(Some(-1), on()), 0, 0, Counted::Always, Some(0));
}

#[test]
fn what_grows_from_iteration_to_iteration_is_not_known() {
    let nodes = vec![
        node::new("MatMul", &["h", "w"], &["a"]),
        node::with("Concat", &["h", "a"], &["next"], vec![attr::from_int("axis", 0)]),
        node::new("Identity", &["going"], &["on"]),
    ];
    let inner = body(&["i", "going", "h"], nodes, &["on", "next"]);
    let loops = node::with("Loop", &["m", "", "x"], &["y"], vec![graph("body", inner)]);
    let found = costs(&model(&[-1, 10], WEIGHTS, vec![constant("m", &[], &[3i64]), loops]), 1);
    assert_eq!((found.unknown, found.peak_activation_bytes), (1, None));
}

/// A function of `x` with weights of its own, called twice.
fn calling(functions: Vec<FunctionProto>, nodes: Vec<NodeProto>) -> Cost {
    let mut proto = model(&[-1, 10], &[], nodes).proto().clone();
    proto.functions = functions;
    let own = OperatorSetIdProto { domain: "own".into(), version: 1, ..Default::default() };
    proto.opset_import.push(own);
    costs(&Model::from_proto(proto).unwrap(), 1)
}

fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    let names = |n: &str| vec![n.to_owned()];
    let (input, output, domain) = (names("a"), names("b"), "own".into());
    FunctionProto { name: name.into(), domain, input, output, node: nodes, ..Default::default() }
}

fn call(op: &str, input: &str, output: &str) -> NodeProto {
    NodeProto { domain: "own".into(), ..node::new(op, &[input], &[output]) }
}

#[test]
fn functions_cost_with_every_call_and_are_stored_once() {
    let layer =
        function("Layer", vec![constant("c", &[10, 10], &[0f32; 100]), node::new("MatMul", &["a", "c"], &["b"])]);
    let twice = function("Twice", vec![call("Layer", "a", "m"), call("Layer", "m", "b")]);
    let nodes = vec![call("Twice", "x", "h"), call("Layer", "h", "y")];
    let found = calling(vec![layer, twice], nodes);
    assert_eq!((found.macs, found.params, found.unknown), (300, 100, 0));
    assert_eq!(found.nodes.iter().map(|n| n.macs).collect::<Vec<_>>(), [Some(200), Some(100)]);
    assert_eq!(found.nodes[0].shape.as_deref(), Some([1, 10].as_slice()));
}

#[test]
fn functions_that_call_themselves_or_explode_are_not_followed_for_ever() {
    let found = calling(vec![function("Again", vec![call("Again", "a", "b")])], vec![call("Again", "x", "y")]);
    assert!(found.unknown > 0);
    // Each calls the one before twice: 2^40 layers.
    let mut functions = vec![function("F0", vec![node::new("Relu", &["a"], &["b"])])];
    for i in 1..=40 {
        let before = format!("F{}", i - 1);
        functions.push(function(&format!("F{i}"), vec![call(&before, "a", "m"), call(&before, "m", "b")]));
    }
    assert!(calling(functions, vec![call("F40", "x", "y")]).unknown > 0);
}

#[test]
fn weights_that_branches_read_are_counted() {
    let branch = |name: &str| {
        let graph = GraphProto {
            node: vec![node::new("MatMul", &["x", "w"], &["t"])],
            output: vec![value("t", &[1, 7])],
            ..Default::default()
        };
        let type_ = AttributeType::GRAPH.into();
        AttributeProto { name: name.into(), g: Some(graph).into(), type_, ..Default::default() }
    };
    let branches = vec![branch("then_branch"), branch("else_branch")];
    let nodes = vec![node::new("IsNaN", &["x"], &["p"]), node::with("If", &["p"], &["y"], branches)];
    let found = costs(&model(&[-1, 10], &[("w", &[10, 7])], nodes), 1);
    assert_eq!((found.params, found.nodes[1].params, found.nodes[1].macs), (70, 70, Some(70)));
}

#[test]
fn weights_that_branches_hold_are_counted_at_any_depth_however_they_are_stored() {
    let type_ = || AttributeType::GRAPH.into();
    let graph = |name: &str, g: GraphProto| AttributeProto {
        name: name.into(),
        g: Some(g).into(),
        type_: type_(),
        ..Default::default()
    };
    let held = Tensor::from_elements(&[10, 7], &[0f32; 70]).unwrap();
    let constant = node::with("Constant", &[], &["c"], vec![attr::from_tensor("value", held.to_proto(""))]);
    let inner = || GraphProto {
        node: vec![constant.clone(), node::new("MatMul", &["x", "c"], &["t"])],
        output: vec![value("t", &[1, 7])],
        ..Default::default()
    };
    let branches = || vec![graph("then_branch", inner()), graph("else_branch", inner())];
    let outer = GraphProto {
        node: vec![node::with("If", &["p"], &["o"], branches())],
        output: vec![value("o", &[1, 7])],
        ..Default::default()
    };
    let nested = vec![graph("then_branch", outer), graph("else_branch", inner())];
    let nodes = vec![node::new("IsNaN", &["x"], &["p"]), node::with("If", &["p"], &["y"], nested)];
    let found = costs(&model(&[-1, 10], &[], nodes), 1);
    assert_eq!((found.params, found.bytes, found.nodes[1].params), (210, 840, 210));
}
