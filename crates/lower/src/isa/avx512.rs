//! AVX-512 with VNNI: sixteen lanes, 32 registers.
#![expect(unsafe_code, reason = "loads through pointers whose bounds `Dot::check` has asserted")]

use std::arch::x86_64::*;

use super::{Dot, Kernels, LANES, MAX_GROUPS, QUAD, Quads, TILE};
use crate::program::{Env, Program, interpret};

pub(super) struct Avx512;

impl Kernels for Avx512 {
    compiled!(Avx512, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");

    #[inline(always)]
    fn dot_f32<const G: usize>(dot: Dot<'_, f32, f32>, out: &mut [f32]) {
        let (pixels, most) = (dot.base.len(), most(G));
        dot.check(G * LANES, most, out);
        for first in (0..pixels).step_by(most) {
            // SAFETY: only steps get here, which are compiled with the features of the kernel; bounds were asserted.
            unsafe {
                match (pixels - first).min(most) {
                    1 => dot_f32::<1, G>(dot, first, out),
                    2 => dot_f32::<2, G>(dot, first, out),
                    3 | 4 => dot_f32::<4, G>(dot, first, out),
                    _ => dot_f32::<TILE, G>(dot, first, out),
                }
            }
        }
    }

    #[inline(always)]
    fn dot_u8i8<const G: usize>(dot: Dot<'_, u8, i8>, out: &mut [f32]) {
        let (pixels, most) = (dot.base.len(), most(G));
        dot.check(G * LANES, most, out);
        assert!(dot.runs.iter().all(|r| r.len % 4 == 0));
        for first in (0..pixels).step_by(most) {
            // SAFETY: as above; runs are of whole fours, so that the last load of four bytes ends with its run.
            unsafe {
                match (pixels - first).min(most) {
                    1 => dot_u8i8::<1, G>(dot, first, out),
                    2 => dot_u8i8::<2, G>(dot, first, out),
                    3 | 4 => dot_u8i8::<4, G>(dot, first, out),
                    _ => dot_u8i8::<TILE, G>(dot, first, out),
                }
            }
        }
    }

    #[inline(always)]
    fn quads_f32(dot: Dot<'_, f32, f32>, tile: Quads, out: &mut [f32]) {
        // SAFETY: only `run` below calls this.
        unsafe { quads(dot, tile, out) }
    }

    #[inline(always)]
    fn quads_u8i8(dot: Dot<'_, u8, i8>, tile: Quads, out: &mut [f32]) {
        assert!(dot.runs.iter().all(|r| r.len % 4 == 0));
        // SAFETY: as above.
        unsafe { quads(dot, tile, out) }
    }
}

/// Pixels of a tile: sixteen sums are what the registers hold beside weights.
const fn most(groups: usize) -> usize {
    if groups == MAX_GROUPS { 4 } else { TILE }
}

/// The element types of a product: f32 by f32, or four u8 by four i8. Both are read by units of four bytes.
trait Unit: Copy {
    const BYTES: bool;
}

impl Unit for f32 {
    const BYTES: bool = false;
}

impl Unit for u8 {
    const BYTES: bool = true;
}

/// Chooses how many pixels go together: as many as the registers hold with so many quads of channels.
///
/// # Safety
/// The machine has the features; runs of bytes are of whole fours.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn quads<X: Unit, W>(dot: Dot<'_, X, W>, tile: Quads, out: &mut [f32]) {
    dot.check_quads(tile, out);
    assert!(size_of::<W>() == size_of::<X>());
    let most = if tile.quads <= 3 { 8 } else { 4 };
    for (base, out) in dot.base.chunks(most).zip(out.chunks_mut(most * tile.width)) {
        let dot = Dot { base, ..dot };
        // SAFETY: bounds were asserted above.
        unsafe {
            match (tile.quads, base.len()) {
                (1, ..=4) => quads_of::<X, W, 4, 1>(dot, tile.width, out),
                (1, _) => quads_of::<X, W, 8, 1>(dot, tile.width, out),
                (2, ..=4) => quads_of::<X, W, 4, 2>(dot, tile.width, out),
                (2, _) => quads_of::<X, W, 8, 2>(dot, tile.width, out),
                (3, ..=4) => quads_of::<X, W, 4, 3>(dot, tile.width, out),
                (3, _) => quads_of::<X, W, 8, 3>(dot, tile.width, out),
                (5, ..=2) => quads_of::<X, W, 2, 5>(dot, tile.width, out),
                (5, _) => quads_of::<X, W, 4, 5>(dot, tile.width, out),
                (6, ..=2) => quads_of::<X, W, 2, 6>(dot, tile.width, out),
                (6, _) => quads_of::<X, W, 4, 6>(dot, tile.width, out),
                (other, _) => unreachable!("{other} quads go by vector groups"),
            }
        }
    }
}

