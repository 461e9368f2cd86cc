//! Reshapes next to each other, and next to what can take them in.

use plimsoll_onnx::{
    Model, Names, NodeId, Patch, Tensor, View, attr, node,
    proto::NodeProto,
    shape::{self, Bindings, Dim, Shapes},
};

use super::{common, identities::is_reshaping};
use crate::{Context, Effect, Pass, Refusal, operators::REDUCTIONS};

pub(super) struct Reshapes;

impl Pass for Reshapes {
    fn name(&self) -> &'static str {
        "reshapes"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn after(&self) -> &'static [&'static str] {
        &["identities"]
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        // Before operator set 5 the target was an attribute; before IR version 4 an initializer had to be an input as well.
        if model.proto().ir_version < 4 || model.opset("").unwrap_or(1) < 5 {
            return Err(Refusal::NoMatch);
        }
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let mut work = Work { view: &view, shapes: &shapes, names: Names::of(model), patch: Patch::new() };
        for (id, n) in view.nodes() {
            if work.patch.touches(id) {
                continue;
            }
            if node::is(n, "Transpose") {
                work.transposed(id, n);
            } else if is_reshaping(n) {
                let _ = work.pair(id, n).or_else(|| work.reduced(id, n)).or_else(|| work.padded(id, n));
            }
        }
        if work.patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(work.patch) }
    }
}

struct Work<'w, 'm> {
    view: &'w View<'m>,
    shapes: &'w Shapes,
    names: Names,
    patch: Patch,
}

