//! Changes of a sample that hardly change what the original makes of it: moved by a few positions along an axis of space or time, or
//! mirrored along it. Which these are is asked of the original, as nothing is known of the task: a photograph may be mirrored, a
//! digit may not. Knows shapes, not models.

use crate::{Refusal, draw::Dice};

/// Axes of so many elements and more are taken for space or time.
const SPACE: usize = 8;
/// A sample moves along an axis by no more than its length divided by this.
const REACH: usize = 8;
/// What a change may do to the original's outputs, as a share of how far those of different samples are from each other.
const NOTICED: f64 = 0.1;

/// The axes of a sample that are taken for space or time.
pub(super) fn long(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).filter(|a| shape[*a] >= SPACE && shape.len() > 1).collect()
}

/// What a sample goes through, by the place of each axis among the long ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    /// How far it moves, as a share of the reach.
    by: Vec<f64>,
    mirrored: Vec<bool>,
}

/// Which changes are made, by the place of each axis among the long ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    moved: Vec<bool>,
    mirrored: Vec<bool>,
}

impl Allowed {
    /// The changes along so many axes that the original hardly notices; `noticed` says how far a change moves its outputs, as a
    /// share of how far those of different samples are apart.
    pub(super) fn found(
        axes: usize,
        mut noticed: impl FnMut(&Change) -> Result<f64, Refusal>,
    ) -> Result<Self, Refusal> {
        let mut found = Self { moved: vec![false; axes], mirrored: vec![false; axes] };
        for axis in 0..axes {
            let none = Change { by: vec![0.0; axes], mirrored: vec![false; axes] };
            let (mut there, mut back, mut mirrored) = (none.clone(), none.clone(), none);
            (there.by[axis], back.by[axis], mirrored.mirrored[axis]) = (1.0, -1.0, true);
            found.moved[axis] = noticed(&there)?.max(noticed(&back)?) < NOTICED;
            found.mirrored[axis] = noticed(&mirrored)? < NOTICED;
        }
        Ok(found)
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.moved.iter().chain(&self.mirrored).any(|allowed| *allowed)
    }

    /// One of the allowed changes.
    pub(super) fn drawn(&self, dice: &mut Dice) -> Change {
        let by = self.moved.iter().map(|m| (2.0 * dice.unit() - 1.0) * f64::from(u8::from(*m))).collect();
        let mirrored = self.mirrored.iter().map(|m| dice.next() & 1 == 1 && *m).collect();
        Change { by, mirrored }
    }
}

impl Change {
    /// The changed sample; what comes in at the border is the border.
    pub(super) fn apply(&self, sample: &[f32], shape: &[usize]) -> Vec<f32> {
        let long = long(shape);
        // Where the elements of each axis come from.
        let mut from: Vec<Vec<usize>> = Vec::with_capacity(shape.len());
        let mut step = sample.len();
        for (axis, &size) in shape.iter().enumerate() {
            step /= size.max(1);
            let place = long.iter().position(|l| *l == axis);
            let by = place.and_then(|p| self.by.get(p)).map_or(0, |b| (b * (size / REACH) as f64).round() as i64);
            let mirrored = place.and_then(|p| self.mirrored.get(p)).is_some_and(|m| *m);
            let at = |i: usize| {
                let at = (i as i64 + by).clamp(0, size as i64 - 1) as usize;
                step * if mirrored { size - 1 - at } else { at }
            };
            from.push((0..size).map(at).collect());
        }
        let mut found = vec![0usize];
        for axis in &from {
            found = found.iter().flat_map(|base| axis.iter().map(move |a| base + a)).collect();
        }
        found.into_iter().map(|at| sample.get(at).copied().unwrap_or(0.0)).collect()
    }
}
