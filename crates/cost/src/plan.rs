//! The steps that an executor makes of the nodes of a graph, and the arrays between them: what the peak of memory is counted on. A step
//! is a node, but where arrays come or go by what an executor makes of it (tract's typed plan; onnxruntime folds normalizations too):
//!
//! - a batch normalization of a convolution is part of its weights;
//! - a convolution of 1 × 1, and Gemm, is a product, to which a bias is added; strides take samples out of the input before it;
//! - a value times its own sigmoid is one step;
//! - a recurrent layer of one time step multiplies input and state for themselves.
//!
//! It knows no order: `order` has that.

use std::collections::HashMap;

use plimsoll_onnx::{NodeId, attr, captured_names, node, proto::NodeProto, shape::Dim};

use crate::{cuts::Cut, operators, scope::Scope};

/// An array that a run makes or is given.
#[derive(Clone)]
pub(crate) struct Array {
    /// `None` where type or shape is not known.
    pub(crate) bytes: Option<u64>,
    /// Empty where some are not known.
    pub(crate) dims: Vec<usize>,
    /// The step that writes it; none of what the caller owns.
    pub(crate) step: Option<usize>,
    /// Whether it is an output of the graph.
    pub(crate) kept: bool,
}

/// What a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Read {
    /// The array with this position.
    Array(usize),
    /// Something that takes no memory in a run, by a number of its own: weights.
    Weight(usize),
}

/// What a step may do with the memory of what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// Arrays of its own.
    Own,
    /// Over an input of the same size that nobody needs afterwards.
    Over,
    /// Nothing: its output shows the first input.
    View,
}

/// One step.
#[derive(Clone)]
pub(crate) struct Step {
    /// In the order of the operands.
    pub(crate) reads: Vec<Read>,
    /// Arrays.
    pub(crate) writes: Vec<usize>,
    pub(crate) how: Writes,
    /// The position of the node with this step's bodies, where it has some.
    pub(crate) node: Option<NodeId>,
    /// How its result comes in parts.
    pub(crate) cut: Cut,
}

/// All steps that outputs may depend on.
#[derive(Default, Clone)]
pub(crate) struct Plan<'a> {
    pub(crate) arrays: Vec<Array>,
    pub(crate) steps: Vec<Step>,
    /// The arrays that are outputs, in the order of the graph.
    pub(crate) outputs: Vec<usize>,
    of_value: HashMap<&'a str, usize>,
    weights: HashMap<Weight<'a>, usize>,
    /// Weights of which there are as many as there are steps that read them.
    own: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Weight<'a> {
    /// A value of the file, or of the graph around this one.
    Named(&'a str),
    /// A zero that no file has, of so many dimensions: a rectifier is a maximum of two operands.
    Zero(usize),
    /// A part of a weight.
    Part(usize),
}

impl<'a> Plan<'a> {
    /// `given` are the inputs of the graph that take memory of their own here.
    pub(crate) fn new(scope: &'a Scope<'_>, given: &[&str]) -> Self {
        let mut plan = Self::default();
        for input in scope.graph.input.iter().map(|i| i.name.as_str()).filter(|i| !scope.is_weight(i)) {
            let bytes = if given.contains(&input) { scope.bytes_of(input) } else { Some(0) };
            plan.array(scope, input, bytes);
        }
        for node in depth_first(scope) {
            plan.add(scope, node);
        }
        for output in &scope.graph.output {
            if let Some(&array) = plan.of_value.get(output.name.as_str()) {
                plan.arrays[array].kept = true;
                plan.outputs.push(array);
            }
        }
        plan
    }

    /// The steps that outputs depend on, in no order that means anything.
    pub(crate) fn running(&self) -> Vec<usize> {
        let mut found = Vec::new();
        let mut reached = vec![false; self.steps.len()];
        let mut open: Vec<usize> = self.outputs.iter().filter_map(|o| self.arrays[*o].step).collect();
        while let Some(step) = open.pop() {
            if !std::mem::replace(&mut reached[step], true) {
                found.push(step);
                let reads = self.steps[step].reads.iter();
                open.extend(reads.filter_map(|r| if let Read::Array(a) = *r { self.arrays[a].step } else { None }));
            }
        }
        found
    }

    fn array(&mut self, scope: &Scope<'_>, value: &'a str, bytes: Option<u64>) -> usize {
        let dims = scope.shapes.concrete(value).unwrap_or_default();
        self.arrays.push(Array { bytes, dims, step: None, kept: false });
        self.of_value.insert(value, self.arrays.len() - 1);
        self.arrays.len() - 1
    }

    fn weight(&mut self, weight: Weight<'a>) -> Read {
        let next = self.weights.len();
        Read::Weight(*self.weights.entry(weight).or_insert(next))
    }

    /// A weight that no other step reads.
    pub(crate) fn own_weight(&mut self) -> Read {
        self.own += 1;
        self.weight(Weight::Part(self.own))
    }

    fn read(&mut self, value: &'a str) -> Read {
        match self.of_value.get(value) {
            Some(&array) => Read::Array(array),
            None => self.weight(Weight::Named(value)),
        }
    }

