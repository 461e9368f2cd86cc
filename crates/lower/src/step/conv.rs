//! Direct convolution, and the matrix products that are one of them: inner products of windows with packed weights, tile by tile,
//! each tile finished by a pointwise program while it is in the cache.

use std::ops::Range;

use super::{BLOCK, Compute, Epilogue, Pointwise, Tile, Workspace};
use crate::{
    isa::{Dot, Elements, Kernels, LANES, MAX_GROUPS, Memory, QUAD, Quads, Run, Starts},
    program::{Aligned, Buffer, Env, Taken, View},
};

/// Output channels that are computed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// The first of them, and how many there are.
    pub(crate) channel: usize,
    pub(crate) channels: usize,
    pub(crate) lanes: BlockLanes,
    /// Where its input channels start (grouped convolutions).
    pub(crate) offset: usize,
    /// Where its weights start.
    pub(crate) weights: usize,
}

impl Block {
    /// Whether no lane is without a channel.
    pub(crate) fn fills_lanes(&self) -> bool {
        self.channels == self.lanes.width()
    }
}

/// How a block's channels lie in vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockLanes {
    /// So many vector groups (1, 2 or 4) of one pixel.
    Groups(usize),
    /// So many quads of channels, several pixels to a vector.
    Quads(usize),
}

impl BlockLanes {
    /// Channels that are computed, those that are not there included.
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Groups(groups) => groups * LANES,
            Self::Quads(quads) => quads * QUAD,
        }
    }

    /// Elements of a pixel's results, in whole lanes.
    pub(crate) fn width(self) -> usize {
        self.channels().next_multiple_of(LANES)
    }
}

/// Packed weights, as [`Dot::weights`] of each block after the other.
#[derive(Debug)]
pub(crate) enum Weights {
    F32(Aligned<f32>),
    I8(Aligned<i8>),
}

/// The step.
#[derive(Debug)]
pub(crate) struct Conv {
    pub(crate) input: Buffer,
    /// Where each output pixel's window starts in the input.
    pub(crate) bases: Starts,
    pub(crate) runs: Vec<Run>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) weights: Weights,
    /// Whether lanes without a channel may be stored: blocks follow one another over all channels.
    pub(crate) spill: bool,
    /// From accumulators in register 0 to outputs of `bases.len()` rows.
    pub(crate) finish: Pointwise,
    /// What `finish` is where sums need not go through memory.
    pub(crate) epilogue: Option<Epilogue>,
}

impl Compute for Conv {
    #[inline(always)]
    fn run<K: Kernels>(&self, env: &mut Env<'_>) {
        if K::ENDS
            && let Some(epilogue) = &self.epilogue
        {
            return self.run_to_end::<K>(env, epilogue);
        }
        let mut registers = env.take_registers();
        // The input is never one of the outputs: it is still in its place when they are taken.
        let mut taken = self.finish.take(env);
        let views = self.finish.views(env);
        let input = env.view(self.input);
        // The last channels first: what they spill over the next pixel is written after them.
        for block in self.blocks.iter().rev() {
            let width = block.lanes.width();
            let mut row = 0;
            while row < self.bases.len() {
                let rows = (BLOCK / width).min(self.bases.len() - row);
                let out = registers[0].as_flattened_mut();
                match (self.dot(block, row..row + rows, input), block.lanes) {
                    (Product::F32(dot), BlockLanes::Groups(1)) => K::dot_f32::<1>(dot, out),
                    (Product::F32(dot), BlockLanes::Groups(2)) => K::dot_f32::<2>(dot, out),
                    (Product::F32(dot), BlockLanes::Groups(_)) => K::dot_f32::<MAX_GROUPS>(dot, out),
                    (Product::F32(dot), BlockLanes::Quads(quads)) => K::quads_f32(dot, Quads { quads, width }, out),
                    (Product::I8(dot), BlockLanes::Groups(1)) => K::dot_u8i8::<1>(dot, out),
                    (Product::I8(dot), BlockLanes::Groups(2)) => K::dot_u8i8::<2>(dot, out),
                    (Product::I8(dot), BlockLanes::Groups(_)) => K::dot_u8i8::<MAX_GROUPS>(dot, out),
                    (Product::I8(dot), BlockLanes::Quads(quads)) => K::quads_u8i8(dot, Quads { quads, width }, out),
                }
                let tile = Tile { row, rows, column: block.channel, width, valid: block.channels, spill: self.spill };
                let mut work = Workspace { views: &views, taken: &mut taken, registers: &mut registers };
                self.finish.block::<K>(tile, &mut work);
                row += rows;
            }
        }
        self.finish.put(env, taken);
        env.put_registers(registers);
    }
}

/// Inner products of either kind.
enum Product<'a> {
    F32(Dot<'a, f32, f32>),
    I8(Dot<'a, u8, i8>),
}

impl Conv {
    /// Takes sums to results in the processor's registers.
    #[inline(always)]
    fn run_to_end<K: Kernels>(&self, env: &mut Env<'_>, epilogue: &Epilogue) {
        let (output, also) = epilogue.outputs(&self.finish);
        let (mut taken, mut second) = (env.take(output), also.map(|also| env.take(also)));
        let (input, plus) = (env.view(self.input), epilogue.plus(&self.finish).map(|plus| env.view(plus)));
        for block in &self.blocks {
            let ending = epilogue.ending(&self.finish, plus, block.channel, block.channels, block.lanes.width());
            let to = match &mut taken {
                Taken::F32(to) => Elements::F32(to.as_mut_slice()),
                Taken::U8(to) => Elements::U8(to.as_mut_slice()),
            };
            let also = match &mut second {
                Some(Taken::F32(also)) => also.as_mut_slice(),
                _ => &mut [],
            };
            let memory = Memory { to, also };
            match self.dot(block, 0..self.bases.len(), input) {
                Product::F32(dot) => K::ended_f32(dot, block.lanes, ending, memory),
                Product::I8(dot) => K::ended_u8i8(dot, block.lanes, ending, memory),
            }
        }
        env.put(output, taken);
        if let (Some(also), Some(second)) = (also, second) {
            env.put(also, second);
        }
    }

    #[inline(always)]
    fn dot<'a>(&'a self, block: &Block, rows: Range<usize>, input: View<'a>) -> Product<'a> {
        let (base, runs, offset) = (self.bases.part(rows), &*self.runs, block.offset);
        match (&self.weights, input) {
            (Weights::F32(w), View::F32(x)) => {
                Product::F32(Dot { x, base, offset, runs, weights: &w.as_slice()[block.weights..] })
            }
            (Weights::I8(w), View::U8(x)) => {
                Product::I8(Dot { x, base, offset, runs, weights: &w.as_slice()[block.weights..] })
            }
            _ => unreachable!("weights and input were compiled together"),
        }
    }
}
