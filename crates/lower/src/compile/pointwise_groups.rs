//! Element-wise nodes, gathered in groups that make one pass.

use super::{
    Emitter, TooComplex,
    emit::Planned,
    values::{Laid, Origin, ValueId},
};
use crate::{
    graph::{Id, Op},
    isa::Run,
    program::{Aligned, Buffer, Kind},
    step::{Arg, BinaryFn, Block, MAX_OPERANDS, Micro, Operand, Pattern, Pointwise, UnaryFn, Weights, padded_row},
};

/// Most micro-operations of a group: chains beyond it would not keep their values in twelve registers.
const MAX_MICROS: usize = 48;

/// What makes the values that a group starts from.
#[derive(Debug)]
pub(super) enum Head {
    None,
    Conv { input: Buffer, bases: Vec<u32>, runs: Vec<Run>, blocks: Vec<Block>, weights: Weights, spill: bool },
    Depthwise { input: Buffer, bases: Vec<u32>, taps: Vec<usize>, weights: Aligned<f32>, channels: usize },
}

/// A pass being put together. Registers are numbered in order of definition and not yet reused.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) head: Head,
    /// Sizes in memory, slowest first, without ones.
    pub(super) dims: Vec<usize>,
    pub(super) program: Pointwise,
    pub(super) registers: usize,
    /// The values in registers that have become values: (register, value).
    pub(super) defined: Vec<(usize, ValueId)>,
    loaded: Vec<(ValueId, Pattern, usize)>,
    /// Whether other nodes may join.
    open: bool,
}

impl Group {
    pub(super) fn new(head: Head, dims: Vec<usize>, rows: usize, columns: usize) -> Self {
        let registers = usize::from(!matches!(head, Head::None));
        let open = dims.last().is_some_and(|last| *last == columns) || matches!(head, Head::None);
        let program = Pointwise { rows, columns, ..Pointwise::default() };
        Self { head, dims, program, registers, defined: vec![], loaded: vec![], open }
    }

    fn register(&mut self) -> usize {
        self.registers += 1;
        self.registers - 1
    }

    /// Index of a constant with one element a column.
    pub(super) fn row(&mut self, values: &[f32]) -> usize {
        self.program.constants.push(padded_row(values));
        self.program.constants.len() - 1
    }

    pub(super) fn unary(&mut self, f: UnaryFn, a: usize) -> usize {
        let to = self.register();
        self.program.micros.push(Micro::Unary { f, to, a });
        to
    }

    fn binary(&mut self, f: BinaryFn, a: usize, b: usize) -> usize {
        if a == b {
            return match f {
                BinaryFn::Mul => self.unary(UnaryFn::Square, a),
                BinaryFn::Add => self.affine(a, Arg::Scalar(2.), Arg::Scalar(0.)),
                BinaryFn::Max | BinaryFn::Min => a,
                BinaryFn::Sub | BinaryFn::Div => {
                    let copy = self.affine(a, Arg::Scalar(1.), Arg::Scalar(0.));
                    self.binary(f, a, copy)
                }
            };
        }
        let to = self.register();
        self.program.micros.push(Micro::Binary { f, to, a, b });
        to
    }

    pub(super) fn affine(&mut self, a: usize, scale: Arg, shift: Arg) -> usize {
        let to = self.register();
        self.program.micros.push(Micro::ScaleShift { to, a, scale, shift });
        to
    }

    fn with_constant(&mut self, f: BinaryFn, a: usize, constant: Arg, flipped: bool) -> usize {
        let (zero, one) = (Arg::Scalar(0.), Arg::Scalar(1.));
        match (f, constant, flipped) {
            (BinaryFn::Add, c, _) => self.affine(a, one, c),
            (BinaryFn::Mul, c, _) => self.affine(a, c, zero),
            (BinaryFn::Sub, Arg::Scalar(c), false) => self.affine(a, one, Arg::Scalar(-c)),
            (BinaryFn::Sub, c, true) => self.affine(a, Arg::Scalar(-1.), c),
            (BinaryFn::Max, Arg::Scalar(c), _) => self.unary(UnaryFn::Clamp(c, f32::INFINITY), a),
            (BinaryFn::Min, Arg::Scalar(c), _) => self.unary(UnaryFn::Clamp(f32::NEG_INFINITY, c), a),
            (BinaryFn::Div, Arg::Scalar(1.), true) => self.unary(UnaryFn::Recip, a),
            (f, c, flipped) => {
                let b = self.register();
                self.program.micros.push(Micro::Fill { to: b, from: c });
                if flipped { self.binary(f, b, a) } else { self.binary(f, a, b) }
            }
        }
    }
}

