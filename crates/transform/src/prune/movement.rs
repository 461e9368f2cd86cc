//! How operators that move, join or reduce elements carry channel labels. Knows operators, not scores.

use plimsoll_onnx::{
    NodeId, Use, attr, node,
    proto::NodeProto,
    shape::{Dim, Element},
};

use super::{
    groups::{Edit, Reason, Track, Walk},
    propagate::positive,
};

/// As many values may lie side by side in one, to be taken apart again.
const PACKED: usize = 4;

impl<'m> Walk<'_, 'm> {
    pub(super) fn concat(&mut self, n: &'m NodeProto) -> Option<()> {
        let rank = self.shape(n.output.first()?).map(|s| s.len());
        let Some(rank) = rank else { return self.unknown_shape(n, &n.output[0]) };
        let axis = positive(attr::int(n, "axis")?, rank)?;
        let tracks: Vec<Option<Track>> = n.input.iter().map(|v| self.tracks.get(v.as_str()).cloned()).collect();
        if tracks.iter().flatten().all(|t| t.axis == axis) {
            let mut joined = Vec::new();
            for (value, track) in n.input.iter().zip(tracks) {
                if joined.len() > self.most {
                    return self.unknown_shape(n, &n.output[0]);
                }
                match track {
                    Some(track) => joined.extend(track.labels),
                    None => {
                        let Some(shape) = self.shape(value) else { return self.unknown_shape(n, value) };
                        let count = *shape.get(axis)?;
                        if count > self.most {
                            return self.unknown_shape(n, value);
                        }
                        let fixed = self.labels.fresh(count);
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

    pub(super) fn pad(&mut self, n: &'m NodeProto) -> Option<()> {
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

    pub(super) fn transpose(&mut self, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let rank = self.shape(&n.input[0])?.len();
        let axis = match attr::ints(n, "perm") {
            Some(perm) => perm.iter().position(|&p| positive(p, rank) == Some(track.axis))?,
            None => (rank - 1).checked_sub(track.axis)?,
        };
        self.set(n, axis, track.labels)
    }

    /// A Shape is harmless where only other dimensions are picked from it.
    pub(super) fn shape_of(&mut self, n: &'m NodeProto) -> Option<()> {
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
            indices.is_some_and(|v| {
                v.iter().all(|&i| positive(i, end.saturating_sub(start)).is_some_and(|i| i + start != axis))
            })
        })
    }

    pub(super) fn expand(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
        let target = node::input(n, 1)?;
        let (input, output) = (self.shape(&n.input[0])?, self.shape(n.output.first()?)?);
        let shift = output.len().checked_sub(input.len())?;
        let axis = track.axis + shift;
        if output[axis] != track.labels.len() {
            return self.across(n);
        }
        let elements = self.elements(target)?;
        let index = axis.checked_sub(output.len().checked_sub(elements.len())?);
        if let Some(index) = index
            && elements[index] != Element::Known(1)
        {
            // Entries that only repeat the input's own size may be written as 1; open ones must be of that kind.
            let lead = output.len() - elements.len();
            let dims = |(i, e): (usize, &Element)| match *e {
                Element::Known(d) => Some(d),
                Element::Dim(s) => {
                    let own = self.open.dims(&n.input[0])?.get((i + lead).checked_sub(shift)?)?;
                    (*own == Dim::Symbol(s)).then_some(1)
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

    pub(super) fn reshape(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let track = self.track(n, 0)?;
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
    pub(super) fn regroup(&mut self, n: &'m NodeProto) -> Option<Option<usize>> {
        let track = self.track(n, 0)?;
        let output = n.output.first()?;
        let (Some(from), Some(to)) = (self.shape(&n.input[0]), self.shape(output)) else {
            self.unknown_shape(n, output)?;
            return Some(None);
        };
        let found = regrouped(&track, &from, &to, self.most).or_else(|| self.parted(&track, &from, &to));
        match found {
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

impl Walk<'_, '_> {
    /// Where the axis itself is cut into others, one of these carries the channels once those in the same place of it are one:
    /// whole heads of an attention, whole groups.
    fn parted(&mut self, track: &Track, from: &[usize], to: &[usize]) -> Option<(usize, Vec<usize>)> {
        let labels = &track.labels;
        if from.get(track.axis) != Some(&labels.len()) || labels.is_empty() || from.contains(&0) {
            return None;
        }
        let size_of = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let inner = size_of(&from[track.axis + 1..])?;
        let mut best: Option<(bool, usize, usize, usize)> = None;
        for (axis, &size) in to.iter().enumerate() {
            let own = size_of(&to[axis + 1..])?;
            if size < 2 || own % inner != 0 {
                continue;
            }
            let block = own / inner;
            let whole = block.checked_mul(size).is_some_and(|b| labels.len().is_multiple_of(b));
            // Heads where there are several, rather than the same place of every head; never what only packs queries, keys and
            // values side by side.
            let heads = own > 1 && size > PACKED;
            if whole && best.is_none_or(|(apart, most, ..)| (heads, size) >= (apart, most)) {
                best = Some((heads, size, axis, block));
            }
        }
        let (_, size, axis, block) = best?;
        self.labels.unite_blocks(labels, block);
        self.labels.unite_stretches(labels, block * size);
        Some((axis, labels.iter().step_by(block).take(size).copied().collect()))
    }
}

/// Where the channels of an axis lie after the same elements, in the same order, got other axes.
///
/// The label of element e is pattern[(e / inner) mod period]; an output axis of size m with inner size i sees it whole where
/// i·k = inner and k·period divides m. An axis of more than `most` is not followed.
pub(super) fn regrouped(track: &Track, from: &[usize], to: &[usize], most: usize) -> Option<(usize, Vec<usize>)> {
    let labels = &track.labels;
    if labels.len() < 2 || from.get(track.axis) != Some(&labels.len()) || from.contains(&0) {
        return None;
    }
    let runs = (1..=labels.len())
        .rev()
        .find(|r| labels.len().is_multiple_of(*r) && labels.chunks(*r).all(|c| c.iter().all(|l| *l == c[0])))?;
    let pattern: Vec<usize> = labels.iter().step_by(runs).copied().collect();
    let period = (1..=pattern.len())
        .find(|p| pattern.len().is_multiple_of(*p) && pattern.chunks(*p).all(|c| *c == pattern[..*p]))?;
    if period < 2 {
        return None;
    }
    let size_of = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let inner = size_of(&from[track.axis + 1..])?.checked_mul(runs)?;
    let mut found = None;
    for (axis, &size) in to.iter().enumerate() {
        let own = size_of(&to[axis + 1..])?;
        if own == 0 || inner % own != 0 || size > most {
            continue;
        }
        let k = inner / own;
        if size > 0 && k.checked_mul(period).is_some_and(|whole| size.is_multiple_of(whole)) {
            found = Some((axis, (0..size).map(|j| pattern[j / k % period]).collect()));
            break;
        }
    }
    found
}
