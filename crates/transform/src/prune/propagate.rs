//! How each operator carries channel labels from its inputs to its outputs: which rule is whose, and element-wise operators.
//! What has no rule fixes the labels that reach it. Knows operators, not scores.

use plimsoll_onnx::{
    NodeId, Tensor, node,
    proto::NodeProto,
    shape::{Dim, Element},
};

use super::groups::{Cut, Producer, Reason, Role, Track, Walk};
use crate::operators::REDUCTIONS;

const UNARY: [&str; 44] = [
    "Relu",
    "LeakyRelu",
    "Elu",
    "Selu",
    "Celu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Softplus",
    "Softsign",
    "Gelu",
    "Mish",
    "Abs",
    "Neg",
    "Exp",
    "Log",
    "Sqrt",
    "Reciprocal",
    "Erf",
    "Floor",
    "Ceil",
    "Round",
    "Sign",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Identity",
    "Cast",
    "Clip",
    "Not",
    "IsNaN",
    "IsInf",
    "ThresholdedRelu",
    "Swish",
    "Shrink",
];

const BROADCAST: [&str; 20] = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Max",
    "Min",
    "Mean",
    "Sum",
    "PRelu",
    "Where",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "And",
    "Or",
    "Xor",
    "Mod",
];

const POOL: [&str; 6] = ["MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"];