impl<'m> Work<'_, 'm> {
    /// The node that computes what a node reads first, where nothing else reads it and it is not changed already.
    fn before(&self, n: &NodeProto) -> Option<(NodeId, &'m NodeProto)> {
        let input = node::input(n, 0)?;
        self.view.sole_user(input)?;
        self.view.producer(input).filter(|(id, p)| !self.patch.touches(*id) && node::is_default_domain(&p.domain))
    }

    fn reshape(&mut self, source: &str, target: &[i64], like: &NodeProto, output: &str) -> NodeProto {
        let name = self.names.fresh(&format!("{output}_shape"));
        self.patch.set_initializer(&name, &Tensor::vector(target));
        NodeProto { name: like.name.clone(), ..node::new("Reshape", &[source, &name], &[output]) }
    }

    /// Two in a row are one.
    fn pair(&mut self, id: NodeId, n: &NodeProto) -> Option<()> {
        let (first_id, first) = self.before(n).filter(|(_, p)| is_reshaping(p))?;
        let (source, output) = (node::input(first, 0)?, n.output.first()?);
        let new = match target(self.shapes.dims(source)?, self.shapes.dims(output)?) {
            Some(target) => self.reshape(source, &target, n, output),
            None => self.same_kind(first, n)?,
        };
        self.patch.because(format!("{} takes the place of two", node::label(n)));
        self.patch.replace(id, vec![new]).remove(first_id);
        Some(())
    }

    /// `Unsqueeze` after `Unsqueeze`, `Squeeze` after `Squeeze`: the axes of both at once.
    fn same_kind(&mut self, first: &NodeProto, n: &NodeProto) -> Option<NodeProto> {
        if first.op_type != n.op_type || !matches!(n.op_type.as_str(), "Squeeze" | "Unsqueeze") {
            return None;
        }
        let (source, output) = (node::input(first, 0)?, n.output.first()?);
        let adds = n.op_type == "Unsqueeze";
        let longest = self.shapes.dims(if adds { output } else { source })?.len();
        // The one that stands next to the longest shape counts its axes in it, the other in what that one leaves.
        let (outer, inner) = if adds { (n, first) } else { (first, n) };
        let mut axes = self.axes(outer, longest)?;
        let left: Vec<i64> = (0..longest as i64).filter(|a| !axes.contains(a)).collect();
        let inner: Vec<i64> = self.axes(inner, left.len())?;
        axes.extend(inner.into_iter().filter_map(|a| left.get(usize::try_from(a).ok()?)).copied().collect::<Vec<_>>());
        axes.sort_unstable();
        let mut new = NodeProto { output: vec![output.clone()], ..n.clone() };
        new.input = vec![source.to_owned()];
        if attr::has(n, "axes") {
            attr::set(&mut new, attr::from_ints("axes", &axes));
        } else {
            let name = self.names.fresh(&format!("{output}_axes"));
            self.patch.set_initializer(&name, &Tensor::vector(&axes));
            new.input.push(name);
        }
        Some(new)
    }

    /// The axes that a node adds or drops, counted from the first.
    fn axes(&self, n: &NodeProto, rank: usize) -> Option<Vec<i64>> {
        let axes = match attr::ints(n, "axes") {
            Some(axes) => axes.to_vec(),
            None => common::constant(self.view, node::input(n, 1)?)?.to_i64().ok()?,
        };
        let rank = i64::try_from(rank).ok()?;
        axes.into_iter().map(|a| if a < 0 { a.checked_add(rank) } else { Some(a) }).collect()
    }

    /// A reduction that keeps axes of size 1, and a reshape that drops them.
    fn reduced(&mut self, id: NodeId, n: &NodeProto) -> Option<()> {
        let (first_id, first) = self.before(n).filter(|(_, p)| REDUCTIONS.contains(&p.op_type.as_str()))?;
        let (source, output) = (self.shapes.dims(node::input(first, 0)?)?, n.output.first()?);
        let kept = self.shapes.dims(first.output.first()?)?;
        let axes = match attr::ints(first, "axes") {
            Some(axes) => axes.to_vec(),
            None if first.op_type.starts_with("Arg") => vec![attr::int(first, "axis").unwrap_or(0)],
            None => common::constant(self.view, node::input(first, 1)?)?.to_i64().ok()?,
        };
        let rank = source.len() as i64;
        let reduced = |axis: usize| axes.iter().any(|&a| a == axis as i64 || a + rank == axis as i64);
        let dropped: Vec<Dim> = (0..source.len()).filter(|&a| !reduced(a)).map(|a| source[a]).collect();
        let all = axes.is_empty() || kept.len() != source.len() || self.shapes.dims(output)? != dropped.as_slice();
        if all || attr::flag(first, "keepdims", true) != Some(true) {
            return None;
        }
        let mut changed = first.clone();
        attr::set(&mut changed, attr::from_int("keepdims", 0));
        changed.output = vec![output.clone()];
        self.patch.because(format!("{} drops the axes itself", node::label(first)));
        self.patch.replace(first_id, vec![changed]).remove(id);
        Some(())
    }

    /// A padding before a reshape that only adds or drops axes of size 1 can come after it, where it meets a convolution, and the
    /// reshape meets another one.
    fn padded(&mut self, id: NodeId, n: &NodeProto) -> Option<()> {
        let (pad_id, pad) = self.before(n).filter(|(_, p)| p.op_type == "Pad")?;
        let (source, padded, output) = (node::input(pad, 0)?, pad.output.first()?, n.output.first()?);
        let meets = self.view.producer(source).is_some_and(|(_, p)| is_reshaping(p))
            || self.view.sole_user(output).is_some_and(|(_, u, _)| node::is(u, "Conv"));
        let pads = common::constant(self.view, node::input(pad, 1)?)?.to_i64().ok()?;
        let (own, before, after) = (self.shapes.dims(source)?, self.shapes.dims(padded)?, self.shapes.dims(output)?);
        if !meets || node::input(pad, 3).is_some() || pads.len() != 2 * before.len() || own.len() != before.len() {
            return None;
        }
        let long = |dims: &[Dim]| -> Vec<usize> { (0..dims.len()).filter(|&a| dims[a] != Dim::Known(1)).collect() };
        let (from, to) = (long(before), long(after));
        let same = from.len() == to.len() && from.iter().zip(&to).all(|(&a, &b)| before[a] == after[b]);
        if !same {
            return None;
        }
        let mut wanted = after.to_vec();
        let mut moved = vec![0; 2 * after.len()];
        for axis in 0..before.len() {
            let (begin, end) = (pads[axis], pads[axis + before.len()]);
            if (begin, end) == (0, 0) {
                continue;
            }
            // An axis that padding makes 1 long has no place of its own.
            let at = to[from.iter().position(|&a| a == axis)?];
            wanted[at] = own[axis];
            moved[at] = begin;
            moved[at + after.len()] = end;
        }
        let target = target(own, &wanted)?;
        let between = self.names.fresh(&format!("{output}_reshaped"));
        let reshape = self.reshape(source, &target, n, &between);
        let name = self.names.fresh(&format!("{output}_pads"));
        self.patch.set_initializer(&name, &Tensor::vector(&moved));
        let mut changed = pad.clone();
        changed.input[0] = between;
        changed.input[1] = name;
        changed.output = vec![output.clone()];
        self.patch.because(format!("{} comes after {}", node::label(pad), node::label(n)));
        self.patch.replace(pad_id, vec![reshape]).replace(id, vec![changed]);
        Some(())
    }

    /// A transposition that moves axes of size 1 only is a reshape; said where another reshape is next to it.
    fn transposed(&mut self, id: NodeId, n: &NodeProto) -> Option<()> {
        let (source, output) = (node::input(n, 0)?, n.output.first()?);
        let (before, after) = (self.shapes.dims(source)?, self.shapes.dims(output)?);
        let perm: Vec<usize> = match attr::ints(n, "perm") {
            Some(perm) => perm.iter().map(|&p| usize::try_from(p).ok()).collect::<Option<_>>()?,
            None => (0..before.len()).rev().collect(),
        };
        let moved: Vec<usize> = perm.into_iter().filter(|&a| before.get(a) != Some(&Dim::Known(1))).collect();
        let next = self.before(n).is_some_and(|(_, p)| is_reshaping(p))
            || self.view.sole_user(output).is_some_and(|(_, u, _)| is_reshaping(u));
        if !next || !moved.is_sorted() {
            return None;
        }
        let target = target(before, after)?;
        let new = self.reshape(source, &target, n, output);
        self.patch.because(format!("{} moves axes of size 1 only", node::label(n)));
        self.patch.replace(id, vec![new]);
        Some(())
    }
}

/// What a `Reshape` from one shape to another is told: numbers as they are, 0 where a dimension is copied from the same place,
/// and at most one -1.
fn target(from: &[Dim], to: &[Dim]) -> Option<Vec<i64>> {
    let one = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Known(0) => None,
        Dim::Known(n) => i64::try_from(*n).ok(),
        symbol if from.get(axis) == Some(symbol) => Some(0),
        _ => Some(-1),
    };
    let target: Vec<i64> = to.iter().enumerate().map(one).collect::<Option<_>>()?;
    (target.iter().filter(|&&t| t == -1).count() <= 1).then_some(target)
}
