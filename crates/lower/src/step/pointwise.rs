//! Chains of element-wise operations in one pass, block by block: registers of up to [`BLOCK`] elements stay in the first-level cache.
//!
//! The same programs finish the tiles of convolutions (scale, bias, residual, activation, requantization), whose accumulators
//! are then register 0.

use super::math;
use crate::program::{Aligned, Buffer, Env, Taken, View};

/// Elements of a register.
pub(crate) const BLOCK: usize = 256;
/// Registers that a program may use.
pub(crate) const MAX_REGISTERS: usize = 12;
/// Values that a program may read, and that it may write.
pub(crate) const MAX_OPERANDS: usize = 8;

/// How an operand's elements lie over the rows and columns of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// One element for each.
    Full,
    /// One a column, the same in all rows.
    Row,
    /// One a row, the same in all columns.
    Column,
    /// A single one.
    Scalar,
}

/// A value that a program loads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand {
    pub(crate) buffer: Buffer,
    pub(crate) pattern: Pattern,
}

/// A constant of a micro-operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arg {
    Scalar(f32),
    /// One a column; the vector's index in `rows_of_constants`.
    Row(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BinaryFn {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum UnaryFn {
    Abs,
    Sqrt,
    Rsqrt,
    Recip,
    Square,
    Exp,
    Tanh,
    Sigmoid,
    Silu,
    Erf,
    HardSwish,
    LeakyRelu(f32),
    /// Bounds; NaN stays NaN.
    Clamp(f32, f32),
}

/// One operation on registers. A destination differs from every source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Micro {
    Load {
        to: usize,
        operand: usize,
    },
    Fill {
        to: usize,
        from: Arg,
    },
    Binary {
        f: BinaryFn,
        to: usize,
        a: usize,
        b: usize,
    },
    Unary {
        f: UnaryFn,
        to: usize,
        a: usize,
    },
    /// `a * scale + shift`, rounded twice.
    ScaleShift {
        to: usize,
        a: usize,
        scale: Arg,
        shift: Arg,
    },
    /// `clamp(round(a * inverse) + zero_point, 0, 255)`, still as f32.
    Quantize {
        to: usize,
        a: usize,
        inverse: f32,
        zero_point: f32,
    },
    Store {
        from: usize,
        output: usize,
    },
}

/// A program over `rows × columns` elements.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pointwise {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) micros: Vec<Micro>,
    pub(crate) operands: Vec<Operand>,
    pub(crate) outputs: Vec<Buffer>,
    /// Vectors of one element a column, with slack behind.
    pub(crate) constants: Vec<Aligned<f32>>,
}

/// The part of the result that a block computes: `rows` × `width` registers' elements, of which the first `valid` columns count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) row: usize,
    pub(crate) rows: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
    pub(crate) valid: usize,
}

pub(crate) type Registers = [[f32; BLOCK]; MAX_REGISTERS];

impl Pointwise {
    /// Runs alone.
    #[inline(always)]
    pub(crate) fn run(&self, env: &mut Env<'_>) {
        let mut registers: Registers = [[0.; BLOCK]; MAX_REGISTERS];
        self.scoped(env, None, |program, _, views, taken| {
            let width = program.columns.min(BLOCK);
            let rows = BLOCK / width;
            for row in (0..program.rows).step_by(rows) {
                let rows = rows.min(program.rows - row);
                for column in (0..program.columns).step_by(width) {
                    let valid = width.min(program.columns - column);
                    program.block(Tile { row, rows, column, width, valid }, views, taken, &mut registers);
                }
            }
        });
    }

