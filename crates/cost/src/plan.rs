//! The steps that an executor makes of the nodes of a graph, and the arrays between them: what the peak of memory is counted on. A step
//! is a node, but where arrays come or go by what an executor makes of it (tract's typed plan; onnxruntime folds normalizations too):
//!
//! - a batch normalization of a convolution is part of its weights;
//! - a convolution of 1 × 1, and Gemm, is a product, to which a bias is added; strides take samples out of the input before it;
//! - such a product of a concatenation is the sum of the products of its parts;
//! - a value times its own sigmoid is one step;
//! - a recurrent layer of one time step multiplies input and state for themselves.
//!
//! It knows no order: `order` has that.

use std::collections::{HashMap, HashSet};

use plimsoll_onnx::{NodeId, Use, attr, captured_names, node, proto::NodeProto, shape::Dim};

use crate::{operators, scope::Scope};

/// An array that a run makes or is given.
pub(crate) struct Array {
    /// `None` where type or shape is not known.
    pub(crate) bytes: Option<u64>,
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
pub(crate) struct Step {
    /// In the order of the operands.
    pub(crate) reads: Vec<Read>,
    /// Arrays.
    pub(crate) writes: Vec<usize>,
    pub(crate) how: Writes,
    /// The position of the node with this step's bodies, where it has some.
    pub(crate) node: Option<NodeId>,
}

/// All steps that outputs may depend on.
#[derive(Default)]
pub(crate) struct Plan<'a> {
    pub(crate) arrays: Vec<Array>,
    pub(crate) steps: Vec<Step>,
    of_value: HashMap<&'a str, usize>,
    weights: HashMap<Weight<'a>, usize>,
    /// Weights of which there are as many as there are steps that read them.
    own: usize,
    /// Concatenations that nobody makes.
    taken_apart: HashSet<&'a str>,
}

