//! How operators that take some channels, or take them several times, carry their labels: Split, Slice, Tile, Resize. Knows
//! operators, not scores.

use plimsoll_onnx::{NodeId, Tensor, attr, node, proto::NodeProto};

use super::{
    groups::{Edit, Reason, Track, Walk, Window},
    propagate::positive,
};

/// From here on the sizes of a Split's parts are an input.
const SPLIT_BY_INPUT: i64 = 13;

impl<'m> Walk<'_, 'm> {
    pub(super) fn split(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let axis = positive(attr::int(n, "axis").unwrap_or(0), rank)?;
        if axis != track.axis {
            for output in n.output.iter().filter(|o| !o.is_empty()) {
                self.follow(output, track.clone());
            }
            return Some(());
        }
        let total = track.labels.len();
        let sizes: Vec<usize> = match (node::input(n, 1), attr::ints(n, "split")) {
            (Some(value), _) => self.ints(value)?.iter().map(|&s| usize::try_from(s).ok()).collect::<Option<_>>()?,
            (None, Some(sizes)) => sizes.iter().map(|&s| usize::try_from(s).ok()).collect::<Option<_>>()?,
            (None, None) => {
                let each = total.div_ceil(n.output.len().max(1));
                (0..n.output.len()).map(|i| each.min(total.saturating_sub(i * each))).collect()
            }
        };
        let sum = sizes.iter().try_fold(0usize, |n, &s| n.checked_add(s));
        if sizes.len() != n.output.len() || sum != Some(total) {
            return None;
        }
        let mut rest = track.labels.as_slice();
        let mut parts = Vec::new();
        for (output, size) in n.output.iter().zip(sizes) {
            let (part, after) = rest.split_at_checked(size)?;
            rest = after;
            parts.push(part.to_vec());
            if !output.is_empty() {
                self.follow(output, Track { axis, labels: part.to_vec() });
            }
        }
        self.parts.extend(parts.iter().filter(|p| !p.is_empty()).cloned());
        self.edits.entry(id).or_default().push(Edit::Parts { input: self.opset >= SPLIT_BY_INPUT, parts });
        Some(())
    }

    pub(super) fn slice(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let inputs = n.input.len() > 1;
        let list = |name: &str, slot: usize| {
            if inputs {
                node::input(n, slot).map(|v| self.ints(v))
            } else {
                attr::ints(n, name).map(|l| Some(l.to_vec()))
            }
        };
        let (starts, ends) = (list("starts", 1).flatten(), list("ends", 2).flatten());
        let (axes, steps) = (list("axes", 3), if inputs { list("steps", 4) } else { None });
        let axes = match axes {
            Some(axes) => axes?,
            None => (0..i64::try_from(starts.as_ref()?.len()).ok()?).collect(),
        };
        let mut entries = (0..axes.len()).filter(|&i| positive(axes[i], rank) == Some(track.axis));
        let Some(entry) = entries.next() else { return self.set(n, track.axis, track.labels) };
        let (Some(starts), Some(ends)) = (starts, ends) else { return self.across(n) };
        let steps = match steps {
            Some(steps) => steps?,
            None => vec![1; axes.len()],
        };
        let lengths = [starts.len(), ends.len(), steps.len()];
        if entries.next().is_some() || lengths.iter().any(|l| *l != axes.len()) {
            return None;
        }
        let at = taken(track.labels.len(), starts[entry], ends[entry], steps[entry])?;
        if at.is_empty() {
            return self.across(n);
        }
        let labels: Vec<usize> = at.iter().map(|&p| track.labels[p]).collect();
        let count = track.labels.len();
        if at.len() < count {
            self.parts.push(labels.clone());
        }
        // Even where all are taken, bounds may count channels from either end.
        if at.len() < count || steps[entry] != 1 || starts[entry] != 0 || ends[entry] < count as i64 {
            let window = Window { starts, ends, axes, steps, entry, axis: track.axis, inputs };
            self.edits.entry(id).or_default().push(Edit::Slice { window, labels: track.labels, at });
        }
        self.set(n, track.axis, labels)
    }

    pub(super) fn tile(&mut self, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let repeats = self.ints(node::input(n, 1)?)?;
        let times = usize::try_from(*repeats.get(track.axis)?).ok().filter(|t| *t > 0)?;
        if times.checked_mul(track.labels.len()).is_none_or(|c| c > self.most) {
            return self.across(n);
        }
        let labels = (0..times).flat_map(|_| track.labels.iter().copied()).collect();
        self.set(n, track.axis, labels)
    }

    /// Sizes are changed along other axes than the channels'.
    pub(super) fn resize(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let cropped = attr::string(n, "coordinate_transformation_mode") == Some("tf_crop_and_resize");
        if cropped || attr::string(n, "keep_aspect_ratio_policy").is_some_and(|p| p != "stretch") {
            return None;
        }
        let axes: Vec<i64> = match attr::ints(n, "axes") {
            Some(axes) => axes.to_vec(),
            None => (0..i64::try_from(rank).ok()?).collect(),
        };
        let Some(entry) = axes.iter().position(|&a| positive(a, rank) == Some(track.axis)) else {
            return self.set(n, track.axis, track.labels);
        };
        let sizes = node::input(n, 3);
        if let Some(sizes) = sizes {
            let Some(dims) = self.ints(sizes) else { return self.unknown_shape(n, sizes) };
            if dims.get(entry).copied() != i64::try_from(track.labels.len()).ok() {
                return self.across(n);
            }
            let labels = track.labels.clone();
            self.edits.entry(id).or_default().push(Edit::Shape { slot: 3, dims, index: entry, labels });
            return self.set(n, track.axis, track.labels);
        }
        let scales = match attr::has(n, "scales") {
            true => return self.refuse(n, Reason::Operator { node: node::label(n), op: n.op_type.clone() }),
            false => node::input(n, if n.op_type == "Upsample" || self.opset < 11 { 1 } else { 2 })?,
        };
        let scales = self.view.constant(scales).and_then(|t| Tensor::from_proto(t).ok()?.to_f64().ok());
        if scales.is_some_and(|s| s.get(entry) == Some(&1.0)) {
            self.set(n, track.axis, track.labels)
        } else {
            self.across(n)
        }
    }
}

