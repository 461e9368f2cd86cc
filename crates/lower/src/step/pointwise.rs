//! Chains of element-wise operations in one pass, block by block: registers of up to [`BLOCK`] elements stay in the first-level cache.
//!
//! The same programs finish the tiles of convolutions (scale, bias, residual, activation, requantization), whose accumulators
//! are then register 0.

use super::{
    Arg, BinaryFn, Compute, Lanes, Micro, Operand, Output, Tile, UnaryFn, math,
    tile::{Affine, Same, each, lanes, load, store},
};
use crate::isa::{Kernels, LANES};
use crate::program::{Aligned, Env, Taken, View};

/// Elements of a register.
pub(crate) const BLOCK: usize = 512;
/// Registers that a program may use.
pub(crate) const MAX_REGISTERS: usize = 12;
/// Values that a program may read, and that it may write.
pub(crate) const MAX_OPERANDS: usize = 8;

/// A program over `rows × columns` elements.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pointwise {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) micros: Vec<Micro>,
    pub(crate) operands: Vec<Operand>,
    pub(crate) outputs: Vec<Output>,
    /// Vectors of one element a column, with slack behind.
    pub(crate) constants: Vec<Aligned<f32>>,
}

/// What a program works on: what it loads, the memory of what it stores, and registers.
pub(crate) struct Workspace<'w> {
    pub(crate) views: &'w [View<'w>; MAX_OPERANDS],
    pub(crate) taken: &'w mut [Option<Taken>; MAX_OPERANDS],
    pub(crate) registers: &'w mut Registers,
}

/// A register: rows of a tile one after the other, each a whole number of lanes.
pub(crate) type Register = [Lanes; BLOCK / LANES];

pub(crate) type Registers = [Register; MAX_REGISTERS];

pub(crate) fn registers() -> Box<Registers> {
    Box::new([[[0.; LANES]; BLOCK / LANES]; MAX_REGISTERS])
}

impl Compute for Pointwise {
    #[inline(always)]
    fn run<K: Kernels>(&self, env: &mut Env<'_>) {
        let mut registers = env.take_registers();
        let mut taken = self.take(env);
        let views = self.views(env);
        let most = BLOCK / self.columns.next_multiple_of(LANES).min(BLOCK);
        let mut row = 0;
        while row < self.rows {
            let rows = most.min(self.rows - row);
            let mut column = 0;
            while column < self.columns {
                let valid = BLOCK.min(self.columns - column);
                let width = valid.next_multiple_of(LANES);
                let tile = Tile { row, rows, column, width, valid, spill: true };
                self.block::<K>(tile, &mut Workspace { views: &views, taken: &mut taken, registers: &mut registers });
                column += valid;
            }
            row += rows;
        }
        self.put(env, taken);
        env.put_registers(registers);
    }
}

impl Pointwise {
    /// The outputs' memory, to be given back by [`Pointwise::put`].
    #[inline(always)]
    pub(crate) fn take(&self, env: &mut Env<'_>) -> [Option<Taken>; MAX_OPERANDS] {
        let mut taken = [const { None }; MAX_OPERANDS];
        for (taken, output) in taken.iter_mut().zip(&self.outputs) {
            *taken = Some(env.take(output.buffer));
        }
        taken
    }

    #[inline(always)]
    pub(crate) fn put(&self, env: &mut Env<'_>, taken: [Option<Taken>; MAX_OPERANDS]) {
        for (taken, output) in taken.into_iter().flatten().zip(&self.outputs) {
            env.put(output.buffer, taken);
        }
    }

