//! Small linear models and samples for them.
#![allow(dead_code, reason = "each test file uses its part")]

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{
    Model, Tensor, Tensors, node,
    proto::{
        GraphProto, ModelProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto,
        type_proto,
    },
};

pub(crate) fn value(name: &str, batch: i64, width: usize) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value;
    let first = if batch > 0 { Value::DimValue(batch) } else { Value::DimParam("N".into()) };
    let dim = |value| tensor_shape_proto::Dimension { value: Some(value), ..Default::default() };
    let dim = vec![dim(first), dim(Value::DimValue(width as i64))];
    let shape = TensorShapeProto { dim, ..Default::default() };
    let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape).into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
}

/// scores = x · weights, one input feature; `batch` 0 is symbolic.
pub(crate) fn linear(batch: i64, weights: &[f32]) -> Model {
    let weight = Tensor::from_elements(&[1, weights.len()], weights).unwrap();
    let graph = GraphProto {
        name: "g".into(),
        node: vec![node::new("MatMul", &["x", "w"], &["y"])],
        initializer: vec![weight.to_proto("w")],
        input: vec![value("x", batch, 1)],
        output: vec![value("y", batch, weights.len())],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    let proto =
        ModelProto { ir_version: 8, graph: Some(graph).into(), opset_import: vec![opset], ..Default::default() };
    Model::from_proto(proto).unwrap()
}

pub(crate) fn data(x: &[f32], label: &[i64], group: Option<&[i64]>) -> Dataset {
    let x = Tensor::from_elements(&[x.len(), 1], x).unwrap();
    let inputs = Tensors::from([("x".to_owned(), x)]);
    Dataset::new("memory".as_ref(), inputs, Some(label.to_vec()), group.map(<[i64]>::to_vec)).unwrap()
}

/// scores = x² · weights.
pub(crate) fn squared(weights: &[f32]) -> Model {
    let mut proto = linear(0, weights).proto().clone();
    let graph = proto.graph.as_mut().unwrap();
    graph.node.insert(0, node::new("Mul", &["x", "x"], &["square"]));
    graph.node[1].input[0] = "square".into();
    Model::from_proto(proto).unwrap()
}
