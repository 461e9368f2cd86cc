//! Where sums go: into registers of an element-wise program, or to results at once.
//!
//! Ending is a function of its own: what it does to single pixels would keep the sums of a tile from staying in registers before.

use std::arch::x86_64::*;

use super::super::{
    Ending, LANES, Memory,
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

/// Ends the sums of so many pixels from `first` on, `stride` apart, in `G` vectors each.
///
/// # Safety
/// The machine has the features; `sums` may be read `G` vectors behind the start of each pixel's; there is room for the results of these
/// pixels, and scales and shifts for `G * LANES` channels, as `Ending::check` asserts.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
pub(super) unsafe fn end<const G: usize>(
    sums: *const f32,
    stride: usize,
    first: usize,
    pixels: usize,
    ending: &Ending<'_>,
    to: &mut Memory<'_>,
) {
    let masks: [u16; G] = std::array::from_fn(|g| lanes(ending.channels, g * LANES));
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
            for p in 0..pixels {
                let start = ending.start(first + p);
                for g in 0..G {
                    // SAFETY: as asked for.
                    let x = unsafe { _mm512_loadu_ps(sums.add(p * stride + g * LANES)) };
                    let y = _mm512_add_ps(_mm512_mul_ps(x, scale[g]), shift[g]);
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
            for p in 0..pixels {
                let start = ending.start(first + p);
                for g in 0..G {
                    // SAFETY: as asked for.
                    let x = unsafe { _mm512_loadu_ps(sums.add(p * stride + g * LANES)) };
                    let y = _mm512_add_ps(_mm512_mul_ps(x, scale[g]), shift[g]);
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

/// Of a vector's lanes from channel `first` on a bit for each that has a channel.
#[inline(always)]
fn lanes(channels: usize, first: usize) -> u16 {
    ((1u32 << channels.saturating_sub(first).min(LANES)) - 1) as u16
}
