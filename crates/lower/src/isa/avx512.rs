//! AVX-512 with VNNI: sixteen lanes, 32 registers.
#![expect(unsafe_code, reason = "loads through pointers whose bounds `Dot::check` has asserted")]

use std::arch::x86_64::*;

use super::{Dot, Kernels, LANES};
use crate::program::{Env, Program, interpret};

pub(super) struct Avx512;

impl Kernels for Avx512 {
    #[inline(always)]
    fn dot_f32<const P: usize, const G: usize>(dot: Dot<'_, f32, f32>, out: &mut [f32]) {
        dot.check::<P>(G * LANES);
        assert!(out.len() >= P * G * LANES);
        // SAFETY: only `run` below calls this, whose features are those of the kernel; bounds were asserted.
        unsafe { dot_f32::<P, G>(dot, out) }
    }

    #[inline(always)]
    fn dot_u8i8<const P: usize, const G: usize>(dot: Dot<'_, u8, i8>, out: &mut [f32]) {
        dot.check::<P>(G * LANES);
        assert!(out.len() >= P * G * LANES && dot.runs.iter().all(|r| r.len % 4 == 0));
        // SAFETY: as above; runs are of whole fours, so that the last load of four bytes ends with its run.
        unsafe { dot_u8i8::<P, G>(dot, out) }
    }
}

/// # Safety
/// `Dot::check::<P>` holds and `out` has `P * G * LANES` elements.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn dot_f32<const P: usize, const G: usize>(dot: Dot<'_, f32, f32>, out: &mut [f32]) {
    let mut acc = [[_mm512_setzero_ps(); G]; P];
    let mut w = dot.weights.as_ptr();
    let base: [*const f32; P] = std::array::from_fn(|p| dot.x.as_ptr().wrapping_add(dot.base[p]));
    for run in dot.runs {
        for k in run.offset..run.offset + run.len {
            // SAFETY: `w` advances by one row an element, `depth` rows in all; `base[p] + k` lies inside `x`.
            unsafe {
                let row: [__m512; G] = std::array::from_fn(|g| _mm512_loadu_ps(w.add(g * LANES)));
                for (acc, base) in acc.iter_mut().zip(base) {
                    let x = _mm512_set1_ps(*base.add(k));
                    for (acc, row) in acc.iter_mut().zip(row) {
                        *acc = _mm512_fmadd_ps(x, row, *acc);
                    }
                }
                w = w.add(G * LANES);
            }
        }
    }
    for (i, acc) in acc.as_flattened().iter().enumerate() {
        // SAFETY: `out` has `P * G * LANES` elements.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(i * LANES), *acc) };
    }
}

/// # Safety
/// As [`dot_f32`]; run lengths are multiples of four.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn dot_u8i8<const P: usize, const G: usize>(dot: Dot<'_, u8, i8>, out: &mut [f32]) {
    let mut acc = [[_mm512_setzero_si512(); G]; P];
    let mut w = dot.weights.as_ptr();
    let base: [*const u8; P] = std::array::from_fn(|p| dot.x.as_ptr().wrapping_add(dot.base[p]));
    for run in dot.runs {
        for k in (run.offset..run.offset + run.len).step_by(4) {
            // SAFETY: as in `dot_f32`, four elements at a time; unaligned reads are asked for as such.
            unsafe {
                let row: [__m512i; G] = std::array::from_fn(|g| _mm512_loadu_si512(w.add(g * LANES * 4).cast()));
                for (acc, base) in acc.iter_mut().zip(base) {
                    let x = _mm512_set1_epi32(base.add(k).cast::<i32>().read_unaligned());
                    for (acc, row) in acc.iter_mut().zip(row) {
                        *acc = _mm512_dpbusd_epi32(*acc, x, row);
                    }
                }
                w = w.add(G * LANES * 4);
            }
        }
    }
    for (i, acc) in acc.as_flattened().iter().enumerate() {
        // SAFETY: `out` has `P * G * LANES` elements.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(i * LANES), _mm512_cvtepi32_ps(*acc)) };
    }
}

pub(super) fn run(program: &Program, env: &mut Env<'_>) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    fn inner(program: &Program, env: &mut Env<'_>) {
        interpret::<Avx512>(program, env);
    }
    assert!(super::Isa::available().contains(&super::Isa::Avx512Vnni));
    // SAFETY: the machine has the features.
    unsafe { inner(program, env) }
}
