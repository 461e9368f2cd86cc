//! Which step each operator becomes. One rule a family; what has none is refused. Knows operators and shapes, not numbers.

use plimsoll_onnx::{Tensor, attr, node, proto::NodeProto};

use super::{
    elementwise::{Binary, Lookup, Moves, Pairs, Unary},
    geometry::{Geometry, pool_members},
    linear::{Convolution, Product},
    tape::{Made, Op},
    windows::{BatchNorm, Gather, LayerNorm, Pool, Softmax},
};

/// An input of a node.
pub(super) struct Input {
    pub(super) given: bool,
    pub(super) shape: Vec<usize>,
    /// Its data, where it is constant.
    pub(super) data: Option<Tensor>,
}

/// The step of a node; why there is none.
pub(super) fn make(n: &NodeProto, inputs: &[Input], output: &[usize]) -> Result<Made, String> {
    let none = || format!("{} has no gradient here", n.op_type);
    if !node::is_default_domain(&n.domain) {
        return Err(none());
    }
    let given: Vec<usize> = (0..inputs.len()).filter(|i| inputs[*i].given).collect();
    if let Some(op) = unary(n, inputs) {
        return one(op);
    }
    if let Some(what) = binary(&n.op_type) {
        if given.len() != 2 {
            return Err(none());
        }
        let at = [0, 1].map(|i| broadcast(&inputs[i].shape, output));
        let [Ok(a), Ok(b)] = at else { return Err(none()) };
        let weights =
            if matches!(what, Binary::Max | Binary::Min | Binary::Pow | Binary::Equal) { vec![] } else { vec![0, 1] };
        return Ok(Made { op: Box::new(Pairs { what, at: [a, b] }), reads: vec![0, 1], weights });
    }
    let made = match n.op_type.as_str() {
        "Conv" => convolution(n, inputs, output),
        "Gemm" | "MatMul" => matrix(n, inputs, output),
        "Gather" => gather(n, inputs, output),
        "MaxPool" | "AveragePool" | "GlobalMaxPool" | "GlobalAveragePool" => pool(n, &inputs[0].shape, output),
        "ReduceMean" | "ReduceSum" | "ReduceMax" => reduce(n, inputs, output),
        "Softmax" | "LogSoftmax" => softmax(n, output),
        "BatchNormalization" => batch_norm(n, inputs),
        "LayerNormalization" => layer_norm(n, inputs),
        "Concat" | "Transpose" | "Slice" | "Pad" | "Expand" => super::movement::made(n, inputs, output),
        _ => None,
    };
    made.ok_or_else(none)
}

fn one(op: impl Op + 'static) -> Result<Made, String> {
    Ok(Made { op: Box::new(op), reads: vec![0], weights: vec![] })
}

fn unary(n: &NodeProto, inputs: &[Input]) -> Option<Unary> {
    let float = |name: &str, default: f32| attr::float(n, name).unwrap_or(default);
    Some(match n.op_type.as_str() {
        "Identity" | "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => Unary::Copy,
        "Dropout" if n.output.len() == 1 => Unary::Copy,
        "Relu" => Unary::Relu,
        "LeakyRelu" => Unary::Leaky(float("alpha", 0.01)),
        "Elu" => Unary::Elu(float("alpha", 1.0)),
        "Sigmoid" => Unary::Sigmoid,
        "HardSigmoid" => Unary::HardSigmoid(float("alpha", 0.2), float("beta", 0.5)),
        "HardSwish" => Unary::HardSwish,
        "Tanh" => Unary::Tanh,
        "Softplus" => Unary::Softplus,
        "Gelu" if attr::string(n, "approximate") == Some("tanh") => Unary::GeluTanh,
        "Gelu" => Unary::Gelu,
        "Erf" => Unary::Erf,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Reciprocal" => Unary::Reciprocal,
        "Neg" => Unary::Neg,
        "Abs" => Unary::Abs,
        "Clip" => {
            let bound = |slot: usize, name: &str, default: f32| match inputs.get(slot).filter(|i| i.given) {
                Some(i) => i.data.as_ref()?.to_f32().ok()?.first().copied(),
                None => Some(attr::float(n, name).unwrap_or(default)),
            };
            Unary::Clip(bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?)
        }
        _ => return None,
    })
}

fn binary(op: &str) -> Option<Binary> {
    Some(match op {
        "Add" | "Sum" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Max" => Binary::Max,
        "Min" => Binary::Min,
        "Pow" => Binary::Pow,
        "Equal" => Binary::Equal,
        "PRelu" => Binary::Prelu,
        _ => return None,
    })
}

