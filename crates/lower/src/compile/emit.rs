//! The state of a program being made, and the nodes that only move elements.

use std::collections::HashMap;

use super::{
    TooComplex,
    pointwise_groups::Group,
    values::{Laid, Origin, Value, ValueId},
};
use crate::{
    graph::{Graph, Id, Op},
    isa::Isa,
    program::{Aligned, Buffer, Kind, Place, SLACK},
    step::{Copy, Pool, Reduce},
};

/// A step whose buffers are still values: `Place::Slot(v)` is value `v`.
#[derive(Debug)]
pub(super) enum Planned {
    Group(Box<Group>),
    Pool(Pool),
    Reduce(Reduce),
    Copy(Copy),
}

pub(super) struct Emitter<'a> {
    pub(super) graph: &'a Graph,
    pub(super) isa: Isa,
    pub(super) values: Vec<Value>,
    /// By node; `None` for constants.
    pub(super) laid: Vec<Option<Laid>>,
    pub(super) steps: Vec<Planned>,
    pub(super) constants: Vec<Aligned<f32>>,
    /// Copies that were made, so that two readers share one.
    copies: HashMap<CopyKey, ValueId>,
}

/// What a convolution wants its input to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// Logical axes in memory, all of them.
    pub(super) order: Vec<usize>,
    /// Sizes in that order with what is added before and in all.
    pub(super) before: Vec<usize>,
    pub(super) sizes: Vec<usize>,
    pub(super) kind: Kind,
    /// Bits of what the added elements are.
    pub(super) fill: u32,
    /// How many at the end of the last axis may be anything.
    pub(super) idle: usize,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CopyKey {
    value: ValueId,
    strides: Vec<usize>,
    wanted: Wanted,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(graph: &'a Graph, isa: Isa) -> Self {
        let (values, steps, constants) = (vec![], vec![], vec![]);
        Self { graph, isa, values, laid: vec![], steps, constants, copies: HashMap::new() }
    }

    pub(super) fn shape(&self, id: Id) -> &'a [usize] {
        &self.graph.nodes[id].shape
    }

    pub(super) fn of(&self, id: Id) -> Result<Laid, TooComplex> {
        self.laid[id].clone().ok_or(TooComplex)
    }

    /// A new value and its number.
    pub(super) fn value(&mut self, kind: Kind, len: usize, origin: Origin) -> ValueId {
        self.values.push(Value { kind, len, origin, stored: !matches!(origin, Origin::Register(..)) });
        self.values.len() - 1
    }

    /// The buffer of a value that a step reads from memory.
    pub(super) fn read(&mut self, value: ValueId) -> Buffer {
        self.values[value].stored = true;
        Buffer { kind: self.values[value].kind, place: Place::Slot(value) }
    }

    /// Appends a step that writes a new value.
    pub(super) fn step(&mut self, kind: Kind, len: usize, make: impl FnOnce(Buffer) -> Planned) -> ValueId {
        let value = self.value(kind, len, Origin::Step(self.steps.len()));
        self.steps.push(make(Buffer { kind, place: Place::Slot(value) }));
        value
    }

    pub(super) fn put(&mut self, laid: Laid) {
        self.laid.push(Some(laid));
    }

    pub(super) fn input(&mut self, id: Id, k: usize) {
        let shape = self.shape(id).to_vec();
        let len = shape.iter().product();
        let value = self.value(self.graph.nodes[id].kind, len, Origin::Given(Place::Input(k)));
        let order = (0..shape.len()).collect();
        self.put(Laid { value, shape, order });
    }

    pub(super) fn constant(&mut self, _: Id) {
        self.laid.push(None);
    }

    /// A constant in memory.
    pub(super) fn given(&mut self, values: &[f32]) -> ValueId {
        let mut data = Aligned::new(values.len() + SLACK);
        data.as_mut_slice()[..values.len()].copy_from_slice(values);
        self.constants.push(data);
        self.value(Kind::F32, values.len(), Origin::Given(Place::Const(self.constants.len() - 1)))
    }

    pub(super) fn relabel(&mut self, id: Id) {
        let node = &self.graph.nodes[id];
        let Op::Relabel(map) = &node.op else { unreachable!("called for relabels") };
        let Some(from) = self.laid[node.inputs[0]].clone() else { return self.laid.push(None) };
        let kept = from.order.iter().filter_map(|a| map.iter().position(|m| m == &Some(*a)));
        let new = (0..map.len()).filter(|a| map[*a].is_none());
        let order = new.chain(kept).collect();
        self.put(Laid { value: from.value, shape: node.shape.clone(), order });
    }

    pub(super) fn reshape(&mut self, id: Id) -> Result<(), TooComplex> {
        let from = self.of(self.graph.nodes[id].inputs[0])?;
        let rows: Vec<usize> = (0..from.shape.len()).collect();
        let value = self.in_order(&from, &rows).value;
        let shape = self.shape(id).to_vec();
        let order = (0..shape.len()).collect();
        self.put(Laid { value, shape, order });
        Ok(())
    }

    pub(super) fn slice(&mut self, id: Id) -> Result<(), TooComplex> {
        let node = &self.graph.nodes[id];
        let Op::Slice { axis, start } = node.op else { unreachable!("called for slices") };
        let from = self.of(node.inputs[0])?;
        let strides = from.strides();
        let input = self.read(from.value);
        let to = Laid { value: 0, shape: node.shape.clone(), order: from.order.clone() };
        let len = node.shape.iter().product();
        let value = self.step(node.kind, len, |output| {
            let (dims, from_strides, to_strides) = walk(&to.shape, &to.order, &strides, &to.strides());
            Planned::Copy(Copy {
                input,
                output,
                dims,
                from: start * strides[axis],
                from_strides,
                to: 0,
                to_strides,
                fill: None,
                idle: 0,
            })
        });
        self.put(Laid { value, ..to });
        Ok(())
    }

    pub(super) fn pad(&mut self, id: Id) -> Result<(), TooComplex> {
        let node = &self.graph.nodes[id];
        let Op::Pad { before, value } = &node.op else { unreachable!("called for padding") };
        let from = self.of(node.inputs[0])?;
        let order = from.order.clone();
        let wanted = Wanted {
            before: order.iter().map(|a| before[*a]).collect(),
            sizes: order.iter().map(|a| node.shape[*a]).collect(),
            order: order.clone(),
            kind: node.kind,
            fill: value.to_bits(),
            idle: 0,
        };
        let value = self.copy(&from, wanted);
        self.put(Laid { value, shape: node.shape.clone(), order });
        Ok(())
    }

    pub(super) fn concat(&mut self, id: Id) -> Result<(), TooComplex> {
        let node = &self.graph.nodes[id];
        let Op::Concat { axis } = node.op else { unreachable!("called for concatenations") };
        let parts = node.inputs.iter().map(|i| self.part(*i)).collect::<Result<Vec<Laid>, _>>()?;
        let to = Laid { value: 0, shape: node.shape.clone(), order: parts[0].order.clone() };
        let strides = to.strides();
        let value = self.value(node.kind, node.shape.iter().product(), Origin::Step(self.steps.len()));
        let output = Buffer { kind: node.kind, place: Place::Slot(value) };
        let mut start = 0;
        for part in parts {
            let input = self.read(part.value);
            let (dims, from_strides, to_strides) = walk(&part.shape, &to.order, &part.strides(), &strides);
            let to = start * strides[axis];
            self.steps.push(Planned::Copy(Copy {
                input,
                output,
                dims,
                from: 0,
                from_strides,
                to,
                to_strides,
                fill: None,
                idle: 0,
            }));
            start += part.shape[axis];
        }
        // It is whole after the last part.
        self.values[value].origin = Origin::Step(self.steps.len() - 1);
        self.put(Laid { value, ..to });
        Ok(())
    }

    /// An operand that may be a constant, in memory.
    pub(super) fn part(&mut self, id: Id) -> Result<Laid, TooComplex> {
        if let Op::Constant(values) = &self.graph.nodes[id].op {
            let shape = self.shape(id).to_vec();
            let order = (0..shape.len()).collect();
            return Ok(Laid { value: self.given(values), shape, order });
        }
        self.of(id)
    }

    /// The same elements with the axes in `order` in memory.
    pub(super) fn in_order(&mut self, from: &Laid, order: &[usize]) -> Laid {
        if from.is_in(order) {
            return Laid { order: order.to_vec(), ..from.clone() };
        }
        let kind = self.values[from.value].kind;
        let sizes = order.iter().map(|a| from.shape[*a]).collect();
        let value = self
            .copy(from, Wanted { order: order.to_vec(), before: vec![0; order.len()], sizes, kind, fill: 0, idle: 0 });
        Laid { value, shape: from.shape.clone(), order: order.to_vec() }
    }

    /// The elements of `from` with its broadcast axes written out to `shape`, in `order`.
    pub(super) fn broadcast(&mut self, from: &Laid, shape: &[usize], order: &[usize]) -> Laid {
        let strides: Vec<usize> =
            from.strides().iter().zip(&from.shape).map(|(s, d)| if *d == 1 { 0 } else { *s }).collect();
        let input = self.read(from.value);
        let to = Laid { value: 0, shape: shape.to_vec(), order: order.to_vec() };
        let value = self.step(input.kind, shape.iter().product(), |output| {
            let (dims, from_strides, to_strides) = walk(shape, order, &strides, &to.strides());
            Planned::Copy(Copy { input, output, dims, from: 0, from_strides, to: 0, to_strides, fill: None, idle: 0 })
        });
        Laid { value, ..to }
    }

    /// A copy in the form that is wanted.
    pub(super) fn copy(&mut self, from: &Laid, wanted: Wanted) -> ValueId {
        let strides = from.strides();
        let key = CopyKey { value: from.value, strides: strides.clone(), wanted: wanted.clone() };
        if let Some(value) = self.copies.get(&key) {
            return *value;
        }
        let input = self.read(from.value);
        let mut to_strides = vec![0; wanted.order.len()];
        let mut step = 1;
        for (i, axis) in wanted.order.iter().enumerate().rev() {
            to_strides[*axis] = step;
            step *= wanted.sizes[i];
        }
        let to = wanted.order.iter().zip(&wanted.before).map(|(a, b)| to_strides[*a] * b).sum();
        let covered = wanted.order.iter().zip(&wanted.sizes).all(|(a, size)| from.shape[*a] == *size);
        let fill = (!covered).then(|| f32::from_bits(wanted.fill));
        let value = self.step(wanted.kind, step, |output| {
            let (dims, from_strides, to_strides) = walk(&from.shape, &wanted.order, &strides, &to_strides);
            Planned::Copy(Copy { input, output, dims, from: 0, from_strides, to, to_strides, fill, idle: wanted.idle })
        });
        self.copies.insert(key, value);
        value
    }
}

