//! Where a factor a channel can be moved from one set of constants to another without changing what a model computes: a source
//! that scales and shifts each channel, a chain of operators that a positive factor passes through, and the readers that
//! multiply the channels by weights. Graph reasoning only.

use plimsoll_onnx::{NodeId, Tensor, Use, View, attr, node, proto::NodeProto};

/// A constant with the channel that each of its elements belongs to.
#[derive(Debug, Clone)]
pub(super) struct Part<'m> {
    /// Its name.
    pub(super) name: &'m str,
    /// Its numbers.
    pub(super) tensor: Tensor,
    lay: Lay,
}

/// How channels lie in a constant.
#[derive(Debug, Clone, Copy)]
enum Lay {
    /// `inner` elements of a channel stand together, after which the next one comes; after `channels` of them it begins anew.
    Blocks { channels: usize, inner: usize },
    /// The weight of a grouped convolution: `rows` output channels of `columns` input channels of `inner` taps; groups of
    /// `each` output channels.
    Grouped { columns: usize, inner: usize, each: usize },
}

impl Part<'_> {
    /// The channel of an element.
    pub(super) fn channel(&self, element: usize) -> usize {
        match self.lay {
            Lay::Blocks { channels, inner } => element / inner.max(1) % channels.max(1),
            Lay::Grouped { columns, inner, each } => {
                let (row, column) = (element / inner.max(1) / columns.max(1), element / inner.max(1) % columns.max(1));
                row / each.max(1) * columns + column
            }
        }
    }
}

/// A weight that multiplies the channels.
#[derive(Debug, Clone)]
pub(super) struct Reader<'m> {
    pub(super) part: Part<'m>,
    /// Elements that are multiplied for one result, and their distance: a row of the weight.
    rows: Rows,
}

#[derive(Debug, Clone, Copy)]
enum Rows {
    /// Rows stand one after the other.
    Contiguous(usize),
    /// Columns of a matrix with so many of them.
    Columns(usize),
}

impl Reader<'_> {
    /// The row of the weight that an element belongs to: what is multiplied for one result.
    pub(super) fn row(&self, element: usize) -> usize {
        match self.rows {
            Rows::Contiguous(length) => element / length.max(1),
            Rows::Columns(count) => element % count.max(1),
        }
    }
}

/// A place for a factor a channel.
#[derive(Debug, Clone)]
pub(super) struct Pair<'m> {
    /// What is divided by the factor: weights of output channels, biases, gains.
    pub(super) source: Vec<Part<'m>>,
    /// What is multiplied by it.
    pub(super) readers: Vec<Reader<'m>>,
    /// The value that the readers read.
    pub(super) value: &'m str,
    /// Its axis of channels; `None`: the last.
    pub(super) axis: Option<usize>,
    /// Elements of a channel along that axis.
    pub(super) repeat: usize,
    /// Number of channels.
    pub(super) channels: usize,
}

impl Pair<'_> {
    /// Whether the source is gains of channels, no weights.
    pub(super) fn is_normalised(&self) -> bool {
        self.source.last().is_some_and(|p| p.tensor.len() == self.channels)
    }
}

/// Every place of a graph, those whose value comes first at the front; no constant is a reader's or a source's twice.
pub(super) fn pairs<'m>(view: &View<'m>) -> Vec<Pair<'m>> {
    let mut found = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (_, n) in view.nodes() {
        let Some(value) = node::input(n, 0).filter(|v| multiplies(n) && !seen.contains(v)) else { continue };
        seen.push(value);
        found.extend(pair(view, value));
    }
    found
}

fn multiplies(n: &NodeProto) -> bool {
    ["Conv", "Gemm", "MatMul"].iter().any(|op| node::is(n, op))
}

/// Readers as they were found, before the channels are known.
struct Found<'m> {
    name: &'m str,
    n: &'m NodeProto,
    tensor: Tensor,
}

fn pair<'m>(view: &View<'m>, value: &'m str) -> Option<Pair<'m>> {
    let mut readers = Vec::new();
    for u in view.uses(value) {
        let &Use::Input { node: id, slot: 0 } = u else { return None };
        let n = view.node(id);
        let name = node::input(n, 1).filter(|_| multiplies(n))?;
        if attr::int(n, "transA").unwrap_or(0) != 0 || node::input(n, 0) == node::input(n, 2) {
            return None;
        }
        readers.push(Found { name, n, tensor: own(view, name)? });
    }
    let convolves = readers.iter().all(|r| node::is(r.n, "Conv"));
    if !convolves && readers.iter().any(|r| node::is(r.n, "Conv") || r.tensor.shape().len() != 2) {
        return None;
    }
    let (source, channels, repeat) = source(view, value, if convolves { Axis::At(1) } else { Axis::Last })?;
    let read = |r: &Found<'m>| reader(r, channels, repeat);
    let readers = readers.iter().map(read).collect::<Option<Vec<Reader<'m>>>>()?;
    // A constant on both sides would be scaled twice.
    let both = |p: &Part<'_>| readers.iter().any(|r| r.part.name == p.name);
    let alone = !source.is_empty() && !source.iter().any(both);
    let axis = convolves.then_some(1);
    alone.then_some(Pair { source, readers, value, axis, repeat, channels })
}