/// Four units of the window by the weights of four channels for them: a vector holds four partial sums of each channel, which are added
/// at the end. Nothing but loads and products in the loop, and no lane without a channel but in the last quad.
///
/// # Safety
/// As [`quads`]; the pixels of `dot.base` are at most `P`, `Dot::check_quads` holds for them and `C` quads, and rows of `out` lie `width`
/// apart.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn quads_of<X: Unit, W, const P: usize, const C: usize>(dot: Dot<'_, X, W>, width: usize, out: &mut [f32]) {
    let (size, last) = (size_of::<X>(), dot.base.len() - 1);
    let base = dot.starts::<P>(0).map(<*const X>::cast::<u8>);
    let mut acc = [[_mm512_setzero_si512(); C]; P];
    let mut w = dot.weights.as_ptr().cast::<i32>();
    for run in dot.runs {
        let (mut at, end) = (run.offset * size, (run.offset + run.len) * size);
        while at + 16 <= end {
            // SAFETY: the four units lie inside the run, and there is a vector for each quad and each four units that are begun.
            unsafe { four_units::<X, P, C>(&mut acc, &base, at, 0xf, w) };
            w = w.wrapping_add(LANES * C);
            at += 16;
        }
        if at < end {
            let left = (1 << ((end - at) / 4)) - 1;
            // SAFETY: no more than what is left of the run is read.
            unsafe { four_units::<X, P, C>(&mut acc, &base, at, left, w) };
            w = w.wrapping_add(LANES * C);
        }
    }
    let place = |i: usize| ((i / C) * width + (i % C) * QUAD, i / C <= last);
    for (i, four) in acc.as_flattened().chunks(4).enumerate() {
        let zero = _mm512_setzero_si512();
        let mut sums = [_mm512_setzero_ps(); 4];
        for (sums, acc) in sums.iter_mut().zip(four.iter().chain(std::iter::repeat(&zero))) {
            *sums = if X::BYTES { _mm512_cvtepi32_ps(*acc) } else { _mm512_castsi512_ps(*acc) };
        }
        let sums = added(sums);
        let quarters = [
            _mm512_castps512_ps128(sums),
            _mm512_extractf32x4_ps::<1>(sums),
            _mm512_extractf32x4_ps::<2>(sums),
            _mm512_extractf32x4_ps::<3>(sums),
        ];
        for (quarter, i) in quarters.into_iter().zip(4 * i..4 * i + four.len()) {
            let (at, wanted) = place(i);
            if wanted {
                // SAFETY: `out` has `width` elements for each pixel.
                unsafe { _mm_storeu_ps(out.as_mut_ptr().add(at), quarter) };
            }
        }
    }
}

/// Adds the products of four units of each pixel from byte `at` on, of which those whose bit in `mask` is set are read.
///
/// # Safety
/// These units may be read of every pixel; `w` points to `C` vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn four_units<X: Unit, const P: usize, const C: usize>(
    acc: &mut [[__m512i; C]; P],
    base: &[*const u8; P],
    at: usize,
    mask: u8,
    w: *const i32,
) {
    let mut weights = [_mm512_setzero_si512(); C];
    for (c, weights) in weights.iter_mut().enumerate() {
        // SAFETY: as asked for.
        *weights = unsafe { _mm512_loadu_si512(w.add(LANES * c).cast()) };
    }
    for (acc, base) in acc.iter_mut().zip(base) {
        // SAFETY: as asked for.
        let x = _mm512_broadcast_i32x4(unsafe { _mm_maskz_loadu_epi32(mask, base.add(at).cast()) });
        for (acc, w) in acc.iter_mut().zip(weights) {
            *acc = if X::BYTES {
                _mm512_dpbusd_epi32(*acc, x, w)
            } else {
                let (x, w) = (_mm512_castsi512_ps(x), _mm512_castsi512_ps(w));
                _mm512_castps_si512(_mm512_fmadd_ps(x, w, _mm512_castsi512_ps(*acc)))
            };
        }
    }
}

/// Of four vectors the sums of their quarters: quarter `i` of the result holds those of vector `i`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
fn added([a, b, c, d]: [__m512; 4]) -> __m512 {
    let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    // Each quarter: two sums of a, b, a, b and of c, d, c, d.
    let [ab, cd] = [_mm512_castps_pd(ab), _mm512_castps_pd(cd)];
    let (low, high) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
    let sums = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
    // Each quarter holds one sum of each vector: turned over.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_ps(order, sums)
}

/// # Safety
/// `Dot::check` holds for `G * LANES` channels, and there are whole tiles of at least `P` pixels up to `first`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn dot_f32<const P: usize, const G: usize>(dot: Dot<'_, f32, f32>, first: usize, out: &mut [f32]) {
    let mut acc = [[_mm512_setzero_ps(); G]; P];
    let mut w = dot.weights.as_ptr();
    let base = dot.starts::<P>(first);
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
    let out = &mut out[first * G * LANES..][..P * G * LANES];
    for (i, acc) in acc.as_flattened().iter().enumerate() {
        // SAFETY: `out` has `P * G * LANES` elements.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(i * LANES), *acc) };
    }
}

/// # Safety
/// As [`dot_f32`]; run lengths are multiples of four.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn dot_u8i8<const P: usize, const G: usize>(dot: Dot<'_, u8, i8>, first: usize, out: &mut [f32]) {
    let mut acc = [[_mm512_setzero_si512(); G]; P];
    let mut w = dot.weights.as_ptr();
    let base = dot.starts::<P>(first);
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
    let out = &mut out[first * G * LANES..][..P * G * LANES];
    for (i, acc) in acc.as_flattened().iter().enumerate() {
        // SAFETY: `out` has `P * G * LANES` elements.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(i * LANES), _mm512_cvtepi32_ps(*acc)) };
    }
}

pub(super) fn run(program: &Program, env: &mut Env<'_>) {
    assert!(super::Isa::available().contains(&super::Isa::Avx512Vnni));
    interpret::<Avx512>(program, env);
}
