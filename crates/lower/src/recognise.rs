//! Which nodes of a tract model steps can be made of, and what they mean.

use std::collections::HashMap;
use std::sync::Arc;

use tract_core::{
    internal::*,
    ops::{
        array::{Pad, PadMode, Slice, TypedConcat},
        binary::TypedBinOp,
        cast::Cast,
        change_axes::AxisOp,
        cnn::{Conv, KernelFormat, MaxPool, PoolSpec, SumPool},
        einsum::EinSum,
        element_wise::ElementWiseOp,
        identity::Identity,
        math::{Abs, Erf, Exp, Neg, Recip, Rsqrt, Sqrt, Square, Tanh},
        nn::{DataFormat, GeluExact, HardSwish, LeakyRelu, Reduce, Reducer, Sigmoid, Silu, Softmax, SoftmaxKind},
        quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8},
    },
};

use crate::{
    graph::{ConvAxes, Geometry, Op, Quantization},
    program::Kind,
    step::{BinaryFn, ReduceFn, UnaryFn},
};

/// A node that steps can be made of, and the values that it reads at run time.
#[derive(Debug, Clone)]
pub(crate) struct Recognised {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<OutletId>,
}

/// Values that do not depend on the inputs, computed when they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    known: HashMap<OutletId, Option<Arc<Tensor>>>,
}

impl Constants {
    /// The constant value of an outlet, if it has one.
    pub(crate) fn get(&mut self, model: &TypedModel, outlet: OutletId) -> Option<Arc<Tensor>> {
        if let Some(known) = self.known.get(&outlet) {
            return known.clone();
        }
        let value = self.evaluate(model, outlet);
        self.known.insert(outlet, value.clone());
        value
    }

    fn evaluate(&mut self, model: &TypedModel, outlet: OutletId) -> Option<Arc<Tensor>> {
        if let Some(konst) = &model.outlet_fact(outlet).ok()?.konst {
            return Some(konst.clone());
        }
        let node = model.node(outlet.node);
        if node.inputs.is_empty() {
            return None;
        }
        let inputs = node.inputs.iter().map(|input| Some(self.get(model, *input)?.into_tvalue()));
        let inputs = inputs.collect::<Option<TVec<TValue>>>()?;
        let outputs = node.op.eval_out_of_plan(inputs).ok()??;
        Some(outputs.into_iter().nth(outlet.slot)?.into_arc_tensor())
    }
}

/// The concrete shape of a value that steps can hold (f32, u8 or i8).
pub(crate) fn shape_and_kind(model: &TypedModel, outlet: OutletId) -> Option<(Vec<usize>, Kind)> {
    let fact = model.outlet_fact(outlet).ok()?;
    let kind = match fact.datum_type {
        DatumType::F32 => Kind::F32,
        DatumType::U8 | DatumType::I8 => Kind::U8,
        _ => return None,
    };
    let shape = fact.shape.as_concrete()?.to_vec();
    let volume = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
    // Offsets of windows are kept in 32 bits.
    (fact.is_plain() && volume > 0 && volume < u32::MAX as usize / 8 && shape.len() <= 8).then_some((shape, kind))
}

