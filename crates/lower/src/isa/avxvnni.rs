//! AVX2 with the 256-bit form of VNNI; f32 as in [`super::avx2`].
#![expect(unsafe_code, reason = "loads through pointers whose bounds `Dot::check` has asserted")]

use std::arch::x86_64::*;

use super::{Dot, Kernels, LANES, Quads, avx2::Avx2};
use crate::program::{Env, Program, interpret};

pub(super) struct AvxVnni;

impl Kernels for AvxVnni {
    compiled!("avx2,fma,avxvnni");

    #[inline(always)]
    fn dot_f32<const G: usize>(dot: Dot<'_, f32, f32>, out: &mut [f32]) {
        Avx2::dot_f32::<G>(dot, out);
    }

    #[inline(always)]
    fn quads_f32(dot: Dot<'_, f32, f32>, tile: Quads, out: &mut [f32]) {
        Avx2::quads_f32(dot, tile, out);
    }

    #[inline(always)]
    fn dot_u8i8<const G: usize>(dot: Dot<'_, u8, i8>, out: &mut [f32]) {
        dot.check(G * LANES, 4, out);
        dot.check_fours();
        let pixels = dot.base.len();
        for group in 0..G {
            for first in (0..pixels).step_by(4) {
                // SAFETY: only `run` below gets here, whose features are those of the kernel.
                unsafe {
                    match pixels - first {
                        1 => dot_u8i8::<1, G>(dot, first, group, out),
                        2 => dot_u8i8::<2, G>(dot, first, group, out),
                        _ => dot_u8i8::<4, G>(dot, first, group, out),
                    }
                }
            }
        }
    }
}

/// Pixels `first .. first + Q` of vector group `group`.
///
/// # Safety
/// `Dot::check` holds for `G * LANES` channels, and run lengths are multiples of four.
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn dot_u8i8<const Q: usize, const G: usize>(dot: Dot<'_, u8, i8>, first: usize, group: usize, out: &mut [f32]) {
    let mut acc = [[_mm256_setzero_si256(); 2]; Q];
    let mut w = dot.weights.as_ptr().wrapping_add(group * LANES * 4);
    let base = dot.starts::<Q>(first);
    for run in dot.runs {
        for k in (run.offset..run.offset + run.len).step_by(4) {
            // SAFETY: row after row of weights, each `G * LANES * 4` long; `base[p] + k .. + 4` lies inside `x`.
            unsafe {
                let row = [_mm256_loadu_si256(w.cast()), _mm256_loadu_si256(w.add(32).cast())];
                for (acc, base) in acc.iter_mut().zip(base) {
                    let x = _mm256_set1_epi32(base.add(k).cast::<i32>().read_unaligned());
                    acc[0] = _mm256_dpbusd_avx_epi32(acc[0], x, row[0]);
                    acc[1] = _mm256_dpbusd_avx_epi32(acc[1], x, row[1]);
                }
            }
            w = w.wrapping_add(G * LANES * 4);
        }
    }
    for (p, acc) in acc.iter().enumerate() {
        let out = &mut out[((first + p) * G + group) * LANES..][..LANES];
        // SAFETY: `out` is sixteen elements here.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtepi32_ps(acc[0]));
            _mm256_storeu_ps(out.as_mut_ptr().add(8), _mm256_cvtepi32_ps(acc[1]));
        }
    }
}

pub(super) fn run(program: &Program, env: &mut Env<'_>) {
    assert!(super::Isa::available().contains(&super::Isa::AvxVnni));
    interpret::<AvxVnni>(program, env);
}
