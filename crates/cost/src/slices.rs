//! A plan as it runs once slices, strides and concatenations have moved, as they do when tract declutters a plan (`PushSliceUp`,
//! `ConcatThenEinsum` and the strides of tract-core 0.23):
//!
//! - of a sum, a product or a concatenation of which everybody reads a part, the parts are made one by one, each of parts of the operands;
//! - a product of a concatenation is the sum of the products of its parts, and where nobody reads the whole, nobody makes it;
//! - every so many-th sample is taken further up, where fewer are computed then.
//!
//! That takes less where the whole was large, and more where what it is made of now stays until the last part. What a part is made of is
//! known by `cuts`.

mod parts;
mod products;
mod strides;

use std::collections::HashMap;

use crate::{
    cuts::{Cut, Part},
    plan::{Array, Plan, Read, Step, Writes},
};

/// Reads that are added at most: parts of parts may be very many.
const MOST: usize = 1 << 14;

/// The plan as it is when nothing more moves; `None` where too much would be added.
pub(crate) fn settled<'a>(plan: &Plan<'a>) -> Option<Plan<'a>> {
    let mut mover =
        Mover { plan: plan.clone(), users: Vec::new(), known: HashMap::new(), open: Vec::new(), left: MOST };
    mover.spread();
    mover.users = vec![Vec::new(); mover.plan.arrays.len()];
    for step in mover.plan.running() {
        mover.enter(step);
    }
    mover.merge();
    mover.open = (0..mover.plan.arrays.len()).collect();
    loop {
        // In this order, as tract does: a stride that goes up past a slice keeps other slices from it.
        let mut changed = false;
        while mover.once(|m, step| Some(m.stand_aside(step) | m.pull_all(step)?))? {
            changed = true;
        }
        while let Some(array) = mover.open.pop() {
            changed |= mover.push(array)?;
        }
        mover.merge();
        changed |= mover.once(Mover::take_apart)?;
        if !changed {
            return Some(mover.plan);
        }
    }
}

struct Mover<'a> {
    plan: Plan<'a>,
    /// The running steps that read each array, none twice.
    users: Vec<Vec<usize>>,
    /// Slices that are there already.
    known: HashMap<(usize, Part), usize>,
    /// Arrays whose readers have changed.
    open: Vec<usize>,
    left: usize,
}

