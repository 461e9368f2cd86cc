//! Weights in the order in which the inner products read them.

use crate::{
    isa::{Isa, LANES, MAX_GROUPS, QUAD, Run},
    program::Aligned,
    step::{Block, BlockLanes},
};

/// Convolution weights and how they are to be packed.
pub(super) struct Packing<'r> {
    /// Groups of the convolution, and input and output channels of each.
    pub(super) groups: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Input channels of each in memory (`inputs` or more).
    pub(super) padded: usize,
    /// Output pixels: few of them are computed with more channels at a time.
    pub(super) pixels: usize,
    /// The windows' elements, all taps one after the other.
    pub(super) runs: &'r [Run],
    /// Whose kernels read them.
    pub(super) isa: Isa,
}

/// Fewer pixels are not worth adding up partial sums for.
const QUAD_PIXELS: usize = 8;
/// Units of a window that take as long as adding up the partial sums of a tile.
const ADDING: usize = 16;

impl Packing<'_> {
    /// The blocks and their weights, `unit` input channels side by side; `weight(output, input, tap)` with outputs counted over all groups.
    pub(super) fn pack<T: Copy + Default>(
        &self,
        unit: usize,
        weight: impl Fn(usize, usize, usize) -> T,
    ) -> (Vec<Block>, Aligned<T>) {
        let mut blocks = Vec::new();
        let mut packed: Vec<T> = Vec::new();
        for group in 0..self.groups {
            let mut first = 0;
            while first < self.outputs {
                let left = self.outputs - first;
                let lanes = self.lanes(left, unit);
                let width = lanes.channels();
                let together = if matches!(lanes, BlockLanes::Quads(_)) { unit * QUAD } else { unit };
                let channels = left.min(width);
                let channel = group * self.outputs + first;
                blocks.push(Block { channel, channels, lanes, offset: group * self.padded, weights: packed.len() });
                let value = |lane: usize, element: usize, end: usize| {
                    let (tap, input) = (element / self.padded, element % self.padded);
                    let there = element < end && lane < channels && input < self.inputs;
                    if there { weight(channel + lane, input, tap) } else { T::default() }
                };
                let mut start = 0;
                for run in self.runs {
                    let end = start + run.len;
                    for at in (start..end).step_by(together) {
                        for lane in 0..width {
                            packed.extend((at..at + together).map(|element| value(lane, element, end)));
                        }
                    }
                    start = end;
                }
                first += channels;
            }
        }
        (blocks, Aligned::from_slice(&packed))
    }

    /// How the next channels lie in vectors, `left` being left, where `unit` elements are one: by quads where whole vector groups would
    /// leave more lanes empty.
    fn lanes(&self, left: usize, unit: usize) -> BlockLanes {
        let wide = if self.pixels <= 4 { MAX_GROUPS } else { 2 };
        let needed = left.div_ceil(LANES).min(wide);
        let groups = if needed == 3 { 2 } else { needed };
        let units: usize = self.runs.iter().map(|r| r.len / unit).sum();
        let rounded: usize = self.runs.iter().map(|r| (r.len / unit).next_multiple_of(QUAD)).sum();
        let by_groups = |groups: usize| units * groups * LANES;
        let by_quads = |quads: usize| (rounded + ADDING) * quads * QUAD;
        let takes = |quads: usize| self.pixels >= QUAD_PIXELS && self.isa.quads(unit > 1).contains(&quads);
        let quads = left.div_ceil(QUAD);
        if takes(quads) && by_quads(quads) < by_groups(groups) {
            return BlockLanes::Quads(quads);
        }
        // The last whole group by itself, and what is behind it by quads.
        let rest = quads.saturating_sub(LANES / QUAD);
        if groups == 2 && self.isa.takes_single_groups() && takes(rest) && by_quads(rest) < by_groups(1) {
            return BlockLanes::Groups(1);
        }
        BlockLanes::Groups(groups)
    }
}
