//! Which elements of its input each output position of a layer multiplies: im2col rows of picked positions, for convolutions of
//! any rank and for matrix products. Knows shapes and attributes, not samples.

use plimsoll_onnx::{attr, node, proto::NodeProto};

/// How a layer reads its input.
#[derive(Debug)]
pub(crate) enum Reading {
    /// The last axis is multiplied; every other axis counts positions.
    Rows,
    /// Windows slide over the axes behind batch and channels.
    Windows(Windows),
    /// Each input is spread over a window of the output; what adds up to an output position is its row. (One group.)
    Spread(Windows),
}

/// The geometry of a convolution.
#[derive(Debug)]
pub(crate) struct Windows {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Pads,
}

#[derive(Debug)]
enum Pads {
    Begins(Vec<usize>),
    SameUpper,
    SameLower,
}

impl Reading {
    /// How a Conv, ConvTranspose, Gemm or MatMul with a weight of this shape reads; `None` for forms that have no rows (stacks of
    /// several matrices, grouped transposed convolutions, hostile attributes).
    pub(crate) fn of(n: &NodeProto, weight: &[usize]) -> Option<Self> {
        let spreads = node::is(n, "ConvTranspose");
        if !spreads && !node::is(n, "Conv") {
            let (stack, matrix) = weight.split_at(weight.len().checked_sub(2)?);
            return (matrix.len() == 2 && stack.iter().all(|d| *d == 1)).then_some(Self::Rows);
        }
        if spreads && (attr::int(n, "group").unwrap_or(1) != 1 || attr::has(n, "output_shape")) {
            return None;
        }
        let kernel = weight.get(2..)?.to_vec();
        let axes = kernel.len();
        let counts = |name: &str, default: usize, length: usize| -> Option<Vec<usize>> {
            let Some(given) = attr::ints(n, name) else { return Some(vec![default; length]) };
            let given: Option<Vec<usize>> = given.iter().map(|&v| usize::try_from(v).ok()).collect();
            given.filter(|v| v.len() == length)
        };
        let pads = match attr::string(n, "auto_pad").unwrap_or("NOTSET") {
            "NOTSET" => Pads::Begins(counts("pads", 0, 2 * axes)?.get(..axes)?.to_vec()),
            "VALID" => Pads::Begins(vec![0; axes]),
            "SAME_UPPER" if !spreads => Pads::SameUpper,
            "SAME_LOWER" if !spreads => Pads::SameLower,
            _ => return None,
        };
        let (strides, dilations) = (counts("strides", 1, axes)?, counts("dilations", 1, axes)?);
        let windows = Windows { kernel, strides, dilations, pads };
        let reading = if spreads { Self::Spread(windows) } else { Self::Windows(windows) };
        (axes > 0 && !reading.strides().contains(&0)).then_some(reading)
    }

    fn strides(&self) -> &[usize] {
        match self {
            Self::Rows => &[],
            Self::Windows(w) | Self::Spread(w) => &w.strides,
        }
    }

    /// Elements of one row, all groups together.
    pub(crate) fn width(&self, weight: &[usize], channels: usize, groups: usize) -> usize {
        match self {
            Self::Rows => weight.iter().product::<usize>() / channels.max(1),
            Self::Windows(_) => weight.iter().skip(1).product::<usize>() * groups,
            Self::Spread(_) => weight.iter().product::<usize>() / channels.max(1),
        }
    }

    /// Number of positions of an output of this shape; `None` where it does not have so many channels.
    pub(crate) fn positions(&self, y: &[usize], channels: usize) -> Option<usize> {
        match self {
            Self::Rows => y.split_last().filter(|(last, _)| **last == channels).map(|(_, lead)| lead.iter().product()),
            Self::Windows(w) | Self::Spread(w) => {
                let fits = y.len() == w.kernel.len() + 2 && y[1] == channels;
                fits.then(|| y[0] * y[2..].iter().product::<usize>())
            }
        }
    }

    /// Whether an input of this shape belongs to an output of that one.
    pub(crate) fn fits(&self, x: &[usize], y: &[usize], width: usize) -> bool {
        match self {
            Self::Rows => {
                let rows = |shape: &[usize]| shape.split_last().map(|(_, lead)| lead.iter().product::<usize>());
                x.last() == Some(&width) && rows(x) == rows(y)
            }
            Self::Windows(w) | Self::Spread(w) => {
                x.len() == y.len() && x[0] == y[0] && x[1] * w.kernel.iter().product::<usize>() == width
            }
        }
    }