fn reader<'m>(found: &Found<'m>, channels: usize, repeat: usize) -> Option<Reader<'m>> {
    let shape = found.tensor.shape();
    let part = |lay| Part { name: found.name, tensor: found.tensor.clone(), lay };
    if node::is(found.n, "Conv") {
        let groups = usize::try_from(attr::int(found.n, "group").unwrap_or(1)).ok().filter(|g| *g > 0)?;
        let (&rows, &columns) = (shape.first()?, shape.get(1)?);
        let inner: usize = shape.get(2..)?.iter().product();
        if columns * groups != channels || rows % groups != 0 || repeat != 1 || inner == 0 {
            return None;
        }
        let lay = Lay::Grouped { columns, inner, each: rows / groups };
        return Some(Reader { part: part(lay), rows: Rows::Contiguous(columns * inner) });
    }
    let turned = node::is(found.n, "Gemm") && attr::int(found.n, "transB").unwrap_or(0) != 0;
    let &[first, second] = shape else { return None };
    let (width, lay, rows) = if turned {
        (second, Lay::Blocks { channels, inner: repeat }, Rows::Contiguous(second))
    } else {
        (first, Lay::Blocks { channels, inner: repeat * second }, Rows::Columns(second))
    };
    (width == channels * repeat).then(|| Reader { part: part(lay), rows })
}

/// The axis of channels of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    At(usize),
    Last,
}

/// Goes backwards from a value to what scales each of its channels: the constants, the number of channels, and how many elements
/// of the value's channel axis belong to each.
fn source<'m>(view: &View<'m>, value: &'m str, axis: Axis) -> Option<(Vec<Part<'m>>, usize, usize)> {
    let (mut at, mut axis, mut flattened) = (value, axis, false);
    let mut parts: Vec<Part<'m>> = Vec::new();
    loop {
        if view.is_output(at) || view.is_captured(at) || (at != value && view.sole_user(at).is_none()) {
            return None;
        }
        let (_, n) = view.producer(at)?;
        if !node::is_default_domain(&n.domain) || n.output.iter().skip(1).any(|o| !view.uses(o).is_empty()) {
            return None;
        }
        match n.op_type.as_str() {
            "Relu" | "LeakyRelu" | "Identity" => {}
            "PRelu" if node::input(n, 1).is_some_and(|s| view.constant(s).is_some()) => {}
            "Clip" if rectifies(view, n) => {}
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" if axis == Axis::At(1) => {}
            "Flatten" if axis == Axis::Last && !flattened && attr::int(n, "axis").unwrap_or(1) == 1 => {
                (axis, flattened) = (Axis::At(1), true);
            }
            "Transpose" => {
                let perm = attr::ints(n, "perm")?;
                let to = if axis == Axis::Last { perm.len().checked_sub(1)? } else { at_of(axis)? };
                let from = usize::try_from(*perm.get(to)?).ok()?;
                axis = if from + 1 == perm.len() { Axis::Last } else { Axis::At(from) };
            }
            "Add" | "Mul" if n.input.len() == 2 => {
                let (part, other) = constant_side(view, n, axis)?;
                parts.push(part);
                if n.op_type == "Mul" {
                    return finished(view, parts, value, flattened);
                }
                at = other;
                continue;
            }
            "LayerNormalization" if axis == Axis::Last && attr::int(n, "axis").unwrap_or(-1) == -1 => {
                for slot in [1, 2].into_iter().filter(|s| node::input(n, *s).is_some()) {
                    parts.push(vector(view, node::input(n, slot)?)?);
                }
                return finished(view, parts, value, flattened);
            }
            "BatchNormalization" | "InstanceNormalization" if axis == Axis::At(1) => {
                for slot in [1, 2] {
                    parts.push(vector(view, node::input(n, slot)?)?);
                }
                return finished(view, parts, value, flattened);
            }
            "Conv" if axis == Axis::At(1) => {
                let name = node::input(n, 1)?;
                let tensor = own(view, name)?;
                let inner = tensor.shape().get(1..)?.iter().product();
                let lay = Lay::Blocks { channels: *tensor.shape().first()?, inner };
                push_bias(view, n, &mut parts)?;
                parts.push(Part { name, tensor, lay });
                return finished(view, parts, value, flattened);
            }
            "Gemm" | "MatMul" if axis == Axis::Last => {
                let name = node::input(n, 1)?;
                let tensor = own(view, name)?;
                let &[first, second] = tensor.shape() else { return None };
                let turned = n.op_type == "Gemm" && attr::int(n, "transB").unwrap_or(0) != 0;
                let (channels, inner) = if turned { (first, second) } else { (second, 1) };
                if n.op_type == "Gemm" {
                    push_bias(view, n, &mut parts)?;
                }
                parts.push(Part { name, tensor, lay: Lay::Blocks { channels, inner } });
                return finished(view, parts, value, flattened);
            }
            _ => return None,
        }
        at = node::input(n, 0)?;
    }
}