    /// A step with an array that no value of the graph is.
    fn between(&mut self, reads: Vec<Read>, how: Writes, (bytes, dims): Size, cut: Cut) -> Read {
        self.arrays.push(Array { bytes, dims, step: Some(self.steps.len()), kept: false });
        self.steps.push(Step { reads, writes: vec![self.arrays.len() - 1], how, node: None, cut });
        Read::Array(self.arrays.len() - 1)
    }

    /// A step that writes the outputs of a node.
    fn last(
        &mut self,
        scope: &'a Scope<'_>,
        n: &'a NodeProto,
        reads: Vec<Read>,
        how: Writes,
        node: Option<NodeId>,
        cut: Cut,
    ) {
        let outputs = n.output.iter().filter(|o| !o.is_empty() && !scope.is_settled(o));
        let writes: Vec<usize> = outputs.map(|o| self.array(scope, o, scope.bytes_of(o))).collect();
        writes.iter().for_each(|&w| self.arrays[w].step = Some(self.steps.len()));
        self.steps.push(Step { reads, writes, how, node, cut });
    }

    fn add(&mut self, scope: &'a Scope<'_>, stored: usize) {
        let n = &scope.graph.node[stored];
        if is_folded(scope, n)
            && let Some(&array) = self.of_value.get(n.input[0].as_str())
        {
            self.of_value.insert(&n.output[0], array);
            return;
        }
        if is_product(scope, n) {
            return self.product(scope, n);
        }
        if let Some(x) = weighted_by_itself(scope, n) {
            let x = self.read(x);
            let rank = scope.shapes.dims(&n.output[0]).map_or(0, <[Dim]>::len);
            return self.last(scope, n, vec![x], Writes::Over, None, Cut::alike(rank, 1));
        }
        if let Some(gates) = one_step(scope, n) {
            return self.recurrent(scope, n, gates);
        }
        let ours = node::is_default_domain(&n.domain);
        let say_how = ours && operators::takes_settings(&n.op_type);
        let mut reads = Vec::new();
        for (slot, input) in n.input.iter().enumerate().filter(|(_, i)| !i.is_empty()) {
            if !(say_how && slot > 0 && scope.is_settled(input)) {
                reads.push(self.read(input));
            }
        }
        let mut captured: Vec<&str> = captured_names(n).into_iter().collect();
        captured.sort_unstable();
        reads.extend(captured.into_iter().map(|c| self.read(c)));
        if node::is(n, "Relu") {
            let rank = n.input.first().and_then(|x| scope.shapes.dims(x)).map_or(0, <[Dim]>::len);
            reads.push(self.weight(Weight::Zero(rank)));
        } else if node::is(n, "Conv") && reads.len() < 3 {
            reads.push(self.folded_bias(scope, n).unwrap_or_else(|| self.weight(Weight::Zero(0))));
        }
        let how = match n.op_type.as_str() {
            _ if !ours => Writes::Own,
            op if operators::is_view(op) => Writes::View,
            op if operators::is_elementwise(op) => Writes::Over,
            _ => Writes::Own,
        };
        self.last(scope, n, reads, how, Some(NodeId(stored)), Cut::of(scope, n));
    }

    /// The bias that a normalization gives to a convolution that has none.
    fn folded_bias(&mut self, scope: &Scope<'_>, n: &NodeProto) -> Option<Read> {
        let (_, user, _) = scope.view.sole_user(&n.output[0])?;
        is_folded(scope, user).then(|| self.own_weight())
    }

    /// A convolution of 1 × 1, or Gemm.
    fn product(&mut self, scope: &'a Scope<'_>, n: &'a NodeProto) {
        let mut part = self.read(&n.input[0]);
        let (mut bytes, mut dims) = size(scope, &n.input[0]);
        for (axis, &stride) in strides(n).iter().enumerate().filter(|(_, s)| **s > 1) {
            let axis = axis + 2;
            if let Some(d) = dims.get_mut(axis) {
                let all = std::mem::replace(d, d.div_ceil(stride as usize));
                bytes = bytes.map(|b| (b / all.max(1) as u64).saturating_mul(*d as u64));
            }
            part = self.between(vec![part], Writes::Own, (bytes, dims.clone()), Cut::Every(axis, stride as usize));
        }
        let weight = self.read(&n.input[1]);
        let bias = node::input(n, 2).map(|bias| self.read(bias)).or_else(|| self.folded_bias(scope, n));
        let product = Cut::of_product(scope, n);
        let Some(bias) = bias else { return self.last(scope, n, vec![part, weight], Writes::Own, None, product) };
        let sum = self.between(vec![part, weight], Writes::Own, size(scope, &n.output[0]), product);
        self.last(scope, n, vec![sum, bias], Writes::Over, None, Cut::of_bias(scope, n));
    }

