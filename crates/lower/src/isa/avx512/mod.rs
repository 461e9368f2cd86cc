//! AVX-512 with VNNI: sixteen lanes, 32 registers.
#![expect(unsafe_code, reason = "loads through pointers whose bounds `Dot::check` has asserted")]

mod finish;

use std::arch::x86_64::*;

use super::{Dot, Ending, Kernels, LANES, MAX_GROUPS, Memory, QUAD, Quads, TILE};
use crate::{
    program::{Env, Program, interpret},
    step::BlockLanes,
};
use finish::{Finish, Prepared};

pub(super) struct Avx512;

impl Kernels for Avx512 {
    compiled!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");

    #[inline(always)]
    fn dot_f32<const G: usize>(dot: Dot<'_, f32, f32>, out: &mut [f32]) {
        dot.check(G * LANES, most(G), out);
        // SAFETY: only steps get here, which are compiled with the features of the kernels; bounds were asserted.
        unsafe { groups::<f32, f32, G>(dot, &mut Finish::Sums { out, width: G * LANES }) }
    }

    #[inline(always)]
    fn dot_u8i8<const G: usize>(dot: Dot<'_, u8, i8>, out: &mut [f32]) {
        dot.check(G * LANES, most(G), out);
        dot.check_fours();
        // SAFETY: as above; runs are of whole fours, so that the last load of four bytes ends with its run.
        unsafe { groups::<u8, i8, G>(dot, &mut Finish::Sums { out, width: G * LANES }) }
    }

    #[inline(always)]
    fn quads_f32(dot: Dot<'_, f32, f32>, tile: Quads, out: &mut [f32]) {
        dot.check_quads(tile.quads);
        tile.check(dot.base.len(), out);
        // SAFETY: as above.
        unsafe { quads(dot, tile.quads, &mut Finish::Sums { out, width: tile.width }) }
    }

    #[inline(always)]
    fn quads_u8i8(dot: Dot<'_, u8, i8>, tile: Quads, out: &mut [f32]) {
        dot.check_quads(tile.quads);
        tile.check(dot.base.len(), out);
        dot.check_fours();
        // SAFETY: as above.
        unsafe { quads(dot, tile.quads, &mut Finish::Sums { out, width: tile.width }) }
    }

    const ENDS: bool = true;

    #[inline(always)]
    fn ended_f32(dot: Dot<'_, f32, f32>, lanes: BlockLanes, ending: Ending<'_>, memory: Memory<'_>) {
        // SAFETY: as above.
        unsafe { ended(dot, lanes, ending, memory) };
    }

    #[inline(always)]
    fn ended_u8i8(dot: Dot<'_, u8, i8>, lanes: BlockLanes, ending: Ending<'_>, memory: Memory<'_>) {
        dot.check_fours();
        // SAFETY: as above.
        unsafe { ended(dot, lanes, ending, memory) };
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

/// All pixels of a block, to its results.
///
/// # Safety
/// The machine has the features; runs of bytes are of whole fours.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn ended<X: Unit, W: Copy>(dot: Dot<'_, X, W>, lanes: BlockLanes, ending: Ending<'_>, memory: Memory<'_>) {
    let prepared = Prepared::new(ending, lanes.width(), dot.base.len(), &memory);
    let mut finish = Finish::End { ending: &prepared, memory };
    // SAFETY: bounds are asserted here and above.
    unsafe {
        match lanes {
            BlockLanes::Groups(groups) => {
                dot.check_weights(groups * LANES);
                match groups {
                    1 => self::groups::<X, W, 1>(dot, &mut finish),
                    2 => self::groups::<X, W, 2>(dot, &mut finish),
                    _ => self::groups::<X, W, MAX_GROUPS>(dot, &mut finish),
                }
            }
            BlockLanes::Quads(count) => {
                dot.check_quads(count);
                quads(dot, count, &mut finish);
            }
        }
    }
}

/// All pixels, tile by tile.
///
/// # Safety
/// The machine has the features; runs of bytes are of whole fours; bounds of `dot` and `finish` were checked for `G * LANES` channels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn groups<X: Unit, W: Copy, const G: usize>(dot: Dot<'_, X, W>, finish: &mut Finish<'_>) {
    let (pixels, most) = (dot.base.len(), most(G));
    for first in (0..pixels).step_by(most) {
        // SAFETY: as asked for.
        unsafe {
            match (pixels - first).min(most) {
                1 => groups_of::<X, W, 1, G>(dot, first, finish),
                2 => groups_of::<X, W, 2, G>(dot, first, finish),
                3 | 4 => groups_of::<X, W, 4, G>(dot, first, finish),
                _ => groups_of::<X, W, TILE, G>(dot, first, finish),
            }
        }
    }
}