/// What `node` is to us; `None` leaves it to tract.
pub(crate) fn recognise(model: &TypedModel, node: &TypedNode, constants: &mut Constants) -> Option<Recognised> {
    if node.outputs.len() != 1 {
        return None;
    }
    let outlet = OutletId::new(node.id, 0);
    let (shape, kind) = shape_and_kind(model, outlet)?;
    let first = *node.inputs.first()?;
    let (from, from_kind) = shape_and_kind(model, first)?;
    let float = kind == Kind::F32 && from_kind == Kind::F32;
    let one = |op: Op| Some(Recognised { op, inputs: vec![first] });
    if let Some(op) = node.op_as::<Conv>() {
        return if float { conv(model, node, op, &from, &shape, constants) } else { None };
    }
    if let Some(op) = node.op_as::<EinSum>() {
        return if float { matmul(model, node, op, constants) } else { None };
    }
    if let Some(op) = node.op_as::<TypedBinOp>()
        && op.0.name() == "Pow"
    {
        let exponent = floats(&*constants.get(model, node.inputs[1])?)?;
        let op = match exponent.as_slice() {
            [e] if *e == 2. => Op::Unary(UnaryFn::Square),
            [e] if *e == 0.5 => Op::Unary(UnaryFn::Sqrt),
            _ => return None,
        };
        return (float && from == shape).then(|| Recognised { op, inputs: vec![first] });
    }
    if let Some(op) = node.op_as::<TypedBinOp>() {
        let f = match op.0.name() {
            "Add" => BinaryFn::Add,
            "Sub" => BinaryFn::Sub,
            "Mul" => BinaryFn::Mul,
            "Div" => BinaryFn::Div,
            "Max" => BinaryFn::Max,
            "Min" => BinaryFn::Min,
            _ => return None,
        };
        let second = shape_and_kind(model, node.inputs[1])?;
        let fits = float && op.1.is_none() && second.1 == Kind::F32;
        let op = Op::Binary(f);
        return fits.then(|| Recognised { op, inputs: node.inputs.to_vec() });
    }
    if let Some(op) = node.op_as::<ElementWiseOp>() {
        let op = elementwise(op, float, from_kind)?;
        return one(op);
    }
    if let Some(op) = node.op_as::<DequantizeLinearF32>() {
        let biased = model.outlet_fact(first).ok()?.datum_type == DatumType::I8;
        let zero_point = op.zero_point as f32 + if biased { 128. } else { 0. };
        let op = Op::Dequantize(Quantization { scale: op.scale, zero_point });
        return (from_kind == Kind::U8).then_some(Recognised { op, inputs: vec![first] });
    }
    if let Some(op) = node.op_as::<MaxPool>() {
        let (geometry, axes, _) = geometry(&op.pool_spec, &from, &shape)?;
        let signed = model.outlet_fact(first).ok()?.datum_type == DatumType::I8;
        return (op.with_index_outputs.is_none() && !signed)
            .then_some(Recognised { op: Op::MaxPool { geometry, axes }, inputs: vec![first] });
    }
    if let Some(op) = node.op_as::<SumPool>() {
        let (geometry, axes, after) = geometry(&op.pool_spec, &from, &shape)?;
        let (normalize, include_pad) = (op.normalize, op.count_include_pad);
        let op = Op::SumPool { geometry, axes, normalize, include_pad, after };
        return float.then_some(Recognised { op, inputs: vec![first] });
    }
    if let Some(op) = node.op_as::<Reduce>() {
        let f = match op.reducer {
            Reducer::Max => ReduceFn::Max,
            Reducer::Min => ReduceFn::Min,
            Reducer::Sum => ReduceFn::Sum,
            Reducer::MeanOfSquares => ReduceFn::MeanOfSquares,
            _ => return None,
        };
        let op = Op::Reduce { f, axes: op.axes.to_vec() };
        return float.then_some(Recognised { op, inputs: vec![first] });
    }
    let same = node.op_is::<Identity>() || node.op_as::<Cast>().is_some_and(|c| c.to == DatumType::F32 && float);
    if same {
        return one(Op::Relabel((0..from.len()).map(Some).collect()));
    }
    if let Some(op) = node.op_as::<Softmax>() {
        let plain = matches!(op.kind, SoftmaxKind::Softmax) && op.quant_output_dt.is_none();
        return (float && plain)
            .then(|| Recognised { op: Op::Softmax { axes: op.axes.to_vec() }, inputs: vec![first] });
    }
    if let Some(op) = node.op_as::<Pad>() {
        let PadMode::Constant(value) = &op.mode else { return None };
        let value = value.cast_to_scalar::<f32>().ok()?;
        let before = op.pads.iter().map(|(before, _)| *before).collect();
        return float.then_some(Recognised { op: Op::Pad { before, value }, inputs: vec![first] });
    }
    if let Some(op) = node.op_as::<AxisOp>() {
        return one(relabel(op, from.len()));
    }
    if let Some(op) = node.op_as::<Slice>() {
        return one(Op::Slice { axis: op.axis, start: op.start.to_usize().ok()? });
    }
    if let Some(op) = node.op_as::<TypedConcat>() {
        let same = |i: &OutletId| shape_and_kind(model, *i).is_some_and(|(_, k)| k == kind);
        let constant = kind == Kind::U8 && node.inputs.iter().any(|i| constants.get(model, *i).is_some());
        let inputs = node.inputs.to_vec();
        return (inputs.iter().all(same) && !constant)
            .then_some(Recognised { op: Op::Concat { axis: op.axis }, inputs });
    }
    None
}

