//! Peak activation memory by liveness.
//!
//! The largest sum of bytes of the activations alive while a node runs (what it reads, what it writes, and what later nodes still
//! need), inputs while they are needed and outputs to the end. Nodes run as an executor reaches them that starts from the outputs, each
//! after what it reads, first operand first (tract's evaluation order; onnxruntime's goes the same way): the order in which a file
//! stores them, which every tool shuffles, changes nothing. Weights, and whatever is computed from weights
//! alone, are no activations. Inside a node with bodies the dearest body counts besides what is alive around it.

use std::collections::HashMap;

use plimsoll_onnx::{NodeId, captured_names, node, proto::NodeProto, shape::Runs, subgraphs};

use crate::{operators, scope::Scope};

/// Whether executors are taken to write results over what is not needed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Every output is an array of its own, as a plan reckons that allocates one for each result.
    None,
    /// An element-wise node writes over an input of the same size that nobody needs afterwards (never over what the caller gave),
    /// and a change of shape is another view of the same array.
    InPlace,
}

/// `None` where the type or shape of some value is not known.
pub(crate) fn peak(scope: &Scope<'_>, reuse: Reuse) -> Option<u64> {
    let given: Vec<&str> = scope.graph.input.iter().map(|v| v.name.as_str()).collect();
    of(scope, reuse, &given)
}

struct Buffer {
    bytes: u64,
    /// Position of the node after which it is free.
    last: usize,
    /// Whether the caller owns it.
    given: bool,
}

/// `given` are the inputs of the graph that take memory of their own here.
fn of(scope: &Scope<'_>, reuse: Reuse, given: &[&str]) -> Option<u64> {
    let order = order(scope);
    let nodes: Vec<(usize, &NodeProto)> = order.into_iter().map(|i| (i, &scope.graph.node[i])).collect();
    let mut last_use: HashMap<&str, usize> = HashMap::new();
    for (index, (_, n)) in nodes.iter().enumerate() {
        for input in n.input.iter().map(String::as_str).chain(captured_names(n)) {
            last_use.insert(input, index);
        }
    }
    for output in &scope.graph.output {
        last_use.insert(&output.name, usize::MAX);
    }
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut of_value: HashMap<&str, usize> = HashMap::new();
    // Before the first node, and what each node adds.
    let mut added: Vec<u64> = vec![0; nodes.len() + 1];
    for &input in given {
        if let Some(&last) = last_use.get(input).filter(|_| !scope.is_weight(input)) {
            let bytes = scope.bytes_of(input)?;
            of_value.insert(input, buffers.len());
            buffers.push(Buffer { bytes, last, given: true });
            added[0] = added[0].saturating_add(bytes);
        }
    }
    let mut within: Vec<u64> = vec![0; nodes.len()];
    for (index, &(stored, n)) in nodes.iter().enumerate() {
        if scope.is_done(n) {
            continue;
        }
        within[index] = inside(scope, NodeId(stored), n, reuse)?;
        for (slot, output) in n.output.iter().enumerate().filter(|(_, o)| !o.is_empty() && !scope.is_settled(o)) {
            let used = last_use.get(output.as_str()).copied();
            let Some(bytes) = scope.bytes_of(output) else {
                // What nobody reads may stay unknown.
                used.map_or(Some(()), |_| None)?;
                continue;
            };
            let last = used.unwrap_or(index);
            let shared =
                if reuse == Reuse::InPlace && slot == 0 { shared(n, index, bytes, &buffers, &of_value) } else { None };
            let buffer = shared.unwrap_or(buffers.len());
            match buffers.get_mut(buffer) {
                Some(known) => known.last = known.last.max(last),
                None => {
                    buffers.push(Buffer { bytes, last, given: false });
                    added[index + 1] = added[index + 1].saturating_add(bytes);
                }
            }
            of_value.insert(output, buffer);
        }
    }
    let mut freed: Vec<u64> = vec![0; nodes.len()];
    for buffer in buffers.iter().filter(|b| b.last < nodes.len()) {
        freed[buffer.last] = freed[buffer.last].saturating_add(buffer.bytes);
    }
    let mut alive = added[0];
    let mut peak = alive;
    for index in 0..nodes.len() {
        alive = alive.saturating_add(added[index + 1]);
        peak = peak.max(alive.saturating_add(within[index]));
        alive = alive.saturating_sub(freed[index]);
    }
    Some(peak)
}

/// Positions of the nodes that outputs depend on, in the order in which they run.
fn order(scope: &Scope<'_>) -> Vec<usize> {
    let producers = |n: &NodeProto| -> Vec<usize> {
        let captured = captured_names(n);
        let mut captured: Vec<&str> = captured.into_iter().collect();
        captured.sort_unstable();
        let read = n.input.iter().map(String::as_str).chain(captured);
        read.filter_map(|value| scope.view.producer(value)).map(|(id, _)| id.0).collect()
    };
    let mut order = Vec::with_capacity(scope.graph.node.len());
    let mut reached = vec![false; scope.graph.node.len()];
    for output in &scope.graph.output {
        let Some((id, n)) = scope.view.producer(&output.name) else { continue };
        if std::mem::replace(&mut reached[id.0], true) {
            continue;
        }
        let mut open = vec![(id.0, producers(n).into_iter())];
        while let Some((at, before)) = open.last_mut() {
            let at = *at;
            match before.find(|&p| !std::mem::replace(&mut reached[p], true)) {
                Some(next) => open.push((next, producers(&scope.graph.node[next]).into_iter())),
                None => {
                    order.push(at);
                    open.pop();
                }
            }
        }
    }
    order
}

/// The buffer that an output shares with an input.
fn shared(
    n: &NodeProto,
    index: usize,
    bytes: u64,
    buffers: &[Buffer],
    of_value: &HashMap<&str, usize>,
) -> Option<usize> {
    if !node::is_default_domain(&n.domain) {
        return None;
    }
    let buffer = |input: &String| of_value.get(input.as_str()).copied().filter(|&b| buffers[b].bytes == bytes);
    if operators::is_view(&n.op_type) {
        return n.input.first().and_then(buffer);
    }
    let free = |b: &usize| buffers[*b].last == index && !buffers[*b].given;
    if operators::is_elementwise(&n.op_type) { n.input.iter().filter_map(buffer).find(free) } else { None }
}

/// What the dearest graph inside a node holds at once, besides the node's inputs and outputs.
fn inside(scope: &Scope<'_>, id: NodeId, n: &NodeProto, reuse: Reuse) -> Option<u64> {
    let Some(inner) = scope.shapes.inner(id) else {
        return if subgraphs(n).next().is_some() { None } else { Some(0) };
    };
    let outputs = || n.output.iter().filter_map(|o| scope.bytes_of(o)).fold(0, u64::saturating_add);
    let mut most = 0;
    for (position, body) in inner.bodies.iter().enumerate() {
        if matches!(inner.runs, Runs::OneOf(Some(taken)) if taken != position) {
            continue;
        }
        let within = scope.of_body(n, position, body)?;
        let again = matches!(n.op_type.as_str(), "Loop" | "Scan") && body.called.is_none();
        let bytes = if again {
            // What is carried, and one step of what is scanned.
            peak(&within, reuse)?
        } else {
            // Arguments and results are arrays of the graph around it.
            of(&within, reuse, &[])?.saturating_sub(outputs())
        };
        most = most.max(bytes);
    }
    Some(most)
}