/// A tile of up to `P` pixels: one unit of a pixel's window by a unit of the weights of all channels, at a time.
///
/// # Safety
/// As [`groups`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn groups_of<X: Unit, W: Copy, const P: usize, const G: usize>(
    dot: Dot<'_, X, W>,
    first: usize,
    finish: &mut Finish<'_>,
) {
    let mut acc = [[_mm512_setzero_si512(); G]; P];
    let mut w = dot.weights.as_ptr().cast::<i32>();
    let base = dot.starts::<P>(first).map(<*const X>::cast::<u8>);
    for run in dot.runs {
        let (mut at, end) = (run.offset * size_of::<X>(), (run.offset + run.len) * size_of::<X>());
        while at < end {
            // SAFETY: `w` advances by one row a unit, as many rows as there are units; `base[p] + at` lies inside `x`, and unaligned
            // reads are asked for as such.
            unsafe {
                let row: [__m512i; G] = std::array::from_fn(|g| _mm512_loadu_si512(w.add(g * LANES).cast()));
                for (acc, base) in acc.iter_mut().zip(base) {
                    let x = _mm512_set1_epi32(base.add(at).cast::<i32>().read_unaligned());
                    for (acc, row) in acc.iter_mut().zip(row) {
                        *acc = times::<X>(*acc, x, row);
                    }
                }
                w = w.add(G * LANES);
            }
            at += 4;
        }
    }
    let mut sums = [[_mm512_setzero_ps(); G]; P];
    for (sums, acc) in sums.as_flattened_mut().iter_mut().zip(acc.as_flattened()) {
        *sums = floats::<X>(*acc);
    }
    // SAFETY: as asked for.
    unsafe {
        match finish {
            Finish::Sums { out, width } => {
                for (i, sums) in sums.as_flattened().iter().enumerate() {
                    _mm512_storeu_ps(out.as_mut_ptr().add((first + i / G) * *width + i % G * LANES), *sums);
                }
            }
            Finish::End { ending, memory } => {
                let pixels = P.min(dot.base.len() - first);
                ending.end::<G>(sums.as_ptr().cast(), G * LANES, first, pixels, memory);
            }
        }
    }
}

/// Adds the products of units.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
fn times<X: Unit>(acc: __m512i, x: __m512i, w: __m512i) -> __m512i {
    if X::BYTES {
        return _mm512_dpbusd_epi32(acc, x, w);
    }
    let (x, w) = (_mm512_castsi512_ps(x), _mm512_castsi512_ps(w));
    _mm512_castps_si512(_mm512_fmadd_ps(x, w, _mm512_castsi512_ps(acc)))
}

/// Sums as f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
fn floats<X: Unit>(acc: __m512i) -> __m512 {
    if X::BYTES { _mm512_cvtepi32_ps(acc) } else { _mm512_castsi512_ps(acc) }
}

