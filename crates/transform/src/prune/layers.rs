//! The layers whose weights multiply rows of what they read (Conv, Gemm, MatMul): where weight and bias are, which channels they
//! read and make, what they are added to. Knows graphs, neither samples nor scores.

use std::collections::HashMap;

use faer::Mat;
use plimsoll_onnx::{
    DType, Model, NodeId, Patch, Tensor, Use, View, attr, captured_names, node,
    proto::NodeProto,
    shape::{Bindings, Shapes, infer},
};

use super::groups::{Groups, Role};
use crate::{Refusal, observe::Reading};

/// A layer of the original that can be fitted.
#[derive(Debug)]
pub(super) struct Layer<'m> {
    pub(super) id: NodeId,
    /// What it reads.
    pub(super) input: &'m str,
    /// What it computes: the name by which it is found in a pruned model.
    pub(super) output: &'m str,
    /// The value that holds its output with its bias.
    pub(super) settled: &'m str,
    /// The sum that only this layer's result and another value go into: the sum, and that value.
    pub(super) sum: Option<(&'m str, &'m str)>,
    /// What reads what comes of it, or the sum.
    pub(super) reader: Reader,
    pub(super) reading: Reading,
    pub(super) groups: usize,
    /// Output channels.
    pub(super) channels: usize,
    /// Elements of a row of its input, all groups together.
    pub(super) width: usize,
    /// The label of each column of a row, where they are tracked.
    pub(super) columns: Option<Vec<usize>>,
    /// The label of each output channel, where they are tracked.
    pub(super) made: Option<Vec<usize>>,
    /// How many fitted layers lie before it.
    pub(super) level: usize,
}

/// What a layer is read by, where that decides which errors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// All errors count alike.
    Any,
    /// A rectifier alone.
    Rectifier,
    /// A softmax over the layer's channels alone, with nothing added before it.
    Softmax,
}

impl Reader {
    /// What alone reads the layer's result or, where there is one, the sum.
    fn of(view: &View<'_>, shapes: &Shapes, layer: &Layer<'_>) -> Self {
        let value = layer.sum.map_or(layer.settled, |(total, _)| total);
        let Some((_, n, _)) = view.sole_user(value) else { return Self::Any };
        // Of two axes, the last is the default in every operator set. A convolution's channels are not on the last axis.
        let rank = shapes.dims(value).map_or(0, <[_]>::len) as i64;
        let axis = attr::int(n, "axis").or((rank == 2).then_some(-1));
        let last = axis.is_some_and(|a| a == -1 || a + 1 == rank) && !node::is(view.node(layer.id), "Conv");
        match () {
            () if node::is(n, "Relu") => Self::Rectifier,
            () if node::is(n, "Softmax") && last && layer.sum.is_none() => Self::Softmax,
            () => Self::Any,
        }
    }
}

/// Every such layer of a model, in the order of the graph.
pub(super) fn layers<'m>(model: &'m Model, groups: &Groups<'m>, sizes: &Bindings) -> Result<Vec<Layer<'m>>, Refusal> {
    let view = model.view();
    let shapes = infer(model, sizes);
    let mut depth: HashMap<&str, usize> = HashMap::new();
    let mut found: Vec<Layer<'m>> = Vec::new();
    for (id, n) in view.nodes() {
        let read = n.input.iter().map(String::as_str).chain(captured_names(n));
        let mut at = read.filter_map(|v| depth.get(v)).max().copied().unwrap_or(0);
        if let Some(layer) = layer(&view, groups, id, n, at)? {
            found.push(layer);
            at += 1;
        }
        depth.extend(n.output.iter().map(|o| (o.as_str(), at)));
    }
    for layer in &mut found {
        layer.sum = sum(&view, &shapes, layer).filter(|(_, other)| depth.get(other).is_none_or(|d| *d <= layer.level));
        layer.reader = Reader::of(&view, &shapes, layer);
    }
    Ok(found)
}

