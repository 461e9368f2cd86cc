//! Why a search could not be made.

use std::path::PathBuf;

use plimsoll_measure::MeasureError;

use crate::RecipeError;

/// Why a search could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OptimizeError {
    /// A recipe is wrong, or the original could not be processed at all.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The original model could not be measured.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// What was found could not be kept.
    #[error("failed to keep what the search found")]
    Store(#[source] std::io::Error),
    /// A recording does not fit.
    #[error("the recorded search cannot be repeated: {0}")]
    Replay(String),
    /// Two sets share samples.
    #[error(
        "the {first} data {} and the {second} data {} share {count} samples (sample {} of the first is sample {} of the second)",
        files[0].display(), files[1].display(), example[0], example[1]
    )]
    Overlap {
        /// What the first set is for.
        first: &'static str,
        /// What the second set is for.
        second: &'static str,
        /// The files.
        files: [PathBuf; 2],
        /// Shared samples.
        count: usize,
        /// Positions of the first of them.
        example: [usize; 2],
    },
}

impl OptimizeError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Recipe(e) => e.help(),
            Self::Measure(e) => e.help(),
            Self::Store(_) => Some("make room, or choose an output folder that you may write to".into()),
            Self::Replay(_) => Some("search again without --replay".into()),
            Self::Overlap { .. } => Some("split the data again; samples of one recording belong into one set".into()),
        }
    }
}
