//! How layers that multiply by weights carry channel labels: convolutions, plain, grouped and transposed; matrix products;
//! embeddings. Knows operators, not scores.

use plimsoll_onnx::{NodeId, attr, node, proto::NodeProto};

use super::{
    groups::{Edit, Reason, Role, Track, Walk},
    propagate::positive,
};

/// A convolution's weight and what it says.
struct Convolution<'m> {
    weight: &'m str,
    bias: Option<&'m str>,
    transposed: bool,
    group: usize,
    /// Channels read and made, all groups together.
    channels: [usize; 2],
}

impl<'m> Walk<'_, 'm> {
    pub(super) fn conv(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let (weight, bias) = (node::input(n, 1)?, node::input(n, 2));
        let constant = |v: &str| self.view.constant(v).is_some();
        if !constant(weight) || !bias.is_none_or(constant) {
            return self.refuse(n, Reason::ComputedWeight(node::label(n)));
        }
        let shape = self.shape(weight).filter(|s| s.len() >= 3)?;
        let transposed = n.op_type == "ConvTranspose";
        let group = usize::try_from(attr::int(n, "group").unwrap_or(1)).ok().filter(|g| *g > 0)?;
        // Conv has [made, read / group, …], ConvTranspose [read, made / group, …].
        let channels = if transposed {
            [shape[0], shape[1].checked_mul(group)?]
        } else {
            [shape[1].checked_mul(group)?, shape[0]]
        };
        if channels.iter().any(|c| *c > self.most || c % group != 0) {
            return self.refuse(n, Reason::Grouped(node::label(n)));
        }
        let read = self.track(n, 0);
        if read.as_ref().is_some_and(|t| t.axis != 1) {
            return self.across(n);
        }
        let read = read.map(|t| t.labels);
        if read.as_ref().is_some_and(|r| r.len() != channels[0]) {
            return self.unknown_shape(n, weight);
        }
        let conv = Convolution { weight, bias, transposed, group, channels };
        let [each, makes] = conv.channels.map(|c| c / group);
        match read {
            // Whole groups go where these are the finer choice: always so in depthwise layers.
            Some(read) if group > 1 && group >= each => self.conv_by_groups(id, n, &conv, read),
            None if group > 1 && makes == 1 => Some(()),
            read => self.conv_evenly(id, n, &conv, read),
        }
    }

    /// All channels of a group, read and made, go together; `group` counts what is left.
    fn conv_by_groups(&mut self, id: NodeId, n: &'m NodeProto, conv: &Convolution<'m>, read: Vec<usize>) -> Option<()> {
        let [each, makes] = conv.channels.map(|c| c / conv.group);
        self.labels.unite_blocks(&read, each);
        let groups: Vec<usize> = read.iter().step_by(each.max(1)).copied().collect();
        let made: Vec<usize> = groups.iter().flat_map(|&l| std::iter::repeat_n(l, makes)).collect();
        self.cut(id, conv.weight, 0, if conv.transposed { &read } else { &made }, Role::Follows);
        if let Some(bias) = conv.bias {
            self.cut(id, bias, 0, &made, Role::Follows);
        }
        self.edits.entry(id).or_default().push(Edit::Count { attribute: "group", labels: groups });
        self.set(n, 1, made)
    }

    /// As many channels of each group go: those in the same place of every group together.
    fn conv_evenly(
        &mut self,
        id: NodeId,
        n: &'m NodeProto,
        conv: &Convolution<'m>,
        read: Option<Vec<usize>>,
    ) -> Option<()> {
        let [each, makes] = conv.channels.map(|c| c / conv.group);
        if let Some(read) = &read {
            self.labels.unite_stretches(read, each);
            if conv.transposed {
                self.cut(id, conv.weight, 0, read, Role::Follows);
            } else {
                self.cut(id, conv.weight, 1, read.get(..each)?, Role::Follows);
            }
        }
        let made = self.produce(n, conv.channels[1]);
        self.labels.unite_stretches(&made, makes);
        if conv.transposed {
            self.cut(id, conv.weight, 1, made.get(..makes)?, Role::Makes);
        } else {
            self.cut(id, conv.weight, 0, &made, Role::Makes);
        }
        if let Some(bias) = conv.bias {
            self.cut(id, bias, 0, &made, Role::Follows);
        }
        self.set(n, 1, made)
    }

    pub(super) fn gemm(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let weight = node::input(n, 1)?;
        if self.view.constant(weight).is_none() {
            return self.refuse(n, Reason::ComputedWeight(node::label(n)));
        }
        let shape = self.shape(weight).filter(|s| s.len() == 2)?;
        let (in_axis, out_axis) = if attr::int(n, "transB").unwrap_or(0) != 0 { (1, 0) } else { (0, 1) };
        if shape[out_axis] > self.most {
            return self.unknown_shape(n, weight);
        }
        if let Some(read) = self.track(n, 0) {
            let channels_at = if attr::int(n, "transA").unwrap_or(0) != 0 { 0 } else { 1 };
            if read.axis != channels_at || read.labels.len() != shape[in_axis] {
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

    /// A constant on one side makes channels; two computed operands may share them (attention).
    pub(super) fn matmul(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let (a, b) = (node::input(n, 0)?, node::input(n, 1)?);
        let constant = |v: &str| self.view.constant(v).is_some();
        let (weight, data, slot) = match (constant(a), constant(b)) {
            (true, true) => return Some(()),
            (false, true) => (b, a, 0),
            (true, false) => (a, b, 1),
            (false, false) => return self.product(n),
        };
        let Some(rank) = self.shape(data).map(|s| s.len()).filter(|r| *r >= 2) else {
            return self.unknown_shape(n, data);
        };
        let shape = self.shape(weight).filter(|s| s.len() >= 2)?;
        // Axes count from the right: of the data, which one is multiplied; of the weight, which ones read and make.
        let (multiplied, reads, makes) = if slot == 0 { (1, 2, 1) } else { (2, 1, 2) };
        let (in_axis, out_axis) = (shape.len() - reads, shape.len() - makes);
        let read = self.track(n, slot);
        if let Some(read) = &read {
            let from_right = rank.checked_sub(read.axis)?;
            if from_right == 3 - multiplied {
                // Rows beside the product stay what they are; what the product makes is not followed as well.
                return self.set(n, rank.max(shape.len()).checked_sub(from_right)?, read.labels.clone());
            }
            if from_right != multiplied || read.labels.len() != shape[in_axis] {
                return self.across(n);
            }
            self.cut(id, weight, in_axis, &read.labels, Role::Follows);
        }
        if slot == 1 && read.is_none() || shape[out_axis] > self.most {
            return Some(());
        }
        let made = self.produce(n, shape[out_axis]);
        self.cut(id, weight, out_axis, &made, Role::Makes);
        self.set(n, rank.max(shape.len()).checked_sub(makes)?, made)
    }

    /// A product of two computed values: channels that both multiply away, channels on a stacked axis of both, or channels of
    /// one beside the product.
    fn product(&mut self, n: &'m NodeProto) -> Option<()> {
        let shapes = [self.shape(&n.input[0]), self.shape(&n.input[1])];
        let [Some(a), Some(b)] = shapes else { return self.unknown_shape(n, &n.input[0]) };
        let ranks = [a.len(), b.len()];
        let rank = ranks[0].max(ranks[1]);
        if ranks.iter().any(|r| *r < 2) {
            return None;
        }
        let side = |slot: usize| self.track(n, slot).map(|t| (ranks[slot] - t.axis.min(ranks[slot]), t.labels));
        let mixed = Reason::Mixed(node::label(n));
        match (side(0), side(1)) {
            (None, None) => Some(()),
            (Some((1, x)), Some((2, y))) if x.len() == y.len() => {
                x.iter().zip(&y).for_each(|(x, y)| self.labels.unite(*x, *y));
                Some(())
            }
            (Some((p, x)), Some((q, y))) if p == q && p > 2 && x.len() == y.len() => {
                x.iter().zip(&y).for_each(|(x, y)| self.labels.unite(*x, *y));
                self.set(n, rank - p, x)
            }
            (Some((2, x)), None) => self.set(n, rank - 2, x),
            (None, Some((1, y))) => self.set(n, rank - 1, y),
            (Some((p, x)), None) if p > 2 && self.is_beside(&n.input[1], ranks[1], p) => self.set(n, rank - p, x),
            (None, Some((p, y))) if p > 2 && self.is_beside(&n.input[0], ranks[0], p) => self.set(n, rank - p, y),
            _ => self.refuse(n, mixed),
        }
    }

    /// Whether a value is the same for every position of an axis that counts from the right.
    fn is_beside(&self, value: &str, rank: usize, from_right: usize) -> bool {
        rank.checked_sub(from_right).is_none_or(|axis| self.is_one(value, axis))
    }

    /// An embedding makes channels; a Gather of channels' other axes keeps them, one along their axis picks among them.
    pub(super) fn gather(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
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
                std::cmp::Ordering::Equal => self.pick(id, n, read),
                std::cmp::Ordering::Greater => self.set(n, (read.axis + picked.len()).checked_sub(1)?, read.labels),
            };
        }
        let table = self.view.constant(data).and_then(|_| self.shape(data));
        if let (Some(table), Some(picked), 0) = (table.filter(|s| s.len() == 2), self.shape(indices), axis)
            && self.view.constant(indices).is_none()
            && table[1] <= self.most
        {
            let made = self.produce(n, table[1]);
            self.cut(id, data, 1, &made, Role::Makes);
            return self.set(n, picked.len(), made);
        }
        Some(())
    }

    /// The channels at constant places.
    fn pick(&mut self, id: NodeId, n: &'m NodeProto, read: Track) -> Option<()> {
        let indices = node::input(n, 1)?;
        let flat = self.shape(indices).is_some_and(|s| s.len() == 1);
        let Some(places) = self.ints(indices).filter(|_| flat) else { return self.across(n) };
        let count = read.labels.len();
        let at: Option<Vec<usize>> = places.iter().map(|&p| positive(p, count).filter(|p| *p < count)).collect();
        let at = at.filter(|at| !at.is_empty() && at.len() <= self.most)?;
        let picked: Vec<usize> = at.iter().map(|&p| read.labels[p]).collect();
        self.parts.push(picked.clone());
        self.edits.entry(id).or_default().push(Edit::Picks { labels: read.labels, at });
        self.set(n, read.axis, picked)
    }
}