    /// Calls `body` with the elements of `input` (which none of the outputs is) and of the operands, and the outputs' memory.
    #[inline(always)]
    pub(crate) fn scoped(
        &self,
        env: &mut Env<'_>,
        input: Option<Buffer>,
        body: impl FnOnce(&Self, View<'_>, &[View<'_>; MAX_OPERANDS], &mut [Option<Taken>; MAX_OPERANDS]),
    ) {
        let mut taken = [const { None }; MAX_OPERANDS];
        for (taken, output) in taken.iter_mut().zip(&self.outputs) {
            *taken = Some(env.take(*output));
        }
        let mut views = [View::U8(&[]); MAX_OPERANDS];
        for (view, operand) in views.iter_mut().zip(&self.operands) {
            *view = env.view(operand.buffer);
        }
        body(self, input.map_or(View::U8(&[]), |input| env.view(input)), &views, &mut taken);
        for (taken, output) in taken.into_iter().flatten().zip(&self.outputs) {
            env.put(*output, taken);
        }
    }

    /// Runs on one tile.
    #[inline(always)]
    pub(crate) fn block(
        &self,
        tile: Tile,
        views: &[View<'_>; MAX_OPERANDS],
        taken: &mut [Option<Taken>; MAX_OPERANDS],
        registers: &mut Registers,
    ) {
        match tile.width {
            16 => self.block_of::<16>(tile, views, taken, registers),
            32 => self.block_of::<32>(tile, views, taken, registers),
            64 => self.block_of::<64>(tile, views, taken, registers),
            _ => self.block_of::<0>(tile, views, taken, registers),
        }
    }

    /// `W` is the tile's width where the compiler is to know it, else 0.
    #[inline(always)]
    fn block_of<const W: usize>(
        &self,
        tile: Tile,
        views: &[View<'_>; MAX_OPERANDS],
        taken: &mut [Option<Taken>; MAX_OPERANDS],
        registers: &mut Registers,
    ) {
        let width = if W == 0 { tile.width } else { W };
        let n = tile.rows * width;
        for micro in &self.micros {
            match *micro {
                Micro::Load { to, operand } => {
                    let pattern = self.operands[operand].pattern;
                    let to = &mut registers[to][..n];
                    match views[operand] {
                        View::F32(from) => load(to, from, pattern, tile, width, self.columns, |x| x),
                        View::U8(from) => load(to, from, pattern, tile, width, self.columns, f32::from),
                    }
                }
                Micro::Fill { to, from: Arg::Scalar(value) } => registers[to][..n].fill(value),
                Micro::Fill { to, from: Arg::Row(index) } => {
                    let row = &self.constants[index].as_slice()[tile.column..][..width];
                    registers[to][..n].chunks_exact_mut(width).for_each(|to| to.copy_from_slice(row));
                }
                Micro::Binary { f, to, a, b } => {
                    let [to, a, b] = disjoint(registers, [to, a, b]);
                    let (to, a, b) = (&mut to[..n], &a[..n], &b[..n]);
                    match f {
                        BinaryFn::Add => zip(to, a, b, |a, b| a + b),
                        BinaryFn::Sub => zip(to, a, b, |a, b| a - b),
                        BinaryFn::Mul => zip(to, a, b, |a, b| a * b),
                        BinaryFn::Div => zip(to, a, b, |a, b| a / b),
                        BinaryFn::Max => zip(to, a, b, math::max),
                        BinaryFn::Min => zip(to, a, b, math::min),
                    }
                }
                Micro::Unary { f, to, a } => {
                    let [to, a] = disjoint(registers, [to, a]);
                    let (to, a) = (&mut to[..n], &a[..n]);
                    match f {
                        UnaryFn::Abs => map(to, a, f32::abs),
                        UnaryFn::Sqrt => map(to, a, f32::sqrt),
                        UnaryFn::Rsqrt => map(to, a, |x| 1. / x.sqrt()),
                        UnaryFn::Recip => map(to, a, |x| 1. / x),
                        UnaryFn::Square => map(to, a, |x| x * x),
                        UnaryFn::Exp => map(to, a, math::exp),
                        UnaryFn::Tanh => map(to, a, math::tanh),
                        UnaryFn::Sigmoid => map(to, a, math::sigmoid),
                        UnaryFn::Silu => map(to, a, |x| x * math::sigmoid(x)),
                        UnaryFn::Erf => map(to, a, math::erf),
                        UnaryFn::HardSwish => map(to, a, |x| x * math::min(math::max(x / 6. + 0.5, 0.), 1.)),
                        UnaryFn::LeakyRelu(slope) => map(to, a, |x| if x < 0. { x * slope } else { x }),
                        UnaryFn::Clamp(low, high) => map(to, a, |x| math::min(math::max(x, low), high)),
                    }
                }
                Micro::ScaleShift { to, a, scale, shift } => {
                    let [to, a] = disjoint(registers, [to, a]);
                    let (to, a) = (&mut to[..n], &a[..n]);
                    let row = |index: usize| &self.constants[index].as_slice()[tile.column..][..width];
                    match (scale, shift) {
                        (Arg::Scalar(scale), Arg::Scalar(shift)) => map(to, a, |x| x * scale + shift),
                        (Arg::Scalar(scale), Arg::Row(shift)) => {
                            rows(to, a, row(shift), row(shift), width, |x, _, shift| x * scale + shift);
                        }
                        (Arg::Row(scale), Arg::Scalar(shift)) => {
                            rows(to, a, row(scale), row(scale), width, |x, scale, _| x * scale + shift);
                        }
                        (Arg::Row(scale), Arg::Row(shift)) => {
                            rows(to, a, row(scale), row(shift), width, |x, scale, shift| x * scale + shift);
                        }
                    }
                }
                Micro::Quantize { to, a, inverse, zero_point } => {
                    let [to, a] = disjoint(registers, [to, a]);
                    let (low, high) = (-zero_point, 255. - zero_point);
                    let one = |x: f32| math::round((x * inverse).max(low).min(high)) + zero_point;
                    map(&mut to[..n], &a[..n], one);
                }
                Micro::Store { from, output } => {
                    let from = &registers[from][..n];
                    match &mut taken[output] {
                        Some(Taken::F32(to)) => store(to.as_mut_slice(), from, tile, width, self.columns, |x| x),
                        Some(Taken::U8(to)) => store(to.as_mut_slice(), from, tile, width, self.columns, math::byte),
                        None => unreachable!("every output was taken"),
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn disjoint<const N: usize>(registers: &mut Registers, which: [usize; N]) -> [&mut [f32; BLOCK]; N] {
    registers.get_disjoint_mut(which).expect("a destination differs from its sources")
}

#[inline(always)]
fn map(to: &mut [f32], a: &[f32], f: impl Fn(f32) -> f32) {
    to.iter_mut().zip(a).for_each(|(to, a)| *to = f(*a));
}

#[inline(always)]
fn zip(to: &mut [f32], a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) {
    to.iter_mut().zip(a).zip(b).for_each(|((to, a), b)| *to = f(*a, *b));
}

#[inline(always)]
fn rows(to: &mut [f32], a: &[f32], s: &[f32], t: &[f32], width: usize, f: impl Fn(f32, f32, f32) -> f32) {
    for (to, a) in to.chunks_exact_mut(width).zip(a.chunks_exact(width)) {
        for (((to, a), s), t) in to.iter_mut().zip(a).zip(s).zip(t) {
            *to = f(*a, *s, *t);
        }
    }
}

#[inline(always)]
fn load<T: Copy>(
    to: &mut [f32],
    from: &[T],
    pattern: Pattern,
    tile: Tile,
    width: usize,
    columns: usize,
    f: impl Fn(T) -> f32,
) {
    match pattern {
        Pattern::Scalar => to.fill(f(from[0])),
        Pattern::Row => {
            let from = &from[tile.column..][..tile.valid];
            for to in to.chunks_exact_mut(width) {
                to.iter_mut().zip(from).for_each(|(to, x)| *to = f(*x));
            }
        }
        Pattern::Column => {
            for (to, x) in to.chunks_exact_mut(width).zip(&from[tile.row..]) {
                to.fill(f(*x));
            }
        }
        Pattern::Full if tile.valid == columns && width == columns => {
            let from = &from[tile.row * columns..][..to.len()];
            to.iter_mut().zip(from).for_each(|(to, x)| *to = f(*x));
        }
        Pattern::Full if tile.valid == width => {
            for (r, to) in to.chunks_exact_mut(width).enumerate() {
                let from = &from[(tile.row + r) * columns + tile.column..][..width];
                to.iter_mut().zip(from).for_each(|(to, x)| *to = f(*x));
            }
        }
        Pattern::Full => {
            for (r, to) in to.chunks_exact_mut(width).enumerate() {
                let from = &from[(tile.row + r) * columns + tile.column..][..tile.valid];
                to.iter_mut().zip(from).for_each(|(to, x)| *to = f(*x));
            }
        }
    }
}

#[inline(always)]
fn store<T: Copy>(to: &mut [T], from: &[f32], tile: Tile, width: usize, columns: usize, f: impl Fn(f32) -> T) {
    if tile.valid == columns && width == columns {
        let to = &mut to[tile.row * columns..][..from.len()];
        to.iter_mut().zip(from).for_each(|(to, x)| *to = f(*x));
    } else if tile.valid == width {
        for (r, from) in from.chunks_exact(width).enumerate() {
            let to = &mut to[(tile.row + r) * columns + tile.column..][..width];
            to.iter_mut().zip(from).for_each(|(to, x)| *to = f(*x));
        }
    } else {
        for (r, from) in from.chunks_exact(width).enumerate() {
            let to = &mut to[(tile.row + r) * columns + tile.column..][..tile.valid];
            to.iter_mut().zip(from).for_each(|(to, x)| *to = f(*x));
        }
    }
}

/// A constant vector with the slack that a tile may read.
pub(crate) fn padded_row(values: &[f32]) -> Aligned<f32> {
    let mut row = Aligned::new(values.len() + BLOCK);
    row.as_mut_slice()[..values.len()].copy_from_slice(values);
    row
}
