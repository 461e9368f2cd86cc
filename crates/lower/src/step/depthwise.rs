//! Depthwise convolution: each channel by itself, channels in the lanes. Bytes are widened to f32, where their products are exact.

use super::{BLOCK, Compute, Lanes, Pointwise, Tile, Work, Workspace};
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
                    let (bases, out) = (&self.bases[row..row + rows], registers[0].as_mut_slice());
                    match (input, width) {
                        (View::F32(x), LANES) => K::alone(Windows::<_, 1> { step: self, x, bases, column, out }),
                        (View::F32(x), _) => K::alone(Windows::<_, 2> { step: self, x, bases, column, out }),
                        (View::U8(x), LANES) => K::alone(Windows::<_, 1> { step: self, x, bases, column, out }),
                        (View::U8(x), _) => K::alone(Windows::<_, 2> { step: self, x, bases, column, out }),
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

/// Windows of some pixels, `V` vectors of channels from `column` on.
struct Windows<'a, T, const V: usize> {
    step: &'a Depthwise,
    x: &'a [T],
    bases: &'a [u32],
    column: usize,
    out: &'a mut [Lanes],
}

impl<T: Copy + Into<f32>, const V: usize> Work for Windows<'_, T, V> {
    #[inline(always)]
    fn run(self) {
        let Self { step, x, bases, column, out } = self;
        let weights = &step.weights.as_slice()[column..];
        for (base, out) in bases.iter().zip(out.chunks_exact_mut(V)) {
            let x = &x[*base as usize + column..];
            let mut sums = [[0f32; LANES]; V];
            for (t, tap) in step.taps.iter().enumerate() {
                let (x, _) = x[*tap..][..V * LANES].as_chunks::<LANES>();
                let (w, _) = weights[t * step.channels..][..V * LANES].as_chunks::<LANES>();
                for ((sums, x), w) in sums.iter_mut().zip(x).zip(w) {
                    for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
                        *sum += (*x).into() * w;
                    }
                }
            }
            out.copy_from_slice(&sums);
        }
    }
}
