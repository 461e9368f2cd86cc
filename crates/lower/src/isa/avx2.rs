//! AVX2 with FMA: eight lanes, sixteen registers. int8 is computed in f32 (see [`super::Isa::has_int8`]).
#![expect(unsafe_code, reason = "loads through pointers whose bounds `Dot::check` has asserted")]

use std::arch::x86_64::*;

use super::{Dot, Kernels, LANES, portable::Portable};
use crate::program::{Env, Program, interpret};

pub(super) struct Avx2;

impl Kernels for Avx2 {
    compiled!("avx2,fma");

    #[inline(always)]
    fn dot_f32<const G: usize>(dot: Dot<'_, f32, f32>, out: &mut [f32]) {
        dot.check(G * LANES, 4, out);
        let pixels = dot.base.len();
        for group in 0..G {
            // Four pixels by sixteen channels are what the registers hold.
            for first in (0..pixels).step_by(4) {
                // SAFETY: only `run` of this module and of `avxvnni` get here, whose features are those of the kernel.
                unsafe {
                    match pixels - first {
                        1 => dot_f32::<1, G>(dot, first, group, out),
                        2 => dot_f32::<2, G>(dot, first, group, out),
                        _ => dot_f32::<4, G>(dot, first, group, out),
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn dot_u8i8<const G: usize>(dot: Dot<'_, u8, i8>, out: &mut [f32]) {
        Portable::dot_u8i8::<G>(dot, out);
    }
}

/// Pixels `first .. first + Q` of vector group `group`.
///
/// # Safety
/// `Dot::check` holds for `G * LANES` channels.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_f32<const Q: usize, const G: usize>(dot: Dot<'_, f32, f32>, first: usize, group: usize, out: &mut [f32]) {
    let mut acc = [[_mm256_setzero_ps(); 2]; Q];
    let mut w = dot.weights.as_ptr().wrapping_add(group * LANES);
    let base = dot.starts::<Q>(first);
    for run in dot.runs {
        for k in run.offset..run.offset + run.len {
            // SAFETY: row after row of weights, each `G * LANES` long; `base[p] + k` lies inside `x`.
            unsafe {
                let row = [_mm256_loadu_ps(w), _mm256_loadu_ps(w.add(8))];
                for (acc, base) in acc.iter_mut().zip(base) {
                    let x = _mm256_set1_ps(*base.add(k));
                    acc[0] = _mm256_fmadd_ps(x, row[0], acc[0]);
                    acc[1] = _mm256_fmadd_ps(x, row[1], acc[1]);
                }
            }
            w = w.wrapping_add(G * LANES);
        }
    }
    for (p, acc) in acc.iter().enumerate() {
        let out = &mut out[((first + p) * G + group) * LANES..][..LANES];
        // SAFETY: `out` is sixteen elements here.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), acc[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), acc[1]);
        }
    }
}

pub(super) fn run(program: &Program, env: &mut Env<'_>) {
    assert!(super::Isa::available().contains(&super::Isa::Avx2));
    interpret::<Avx2>(program, env);
}
