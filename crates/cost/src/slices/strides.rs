//! Strides, which go up to where less is computed for them.

use super::Mover;
use crate::{
    cuts::Cut,
    plan::{Array, Read, Step, Writes},
};

impl Mover<'_> {
    /// As far up as it goes; whether it went anywhere, and `None` where too much would be added.
    pub(super) fn pull_all(&mut self, step: usize) -> Option<bool> {
        let (mut open, mut moved) = (vec![step], false);
        while let Some(step) = open.pop() {
            moved |= self.pull(step, &mut open)?;
        }
        Some(moved)
    }

    /// Taking every so many-th place goes up through what it alone reads; `made` gets the steps that take it there.
    fn pull(&mut self, step: usize, made: &mut Vec<usize>) -> Option<bool> {
        let Cut::Every(axis, stride) = self.plan.steps[step].cut else { return Some(false) };
        let Some(&Read::Array(from)) = self.plan.steps[step].reads.first() else { return Some(false) };
        let (Some(maker), [_]) = (self.plan.arrays[from].step, &self.users[from][..]) else { return Some(false) };
        let of = self.plan.steps[maker].clone();
        let operands = match &of.cut {
            Cut::Along(axes) => axes.get(axis).cloned().flatten(),
            Cut::Concat(along, _) if *along != axis => Some(vec![Some(axis); of.reads.len()]),
            Cut::Takes(parts) if parts[0][0].axis != axis => Some(vec![Some(axis)]),
            // Windows that lie further apart.
            Cut::Windows if axis > 1 => Some(vec![None; of.reads.len()]),
            _ => None,
        };
        let Some(operands) = operands.filter(|_| of.writes.len() == 1 && !self.plan.arrays[from].kept) else {
            return Some(false);
        };
        let cut_there = |(read, axis): (&Read, &Option<usize>)| match (*read, *axis) {
            (Read::Array(a), Some(axis)) => self.plan.arrays[a].dims.len() > axis,
            _ => true,
        };
        if stride == 0 || !of.reads.iter().zip(&operands).all(cut_there) {
            return Some(false);
        }
        self.left = self.left.checked_sub(of.reads.len())?;
        let mut reads = Vec::new();
        for (slot, read) in of.reads.iter().enumerate() {
            reads.push(match (*read, operands.get(slot).copied().flatten()) {
                (Read::Array(whole), Some(axis)) => {
                    let Array { bytes, ref dims, .. } = self.plan.arrays[whole];
                    let mut dims = dims.clone();
                    let full = dims[axis];
                    dims[axis] = full.div_ceil(stride);
                    let bytes = bytes.map(|b| (b / full.max(1) as u64).saturating_mul(dims[axis] as u64));
                    self.plan.arrays.push(Array { bytes, dims, step: None, kept: false });
                    self.users.push(Vec::new());
                    let to = self.plan.arrays.len() - 1;
                    let (reads, cut) = (vec![Read::Array(whole)], Cut::Every(axis, stride));
                    let new = self.add(Step { reads, writes: vec![to], how: Writes::Own, node: None, cut });
                    self.enter(new);
                    made.push(new);
                    Read::Array(to)
                }
                (Read::Weight(_), Some(_)) => self.plan.own_weight(),
                (read, None) => read,
            });
        }
        let writes = self.plan.steps[step].writes.clone();
        self.replace(step, Step { reads, writes, how: of.how, node: None, cut: of.cut.clone() });
        self.leave(maker);
        Some(true)
    }
}
