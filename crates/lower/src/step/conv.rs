//! Direct convolution, and the matrix products that are one of them: inner products of windows with packed weights, tile by tile,
//! each tile finished by a pointwise program while it is in the cache.

use super::{BLOCK, Compute, Pointwise, Tile, Workspace};
use crate::{
    isa::{Dot, Kernels, LANES, MAX_GROUPS, QUAD, QUAD_TILE, Quads, Run, TILE},
    program::{Aligned, Buffer, Env, View},
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
    fn width(self) -> usize {
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
    pub(crate) bases: Vec<u32>,
    pub(crate) runs: Vec<Run>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) weights: Weights,
    /// Whether lanes without a channel may be stored: blocks follow one another over all channels.
    pub(crate) spill: bool,
    /// From accumulators in register 0 to outputs of `bases.len()` rows.
    pub(crate) finish: Pointwise,
}

impl Compute for Conv {
    #[inline(always)]
    fn run<K: Kernels>(&self, env: &mut Env<'_>) {
        let mut registers = env.take_registers();
        // The input is never one of the outputs: it is still in its place when they are taken.
        let mut taken = self.finish.take(env);
        let views = self.finish.views(env);
        let input = env.view(self.input);
        {
            // The last channels first: what they spill over the next pixel is written after them.
            for block in self.blocks.iter().rev() {
                let width = block.lanes.width();
                let most = match block.lanes {
                    // With four groups the registers of the machine hold four pixels.
                    BlockLanes::Groups(MAX_GROUPS) => 4,
                    BlockLanes::Groups(_) => TILE,
                    BlockLanes::Quads(_) => QUAD_TILE,
                };
                let mut row = 0;
                while row < self.bases.len() {
                    let rows = (BLOCK / width).min(self.bases.len() - row);
                    let mut done = 0;
                    while done < rows {
                        let pixels = most.min(rows - done);
                        let mut base = [0; QUAD_TILE];
                        let bases = &self.bases[row + done..][..pixels];
                        for (base, at) in base.iter_mut().zip(bases) {
                            *base = *at as usize + block.offset;
                        }
                        if pixels < most {
                            let last = base[pixels - 1];
                            base[pixels..most].fill(last);
                        }
                        let out = &mut registers[0].as_flattened_mut()[done * width..];
                        match (&self.weights, input) {
                            (Weights::F32(w), View::F32(x)) => {
                                let weights = &w.as_slice()[block.weights..];
                                let dot = Dot { x, base: &base, runs: &self.runs, weights };
                                match block.lanes {
                                    BlockLanes::Groups(groups) => f32_tile::<K>(dot, pixels, groups, out),
                                    BlockLanes::Quads(quads) => K::quads_f32(dot, Quads { pixels, quads, width }, out),
                                }
                            }
                            (Weights::I8(w), View::U8(x)) => {
                                let weights = &w.as_slice()[block.weights..];
                                let dot = Dot { x, base: &base, runs: &self.runs, weights };
                                match block.lanes {
                                    BlockLanes::Groups(groups) => u8_tile::<K>(dot, pixels, groups, out),
                                    BlockLanes::Quads(quads) => K::quads_u8i8(dot, Quads { pixels, quads, width }, out),
                                }
                            }
                            _ => unreachable!("weights and input were compiled together"),
                        }
                        done += pixels;
                    }
                    let tile =
                        Tile { row, rows, column: block.channel, width, valid: block.channels, spill: self.spill };
                    let mut work = Workspace { views: &views, taken: &mut taken, registers: &mut registers };
                    self.finish.block::<K>(tile, &mut work);
                    row += rows;
                }
            }
        }
        self.finish.put(env, taken);
        env.put_registers(registers);
    }
}

#[inline(always)]
fn f32_tile<K: Kernels>(dot: Dot<'_, f32, f32>, rows: usize, groups: usize, out: &mut [f32]) {
    match (rows, groups) {
        (1, 1) => K::dot_f32::<1, 1>(dot, out),
        (1, 2) => K::dot_f32::<1, 2>(dot, out),
        (1, _) => K::dot_f32::<1, 4>(dot, out),
        (2, 1) => K::dot_f32::<2, 1>(dot, out),
        (2, 2) => K::dot_f32::<2, 2>(dot, out),
        (2, _) => K::dot_f32::<2, 4>(dot, out),
        (3..=4, 1) => K::dot_f32::<4, 1>(dot, out),
        (3..=4, 2) => K::dot_f32::<4, 2>(dot, out),
        (3..=4, _) => K::dot_f32::<4, 4>(dot, out),
        (_, 1) => K::dot_f32::<TILE, 1>(dot, out),
        _ => K::dot_f32::<TILE, 2>(dot, out),
    }
}

#[inline(always)]
fn u8_tile<K: Kernels>(dot: Dot<'_, u8, i8>, rows: usize, groups: usize, out: &mut [f32]) {
    match (rows, groups) {
        (1, 1) => K::dot_u8i8::<1, 1>(dot, out),
        (1, 2) => K::dot_u8i8::<1, 2>(dot, out),
        (1, _) => K::dot_u8i8::<1, 4>(dot, out),
        (2, 1) => K::dot_u8i8::<2, 1>(dot, out),
        (2, 2) => K::dot_u8i8::<2, 2>(dot, out),
        (2, _) => K::dot_u8i8::<2, 4>(dot, out),
        (3..=4, 1) => K::dot_u8i8::<4, 1>(dot, out),
        (3..=4, 2) => K::dot_u8i8::<4, 2>(dot, out),
        (3..=4, _) => K::dot_u8i8::<4, 4>(dot, out),
        (_, 1) => K::dot_u8i8::<TILE, 1>(dot, out),
        _ => K::dot_u8i8::<TILE, 2>(dot, out),
    }
}
