//! Going through the nodes of a graph and of the graphs inside it.

use std::collections::{HashMap, HashSet};

use plimsoll_onnx::{NodeId, captured_names, node, proto::NodeProto, shape::Inner, shape::Runs, subgraphs};

use crate::{
    BodyCost, Counted, Macs, NodeCost, macs,
    scope::Scope,
    traffic,
    weights::{Held, constants, nested},
};

/// A row for each node of a graph.
pub(crate) fn nodes(scope: &Scope<'_>) -> Vec<NodeCost> {
    let held: HashMap<&str, Held> = constants(scope.graph).collect();
    scope.graph.node.iter().enumerate().map(|(index, n)| row(scope, NodeId(index), n, &held)).collect()
}

/// What nodes come to in one run of each: products, and bytes that they read and write, where these are known of all.
pub(crate) fn sums(nodes: &[NodeCost]) -> (Macs, Option<u64>) {
    let macs = nodes.iter().fold(Macs::default(), |sum, n| sum.plus(n.by_dtype));
    (macs, nodes.iter().try_fold(0u64, |sum, n| Some(sum.saturating_add(n.traffic?))))
}

fn row(scope: &Scope<'_>, id: NodeId, n: &NodeProto, held: &HashMap<&str, Held>) -> NodeCost {
    let mut own = Held::default();
    let mut seen = HashSet::new();
    // What the bodies of If, Loop and Scan read counts as the node's own.
    let captured = captured_names(n);
    for input in n.input.iter().map(String::as_str).chain(captured).filter(|i| seen.insert(*i)) {
        if let Some(more) = held.get(input) {
            own.add(more);
        }
    }
    own.add(&nested(n));
    let inner = scope.shapes.inner(id);
    if let Some(called) = inner.and_then(|i| i.bodies.first()?.called.as_ref()) {
        constants(called).for_each(|(_, more)| own.add(&more));
        called.node.iter().for_each(|n| own.add(&nested(n)));
    }
    let row = NodeCost {
        id,
        name: node::label(n),
        op: n.op_type.clone(),
        macs: Some(0),
        by_dtype: Macs::default(),
        params: own.params(),
        bytes: own.bytes(),
        traffic: Some(0),
        shape: n.output.iter().find(|o| !o.is_empty()).and_then(|o| scope.shapes.concrete(o)),
        counted: Counted::Always,
        bodies: vec![],
    };
    match inner {
        _ if scope.is_done(n) => row,
        Some(inner) => with_bodies(scope, n, inner, row),
        None if subgraphs(n).next().is_some() => NodeCost { macs: None, traffic: None, ..row },
        None => {
            let macs = macs::of(n, scope.shapes);
            let by_dtype = macs.map(|m| Macs::new(m, scope.precision(n))).unwrap_or_default();
            NodeCost { macs, by_dtype, traffic: traffic::of(scope, n), ..row }
        }
    }
}

fn with_bodies(scope: &Scope<'_>, n: &NodeProto, inner: &Inner, row: NodeCost) -> NodeCost {
    let one = |(position, body)| -> Option<BodyCost> {
        let within = scope.of_body(n, position, body)?;
        let runs = match inner.runs {
            Runs::Exactly(runs) | Runs::AtMost(runs) => Some(runs),
            Runs::Unknown => None,
            Runs::OneOf(taken) => Some(taken.is_none_or(|t| t == position).into()),
        };
        let name = match within.graph.name.as_str() {
            "" if body.called.is_some() => n.op_type.clone(),
            "" => format!("body {position}"),
            name => name.to_owned(),
        };
        Some(BodyCost { name, runs, nodes: nodes(&within) })
    };
    let bodies: Option<Vec<BodyCost>> = inner.bodies.iter().enumerate().map(one).collect();
    let Some(bodies) = bodies else { return NodeCost { macs: None, traffic: None, ..row } };
    let costs = bodies.iter().map(|body| {
        let (macs, traffic) = sums(&body.nodes);
        (macs, traffic, body.runs.unwrap_or(1))
    });
    let costs: Vec<(Macs, Option<u64>, u64)> = costs.filter(|(_, _, runs)| *runs > 0).collect();
    let (by_dtype, traffic) = match inner.runs {
        // The dearest in products; of what moves the most.
        Runs::OneOf(_) => {
            let dearest = costs.iter().map(|(m, ..)| *m).max_by_key(|m| m.total()).unwrap_or_default();
            let most = costs.iter().try_fold(0u64, |most, (_, traffic, _)| Some(most.max((*traffic)?)));
            (dearest, most)
        }
        _ => costs.iter().fold((Macs::default(), Some(0u64)), |(macs, sum), (m, traffic, runs)| {
            (macs.plus(m.times(*runs)), sum.zip(*traffic).map(|(s, t)| s.saturating_add(t.saturating_mul(*runs))))
        }),
    };
    let counted = match inner.runs {
        Runs::Exactly(_) | Runs::OneOf(Some(_)) => Counted::Always,
        Runs::OneOf(None) => Counted::DearestBranch,
        Runs::AtMost(runs) => Counted::AtMost(runs),
        Runs::Unknown => Counted::OneIteration,
    };
    NodeCost { macs: Some(by_dtype.total()), by_dtype, traffic, counted, bodies, ..row }
}

/// The constants of a model that some node reads, or that stand in bodies, shared ones once.
pub(crate) fn held(scope: &Scope<'_>) -> Held {
    let by_name: HashMap<&str, Held> = constants(scope.graph).collect();
    let mut sum = Held::default();
    let mut counted = HashSet::new();
    let mut functions = HashSet::new();
    for (index, n) in scope.graph.node.iter().enumerate() {
        let captured = captured_names(n);
        for input in n.input.iter().map(String::as_str).chain(captured) {
            if let Some(more) = by_name.get(input).filter(|_| counted.insert(input)) {
                sum.add(more);
            }
        }
        sum.add(&nested(n));
        called(scope, NodeId(index), n, &mut functions, &mut sum);
    }
    sum
}

/// Adds the constants of the functions that a node calls, itself or in its bodies, each function once.
fn called<'a>(
    scope: &Scope<'a>,
    id: NodeId,
    n: &'a NodeProto,
    functions: &mut HashSet<(&'a str, &'a str)>,
    sum: &mut Held,
) {
    let Some(inner) = scope.shapes.inner(id) else { return };
    for (position, body) in inner.bodies.iter().enumerate() {
        if let Some(graph) = &body.called {
            if !functions.insert((&n.domain, &n.op_type)) {
                continue;
            }
            constants(graph).for_each(|(_, more)| sum.add(&more));
            graph.node.iter().for_each(|n| sum.add(&nested(n)));
        }
        let Some(within) = scope.of_body(n, position, body) else { continue };
        for (index, n) in within.graph.node.iter().enumerate() {
            called(&within, NodeId(index), n, functions, sum);
        }
    }
}
