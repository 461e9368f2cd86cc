//! What makes a whole that is read in parts alone makes the parts, one by one.

use super::{Mover, slice};
use crate::{
    cuts::{Cut, Part},
    plan::{Read, Step, Writes},
};

impl Mover<'_> {
    /// Whether slices of `array` moved; `None` where too much would be added.
    pub(super) fn push(&mut self, array: usize) -> Option<bool> {
        let Some(maker) = self.plan.arrays[array].step else { return Some(false) };
        let mut moved = false;
        if let (Some(outer), Some(&Read::Array(source))) = (self.part(maker), self.plan.steps[maker].reads.first()) {
            for user in self.users[array].clone() {
                let Some(inner) = self.part(user).filter(|p| p.axis == outer.axis) else { continue };
                let part = Part {
                    axis: inner.axis,
                    start: inner.start.saturating_add(outer.start),
                    end: inner.end.saturating_add(outer.start),
                };
                let to = self.plan.steps[user].writes[0];
                self.replace(user, slice(source, part, to));
                moved = true;
            }
        }
        Some(self.push_all(array, maker)? || moved)
    }

    fn push_all(&mut self, array: usize, maker: usize) -> Option<bool> {
        let users = self.users[array].clone();
        let kept = self.plan.arrays[array].kept;
        let Some(parts) = users.iter().map(|u| self.part(*u)).collect::<Option<Vec<Part>>>() else {
            return Some(false);
        };
        let Some(axis) = parts.first().map(|p| p.axis).filter(|axis| parts.iter().all(|p| p.axis == *axis)) else {
            return Some(false);
        };
        let Some(&full) = self.plan.arrays[array].dims.get(axis) else { return Some(false) };
        if self.plan.steps[maker].writes.len() != 1 {
            return Some(false);
        }
        if let Some(own) = self.part(maker) {
            // Two slices change places where the second takes less.
            let shorter = parts[0].end.saturating_sub(parts[0].start)
                < self.plan.arrays[array].dims.get(own.axis).copied().unwrap_or(0);
            if parts.len() > 1 || !shorter {
                return Some(false);
            }
        }
        let mut bounds: Vec<usize> = parts.iter().flat_map(|p| [p.start, p.end]).chain([0, full]).collect();
        bounds.sort_unstable();
        bounds.dedup();
        // A lone slice goes up though it takes everything, and shows others the way.
        if bounds.len() == 2 && users.len() > 1 {
            return Some(false);
        }
        let windows: Vec<Part> = bounds.windows(2).map(|w| Part { axis, start: w[0], end: w[1] }).collect();
        let within = |w: &Part, p: &Part| p.start <= w.start && w.end <= p.end;
        let whole = kept && users.len() > 1;
        let wanted = |w: &Part| whole || parts.iter().any(|p| within(w, p));
        let reads = self.plan.steps[maker].reads.len();
        self.left = self.left.checked_sub(windows.len().saturating_mul(reads + users.len()))?;
        if !windows.iter().all(|w| self.can_make(maker, array, *w)) {
            return Some(false);
        }
        let made: Vec<Option<usize>> = windows.iter().map(|w| wanted(w).then(|| self.make(maker, *w))).collect();
        let of = |p: &Part| {
            let inside = windows.iter().zip(&made).filter(|(w, _)| within(w, p));
            inside.filter_map(|(w, m)| Some((w.end - w.start, (*m)?))).collect::<Vec<_>>()
        };
        for (&user, part) in users.iter().zip(&parts) {
            match of(part)[..] {
                [(_, one)] => self.stand_in(user, one),
                ref several => self.replace(user, joined(axis, several, self.plan.steps[user].writes[0])),
            }
        }
        if whole {
            let all = of(&Part { axis, start: 0, end: full });
            self.replace(maker, joined(axis, &all, array));
        } else if !kept {
            self.leave(maker);
        }
        self.open.extend(made.into_iter().flatten());
        Some(true)
    }

    /// Whether the step that writes `array` can write this part of it, of operands that are cut as long as it is.
    fn can_make(&self, maker: usize, array: usize, window: Part) -> bool {
        let step = &self.plan.steps[maker];
        let full = self.plan.arrays[array].dims[window.axis];
        let fits = |read: &Read, axis: usize, places: usize| match *read {
            Read::Array(a) => self.measures(a, axis, places),
            Read::Weight(_) => true,
        };
        match &step.cut {
            Cut::Along(axes) | Cut::Product(axes, _) => {
                axes.get(window.axis).and_then(Option::as_ref).is_some_and(|of| {
                    step.reads.iter().zip(of).all(|(read, axis)| axis.is_none_or(|axis| fits(read, axis, full)))
                })
            }
            Cut::Concat(axis, sizes) if *axis == window.axis => {
                step.reads.len() == sizes.len()
                    && step.reads.iter().zip(sizes).all(|(read, size)| fits(read, *axis, *size))
                    && inside_one(sizes, window).is_some()
            }
            Cut::Concat(..) | Cut::Takes(_) => step.reads.iter().all(|read| fits(read, window.axis, full)),
            Cut::Whole | Cut::Windows | Cut::TakesOne(_) | Cut::Every(..) => false,
        }
    }

    /// The array of a part of what a step writes.
    fn make(&mut self, maker: usize, window: Part) -> usize {
        let step = self.plan.steps[maker].clone();
        let operands = match &step.cut {
            Cut::Along(axes) | Cut::Product(axes, _) => axes[window.axis].clone().unwrap_or_default(),
            Cut::Concat(axis, sizes) if *axis == window.axis => {
                if let Some((slot, part)) = inside_one(sizes, window)
                    && let Read::Array(from) = step.reads[slot]
                {
                    return self.slice_of(from, part);
                }
                vec![]
            }
            _ => vec![Some(window.axis); step.reads.len()],
        };
        let mut reads = Vec::new();
        for (slot, read) in step.reads.iter().enumerate() {
            reads.push(match (*read, operands.get(slot).copied().flatten()) {
                (Read::Array(from), Some(axis)) => Read::Array(self.slice_of(from, Part { axis, ..window })),
                (Read::Weight(_), Some(_)) => self.plan.own_weight(),
                (read, None) => read,
            });
        }
        let to = self.cut_array(step.writes[0], window);
        self.users.push(Vec::new());
        let made = self.add(Step { reads, writes: vec![to], how: step.how, node: None, cut: step.cut });
        self.enter(made);
        to
    }
}

fn joined(axis: usize, parts: &[(usize, usize)], to: usize) -> Step {
    let (sizes, arrays): (Vec<usize>, Vec<Read>) = parts.iter().map(|(n, a)| (*n, Read::Array(*a))).unzip();
    Step { reads: arrays, writes: vec![to], how: Writes::Own, node: None, cut: Cut::Concat(axis, sizes) }
}

/// The operand of a concatenation that holds a range, and where in it.
fn inside_one(sizes: &[usize], window: Part) -> Option<(usize, Part)> {
    let mut start = 0;
    for (slot, size) in sizes.iter().enumerate() {
        if start <= window.start && window.end <= start.saturating_add(*size) {
            return Some((slot, Part { start: window.start - start, end: window.end - start, ..window }));
        }
        start = start.saturating_add(*size);
    }
    None
}
