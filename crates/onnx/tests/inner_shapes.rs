//! Shapes across the borders of graphs, and of what PyTorch computes paddings with.

use plimsoll_onnx::{
    Model, NodeId, Tensor, attr, node,
    proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
        ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto, type_proto,
    },
    shape::{Bindings, Runs, Shapes, infer},
};

fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.into(), ..Default::default() }
}

/// Follows nodes from `x` [batch, 6], float32.
fn follow(nodes: Vec<NodeProto>) -> (Shapes, usize) {
    use tensor_shape_proto::dimension::Value;
    let dims = [Value::DimParam("batch".into()), Value::DimValue(6)];
    let dim = |v: Value| tensor_shape_proto::Dimension { value: Some(v), ..Default::default() };
    let shape = TensorShapeProto { dim: dims.into_iter().map(dim).collect(), ..Default::default() };
    let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape).into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    let last = nodes.len() - 1;
    let graph = GraphProto {
        node: nodes,
        input: vec![ValueInfoProto { type_: Some(kind).into(), ..named("x") }],
        output: vec![named("y")],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    let graph = Some(graph).into();
    let model = ModelProto { ir_version: 8, opset_import: vec![opset], graph, ..Default::default() };
    (infer(&Model::from_proto(model).unwrap(), &Bindings::batch(2)), last)
}

fn constant<T: plimsoll_onnx::Element>(name: &str, values: &[T]) -> NodeProto {
    node::with("Constant", &[], &[name], vec![attr::from_tensor("value", Tensor::vector(values).to_proto(""))])
}

fn graph(name: &str, inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> AttributeProto {
    let [input, output] = [inputs, outputs].map(|names| names.iter().map(|n| named(n)).collect());
    let g = GraphProto { node: nodes, input, output, ..Default::default() };
    AttributeProto { name: name.into(), type_: AttributeType::GRAPH.into(), g: Some(g).into(), ..Default::default() }
}

#[test]
fn paddings_that_pytorch_turns_over_are_known() {
    let one = |name: &str, value: i64| constant(name, &[value]);
    let nodes = vec![
        // Before and after the last axis, then before and after the first, which ONNX wants as starts and ends.
        constant("pairs", &[3i64, 4, 1, 2]),
        constant("two", &[-1i64, 2]),
        node::new("Reshape", &["pairs", "two"], &["matrix"]),
        one("axis", 0),
        one("start", -1),
        one("end", i64::MIN + 1),
        one("step", -1),
        node::new("Slice", &["matrix", "start", "end", "axis", "step"], &["turned"]),
        node::with("Transpose", &["turned"], &["flipped"], vec![attr::from_ints("perm", &[1, 0])]),
        one("flat", -1),
        node::new("Reshape", &["flipped", "flat"], &["pads"]),
        node::new("Pad", &["x", "pads"], &["y"]),
    ];
    assert_eq!(follow(nodes).0.concrete("y"), Some(vec![1 + 2 + 2, 3 + 6 + 4]));
}

#[test]
fn branches_that_differ_agree_on_what_they_agree_on() {
    let condition = || {
        let max = node::with("ReduceMax", &["x"], &["m"], vec![attr::from_int("keepdims", 0)]);
        vec![max, node::new("IsNaN", &["m"], &["p"])]
    };
    let choose = |then: Vec<NodeProto>, other: Vec<NodeProto>| {
        let branches = vec![graph("then_branch", &[], then, &["t"]), graph("else_branch", &[], other, &["t"])];
        let nodes = condition().into_iter().chain([node::with("If", &["p"], &["y"], branches)]).collect();
        let (shapes, last) = follow(nodes);
        assert_eq!(shapes.inner(NodeId(last)).unwrap().runs, Runs::OneOf(None));
        shapes
    };
    let same = || vec![node::new("Exp", &["x"], &["t"])];
    let wider = vec![node::with("Concat", &["x", "x"], &["t"], vec![attr::from_int("axis", 1)])];
    let flat = vec![node::with("ReduceMax", &["x"], &["t"], vec![attr::from_int("keepdims", 0)])];
    assert_eq!(choose(same(), same()).concrete("y"), Some(vec![2, 6]));
    let shapes = choose(same(), wider);
    let dims: Vec<Option<u64>> = shapes.dims("y").unwrap().iter().map(|d| d.known()).collect();
    assert_eq!(dims, [Some(2), None]);
    assert_eq!(choose(same(), flat).dims("y"), None);
}

#[test]
fn what_a_loop_carries_is_widened_until_it_holds() {
    let run = |step: NodeProto| {
        let inner = vec![node::new("Identity", &["going"], &["on"]), step, node::new("Exp", &["h"], &["each"])];
        let body = graph("body", &["i", "going", "h"], inner, &["on", "next", "each"]);
        let limit = constant("five", &[5i64]);
        follow(vec![limit, node::with("Loop", &["five", "", "x"], &["last", "y"], vec![body])]).0
    };
    let steady = run(node::new("Tanh", &["h"], &["next"]));
    assert_eq!((steady.concrete("last"), steady.concrete("y")), (Some(vec![2, 6]), Some(vec![5, 2, 6])));
    let growing = run(node::with("Concat", &["h", "h"], &["next"], vec![attr::from_int("axis", 0)]));
    for (value, expected) in [("last", vec![None, Some(6)]), ("y", vec![Some(5), None, Some(6)])] {
        let dims: Vec<Option<u64>> = growing.dims(value).unwrap().iter().map(|d| d.known()).collect();
        assert_eq!(dims, expected, "{value}");
    }
}

#[test]
fn a_condition_of_known_sizes_is_known() {
    let branches = || {
        let squeezed = vec![node::new("Exp", &["x"], &["t"])];
        let other = vec![node::with("Concat", &["x", "x"], &["t"], vec![attr::from_int("axis", 1)])];
        vec![graph("then_branch", &[], squeezed, &["t"]), graph("else_branch", &[], other, &["t"])]
    };
    let nodes = vec![
        node::new("Size", &["x"], &["size"]),
        constant("twelve", &[12i64]),
        node::new("Less", &["size", "twelve"], &["less"]),
        node::new("Not", &["less"], &["not"]),
        node::with("If", &["not"], &["y"], branches()),
    ];
    assert_eq!(follow(nodes).0.concrete("y"), Some(vec![2, 6]));
}
