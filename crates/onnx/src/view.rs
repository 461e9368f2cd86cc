//! A borrowed index over a graph: who produces, who uses, what is constant.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::{GraphProto, NodeProto, TensorProto};

use crate::{Model, attr, node, protos};

/// The position of a node in its graph's list. Valid until the next patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// One use of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Input `slot` of a node.
    Input {
        /// The reading node.
        node: NodeId,
        /// Position among its inputs.
        slot: usize,
    },
    /// Read by a sub-graph of a node.
    Captured(NodeId),
    /// Output of the graph.
    Output(usize),
}

/// An index over the main graph of a model.
#[derive(Debug)]
pub struct View<'m> {
    graph: &'m GraphProto,
    producers: HashMap<&'m str, NodeId>,
    uses: HashMap<&'m str, Vec<Use>>,
    initializers: HashMap<&'m str, &'m TensorProto>,
    overridable: HashSet<&'m str>,
}

impl<'m> View<'m> {
    /// Indexes any graph, such as the body of a node, of a model of this IR version.
    pub fn new(graph: &'m GraphProto, ir_version: i64) -> Self {
        let mut producers = HashMap::new();
        let mut uses: HashMap<&str, Vec<Use>> = HashMap::new();
        for (index, n) in graph.node.iter().enumerate() {
            let id = NodeId(index);
            producers.extend(n.output.iter().filter(|o| !o.is_empty()).map(|o| (o.as_str(), id)));
            for (slot, input) in n.input.iter().enumerate().filter(|(_, i)| !i.is_empty()) {
                uses.entry(input).or_default().push(Use::Input { node: id, slot });
            }
            for name in protos::captured_names(n) {
                uses.entry(name).or_default().push(Use::Captured(id));
            }
        }
        for (index, output) in graph.output.iter().enumerate() {
            uses.entry(&output.name).or_default().push(Use::Output(index));
        }
        let initializers: HashMap<_, _> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        // Before IR version 4 every initializer had to be repeated as an input; since then, one that is repeated is a default
        // that the caller may override.
        let inputs = graph.input.iter().map(|v| v.name.as_str());
        let overridable =
            if ir_version < 4 { HashSet::new() } else { inputs.filter(|n| initializers.contains_key(n)).collect() };
        Self { graph, producers, uses, initializers, overridable }
    }

    /// The graph behind the index.
    pub fn graph(&self) -> &'m GraphProto {
        self.graph
    }

    /// The nodes in stored order.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &'m NodeProto)> {
        self.graph.node.iter().enumerate().map(|(i, n)| (NodeId(i), n))
    }

    /// One node.
    pub fn node(&self, id: NodeId) -> &'m NodeProto {
        &self.graph.node[id.0]
    }

    /// The node that computes a value; `None` for inputs, initializers and unknown names.
    pub fn producer(&self, value: &str) -> Option<(NodeId, &'m NodeProto)> {
        self.producers.get(value).map(|&id| (id, self.node(id)))
    }

    /// The node that computes a value, where it is operator `op_type` of the default domain.
    pub fn producer_of(&self, value: &str, op_type: &str) -> Option<(NodeId, &'m NodeProto)> {
        self.producer(value).filter(|(_, n)| node::is(n, op_type))
    }

    /// Every use of a value, in node order, graph outputs last.
    pub fn uses(&self, value: &str) -> &[Use] {
        self.uses.get(value).map_or(&[], Vec::as_slice)
    }

    /// The only use of a value, where that is an input of a node (not a graph output, not a sub-graph).
    pub fn sole_user(&self, value: &str) -> Option<(NodeId, &'m NodeProto, usize)> {
        match self.uses(value) {
            &[Use::Input { node, slot }] => Some((node, self.node(node), slot)),
            _ => None,
        }
    }

    /// The nodes that read a value in one of their inputs, each once.
    pub fn users(&self, value: &str) -> Vec<(NodeId, &'m NodeProto)> {
        let mut found: Vec<NodeId> = Vec::new();
        for u in self.uses(value) {
            if let Use::Input { node, .. } = *u
                && found.last() != Some(&node)
            {
                found.push(node);
            }
        }
        found.into_iter().map(|id| (id, self.node(id))).collect()
    }

    /// Whether a value is an output of the graph.
    pub fn is_output(&self, value: &str) -> bool {
        self.uses(value).iter().any(|u| matches!(u, Use::Output(_)))
    }

    /// Whether some sub-graph reads a value.
    pub fn is_captured(&self, value: &str) -> bool {
        self.uses(value).iter().any(|u| matches!(u, Use::Captured(_)))
    }

    /// The data of an initializer, overridable or not.
    pub fn initializer(&self, value: &str) -> Option<&'m TensorProto> {
        self.initializers.get(value).copied()
    }

    /// The data of a value that no caller can change: an initializer, or the output of a `Constant` node that holds a tensor.
    pub fn constant(&self, value: &str) -> Option<&'m TensorProto> {
        if let Some(&found) = self.initializers.get(value) {
            return (!self.overridable.contains(value)).then_some(found);
        }
        self.producer_of(value, "Constant").and_then(|(_, n)| attr::tensor(n, "value"))
    }
}

/// The names in use in a model, to draw fresh ones from.
#[derive(Debug)]
pub struct Names(HashSet<String>);

impl Names {
    /// Every value name of the model, nested graphs included.
    pub fn of(model: &Model) -> Self {
        let mut names = HashSet::new();
        let mut open = vec![model.graph()];
        while let Some(graph) = open.pop() {
            names.extend(graph.input.iter().chain(&graph.output).chain(&graph.value_info).map(|v| v.name.clone()));
            names.extend(graph.initializer.iter().map(|t| t.name.clone()));
            names.extend(graph.sparse_initializer.iter().map(|t| t.values.name.clone()));
            for n in &graph.node {
                names.extend(n.output.iter().cloned());
                open.extend(protos::subgraphs(n));
            }
        }
        Self(names)
    }

    /// `base` where it is free, else `base_1`, `base_2`, …; taken from then on.
    pub fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_owned();
        let mut n = 0usize;
        while name.is_empty() || !self.0.insert(name.clone()) {
            n += 1;
            name = format!("{base}_{n}");
        }
        name
    }
}