    /// The operands' elements; none of them is an output.
    #[inline(always)]
    pub(crate) fn views<'e>(&self, env: &'e Env<'_>) -> [View<'e>; MAX_OPERANDS] {
        let mut views = [View::U8(&[]); MAX_OPERANDS];
        for (view, operand) in views.iter_mut().zip(&self.operands) {
            *view = env.view(operand.buffer);
        }
        views
    }

    /// Runs on one tile.
    #[inline(always)]
    pub(crate) fn block<K: Kernels>(&self, tile: Tile, work: &mut Workspace<'_>) {
        match tile.width {
            16 => K::block::<16>(self, tile, work),
            32 => K::block::<32>(self, tile, work),
            64 => K::block::<64>(self, tile, work),
            _ => K::block::<0>(self, tile, work),
        }
    }

    /// `W` is the tile's width where the compiler is to know it, else 0. Always inlined: [`Kernels::block`] has the features of the
    /// instruction set.
    #[inline(always)]
    pub(crate) fn block_of<const W: usize>(&self, tile: Tile, work: &mut Workspace<'_>) {
        let Workspace { views, taken, registers } = work;
        let width = if W == 0 { tile.width } else { W };
        let vectors = width / LANES;
        let n = tile.rows * vectors;
        for micro in &self.micros {
            match *micro {
                Micro::Load { to, operand } => {
                    let pattern = self.operands[operand].pattern;
                    let to = &mut registers[to][..n];
                    match views[operand] {
                        View::F32(from) => load(to, from, pattern, tile, vectors, self.columns, |x| x),
                        View::U8(from) => load(to, from, pattern, tile, vectors, self.columns, f32::from),
                    }
                }
                Micro::Fill { to, from: Arg::Scalar(value) } => registers[to][..n].fill([value; LANES]),
                Micro::Fill { to, from: Arg::Row(index) } => {
                    let row = self.row(index, tile.column, vectors);
                    registers[to][..n].chunks_exact_mut(vectors).for_each(|to| to.copy_from_slice(row));
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
                        UnaryFn::Gelu => map(to, a, math::gelu),
                        UnaryFn::HardSwish => map(to, a, |x| x * math::min(math::max(x / 6. + 0.5, 0.), 1.)),
                        UnaryFn::LeakyRelu(slope) => map(to, a, |x| if x < 0. { x * slope } else { x }),
                        UnaryFn::Clamp(low, high) => map(to, a, |x| math::min(math::max(x, low), high)),
                    }
                }
                Micro::ScaleShift { to, a, scale, shift } => {
                    let [to, a] = disjoint(registers, [to, a]);
                    self.scale_shift(&mut to[..n], &a[..n], scale, shift, tile.column, vectors, |x| x);
                }
                Micro::Bounded { to, a, scale, shift, low, high } => {
                    let [to, a] = disjoint(registers, [to, a]);
                    let one = |x: f32| math::min(math::max(x, low), high);
                    self.scale_shift(&mut to[..n], &a[..n], scale, shift, tile.column, vectors, one);
                }
                Micro::BoundedSum { to, a, b, low, high } => {
                    let [to, a, b] = disjoint(registers, [to, a, b]);
                    zip(&mut to[..n], &a[..n], &b[..n], |a, b| math::min(math::max(a + b, low), high));
                }
                Micro::Requantize { to, a, scale, shift, inverse, zero_point } => {
                    let [to, a] = disjoint(registers, [to, a]);
                    let (low, high) = (-zero_point, 255. - zero_point);
                    let one = |x: f32| math::round(math::min(math::max(x * inverse, low), high)) + zero_point;
                    self.scale_shift(&mut to[..n], &a[..n], scale, shift, tile.column, vectors, one);
                }
                Micro::Quantize { to, a, inverse, zero_point } => {
                    let [to, a] = disjoint(registers, [to, a]);
                    let (low, high) = (-zero_point, 255. - zero_point);
                    let one = |x: f32| math::round(math::min(math::max(x * inverse, low), high)) + zero_point;
                    map(&mut to[..n], &a[..n], one);
                }
                Micro::Store { from, output } => {
                    let (from, place) = (&registers[from][..n], (&self.outputs[output], self.columns));
                    match &mut taken[output] {
                        Some(Taken::F32(to)) => store(to.as_mut_slice(), from, tile, vectors, place, &Same),
                        Some(Taken::U8(to)) => store(to.as_mut_slice(), from, tile, vectors, place, &Same),
                        None => unreachable!("every output was taken"),
                    }
                }
                Micro::Ending { a, scale, shift, bounds: (low, high), output } => {
                    let one = |x: f32| math::min(math::max(x, low), high);
                    self.store_affine(registers, a, scale, shift, tile, vectors, (taken, output), one);
                }
                Micro::BytesEnding { a, scale, shift, inverse, zero_point, output } => {
                    let (low, high) = (-zero_point, 255. - zero_point);
                    let one = |x: f32| math::round(math::min(math::max(x * inverse, low), high)) + zero_point;
                    self.store_affine(registers, a, scale, shift, tile, vectors, (taken, output), one);
                }
            }
        }
    }

    /// `f(a * scale + shift)`.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one call each for what is otherwise written twice")]
    fn scale_shift(
        &self,
        to: &mut [Lanes],
        a: &[Lanes],
        scale: Arg,
        shift: Arg,
        column: usize,
        vectors: usize,
        f: impl Fn(f32) -> f32,
    ) {
        match (scale, shift) {
            (Arg::Scalar(scale), Arg::Scalar(shift)) => map(to, a, |x| f(x * scale + shift)),
            (Arg::Scalar(scale), Arg::Row(shift)) => {
                let shift = self.row(shift, column, vectors);
                rows(to, a, shift, shift, |x, _, shift| f(x * scale + shift));
            }
            (Arg::Row(scale), Arg::Scalar(shift)) => {
                let scale = self.row(scale, column, vectors);
                rows(to, a, scale, scale, |x, scale, _| f(x * scale + shift));
            }
            (Arg::Row(scale), Arg::Row(shift)) => {
                let scale = self.row(scale, column, vectors);
                let shift = self.row(shift, column, vectors);
                rows(to, a, scale, shift, |x, scale, shift| f(x * scale + shift));
            }
        }
    }

    /// Stores `f(a * scale + shift)`.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn store_affine(
        &self,
        registers: &Registers,
        a: usize,
        scale: Arg,
        shift: Arg,
        tile: Tile,
        vectors: usize,
        to: (&mut [Option<Taken>; MAX_OPERANDS], usize),
        f: impl Fn(f32) -> f32,
    ) {
        let from = &registers[a][..tile.rows * vectors];
        let (taken, output) = to;
        let place = (&self.outputs[output], self.columns);
        let Arg::Row(shift) = shift else { unreachable!("endings shift by a row") };
        let shift = self.row(shift, tile.column, vectors);
        let (one, apart) = match scale {
            Arg::Scalar(value) => ([[value; LANES]], 0),
            Arg::Row(_) => ([[0.; LANES]], 1),
        };
        let scale = match scale {
            Arg::Scalar(_) => &one[..],
            Arg::Row(index) => self.row(index, tile.column, vectors),
        };
        let made = Affine { scale, apart, shift, then: f };
        match &mut taken[output] {
            Some(Taken::F32(to)) => store(to.as_mut_slice(), from, tile, vectors, place, &made),
            Some(Taken::U8(to)) => store(to.as_mut_slice(), from, tile, vectors, place, &made),
            None => unreachable!("every output was taken"),
        }
    }

    /// The lanes of a constant vector from `column` on.
    #[inline(always)]
    fn row(&self, index: usize, column: usize, vectors: usize) -> &[Lanes] {
        &self.constants[index].as_slice()[column..].as_chunks().0[..vectors]
    }
}

