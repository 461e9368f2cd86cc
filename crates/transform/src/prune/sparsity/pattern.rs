//! Which weights become zero: a share of all, or N of each M along what a layer sums over. Knows numbers and layouts, not graphs.

use std::str::FromStr;

use super::super::Share;

/// How zeros may lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pattern {
    /// Anywhere, this share of all weights.
    Anywhere(Share),
    /// So many of each block.
    Blocks(Blocks),
}

/// At most so many weights of each so many along the input channels of a layer: `2:4` keeps 2 of 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    keep: usize,
    of: usize,
}

/// A text that is no pattern of blocks.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("`{0}` is no pattern N:M of N weights kept in each M, with 0 < N < M ≤ 64 (such as `2:4`)")]
pub struct NotBlocks(String);

impl Blocks {
    /// Keeps `keep` of each `of`; `None` unless 0 < `keep` < `of` ≤ 64.
    pub fn new(keep: usize, of: usize) -> Option<Self> {
        (keep > 0 && keep < of && of <= 64).then_some(Self { keep, of })
    }
}

impl FromStr for Blocks {
    type Err = NotBlocks;
    fn from_str(s: &str) -> Result<Self, NotBlocks> {
        let parts = s.trim().split_once(':').and_then(|(n, m)| Some((n.parse().ok()?, m.parse().ok()?)));
        parts.and_then(|(n, m)| Self::new(n, m)).ok_or_else(|| NotBlocks(s.into()))
    }
}

impl std::fmt::Display for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.keep, self.of)
    }
}

impl Blocks {
    /// The columns of a row, block by block: along the input channels, at each tap (kernel position) apart. A block that is not
    /// full may keep as many as a full one.
    pub(super) fn of_columns(self, columns: usize, taps: usize) -> Vec<Vec<usize>> {
        let taps = taps.max(1);
        let channels: Vec<usize> = (0..columns / taps).collect();
        let at = |tap: usize| {
            channels.chunks(self.of).map(move |c| c.iter().map(|channel| channel * taps + tap).collect::<Vec<_>>())
        };
        (0..taps).flat_map(at).collect()
    }

    /// Zeroes what a block may not keep of these, those of the least score first.
    pub(super) fn zero(self, block: &[usize], score: impl Fn(usize) -> f64, zero: &mut impl FnMut(usize)) {
        let mut ranked = block.to_vec();
        ranked.sort_by(|a, b| score(*a).total_cmp(&score(*b)).then(a.cmp(b)));
        let gone = ranked.len().saturating_sub(self.keep);
        ranked.into_iter().take(gone).for_each(zero);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_and_bounded() {
        for (text, keep, of) in [("2:4", 2, 4), (" 4:8 ", 4, 8), ("1:64", 1, 64)] {
            assert_eq!(text.parse::<Blocks>(), Ok(Blocks { keep, of }), "{text}");
        }
        for text in ["", "2", "4:4", "0:4", "2:65", "-1:4", "2:4:8", "a:b"] {
            assert!(text.parse::<Blocks>().is_err(), "{text}");
        }
    }

    #[test]
    fn blocks_lie_along_channels_at_each_tap() {
        let blocks = Blocks { keep: 2, of: 4 }.of_columns(10, 2);
        assert_eq!(blocks, [vec![0, 2, 4, 6], vec![8], vec![1, 3, 5, 7], vec![9]]);
    }
}
