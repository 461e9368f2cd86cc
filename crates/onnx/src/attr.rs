//! Attributes of nodes: typed reading and building.

use onnx_protobuf::{AttributeProto, NodeProto, TensorProto, attribute_proto::AttributeType};

fn find<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|a| a.name == name && a.ref_attr_name.is_empty())
}

/// An integer attribute.
pub fn int(node: &NodeProto, name: &str) -> Option<i64> {
    find(node, name).filter(|a| a.type_ == AttributeType::INT.into()).map(|a| a.i)
}

/// A switch: an integer attribute that is 0 or 1. `None` for other numbers, which executors read differently (some ask for 1,
/// others for anything but 0).
pub fn flag(node: &NodeProto, name: &str, default: bool) -> Option<bool> {
    match int(node, name).unwrap_or(default.into()) {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// A float attribute.
pub fn float(node: &NodeProto, name: &str) -> Option<f32> {
    find(node, name).filter(|a| a.type_ == AttributeType::FLOAT.into()).map(|a| a.f)
}

/// A list of integers.
pub fn ints<'n>(node: &'n NodeProto, name: &str) -> Option<&'n [i64]> {
    find(node, name).filter(|a| a.type_ == AttributeType::INTS.into()).map(|a| a.ints.as_slice())
}

/// A string attribute, where it is UTF-8.
pub fn string<'n>(node: &'n NodeProto, name: &str) -> Option<&'n str> {
    find(node, name).filter(|a| a.type_ == AttributeType::STRING.into()).and_then(|a| std::str::from_utf8(&a.s).ok())
}

/// A tensor attribute.
pub fn tensor<'n>(node: &'n NodeProto, name: &str) -> Option<&'n TensorProto> {
    find(node, name).and_then(|a| a.t.as_ref())
}

/// Whether the attribute is there at all.
pub fn has(node: &NodeProto, name: &str) -> bool {
    node.attribute.iter().any(|a| a.name == name)
}

/// Removes an attribute, if it is there.
pub fn remove(node: &mut NodeProto, name: &str) {
    node.attribute.retain(|a| a.name != name);
}

/// Sets an attribute, in the place of one of the same name.
pub fn set(node: &mut NodeProto, attribute: AttributeProto) {
    match node.attribute.iter_mut().find(|a| a.name == attribute.name) {
        Some(old) => *old = attribute,
        None => node.attribute.push(attribute),
    }
}

fn new(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), type_: kind.into(), ..Default::default() }
}

/// Builds an integer attribute.
pub fn from_int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: value, ..new(name, AttributeType::INT) }
}

/// Builds a float attribute.
pub fn from_float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: value, ..new(name, AttributeType::FLOAT) }
}

/// Builds a list of integers.
pub fn from_ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..new(name, AttributeType::INTS) }
}

/// Builds a string attribute.
pub fn from_string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: value.as_bytes().to_vec(), ..new(name, AttributeType::STRING) }
}

/// Builds a tensor attribute.
pub fn from_tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(value).into(), ..new(name, AttributeType::TENSOR) }
}

/// The numbers that a `Constant` node holds, whichever attribute it uses; `None` for strings, sparse tensors and other nodes.
pub fn constant(node: &NodeProto) -> Option<crate::Tensor> {
    use crate::Tensor;
    if let Some(proto) = tensor(node, "value") {
        return Tensor::from_proto(proto).ok();
    }
    if let Some(value) = int(node, "value_int") {
        return Some(Tensor::scalar(value));
    }
    if let Some(values) = ints(node, "value_ints") {
        return Some(Tensor::vector(values));
    }
    if let Some(value) = float(node, "value_float") {
        return Some(Tensor::scalar(value));
    }
    let floats = find(node, "value_floats").filter(|a| a.type_ == AttributeType::FLOATS.into())?;
    Some(Tensor::vector(&floats.floats))
}
