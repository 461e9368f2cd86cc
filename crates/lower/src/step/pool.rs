//! Pooling over windows, channels last.

use super::{Compute, Output, tile::each};
use crate::isa::{Kernels, LANES};
use crate::program::{Buffer, Env, Taken, View};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolFn {
    Max,
    /// Sum times a factor of its own for each output pixel.
    Sum,
}

/// The window of one output pixel: a box of input pixels, clipped to the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    /// Half-open ranges of depth, height and width, dilations apart.
    pub(crate) from: [usize; 3],
    pub(crate) to: [usize; 3],
    /// What a sum is multiplied by.
    pub(crate) factor: f32,
}

/// The step. Bytes in: the maximum is bytes, the sum is `scale × (Σ − n × zero_point)`, folded in by the factor and the finish.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) f: PoolFn,
    pub(crate) input: Buffer,
    pub(crate) output: Output,
    pub(crate) images: usize,
    /// Depth, height and width of the input.
    pub(crate) space: [usize; 3],
    pub(crate) dilation: [usize; 3],
    pub(crate) channels: usize,
    pub(crate) windows: Vec<Window>,
}

impl Compute for Pool {
    #[inline(always)]
    fn run<K: Kernels>(&self, env: &mut Env<'_>) {
        let mut taken = env.take(self.output.buffer);
        match (self.f, env.view(self.input), &mut taken) {
            (PoolFn::Max, View::F32(x), Taken::F32(y)) => {
                self.pool(
                    x,
                    y.as_mut_slice(),
                    f32::NEG_INFINITY,
                    |a, x| if x > a || x.is_nan() { x } else { a },
                    |a, _| a,
                );
            }
            (PoolFn::Max, View::U8(x), Taken::U8(y)) => self.pool(x, y.as_mut_slice(), 0, u8::max, |a, _| a),
            (PoolFn::Sum, View::F32(x), Taken::F32(y)) => {
                self.pool(x, y.as_mut_slice(), 0., |a, x| a + x, |a, factor| a * factor);
            }
            (PoolFn::Sum, View::U8(x), Taken::F32(y)) => {
                self.pool(x, y.as_mut_slice(), 0., |a, x| a + f32::from(x), |a, factor| a * factor);
            }
            _ => unreachable!("input and output were compiled together"),
        }
        env.put(self.output.buffer, taken);
    }
}

impl Pool {
    #[inline(always)]
    fn pool<X: Copy, Y: Copy + Default>(
        &self,
        x: &[X],
        y: &mut [Y],
        start: Y,
        add: impl Fn(Y, X) -> Y,
        end: impl Fn(Y, f32) -> Y,
    ) {
        let [depth, height, width] = self.space;
        let c = self.channels;
        for image in 0..self.images {
            let x = &x[image * depth * height * width * c..];
            for (row, window) in self.windows.iter().enumerate() {
                let out = &mut y[self.output.start(image * self.windows.len() + row, c)..][..c];
                for column in (0..c).step_by(LANES) {
                    let lanes = LANES.min(c - column);
                    let mut sums = [start; LANES];
                    for d in (window.from[0]..window.to[0]).step_by(self.dilation[0]) {
                        for h in (window.from[1]..window.to[1]).step_by(self.dilation[1]) {
                            for w in (window.from[2]..window.to[2]).step_by(self.dilation[2]) {
                                let at = ((d * height + h) * width + w) * c + column;
                                sums = along(sums, x, at, lanes, &add);
                            }
                        }
                    }
                    out[column..column + lanes].iter_mut().zip(sums).for_each(|(y, sum)| *y = end(sum, window.factor));
                }
            }
        }
    }
}

/// Takes `lanes` elements into as many results. All lanes are taken where there is something to read, so that they become vectors.
#[inline(always)]
pub(super) fn along<X: Copy, Y: Copy + Default>(
    results: [Y; LANES],
    x: &[X],
    at: usize,
    lanes: usize,
    add: impl Fn(Y, X) -> Y,
) -> [Y; LANES] {
    let x = &x[at..];
    match x.first_chunk::<LANES>() {
        Some(x) => {
            let x = *x;
            each(|i| add(results[i], x[i]))
        }
        None => each(|i| if i < lanes { add(results[i], x[i]) } else { results[i] }),
    }
}
