//! Peak activation memory by liveness.
//!
//! The largest sum of bytes of the activations alive while a node runs (what it reads, what it writes, and what later nodes still
//! need), inputs while they are needed and outputs to the end. `plan` says what the steps are and `order` in which orders they run; the
//! dearer order counts. Weights, and whatever is computed from weights alone, are no activations. Inside a node with bodies the dearest
//! body counts besides what is alive around it.

use std::collections::HashMap;

use plimsoll_onnx::{NodeId, proto::NodeProto, shape::Runs, subgraphs};

use crate::{
    order::orders,
    plan::{Plan, Read, Writes},
    scope::Scope,
    slices,
};

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
    /// Position in the order of the step after which it is free.
    last: usize,
    /// Whether the caller owns it.
    given: bool,
}

/// `given` are the inputs of the graph that take memory of their own here.
fn of(scope: &Scope<'_>, reuse: Reuse, given: &[&str]) -> Option<u64> {
    let plan = Plan::new(scope, given);
    // Once, whatever the order: bodies have bodies.
    let mut within = HashMap::new();
    for node in plan.steps.iter().filter_map(|s| s.node) {
        within.insert(node, inside(scope, node, &scope.graph.node[node.0], reuse)?);
    }
    let settled = slices::settled(&plan).unwrap_or(plan);
    let orders = orders(&settled);
    orders.iter().map(|order| in_order(&settled, reuse, order, &within)).try_fold(0, |most, of| Some(of?.max(most)))
}

/// Of one order; `within` is what each node holds inside.
fn in_order(plan: &Plan<'_>, reuse: Reuse, order: &[usize], within: &HashMap<NodeId, u64>) -> Option<u64> {
    let mut last_use: Vec<Option<usize>> = vec![None; plan.arrays.len()];
    for (index, &step) in order.iter().enumerate() {
        for read in &plan.steps[step].reads {
            if let Read::Array(array) = *read {
                last_use[array] = Some(index);
            }
        }
    }
    for (last, _) in last_use.iter_mut().zip(&plan.arrays).filter(|(_, a)| a.kept) {
        *last = Some(usize::MAX);
    }
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut buffer_of: Vec<Option<usize>> = vec![None; plan.arrays.len()];
    // Before the first step, and what each step adds.
    let mut added: Vec<u64> = vec![0; order.len() + 1];
    for (i, array) in plan.arrays.iter().enumerate().filter(|(_, a)| a.step.is_none()) {
        if let Some(last) = last_use[i] {
            buffer_of[i] = Some(buffers.len());
            buffers.push(Buffer { bytes: array.bytes?, last, given: true });
            added[0] = added[0].saturating_add(array.bytes?);
        }
    }
    for (index, &step) in order.iter().enumerate() {
        let step = &plan.steps[step];
        for (slot, &array) in step.writes.iter().enumerate() {
            let Some(bytes) = plan.arrays[array].bytes else {
                // What nobody reads may stay unknown.
                last_use[array].map_or(Some(()), |_| None)?;
                continue;
            };
            let last = last_use[array].unwrap_or(index);
            let read = step.reads.iter().filter_map(|r| if let Read::Array(a) = *r { buffer_of[a] } else { None });
            let mut same = read.filter(|b| buffers[*b].bytes == bytes);
            let shared = match step.how {
                _ if slot > 0 || reuse == Reuse::None => None,
                Writes::Own => None,
                Writes::View => same.next(),
                Writes::Over => same.find(|b| buffers[*b].last == index && !buffers[*b].given),
            };
            let buffer = shared.unwrap_or(buffers.len());
            match buffers.get_mut(buffer) {
                Some(known) => known.last = known.last.max(last),
                None => {
                    buffers.push(Buffer { bytes, last, given: false });
                    added[index + 1] = added[index + 1].saturating_add(bytes);
                }
            }
            buffer_of[array] = Some(buffer);
        }
    }
    let mut freed: Vec<u64> = vec![0; order.len()];
    for buffer in buffers.iter().filter(|b| b.last < order.len()) {
        freed[buffer.last] = freed[buffer.last].saturating_add(buffer.bytes);
    }
    let mut alive = added[0];
    let mut peak = alive;
    for (index, &step) in order.iter().enumerate() {
        alive = alive.saturating_add(added[index + 1]);
        let inside = plan.steps[step].node.map_or(0, |node| within[&node]);
        peak = peak.max(alive.saturating_add(inside));
        alive = alive.saturating_sub(freed[index]);
    }
    Some(peak)
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