fn layer<'m>(
    view: &View<'m>,
    groups: &Groups<'m>,
    id: NodeId,
    n: &'m NodeProto,
    level: usize,
) -> Result<Option<Layer<'m>>, Refusal> {
    let Some(place) = Place::of(view, n)? else { return Ok(None) };
    let (Some(input), Some(output)) = (n.input.first(), n.output.first()) else { return Ok(None) };
    let shape = place.weight.shape();
    let Some(reading) = Reading::of(n, shape) else { return Ok(None) };
    let channels = shape[place.axis];
    let width = reading.width(shape, channels, place.groups);
    if channels == 0 || width == 0 || channels % place.groups != 0 {
        return Ok(None);
    }
    let weight = n.input[1].as_str();
    let mut columns = None;
    for cut in groups.cuts.iter().filter(|c| c.node == id && c.param == weight && c.role == Role::Follows) {
        if cut.axis != place.axis && cut.labels.len() <= width {
            let taps = width / cut.labels.len().max(1);
            let labels = cut.labels.iter().map(|l| groups.labels.root(*l));
            columns = Some(labels.flat_map(|l| std::iter::repeat_n(l, taps)).collect());
        }
    }
    if place.groups > 1 {
        // A grouped layer reads each channel in one group only.
        let labels = groups.tracked.get(input.as_str()).filter(|l| !l.is_empty() && width % l.len() == 0);
        columns = labels.map(|l| {
            let taps = width / l.len();
            l.iter().flat_map(|l| std::iter::repeat_n(groups.labels.root(*l), taps)).collect()
        });
    }
    let made = groups.tracked.get(output.as_str()).map(|l| l.iter().map(|l| groups.labels.root(*l)).collect());
    let made = made.filter(|m: &Vec<usize>| m.len() == channels);
    let settled = place.bias.settled(view, output);
    let groups = place.groups;
    Ok(Some(Layer {
        id,
        input,
        output,
        settled,
        sum: None,
        reader: Reader::Any,
        reading,
        groups,
        channels,
        width,
        columns,
        made,
        level,
    }))
}

/// The sum that the layer's result goes into, and the other summand, where both have the same shape and nothing else reads the result.
fn sum<'m>(view: &View<'m>, shapes: &Shapes, layer: &Layer<'m>) -> Option<(&'m str, &'m str)> {
    let (_, n, slot) = view.sole_user(layer.settled)?;
    let other = n.input.get(1 - slot.min(1)).filter(|_| node::is(n, "Add") && n.input.len() == 2)?;
    let total = n.output.first()?;
    let same = |v: &str| shapes.concrete(v).is_some() && shapes.concrete(v) == shapes.concrete(layer.settled);
    (view.constant(other).is_none() && view.producer(other).is_some() && same(other) && same(total))
        .then_some((total.as_str(), other.as_str()))
}

/// Where the bias of a layer is.
#[derive(Debug)]
pub(super) enum Bias {
    /// The node's third input, given or not.
    Own(Option<Vec<f32>>),
    /// The constant of the Add that alone reads the node: its input `slot`, of this shape.
    Sum { node: NodeId, slot: usize, shape: Vec<usize>, values: Vec<f32> },
    /// There is no room for one.
    Nowhere,
}

impl Bias {
    fn settled<'m>(&self, view: &View<'m>, output: &'m str) -> &'m str {
        match self {
            Self::Sum { node, .. } => view.node(*node).output.first().map_or(output, String::as_str),
            _ => output,
        }
    }

    /// The values, zeros where there is room for some; `None` where there is none.
    pub(super) fn values(&self, channels: usize) -> Option<Vec<f32>> {
        match self {
            Self::Own(values) => Some(values.clone().unwrap_or_else(|| vec![0.0; channels])),
            Self::Sum { values, .. } => Some(values.clone()),
            Self::Nowhere => None,
        }
    }
}

/// The constants of a layer, in the original or in a pruned model.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) weight: Tensor,
    /// The axis of the output channels.
    pub(super) axis: usize,
    pub(super) groups: usize,
    pub(super) bias: Bias,
}

impl Place {
    /// `None` where the node is no such layer, or reads a weight that others read too.
    pub(super) fn of(view: &View<'_>, n: &NodeProto) -> Result<Option<Self>, Refusal> {
        let is = |op: &str| node::is(n, op);
        if !(is("Conv") || is("Gemm") || is("MatMul")) {
            return Ok(None);
        }
        let plain = |name: &str| attr::float(n, name).is_none_or(|v| v == 1.0);
        if is("Gemm") && (!plain("alpha") || !plain("beta") || attr::int(n, "transA").unwrap_or(0) != 0) {
            return Ok(None);
        }
        let Some(weight) = node::input(n, 1).map(|w| float_constant(view, w)).transpose()?.flatten() else {
            return Ok(None);
        };
        let alone = |v: &str| matches!(view.uses(v), [Use::Input { .. }]);
        if !alone(&n.input[1]) || view.constant(&n.input[0]).is_some() {
            return Ok(None);
        }
        let rank = weight.shape().len();
        let axis = usize::from(is("MatMul") || (is("Gemm") && attr::int(n, "transB").unwrap_or(0) == 0));
        if (is("Conv") && rank < 3) || (!is("Conv") && rank != 2) {
            return Ok(None);
        }
        let groups = if is("Conv") { attr::int(n, "group").unwrap_or(1) } else { 1 };
        let Some(groups) = usize::try_from(groups).ok().filter(|g| *g > 0) else { return Ok(None) };
        let channels = weight.shape()[axis];
        let bias = if is("MatMul") {
            after(view, n, channels)?
        } else {
            match node::input(n, 2) {
                None => Bias::Own(None),
                Some(b) => match float_constant(view, b)?.filter(|t| t.len() == channels && alone(b)) {
                    Some(t) => Bias::Own(Some(t.to_vec()?)),
                    None => return Ok(None),
                },
            }
        };
        Ok(Some(Self { weight, axis, groups, bias }))
    }

