//! Where sums go: into registers of an element-wise program, or to results at once.
//!
//! These are functions of their own: what they do to single pixels would keep the sums of a tile from staying in registers before.

use std::arch::x86_64::*;

use super::super::{
    Ending, LANES, Memory, QUAD,
    ending::{Scale, Then},
};

/// What is done with the sums of a tile.
pub(super) enum Finish<'a> {
    /// Kept, `width` elements a pixel; there is room for whole tiles.
    Sums { out: &'a mut [f32], width: usize },
    /// Ended; no lane without a channel is stored, no pixel that is not there.
    End { ending: Ending<'a>, to: Memory<'a> },
}

/// Adding and subtracting it rounds to the nearest whole number, ties to even (1.5 · 2²³).
const ROUND: f32 = 12_582_912.;

/// Ends the sums of a tile by vector groups.
///
/// # Safety
/// The machine has the features; there is room for the results of so many `pixels`, and scales and shifts for `G * LANES` channels, as
/// `Ending::check` asserts.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
pub(super) unsafe fn end_groups<const P: usize, const G: usize>(
    sums: &[[__m512; G]; P],
    first: usize,
    pixels: usize,
    ending: &Ending<'_>,
    to: &mut Memory<'_>,
) {
    let there = first..pixels.min(first + P);
    let masks: [u16; G] = std::array::from_fn(|g| lanes(ending.channels, g * LANES, LANES));
    let (mut scale, mut shift) = ([_mm512_setzero_ps(); G], [_mm512_setzero_ps(); G]);
    for g in 0..G {
        // SAFETY: as asked for.
        unsafe {
            shift[g] = _mm512_loadu_ps(ending.shift.as_ptr().add(g * LANES));
            scale[g] = match ending.scale {
                Scale::All(scale) => _mm512_set1_ps(scale),
                Scale::Lanes(scales) => _mm512_loadu_ps(scales.as_ptr().add(g * LANES)),
            };
        }
    }
    match (to, ending.then) {
        (Memory::F32(to), Then::Bounds(low, high)) => {
            let (low, high) = (_mm512_set1_ps(low), _mm512_set1_ps(high));
            for (sums, pixel) in sums.iter().zip(there) {
                let start = ending.start(pixel);
                for g in 0..G {
                    let y = _mm512_add_ps(_mm512_mul_ps(sums[g], scale[g]), shift[g]);
                    // The second operand is what comes of NaN.
                    let y = _mm512_min_ps(high, _mm512_max_ps(low, y));
                    // SAFETY: lanes with a channel are inside `to`.
                    unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr().wrapping_add(start + g * LANES), masks[g], y) };
                }
            }
        }
        (Memory::U8(to), Then::Bytes { inverse, zero_point }) => {
            let (low, high) = (_mm512_set1_ps(-zero_point), _mm512_set1_ps(255. - zero_point));
            let (inverse, zero, round) = (_mm512_set1_ps(inverse), _mm512_set1_ps(zero_point), _mm512_set1_ps(ROUND));
            for (sums, pixel) in sums.iter().zip(there) {
                let start = ending.start(pixel);
                for g in 0..G {
                    let y = _mm512_add_ps(_mm512_mul_ps(sums[g], scale[g]), shift[g]);
                    let y = _mm512_min_ps(high, _mm512_max_ps(low, _mm512_mul_ps(y, inverse)));
                    let y = _mm512_add_ps(_mm512_sub_ps(_mm512_add_ps(y, round), round), zero);
                    let y = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(y));
                    let to = to.as_mut_ptr().wrapping_add(start + g * LANES);
                    // SAFETY: as above.
                    unsafe {
                        if masks[g] == u16::MAX {
                            _mm_storeu_si128(to.cast(), y);
                        } else {
                            _mm_mask_storeu_epi8(to.cast(), masks[g], y);
                        }
                    }
                }
            }
        }
        _ => unreachable!("bytes go into bytes, floats into floats"),
    }
}

impl Finish<'_> {
    /// Takes the sums of so many pixels from `first` on, `C` quads each, four quads to a vector.
    ///
    /// # Safety
    /// The machine has the features; there is room for the results of these pixels, and scales and shifts for all quads, as
    /// `Quads::check` and `Ending::check` assert.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    pub(super) unsafe fn quads<const C: usize>(&mut self, sums: &[__m512], first: usize, pixels: usize) {
        let quads: &[[f32; QUAD]] = {
            // SAFETY: a vector is sixteen f32.
            unsafe { std::slice::from_raw_parts(sums.as_ptr().cast(), sums.len() * 4) }
        };
        for (pixel, quads) in (first..first + pixels).zip(quads.chunks_exact(C)) {
            for (quad, sums) in quads.iter().enumerate() {
                // SAFETY: four f32 are a vector; else as asked for.
                unsafe { self.quad(_mm_loadu_ps(sums.as_ptr()), pixel, quad) };
            }
        }
    }

    /// Takes the sums of a pixel's quad.
    ///
    /// # Safety
    /// As [`Finish::quads`], for that pixel and quad.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    unsafe fn quad(&mut self, sums: __m128, pixel: usize, quad: usize) {
        match self {
            // SAFETY: as asked for.
            Self::Sums { out, width } => unsafe {
                _mm_storeu_ps(out.as_mut_ptr().add(pixel * *width + quad * QUAD), sums);
            },
            Self::End { ending, to } => {
                let mask = lanes(ending.channels, quad * QUAD, QUAD);
                // SAFETY: as asked for.
                let shift = unsafe { _mm_loadu_ps(ending.shift.as_ptr().add(quad * QUAD)) };
                let scale = match ending.scale {
                    Scale::All(scale) => _mm_set1_ps(scale),
                    // SAFETY: as asked for.
                    Scale::Lanes(scales) => unsafe { _mm_loadu_ps(scales.as_ptr().add(quad * QUAD)) },
                };
                let start = ending.start(pixel) + quad * QUAD;
                let y = _mm_add_ps(_mm_mul_ps(sums, scale), shift);
                match (to, ending.then) {
                    (Memory::F32(to), Then::Bounds(low, high)) => {
                        let y = _mm_min_ps(_mm_set1_ps(high), _mm_max_ps(_mm_set1_ps(low), y));
                        // SAFETY: lanes with a channel are inside `to`.
                        unsafe { _mm_mask_storeu_ps(to.as_mut_ptr().wrapping_add(start), mask as u8, y) };
                    }
                    (Memory::U8(to), Then::Bytes { inverse, zero_point }) => {
                        let (low, high) = (_mm_set1_ps(-zero_point), _mm_set1_ps(255. - zero_point));
                        let y = _mm_min_ps(high, _mm_max_ps(low, _mm_mul_ps(y, _mm_set1_ps(inverse))));
                        let y = _mm_sub_ps(_mm_add_ps(y, _mm_set1_ps(ROUND)), _mm_set1_ps(ROUND));
                        let y = _mm_cvtepi32_epi8(_mm_cvtps_epi32(_mm_add_ps(y, _mm_set1_ps(zero_point))));
                        // SAFETY: as above.
                        unsafe { _mm_mask_storeu_epi8(to.as_mut_ptr().wrapping_add(start).cast(), mask, y) };
                    }
                    _ => unreachable!("bytes go into bytes, floats into floats"),
                }
            }
        }
    }
}

/// Of `width` lanes from `first` on a bit for each that has a channel.
#[inline(always)]
fn lanes(channels: usize, first: usize, width: usize) -> u16 {
    ((1u32 << channels.saturating_sub(first).min(width)) - 1) as u16
}
