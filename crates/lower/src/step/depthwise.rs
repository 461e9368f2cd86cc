//! Depthwise convolution: each channel by itself, channels in the lanes. Bytes are widened to f32, where their products are exact.

use super::{BLOCK, Compute, Lanes, Pointwise, Tile, Workspace};
use crate::{
    isa::{Kernels, LANES},
    program::{Aligned, Buffer, Env, View},
};

/// The step.
#[derive(Debug)]
pub(crate) struct Depthwise {
    /// Padded, with slack behind.
    pub(crate) input: Buffer,
    pub(crate) bases: Vec<u32>,
    /// Where each element of the window lies from its start.
    pub(crate) taps: Vec<usize>,
    /// `[taps][channels]`, with slack behind.
    pub(crate) weights: Aligned<f32>,
    pub(crate) channels: usize,
    pub(crate) finish: Pointwise,
}

impl Compute for Depthwise {
    #[inline(always)]
    fn run<K: Kernels>(&self, env: &mut Env<'_>) {
        let mut registers = env.take_registers();
        let mut taken = self.finish.take(env);
        let views = self.finish.views(env);
        let input = env.view(self.input);
        {
            // As many pixels as fill a register with the widest tile.
            let most = BLOCK / (2 * LANES);
            for row in (0..self.bases.len()).step_by(most) {
                let rows = most.min(self.bases.len() - row);
                // The last channels first: what they spill over the next pixel is written after them.
                let mut column = self.channels.next_multiple_of(2 * LANES);
                while column > 0 {
                    column -= 2 * LANES;
                    let left = self.channels - column;
                    let width = if left > LANES { 2 * LANES } else { LANES };
                    for (r, base) in self.bases[row..row + rows].iter().enumerate() {
                        let out = &mut registers[0][r * width / LANES..];
                        let base = *base as usize + column;
                        match (input, width) {
                            (View::F32(x), LANES) => self.window::<1, _>(x, base, column, out, |x| x),
                            (View::F32(x), _) => self.window::<2, _>(x, base, column, out, |x| x),
                            (View::U8(x), LANES) => self.window::<1, _>(x, base, column, out, f32::from),
                            (View::U8(x), _) => self.window::<2, _>(x, base, column, out, f32::from),
                        }
                    }
                    let tile = Tile { row, rows, column, width, valid: left.min(width), spill: true };
                    let mut work = Workspace { views: &views, taken: &mut taken, registers: &mut registers };
                    self.finish.block::<K>(tile, &mut work);
                }
            }
        }
        self.finish.put(env, taken);
        env.put_registers(registers);
    }
}

impl Depthwise {
    /// One pixel, `V` vectors of channels.
    #[inline(always)]
    fn window<const V: usize, T: Copy>(
        &self,
        x: &[T],
        base: usize,
        column: usize,
        out: &mut [Lanes],
        f: impl Fn(T) -> f32,
    ) {
        let mut sums = [[0f32; LANES]; V];
        let weights = self.weights.as_slice();
        for (t, tap) in self.taps.iter().enumerate() {
            let (x, _) = x[base + tap..][..V * LANES].as_chunks::<LANES>();
            let (w, _) = weights[t * self.channels + column..][..V * LANES].as_chunks::<LANES>();
            for ((sums, x), w) in sums.iter_mut().zip(x).zip(w) {
                // Arrays are read whole, so that they become vectors.
                let (x, w, sum) = (*x, *w, *sums);
                *sums = std::array::from_fn(|i| sum[i] + f(x[i]) * w[i]);
            }
        }
        out[..V].copy_from_slice(&sums);
    }
}