/// For each element of the output that of an operand; none where both have the same shape.
fn broadcast(from: &[usize], to: &[usize]) -> Result<Option<Vec<u32>>, ()> {
    if from == to {
        return Ok(None);
    }
    let lead = to.len().checked_sub(from.len()).ok_or(())?;
    if from.iter().zip(&to[lead..]).any(|(f, t)| f != t && *f != 1) {
        return Err(());
    }
    let mut steps = vec![0usize; to.len()];
    let mut step = 1;
    for axis in (0..from.len()).rev() {
        steps[lead + axis] = if from[axis] == 1 { 0 } else { step };
        step *= from[axis];
    }
    let total: usize = to.iter().product();
    let at = |mut i: usize| {
        let mut at = 0;
        for axis in (0..to.len()).rev() {
            at += i % to[axis] * steps[axis];
            i /= to[axis];
        }
        at as u32
    };
    Ok(Some((0..total).map(at).collect()))
}

fn convolution(n: &NodeProto, inputs: &[Input], output: &[usize]) -> Option<Made> {
    let (x, w) = (&inputs.first()?.shape, &inputs.get(1)?.shape);
    let groups = usize::try_from(attr::int(n, "group").unwrap_or(1)).ok().filter(|g| *g > 0)?;
    if x.len() < 3
        || w.len() != x.len()
        || output.len() != x.len()
        || x[1] != w[1] * groups
        || !output[1].is_multiple_of(groups)
    {
        return None;
    }
    let geometry = Geometry::of(n, &w[2..], &x[2..], &output[2..])?;
    let bias = inputs.get(2).is_some_and(|b| b.given);
    let op = Convolution {
        samples: x[0],
        groups,
        channels: [x[1], output[1]],
        areas: [x[2..].iter().product(), output[2..].iter().product()],
        taps: w[2..].iter().product(),
        stretches: geometry.stretches(),
        bias,
    };
    let reads = if bias { vec![0, 1, 2] } else { vec![0, 1] };
    Some(Made { op: Box::new(op), reads, weights: vec![1, 2] })
}

fn matrix(n: &NodeProto, inputs: &[Input], output: &[usize]) -> Option<Made> {
    let (x, w) = (&inputs.first()?.shape, &inputs.get(1)?.shape);
    let gemm = n.op_type == "Gemm";
    let plain = |name: &str| attr::float(n, name).is_none_or(|v| v == 1.0);
    if gemm && (!plain("alpha") || !plain("beta") || attr::int(n, "transA").unwrap_or(0) != 0) {
        return None;
    }
    let transposed = gemm && attr::int(n, "transB").unwrap_or(0) != 0;
    let (&inner, lead) = x.split_last()?;
    let &[a, b] = w.as_slice() else { return None };
    let columns = if transposed { a } else { b };
    let rows: usize = lead.iter().product();
    let bias = inputs.get(2).filter(|b| b.given && gemm);
    let held: usize = bias.map_or(0, |b| b.shape.iter().product());
    let fits = inner == if transposed { b } else { a } && output.iter().product::<usize>() == rows * columns;
    if !fits || (bias.is_some() && held != columns && held != 1) || columns == 0 {
        return None;
    }
    let op = Product { rows, inner, columns, transposed, bias: held };
    let reads = if held > 0 { vec![0, 1, 2] } else { vec![0, 1] };
    Some(Made { op: Box::new(op), reads, weights: vec![1, 2] })
}

fn gather(n: &NodeProto, inputs: &[Input], output: &[usize]) -> Option<Made> {
    let (data, indices) = (inputs.first()?, inputs.get(1)?);
    let axis = attr::int(n, "axis").unwrap_or(0);
    if indices.data.is_none() {
        let &[rows, width] = data.shape.as_slice() else { return None };
        let fits = axis == 0 && width > 0 && rows > 0 && output.last() == Some(&width);
        return fits.then(|| Made { op: Box::new(Lookup { rows, width }), reads: vec![0, 1], weights: vec![0] });
    }
    let axis = usize::try_from(if axis < 0 { axis + data.shape.len() as i64 } else { axis }).ok()?;
    let size = *data.shape.get(axis)?;
    let picked: Vec<usize> = indices
        .data
        .as_ref()?
        .to_i64()
        .ok()?
        .into_iter()
        .map(|i| usize::try_from(if i < 0 { i + size as i64 } else { i }).ok().filter(|i| *i < size))
        .collect::<Option<_>>()?;
    let inner: usize = data.shape[axis + 1..].iter().product();
    let outer: usize = data.shape[..axis].iter().product();
    let at = |o: usize, p: usize, i: usize| Some((0, ((o * size + p) * inner + i) as u32));
    let mut from = Vec::with_capacity(outer * picked.len() * inner);
    for o in 0..outer {
        picked.iter().for_each(|&p| from.extend((0..inner).map(|i| at(o, p, i))));
    }
    (from.len() == output.iter().product::<usize>()).then(|| Made {
        op: Box::new(Moves { from, filling: 0.0 }),
        reads: vec![0],
        weights: vec![],
    })
}

