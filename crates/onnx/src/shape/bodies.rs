//! Graphs inside a graph: branches of `If`, bodies of `Loop` and `Scan`, calls of the model's functions. Each is followed with
//! the types that its inputs have where it is entered; what a loop carries is widened until another iteration changes nothing.

use std::{collections::HashSet, sync::Arc};

use onnx_protobuf::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::{Dim, Element, Infer, Shapes, ValueType, axis_of};
use crate::{NodeId, ValueSpec, View, attr, node, protos, subgraphs};

/// Nodes of bodies that are followed in one model. Functions that call each other can stand for more than a machine holds.
pub(super) const MOST_NODES: usize = 1 << 17;
/// Graphs within graphs.
const MOST_DEPTH: usize = 48;
/// Rounds of widening before nothing is claimed about what a loop carries.
const MOST_ROUNDS: usize = 3;
/// From here on a trip count stands for "until the condition says so", as exporters write it.
const ENDLESS: i64 = i32::MAX as i64;

/// How often the bodies of a node run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// Each of them so many times.
    Exactly(u64),
    /// So many times, unless a condition ends it before.
    AtMost(u64),
    /// As often as a condition wants that is not known.
    Unknown,
    /// One of the branches, once: the one at this position, where the condition is known.
    OneOf(Option<usize>),
}

/// A graph inside a node.
#[derive(Debug, Clone)]
pub struct Body {
    /// What is known of its values.
    pub shapes: Shapes,
    /// The graph, where it stands in no attribute of the node: the function's nodes with the attributes of this call.
    pub called: Option<Arc<GraphProto>>,
}

/// What a node runs besides itself.
#[derive(Debug, Clone)]
pub struct Inner {
    /// The graphs, in the order of [`subgraphs`].
    pub bodies: Vec<Body>,
    /// How often they run.
    pub runs: Runs,
}

pub(super) type Types = Option<Vec<ValueType>>;

