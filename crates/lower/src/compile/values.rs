//! Values of a program being made: elements in memory and the order of their logical axes.

use crate::program::{Kind, Place};

/// Index of a value.
pub(super) type ValueId = usize;

/// Elements that a step makes or that are given.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) kind: Kind,
    pub(super) len: usize,
    pub(super) origin: Origin,
    /// Something reads it from memory.
    pub(super) stored: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Given(Place),
    /// Register `1` of the pointwise program at position `0`.
    Register(usize, usize),
    /// The step at this position writes it.
    Step(usize),
}

impl Value {
    /// Position of the step that makes it; what is given is there before all.
    pub(super) fn position(&self) -> Option<usize> {
        match self.origin {
            Origin::Given(_) => None,
            Origin::Register(position, _) | Origin::Step(position) => Some(position),
        }
    }
}

/// A node's value: whose elements, in which order of logical axes.
#[derive(Debug, Clone)]
pub(super) struct Laid {
    pub(super) value: ValueId,
    pub(super) shape: Vec<usize>,
    /// Logical axes from the slowest to the fastest.
    pub(super) order: Vec<usize>,
}

impl Laid {
    /// The axes that matter in memory, in order.
    pub(super) fn solid(&self) -> Vec<usize> {
        self.order.iter().copied().filter(|a| self.shape[*a] != 1).collect()
    }

    /// Whether memory is as if the axes were in `order`.
    pub(super) fn is_in(&self, order: &[usize]) -> bool {
        self.solid() == order.iter().copied().filter(|a| self.shape[*a] != 1).collect::<Vec<_>>()
    }

    /// Distance in memory of neighbours along each logical axis.
    pub(super) fn strides(&self) -> Vec<usize> {
        let mut strides = vec![0; self.shape.len()];
        let mut step = 1;
        for axis in self.order.iter().rev() {
            strides[*axis] = step;
            step *= self.shape[*axis];
        }
        strides
    }
}
