//! An island as a graph of its own: the operators that steps can be made of, on concrete shapes.

use std::sync::Arc;

use crate::{
    program::Kind,
    step::{BinaryFn, ReduceFn, UnaryFn},
};

/// A node and its one value.
pub(crate) type Id = usize;

/// Spatial geometry of a convolution or pool; unused leading dimensions are 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) input: [usize; 3],
    pub(crate) output: [usize; 3],
    pub(crate) kernel: [usize; 3],
    pub(crate) stride: [usize; 3],
    pub(crate) dilation: [usize; 3],
    pub(crate) before: [usize; 3],
}

/// How a quantized input enters an inner product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quantization {
    pub(crate) scale: f32,
    pub(crate) zero_point: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    Input(usize),
    /// f32, row-major.
    Constant(Arc<Vec<f32>>),
    Conv {
        geometry: Geometry,
        group: usize,
        /// `[output channel][input channel of its group][kernel]`.
        weights: Arc<Vec<f32>>,
        bias: Vec<f32>,
        /// Logical axes of the input: images, channels, and space in order.
        axes: ConvAxes,
        /// The input is bytes.
        quantized: Option<Quantization>,
    },
    MatMul {
        /// Logical axis of the input that is summed over.
        axis: usize,
        /// `[summed][columns]`.
        weights: Arc<Vec<f32>>,
        columns: usize,
        /// For each axis of the result the input's axis, or `None` for the columns.
        map: Vec<Option<usize>>,
        quantized: Option<Quantization>,
    },
    Unary(UnaryFn),
    Binary(BinaryFn),
    /// `x * scale + shift`.
    Affine {
        scale: f32,
        shift: f32,
    },
    /// To bytes; an int8 result is kept with 128 added.
    Quantize {
        inverse: f32,
        zero_point: f32,
    },
    Dequantize(Quantization),
    MaxPool {
        geometry: Geometry,
        axes: ConvAxes,
    },
    SumPool {
        geometry: Geometry,
        axes: ConvAxes,
        normalize: bool,
        include_pad: bool,
        /// Padding after the input, where it counts.
        after: [usize; 3],
    },
    Reduce {
        f: ReduceFn,
        axes: Vec<usize>,
    },
    /// For each axis of the result the input's axis, or `None` for a new one of size 1. Axes that are left out have size 1.
    Relabel(Vec<Option<usize>>),
    Reshape,
    /// Elements before each axis; the rest of the shape is behind.
    Pad {
        before: Vec<usize>,
        value: f32,
    },
    /// Written out as reductions and element-wise nodes when it is pushed.
    Softmax {
        axes: Vec<usize>,
    },
    Slice {
        axis: usize,
        start: usize,
    },
    Concat {
        axis: usize,
    },
}

/// Where a convolution's axes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConvAxes {
    pub(crate) image: Option<usize>,
    pub(crate) channel: usize,
    pub(crate) space: Vec<usize>,
}

impl ConvAxes {
    /// Images, space, channels: how steps want their input.
    pub(crate) fn order(&self) -> Vec<usize> {
        self.image.into_iter().chain(self.space.iter().copied()).chain([self.channel]).collect()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Id>,
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    /// In topological order.
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Id>,
}

impl Graph {
    pub(crate) fn push(&mut self, op: Op, inputs: Vec<Id>, shape: Vec<usize>, kind: Kind) -> Id {
        if let Op::Softmax { axes } = op {
            return self.softmax(inputs[0], axes, shape);
        }
        self.nodes.push(Node { op, inputs, shape, kind });
        self.nodes.len() - 1
    }

    /// `exp(x − max) / Σ exp(x − max)` over `axes`.
    fn softmax(&mut self, x: Id, axes: Vec<usize>, shape: Vec<usize>) -> Id {
        let one = |(a, d): (usize, &usize)| if axes.contains(&a) { 1 } else { *d };
        let reduced: Vec<usize> = shape.iter().enumerate().map(one).collect();
        let (max, sum) = (ReduceFn::Max, ReduceFn::Sum);
        let max = self.push(Op::Reduce { f: max, axes: axes.clone() }, vec![x], reduced.clone(), Kind::F32);
        let shifted = self.push(Op::Binary(BinaryFn::Sub), vec![x, max], shape.clone(), Kind::F32);
        let exp = self.push(Op::Unary(UnaryFn::Exp), vec![shifted], shape.clone(), Kind::F32);
        let sum = self.push(Op::Reduce { f: sum, axes }, vec![exp], reduced.clone(), Kind::F32);
        let inverse = self.push(Op::Unary(UnaryFn::Recip), vec![sum], reduced, Kind::F32);
        self.push(Op::Binary(BinaryFn::Mul), vec![exp, inverse], shape, Kind::F32)
    }
}