/// An operand of an element-wise node.
enum Side {
    Value(Laid, Pattern),
    Scalar(f32),
    /// A constant with one element a column.
    Row(Vec<f32>),
    /// A constant that varies over rows.
    Spread(ValueId, Pattern),
}

impl Emitter<'_> {
    pub(super) fn group(&mut self, position: usize) -> &mut Group {
        match &mut self.steps[position] {
            Planned::Group(group) => group,
            _ => unreachable!("registers belong to groups"),
        }
    }

    /// Appends a group and returns its position.
    pub(super) fn open(&mut self, group: Group) -> usize {
        self.steps.push(Planned::Group(Box::new(group)));
        self.steps.len() - 1
    }

    /// Makes a register of a group the value of a node.
    pub(super) fn define(&mut self, position: usize, register: usize, kind: Kind, len: usize) -> ValueId {
        let value = self.value(kind, len, Origin::Register(position, register));
        self.group(position).defined.push((register, value));
        value
    }

    pub(super) fn pointwise(&mut self, id: Id) -> Result<(), TooComplex> {
        let node = &self.graph.nodes[id];
        let shape = node.shape.clone();
        // Memory is laid as the largest operand's.
        let laid: Vec<Laid> = node.inputs.iter().filter_map(|i| self.laid[*i].clone()).collect();
        let Some(leader) = laid.iter().rev().max_by_key(|l| l.shape.iter().product::<usize>()) else {
            return Err(TooComplex);
        };
        let order = leader.order.clone();
        let solid: Vec<usize> = order.iter().copied().filter(|a| shape[*a] != 1).collect();
        let dims: Vec<usize> = solid.iter().map(|a| shape[*a]).collect();
        let sides = node.inputs.iter().map(|i| self.side(*i, &shape, &order, &solid)).collect::<Result<Vec<_>, _>>()?;
        let position = self.joinable(&sides, &dims).unwrap_or_else(|| {
            let columns = dims.last().copied().unwrap_or(1);
            let rows = dims.iter().product::<usize>() / columns;
            self.open(Group::new(Head::None, dims.clone(), rows, columns))
        });
        let mut args = Vec::new();
        for side in sides {
            args.push(match side {
                Side::Scalar(value) => Err(Arg::Scalar(value)),
                Side::Row(values) => Err(Arg::Row(self.group(position).row(&values))),
                Side::Spread(value, pattern) => Ok(self.register_of(position, value, pattern)),
                Side::Value(laid, pattern) => Ok(self.register_of(position, laid.value, pattern)),
            });
        }
        let group = self.group(position);
        let register = match (&node.op, args.as_slice()) {
            (Op::Unary(f), [Ok(a)]) => group.unary(*f, *a),
            (Op::Affine { scale, shift }, [Ok(a)]) => group.affine(*a, Arg::Scalar(*scale), Arg::Scalar(*shift)),
            (Op::Dequantize(q), [Ok(a)]) => {
                group.affine(*a, Arg::Scalar(q.scale), Arg::Scalar(-q.scale * q.zero_point))
            }
            (Op::Quantize { inverse, zero_point }, [Ok(a)]) => {
                let to = group.register();
                let (inverse, zero_point) = (*inverse, *zero_point);
                group.program.micros.push(Micro::Quantize { to, a: *a, inverse, zero_point });
                to
            }
            (Op::Binary(f), [Ok(a), Ok(b)]) => group.binary(*f, *a, *b),
            (Op::Binary(f), [Ok(a), Err(c)]) => group.with_constant(*f, *a, *c, false),
            (Op::Binary(f), [Err(c), Ok(b)]) => group.with_constant(*f, *b, *c, true),
            _ => return Err(TooComplex),
        };
        let value = match self.group(position).defined.iter().find(|(r, _)| *r == register) {
            Some((_, value)) => *value,
            None => self.define(position, register, node.kind, shape.iter().product()),
        };
        self.put(Laid { value, shape, order });
        Ok(())
    }

    /// How an operand lies over a result of `shape` whose axes are `order` in memory.
    fn side(&mut self, id: Id, shape: &[usize], order: &[usize], solid: &[usize]) -> Result<Side, TooComplex> {
        let pattern = |own: &[usize]| match own {
            [] => Some(Pattern::Scalar),
            own if own == solid => Some(Pattern::Full),
            [one] if Some(one) == solid.last() => Some(Pattern::Row),
            own if own == &solid[..solid.len() - 1] => Some(Pattern::Column),
            _ => None,
        };
        let node = &self.graph.nodes[id];
        if node.shape.len() != shape.len() {
            return Err(TooComplex);
        }
        let Op::Constant(values) = &node.op else {
            let laid = self.of(id)?;
            return Ok(match pattern(&laid.solid()) {
                Some(pattern) => Side::Value(laid, pattern),
                None => Side::Value(self.broadcast(&laid, shape, order), Pattern::Full),
            });
        };
        // Constants are put into the order of the result now.
        let constant = Laid { value: 0, shape: node.shape.clone(), order: (0..shape.len()).collect() };
        let own: Vec<usize> = order.iter().copied().filter(|a| node.shape[*a] != 1).collect();
        if let [value] = values.as_slice() {
            return Ok(Side::Scalar(*value));
        }
        if values.iter().all(|v| v.to_bits() == values[0].to_bits()) && !values.is_empty() {
            return Ok(Side::Scalar(values[0]));
        }
        let pattern = if own.len() == 1 && own.last() == solid.last() {
            Pattern::Row
        } else {
            pattern(&own).unwrap_or(Pattern::Full)
        };
        let over: &[usize] = match pattern {
            Pattern::Row => &solid[solid.len() - 1..],
            Pattern::Column => &solid[..solid.len() - 1],
            _ => solid,
        };
        let strides = constant.strides();
        let mut elements = vec![0usize];
        for axis in over {
            let stride = if node.shape[*axis] == 1 { 0 } else { strides[*axis] };
            elements = elements.iter().flat_map(|e| (0..shape[*axis]).map(move |i| e + i * stride)).collect();
        }
        let values: Vec<f32> = elements.iter().map(|e| values[*e]).collect();
        if pattern == Pattern::Row {
            return Ok(Side::Row(values));
        }
        Ok(Side::Spread(self.given(&values), pattern))
    }

    /// The group that the latest operand is in, if the node can join it.
    fn joinable(&self, sides: &[Side], dims: &[usize]) -> Option<usize> {
        let values = sides.iter().filter_map(|side| match side {
            Side::Value(laid, pattern) => Some((laid.value, *pattern)),
            _ => None,
        });
        let latest = values.clone().filter_map(|(v, _)| self.values[v].position()).max()?;
        let Planned::Group(group) = &self.steps[latest] else { return None };
        let inside = |v: ValueId| matches!(self.values[v].origin, Origin::Register(p, _) if p == latest);
        let fits = values.clone().all(|(v, pattern)| match self.values[v].position() {
            Some(position) if position == latest => inside(v) && pattern == Pattern::Full,
            _ => true,
        });
        let room = group.program.micros.len() + 4 < MAX_MICROS && group.program.operands.len() + 2 <= MAX_OPERANDS;
        (group.open && fits && room && group.dims == dims && group.defined.len() + 1 < MAX_MICROS).then_some(latest)
    }

    /// The register in which a group has a value, loading it if it is not there.
    fn register_of(&mut self, position: usize, value: ValueId, pattern: Pattern) -> usize {
        if let Origin::Register(p, register) = self.values[value].origin
            && p == position
        {
            return register;
        }
        if let Some((.., register)) = self.group(position).loaded.iter().find(|(v, p, _)| *v == value && *p == pattern)
        {
            return *register;
        }
        let buffer = self.read(value);
        let group = self.group(position);
        let to = group.register();
        let operand = group.program.operands.len();
        group.program.operands.push(Operand { buffer, pattern });
        group.program.micros.push(Micro::Load { to, operand });
        group.loaded.push((value, pattern, to));
        to
    }
}
