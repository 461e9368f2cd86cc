//! The canonical digest of a model.
//!
//! Hashed: operator sets, inputs and outputs (name, dtype, dimensions), nodes in stored order with operator, domain, attributes
//! sorted by name and the values they read by number, and the content of weights. Left out: names of inner values and nodes,
//! names of symbolic dimensions, doc strings, metadata, producer, and how weights are stored.

use std::collections::HashMap;

use onnx_protobuf::{AttributeProto, FunctionProto, GraphProto, Message, NodeProto, TensorProto};
use sha2::{Digest as _, Sha256};

use crate::{Model, Tensor, ValueSpec};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{self}")
    }
}

pub(crate) fn of(model: &Model) -> Digest {
    let mut canon = Canon { hasher: Sha256::new() };
    canon.text("plimsoll.model/1");
    let mut opsets: Vec<_> = model.proto().opset_import.iter().map(|o| (o.domain.as_str(), o.version)).collect();
    opsets.sort_unstable();
    for (domain, version) in opsets {
        canon.text(domain);
        canon.number(version);
    }
    for spec in model.inputs().iter().chain(&model.outputs()) {
        canon.spec(spec);
    }
    canon.graph(model.graph(), &HashMap::new());
    let mut functions: Vec<&FunctionProto> = model.proto().functions.iter().collect();
    functions.sort_by_key(|f| (&f.domain, &f.name, &f.overload));
    for function in functions {
        canon.text(&function.domain);
        canon.text(&function.name);
        canon.text(&function.overload);
        canon.count(function.input.len());
        let mut values = HashMap::new();
        number(&mut values, function.input.iter());
        canon.nodes(&function.node, values, &function.output);
    }
    Digest(canon.hasher.finalize().into())
}

struct Canon {
    hasher: Sha256,
}

/// A value's number: the order in which names are defined, counted over the enclosing graphs too.
type Numbers = HashMap<String, usize>;

fn number<'n>(numbers: &mut Numbers, names: impl Iterator<Item = &'n String>) {
    for name in names {
        let next = numbers.len();
        numbers.entry(name.clone()).or_insert(next);
    }
}

/// What the nodes of a graph and of those nested in it read, and its outputs, in stored order.
fn reads<'g>(graph: &'g GraphProto, into: &mut Vec<&'g str>) {
    for n in &graph.node {
        into.extend(n.input.iter().map(String::as_str));
        crate::subgraphs(n).for_each(|inner| reads(inner, into));
    }
    into.extend(graph.output.iter().map(|v| v.name.as_str()));
}

fn content(tensor: &TensorProto) -> Digest {
    let mut canon = Canon { hasher: Sha256::new() };
    canon.tensor(tensor);
    Digest(canon.hasher.finalize().into())
}

impl Canon {
    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.hasher.update(bytes);
    }

    fn count(&mut self, n: usize) {
        self.number(n as i64);
    }

    fn number(&mut self, n: i64) {
        self.hasher.update(n.to_le_bytes());
    }

    fn spec(&mut self, spec: &ValueSpec) {
        self.text(&spec.name);
        self.text(spec.dtype.map_or("", crate::DType::name));
        match &spec.dims {
            None => self.number(-1),
            Some(dims) => {
                self.count(dims.len());
                for dim in dims {
                    match dim {
                        crate::DimSpec::Fixed(n) => self.number(*n as i64),
                        _ => self.number(-1),
                    }
                }
            }
        }
    }

    fn tensor(&mut self, proto: &TensorProto) {
        self.number(proto.data_type.into());
        self.count(proto.dims.len());
        proto.dims.iter().for_each(|&d| self.number(d));
        match Tensor::from_proto(proto) {
            Ok(tensor) => self.bytes(tensor.bytes()),
            Err(_) => {
                // Strings and dtypes that are not known: as stored.
                self.count(proto.string_data.len());
                proto.string_data.iter().for_each(|s| self.bytes(s));
                self.bytes(&proto.raw_data);
                self.count(proto.int32_data.len());
                proto.int32_data.iter().for_each(|&v| self.number(v.into()));
            }
        }
    }

    fn graph(&mut self, graph: &GraphProto, outer: &Numbers) {
        let mut numbers = outer.clone();
        number(&mut numbers, graph.input.iter().map(|v| &v.name));
        // Weights are told apart by content and by where they are used: sorting by first use makes storage order irrelevant.
        let mut rest: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        let mut uses = Vec::new();
        reads(graph, &mut uses);
        for name in uses {
            if let Some(tensor) = rest.remove(name) {
                number(&mut numbers, std::iter::once(&tensor.name));
                self.count(numbers[&tensor.name]);
                self.tensor(tensor);
            }
        }
        // Those that nobody reads are ordered by content.
        let mut unused: Vec<(Digest, &TensorProto)> = rest.into_values().map(|t| (content(t), t)).collect();
        unused.sort_by_key(|(digest, _)| *digest);
        for (digest, tensor) in unused {
            self.bytes(&digest.0);
            number(&mut numbers, std::iter::once(&tensor.name));
        }
        for sparse in &graph.sparse_initializer {
            self.tensor(&sparse.values);
            self.tensor(&sparse.indices);
            number(&mut numbers, std::iter::once(&sparse.values.name));
        }
        let outputs: Vec<String> = graph.output.iter().map(|v| v.name.clone()).collect();
        self.nodes(&graph.node, numbers, &outputs);
    }

    fn nodes(&mut self, nodes: &[NodeProto], mut numbers: Numbers, outputs: &[String]) {
        self.count(nodes.len());
        for n in nodes {
            self.text(&n.op_type);
            self.text(if crate::node::is_default_domain(&n.domain) { "" } else { &n.domain });
            self.text(&n.overload);
            self.values(&n.input, &numbers);
            let mut attributes: Vec<&AttributeProto> = n.attribute.iter().collect();
            attributes.sort_by_key(|a| &a.name);
            self.count(attributes.len());
            for attribute in attributes {
                self.attribute(attribute, &numbers);
            }
            number(&mut numbers, n.output.iter().filter(|o| !o.is_empty()));
            self.values(&n.output, &numbers);
        }
        self.values(outputs, &numbers);
    }

    fn values(&mut self, names: &[String], numbers: &Numbers) {
        self.count(names.len());
        for name in names {
            self.number(numbers.get(name).map_or(-1, |&n| n as i64));
        }
    }

    fn attribute(&mut self, a: &AttributeProto, numbers: &Numbers) {
        self.text(&a.name);
        self.text(&a.ref_attr_name);
        self.number(a.type_.value().into());
        self.hasher.update(a.f.to_le_bytes());
        self.number(a.i);
        self.bytes(&a.s);
        self.count(a.floats.len());
        a.floats.iter().for_each(|f| self.hasher.update(f.to_le_bytes()));
        self.count(a.ints.len());
        a.ints.iter().for_each(|&i| self.number(i));
        self.count(a.strings.len());
        a.strings.iter().for_each(|s| self.bytes(s));
        a.t.as_ref().into_iter().chain(&a.tensors).for_each(|t| self.tensor(t));
        for sparse in a.sparse_tensor.as_ref().into_iter().chain(&a.sparse_tensors) {
            self.tensor(&sparse.values);
            self.tensor(&sparse.indices);
        }
        for t in a.tp.as_ref().into_iter().chain(&a.type_protos) {
            self.bytes(&t.write_to_bytes().unwrap_or_default());
        }
        a.g.as_ref().into_iter().chain(&a.graphs).for_each(|g| self.graph(g, numbers));
    }
}
