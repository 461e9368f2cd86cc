//! Counts that were worked out by hand.

use plimsoll_onnx::{
    Model, Tensor, attr, node,
    proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
        ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto::Dimension,
        tensor_shape_proto::dimension::Value, type_proto,
    },
    shape::{Bindings, infer},
};

use super::*;

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |d: &i64| {
        let value = if *d < 0 { Value::DimParam("n".into()) } else { Value::DimValue(*d) };
        Dimension { value: Some(value), ..Default::default() }
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect(), ..Default::default() };
    let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape).into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
}

/// A model with input `x`, float32 weights of zeros by name and shape, and output `y`.
fn model(input: &[i64], weights: &[(&str, &[usize])], nodes: Vec<NodeProto>) -> Model {
    let weight = |(name, shape): &(&str, &[usize])| {
        let zeros = vec![0f32; shape.iter().product()];
        Tensor::from_elements(shape, &zeros).unwrap().to_proto(name)
    };
    let mut output = value("y", &[]);
    output.type_ = None.into();
    let graph = GraphProto {
        name: "g".into(),
        node: nodes,
        initializer: weights.iter().map(weight).collect(),
        input: vec![value("x", input)],
        output: vec![output],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    Model::from_proto(ModelProto {
        ir_version: 8,
        opset_import: vec![opset],
        graph: Some(graph).into(),
        ..Default::default()
    })
    .unwrap()
}

fn costs(model: &Model, batch: u64) -> Cost {
    analyse(model, &infer(model, &Bindings::batch(batch)))
}

/// One layer at batch 1: multiply-accumulates and parameters.
fn check(input: &[i64], weights: &[(&str, &[usize])], layer: NodeProto, macs: u64, params: u64) {
    let found = costs(&model(input, weights, vec![layer]), 1);
    assert_eq!((found.macs, found.params, found.bytes, found.unknown), (macs, params, params * 4, 0));
}

#[test]
fn linear_layers() {
    let pads = || attr::from_ints("pads", &[1; 4]);
    let conv = node::with("Conv", &["x", "w", "b"], &["y"], vec![pads()]);
    check(&[-1, 3, 8, 8], &[("w", &[16, 3, 3, 3]), ("b", &[16])], conv, 16 * 64 * 27, 16 * 27 + 16);
    let strided = node::with("Conv", &["x", "w"], &["y"], vec![pads(), attr::from_ints("strides", &[2, 2])]);
    check(&[-1, 3, 8, 8], &[("w", &[16, 3, 3, 3])], strided, 16 * 16 * 27, 16 * 27);
    let depthwise = node::with("Conv", &["x", "w"], &["y"], vec![pads(), attr::from_int("group", 8)]);
    check(&[-1, 8, 8, 8], &[("w", &[8, 1, 3, 3])], depthwise, 8 * 64 * 9, 72);
    let transposed = node::with("ConvTranspose", &["x", "w"], &["y"], vec![attr::from_ints("strides", &[2, 2])]);
    check(&[-1, 4, 5, 5], &[("w", &[4, 6, 2, 2])], transposed, 4 * 25 * 6 * 4, 96);
    check(&[-1, 10], &[("w", &[10, 7])], node::new("MatMul", &["x", "w"], &["y"]), 70, 70);
    check(&[-1, 6, 10], &[("w", &[10, 7])], node::new("MatMul", &["x", "w"], &["y"]), 420, 70);
    let gemm = node::with("Gemm", &["x", "w", "b"], &["y"], vec![attr::from_int("transB", 1)]);
    check(&[-1, 10], &[("w", &[7, 10]), ("b", &[7])], gemm, 70, 77);
    let lstm = node::with("LSTM", &["x", "w", "r"], &["y"], vec![attr::from_int("hidden_size", 5)]);
    check(&[9, 1, 4], &[("w", &[1, 20, 4]), ("r", &[1, 20, 5])], lstm, 9 * (20 * 4 + 20 * 5), 180);
    check(&[-1, 10], &[], node::new("Relu", &["x"], &["y"]), 0, 0);
}

#[test]
fn what_grows_with_the_batch() {
    let m = model(&[-1, 10], &[("w", &[10, 7])], vec![node::new("MatMul", &["x", "w"], &["y"])]);
    let (one, eight) = (costs(&m, 1), costs(&m, 8));
    assert_eq!((eight.macs, eight.params), (8 * one.macs, one.params));
    assert_eq!(one.peak_activation_bytes, Some(4 * 17));
    assert_eq!(eight.peak_activation_bytes, Some(8 * 4 * 17));
}

#[test]
fn a_shared_weight_is_counted_once_and_shown_twice() {
    let nodes = vec![node::new("MatMul", &["x", "w"], &["a"]), node::new("MatMul", &["a", "w"], &["y"])];
    let found = costs(&model(&[-1, 10], &[("w", &[10, 10])], nodes), 1);
    assert_eq!((found.params, found.bytes), (100, 400));
    assert_eq!(found.nodes.iter().map(|n| n.params).collect::<Vec<_>>(), [100, 100]);
}

#[test]
fn peak_is_what_is_alive_at_once() {
    // x (10) and a (10), then a and b (10 + 10) with x gone, then b alone with y.
    let nodes = vec![
        node::new("Relu", &["x"], &["a"]),
        node::new("Exp", &["a"], &["b"]),
        node::with("ReduceSum", &["b"], &["y"], vec![attr::from_int("keepdims", 1)]),
    ];
    assert_eq!(costs(&model(&[-1, 10], &[], nodes), 1).peak_activation_bytes, Some(80));
    // A residual keeps x alive until the sum.
    let nodes = vec![
        node::new("Relu", &["x"], &["a"]),
        node::new("Exp", &["a"], &["b"]),
        node::new("Add", &["b", "x"], &["y"]),
    ];
    assert_eq!(costs(&model(&[-1, 10], &[], nodes), 1).peak_activation_bytes, Some(120));
}

#[test]
fn what_is_not_known_is_said() {
    let nodes = vec![NodeProto { domain: "custom".into(), ..node::new("Mystery", &["x"], &["y"]) }];
    let found = costs(&model(&[-1, 10], &[], nodes), 1);
    assert_eq!((found.macs, found.unknown, found.peak_activation_bytes), (0, 1, None));
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