    /// The weight as one row an output channel.
    pub(super) fn rows(&self) -> Result<Vec<f32>, Refusal> {
        let values = self.weight.to_vec::<f32>()?;
        Ok(if self.axis == 0 { values } else { transposed(&values, self.weight.shape()[0], self.weight.shape()[1]) })
    }

    /// The same of the first group's like, as a matrix of these rows.
    pub(super) fn matrix(rows: &[f32], first: usize, count: usize, k: usize) -> Mat<f64> {
        Mat::from_fn(count, k, |o, j| rows.get((first + o) * k + j).copied().map_or(0.0, f64::from))
    }

    /// Notes new weights (one row an output channel) and a new bias of node `id`.
    pub(super) fn write(
        &self,
        model: &Model,
        view: &View<'_>,
        id: NodeId,
        rows: &[f32],
        bias: Option<&[f32]>,
        patch: &mut Patch,
    ) -> Result<(), Refusal> {
        let (n, shape) = (view.node(id), self.weight.shape());
        let values = if self.axis == 0 { rows.to_vec() } else { transposed(rows, shape[1], shape[0]) };
        set_constant(view, patch, &n.input[1], &Tensor::from_elements(shape, &values)?);
        let Some(bias) = bias else { return Ok(()) };
        match &self.bias {
            Bias::Nowhere => {}
            Bias::Own(None) => {
                let mut changed = n.clone();
                let name = plimsoll_onnx::Names::of(model).fresh(&format!("{}_bias", n.input[1]));
                patch.set_initializer(&name, &Tensor::vector(bias));
                changed.input.resize(2, String::new());
                changed.input.push(name);
                patch.replace(id, vec![changed]);
            }
            Bias::Own(Some(_)) => {
                let shape = view.constant(&n.input[2]).map(|t| t.dims.iter().map(|d| *d as usize).collect::<Vec<_>>());
                let shape = shape.unwrap_or_else(|| vec![bias.len()]);
                set_constant(view, patch, &n.input[2], &Tensor::from_elements(&shape, bias)?);
            }
            Bias::Sum { node, slot, shape, .. } => {
                set_constant(view, patch, &view.node(*node).input[*slot], &Tensor::from_elements(shape, bias)?);
            }
        }
        Ok(())
    }
}

/// The constant of the Add that alone reads a MatMul, where it is one value a channel and nothing else reads it.
fn after(view: &View<'_>, n: &NodeProto, channels: usize) -> Result<Bias, Refusal> {
    let user = n.output.first().and_then(|o| view.sole_user(o));
    let Some((id, sum, slot)) = user.filter(|(_, s, _)| node::is(s, "Add") && s.input.len() == 2) else {
        return Ok(Bias::Nowhere);
    };
    let other = 1 - slot.min(1);
    let Some(name) = node::input(sum, other).filter(|b| matches!(view.uses(b), [Use::Input { .. }])) else {
        return Ok(Bias::Nowhere);
    };
    // One value a channel: the last axis has them all, those before it are 1.
    let fits = |t: &Tensor| t.len() == channels && t.shape().last() == Some(&channels);
    Ok(match float_constant(view, name)?.filter(fits) {
        Some(t) => Bias::Sum { node: id, slot: other, shape: t.shape().to_vec(), values: t.to_vec()? },
        None => Bias::Nowhere,
    })
}

fn float_constant(view: &View<'_>, name: &str) -> Result<Option<Tensor>, Refusal> {
    let proto = view.constant(name).filter(|t| t.data_type == DType::F32.to_onnx());
    Ok(proto.map(Tensor::from_proto).transpose()?)
}

/// Puts other data in the place of a constant, be it an initializer or a node.
pub(super) fn set_constant(view: &View<'_>, patch: &mut Patch, name: &str, tensor: &Tensor) {
    match view.producer(name) {
        Some((id, n)) => {
            let mut changed = n.clone();
            attr::set(&mut changed, attr::from_tensor("value", tensor.to_proto("")));
            patch.replace(id, vec![changed]);
        }
        None => _ = patch.set_initializer(name, tensor),
    }
}

fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c))).map(|(r, c)| values[r * columns + c]).collect()
}
