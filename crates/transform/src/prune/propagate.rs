//! How each operator carries channel labels from its inputs to its outputs. One rule an operator family; what has no rule fixes
//! the labels that reach it. Knows operators, not scores.

use plimsoll_onnx::{NodeId, Tensor, attr, node, proto::NodeProto, shape::Element};

use super::groups::{Cut, Edit, Producer, Reason, Role, Track, Walk};

const UNARY: [&str; 43] = [
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
    "Dropout",
    "Clip",
    "Not",
    "IsNaN",
    "IsInf",
    "ThresholdedRelu",
];

const BROADCAST: [&str; 17] = [
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
];

const REDUCE: [&str; 10] = [
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
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
            // From here on only what reads tracked channels matters.
            _ if !n.input.iter().any(|v| self.tracks.contains_key(v.as_str())) => return,
            "BatchNormalization" | "InstanceNormalization" => self.per_channel(id, n),
            "Concat" => self.concat(n),
            "Slice" => self.slice(n),
            "Pad" => self.pad(n),
            "Transpose" => self.transpose(n),
            "Reshape" => self.reshape(id, n),
            "Flatten" | "Squeeze" | "Unsqueeze" => self.regroup(n).map(|_| ()),
            "Expand" => self.expand(id, n),
            "Softmax" | "LogSoftmax" | "Hardmax" => self.along(n),
            "Shape" => self.shape_of(n),
            op if UNARY.contains(&op) && (op != "Dropout" || n.output.len() == 1) => self.pass(n, |t| Some(t.axis)),
            op if BROADCAST.contains(&op) => self.broadcast(id, n),
            op if REDUCE.contains(&op) => self.reduce(n),
            op if POOL.contains(&op) && n.output.len() == 1 => self.pass(n, |t| (t.axis == 1).then_some(1)),
            _ => None,
        };
        if done.is_none() {
            self.fix_inputs(n, &Reason::Operator { node: node::label(n), op: n.op_type.clone() });
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
        self.tracks.insert(n.output.first()?, Track { axis, labels });
        Some(())
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

    fn cut(&mut self, node: NodeId, param: &'m str, axis: usize, labels: &[usize], role: Role) {
        self.cuts.push(Cut { param, node, axis, labels: labels.to_vec(), role });
    }

    fn produce(&mut self, n: &'m NodeProto, count: usize) -> Vec<usize> {
        let labels = self.labels.fresh(count);
        self.producers.push(Producer { label: node::label(n), first: labels.first().copied().unwrap_or(0), count });
        labels
    }

    /// The first input's channels come out on the axis that `axis` says.
    fn pass(&mut self, n: &'m NodeProto, axis: impl Fn(&Track) -> Option<usize>) -> Option<()> {
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

    fn conv(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let weight = node::input(n, 1)?;
        let bias = node::input(n, 2);
        let read = self.track(n, 0);
        let constant = |v: &str| self.view.constant(v).is_some();
        if !constant(weight) || !bias.is_none_or(constant) {
            return self.refuse(n, Reason::ComputedWeight(node::label(n)));
        }
        let shape = self.shape(weight).filter(|s| s.len() >= 3)?;
        let transposed = n.op_type == "ConvTranspose";
        let (in_axis, out_axis) = if transposed { (0, 1) } else { (1, 0) };
        let group = usize::try_from(attr::int(n, "group").unwrap_or(1)).ok().filter(|g| *g > 0)?;
        if read.as_ref().is_some_and(|t| t.axis != 1) {
            return self.across(n);
        }
        if group > 1 {
            let Some(read) = read else { return Some(()) };
            if transposed || group != read.labels.len() || shape[0] % group != 0 || shape[1] != 1 {
                return self.refuse(n, Reason::Grouped(node::label(n)));
            }
            // Depthwise: each channel has its own filters and becomes channels of its own.
            let each = shape[0] / group;
            let labels: Vec<usize> = read.labels.iter().flat_map(|&l| std::iter::repeat_n(l, each)).collect();
            self.cut(id, weight, 0, &labels, Role::Follows);
            if let Some(bias) = bias {
                self.cut(id, bias, 0, &labels, Role::Follows);
            }
            self.edits.entry(id).or_default().push(Edit::Group(read.labels));
            return self.set(n, 1, labels);
        }
        if let Some(read) = read {
            if read.labels.len() != shape[in_axis] {
                return self.unknown_shape(n, weight);
            }
            self.cut(id, weight, in_axis, &read.labels, Role::Follows);
        }
        let made = self.produce(n, shape[out_axis]);
        self.cut(id, weight, out_axis, &made, Role::Makes);
        if let Some(bias) = bias {
            self.cut(id, bias, 0, &made, Role::Follows);
        }
        self.set(n, 1, made)
    }

    fn gemm(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let weight = node::input(n, 1)?;
        if self.view.constant(weight).is_none() {
            return self.refuse(n, Reason::ComputedWeight(node::label(n)));
        }
        let shape = self.shape(weight).filter(|s| s.len() == 2)?;
        let (in_axis, out_axis) = if attr::int(n, "transB").unwrap_or(0) != 0 { (1, 0) } else { (0, 1) };
        if let Some(read) = self.track(n, 0) {
            if attr::int(n, "transA").unwrap_or(0) != 0 || read.axis != 1 || read.labels.len() != shape[in_axis] {
                return self.across(n);
            }
            self.cut(id, weight, in_axis, &read.labels, Role::Follows);
        }
        let made = self.produce(n, shape[out_axis]);
        self.cut(id, weight, out_axis, &made, Role::Makes);
        if let Some(bias) = node::input(n, 2) {
            match self.view.constant(bias).and_then(|_| self.shape(bias)) {
                None => {
                    let reason = Reason::ComputedWeight(node::label(n));
                    self.labels.fix(&made, &reason);
                    self.fix_inputs(n, &reason);
                }
                Some(dims) => {
                    if dims.last().is_some_and(|d| *d == made.len() && *d != 1) {
                        self.cut(id, bias, dims.len() - 1, &made, Role::Follows);
                    }
                }
            }
        }
        self.set(n, 1, made)
    }

    fn matmul(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let (data, weight) = (node::input(n, 0)?, node::input(n, 1)?);
        if self.view.constant(weight).is_none() || self.view.constant(data).is_some() {
            return self.refuse(n, Reason::ComputedWeight(node::label(n)));
        }
        let Some(rank) = self.shape(data).map(|s| s.len()).filter(|r| *r >= 2) else {
            return self.unknown_shape(n, data);
        };
        let shape = self.shape(weight).filter(|s| s.len() == 2)?;
        if let Some(read) = self.track(n, 0) {
            if read.axis != rank - 1 || read.labels.len() != shape[0] {
                return self.across(n);
            }
            self.cut(id, weight, 0, &read.labels, Role::Follows);
        }
        let made = self.produce(n, shape[1]);
        self.cut(id, weight, 1, &made, Role::Makes);
        self.set(n, rank - 1, made)
    }

    /// An embedding makes channels; a Gather of channels' other axes keeps them.
    fn gather(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let (data, indices) = (node::input(n, 0)?, node::input(n, 1)?);
        let axis = attr::int(n, "axis").unwrap_or(0);
        if self.tracks.contains_key(indices) {
            return None;
        }
        if let Some(read) = self.track(n, 0) {
            let (Some(shape), Some(picked)) = (self.shape(data), self.shape(indices)) else {
                return self.unknown_shape(n, data);
            };
            let axis = positive(axis, shape.len())?;
            return match read.axis.cmp(&axis) {
                std::cmp::Ordering::Less => self.set(n, read.axis, read.labels),
                std::cmp::Ordering::Equal => self.across(n),
                std::cmp::Ordering::Greater => self.set(n, (read.axis + picked.len()).checked_sub(1)?, read.labels),
            };
        }
        let table = self.view.constant(data).and_then(|_| self.shape(data));
        if let (Some(table), Some(picked), 0) = (table.filter(|s| s.len() == 2), self.shape(indices), axis)
            && self.view.constant(indices).is_none()
        {
            let made = self.produce(n, table[1]);
            self.cut(id, data, 1, &made, Role::Makes);
            return self.set(n, picked.len(), made);
        }
        Some(())
    }

    fn per_channel(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let read = self.track(n, 0)?;
        if read.axis != 1 || n.output.len() > 1 {
            return None;
        }
        for slot in 1..n.input.len() {
            let param = node::input(n, slot)?;
            if self.view.constant(param).is_none() {
                return self.refuse(n, Reason::ComputedWeight(node::label(n)));
            }
            if self.shape(param)? != [read.labels.len()] {
                return None;
            }
        }
        for slot in 1..n.input.len() {
            if let Some(param) = node::input(n, slot) {
                self.cut(id, param, 0, &read.labels, Role::Follows);
            }
        }
        self.set(n, 1, read.labels)
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
            let axis = shape.len().checked_sub(from_right).filter(|&a| shape[a] != 1);
            match axis {
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
