//! Weights in the order in which the inner products read them.

use crate::{
    isa::{LANES, MAX_GROUPS},
    program::Aligned,
    step::Block,
};

/// Convolution weights and how they are to be packed.
pub(super) struct Packing {
    /// Groups of the convolution, and input and output channels of each.
    pub(super) groups: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Input channels of each in memory (`inputs` or more).
    pub(super) padded: usize,
    pub(super) taps: usize,
    /// Output pixels: few of them are computed with more channels at a time.
    pub(super) pixels: usize,
}

impl Packing {
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
                let wide = if self.pixels <= 4 { MAX_GROUPS } else { 2 };
                let needed = left.div_ceil(LANES).min(wide);
                let groups = if needed == 3 { 2 } else { needed };
                let channels = left.min(groups * LANES);
                let channel = group * self.outputs + first;
                blocks.push(Block { channel, channels, groups, offset: group * self.padded, weights: packed.len() });
                for tap in 0..self.taps {
                    for input in (0..self.padded).step_by(unit) {
                        for lane in 0..groups * LANES {
                            for i in input..input + unit {
                                let there = lane < channels && i < self.inputs;
                                packed.push(if there { weight(channel + lane, i, tap) } else { T::default() });
                            }
                        }
                    }
                }
                first += channels;
            }
        }
        (blocks, Aligned::from_slice(&packed))
    }
}