/// The places that a slice takes of so many, in its order (by the rules of NumPy).
fn taken(count: usize, start: i64, end: i64, step: i64) -> Option<Vec<usize>> {
    let size = i64::try_from(count).ok()?;
    let from_end = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
    let (start, end) = (from_end(start), from_end(end));
    let mut places = Vec::new();
    if step > 0 {
        let (mut at, end) = (start.clamp(0, size), end.clamp(0, size));
        while at < end {
            places.push(usize::try_from(at).ok()?);
            at = at.saturating_add(step);
        }
    } else if step < 0 {
        let (mut at, end) = (start.clamp(-1, size - 1), end.clamp(-1, size - 1));
        while at > end {
            places.push(usize::try_from(at).ok()?);
            at = at.saturating_add(step);
        }
    } else {
        return None;
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::taken;

    #[test]
    fn slices_take_what_numpy_takes() {
        assert_eq!(taken(5, 1, 4, 1), Some(vec![1, 2, 3]));
        assert_eq!(taken(5, -2, i64::MAX, 1), Some(vec![3, 4]));
        assert_eq!(taken(5, -1, i64::MIN, -2), Some(vec![4, 2, 0]));
        assert_eq!(taken(5, 3, 0, -1), Some(vec![3, 2, 1]));
        assert_eq!(taken(5, 4, 2, 1), Some(vec![]));
        assert_eq!(taken(0, 0, 9, 1), Some(vec![]));
        assert_eq!(taken(5, 0, 9, 0), None);
    }
}
