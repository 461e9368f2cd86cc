//! Where sums go: into registers of an element-wise program, or to results at once.

use std::arch::x86_64::*;

use super::super::{Back, Elements, Ending, LANES, MAX_GROUPS, Memory, Scale, Then};
use crate::step::Output;

/// What is done with the sums of a tile.
pub(super) enum Finish<'a> {
    /// Kept, `width` elements a pixel; there is room for whole tiles.
    Sums { out: &'a mut [f32], width: usize },
    /// Ended; no lane without a channel is stored, no pixel that is not there.
    End { ending: &'a Prepared<'a>, memory: Memory<'a> },
}

/// Adding and subtracting it rounds to the nearest whole number, ties to even (1.5 · 2²³).
const ROUND: f32 = 12_582_912.;

/// An ending whose constants are in vectors, and its stores.
pub(super) struct Prepared<'a> {
    ending: Ending<'a>,
    scale: [__m512; MAX_GROUPS],
    shift: [__m512; MAX_GROUPS],
    /// Of each vector a bit for each lane that has a channel.
    masks: [u16; MAX_GROUPS],
    codes: Option<(Rounding, Affine)>,
    then: Store,
    also: Option<(Affine, &'a Output)>,
}

enum Store {
    /// Within bounds.
    Floats(__m512, __m512),
    Bytes(Rounding),
}

impl<'a> Prepared<'a> {
    /// For blocks of so many lanes. Panics unless all that loads and stores of so many pixels rest on is there ([`Ending::check`]).
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    pub(super) fn new(ending: Ending<'a>, lanes: usize, pixels: usize, memory: &Memory<'_>) -> Self {
        ending.check(lanes, pixels, memory);
        let (mut scale, mut shift) = ([_mm512_setzero_ps(); MAX_GROUPS], [_mm512_setzero_ps(); MAX_GROUPS]);
        for (g, first) in (0..lanes).step_by(LANES).enumerate() {
            // SAFETY: there are constants for so many lanes, which are whole vectors.
            unsafe {
                shift[g] = _mm512_loadu_ps(ending.shift[first..][..LANES].as_ptr());
                scale[g] = match ending.scale {
                    Scale::All(scale) => _mm512_set1_ps(scale),
                    Scale::Lanes(scales) => _mm512_loadu_ps(scales[first..][..LANES].as_ptr()),
                };
            }
        }
        let masks = std::array::from_fn(|g| filled(ending.channels, g * LANES));
        let codes = ending.codes.map(|codes| (Rounding::new(codes.inverse, codes.zero_point), Affine::new(codes.back)));
        let then = match ending.then {
            Then::Bounds(low, high) => Store::Floats(_mm512_set1_ps(low), _mm512_set1_ps(high)),
            Then::Bytes { inverse, zero_point } => Store::Bytes(Rounding::new(inverse, zero_point)),
        };
        let also = ending.also.map(|(back, output)| (Affine::new(back), output));
        Self { ending, scale, shift, masks, codes, then, also }
    }

    /// Ends the sums of so many pixels from `first` on, `stride` apart, in `G` vectors each.
    ///
    /// # Safety
    /// The machine has the features; `sums` may be read `G` vectors behind the start of each pixel's; it was prepared for so many lanes,
    /// for these pixels and for this memory.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    pub(super) unsafe fn end<const G: usize>(
        &self,
        sums: *const f32,
        stride: usize,
        first: usize,
        pixels: usize,
        memory: &mut Memory<'_>,
    ) {
        let plain = self.codes.is_none() && self.ending.plus.is_none() && self.also.is_none();
        // SAFETY: as asked for.
        unsafe {
            if plain {
                self.end_of::<G, true>(sums, stride, first, pixels, memory);
            } else {
                self.end_of::<G, false>(sums, stride, first, pixels, memory);
            }
        }
    }

    /// A function of its own: what it does to single pixels would keep the sums of a tile from staying in registers before. `PLAIN` is
    /// whether sums are only scaled, shifted and bounded or rounded.
    ///
    /// # Safety
    /// As [`Prepared::end`].
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    unsafe fn end_of<const G: usize, const PLAIN: bool>(
        &self,
        sums: *const f32,
        stride: usize,
        first: usize,
        pixels: usize,
        memory: &mut Memory<'_>,
    ) {
        let ending = &self.ending;
        // SAFETY: as asked for.
        let value = |p: usize, g: usize| unsafe {
            let sums = _mm512_loadu_ps(sums.add(p * stride + g * LANES));
            let x = _mm512_add_ps(_mm512_mul_ps(sums, self.scale[g]), self.shift[g]);
            if PLAIN { x } else { self.between(x, first + p, g) }
        };
        match (&mut memory.to, &self.then) {
            (Elements::F32(to), Store::Floats(low, high)) => {
                for p in 0..pixels {
                    let start = ending.start(first + p);
                    for g in 0..G {
                        // The second operand is what comes of NaN.
                        let y = _mm512_min_ps(*high, _mm512_max_ps(*low, value(p, g)));
                        let to = to.as_mut_ptr().wrapping_add(start + g * LANES);
                        // SAFETY: lanes with a channel are inside `to`.
                        unsafe {
                            if self.masks[g] == u16::MAX {
                                _mm512_storeu_ps(to, y);
                            } else {
                                _mm512_mask_storeu_ps(to, self.masks[g], y);
                            }
                        }
                    }
                }
            }
            (Elements::U8(to), Store::Bytes(rounding)) => {
                for p in 0..pixels {
                    let start = ending.start(first + p);
                    for g in 0..G {
                        let y = rounding.codes(value(p, g));
                        if !PLAIN && let Some((back, output)) = &self.also {
                            let start = output.start(first + p, ending.columns) + ending.channel + g * LANES;
                            let also = memory.also.as_mut_ptr().wrapping_add(start);
                            // SAFETY: lanes with a channel are inside `also`.
                            unsafe { _mm512_mask_storeu_ps(also, self.masks[g], back.of(y)) };
                        }
                        let y = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(y));
                        let to = to.as_mut_ptr().wrapping_add(start + g * LANES);
                        // SAFETY: as above.
                        unsafe {
                            if self.masks[g] == u16::MAX {
                                _mm_storeu_si128(to.cast(), y);
                            } else {
                                _mm_mask_storeu_epi8(to.cast(), self.masks[g], y);
                            }
                        }
                    }
                }
            }
            _ => unreachable!("bytes go into bytes, floats into floats"),
        }
    }

    /// Rounds vector `g` of a pixel to codes and takes it back, and adds what is to be added.
    ///
    /// # Safety
    /// As [`Prepared::end`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    unsafe fn between(&self, mut x: __m512, pixel: usize, g: usize) -> __m512 {
        if let Some((rounding, back)) = &self.codes {
            x = back.of(rounding.codes(x));
        }
        if let Some(plus) = self.ending.plus {
            let at = pixel * self.ending.columns + self.ending.channel + g * LANES;
            // SAFETY: lanes with a channel are inside `plus`.
            x = _mm512_add_ps(x, unsafe { _mm512_maskz_loadu_ps(self.masks[g], plus.as_ptr().wrapping_add(at)) });
        }
        x
    }
}

