//! How each operator carries channel labels from its inputs to its outputs. One rule an operator family; what has no rule fixes
//! the labels that reach it. Knows operators, not scores.

use plimsoll_onnx::{NodeId, Tensor, Use, attr, node, proto::NodeProto, shape::Element};

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

    fn fix_inputs(&mut self, n: &NodeProto, reason: &Reason) {
        for track in n.input.iter().filter_map(|v| self.tracks.get(v.as_str())) {
            self.labels.fix(&track.labels, reason);
        }
    }

    /// Fixes the inputs for a reason of their own; the rule counts as having dealt with the node.
    fn refuse(&mut self, n: &NodeProto, reason: Reason) -> Option<()> {
        self.fix_inputs(n, &reason);
        Some(())
    }

    fn across(&mut self, n: &NodeProto) -> Option<()> {
        self.refuse(n, Reason::Across { node: node::label(n), op: n.op_type.clone() })
    }

    fn unknown_shape(&mut self, n: &NodeProto, value: &str) -> Option<()> {
        self.refuse(n, Reason::UnknownShape(value.into()))
    }

    fn track(&self, n: &NodeProto, slot: usize) -> Option<Track> {
        self.tracks.get(node::input(n, slot)?).cloned()
    }

    fn set(&mut self, n: &'m NodeProto, axis: usize, labels: Vec<usize>) -> Option<()> {
        self.tracks.insert(n.output.first()?, Track { axis, labels });
        Some(())
    }

    fn shape(&self, value: &str) -> Option<Vec<usize>> {
        match self.view.constant(value) {
            Some(t) => t.dims.iter().map(|&d| usize::try_from(d).ok()).collect(),
            None => self.shapes.concrete(value),
        }
    }

    /// The whole numbers of a constant, or of a value whose every element is known.
    fn ints(&self, value: &str) -> Option<Vec<i64>> {
        if let Some(t) = self.view.constant(value) {
            return Tensor::from_proto(t).ok()?.to_i64().ok();
        }
        let known = |e: &Element| if let Element::Known(n) = e { Some(*n) } else { None };
        self.open.elements(value)?.iter().map(known).collect()
    }

    /// The entries of a shape, as far as they are known.
    fn elements(&self, value: &str) -> Option<Vec<Element>> {
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
        let (from_right, count) = position?;
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

    fn concat(&mut self, n: &'m NodeProto) -> Option<()> {
        let rank = self.shape(n.output.first()?).map(|s| s.len());
        let Some(rank) = rank else { return self.unknown_shape(n, &n.output[0]) };
        let axis = positive(attr::int(n, "axis")?, rank)?;
        let tracks: Vec<Option<Track>> = n.input.iter().map(|v| self.tracks.get(v.as_str()).cloned()).collect();
        if tracks.iter().flatten().all(|t| t.axis == axis) {
            let mut joined = Vec::new();
            for (value, track) in n.input.iter().zip(tracks) {
                match track {
                    Some(track) => joined.extend(track.labels),
                    None => {
                        let Some(shape) = self.shape(value) else { return self.unknown_shape(n, value) };
                        let fixed = self.labels.fresh(*shape.get(axis)?);
                        self.labels.fix(&fixed, &Reason::Mixed(node::label(n)));
                        joined.extend(fixed);
                    }
                }
            }
            return self.set(n, axis, joined);
        }
        let first = tracks.first()?.clone();
        let same = |t: &Option<Track>| matches!((t, &first), (Some(a), Some(b)) if a.axis == b.axis && a.axis != axis && a.labels.len() == b.labels.len());
        if !tracks.iter().all(same) {
            return self.refuse(n, Reason::Mixed(node::label(n)));
        }
        let first = first?;
        for other in tracks.iter().flatten() {
            first.labels.iter().zip(&other.labels).for_each(|(a, b)| self.labels.unite(*a, *b));
        }
        self.set(n, first.axis, first.labels)
    }

    fn slice(&mut self, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let (axes, starts, ends, steps) = if n.input.len() > 1 {
            let optional = |slot: usize| node::input(n, slot).map(|v| self.ints(v));
            (optional(3), optional(1).flatten(), optional(2).flatten(), optional(4))
        } else {
            let list = |name: &str| attr::ints(n, name).map(<[i64]>::to_vec);
            (list("axes").map(Some), list("starts"), list("ends"), None)
        };
        let axes = match axes {
            Some(axes) => axes?,
            None => (0..starts.as_ref()?.len() as i64).collect(),
        };
        let at = axes.iter().position(|&a| positive(a, rank) == Some(track.axis));
        let whole = match at {
            None => true,
            Some(i) => {
                let step = steps.map_or(Some(1), |s| s?.get(i).copied())?;
                let (start, end) = (*starts?.get(i)?, *ends?.get(i)?);
                step == 1 && start == 0 && end >= track.labels.len() as i64
            }
        };
        if whole { self.set(n, track.axis, track.labels) } else { self.across(n) }
    }

    fn pad(&mut self, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let pads = match node::input(n, 1) {
            Some(value) => self.ints(value)?,
            None => attr::ints(n, "pads")?.to_vec(),
        };
        let axes = match node::input(n, 3) {
            Some(value) => self.ints(value)?,
            None => (0..rank as i64).collect(),
        };
        let at = axes.iter().position(|&a| positive(a, rank) == Some(track.axis));
        let free = at.is_none_or(|i| pads.get(i) == Some(&0) && pads.get(i + axes.len()) == Some(&0));
        if free { self.set(n, track.axis, track.labels) } else { self.across(n) }
    }

    fn transpose(&mut self, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let axis = match attr::ints(n, "perm") {
            Some(perm) => perm.iter().position(|&p| positive(p, rank) == Some(track.axis))?,
            None => (rank - 1).checked_sub(track.axis)?,
        };
        self.set(n, axis, track.labels)
    }

    fn reduce(&mut self, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let axes = match node::input(n, 1) {
            Some(value) => self.ints(value)?,
            None => attr::ints(n, "axes").unwrap_or_default().to_vec(),
        };
        if axes.is_empty() {
            return self.across(n);
        }
        let axes: Vec<usize> = axes.into_iter().map(|a| positive(a, rank)).collect::<Option<_>>()?;
        if axes.contains(&track.axis) {
            return self.across(n);
        }
        let keep = attr::int(n, "keepdims").unwrap_or(1) != 0;
        let gone = if keep { 0 } else { axes.iter().filter(|a| **a < track.axis).count() };
        self.set(n, track.axis - gone, track.labels)
    }

    /// Softmax and its kin normalise along one axis (from opset 13 on; before, across all from it on).
    fn along(&mut self, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let axis = positive(attr::int(n, "axis").unwrap_or(-1), rank)?;
        if axis + 1 == rank && attr::has(n, "axis") && axis != track.axis {
            self.set(n, track.axis, track.labels)
        } else {
            self.across(n)
        }
    }

    /// A Shape is harmless where only other dimensions are picked from it.
    fn shape_of(&mut self, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let start = attr::int(n, "start").map_or(Some(0), |s| positive(s, rank))?;
        let end = attr::int(n, "end").map_or(Some(rank), |e| positive(e, rank))?;
        let elsewhere = |u: &Use| {
            let &Use::Input { node: reader, slot: 0 } = u else { return false };
            let reader = self.view.node(reader);
            let length = end.saturating_sub(start);
            let list = |slot: usize| node::input(reader, slot).and_then(|v| self.ints(v));
            let picked: Option<Vec<usize>> = if node::is(reader, "Gather") {
                list(1).and_then(|v| v.into_iter().map(|i| positive(i, length)).collect())
            } else if node::is(reader, "Slice") && reader.input.len() > 2 && reader.input.len() < 5 {
                let bound = |v: Option<Vec<i64>>| match v.as_deref() {
                    Some(&[i]) if i < 0 => Some(length.saturating_sub(i.unsigned_abs() as usize)),
                    Some(&[i]) => Some((i as usize).min(length)),
                    _ => None,
                };
                bound(list(1)).zip(bound(list(2))).map(|(a, b)| (a..b.max(a)).collect())
            } else {
                None
            };
            picked.is_some_and(|p| !p.iter().any(|i| i + start == track.axis))
        };
        let inside = (start..end).contains(&track.axis);
        let uses = self.view.uses(n.output.first()?);
        if !inside || uses.iter().all(|u| elsewhere(u) || self.casts_elsewhere(u, track.axis, start, end)) {
            return Some(());
        }
        self.refuse(n, Reason::Counted(node::label(n)))
    }

    /// The same through one Cast, as TensorFlow's exporter writes it.
    fn casts_elsewhere(&self, u: &Use, axis: usize, start: usize, end: usize) -> bool {
        let &Use::Input { node: id, slot: 0 } = u else { return false };
        let cast = self.view.node(id);
        if !node::is(cast, "Cast") {
            return false;
        }
        let Some(output) = cast.output.first() else { return false };
        self.view.uses(output).iter().all(|u| {
            let &Use::Input { node: reader, slot: 0 } = u else { return false };
            let reader = self.view.node(reader);
            let indices =
                node::is(reader, "Gather").then(|| node::input(reader, 1).and_then(|v| self.ints(v))).flatten();
            indices.is_some_and(|v| v.iter().all(|&i| positive(i, end - start).is_some_and(|i| i + start != axis)))
        })
    }

    fn expand(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let target = node::input(n, 1)?;
        let (input, output) = (self.shape(&n.input[0])?, self.shape(n.output.first()?)?);
        let shift = output.len().checked_sub(input.len())?;
        let axis = track.axis + shift;
        if output[axis] != track.labels.len() {
            return self.across(n);
        }
        let elements = self.elements(target)?;
        let index = axis.checked_sub(output.len() - elements.len());
        if let Some(index) = index
            && elements[index] != Element::Known(1)
        {
            // Entries that only repeat the input's own size may be written as 1; open ones must be of that kind.
            let lead = output.len() - elements.len();
            let dims = |(i, e): (usize, &Element)| match *e {
                Element::Known(d) => Some(d),
                Element::Dim(s) => {
                    let own = self.open.dims(&n.input[0])?.get((i + lead).checked_sub(shift)?)?;
                    (*own == plimsoll_onnx::shape::Dim::Symbol(s)).then_some(1)
                }
                Element::Unknown => None,
            };
            let Some(dims) = elements.iter().enumerate().map(dims).collect() else {
                return self.unknown_shape(n, target);
            };
            self.edits.entry(id).or_default().push(Edit::Shape { slot: 1, dims, index, labels: track.labels.clone() });
        }
        self.set(n, axis, track.labels)
    }

    fn reshape(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let Some(track) = self.track(n, 0) else { return None };
        let target = node::input(n, 1)?;
        if attr::int(n, "allowzero").unwrap_or(0) != 0 {
            return None;
        }
        let Some(elements) = self.elements(target) else {
            return self.unknown_shape(n, target);
        };
        let Some(axis) = self.regroup(n)? else { return Some(()) };
        let labels = self.tracks.get(n.output.first()?.as_str())?.labels.clone();
        // The shape is written anew: at most one entry may be open, and it becomes -1.
        let mut open = 0;
        let dims: Vec<i64> = elements
            .iter()
            .map(|e| match *e {
                Element::Known(d) => {
                    open += i32::from(d == -1);
                    d
                }
                _ => {
                    open += 1;
                    -1
                }
            })
            .collect();
        let copies_changed = dims.get(track.axis) == Some(&0) && track.axis != axis;
        let entry = *dims.get(axis)?;
        if open > 1 || copies_changed || (entry == 0 && track.axis != axis) || (entry == 0 && track.labels != labels) {
            self.labels.fix(&labels, &Reason::Counted(node::label(n)));
        } else if entry > 0 {
            self.edits.entry(id).or_default().push(Edit::Shape { slot: 1, dims, index: axis, labels });
        }
        Some(())
    }

    /// Carries labels through an operator that keeps the elements in order and only cuts them into other axes. The axis of the
    /// output, where one keeps the channels apart; else the labels are fixed.
    fn regroup(&mut self, n: &'m NodeProto) -> Option<Option<usize>> {
        let track = self.track(n, 0)?;
        let output = n.output.first()?;
        let (Some(from), Some(to)) = (self.shape(&n.input[0]), self.shape(output)) else {
            self.unknown_shape(n, output)?;
            return Some(None);
        };
        match regrouped(&track, &from, &to) {
            Some((axis, labels)) => {
                self.set(n, axis, labels)?;
                Some(Some(axis))
            }
            None => {
                self.across(n)?;
                Some(None)
            }
        }
    }
}