    /// A recurrent layer whose gates take so many bytes.
    fn recurrent(&mut self, scope: &'a Scope<'_>, n: &'a NodeProto, gates: u64) {
        let operand = |plan: &mut Self, slot: usize| node::input(n, slot).map(|i| plan.read(i));
        let product = |plan: &mut Self, state: usize, weight: usize| {
            let reads = [operand(plan, state), operand(plan, weight)].into_iter().flatten().collect();
            plan.between(reads, Writes::Own, (Some(gates), vec![]), Cut::Whole)
        };
        let mut reads = vec![product(self, 0, 1)];
        if node::input(n, 5).is_some() {
            reads.push(product(self, 5, 2));
        }
        let mut sum = self.between(reads, Writes::Over, (Some(gates), vec![]), Cut::Whole);
        if let Some(bias) = operand(self, 3) {
            sum = self.between(vec![sum, bias], Writes::Over, (Some(gates), vec![]), Cut::Whole);
        }
        let rest =
            (4..n.input.len()).filter(|slot| *slot != 5).filter_map(|slot| operand(self, slot)).collect::<Vec<_>>();
        self.last(scope, n, std::iter::once(sum).chain(rest).collect(), Writes::Own, None, Cut::Whole);
    }
}

/// Bytes, where they are known, and dimensions, where all of them are.
type Size = (Option<u64>, Vec<usize>);

fn size(scope: &Scope<'_>, value: &str) -> Size {
    (scope.bytes_of(value), scope.shapes.concrete(value).unwrap_or_default())
}

/// Whether a normalization is part of the weights of the convolution before it, which nothing else reads.
fn is_folded(scope: &Scope<'_>, n: &NodeProto) -> bool {
    let settled = |n: &NodeProto| n.input.iter().skip(1).all(|i| i.is_empty() || scope.is_settled(i));
    node::is(n, "BatchNormalization")
        && !n.output.is_empty()
        && settled(n)
        && node::input(n, 0).is_some_and(|x| {
            scope.view.producer_of(x, "Conv").is_some_and(|(_, conv)| settled(conv))
                && scope.view.sole_user(x).is_some()
        })
}

/// What a product multiplies by its own sigmoid, which nothing else reads.
fn weighted_by_itself<'a>(scope: &Scope<'a>, n: &'a NodeProto) -> Option<&'a str> {
    let [a, b] = &n.input[..] else { return None };
    let sigmoid_of = |value: &str, x: &str| {
        let producer = scope.view.producer_of(value, "Sigmoid");
        producer.is_some_and(|(_, s)| s.input.first().is_some_and(|i| i == x)) && scope.view.sole_user(value).is_some()
    };
    node::is(n, "Mul").then_some(())?;
    if sigmoid_of(b, a) { Some(a) } else { sigmoid_of(a, b).then_some(b.as_str()) }
}

fn strides(product: &NodeProto) -> &[i64] {
    if node::is(product, "Conv") { attr::ints(product, "strides").unwrap_or_default() } else { &[] }
}

fn is_product(scope: &Scope<'_>, n: &NodeProto) -> bool {
    let is_one = |d: &Dim| d.known() == Some(1);
    let ([_, weight, ..], [_, ..]) = (&n.input[..], &n.output[..]) else { return false };
    node::is(n, "Gemm")
        || node::is(n, "Conv")
            && scope.shapes.dims(weight).is_some_and(|k| k.iter().skip(2).all(is_one))
            && attr::int(n, "group").unwrap_or(1) == 1
            && attr::ints(n, "pads").unwrap_or_default().iter().all(|p| *p == 0)
}

/// Bytes of the gates of a recurrent layer of one time step.
fn one_step(scope: &Scope<'_>, n: &NodeProto) -> Option<u64> {
    let gates = match n.op_type.as_str() {
        "LSTM" => 4,
        "GRU" => 3,
        "RNN" => 1,
        _ => return None,
    };
    let known = |value: &str, axis: usize| scope.shapes.dims(value)?.get(axis)?.known();
    let x = node::input(n, 0).filter(|_| node::is_default_domain(&n.domain))?;
    let (time, batch) = if attr::int(n, "layout").unwrap_or(0) == 0 { (0, 1) } else { (1, 0) };
    let hidden = known(node::input(n, 2)?, 2)?;
    let directions = known(node::input(n, 2)?, 0)?;
    let item = scope.shapes.dtype(x)?.bits() as u64 / 8;
    (known(x, time)? == 1).then_some(())?;
    [known(x, batch)?, directions, hidden, item].iter().try_fold(gates, |n: u64, d| n.checked_mul(*d))
}

/// Positions of the nodes that outputs depend on, each after what it reads. What is settled before a run does not run.
fn depth_first(scope: &Scope<'_>) -> Vec<usize> {
    let producers = |n: &NodeProto| -> Vec<usize> {
        let read = n.input.iter().map(String::as_str).chain(captured_names(n));
        let running = read.filter_map(|value| scope.view.producer(value)).filter(|(_, n)| !scope.is_done(n));
        running.map(|(id, _)| id.0).collect()
    };
    let mut order = Vec::with_capacity(scope.graph.node.len());
    let mut reached = vec![false; scope.graph.node.len()];
    for output in &scope.graph.output {
        let Some((id, n)) = scope.view.producer(&output.name).filter(|(_, n)| !scope.is_done(n)) else { continue };
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
