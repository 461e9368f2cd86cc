//! Random small models for the differential tests: proptest draws a list of [`Piece`]s, [`build`] wires those that fit one after the
//! other. What does not fit the value that is there is passed over, so that shrinking only ever removes pieces.

use proptest::prelude::*;
use tract_core::{
    internal::*,
    ops::{
        array::{Pad, PadMode, Slice, TypedConcat},
        cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec, SumPool},
        einsum::EinSum,
        element_wise::ElementWiseOp,
        math::{self, Abs, Erf, Exp, Neg, Square, Tanh},
        nn::{DataFormat, GeluExact, HardSwish, LeakyRelu, Reduce, Reducer, Sigmoid, Silu, Softmax, SoftmaxKind},
        quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8},
    },
};

/// Elements beyond which no value grows.
const LARGEST: usize = 20_000;

/// Seeded numbers (xorshift).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 20
    }

    /// Uniform in −1 … 1.
    pub(crate) fn float(&mut self) -> f32 {
        (self.next() % 20_001) as f32 / 10_000. - 1.
    }

    /// Uniform in −127 … 127.
    pub(crate) fn whole(&mut self) -> f32 {
        (self.next() % 255) as f32 - 127.
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Grouping {
    None,
    Depthwise,
    /// As many groups as divide the channels.
    Groups(usize),
}

/// A window; what does not fit its input is made smaller.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) before: [usize; 2],
    pub(crate) after: [usize; 2],
    /// NHWC.
    pub(crate) channels_last: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Broadcast {
    /// Axes for which the other operand has size 1, by bits.
    Constant(u8),
    /// The same, computed from the value itself by a maximum over these axes.
    Reduced(u8),
    /// An earlier value of the same shape.
    Earlier,
}

/// How bytes are quantized.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes {
    pub(crate) signed: bool,
    /// Quarters of the range.
    pub(crate) zero_point: u8,
}

#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Conv {
        window: Window,
        outputs: usize,
        grouping: Grouping,
    },
    MatMul {
        columns: usize,
        axis: usize,
        last: bool,
    },
    MaxPool(Window),
    AveragePool {
        window: Window,
        include_pad: bool,
        normalize: bool,
    },
    Reduce {
        reducer: usize,
        axes: u8,
    },
    Binary {
        f: usize,
        with: Broadcast,
        flipped: bool,
    },
    Unary(usize),
    Softmax(usize),
    Concat {
        axis: usize,
        constant: bool,
    },
    Slice {
        axis: usize,
        start: usize,
        len: usize,
    },
    Pad {
        axis: usize,
        before: usize,
        after: usize,
    },
    Move {
        from: usize,
        to: usize,
    },
    Reshape {
        split: usize,
    },
    /// Quantize and dequantize.
    Bytes(Bytes),
}

pub(crate) fn window() -> impl Strategy<Value = Window> {
    let two = |range: std::ops::Range<usize>| [range.clone(), range];
    (two(1..5), two(1..4), two(1..4), two(0..3), two(0..3), any::<bool>()).prop_map(
        |(kernel, stride, dilation, before, after, channels_last)| Window {
            kernel,
            stride,
            dilation,
            before,
            after,
            channels_last,
        },
    )
}

pub(crate) fn conv() -> impl Strategy<Value = Piece> {
    let grouping = prop_oneof![
        3 => Just(Grouping::None),
        2 => Just(Grouping::Depthwise),
        1 => (2usize..5).prop_map(Grouping::Groups)
    ];
    (window(), 1usize..40, grouping).prop_map(|(window, outputs, grouping)| Piece::Conv { window, outputs, grouping })
}

pub(crate) fn matmul() -> impl Strategy<Value = Piece> {
    (1usize..80, 0usize..4, any::<bool>()).prop_map(|(columns, axis, last)| Piece::MatMul { columns, axis, last })
}