/// Where the channels of an axis lie after the same elements, in the same order, got other axes.
///
/// The label of element e is pattern[(e / inner) mod period]; an output axis of size m with inner size i sees it whole where
/// i·k = inner and k·period divides m.
pub(super) fn regrouped(track: &Track, from: &[usize], to: &[usize]) -> Option<(usize, Vec<usize>)> {
    let labels = &track.labels;
    if labels.len() < 2 || from.get(track.axis) != Some(&labels.len()) || from.contains(&0) {
        return None;
    }
    let runs = (1..=labels.len())
        .rev()
        .find(|r| labels.len() % r == 0 && labels.chunks(*r).all(|c| c.iter().all(|l| *l == c[0])))?;
    let pattern: Vec<usize> = labels.iter().step_by(runs).copied().collect();
    let period =
        (1..=pattern.len()).find(|p| pattern.len() % p == 0 && pattern.chunks(*p).all(|c| *c == pattern[..*p]))?;
    if period < 2 {
        return None;
    }
    let inner = from[track.axis + 1..].iter().product::<usize>() * runs;
    let mut found = None;
    for (axis, &size) in to.iter().enumerate() {
        let own = to[axis + 1..].iter().product::<usize>();
        if own == 0 || inner % own != 0 {
            continue;
        }
        let k = inner / own;
        if size > 0 && size % (k * period) == 0 {
            found = Some((axis, (0..size).map(|j| pattern[j / k % period]).collect()));
            break;
        }
    }
    found
}

fn positive(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + i64::try_from(rank).ok()? } else { axis };
    usize::try_from(axis).ok().filter(|a| *a <= rank)
}