impl Mover<'_> {
    /// One step for each range that is taken.
    fn spread(&mut self) {
        for step in 0..self.plan.steps.len() {
            if !matches!(self.plan.steps[step].cut, Cut::Takes(_) | Cut::TakesOne(_)) {
                continue;
            }
            let cut = std::mem::take(&mut self.plan.steps[step].cut);
            let Some(&Read::Array(from)) = self.plan.steps[step].reads.first() else { continue };
            match cut {
                Cut::Takes(of) => {
                    let writes = std::mem::take(&mut self.plan.steps[step].writes);
                    for (parts, to) in of.into_iter().zip(writes) {
                        self.take(from, &parts, to);
                    }
                }
                Cut::TakesOne(part) => {
                    let whole = self.cut_array(from, part);
                    self.add(Step {
                        reads: vec![Read::Array(from)],
                        writes: vec![whole],
                        how: Writes::Own,
                        node: None,
                        cut: Cut::Takes(vec![vec![part]]),
                    });
                    let axes = 0..self.plan.arrays[whole].dims.len();
                    let cut = Cut::moved(axes.filter(|a| *a != part.axis).map(Some));
                    let writes = std::mem::take(&mut self.plan.steps[step].writes);
                    self.add(Step { reads: vec![Read::Array(whole)], writes, how: Writes::View, node: None, cut });
                }
                other => self.plan.steps[step].cut = other,
            }
        }
    }

    /// One range after the other.
    fn take(&mut self, mut from: usize, parts: &[Part], to: usize) {
        for (i, part) in parts.iter().enumerate() {
            let array = if i + 1 == parts.len() { to } else { self.cut_array(from, *part) };
            self.add(slice(from, *part, array));
            from = array;
        }
        if parts.is_empty() {
            let cut = Cut::alike(self.plan.arrays[to].dims.len(), 1);
            self.add(Step { reads: vec![Read::Array(from)], writes: vec![to], how: Writes::View, node: None, cut });
        }
    }

    fn add(&mut self, step: Step) -> usize {
        let at = self.plan.steps.len();
        step.writes.iter().for_each(|w| self.plan.arrays[*w].step = Some(at));
        self.plan.steps.push(step);
        at
    }

    /// An array for a part of another.
    fn cut_array(&mut self, of: usize, part: Part) -> usize {
        let Array { bytes, ref dims, .. } = self.plan.arrays[of];
        let mut dims = dims.clone();
        let (full, length) = (dims[part.axis], part.end.saturating_sub(part.start));
        dims[part.axis] = length;
        let bytes = bytes.map(|b| (u128::from(b) * length as u128).div_ceil(full.max(1) as u128) as u64);
        self.plan.arrays.push(Array { bytes, dims, step: None, kept: false });
        self.plan.arrays.len() - 1
    }

    /// Does something to each running step; whether it did.
    fn once(&mut self, mut change: impl FnMut(&mut Self, usize) -> Option<bool>) -> Option<bool> {
        let mut changed = false;
        for step in self.plan.running() {
            changed |= change(self, step)?;
        }
        Some(changed)
    }

    /// Who takes the same of the same array takes it once.
    fn merge(&mut self) {
        let mut first: HashMap<(usize, bool, usize, usize, usize), usize> = HashMap::new();
        let mut steps = self.plan.running();
        steps.sort_unstable();
        for step in steps {
            let Some(&Read::Array(from)) = self.plan.steps[step].reads.first() else { continue };
            let key = match &self.plan.steps[step].cut {
                Cut::Takes(of) => (from, true, of[0][0].axis, of[0][0].start, of[0][0].end),
                Cut::Every(axis, stride) => (from, false, *axis, *stride, 0),
                _ => continue,
            };
            let to = self.plan.steps[step].writes[0];
            match first.get(&key) {
                Some(&one) if one != to => self.stand_in(step, one),
                _ => {
                    first.insert(key, to);
                }
            }
        }
    }

    /// A slice that takes everything goes.
    fn stand_aside(&mut self, step: usize) -> bool {
        let (Some(part), Some(&Read::Array(from))) = (self.part(step), self.plan.steps[step].reads.first()) else {
            return false;
        };
        let all = part.start == 0 && self.measures(from, part.axis, part.end);
        if all {
            self.stand_in(step, from);
            self.open.push(from);
        }
        all
    }

    fn enter(&mut self, step: usize) {
        for read in &self.plan.steps[step].reads {
            if let Read::Array(a) = *read
                && !self.users[a].contains(&step)
            {
                self.users[a].push(step);
            }
        }
    }

    /// Takes a step out, and every step before it that nobody reads any more.
    fn leave(&mut self, step: usize) {
        let mut open = vec![step];
        while let Some(step) = open.pop() {
            for read in std::mem::take(&mut self.plan.steps[step].reads) {
                let Read::Array(a) = read else { continue };
                self.users[a].retain(|u| *u != step);
                self.open.push(a);
                let Some(before) = self.plan.arrays[a].step else { continue };
                let unread = |w: &usize| self.users[*w].is_empty() && !self.plan.arrays[*w].kept;
                if self.plan.steps[before].writes.iter().all(unread) {
                    open.push(before);
                }
            }
        }
    }

    /// Another step in the place of one; both write the same.
    fn replace(&mut self, step: usize, by: Step) {
        for read in std::mem::take(&mut self.plan.steps[step].reads) {
            if let Read::Array(a) = read {
                self.users[a].retain(|u| *u != step);
                self.open.push(a);
            }
        }
        self.plan.steps[step] = by;
        self.enter(step);
    }

    /// Whether an array is known to have so many places along an axis.
    fn measures(&self, array: usize, axis: usize, places: usize) -> bool {
        self.plan.arrays[array].dims.get(axis) == Some(&places)
    }

    /// The range that a step takes, where it is a slice.
    fn part(&self, step: usize) -> Option<Part> {
        match &self.plan.steps[step].cut {
            Cut::Takes(of) => Some(of[0][0]),
            _ => None,
        }
    }

    /// The array that shows a part of another.
    fn slice_of(&mut self, from: usize, part: Part) -> usize {
        if let Some(&there) = self.known.get(&(from, part))
            && !self.users[there].is_empty()
        {
            return there;
        }
        let to = self.cut_array(from, part);
        self.users.push(Vec::new());
        let step = self.add(slice(from, part, to));
        self.enter(step);
        self.known.insert((from, part), to);
        self.open.push(from);
        to
    }

    /// `one` takes the place of what a slice writes.
    fn stand_in(&mut self, slice: usize, one: usize) {
        let old = self.plan.steps[slice].writes[0];
        for user in std::mem::take(&mut self.users[old]) {
            for read in &mut self.plan.steps[user].reads {
                if *read == Read::Array(old) {
                    *read = Read::Array(one);
                }
            }
            if !self.users[one].contains(&user) {
                self.users[one].push(user);
            }
        }
        if std::mem::take(&mut self.plan.arrays[old].kept) {
            self.plan.arrays[one].kept = true;
            self.plan.outputs.iter_mut().filter(|o| **o == old).for_each(|o| *o = one);
        }
        self.leave(slice);
    }
}

fn slice(from: usize, part: Part, to: usize) -> Step {
    let cut = Cut::Takes(vec![vec![part]]);
    Step { reads: vec![Read::Array(from)], writes: vec![to], how: Writes::Own, node: None, cut }
}
