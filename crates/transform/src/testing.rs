//! Building small models for the tests of several modules.

use plimsoll_onnx::{
    Model, Tensor,
    proto::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_shape_proto::{Dimension, dimension::Value},
        type_proto,
    },
};

/// `float32` as ONNX numbers it.
pub(crate) const F32: i32 = 1;
/// `int64` as ONNX numbers it.
pub(crate) const I64: i32 = 7;

/// A model in the making: operator set 17, IR version 8.
pub(crate) struct Net {
    pub(crate) proto: ModelProto,
}

impl Net {
    pub(crate) fn new() -> Self {
        let opset = OperatorSetIdProto { version: 17, ..Default::default() };
        let graph = GraphProto { name: "g".into(), ..Default::default() };
        let proto =
            ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph).into(), ..Default::default() };
        Self { proto }
    }

    pub(crate) fn opset(mut self, version: i64) -> Self {
        self.proto.opset_import[0].version = version;
        self
    }

    pub(crate) fn ir(mut self, version: i64) -> Self {
        self.proto.ir_version = version;
        self
    }

    pub(crate) fn graph(&mut self) -> &mut GraphProto {
        self.proto.graph.mut_or_insert_default()
    }

    /// An input; a dimension of -1 is the symbolic batch.
    pub(crate) fn input(mut self, name: &str, dtype: i32, dims: &[i64]) -> Self {
        self.graph().input.push(value(name, dtype, Some(dims)));
        self
    }

    pub(crate) fn weight(mut self, name: &str, tensor: &Tensor) -> Self {
        self.graph().initializer.push(tensor.to_proto(name));
        self
    }

    /// A float32 weight of numbers between -1 and 1.
    pub(crate) fn random(self, name: &str, shape: &[usize]) -> Self {
        let seed = name.bytes().fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
        self.weight(name, &crate::prune::testing::Dice(seed).tensor(shape))
    }

    pub(crate) fn node(mut self, node: NodeProto) -> Self {
        self.graph().node.push(node);
        self
    }

    /// An output whose type is not declared beyond its dtype.
    pub(crate) fn output(mut self, name: &str, dtype: i32) -> Self {
        self.graph().output.push(value(name, dtype, None));
        self
    }

    pub(crate) fn build(self) -> Model {
        Model::from_proto(self.proto).unwrap()
    }
}

/// A declaration.
pub(crate) fn value(name: &str, dtype: i32, dims: Option<&[i64]>) -> ValueInfoProto {
    let dim = |d: &i64| {
        let value = if *d < 0 { Value::DimParam("n".into()) } else { Value::DimValue(*d) };
        Dimension { value: Some(value), ..Default::default() }
    };
    let shape = dims.map(|dims| TensorShapeProto { dim: dims.iter().map(dim).collect(), ..Default::default() });
    let tensor = type_proto::Tensor { elem_type: dtype, shape: shape.into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
}