impl Infer<'_> {
    /// Types of the outputs of a node with bodies, which are kept; `None` for other nodes.
    pub(super) fn enter(&mut self, id: NodeId, n: &NodeProto) -> Types {
        if let Some(&function) = self.functions.by_name.get(&(n.domain.as_str(), n.op_type.as_str())) {
            return self.call(id, n, function);
        }
        if !node::is_default_domain(&n.domain) {
            return None;
        }
        match n.op_type.as_str() {
            "If" => self.branches(id, n),
            "Loop" => self.iterate(id, n, Kind::Loop),
            // Before operator set 9 a Scan had a batch dimension and a sequence length.
            "Scan" if self.opset >= 9 => self.iterate(id, n, Kind::Scan),
            _ => None,
        }
    }

    /// The constant behind a name, in this graph or the ones around it.
    pub(super) fn constant_proto(&self, name: &str) -> Option<&TensorProto> {
        if let Some(&given) = self.given.get(name) {
            return Some(given);
        }
        let own = self.view.producer(name).is_some() || self.view.initializer(name).is_some();
        if own || self.outer.is_none() || self.view.graph().input.iter().any(|i| i.name == name) {
            return self.view.constant(name);
        }
        self.outer?.constant_proto(name)
    }

    fn branches(&mut self, id: NodeId, n: &NodeProto) -> Types {
        let bodies: Vec<(&AttributeProto, &GraphProto)> =
            n.attribute.iter().filter_map(|a| Some((a, a.g.as_ref()?))).collect();
        if bodies.len() != 2 || subgraphs(n).count() != 2 {
            return None;
        }
        let taken = match self.elements(n, 0).as_deref() {
            Some([Element::Known(1)]) => Some("then_branch"),
            Some([Element::Known(0)]) => Some("else_branch"),
            _ => None,
        };
        let taken = taken.and_then(|name| bodies.iter().position(|(a, _)| a.name == name));
        let shapes: Vec<Shapes> = bodies.iter().map(|(_, g)| self.body(n, g, vec![])).collect::<Option<_>>()?;
        let types = |i: usize| -> Vec<ValueType> {
            bodies[i].1.output.iter().map(|o| shapes[i].get(&o.name).cloned().unwrap_or_default()).collect()
        };
        let found = match taken {
            Some(i) => {
                let elements = bodies[i].1.output.first().and_then(|o| shapes[i].elements(&o.name));
                if let (Some(output), Some(elements)) = (n.output.first(), elements) {
                    self.shapes.elements.insert(output.clone(), elements.to_vec());
                }
                types(i)
            }
            None => {
                let pairs: Vec<_> = types(0).into_iter().zip(types(1)).collect();
                pairs.into_iter().map(|(a, b)| self.either(a, b)).collect()
            }
        };
        self.keep(id, shapes, Runs::OneOf(taken));
        Some(found)
    }

    /// What holds of a value that has one of two types.
    fn either(&mut self, a: ValueType, b: ValueType) -> ValueType {
        let dims = match (a.dims, b.dims) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                Some(a.into_iter().zip(b).map(|(a, b)| if a == b { a } else { self.fresh() }).collect())
            }
            _ => None,
        };
        ValueType { dtype: a.dtype.filter(|a| b.dtype == Some(*a)), dims }
    }

    fn iterate(&mut self, id: NodeId, n: &NodeProto, kind: Kind) -> Types {
        let mut graphs = subgraphs(n);
        let (body, None) = (graphs.next()?, graphs.next()) else { return None };
        let plan = match kind {
            Kind::Loop => self.plan_loop(n, body)?,
            Kind::Scan => self.plan_scan(n, body)?,
        };
        let Plan { before, mut carried, after, skipped, runs, steps } = plan;
        let outputs = body.output.get(skipped..)?;
        if outputs.len() < carried.len() || outputs.len() != n.output.len() {
            return None;
        }
        // Sizes that change from iteration to iteration.
        let mut loose: HashSet<Dim> = HashSet::new();
        for round in 0.. {
            let inputs = before.iter().chain(&carried).chain(&after).cloned().collect();
            let shapes = self.body(n, body, inputs)?;
            let found: Vec<ValueType> =
                outputs.iter().map(|o| shapes.get(&o.name).cloned().unwrap_or_default()).collect();
            let mut wider = Vec::with_capacity(carried.len());
            for (was, is) in carried.iter().zip(&found) {
                wider.push(self.widened(was, is, &mut loose));
            }
            if wider == carried {
                let stacked = found.into_iter().skip(carried.len()).enumerate();
                let stacked: Vec<ValueType> = stacked.map(|(i, t)| stack(n, i, t, steps)).collect();
                self.keep(id, vec![shapes], runs);
                carried.extend(stacked);
                // Outside, nothing is as large as what changes inside.
                for dim in carried.iter_mut().filter_map(|t| t.dims.as_mut()).flatten().filter(|d| loose.contains(d)) {
                    *dim = self.fresh();
                }
                return Some(carried);
            }
            carried = wider;
            if round >= MOST_ROUNDS {
                carried.iter_mut().for_each(|c| *c = ValueType::default());
            }
        }
        None
    }

    /// The type of a carried value that holds before and after an iteration; what it leaves open is `loose`.
    fn widened(&mut self, was: &ValueType, is: &ValueType, loose: &mut HashSet<Dim>) -> ValueType {
        let mut dim = |(was, is): (&Dim, &Dim)| {
            if was == is || loose.contains(was) {
                return *was;
            }
            let open = self.fresh();
            loose.insert(open);
            open
        };
        let dims = match (&was.dims, &is.dims) {
            (Some(was), Some(is)) if was.len() == is.len() => Some(was.iter().zip(is).map(&mut dim).collect()),
            _ => None,
        };
        ValueType { dtype: was.dtype.filter(|d| is.dtype == Some(*d)), dims }
    }

    fn plan_loop(&mut self, n: &NodeProto, body: &GraphProto) -> Option<Plan> {
        let scalar = |dtype| ValueType { dtype: Some(dtype), dims: Some(vec![]) };
        let carried: Vec<ValueType> = (2..n.input.len()).map(|i| self.like(n, i)).collect();
        if body.input.len() != 2 + carried.len() {
            return None;
        }
        let limit = self.integers(n, 0).and_then(|m| m.first().copied());
        let starts = node::input(n, 1).is_none() || self.integers(n, 1).as_deref() == Some(&[1]);
        let runs = match limit {
            _ if self.integers(n, 1).as_deref() == Some(&[0]) => Runs::Exactly(0),
            Some(m) if starts && goes_on(body) => Runs::Exactly(u64::try_from(m).unwrap_or(0)),
            Some(m) if m < ENDLESS => Runs::AtMost(u64::try_from(m).unwrap_or(0)),
            _ => Runs::Unknown,
        };
        let steps = if let Runs::Exactly(m) = runs { Dim::Known(m) } else { self.fresh() };
        let before = vec![scalar(crate::DType::I64), scalar(crate::DType::Bool)];
        Some(Plan { before, carried, after: vec![], skipped: 1, runs, steps })
    }

    fn plan_scan(&mut self, n: &NodeProto, body: &GraphProto) -> Option<Plan> {
        let scanned = usize::try_from(attr::int(n, "num_scan_inputs")?).ok()?;
        let states = n.input.len().checked_sub(scanned)?;
        if body.input.len() != n.input.len() || scanned == 0 {
            return None;
        }
        let carried = (0..states).map(|i| self.like(n, i)).collect();
        let axes = attr::ints(n, "scan_input_axes").map(<[i64]>::to_vec).unwrap_or_default();
        let mut steps = None;
        let mut after = Vec::with_capacity(scanned);
        for i in 0..scanned {
            let mut each = self.like(n, states + i);
            if let Some(dims) = &mut each.dims {
                let axis = axis_of(axes.get(i).copied().unwrap_or(0), dims.len())?;
                let length = dims.remove(axis);
                steps = steps.filter(|s: &Dim| s.known().is_some()).or(Some(length));
            }
            after.push(each);
        }
        let runs = steps.and_then(Dim::known).map_or(Runs::Unknown, Runs::Exactly);
        let steps = steps.unwrap_or_else(|| self.fresh());
        Some(Plan { before: vec![], carried, after, skipped: 0, runs, steps })
    }

    /// Follows a body that sees the graph around it.
    fn body(&mut self, n: &NodeProto, body: &GraphProto, inputs: Vec<ValueType>) -> Option<Shapes> {
        self.left = self.left.checked_sub(body.node.len() + 1)?;
        let named = std::mem::take(&mut self.named);
        let mut shapes = Shapes::default();
        for name in protos::captured_names(n) {
            shapes.types.extend(self.shapes.types.get(name).map(|t| (name.to_owned(), t.clone())));
            shapes.elements.extend(self.shapes.elements.get(name).map(|e| (name.to_owned(), e.clone())));
        }
        let mut inner = Infer { outer: Some(&*self), named, ..self.nested(body, shapes) };
        let found = inner.follow(body, inputs);
        let (next, left, named) = (inner.next, inner.left, std::mem::take(&mut inner.named));
        (self.next, self.left, self.named) = (next, left, named);
        found
    }

    /// Follows the nodes of a graph whose inputs have these types.
    pub(super) fn follow(&mut self, graph: &GraphProto, inputs: Vec<ValueType>) -> Option<Shapes> {
        if self.depth > MOST_DEPTH || graph.input.len() < inputs.len() {
            return None;
        }
        self.hold_constants();
        for (formal, mut found) in graph.input.iter().zip(inputs) {
            let declared = ValueSpec::from_proto(formal);
            found.dtype = found.dtype.or(declared.dtype);
            self.set(&formal.name, found);
        }
        self.run();
        Some(std::mem::take(&mut self.shapes))
    }

    fn keep(&mut self, id: NodeId, bodies: Vec<Shapes>, runs: Runs) {
        let bodies = bodies.into_iter().map(|shapes| Body { shapes, called: None }).collect();
        self.shapes.inner.insert(id, Inner { bodies, runs });
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Loop,
    Scan,
}

