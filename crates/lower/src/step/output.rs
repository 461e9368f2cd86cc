//! Where a step's results go.

use crate::{isa::Starts, program::Buffer};

/// A buffer, and where in it the rows of a result lie.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) buffer: Buffer,
    pub(crate) rows: Rows,
}

/// Where rows start.
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    /// One after the other, the first at this element.
    From(usize),
    /// Each at an element of its own.
    At(Starts),
}

impl Output {
    /// The whole buffer, row after row.
    pub(crate) fn whole(buffer: Buffer) -> Self {
        Self { buffer, rows: Rows::From(0) }
    }

    /// Where a row of so many columns starts.
    #[inline(always)]
    pub(crate) fn start(&self, row: usize, columns: usize) -> usize {
        match &self.rows {
            Rows::From(first) => first + row * columns,
            Rows::At(starts) => starts.as_slice()[row] as usize,
        }
    }

    /// An element at or behind the last at which one of the first rows starts.
    #[inline(always)]
    pub(crate) fn furthest(&self, rows: usize, columns: usize) -> usize {
        match &self.rows {
            Rows::From(first) => first + rows.saturating_sub(1) * columns,
            Rows::At(starts) => starts.furthest(),
        }
    }
}