/// All pixels where channels go by quads: as many at a time as the registers hold with so many quads.
///
/// # Safety
/// As [`groups`], bounds checked for so many quads.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn quads<X: Unit, W: Copy>(dot: Dot<'_, X, W>, quads: usize, finish: &mut Finish<'_>) {
    let (pixels, most) = (dot.base.len(), if quads <= 3 { 8 } else { 4 });
    for first in (0..pixels).step_by(most) {
        // SAFETY: as asked for.
        unsafe {
            match (quads, pixels - first) {
                (1, ..=4) => quads_of::<X, W, 4, 1>(dot, first, finish),
                (1, _) => quads_of::<X, W, 8, 1>(dot, first, finish),
                (2, ..=4) => quads_of::<X, W, 4, 2>(dot, first, finish),
                (2, _) => quads_of::<X, W, 8, 2>(dot, first, finish),
                (3, ..=4) => quads_of::<X, W, 4, 3>(dot, first, finish),
                (3, _) => quads_of::<X, W, 8, 3>(dot, first, finish),
                (5, ..=2) => quads_of::<X, W, 2, 5>(dot, first, finish),
                (5, _) => quads_of::<X, W, 4, 5>(dot, first, finish),
                (6, ..=2) => quads_of::<X, W, 2, 6>(dot, first, finish),
                (6, _) => quads_of::<X, W, 4, 6>(dot, first, finish),
                (other, _) => unreachable!("{other} quads go by vector groups"),
            }
        }
    }
}

/// Four units of the window by the weights of four channels for them: a vector holds four partial sums of each channel, which are added
/// at the end. Nothing but loads and products in the loop, and no lane without a channel but in the last quad.
///
/// # Safety
/// As [`quads`] for `C` of them.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
unsafe fn quads_of<X: Unit, W: Copy, const P: usize, const C: usize>(
    dot: Dot<'_, X, W>,
    first: usize,
    finish: &mut Finish<'_>,
) {
    let size = size_of::<X>();
    let base = dot.starts::<P>(first).map(<*const X>::cast::<u8>);
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
    // Four sums of quads to a vector; as many vectors as are needed.
    let mut fours = [[_mm512_setzero_ps(); C]; P];
    for (fours, acc) in fours.as_flattened_mut().iter_mut().zip(acc.as_flattened().chunks(4)) {
        let mut sums = [_mm512_setzero_ps(); 4];
        for (sums, acc) in sums.iter_mut().zip(acc) {
            *sums = floats::<X>(*acc);
        }
        *fours = added(sums);
    }
    let pixels = P.min(dot.base.len() - first);
    match finish {
        Finish::Sums { out, width } => {
            for (i, sums) in fours.as_flattened()[..(P * C).div_ceil(4)].iter().enumerate() {
                let quarters = [
                    _mm512_castps512_ps128(*sums),
                    _mm512_extractf32x4_ps::<1>(*sums),
                    _mm512_extractf32x4_ps::<2>(*sums),
                    _mm512_extractf32x4_ps::<3>(*sums),
                ];
                for (quarter, i) in quarters.into_iter().zip(4 * i..) {
                    if i / C < pixels {
                        // SAFETY: `out` has `width` elements for each pixel.
                        unsafe {
                            let to = out.as_mut_ptr().add((first + i / C) * *width + i % C * QUAD);
                            _mm_storeu_ps(to, quarter);
                        }
                    }
                }
            }
        }
        Finish::End { ending, memory } => {
            let sums = fours.as_ptr().cast();
            // SAFETY: `fours` has four times as many elements as there are sums, so that whole vectors may be read; else as asked for.
            unsafe {
                if C * QUAD <= LANES {
                    ending.end::<1>(sums, C * QUAD, first, pixels, memory);
                } else {
                    ending.end::<2>(sums, C * QUAD, first, pixels, memory);
                }
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
            *acc = times::<X>(*acc, x, w);
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

pub(super) fn run(program: &Program, env: &mut Env<'_>) {
    assert!(super::Isa::available().contains(&super::Isa::Avx512Vnni));
    interpret::<Avx512>(program, env);
}