#[inline(always)]
fn disjoint<const N: usize>(registers: &mut Registers, which: [usize; N]) -> [&mut Register; N] {
    registers.get_disjoint_mut(which).expect("a destination differs from its sources")
}

#[inline(always)]
fn map(to: &mut [Lanes], a: &[Lanes], f: impl Fn(f32) -> f32) {
    to.iter_mut().zip(a).for_each(|(to, a)| *to = lanes(a, &f));
}

#[inline(always)]
fn zip(to: &mut [Lanes], a: &[Lanes], b: &[Lanes], f: impl Fn(f32, f32) -> f32) {
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        let (a, b) = (*a, *b);
        *to = each(|i| f(a[i], b[i]));
    }
}

#[inline(always)]
fn rows(to: &mut [Lanes], a: &[Lanes], s: &[Lanes], t: &[Lanes], f: impl Fn(f32, f32, f32) -> f32) {
    for (to, a) in to.chunks_exact_mut(s.len()).zip(a.chunks_exact(s.len())) {
        for (((to, a), s), t) in to.iter_mut().zip(a).zip(s).zip(t) {
            let (a, s, t) = (*a, *s, *t);
            *to = each(|i| f(a[i], s[i], t[i]));
        }
    }
}

/// A constant vector with the slack that a tile may read.
pub(crate) fn padded_row(values: &[f32]) -> Aligned<f32> {
    let mut row = Aligned::new(values.len() + BLOCK);
    row.as_mut_slice()[..values.len()].copy_from_slice(values);
    row
}
