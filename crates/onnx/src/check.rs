//! Whether a graph is whole: every value has one producer, every use a source, and there is no cycle.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::GraphProto;

use crate::{Model, node, patch, protos};

/// What is wrong with a graph.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Defect {
    /// A value that nothing computes.
    #[error("node `{node}` reads `{value}`, which nothing computes")]
    Missing {
        /// The reading node.
        node: String,
        /// The value.
        value: String,
    },
    /// A value that two nodes, or a node and an input or initializer, define.
    #[error("value `{0}` is defined twice")]
    Twice(String),
    /// A graph output that nothing computes.
    #[error("graph output `{0}` is not computed by anything")]
    Output(String),
    /// Nodes that wait for each other.
    #[error("the graph has a cycle through {0}")]
    Cycle(String),
}

/// Checks the main graph and, for what they read, the graphs nested in it.
pub fn check(model: &Model) -> Result<(), Defect> {
    let graph = model.graph();
    let mut known: HashSet<&str> = graph.input.iter().map(|v| v.name.as_str()).collect();
    known.extend(graph.initializer.iter().map(|t| t.name.as_str()));
    known.extend(graph.sparse_initializer.iter().map(|t| t.values.name.as_str()));
    let mut defined = known.clone();
    for output in graph.node.iter().flat_map(|n| &n.output).filter(|o| !o.is_empty()) {
        if !defined.insert(output) {
            return Err(Defect::Twice(output.clone()));
        }
    }
    let mut blocked = Vec::new();
    for n in &graph.node {
        let captured = protos::captured_names(n);
        let reads = n.input.iter().map(String::as_str).filter(|i| !i.is_empty());
        let mut late = false;
        for value in reads.chain(captured) {
            if !defined.contains(value) {
                return Err(Defect::Missing { node: node::label(n), value: value.into() });
            }
            late |= !known.contains(value);
        }
        if late {
            blocked.push(n);
        }
        known.extend(n.output.iter().map(String::as_str));
    }
    if let Some(output) = graph.output.iter().find(|o| !defined.contains(o.name.as_str())) {
        return Err(Defect::Output(output.name.clone()));
    }
    // A node that reads a later value is out of order, or on a cycle: only sorting tells.
    if !blocked.is_empty()
        && let Some(names) = cycle(graph)
    {
        return Err(Defect::Cycle(names));
    }
    Ok(())
}

/// The nodes of one cycle, for the message.
fn cycle(graph: &GraphProto) -> Option<String> {
    let mut skeleton = GraphProto::default();
    skeleton.node.clone_from(&graph.node);
    patch::sort(&mut skeleton);
    let position: HashMap<&str, usize> = skeleton
        .node
        .iter()
        .enumerate()
        .flat_map(|(i, n)| n.output.iter().filter(|o| !o.is_empty()).map(move |o| (o.as_str(), i)))
        .collect();
    let late_source = |i: usize| {
        let n = &skeleton.node[i];
        let captured = protos::captured_names(n);
        n.input.iter().map(String::as_str).chain(captured).filter_map(|v| position.get(v).copied()).find(|&s| s >= i)
    };
    let start = (0..skeleton.node.len()).find(|&i| late_source(i).is_some())?;
    // From a node that cannot be placed, walking to its unplaced sources must come round.
    let mut path = vec![start];
    let mut at = start;
    let unplaced_from = start;
    loop {
        let n = &skeleton.node[at];
        let captured = protos::captured_names(n);
        let sources = n.input.iter().map(String::as_str).chain(captured).filter_map(|v| position.get(v).copied());
        let next = sources.filter(|&s| s >= unplaced_from).min()?;
        if let Some(begin) = path.iter().position(|&p| p == next) {
            let labels: Vec<String> =
                path[begin..].iter().map(|&i| format!("`{}`", node::label(&skeleton.node[i]))).collect();
            return Some(labels.join(", "));
        }
        path.push(next);
        at = next;
    }
}
