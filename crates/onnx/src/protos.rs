//! Walking the nested wire types: sub-graphs, every node, captured names.

use std::collections::HashSet;

use onnx_protobuf::{AttributeProto, GraphProto, NodeProto};

/// The graphs that a node holds in its attributes (`If`, `Loop`, `Scan`), in attribute order.
pub fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(attribute_graphs)
}

fn attribute_graphs(attribute: &AttributeProto) -> impl Iterator<Item = &GraphProto> {
    attribute.g.as_ref().into_iter().chain(attribute.graphs.iter())
}

/// [`subgraphs`], to be changed.
pub fn subgraphs_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    node.attribute.iter_mut().flat_map(|a| a.g.as_mut().into_iter().chain(a.graphs.iter_mut()))
}

/// Every node of a graph and of the graphs nested in it, outer nodes first.
pub fn all_nodes(graph: &GraphProto) -> Vec<&NodeProto> {
    let mut found = Vec::new();
    let mut open = vec![graph];
    while let Some(graph) = open.pop() {
        for node in &graph.node {
            found.push(node);
            open.extend(subgraphs(node));
        }
    }
    found
}

/// The names that a node's sub-graphs take from the graphs around them.
pub fn captured_names(node: &NodeProto) -> HashSet<&str> {
    let mut captured = HashSet::new();
    for graph in subgraphs(node) {
        let mut known: HashSet<&str> = graph.input.iter().map(|v| v.name.as_str()).collect();
        known.extend(graph.initializer.iter().map(|t| t.name.as_str()));
        known.extend(graph.sparse_initializer.iter().map(|t| t.values.name.as_str()));
        known.extend(graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)));
        let used = graph.node.iter().flat_map(|n| n.input.iter().map(String::as_str));
        let nested = graph.node.iter().flat_map(captured_names);
        let outputs = graph.output.iter().map(|v| v.name.as_str());
        captured.extend(used.chain(nested).chain(outputs).filter(|n| !n.is_empty() && !known.contains(n)));
    }
    captured
}

/// Renames what a node reads, in its inputs and inside its sub-graphs.
pub fn rename_inputs(node: &mut NodeProto, rename: &impl Fn(&str) -> Option<String>) {
    for input in &mut node.input {
        if let Some(new) = rename(input) {
            *input = new;
        }
    }
    for graph in subgraphs_mut(node) {
        // A name that the sub-graph defines itself hides the outer one.
        let mut own: HashSet<String> = graph.input.iter().map(|v| v.name.clone()).collect();
        own.extend(graph.initializer.iter().map(|t| t.name.clone()));
        own.extend(graph.node.iter().flat_map(|n| n.output.iter().cloned()));
        let inner = |name: &str| if own.contains(name) { None } else { rename(name) };
        rename_graph(graph, &inner);
    }
}

fn rename_graph(graph: &mut GraphProto, rename: &dyn Fn(&str) -> Option<String>) {
    for node in &mut graph.node {
        rename_inputs(node, &|name: &str| rename(name));
    }
    for output in &mut graph.output {
        if let Some(new) = rename(&output.name) {
            output.name = new;
        }
    }
}