/// `clamp(round(x * inverse) + zero_point, 0, 255)`, as f32.
struct Rounding {
    inverse: __m512,
    zero_point: __m512,
    low: __m512,
    high: __m512,
}

impl Rounding {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    fn new(inverse: f32, zero_point: f32) -> Self {
        let (low, high) = (_mm512_set1_ps(-zero_point), _mm512_set1_ps(255. - zero_point));
        Self { inverse: _mm512_set1_ps(inverse), zero_point: _mm512_set1_ps(zero_point), low, high }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    fn codes(&self, x: __m512) -> __m512 {
        let round = _mm512_set1_ps(ROUND);
        let x = _mm512_min_ps(self.high, _mm512_max_ps(self.low, _mm512_mul_ps(x, self.inverse)));
        _mm512_add_ps(_mm512_sub_ps(_mm512_add_ps(x, round), round), self.zero_point)
    }
}

/// `x * scale + shift`, rounded twice.
struct Affine {
    scale: __m512,
    shift: __m512,
}

impl Affine {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    fn new(back: Back) -> Self {
        Self { scale: _mm512_set1_ps(back.scale), shift: _mm512_set1_ps(back.shift) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
    fn of(&self, x: __m512) -> __m512 {
        _mm512_add_ps(_mm512_mul_ps(x, self.scale), self.shift)
    }
}

/// Of a vector's lanes from channel `first` on a bit for each that has a channel.
#[inline(always)]
fn filled(channels: usize, first: usize) -> u16 {
    ((1u32 << channels.saturating_sub(first).min(LANES)) - 1) as u16
}
