//! How the sums of a block become results without going through memory, where an instruction set can do it.

use crate::step::Output;

/// What becomes of the sums of a block of channels: `then(codes(sum * scale + shift) + plus)`, every operation rounded for itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending<'a> {
    pub(crate) scale: Scale<'a>,
    /// One a lane of the block.
    pub(crate) shift: &'a [f32],
    /// Rounded to codes and taken back before anything is added.
    pub(crate) codes: Option<Codes>,
    /// Rows of `columns` channels, one after the other.
    pub(crate) plus: Option<&'a [f32]>,
    pub(crate) then: Then,
    /// The first channel of the block, and how many there are: lanes beyond them are not stored.
    pub(crate) channel: usize,
    pub(crate) channels: usize,
    /// Where rows of `columns` channels go.
    pub(crate) output: &'a Output,
    pub(crate) columns: usize,
    /// Bytes that are taken back, and where these rows go as well.
    pub(crate) also: Option<(Back, &'a Output)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Scale<'a> {
    All(f32),
    /// One a lane of the block.
    Lanes(&'a [f32]),
}

/// `clamp(round(x * inverse) + zero_point, 0, 255)`, and the values that these stand for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes {
    pub(crate) inverse: f32,
    pub(crate) zero_point: f32,
    pub(crate) back: Back,
}

/// `code * scale + shift`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Back {
    pub(crate) scale: f32,
    pub(crate) shift: f32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    /// f32 within bounds; NaN stays NaN.
    Bounds(f32, f32),
    /// `clamp(round(x * inverse) + zero_point, 0, 255)`, as bytes.
    Bytes { inverse: f32, zero_point: f32 },
}

/// The memory of the outputs.
#[derive(Debug)]
pub(crate) struct Memory<'a> {
    pub(crate) to: Elements<'a>,
    /// Of what is stored as well.
    pub(crate) also: &'a mut [f32],
}

#[derive(Debug)]
pub(crate) enum Elements<'a> {
    F32(&'a mut [f32]),
    U8(&'a mut [u8]),
}

impl Ending<'_> {
    /// Where the block's channels of a pixel go.
    #[inline(always)]
    pub(crate) fn start(&self, pixel: usize) -> usize {
        self.output.start(pixel, self.columns) + self.channel
    }

    /// Panics unless there are scales, shifts and terms for `lanes`, and room for the results of so many pixels: what loads and stores
    /// rest on.
    #[inline(always)]
    pub(crate) fn check(&self, lanes: usize, pixels: usize, memory: &Memory<'_>) {
        let scales = match self.scale {
            Scale::All(_) => lanes,
            Scale::Lanes(scales) => scales.len(),
        };
        assert!(self.channels <= lanes && lanes <= scales.min(self.shift.len()), "scales or shifts are missing");
        let room = match (&memory.to, self.then) {
            (Elements::F32(to), Then::Bounds(..)) => to.len(),
            (Elements::U8(to), Then::Bytes { .. }) => to.len(),
            _ => unreachable!("bytes go into bytes, floats into floats"),
        };
        let end = |start: usize| start + self.channel + self.channels;
        assert!(end(self.output.furthest(pixels, self.columns)) <= room, "results have no room");
        if let Some((_, output)) = self.also {
            assert!(end(output.furthest(pixels, self.columns)) <= memory.also.len(), "results have no room");
        }
        if let Some(plus) = self.plus {
            assert!(end(pixels.saturating_sub(1) * self.columns) <= plus.len(), "terms are missing");
        }
    }
}