    /// Appends the input row of a position.
    pub(crate) fn input(&self, values: &[f32], x: &[usize], y: &[usize], position: usize, out: &mut Vec<f32>) {
        match self {
            Self::Rows => {
                let width = x.last().copied().unwrap_or(0);
                out.extend_from_slice(values.get(position * width..(position + 1) * width).unwrap_or_default());
            }
            Self::Windows(w) => w.input(values, x, y, position, |axis, out, tap| w.slid(axis, out, tap, x, y), out),
            Self::Spread(w) => w.input(values, x, y, position, |axis, out, tap| w.spread(axis, out, tap), out),
        }
    }

    /// Appends the output row of a position: one value a channel.
    pub(crate) fn output(&self, values: &[f32], y: &[usize], position: usize, out: &mut Vec<f32>) {
        match self {
            Self::Rows => {
                let width = y.last().copied().unwrap_or(0);
                out.extend_from_slice(values.get(position * width..(position + 1) * width).unwrap_or_default());
            }
            Self::Windows(_) | Self::Spread(_) => {
                let places: usize = y[2..].iter().product::<usize>().max(1);
                let (sample, place) = (position / places, position % places);
                let channel = |c: usize| values.get((sample * y[1] + c) * places + place).copied().unwrap_or(0.0);
                out.extend((0..y[1]).map(channel));
            }
        }
    }
}

impl Windows {
    /// Appends the inputs that a position multiplies: `at` gives the input coordinate on an axis for an output coordinate and a
    /// tap, where there is one.
    fn input(
        &self,
        values: &[f32],
        x: &[usize],
        y: &[usize],
        position: usize,
        at: impl Fn(usize, usize, usize) -> Option<usize>,
        out: &mut Vec<f32>,
    ) {
        let (x_axes, y_axes) = (&x[2..], &y[2..]);
        let places: usize = y_axes.iter().product::<usize>().max(1);
        let (sample, mut rest) = (position / places, position % places);
        let mut place = vec![0usize; y_axes.len()];
        for axis in (0..y_axes.len()).rev() {
            place[axis] = rest % y_axes[axis];
            rest /= y_axes[axis];
        }
        let taps: usize = self.kernel.iter().product();
        let mut offsets: Vec<Option<usize>> = Vec::with_capacity(taps);
        for tap in 0..taps {
            let (mut rest, mut offset, mut stride) = (tap, Some(0usize), 1);
            for axis in (0..self.kernel.len()).rev() {
                let inside = at(axis, place[axis], rest % self.kernel[axis]).filter(|&a| a < x_axes[axis]);
                rest /= self.kernel[axis];
                offset = offset.zip(inside).map(|(o, a)| o + a * stride);
                stride *= x_axes[axis];
            }
            offsets.push(offset);
        }
        let area: usize = x_axes.iter().product();
        for channel in 0..x[1] {
            let base = (sample * x[1] + channel) * area;
            let value = |o: &Option<usize>| o.and_then(|o| values.get(base + o).copied()).unwrap_or(0.0);
            out.extend(offsets.iter().map(value));
        }
    }

    /// The input coordinate under a tap of a window; `None` in the padding.
    fn slid(&self, axis: usize, out: usize, tap: usize, x: &[usize], y: &[usize]) -> Option<usize> {
        (out * self.strides[axis] + tap * self.dilations[axis]).checked_sub(self.begin(axis, &x[2..], &y[2..]))
    }

    /// The input coordinate whose tap falls on an output coordinate; `None` where it falls between two.
    fn spread(&self, axis: usize, out: usize, tap: usize) -> Option<usize> {
        let Pads::Begins(begins) = &self.pads else { return None };
        let from = (out + begins[axis]).checked_sub(tap * self.dilations[axis])?;
        (from % self.strides[axis] == 0).then(|| from / self.strides[axis])
    }

    fn begin(&self, axis: usize, x: &[usize], y: &[usize]) -> usize {
        let reach = (self.kernel[axis].saturating_sub(1)) * self.dilations[axis] + 1;
        let total = (y[axis].saturating_sub(1) * self.strides[axis] + reach).saturating_sub(x[axis]);
        match &self.pads {
            Pads::Begins(begins) => begins[axis],
            Pads::SameUpper => total / 2,
            Pads::SameLower => total - total / 2,
        }
    }
}
