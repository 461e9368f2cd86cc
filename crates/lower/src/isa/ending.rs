//! How the sums of a block become results without going through memory, where an instruction set can do it.

use crate::step::Output;

/// What becomes of the sums of a block of channels: `then(sum * scale + shift)`, rounded twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending<'a> {
    pub(crate) scale: Scale<'a>,
    /// One a lane of the block.
    pub(crate) shift: &'a [f32],
    pub(crate) then: Then,
    /// The first channel of the block, and how many there are: lanes beyond them are not stored.
    pub(crate) channel: usize,
    pub(crate) channels: usize,
    /// Where rows of `columns` channels go.
    pub(crate) output: &'a Output,
    pub(crate) columns: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Scale<'a> {
    All(f32),
    /// One a lane of the block.
    Lanes(&'a [f32]),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    /// f32 within bounds; NaN stays NaN.
    Bounds(f32, f32),
    /// `clamp(round(x * inverse) + zero_point, 0, 255)`, as bytes.
    Bytes { inverse: f32, zero_point: f32 },
}

/// The memory of an output.
#[derive(Debug)]
pub(crate) enum Memory<'a> {
    F32(&'a mut [f32]),
    U8(&'a mut [u8]),
}

impl Ending<'_> {
    /// Where the block's channels of a pixel go.
    #[inline(always)]
    pub(crate) fn start(&self, pixel: usize) -> usize {
        self.output.start(pixel, self.columns) + self.channel
    }

    /// Panics unless there are scales and shifts for `lanes`, and room for the results of so many pixels: what stores rest on.
    #[inline(always)]
    pub(crate) fn check(&self, lanes: usize, pixels: usize, to: &Memory<'_>) {
        let scales = match self.scale {
            Scale::All(_) => lanes,
            Scale::Lanes(scales) => scales.len(),
        };
        assert!(self.channels <= lanes && lanes <= scales.min(self.shift.len()), "scales or shifts are missing");
        let room = match (to, self.then) {
            (Memory::F32(to), Then::Bounds(..)) => to.len(),
            (Memory::U8(to), Then::Bytes { .. }) => to.len(),
            _ => unreachable!("bytes go into bytes, floats into floats"),
        };
        let end = self.output.furthest(pixels, self.columns) + self.channel + self.channels;
        assert!(end <= room, "results have no room");
    }
}