/// How a body is entered again and again.
struct Plan {
    /// Inputs before those that are carried.
    before: Vec<ValueType>,
    carried: Vec<ValueType>,
    after: Vec<ValueType>,
    /// Outputs of the body that are none of the node.
    skipped: usize,
    runs: Runs,
    /// Iterations, as a dimension of what is stacked up.
    steps: Dim,
}

/// The type of a body's output that is stacked up over the iterations; `i` counts these.
fn stack(n: &NodeProto, i: usize, each: ValueType, steps: Dim) -> ValueType {
    let axis = attr::ints(n, "scan_output_axes").and_then(|a| a.get(i).copied()).unwrap_or(0);
    let dims = each.dims.and_then(|mut dims| {
        let axis = axis_of(axis, dims.len() + 1)?;
        dims.insert(axis, steps);
        Some(dims)
    });
    ValueType { dtype: each.dtype, dims }
}

/// Whether a loop's body never ends it: the condition that it computes is a constant true, or the one that it was given.
fn goes_on(body: &GraphProto) -> bool {
    let Some(mut name) = body.output.first().map(|o| o.name.as_str()) else { return false };
    let given = body.input.get(1).map(|i| i.name.as_str());
    let view = View::new(body, i64::MAX);
    for _ in 0..=body.node.len() {
        if Some(name) == given {
            return true;
        }
        if let Some(held) = view.constant(name) {
            let held = crate::Tensor::from_proto(held).and_then(|t| t.to_i64());
            return held.is_ok_and(|v| v == [1]);
        }
        match view.producer_of(name, "Identity").and_then(|(_, n)| node::input(n, 0)) {
            Some(before) => name = before,
            None => return false,
        }
    }
    false
}

/// Element types that the bodies of a node declare for its outputs, where they cannot be followed; a `Loop` computes its condition
/// besides.
pub(super) fn declared_types(n: &NodeProto) -> Vec<ValueType> {
    let skipped = usize::from(n.op_type == "Loop");
    let declared = |body: &GraphProto| -> Vec<Option<crate::DType>> {
        body.output.iter().skip(skipped).map(|o| ValueSpec::from_proto(o).dtype).collect()
    };
    let bodies: Vec<Vec<Option<crate::DType>>> = subgraphs(n).map(declared).collect();
    // The branches of an `If` give the same types; one that says nothing leaves it to the other.
    let agreed = |i: usize| {
        let mut said = bodies.iter().filter_map(|b| b.get(i).copied().flatten());
        let first = said.next()?;
        said.all(|d| d == first).then_some(first)
    };
    (0..n.output.len()).map(|i| ValueType { dtype: agreed(i), dims: None }).collect()
}