fn pool(n: &NodeProto, x: &[usize], output: &[usize]) -> Option<Made> {
    if x.len() < 3 || output.len() != x.len() || x[..2] != output[..2] {
        return None;
    }
    let what = if n.op_type.ends_with("MaxPool") { Gather::Max } else { Gather::Mean };
    let (members, counts) = if n.op_type.starts_with("Global") {
        let area: usize = x[2..].iter().product();
        (vec![(0..area as u32).collect()], vec![area as f32])
    } else {
        pool_members(n, &x[2..], &output[2..])?
    };
    Some(Made { op: Box::new(Pool { what, blocks: x[0] * x[1], members, counts }), reads: vec![0], weights: vec![] })
}

fn reduce(n: &NodeProto, inputs: &[Input], output: &[usize]) -> Option<Made> {
    let x = &inputs.first()?.shape;
    let axes: Vec<i64> = match inputs.get(1).filter(|i| i.given) {
        Some(i) => i.data.as_ref()?.to_i64().ok()?,
        None => attr::ints(n, "axes").unwrap_or_default().to_vec(),
    };
    let gone: Vec<usize> = if axes.is_empty() {
        if attr::int(n, "noop_with_empty_axes").unwrap_or(0) != 0 {
            return None;
        }
        (0..x.len()).collect()
    } else {
        let axis =
            |a: &i64| usize::try_from(if *a < 0 { a + x.len() as i64 } else { *a }).ok().filter(|a| *a < x.len());
        axes.iter().map(axis).collect::<Option<_>>()?
    };
    let kept: usize = (0..x.len()).filter(|a| !gone.contains(a)).map(|a| x[a]).product();
    if kept != output.iter().product::<usize>() {
        return None;
    }
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); kept];
    for i in 0..x.iter().product::<usize>() {
        let (mut rest, mut at, mut step) = (i, 0, 1);
        for axis in (0..x.len()).rev() {
            if !gone.contains(&axis) {
                at += rest % x[axis] * step;
                step *= x[axis];
            }
            rest /= x[axis];
        }
        members[at].push(i as u32);
    }
    let counts = members.iter().map(|m| m.len() as f32).collect();
    let what = match n.op_type.as_str() {
        "ReduceMax" => Gather::Max,
        "ReduceSum" => Gather::Sum,
        _ => Gather::Mean,
    };
    Some(Made { op: Box::new(Pool { what, blocks: 1, members, counts }), reads: vec![0], weights: vec![] })
}

fn softmax(n: &NodeProto, shape: &[usize]) -> Option<Made> {
    let last = shape.len().checked_sub(1)?;
    let axis = match attr::int(n, "axis") {
        Some(a) => usize::try_from(if a < 0 { a + shape.len() as i64 } else { a }).ok()?,
        None => last,
    };
    // Below opset 13 the default was another axis; only where it makes no difference is it taken.
    if axis > last || (!attr::has(n, "axis") && shape.len() > 2) {
        return None;
    }
    let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
    let op = Softmax { outer, count: shape[axis], inner, log: n.op_type == "LogSoftmax" };
    Some(Made { op: Box::new(op), reads: vec![0], weights: vec![] })
}

fn layer_norm(n: &NodeProto, inputs: &[Input]) -> Option<Made> {
    let x = &inputs.first()?.shape;
    let width = *x.last()?;
    let axis = attr::int(n, "axis").unwrap_or(-1);
    let shift = inputs.get(2).is_some_and(|i| i.given);
    let whole = |slot: usize| inputs.get(slot).is_some_and(|i| i.shape == [width]);
    if (axis != -1 && axis + 1 != x.len() as i64) || width == 0 || !whole(1) || (shift && !whole(2)) {
        return None;
    }
    let op = LayerNorm { width, epsilon: attr::float(n, "epsilon").unwrap_or(1e-5), shift };
    Some(Made { op: Box::new(op), reads: if shift { vec![0, 1, 2] } else { vec![0, 1] }, weights: vec![1, 2] })
}

fn batch_norm(n: &NodeProto, inputs: &[Input]) -> Option<Made> {
    let x = &inputs.first()?.shape;
    let channels = *x.get(1)?;
    let whole = (1..5).all(|slot| inputs.get(slot).is_some_and(|i| i.data.is_some() && i.shape == [channels]));
    if !whole || attr::int(n, "training_mode").unwrap_or(0) != 0 {
        return None;
    }
    let epsilon = attr::float(n, "epsilon").unwrap_or(1e-5);
    let op = BatchNorm { channels, area: x[2..].iter().product(), epsilon };
    Some(Made { op: Box::new(op), reads: vec![0, 1, 2, 3, 4], weights: vec![1, 2] })
}