fn elementwise(op: &ElementWiseOp, float: bool, from: Kind) -> Option<Op> {
    let mini = &op.0;
    if let Some(op) = mini.downcast_ref::<QuantizeLinearU8>() {
        let zero_point = f32::from(op.zero_point);
        return (from == Kind::F32).then_some(Op::Quantize { inverse: op.scale, zero_point });
    }
    if let Some(op) = mini.downcast_ref::<QuantizeLinearI8>() {
        let zero_point = f32::from(op.zero_point) + 128.;
        return (from == Kind::F32).then_some(Op::Quantize { inverse: op.scale, zero_point });
    }
    if !float || op.1.is_some() {
        return None;
    }
    if mini.is::<Neg>() {
        return Some(Op::Affine { scale: -1., shift: 0. });
    }
    let f = if mini.is::<Abs>() {
        UnaryFn::Abs
    } else if mini.is::<Sqrt>() {
        UnaryFn::Sqrt
    } else if mini.is::<Rsqrt>() {
        UnaryFn::Rsqrt
    } else if mini.is::<Recip>() {
        UnaryFn::Recip
    } else if mini.is::<Square>() {
        UnaryFn::Square
    } else if mini.is::<Exp>() {
        UnaryFn::Exp
    } else if mini.is::<Tanh>() {
        UnaryFn::Tanh
    } else if mini.is::<Sigmoid>() {
        UnaryFn::Sigmoid
    } else if mini.is::<Silu>() {
        UnaryFn::Silu
    } else if mini.is::<Erf>() {
        UnaryFn::Erf
    } else if mini.is::<GeluExact>() {
        UnaryFn::Gelu
    } else if mini.is::<HardSwish>() {
        UnaryFn::HardSwish
    } else {
        UnaryFn::LeakyRelu(mini.downcast_ref::<LeakyRelu>()?.alpha)
    };
    Some(Op::Unary(f))
}

fn relabel(op: &AxisOp, rank: usize) -> Op {
    let mut map: Vec<Option<usize>> = (0..rank).map(Some).collect();
    match op {
        AxisOp::Add(at) => map.insert(*at, None),
        AxisOp::Rm(at) => drop(map.remove(*at)),
        AxisOp::Move(from, to) => {
            let axis = map.remove(*from);
            map.insert(*to, axis);
        }
        AxisOp::Reshape(..) => return Op::Reshape,
    }
    Op::Relabel(map)
}

fn axes_of(format: DataFormat, rank: usize) -> ConvAxes {
    let image = format.has_n().then_some(0);
    let first = usize::from(format.has_n());
    match format {
        DataFormat::NCHW | DataFormat::CHW => ConvAxes { image, channel: first, space: (first + 1..rank).collect() },
        DataFormat::NHWC | DataFormat::HWC => ConvAxes { image, channel: rank - 1, space: (first..rank - 1).collect() },
    }
}

/// Geometry, axes and padding behind the input.
fn geometry(spec: &PoolSpec, from: &[usize], to: &[usize]) -> Option<(Geometry, ConvAxes, [usize; 3])> {
    let axes = axes_of(spec.data_format, from.len());
    let n = axes.space.len();
    if n == 0 || n > 3 || to.len() != from.len() {
        return None;
    }
    let input: Vec<usize> = axes.space.iter().map(|a| from[*a]).collect();
    let padding = spec.computed_padding(&input);
    let wide = |one: &dyn Fn(usize) -> usize, fill: usize| {
        std::array::from_fn(|i| if i + n < 3 { fill } else { one(i + n - 3) })
    };
    let geometry = Geometry {
        input: wide(&|i| input[i], 1),
        output: wide(&|i| to[axes.space[i]], 1),
        kernel: wide(&|i| spec.kernel_shape[i], 1),
        stride: wide(&|i| spec.stride(i), 1),
        dilation: wide(&|i| spec.dilation(i), 1),
        before: wide(&|i| padding[i].pad_before, 0),
    };
    let fits = padding.iter().zip(&axes.space).all(|(p, a)| p.convoluted == to[*a]);
    fits.then_some((geometry, axes, wide(&|i| padding[i].pad_after, 0)))
}