/// Pieces that hardly round: all but sums, and functions that are 1-Lipschitz.
pub(crate) fn float_piece() -> impl Strategy<Value = Piece> {
    let with = prop_oneof![
        any::<u8>().prop_map(Broadcast::Constant),
        any::<u8>().prop_map(Broadcast::Reduced),
        Just(Broadcast::Earlier),
        Just(Broadcast::Earlier),
    ];
    prop_oneof![
        4 => conv(),
        2 => matmul(),
        1 => window().prop_map(Piece::MaxPool),
        1 => (window(), any::<bool>(), any::<bool>())
            .prop_map(|(window, include_pad, normalize)| Piece::AveragePool { window, include_pad, normalize }),
        1 => (0usize..4, any::<u8>()).prop_map(|(reducer, axes)| Piece::Reduce { reducer, axes }),
        4 => (0usize..6, with, any::<bool>()).prop_map(|(f, with, flipped)| Piece::Binary { f, with, flipped }),
        3 => (0usize..10).prop_map(Piece::Unary),
        1 => (0usize..4).prop_map(Piece::Softmax),
        1 => (0usize..4, any::<bool>()).prop_map(|(axis, constant)| Piece::Concat { axis, constant }),
        1 => (0usize..4, 0usize..5, 1usize..9).prop_map(|(axis, start, len)| Piece::Slice { axis, start, len }),
        1 => (0usize..4, 0usize..3, 0usize..3).prop_map(|(axis, before, after)| Piece::Pad { axis, before, after }),
        2 => (0usize..4, 0usize..4).prop_map(|(from, to)| Piece::Move { from, to }),
        1 => (0usize..4).prop_map(|split| Piece::Reshape { split }),
    ]
}

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    (any::<bool>(), 0u8..5).prop_map(|(signed, zero_point)| Bytes { signed, zero_point })
}

/// Batch, channels and two sizes.
pub(crate) fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        (1usize..4, 1usize..40, 1usize..30).prop_map(|(n, c, w)| vec![n, c, w]),
        (1usize..4, 1usize..40, 1usize..9, 1usize..9).prop_map(|(n, c, h, w)| vec![n, c, h, w])
    ]
}

/// What the numbers of a model are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lattice {
    /// Any, such that values keep their size.
    None,
    /// Weights are whole numbers times a scale of each output channel; nothing else about them is special.
    Int8,
    /// As before, and every scale is a power of two and every sum fits 24 bits, so that no order of summation rounds.
    Exact,
}

pub(crate) struct Maker {
    model: TypedModel,
    numbers: Numbers,
    lattice: Lattice,
    names: usize,
    values: Vec<OutletId>,
}

/// The model of `pieces` on one input of `shape`; its outputs are the last value and `also` of those before.
pub(crate) fn build(shape: &[usize], pieces: &[Piece], seed: u64, lattice: Lattice, also: &[usize]) -> TypedModel {
    let mut model = TypedModel::default();
    let input = model.add_source("x", f32::fact(shape)).expect("a source");
    let mut maker = Maker { model, numbers: Numbers::new(seed), lattice, names: 0, values: vec![input] };
    for piece in pieces {
        if let Some(value) = maker.piece(piece)
            && maker.shape(value).iter().product::<usize>() <= LARGEST
        {
            maker.values.push(value);
        }
    }
    let mut outputs = vec![*maker.values.last().expect("the input is there")];
    for i in also {
        let value = maker.values[i % maker.values.len()];
        if value != input && !outputs.contains(&value) {
            outputs.push(value);
        }
    }
    maker.model.select_output_outlets(&outputs).expect("outputs");
    maker.model
}

impl Maker {
    fn shape(&self, value: OutletId) -> Vec<usize> {
        let fact = self.model.outlet_fact(value).expect("a fact");
        fact.shape.as_concrete().expect("shapes are concrete").to_vec()
    }

