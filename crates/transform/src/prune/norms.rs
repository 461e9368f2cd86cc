//! How normalisations and other operators that look along some axes carry channel labels. Knows operators, not scores.

use plimsoll_onnx::{NodeId, attr, node, proto::NodeProto};

use super::{
    groups::{Edit, Reason, Role, Track, Walk},
    propagate::positive,
};

/// From here on Softmax and its kin normalise along one axis; before, across all from it on.
const SOFTMAX_OF_ONE_AXIS: i64 = 13;

impl<'m> Walk<'_, 'm> {
    /// Each channel is normalised alone, by parameters of its own.
    pub(super) fn per_channel(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let read = self.track(n, 0)?;
        if read.axis != 1 || (1..n.output.len()).any(|o| self.is_used(n, o)) {
            return None;
        }
        let mut params = Vec::new();
        for slot in 1..n.input.len() {
            let param = node::input(n, slot)?;
            if self.view.constant(param).is_none() {
                return self.refuse(n, Reason::ComputedWeight(node::label(n)));
            }
            if self.shape(param)? != [read.labels.len()] {
                return None;
            }
            params.push(param);
        }
        params.into_iter().for_each(|param| self.cut(id, param, 0, &read.labels, Role::Follows));
        self.set(n, 1, read.labels)
    }

    /// Channels of a group are normalised together, and go together.
    pub(super) fn group_norm(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let read = self.track(n, 0)?;
        let count = read.labels.len();
        let groups = usize::try_from(attr::int(n, "num_groups")?).ok().filter(|g| *g > 0)?;
        if read.axis != 1 {
            return self.across(n);
        }
        if !count.is_multiple_of(groups) {
            return self.refuse(n, Reason::Grouped(node::label(n)));
        }
        let firsts: Vec<usize> = read.labels.iter().step_by((count / groups).max(1)).copied().collect();
        let mut params = Vec::new();
        for slot in 1..n.input.len() {
            let param = node::input(n, slot)?;
            if self.view.constant(param).is_none() {
                return self.refuse(n, Reason::ComputedWeight(node::label(n)));
            }
            // One entry a channel; before operator set 21 one a group.
            match *self.shape(param)?.as_slice() {
                [length] if length == count => params.push((param, &read.labels)),
                [length] if length == groups => params.push((param, &firsts)),
                _ => return None,
            }
        }
        self.labels.unite_blocks(&read.labels, count / groups);
        params.into_iter().for_each(|(param, labels)| self.cut(id, param, 0, labels, Role::Follows));
        self.edits.entry(id).or_default().push(Edit::Count { attribute: "num_groups", labels: firsts });
        self.set(n, 1, read.labels)
    }

    /// All axes from one on are normalised together: those before it are rows.
    pub(super) fn layer_norm(&mut self, n: &'m NodeProto) -> Option<()> {
        let read = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let axis = positive(attr::int(n, "axis").unwrap_or(-1), rank)?;
        let parameters_reach = |slot: usize| {
            let shape = node::input(n, slot).map(|v| self.shape(v));
            shape.is_some_and(|s| s.is_none_or(|s| s.len() > rank - axis))
        };
        if read.axis >= axis || (1..n.input.len()).any(parameters_reach) {
            return self.across(n);
        }
        if n.input.iter().skip(1).any(|v| self.tracks.contains_key(v.as_str()))
            || (1..n.output.len()).any(|o| self.is_used(n, o))
        {
            return None;
        }
        self.set(n, read.axis, read.labels)
    }

    /// Softmax and its kin.
    pub(super) fn along(&mut self, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let of_one_axis = self.opset >= SOFTMAX_OF_ONE_AXIS;
        let axis = positive(attr::int(n, "axis").unwrap_or(if of_one_axis { -1 } else { 1 }), rank)?;
        let apart = if of_one_axis { axis != track.axis } else { track.axis < axis };
        if apart { self.set(n, track.axis, track.labels) } else { self.across(n) }
    }

    /// Operators that mix the elements along named axes and keep shapes.
    pub(super) fn beside(&mut self, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        if n.input.iter().skip(1).any(|v| self.tracks.contains_key(v.as_str())) {
            return None;
        }
        let axes = match n.op_type.as_str() {
            "LpNormalization" => vec![attr::int(n, "axis").unwrap_or(-1)],
            "CumSum" => self.ints(node::input(n, 1)?)?,
            "ReverseSequence" => {
                vec![attr::int(n, "time_axis").unwrap_or(0), attr::int(n, "batch_axis").unwrap_or(1)]
            }
            "MeanVarianceNormalization" => attr::ints(n, "axes").unwrap_or(&[0, 2, 3]).to_vec(),
            _ => vec![1],
        };
        let apart = axes.iter().all(|&a| positive(a, rank).is_some_and(|a| a != track.axis));
        if apart { self.set(n, track.axis, track.labels) } else { self.across(n) }
    }

    /// Reductions. A sum, or a norm of a sum, over channels reads those that are left like a layer whose weights are all 1.
    pub(super) fn reduce(&mut self, n: &'m NodeProto) -> Option<()> {
        let Track { axis, labels } = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let axes = match node::input(n, 1) {
            _ if n.op_type.starts_with("Arg") => vec![attr::int(n, "axis").unwrap_or(0)],
            Some(value) => self.ints(value)?,
            None => attr::ints(n, "axes").unwrap_or_default().to_vec(),
        };
        if axes.is_empty() && attr::int(n, "noop_with_empty_axes").unwrap_or(0) != 0 {
            // Nothing is reduced; what is done to each element keeps channels apart all the same.
            return self.set(n, axis, labels);
        }
        let axes: Vec<usize> = axes.into_iter().map(|a| positive(a, rank)).collect::<Option<_>>()?;
        if axes.is_empty() || axes.contains(&axis) {
            let sums = ["ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"].contains(&n.op_type.as_str());
            return if sums { Some(()) } else { self.across(n) };
        }
        let keep = attr::int(n, "keepdims").unwrap_or(1) != 0;
        let gone = if keep { 0 } else { axes.iter().filter(|a| **a < axis).count() };
        self.set(n, axis.checked_sub(gone)?, labels)
    }
}