/// Elements of an inner loop that is too short.
const FEW: usize = 8;

/// Dimensions and strides in `order`, neighbours merged where both sides are contiguous over them.
fn walk(shape: &[usize], order: &[usize], from: &[usize], to: &[usize]) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let mut merged: Vec<(usize, usize, usize)> = Vec::new();
    for axis in order.iter().copied().filter(|a| shape[*a] != 1) {
        let (n, f, t) = (shape[axis], from[axis], to[axis]);
        match merged.last_mut() {
            Some((dim, last_from, last_to)) if *last_from == n * f && *last_to == n * t => {
                (*dim, *last_from, *last_to) = (*dim * n, f, t);
            }
            _ => merged.push((n, f, t)),
        }
    }
    // Starting a loop of few turns costs more than its turns: a long one goes inside, where rows are not copied whole anyway.
    if let Some(&(n, f, t)) = merged.last()
        && n < FEW
        && (f, t) != (1, 1)
        && let Some(longest) = (0..merged.len()).max_by_key(|i| merged[*i].0)
    {
        let long = merged.remove(longest);
        merged.push(long);
    }
    let (mut dims, mut froms, mut tos) = (vec![], vec![], vec![]);
    for (n, f, t) in merged {
        dims.push(n);
        froms.push(f);
        tos.push(t);
    }
    (dims, froms, tos)
}