#[derive(PartialEq, Eq, Hash)]
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
            plan.array(input, bytes);
        }
        let stored = depth_first(scope);
        plan.taken_apart = taken_apart(scope, &stored);
        for node in stored {
            plan.add(scope, node);
        }
        for output in &scope.graph.output {
            if let Some(&array) = plan.of_value.get(output.name.as_str()) {
                plan.arrays[array].kept = true;
            }
        }
        plan
    }

    /// The arrays that are outputs, in the order of the graph.
    pub(crate) fn outputs(&self, scope: &Scope<'_>) -> Vec<usize> {
        scope.graph.output.iter().filter_map(|o| self.of_value.get(o.name.as_str()).copied()).collect()
    }

    fn array(&mut self, value: &'a str, bytes: Option<u64>) -> usize {
        self.arrays.push(Array { bytes, step: None, kept: false });
        self.of_value.insert(value, self.arrays.len() - 1);
        self.arrays.len() - 1
    }

    fn weight(&mut self, weight: Weight<'a>) -> Read {
        let next = self.weights.len();
        Read::Weight(*self.weights.entry(weight).or_insert(next))
    }

    fn own_weight(&mut self) -> Read {
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
    fn between(&mut self, reads: Vec<Read>, how: Writes, bytes: Option<u64>) -> Read {
        self.arrays.push(Array { bytes, step: Some(self.steps.len()), kept: false });
        self.steps.push(Step { reads, writes: vec![self.arrays.len() - 1], how, node: None });
        Read::Array(self.arrays.len() - 1)
    }

    /// A step that writes the outputs of a node.
    fn last(&mut self, scope: &'a Scope<'_>, n: &'a NodeProto, reads: Vec<Read>, how: Writes, node: Option<NodeId>) {
        let outputs = n.output.iter().filter(|o| !o.is_empty() && !scope.is_settled(o));
        let writes: Vec<usize> = outputs.map(|o| self.array(o, scope.bytes_of(o))).collect();
        writes.iter().for_each(|&w| self.arrays[w].step = Some(self.steps.len()));
        self.steps.push(Step { reads, writes, how, node });
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
            return self.last(scope, n, vec![x], Writes::Over, None);
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
            reads.push(self.weight(Weight::Zero(0)));
        }
        let how = match n.op_type.as_str() {
            _ if !ours => Writes::Own,
            op if operators::is_view(op) => Writes::View,
            op if operators::is_elementwise(op) => Writes::Over,
            _ => Writes::Own,
        };
        self.last(scope, n, reads, how, Some(NodeId(stored)));
    }

    /// A convolution of 1 × 1, or Gemm.
    fn product(&mut self, scope: &'a Scope<'_>, n: &'a NodeProto) {
        let out = scope.bytes_of(&n.output[0]);
        let strides = strides(n);
        let parts = self.parts(scope, &n.input[0], strides.iter().any(|s| *s > 1));
        let bias = node::input(n, 2).map(|bias| self.read(bias)).or_else(|| {
            let (_, user, _) = scope.view.sole_user(&n.output[0])?;
            is_folded(scope, user).then(|| self.own_weight())
        });
        let mut operations = Vec::new();
        for (mut part, mut bytes) in parts.iter().copied() {
            for stride in strides.iter().filter(|s| **s > 1) {
                bytes = bytes.map(|b| b / *stride as u64);
                part = self.between(vec![part], Writes::Own, bytes);
            }
            let weight = if parts.len() == 1 { self.read(&n.input[1]) } else { self.own_weight() };
            operations.push(vec![part, weight]);
        }
        let mut sum: Option<Read> = None;
        let count = operations.len();
        for (i, reads) in operations.into_iter().enumerate() {
            let is_last = i + 1 == count && bias.is_none();
            match sum {
                None if is_last => return self.last(scope, n, reads, Writes::Own, None),
                None => sum = Some(self.between(reads, Writes::Own, out)),
                Some(before) => {
                    let product = self.between(reads, Writes::Own, out);
                    if is_last {
                        return self.last(scope, n, vec![before, product], Writes::Over, None);
                    }
                    sum = Some(self.between(vec![before, product], Writes::Over, out));
                }
            }
        }
        self.last(scope, n, sum.into_iter().chain(bias).collect(), Writes::Over, None);
    }

    /// What a product multiplies one by one: the parts of a concatenation of channels, else the value itself.
    fn parts(&mut self, scope: &'a Scope<'_>, value: &'a str, strided: bool) -> Vec<(Read, Option<u64>)> {
        let mut parts = Vec::new();
        // Concatenations lie within one another, as deep as a file likes.
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            let concat = scope.view.producer_of(value, "Concat").map(|(_, concat)| concat);
            match concat.filter(|c| runs_by_channel(scope, c)) {
                None => parts.push((self.read(value), scope.bytes_of(value))),
                Some(concat) if self.taken_apart.contains(value) => {
                    open.extend(concat.input.iter().rev().map(String::as_str));
                }
                Some(_) if strided => parts.push((self.read(value), scope.bytes_of(value))),
                // Others read the whole: slices of it.
                Some(concat) => {
                    let whole = self.read(value);
                    for bytes in concat.input.iter().map(|i| scope.bytes_of(i)) {
                        parts.push((self.between(vec![whole], Writes::Own, bytes), bytes));
                    }
                }
            }
        }
        parts
    }

    /// A recurrent layer whose gates take so many bytes.
    fn recurrent(&mut self, scope: &'a Scope<'_>, n: &'a NodeProto, gates: u64) {
        let operand = |plan: &mut Self, slot: usize| node::input(n, slot).map(|i| plan.read(i));
        let product = |plan: &mut Self, state: usize, weight: usize| {
            let reads = [operand(plan, state), operand(plan, weight)].into_iter().flatten().collect();
            plan.between(reads, Writes::Own, Some(gates))
        };
        let mut reads = vec![product(self, 0, 1)];
        if node::input(n, 5).is_some() {
            reads.push(product(self, 5, 2));
        }
        let mut sum = self.between(reads, Writes::Over, Some(gates));
        if let Some(bias) = operand(self, 3) {
            sum = self.between(vec![sum, bias], Writes::Over, Some(gates));
        }
        let rest =
            (4..n.input.len()).filter(|slot| *slot != 5).filter_map(|slot| operand(self, slot)).collect::<Vec<_>>();
        self.last(scope, n, std::iter::once(sum).chain(rest).collect(), Writes::Own, None);
    }
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

/// The concatenations of which nobody needs the whole, for products read them, whose parts are multiplied one by one. A product with
/// strides takes its samples out of the whole where others read it. `stored` has each node after what it reads.
fn taken_apart<'a>(scope: &'a Scope<'_>, stored: &[usize]) -> HashSet<&'a str> {
    let mut found = HashSet::new();
    for n in stored.iter().rev().map(|&stored| &scope.graph.node[stored]).filter(|n| node::is(n, "Concat")) {
        let Some(whole) = n.output.first().filter(|_| runs_by_channel(scope, n)) else { continue };
        let uses = scope.view.uses(whole);
        let by_parts = |of: &Use| {
            let Use::Input { node, slot } = *of else { return false };
            let user = scope.view.node(node);
            slot == 0 && is_product(scope, user) && (uses.len() == 1 || !strides(user).iter().any(|s| *s > 1))
                || user.output.first().is_some_and(|o| found.contains(o.as_str()))
        };
        if uses.iter().all(by_parts) {
            found.insert(whole.as_str());
        }
    }
    found
}

fn strides(product: &NodeProto) -> &[i64] {
    if node::is(product, "Conv") { attr::ints(product, "strides").unwrap_or_default() } else { &[] }
}

fn runs_by_channel(scope: &Scope<'_>, concat: &NodeProto) -> bool {
    attr::int(concat, "axis") == Some(1) && !concat.input.iter().any(|i| scope.is_settled(i))
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