    fn wire(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> OutletId {
        self.names += 1;
        self.model.wire_node(format!("n{}", self.names), op, inputs).expect("pieces fit")[0]
    }

    fn constant(&mut self, shape: &[usize], values: &[f32]) -> OutletId {
        self.names += 1;
        let tensor = Tensor::from_shape(shape, values).expect("as many values");
        self.model.add_const(format!("c{}", self.names), tensor).expect("a constant")
    }

    /// `[outputs][depth]` weights of a sum over `depth`.
    fn weights(&mut self, outputs: usize, depth: usize) -> Vec<f32> {
        let mut weights = Vec::new();
        for _ in 0..outputs {
            let scale = match self.lattice {
                Lattice::None => 2. / (depth as f32).sqrt(),
                Lattice::Int8 => (1.1 + self.numbers.float()) / 127. / (depth as f32).sqrt(),
                Lattice::Exact => 2f32.powi(-9 - (self.numbers.next() % 4) as i32),
            };
            for _ in 0..depth {
                let number = if self.lattice == Lattice::None { self.numbers.float() } else { self.numbers.whole() };
                weights.push(number * scale);
            }
        }
        weights
    }

    fn bias(&mut self, outputs: usize) -> Vec<f32> {
        let fine = self.lattice == Lattice::Exact;
        (0..outputs).map(|_| if fine { self.numbers.whole() / 64. } else { self.numbers.float() }).collect()
    }

    fn pool_spec(&self, w: &Window, x: OutletId, outputs: Option<usize>) -> Option<(PoolSpec, usize)> {
        let shape = self.shape(x);
        let n = shape.len().checked_sub(2).filter(|n| (1..=2).contains(n))?;
        let format = if w.channels_last { DataFormat::NHWC } else { DataFormat::NCHW };
        let channels = if w.channels_last { shape[n + 1] } else { shape[1] };
        let space = if w.channels_last { &shape[1..=n] } else { &shape[2..] };
        let (mut kernel, mut before, mut after): (TVec<usize>, TVec<usize>, TVec<usize>) = Default::default();
        for i in 0..n {
            let room = space[i] + w.before[i] + w.after[i];
            let k = w.kernel[i].min((room - 1) / w.dilation[i] + 1);
            kernel.push(k);
            // tract's pools know no window that lies in the padding alone.
            let fits = outputs.is_some() || (w.dilation[i] == 1 && k > w.before[i].max(w.after[i]));
            before.push(if fits { w.before[i] } else { 0 });
            after.push(if fits { w.after[i] } else { 0 });
            if !fits {
                kernel[i] = w.kernel[i].min((space[i] - 1) / w.dilation[i] + 1);
            }
        }
        let spec = PoolSpec {
            data_format: format,
            kernel_shape: kernel,
            padding: PaddingSpec::Explicit(before, after),
            dilations: Some(w.dilation[..n].into()),
            strides: Some(w.stride[..n].into()),
            input_channels: channels,
            output_channels: outputs.unwrap_or(channels),
        };
        Some((spec, channels))
    }

    fn axes(&self, x: OutletId, bits: u8) -> TVec<usize> {
        (0..self.shape(x).len()).filter(|a| bits >> a & 1 == 1).collect()
    }

    /// `None` where the piece does not fit.
    fn piece(&mut self, piece: &Piece) -> Option<OutletId> {
        let x = *self.values.last().expect("the input is there");
        let shape = self.shape(x);
        let rank = shape.len();
        match piece {
            Piece::Conv { window, outputs, grouping } => {
                let (spec, channels) = self.pool_spec(window, x, Some(*outputs))?;
                let (group, outputs) = match grouping {
                    Grouping::None => (1, *outputs),
                    Grouping::Depthwise => (channels, channels),
                    Grouping::Groups(n) if channels % n == 0 => (*n, outputs.div_ceil(*n) * n),
                    Grouping::Groups(_) => return None,
                };
                let spec = PoolSpec { output_channels: outputs, ..spec };
                let inputs = channels / group;
                let taps: usize = spec.kernel_shape.iter().product();
                let weights = self.weights(outputs, inputs * taps);
                let kernel_shape = [&[outputs, inputs][..], &spec.kernel_shape].concat();
                let kernel = self.constant(&kernel_shape, &weights);
                let bias = self.bias(outputs);
                let bias = self.constant(&[outputs], &bias);
                let conv = Conv { pool_spec: spec, kernel_fmt: KernelFormat::OIHW, group, q_params: None };
                Some(self.wire(conv, &[x, kernel, bias]))
            }
            Piece::MatMul { columns, axis, last } => {
                let axis = axis % rank;
                let depth = shape[axis];
                let rows = self.weights(*columns, depth);
                let weights: Vec<f32> = (0..depth)
                    .flat_map(|i| (0..*columns).map(move |j| (i, j)))
                    .map(|(i, j)| rows[j * depth + i])
                    .collect();
                let w = self.constant(&[depth, *columns], &weights);
                let letters: Vec<char> = "abcdef".chars().take(rank).collect();
                let mut out: Vec<char> = letters.clone();
                if *last {
                    out.remove(axis);
                    out.push('n');
                } else {
                    out[axis] = 'n';
                }
                let text = |letters: &[char]| letters.iter().collect::<String>();
                let axes = format!("{},{}n->{}", text(&letters), letters[axis], text(&out));
                let axes: AxesMapping = axes.parse().expect("an expression");
                Some(self.wire(EinSum::new(axes, f32::datum_type()), &[x, w]))
            }
            Piece::MaxPool(window) => {
                let (pool_spec, _) = self.pool_spec(window, x, None)?;
                Some(self.wire(MaxPool { pool_spec, with_index_outputs: None }, &[x]))
            }
            Piece::AveragePool { window, include_pad, normalize } => {
                let (pool_spec, _) = self.pool_spec(window, x, None)?;
                Some(self.wire(SumPool { pool_spec, count_include_pad: *include_pad, normalize: *normalize }, &[x]))
            }
            Piece::Reduce { reducer, axes } => {
                let axes = self.axes(x, *axes);
                let reducer = [Reducer::Max, Reducer::Min, Reducer::Sum, Reducer::MeanOfSquares][*reducer];
                (!axes.is_empty()).then(|| self.wire(Reduce { axes, reducer }, &[x]))
            }
            Piece::Binary { f, with, flipped } => {
                let other = match with {
                    Broadcast::Constant(ones) => {
                        let one = |(a, d): (usize, &usize)| if ones >> a & 1 == 1 { 1 } else { *d };
                        let shape: Vec<usize> = shape.iter().enumerate().map(one).collect();
                        let n = shape.iter().product();
                        // Away from zero, as it may divide.
                        let values: Vec<f32> =
                            (0..n).map(|_| self.numbers.float()).map(|x| x + 1.5f32.copysign(x)).collect();
                        self.constant(&shape, &values)
                    }
                    Broadcast::Reduced(axes) => {
                        let axes = self.axes(x, *axes);
                        if axes.is_empty() {
                            return None;
                        }
                        self.wire(Reduce { axes, reducer: Reducer::Max }, &[x])
                    }
                    Broadcast::Earlier => {
                        let same: Vec<OutletId> =
                            self.values.iter().copied().filter(|v| *v != x && self.shape(*v) == shape).collect();
                        *same.get(self.numbers.next() as usize % same.len().max(1))?
                    }
                };
                let op = match f {
                    0 => math::add(),
                    1 => math::sub(),
                    2 => math::max(),
                    3 => math::min(),
                    4 => math::mul(),
                    _ if matches!(with, Broadcast::Constant(_)) && !flipped => math::div(),
                    _ => math::add(),
                };
                let inputs = if *flipped { [other, x] } else { [x, other] };
                Some(self.wire(op, &inputs))
            }
            Piece::Unary(f) => {
                let op: Box<dyn ElementWiseMiniOp> = match f {
                    0 => Box::new(Abs {}),
                    1 => Box::new(Neg {}),
                    2 => Box::new(Tanh {}),
                    3 => Box::new(Sigmoid {}),
                    4 => Box::new(LeakyRelu { alpha: 0.1 }),
                    5 => Box::new(HardSwish {}),
                    6 => Box::new(Silu {}),
                    7 => Box::new(Erf {}),
                    8 => Box::new(GeluExact {}),
                    _ => {
                        // e^-x² keeps values small.
                        let square = self.wire(ElementWiseOp(Box::new(Square {}), None), &[x]);
                        let negative = self.wire(ElementWiseOp(Box::new(Neg {}), None), &[square]);
                        return Some(self.wire(ElementWiseOp(Box::new(Exp {}), None), &[negative]));
                    }
                };
                Some(self.wire(ElementWiseOp(op, None), &[x]))
            }
            Piece::Softmax(axis) => {
                let op = Softmax::new(tvec![axis % rank], None, SoftmaxKind::Softmax);
                Some(self.wire(op, &[x]))
            }
            Piece::Concat { axis, constant } => {
                let axis = axis % rank;
                let fits = |v: &OutletId| {
                    let other = self.shape(*v);
                    other.len() == rank && (0..rank).all(|a| a == axis || other[a] == shape[a])
                };
                let mut parts: Vec<OutletId> = self.values.iter().copied().filter(fits).take(3).collect();
                if *constant {
                    let mut other = shape.clone();
                    other[axis] = 2;
                    let values = self.bias(other.iter().product());
                    parts.push(self.constant(&other, &values));
                }
                Some(self.wire(TypedConcat { axis }, &parts))
            }
            Piece::Slice { axis, start, len } => {
                let axis = axis % rank;
                let start = start % shape[axis];
                let end = (start + len).min(shape[axis]);
                Some(self.wire(Slice::new(axis, start, end), &[x]))
            }
            Piece::Pad { axis, before, after } => {
                let mut pads = vec![(0, 0); rank];
                pads[axis % rank] = (*before, *after);
                Some(self.wire(Pad { pads, mode: PadMode::Constant(rctensor0(0.5f32)) }, &[x]))
            }
            Piece::Move { from, to } => {
                let (from, to) = (from % rank, to % rank);
                (from != to).then(|| self.wire(AxisOp::Move(from, to), &[x]))
            }
            Piece::Reshape { split } => {
                let axis = split % (rank - 1);
                let from: TVec<TDim> = shape[axis..axis + 2].iter().map(|d| d.to_dim()).collect();
                let to: TVec<TDim> = tvec![shape[axis + 1].to_dim(), shape[axis].to_dim()];
                Some(self.wire(AxisOp::Reshape(axis, from, to), &[x]))
            }
            Piece::Bytes(bytes) => {
                let scale = if self.lattice == Lattice::Exact { 2f32.powi(-5) } else { 0.023 };
                let quantized = self.quantize(*bytes, scale, x);
                let zero_point = zero_point(*bytes);
                Some(self.wire(DequantizeLinearF32 { scale, zero_point }, &[quantized]))
            }
        }
    }

    fn quantize(&mut self, bytes: Bytes, scale: f32, x: OutletId) -> OutletId {
        let (zero_point, scale) = (zero_point(bytes), 1. / scale);
        let op: Box<dyn ElementWiseMiniOp> = if bytes.signed {
            Box::new(QuantizeLinearI8 { scale, zero_point: zero_point as i8 })
        } else {
            Box::new(QuantizeLinearU8 { scale, zero_point: zero_point as u8 })
        };
        self.wire(ElementWiseOp(op, None), &[x])
    }
}

fn zero_point(bytes: Bytes) -> i32 {
    let unsigned = [0, 64, 128, 200, 255][usize::from(bytes.zero_point)];
    if bytes.signed { unsigned - 128 } else { unsigned }
}