fn at_of(axis: Axis) -> Option<usize> {
    if let Axis::At(at) = axis { Some(at) } else { None }
}

/// Checks that all parts have the same channels; how often a channel stands in the value is what its readers say.
fn finished<'m>(
    view: &View<'m>,
    parts: Vec<Part<'m>>,
    value: &str,
    flattened: bool,
) -> Option<(Vec<Part<'m>>, usize, usize)> {
    let channels = parts.last().map(|p| match p.lay {
        Lay::Blocks { channels, .. } => channels,
        Lay::Grouped { .. } => 0,
    })?;
    let alike = |p: &Part<'m>| match p.lay {
        Lay::Blocks { channels: c, inner } => c == channels && p.tensor.len().is_multiple_of((c * inner).max(1)),
        Lay::Grouped { .. } => false,
    };
    let mut names: Vec<&str> = parts.iter().map(|p| p.name).collect();
    names.sort_unstable();
    names.dedup();
    if channels == 0 || names.len() != parts.len() || !parts.iter().all(alike) {
        return None;
    }
    if !flattened {
        return Some((parts, channels, 1));
    }
    // Behind a Flatten each channel has as many elements as the readers' weights have rows for it.
    let (_, n) = view.users(value).into_iter().next()?;
    let shape = &view.constant(node::input(n, 1)?)?.dims;
    let turned = node::is(n, "Gemm") && attr::int(n, "transB").unwrap_or(0) != 0;
    let width = usize::try_from(*shape.get(usize::from(turned))?).ok()?;
    (width % channels == 0).then_some((parts, channels, width / channels))
}

fn constant(view: &View<'_>, name: &str) -> Option<Tensor> {
    Tensor::from_proto(view.constant(name)?).ok()
}

/// A constant that this graph reads in one place only, of finite float32 numbers.
fn own(view: &View<'_>, name: &str) -> Option<Tensor> {
    view.sole_user(name)?;
    constant(view, name).filter(|t| t.is_finite() && !t.is_empty() && t.to_vec::<f32>().is_ok())
}

/// A constant of one number a channel.
fn vector<'m>(view: &View<'m>, name: &'m str) -> Option<Part<'m>> {
    let tensor = own(view, name).filter(|t| t.shape().len() == 1)?;
    let lay = Lay::Blocks { channels: tensor.len(), inner: 1 };
    Some(Part { name, tensor, lay })
}

fn push_bias<'m>(view: &View<'m>, n: &'m NodeProto, parts: &mut Vec<Part<'m>>) -> Option<()> {
    if let Some(name) = node::input(n, 2) {
        parts.push(vector(view, name)?);
    }
    Some(())
}

/// The constant operand of an Add or Mul, one number a channel along the axis, and the other operand.
fn constant_side<'m>(view: &View<'m>, n: &'m NodeProto, axis: Axis) -> Option<(Part<'m>, &'m str)> {
    let (a, b) = (node::input(n, 0)?, node::input(n, 1)?);
    let (name, other) = if view.constant(b).is_some() { (b, a) } else { (a, b) };
    if view.constant(other).is_some() {
        return None;
    }
    let tensor = own(view, name)?;
    let shape = tensor.shape();
    let along = match axis {
        Axis::Last => shape.len().checked_sub(1)?,
        // Its rank must be that of the value, or the axes would not correspond.
        Axis::At(at) => Some(at).filter(|_| shape.len() >= 3 && shape.first() == Some(&1))?,
    };
    let channels = *shape.get(along)?;
    // A single number would have to become one a channel.
    let fits = channels == tensor.len() && channels > 1;
    fits.then_some((Part { name, tensor, lay: Lay::Blocks { channels, inner: 1 } }, other))
}

/// Whether a Clip is a Relu.
fn rectifies(view: &View<'_>, n: &NodeProto) -> bool {
    let bound = |slot: usize, name: &str| match node::input(n, slot) {
        Some(v) => constant(view, v).and_then(|t| t.to_vec::<f32>().ok()?.first().copied()),
        None => attr::float(n, name),
    };
    let unbounded = node::input(n, 2).is_none() && !attr::has(n, "max");
    bound(1, "min") == Some(0.0) && unbounded
}

/// The node ids of the readers of a value, for messages.
pub(super) fn labels(view: &View<'_>, value: &str) -> String {
    let names: Vec<String> = view.users(value).iter().map(|(_, n): &(NodeId, &NodeProto)| node::label(n)).collect();
    names.join(", ")
}
