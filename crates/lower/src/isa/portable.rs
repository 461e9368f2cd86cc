//! Without any instruction set: what the others are tested against.

use std::ops::AddAssign;

use super::{Dot, Kernels, LANES, QUAD, Quads};
use crate::{
    program::{Env, Program, interpret},
    step::Work,
};

pub(super) struct Portable;

impl Kernels for Portable {
    #[inline(never)]
    fn alone<W: Work>(work: W) {
        work.run();
    }

    #[inline(always)]
    fn dot_f32<const G: usize>(dot: Dot<'_, f32, f32>, out: &mut [f32]) {
        let pixels = dot.base.len();
        for group in 0..G {
            // Two pixels by sixteen channels are what sixteen registers of four lanes hold.
            for first in (0..pixels).step_by(2) {
                if pixels - first >= 2 {
                    tile::<2, G>(dot, first, group, out);
                } else {
                    tile::<1, G>(dot, first, group, out);
                }
            }
        }
    }

    #[inline(always)]
    fn dot_u8i8<const G: usize>(dot: Dot<'_, u8, i8>, out: &mut [f32]) {
        let width = G * LANES;
        for (base, out) in dot.base.as_slice().iter().zip(out.chunks_exact_mut(width)) {
            let x = &dot.x[dot.offset + *base as usize..];
            let mut sums = [0i32; LANES * super::MAX_GROUPS];
            let mut rows = dot.weights.chunks_exact(width * 4);
            for run in dot.runs {
                for k in (run.offset..run.offset + run.len).step_by(4) {
                    let weights = rows.next().expect("a row of weights for every four elements");
                    let x = &x[k..][..4];
                    for (sum, w) in sums.iter_mut().zip(weights.chunks_exact(4)) {
                        *sum += x.iter().zip(w).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum::<i32>();
                    }
                }
            }
            out.iter_mut().zip(sums).for_each(|(o, s)| *o = s as f32);
        }
    }
}

/// Pixels `first .. first + Q` of vector group `group`.
#[inline(always)]
fn tile<const Q: usize, const G: usize>(dot: Dot<'_, f32, f32>, first: usize, group: usize, out: &mut [f32]) {
    let mut sums = [[0f32; LANES]; Q];
    let mut rows = dot.weights[group * LANES..].chunks(G * LANES);
    for run in dot.runs {
        let x: [&[f32]; Q] = std::array::from_fn(|p| {
            &dot.x[dot.offset + dot.base.as_slice()[first + p] as usize + run.offset..][..run.len]
        });
        for (k, weights) in rows.by_ref().take(run.len).enumerate() {
            let weights: &[f32; LANES] = weights.first_chunk().expect("rows are whole lanes");
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = x[k];
                sums.iter_mut().zip(weights).for_each(|(sum, w)| *sum += x * w);
            }
        }
    }
    for (p, sums) in sums.iter().enumerate() {
        out[((first + p) * G + group) * LANES..][..LANES].copy_from_slice(sums);
    }
}

/// Plain sums, for tests and for sets that have no kernel of their own.
pub(super) fn quads_f32(dot: Dot<'_, f32, f32>, tile: Quads, out: &mut [f32]) {
    quads(dot, tile, out, |x, w| x * w);
}

/// As [`quads_f32`].
pub(super) fn quads_u8i8(dot: Dot<'_, u8, i8>, tile: Quads, out: &mut [f32]) {
    quads(dot, tile, out, |x, w| i32::from(x) * i32::from(w));
}

/// `times` gives the product of two elements.
fn quads<X: Copy, W: Copy, S: Copy + Default + AddAssign + Sum>(
    dot: Dot<'_, X, W>,
    tile: Quads,
    out: &mut [f32],
    times: impl Fn(X, W) -> S,
) {
    dot.check_quads(tile.quads);
    tile.check(dot.base.len(), out);
    // Elements of QUAD units.
    let together = 16 / size_of::<X>();
    for (base, out) in dot.base.as_slice().iter().zip(out.chunks_mut(tile.width)) {
        let x = &dot.x[dot.offset + *base as usize..];
        let mut sums = [S::default(); 8 * QUAD];
        let sums = &mut sums[..tile.quads * QUAD];
        let mut rows = dot.weights.chunks_exact(sums.len() * together);
        for run in dot.runs {
            for x in x[run.offset..][..run.len].chunks(together) {
                let row = rows.next().expect("weights for every four units that are begun");
                for (sum, w) in sums.iter_mut().zip(row.chunks_exact(together)) {
                    x.iter().zip(w).for_each(|(x, w)| *sum += times(*x, *w));
                }
            }
        }
        out.iter_mut().zip(sums).for_each(|(o, s)| *o = s.to_f32());
    }
}

/// A sum of products, and the result that it stands for.
trait Sum {
    fn to_f32(self) -> f32;
}

impl Sum for f32 {
    fn to_f32(self) -> f32 {
        self
    }
}

impl Sum for i32 {
    fn to_f32(self) -> f32 {
        self as f32
    }
}

pub(super) fn run(program: &Program, env: &mut Env<'_>) {
    interpret::<Portable>(program, env);
}
