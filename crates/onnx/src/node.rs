//! Building nodes of the default ONNX domain.

use onnx_protobuf::{AttributeProto, NodeProto};

/// A node of the default domain, without a name and attributes.
pub fn new(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: op_type.into(),
        input: inputs.iter().map(|&s| s.into()).collect(),
        output: outputs.iter().map(|&s| s.into()).collect(),
        ..Default::default()
    }
}

/// [`new`] with attributes.
pub fn with(op_type: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto { attribute: attributes, ..new(op_type, inputs, outputs) }
}

/// Whether this is operator `op_type` of the default domain (`""` or its alias `ai.onnx`).
pub fn is(node: &NodeProto, op_type: &str) -> bool {
    node.op_type == op_type && is_default_domain(&node.domain)
}

/// Whether a domain name means the default ONNX domain.
pub fn is_default_domain(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// The name for messages: the node's own, else operator and first output.
pub fn label(node: &NodeProto) -> String {
    match (&*node.name, node.output.first()) {
        ("", Some(output)) => format!("{}→{output}", node.op_type),
        ("", None) => node.op_type.clone(),
        (name, _) => name.to_owned(),
    }
}

/// Input `slot`, where it is given (an empty name is an absent optional input).
pub fn input(node: &NodeProto, slot: usize) -> Option<&str> {
    node.input.get(slot).map(String::as_str).filter(|n| !n.is_empty())
}