impl<'m> Walk<'_, 'm> {
    pub(super) fn node(&mut self, id: NodeId, n: &'m NodeProto) {
        let known = node::is_default_domain(&n.domain);
        let done = match n.op_type.as_str() {
            _ if !known => None,
            "Conv" | "ConvTranspose" => self.conv(id, n),
            "Gemm" => self.gemm(id, n),
            "MatMul" => self.matmul(id, n),
            "Gather" => self.gather(id, n),
            "LSTM" | "GRU" | "RNN" => self.recurrent(id, n),
            // From here on only what reads tracked channels matters.
            _ if !n.input.iter().any(|v| self.tracks.contains_key(v.as_str())) => return,
            "BatchNormalization" | "InstanceNormalization" => self.per_channel(id, n),
            "GroupNormalization" => self.group_norm(id, n),
            "LayerNormalization" | "RMSNormalization" => self.layer_norm(n),
            "Concat" => self.concat(n),
            "Split" => self.split(id, n),
            "Slice" => self.slice(id, n),
            "Tile" => self.tile(n),
            "Pad" => self.pad(n),
            "Resize" | "Upsample" => self.resize(id, n),
            "Transpose" => self.transpose(n),
            "Reshape" => self.reshape(id, n),
            "Flatten" | "Squeeze" | "Unsqueeze" => self.regroup(n).map(|_| ()),
            "Expand" => self.expand(id, n),
            "Softmax" | "LogSoftmax" | "Hardmax" => self.along(n),
            "LpNormalization" | "CumSum" | "ReverseSequence" | "MeanVarianceNormalization" | "LRN" => self.beside(n),
            "Shape" => self.shape_of(n),
            "Dropout" | "CastLike" => self.first_alone(n),
            op if UNARY.contains(&op) => self.pass(n, |t| Some(t.axis)),
            op if BROADCAST.contains(&op) => self.broadcast(id, n),
            op if REDUCTIONS.contains(&op) => self.reduce(n),
            op if POOL.contains(&op) && !self.is_used(n, 1) => self.pass(n, |t| (t.axis == 1).then_some(1)),
            _ => None,
        };
        if done.is_none() {
            // A rule that has no shape to go by says nothing about its operator.
            let mut tracked = n.input.iter().filter(|v| self.tracks.contains_key(v.as_str()));
            let reason = match tracked.find(|v| self.shape(v).is_none()) {
                Some(value) if known => Reason::UnknownShape(value.clone()),
                _ => Reason::Operator { node: node::label(n), op: n.op_type.clone() },
            };
            self.fix_inputs(n, &reason);
        }
    }

    pub(super) fn fix_inputs(&mut self, n: &NodeProto, reason: &Reason) {
        for track in n.input.iter().filter_map(|v| self.tracks.get(v.as_str())) {
            self.labels.fix(&track.labels, reason);
        }
    }

    /// Fixes the inputs for a reason of their own; the rule counts as having dealt with the node.
    pub(super) fn refuse(&mut self, n: &NodeProto, reason: Reason) -> Option<()> {
        self.fix_inputs(n, &reason);
        Some(())
    }

    pub(super) fn across(&mut self, n: &NodeProto) -> Option<()> {
        self.refuse(n, Reason::Across { node: node::label(n), op: n.op_type.clone() })
    }

    pub(super) fn unknown_shape(&mut self, n: &NodeProto, value: &str) -> Option<()> {
        self.refuse(n, Reason::UnknownShape(value.into()))
    }

    pub(super) fn track(&self, n: &NodeProto, slot: usize) -> Option<Track> {
        self.tracks.get(node::input(n, slot)?).cloned()
    }

    pub(super) fn set(&mut self, n: &'m NodeProto, axis: usize, labels: Vec<usize>) -> Option<()> {
        self.follow(n.output.first()?, Track { axis, labels });
        Some(())
    }

    /// Notes which channels a value carries, as long as there is room for them.
    pub(super) fn follow(&mut self, value: &'m str, track: Track) {
        match self.left.checked_sub(track.labels.len()) {
            Some(left) => {
                self.left = left;
                self.tracks.insert(value, track);
            }
            None => self.labels.fix(&track.labels, &Reason::TooMany(value.into())),
        }
    }

    /// Whether an output beyond the first is read at all.
    pub(super) fn is_used(&self, n: &NodeProto, output: usize) -> bool {
        n.output.get(output).is_some_and(|o| !self.view.uses(o).is_empty())
    }

    /// Whether an axis has length 1 in every run.
    pub(super) fn is_one(&self, value: &str, axis: usize) -> bool {
        match self.view.constant(value) {
            Some(t) => t.dims.get(axis) == Some(&1),
            None => self.open.dims(value).and_then(|d| d.get(axis)) == Some(&Dim::Known(1)),
        }
    }

    pub(super) fn shape(&self, value: &str) -> Option<Vec<usize>> {
        match self.view.constant(value) {
            Some(t) => t.dims.iter().map(|&d| usize::try_from(d).ok()).collect(),
            None => self.shapes.concrete(value),
        }
    }

    /// The whole numbers of a constant, or of a value whose every element is known.
    pub(super) fn ints(&self, value: &str) -> Option<Vec<i64>> {
        if let Some(t) = self.view.constant(value) {
            return Tensor::from_proto(t).ok()?.to_i64().ok();
        }
        let known = |e: &Element| if let Element::Known(n) = e { Some(*n) } else { None };
        self.open.elements(value)?.iter().map(known).collect()
    }

    /// The entries of a shape, as far as they are known.
    pub(super) fn elements(&self, value: &str) -> Option<Vec<Element>> {
        match self.ints(value) {
            Some(ints) => Some(ints.into_iter().map(Element::Known).collect()),
            None => self.open.elements(value).map(<[Element]>::to_vec),
        }
    }

    pub(super) fn cut(&mut self, node: NodeId, param: &'m str, axis: usize, labels: &[usize], role: Role) {
        self.cuts.push(Cut { param, node, axis, labels: labels.to_vec(), role });
    }

    pub(super) fn produce(&mut self, n: &'m NodeProto, count: usize) -> Vec<usize> {
        let labels = self.labels.fresh(count);
        self.producers.push(Producer { label: node::label(n), first: labels.first().copied().unwrap_or(0), count });
        labels
    }

    /// The first input's channels come out on the axis that `axis` says.
    pub(super) fn pass(&mut self, n: &'m NodeProto, axis: impl Fn(&Track) -> Option<usize>) -> Option<()> {
        // Bounds and the like are scalars; tracked channels there are none of this rule's business.
        if n.input.iter().skip(1).any(|v| self.tracks.contains_key(v.as_str())) {
            return None;
        }
        let track = self.track(n, 0)?;
        match axis(&track) {
            Some(axis) => self.set(n, axis, track.labels),
            None => self.across(n),
        }
    }

    /// Operators whose further inputs and outputs do not touch the elements of the first.
    fn first_alone(&mut self, n: &'m NodeProto) -> Option<()> {
        if (1..n.output.len()).any(|o| self.is_used(n, o)) {
            return None;
        }
        self.pass(n, |t| Some(t.axis))
    }

    fn broadcast(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        // Axes align at their ends: positions count from the right.
        let mut position = None;
        let mut rank = 0;
        for value in n.input.iter().filter(|v| !v.is_empty()) {
            let Some(shape) = self.shape(value) else { return self.unknown_shape(n, value) };
            rank = rank.max(shape.len());
            if let Some(track) = self.tracks.get(value.as_str()) {
                let here = (shape.len().checked_sub(track.axis)?, track.labels.len());
                if *position.get_or_insert(here) != here {
                    return None;
                }
            }
        }
        let (from_right, count) = position.filter(|(p, _)| *p > 0)?;
        let mut cuts = Vec::new();
        let mut all: Vec<Vec<usize>> = Vec::new();
        for value in n.input.iter().filter(|v| !v.is_empty()) {
            if let Some(track) = self.tracks.get(value.as_str()) {
                all.push(track.labels.clone());
                continue;
            }
            let shape = self.shape(value)?;
            let axis = shape.len().checked_sub(from_right);
            match axis.filter(|&a| !self.is_one(value, a)) {
                None => {}
                Some(axis) if self.view.constant(value).is_some() && shape[axis] == count => cuts.push((value, axis)),
                Some(_) => return self.refuse(n, Reason::Mixed(node::label(n))),
            }
        }
        let (first, rest) = all.split_first()?;
        for other in rest {
            first.iter().zip(other).for_each(|(a, b)| self.labels.unite(*a, *b));
        }
        for (param, axis) in cuts {
            self.cut(id, param, axis, first, Role::Follows);
        }
        self.set(n, rank.checked_sub(from_right)?, first.clone())
    }
}

/// An axis counted from the front.
pub(super) fn positive(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + i64::try_from(rank).ok()? } else { axis };
    usize::try_from(axis).ok().filter(|a| *a <= rank)
}