fn conv(
    model: &TypedModel,
    node: &TypedNode,
    op: &Conv,
    from: &[usize],
    to: &[usize],
    constants: &mut Constants,
) -> Option<Recognised> {
    if op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW {
        return None;
    }
    let (geometry, axes, _) = geometry(&op.pool_spec, from, to)?;
    let weights = Arc::new(floats(&*constants.get(model, node.inputs[1])?)?);
    let outputs = op.output_channels();
    let bias = floats(&*constants.get(model, *node.inputs.get(2)?)?)?;
    let bias = match bias.len() {
        1 => vec![bias[0]; outputs],
        n if n == outputs => bias,
        _ => return None,
    };
    let expected = outputs * (op.input_channels() / op.group) * geometry.kernel.iter().product::<usize>();
    let whole = weights.len() == expected && outputs.is_multiple_of(op.group);
    let op = Op::Conv { geometry, group: op.group, weights, bias, axes, quantized: None };
    whole.then_some(Recognised { op, inputs: vec![node.inputs[0]] })
}

/// A product with one constant side: one axis summed over, one of the constant's own; all others are the input's.
fn matmul(model: &TypedModel, node: &TypedNode, op: &EinSum, constants: &mut Constants) -> Option<Recognised> {
    if op.q_params.is_some() || op.operating_dt != DatumType::F32 || node.inputs.len() != 2 {
        return None;
    }
    let side = (0..2).find(|i| constants.get(model, node.inputs[*i]).is_some())?;
    let (x, w) = (1 - side, side);
    let constant = constants.get(model, node.inputs[w])?;
    let (from, _) = shape_and_kind(model, node.inputs[x])?;
    let (to, _) = shape_and_kind(model, OutletId::new(node.id, 0))?;
    let mut summed = None;
    let mut own = None;
    let mut map = vec![None; to.len()];
    for axis in op.axes.iter_all_axes() {
        let (in_x, in_w, out) = (&axis.inputs[x], &axis.inputs[w], &axis.outputs[0]);
        match (in_x.as_slice(), in_w.as_slice(), out.as_slice()) {
            ([a], [b], []) if summed.is_none() => summed = Some((*a, *b)),
            ([], [b], [_]) if own.is_none() => own = Some(*b),
            ([a], [], [o]) => map[*o] = Some(*a),
            // An axis that both share: the constant is broadcast over it.
            ([a], [b], [o]) if constant.shape()[*b] == 1 && from[*a] == to[*o] => map[*o] = Some(*a),
            ([], [b], []) if constant.shape()[*b] == 1 => {}
            ([a], [], []) if from[*a] == 1 => {}
            _ => return None,
        }
    }
    let ((axis, k), n) = (summed?, own?);
    let array = constant.to_plain_array_view::<f32>().ok()?;
    let (depth, columns) = (constant.shape()[k], constant.shape()[n]);
    if map.iter().filter(|m| m.is_none()).count() != 1 || from[axis] != depth {
        return None;
    }
    let mut weights = Vec::with_capacity(depth * columns);
    let mut at = vec![0; constant.rank()];
    for i in 0..depth {
        for j in 0..columns {
            at[k] = i;
            at[n] = j;
            weights.push(array[at.as_slice()]);
        }
    }
    let weights = Arc::new(weights);
    let op = Op::MatMul { axis, weights, columns, map, quantized: None };
    Some(Recognised { op, inputs: vec![node.inputs[x]] })
}

/// The elements of an f32 tensor in row-major order.
pub(crate) fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    Some(tensor.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec())
}
