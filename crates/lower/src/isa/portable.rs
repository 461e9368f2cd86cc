//! Without any instruction set: what the others are tested against.

use super::{Dot, Kernels, LANES};
use crate::program::{Env, Program, interpret};

pub(super) struct Portable;

impl Kernels for Portable {
    #[inline(always)]
    fn dot_f32<const P: usize, const G: usize>(dot: Dot<'_, f32, f32>, out: &mut [f32]) {
        let width = G * LANES;
        out[..P * width].fill(0.);
        let mut rows = dot.weights.chunks_exact(width);
        for run in dot.runs {
            for k in run.offset..run.offset + run.len {
                let weights = rows.next().expect("a row of weights for every element");
                for (p, out) in out.chunks_exact_mut(width).take(P).enumerate() {
                    let x = dot.x[dot.base[p] + k];
                    out.iter_mut().zip(weights).for_each(|(o, w)| *o += x * w);
                }
            }
        }
    }

    #[inline(always)]
    fn dot_u8i8<const P: usize, const G: usize>(dot: Dot<'_, u8, i8>, out: &mut [f32]) {
        let width = G * LANES;
        for (p, out) in out.chunks_exact_mut(width).take(P).enumerate() {
            let mut sums = [0i32; LANES * super::MAX_GROUPS];
            let mut rows = dot.weights.chunks_exact(width * 4);
            for run in dot.runs {
                for k in (run.offset..run.offset + run.len).step_by(4) {
                    let weights = rows.next().expect("a row of weights for every four elements");
                    let x = &dot.x[dot.base[p] + k..][..4];
                    for (sum, w) in sums.iter_mut().zip(weights.chunks_exact(4)) {
                        *sum += x.iter().zip(w).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum::<i32>();
                    }
                }
            }
            out.iter_mut().zip(sums).for_each(|(o, s)| *o = s as f32);
        }
    }
}

pub(super) fn run(program: &Program, env: &mut Env<'_>) {
    interpret::<Portable>(program, env);
}
