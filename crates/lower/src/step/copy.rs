//! Strided copies: transposition, padding, slices, concatenation, broadcasting, and bytes to f32.

use super::Compute;
use crate::isa::Kernels;
use crate::program::{Buffer, Env, Taken, View};

/// The step: `output[to + Σ iᵈ × to_strides] = input[from + Σ iᵈ × from_strides]` for all indices below `dims`.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) input: Buffer,
    pub(crate) output: Buffer,
    pub(crate) dims: Vec<usize>,
    pub(crate) from: usize,
    pub(crate) from_strides: Vec<usize>,
    pub(crate) to: usize,
    pub(crate) to_strides: Vec<usize>,
    /// What the whole output is filled with first, if it is not covered.
    pub(crate) fill: Option<f32>,
    /// Elements behind each run of the last dimension that may be anything.
    pub(crate) idle: usize,
}

impl Compute for Copy {
    #[inline(always)]
    fn run<K: Kernels>(&self, env: &mut Env<'_>) {
        let mut taken = env.take(self.output);
        match (env.view(self.input), &mut taken) {
            (View::F32(x), Taken::F32(y)) => self.copy(x, y.as_mut_slice(), |x| x, |x| x),
            (View::U8(x), Taken::U8(y)) => self.copy(x, y.as_mut_slice(), |x| x, |x| x as u8),
            (View::U8(x), Taken::F32(y)) => self.copy(x, y.as_mut_slice(), f32::from, |x| x),
            (View::F32(_), Taken::U8(_)) => unreachable!("copies do not quantize"),
        }
        env.put(self.output, taken);
    }
}

impl Copy {
    /// Whether it writes without gaps from the output's start on, as far as it reaches.
    pub(crate) fn covers(&self) -> bool {
        let written: usize = self.dims.iter().product();
        let reach: usize = self.dims.iter().zip(&self.to_strides).map(|(n, stride)| n.saturating_sub(1) * stride).sum();
        self.to == 0 && written == reach + 1
    }

    #[inline(always)]
    fn copy<X: std::marker::Copy, Y: std::marker::Copy>(
        &self,
        x: &[X],
        y: &mut [Y],
        f: impl Fn(X) -> Y,
        fill: impl Fn(f32) -> Y,
    ) {
        if let Some(value) = self.fill {
            y.fill(fill(value));
        }
        let Some((&n, outer)) = self.dims.split_last() else {
            y[self.to] = f(x[self.from]);
            return;
        };
        let (from_step, to_step) = (self.from_strides[outer.len()], self.to_strides[outer.len()]);
        if let ([channels], [1]) = (outer, &self.to_strides[..outer.len()])
            && to_step == *channels
            && from_step == 1
        {
            let (x, rows) = (&x[self.from..], self.from_strides[0]);
            let y = &mut y[self.to..][..n * channels];
            match channels {
                2 => return interleave::<2, _, _>(x, y, rows, f),
                3 => return interleave::<3, _, _>(x, y, rows, f),
                4 => return interleave::<4, _, _>(x, y, rows, f),
                _ => {}
            }
        }
        let mut index = [0usize; 8];
        let (mut from, mut to) = (self.from, self.to);
        if self.dims.contains(&0) {
            return;
        }
        loop {
            if from_step == 1 && to_step == 1 {
                let (x, y) = (&x[from..][..n], &mut y[to..][..n]);
                y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x));
            } else {
                // Cut to what is reached, so that no step is checked by itself.
                let reach = |step: usize| (n - 1) * step + 1;
                let (x, y) = (&x[from..][..reach(from_step)], &mut y[to..][..reach(to_step)]);
                match (from_step, to_step) {
                    (0, 1) => y.fill(f(x[0])),
                    (1, _) => y.iter_mut().step_by(to_step).zip(x).for_each(|(y, x)| *y = f(*x)),
                    (0, _) => y.iter_mut().step_by(to_step).for_each(|y| *y = f(x[0])),
                    (_, 1) => y.iter_mut().zip(x.iter().step_by(from_step)).for_each(|(y, x)| *y = f(*x)),
                    _ => y.iter_mut().step_by(to_step).zip(x.iter().step_by(from_step)).for_each(|(y, x)| *y = f(*x)),
                }
            }
            let mut axis = outer.len();
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                from += self.from_strides[axis];
                to += self.to_strides[axis];
                if index[axis] < outer[axis] {
                    break;
                }
                from -= index[axis] * self.from_strides[axis];
                to -= index[axis] * self.to_strides[axis];
                index[axis] = 0;
            }
        }
    }
}

/// `N` rows of `x`, so many elements apart, become the columns of `y`.
#[inline(always)]
fn interleave<const N: usize, X: std::marker::Copy, Y: std::marker::Copy>(
    x: &[X],
    y: &mut [Y],
    apart: usize,
    f: impl Fn(X) -> Y,
) {
    let (columns, _) = y.as_chunks_mut::<N>();
    let rows: [&[X]; N] = std::array::from_fn(|i| &x[i * apart..][..columns.len()]);
    for (i, column) in columns.iter_mut().enumerate() {
        *column = std::array::from_fn(|row| f(rows[row][i]));
    }
}
