//! AVX2 with FMA: eight lanes, sixteen registers. int8 is computed in f32 (see [`super::Isa::has_int8`]).
#![expect(unsafe_code, reason = "loads through pointers whose bounds `Dot::check` has asserted")]

use std::arch::x86_64::*;

use super::{Dot, Kernels, LANES, QUAD, Quads, portable::Portable};
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

    #[inline(always)]
    fn quads_f32(dot: Dot<'_, f32, f32>, tile: Quads, out: &mut [f32]) {
        dot.check_quads(tile.quads);
        tile.check(dot.base.len(), out);
        // SAFETY: as above; bounds were asserted.
        unsafe { quads(dot, tile, out) }
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

/// All pixels where channels go by quads: as many at a time as the registers hold with so many quads.
///
/// # Safety
/// `Dot::check_quads` and `Quads::check` hold.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn quads(dot: Dot<'_, f32, f32>, tile: Quads, out: &mut [f32]) {
    let (pixels, most) = (dot.base.len(), if tile.quads == 1 { 4 } else { 2 });
    for first in (0..pixels).step_by(most) {
        // SAFETY: as asked for.
        unsafe {
            match (tile.quads, pixels - first) {
                (1, ..=2) => quads_of::<2, 1>(dot, first, tile.width, out),
                (1, _) => quads_of::<4, 1>(dot, first, tile.width, out),
                (2, _) => quads_of::<2, 2>(dot, first, tile.width, out),
                (3, _) => quads_of::<2, 3>(dot, first, tile.width, out),
                (other, _) => unreachable!("{other} quads go by vector groups"),
            }
        }
    }
}

/// Four elements of the window by the weights of two channels for them: a vector holds four partial sums of each, which are added at the
/// end.
///
/// # Safety
/// As [`quads`] for `C` of them.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn quads_of<const P: usize, const C: usize>(
    dot: Dot<'_, f32, f32>,
    first: usize,
    width: usize,
    out: &mut [f32],
) {
    let mut acc = [[[_mm256_setzero_ps(); 2]; C]; P];
    let mut w = dot.weights.as_ptr();
    let base = dot.starts::<P>(first);
    for run in dot.runs {
        let (mut at, end) = (run.offset, run.offset + run.len);
        while at + QUAD <= end {
            // SAFETY: the four elements lie inside the run, and there are weights for each four that are begun.
            unsafe {
                let x = base.map(|base| _mm256_broadcast_ps(&base.add(at).cast::<__m128>().read_unaligned()));
                four_elements(&mut acc, x, w);
            }
            w = w.wrapping_add(QUAD * QUAD * C);
            at += QUAD;
        }
        if at < end {
            let left = _mm_cmpgt_epi32(_mm_set1_epi32((end - at) as i32), _mm_setr_epi32(0, 1, 2, 3));
            // SAFETY: no more than what is left of the run is read.
            unsafe {
                let x = base.map(|base| {
                    let x = _mm_maskload_ps(base.add(at), left);
                    _mm256_set_m128(x, x)
                });
                four_elements(&mut acc, x, w);
            }
            w = w.wrapping_add(QUAD * QUAD * C);
        }
    }
    let pixels = P.min(dot.base.len() - first);
    // The sums of two quads to a vector: `P * C` is even.
    for (pair, acc) in acc.as_flattened().chunks_exact(2).enumerate() {
        let sums = added([acc[0][0], acc[0][1], acc[1][0], acc[1][1]]);
        let halves = [_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums)];
        for (half, quad) in halves.into_iter().zip(2 * pair..) {
            if quad / C < pixels {
                // SAFETY: `out` has `width` elements for each pixel.
                unsafe { _mm_storeu_ps(out.as_mut_ptr().add((first + quad / C) * width + quad % C * QUAD), half) };
            }
        }
    }
}

/// Adds the products of four elements, twice in each vector, of each pixel.
///
/// # Safety
/// `w` points to `2 * C` vectors.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn four_elements<const P: usize, const C: usize>(
    acc: &mut [[[__m256; 2]; C]; P],
    x: [__m256; P],
    w: *const f32,
) {
    for c in 0..C {
        for half in 0..2 {
            // SAFETY: as asked for.
            let w = unsafe { _mm256_loadu_ps(w.add((2 * c + half) * 2 * QUAD)) };
            for (acc, x) in acc.iter_mut().zip(x) {
                acc[c][half] = _mm256_fmadd_ps(x, w, acc[c][half]);
            }
        }
    }
}

/// Of two quads' vectors, two each, the sums of the halves, channel by channel.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn added([a, b, c, d]: [__m256; 4]) -> __m256 {
    let sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    // The lower half holds the first channel of each vector, the upper one the second.
    _mm256_permutevar8x32_ps(sums, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

pub(super) fn run(program: &Program, env: &mut Env<'_>) {
    assert!(super::Isa::available().contains(&super::Isa::Avx2));
    interpret::<Avx2>(program, env);
}
