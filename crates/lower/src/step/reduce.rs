//! Reduction of one run of axes: `[outer, reduced, inner] → [outer, inner]`.

use super::{Compute, Output, pool::along};
use crate::isa::{Kernels, LANES};
use crate::program::{Buffer, Env, Taken, View};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReduceFn {
    Max,
    Min,
    Sum,
    MeanOfSquares,
}

/// The step; f32 out, of bytes their numbers.
#[derive(Debug)]
pub(crate) struct Reduce {
    pub(crate) f: ReduceFn,
    pub(crate) input: Buffer,
    /// The first element that is read.
    pub(crate) from: usize,
    pub(crate) output: Output,
    pub(crate) outer: usize,
    pub(crate) reduced: usize,
    pub(crate) inner: usize,
    /// What results are multiplied by, and then divided by.
    pub(crate) times: f32,
    pub(crate) over: f32,
}

impl Compute for Reduce {
    #[inline(always)]
    fn run<K: Kernels>(&self, env: &mut Env<'_>) {
        let mut taken = env.take(self.output.buffer);
        let Taken::F32(output) = &mut taken else { unreachable!("reductions make f32") };
        match env.view(self.input) {
            View::F32(x) => self.reduce(&x[self.from..], output.as_mut_slice(), |x| x),
            View::U8(x) => self.reduce(&x[self.from..], output.as_mut_slice(), f32::from),
        }
        env.put(self.output.buffer, taken);
    }
}

impl Reduce {
    #[inline(always)]
    fn reduce<X: Copy>(&self, x: &[X], y: &mut [f32], f: impl Fn(X) -> f32) {
        let n = self.reduced as f32;
        match self.f {
            ReduceFn::Max => self.fold(
                x,
                y,
                f32::NEG_INFINITY,
                |a, x| if x > a || x.is_nan() { x } else { a },
                |a| a * self.times / self.over,
                f,
            ),
            ReduceFn::Min => self.fold(
                x,
                y,
                f32::INFINITY,
                |a, x| if x < a || x.is_nan() { x } else { a },
                |a| a * self.times / self.over,
                f,
            ),
            ReduceFn::Sum => self.fold(x, y, 0., |a, x| a + x, |a| a * self.times / self.over, f),
            ReduceFn::MeanOfSquares => self.fold(x, y, 0., |a, x| a + x * x, |a| a / n * self.times / self.over, f),
        }
    }

    #[inline(always)]
    fn fold<X: Copy>(
        &self,
        x: &[X],
        y: &mut [f32],
        start: f32,
        add: impl Fn(f32, f32) -> f32,
        end: impl Fn(f32) -> f32,
        f: impl Fn(X) -> f32,
    ) {
        for outer in 0..self.outer {
            let y = &mut y[self.output.start(outer, self.inner)..][..self.inner];
            if self.inner == 1 {
                // Sixteen partial results, so that lanes can work side by side.
                let mut partial = [start; 16];
                let x = &x[outer * self.reduced..][..self.reduced];
                let (whole, rest) = x.as_chunks::<16>();
                for x in whole {
                    partial.iter_mut().zip(x).for_each(|(a, x)| *a = add(*a, f(*x)));
                }
                let total = if matches!(self.f, ReduceFn::MeanOfSquares | ReduceFn::Sum) {
                    partial.iter().sum()
                } else {
                    partial.iter().fold(start, |a, x| add(a, *x))
                };
                y[0] = end(rest.iter().fold(total, |a, x| add(a, f(*x))));
            } else {
                for column in (0..self.inner).step_by(LANES) {
                    let lanes = LANES.min(self.inner - column);
                    let mut results = [start; LANES];
                    for row in 0..self.reduced {
                        let at = outer * self.reduced * self.inner + row * self.inner + column;
                        results = along(results, x, at, lanes, |a, x| add(a, f(x)));
                    }
                    y[column..column + lanes].iter_mut().zip(results).for_each(|(y, a)| *y = end(a));
                }
            }
        }
    }
}
