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
    /// How a Conv, Gemm or MatMul with a weight of this shape reads; `None` for forms that have no rows (stacks of matrices, hostile attributes).
    pub(crate) fn of(n: &NodeProto, weight: &[usize]) -> Option<Self> {
        if !node::is(n, "Conv") {
            return (weight.len() == 2).then_some(Self::Rows);
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
            "SAME_UPPER" => Pads::SameUpper,
            "SAME_LOWER" => Pads::SameLower,
            _ => return None,
        };
        let (strides, dilations) = (counts("strides", 1, axes)?, counts("dilations", 1, axes)?);
        (axes > 0 && !strides.contains(&0)).then_some(Self::Windows(Windows { kernel, strides, dilations, pads }))
    }

    /// Elements of one row, all groups together.
    pub(crate) fn width(&self, weight: &[usize], channels: usize, groups: usize) -> usize {
        match self {
            Self::Rows => weight.iter().product::<usize>() / channels.max(1),
            Self::Windows(_) => weight.iter().skip(1).product::<usize>() * groups,
        }
    }

    /// Number of positions of an output of this shape; `None` where it does not have so many channels.
    pub(crate) fn positions(&self, y: &[usize], channels: usize) -> Option<usize> {
        match self {
            Self::Rows => y.split_last().filter(|(last, _)| **last == channels).map(|(_, lead)| lead.iter().product()),
            Self::Windows(w) => {
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
            Self::Windows(w) => {
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
            Self::Windows(w) => w.input(values, x, y, position, out),
        }
    }

    /// Appends the output row of a position: one value a channel.
    pub(crate) fn output(&self, values: &[f32], y: &[usize], position: usize, out: &mut Vec<f32>) {
        match self {
            Self::Rows => {
                let width = y.last().copied().unwrap_or(0);
                out.extend_from_slice(values.get(position * width..(position + 1) * width).unwrap_or_default());
            }
            Self::Windows(_) => {
                let places: usize = y[2..].iter().product::<usize>().max(1);
                let (sample, place) = (position / places, position % places);
                let channel = |c: usize| values.get((sample * y[1] + c) * places + place).copied().unwrap_or(0.0);
                out.extend((0..y[1]).map(channel));
            }
        }
    }
}

impl Windows {
    fn input(&self, values: &[f32], x: &[usize], y: &[usize], position: usize, out: &mut Vec<f32>) {
        let (x_axes, y_axes) = (&x[2..], &y[2..]);
        let places: usize = y_axes.iter().product::<usize>().max(1);
        let (sample, mut rest) = (position / places, position % places);
        // First input coordinate of the window on each axis; negative in the padding.
        let mut origin = vec![0isize; y_axes.len()];
        for axis in (0..y_axes.len()).rev() {
            origin[axis] =
                ((rest % y_axes[axis]) * self.strides[axis]) as isize - self.begin(axis, x_axes, y_axes) as isize;
            rest /= y_axes[axis];
        }
        let taps: usize = self.kernel.iter().product();
        let mut offsets: Vec<Option<usize>> = Vec::with_capacity(taps);
        for tap in 0..taps {
            let (mut rest, mut offset, mut stride) = (tap, Some(0usize), 1);
            for axis in (0..self.kernel.len()).rev() {
                let at = origin[axis] + ((rest % self.kernel[axis]) * self.dilations[axis]) as isize;
                rest /= self.kernel[axis];
                let inside = usize::try_from(at).ok().filter(|&a| a < x_axes[axis]);
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
