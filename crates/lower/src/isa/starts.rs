//! Where rows start in a buffer: windows in an input, results in an output.

use std::ops::Range;

/// Elements at which rows start. The furthest is known, so that bounds can be held against it without a look at each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Starts {
    all: Vec<u32>,
    furthest: usize,
}

/// Some that follow one another, and the furthest of all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SomeStarts<'a> {
    some: &'a [u32],
    furthest: usize,
}

impl Starts {
    pub(crate) fn new(all: Vec<u32>) -> Self {
        let furthest = all.iter().max().map_or(0, |start| *start as usize);
        Self { all, furthest }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        &self.all
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    #[inline(always)]
    pub(crate) fn furthest(&self) -> usize {
        self.furthest
    }

    #[inline(always)]
    pub(crate) fn part(&self, range: Range<usize>) -> SomeStarts<'_> {
        SomeStarts { some: &self.all[range], furthest: self.furthest }
    }
}

impl<'a> SomeStarts<'a> {
    #[inline(always)]
    pub(crate) fn as_slice(self) -> &'a [u32] {
        self.some
    }

    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.some.len()
    }

    #[inline(always)]
    pub(super) fn furthest(self) -> usize {
        self.furthest
    }

    /// Those of `first .. first + P`; behind the last one it is taken again.
    #[inline(always)]
    pub(super) fn tile<const P: usize>(self, first: usize) -> [u32; P] {
        let left = &self.some[first..];
        match left.first_chunk() {
            Some(tile) => *tile,
            None => std::array::from_fn(|p| left[p.min(left.len() - 1)]),
        }
    }
}
