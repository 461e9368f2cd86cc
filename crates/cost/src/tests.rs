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

mod bodies;
mod memory;
mod precision;

pub(super) fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
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
pub(super) fn model(input: &[i64], weights: &[(&str, &[usize])], nodes: Vec<NodeProto>) -> Model {
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

pub(super) fn costs(model: &Model, batch: u64) -> Cost {
    let shapes = infer(model, &Bindings::batch(batch));
    let costs = analyse(model, &shapes);
    assert_eq!((macs(model, &shapes), params(model, &shapes)), (costs.macs, costs.params));
    costs
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
fn recurrent_layers_by_hand() {
    let check = |op: &str, gates: usize, directions: usize, direction: &str| {
        let (steps, batch, input, hidden) = (7, 2, 3, 5);
        let (w, r) = ([directions, gates * hidden, input], [directions, gates * hidden, hidden]);
        let attributes = vec![attr::from_int("hidden_size", hidden as i64), attr::from_string("direction", direction)];
        let layer = node::with(op, &["x", "w", "r"], &["y"], attributes);
        let found = costs(&model(&[steps, batch, input as i64], &[("w", &w), ("r", &r)], vec![layer]), 1);
        // Each step of each sample multiplies the input and the state with the weights of each gate, in each direction.
        let by_hand = steps as usize * batch as usize * directions * gates * hidden * (input + hidden);
        assert_eq!((found.macs, found.unknown), (by_hand as u64, 0), "{op} {direction}");
    };
    check("LSTM", 4, 1, "forward");
    check("LSTM", 4, 2, "bidirectional");
    check("GRU", 3, 1, "reverse");
    check("GRU", 3, 2, "bidirectional");
    check("RNN", 1, 1, "forward");
}

#[test]
fn attention_multiplies_scores_and_values() {
    // 2 heads, 5 queries, 7 keys, keys of 4 and values of 6 numbers.
    let weights: &[(&str, &[usize])] = &[("k", &[1, 2, 7, 4]), ("v", &[1, 2, 7, 6])];
    let layer = node::new("Attention", &["x", "k", "v"], &["y"]);
    assert_eq!(costs(&model(&[-1, 2, 5, 4], weights, vec![layer]), 1).macs, 2 * 5 * 7 * (4 + 6));
    let weights: &[(&str, &[usize])] = &[("k", &[1, 7, 8]), ("v", &[1, 7, 12])];
    let heads = vec![attr::from_int("q_num_heads", 2), attr::from_int("kv_num_heads", 2)];
    let layer = node::with("Attention", &["x", "k", "v"], &["y"], heads);
    assert_eq!(costs(&model(&[-1, 5, 8], weights, vec![layer]), 1).macs, 2 * 5 * 7 * (4 + 6));
}

#[test]
fn an_operator_that_is_newer_than_the_list_is_not_said_to_cost_nothing() {
    for op in ["DFT", "LinearAttention", "LayerOfNextYear"] {
        let found = costs(&model(&[-1, 10], &[], vec![node::new(op, &["x"], &["y"])]), 1);
        assert_eq!((found.nodes[0].macs, found.unknown), (None, 1), "{op}");
    }
}

#[test]
fn intensity_is_products_over_what_is_read_and_written() {
    let nodes = vec![node::new("MatMul", &["x", "w"], &["a"]), node::new("Relu", &["a"], &["y"])];
    let found = costs(&model(&[-1, 10], &[("w", &[10, 7])], nodes), 1);
    assert_eq!(found.nodes.iter().map(|n| n.traffic).collect::<Vec<_>>(), [Some(4 * (10 + 70 + 7)), Some(4 * 14)]);
    assert_eq!(found.nodes[0].intensity(), Some(70.0 / 348.0));
    assert_eq!(found.intensity(), Some(70.0 / 404.0));
    // A look-up reads the row that it gives, not the table; a view moves nothing.
    let indices = Tensor::from_elements(&[1], &[3i64]).unwrap();
    let constant = node::with("Constant", &[], &["i"], vec![attr::from_tensor("value", indices.to_proto(""))]);
    let nodes = vec![
        constant,
        node::with("Gather", &["x", "i"], &["a"], vec![attr::from_int("axis", 1)]),
        node::with("Flatten", &["a"], &["y"], vec![attr::from_int("axis", 1)]),
    ];
    let found = costs(&model(&[-1, 1000, 4], &[], nodes), 1);
    assert_eq!(found.nodes.iter().map(|n| n.traffic).collect::<Vec<_>>(), [Some(0), Some(16 + 16 + 8), Some(0)]);
}

#[test]
fn what_is_computed_from_constants_costs_a_run_nothing() {
    let nodes = vec![node::new("MatMul", &["v", "w"], &["a"]), node::new("Add", &["x", "a"], &["y"])];
    let found = costs(&model(&[-1, 7], &[("v", &[1, 10]), ("w", &[10, 7])], nodes), 1);
    assert_eq!((found.macs, found.params, found.nodes[0].traffic), (0, 80, Some(0)));
    // Held is what the sum reads, not what it was computed from.
    assert_eq!((found.bytes, found.loaded_bytes), (320, Some(28)));
    assert_eq!(found.peak_activation_bytes, Some(56));
}
