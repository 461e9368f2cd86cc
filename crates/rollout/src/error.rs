//! Why something about a rollout could not be done.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RolloutError {
    /// The operating system refused.
    #[error("failed to {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The telemetry store did not do what was asked.
    #[error("the telemetry store {}: {source}", path.display())]
    Store {
        /// The store.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A Parquet file is not what it should be.
    #[error("failed to read {} as Parquet: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file has no kind that is known.
    #[error("{} is none of .jsonl, .csv, .parquet", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// The chain of decisions does not hold together.
    #[error("decision {sequence} of {}: {reason}", path.display())]
    Chain {
        /// The folder.
        path: PathBuf,
        /// Number of the decision.
        sequence: u64,
        /// What is wrong.
        reason: String,
    },
    /// What was asked for is not what comes next.
    #[error("{0}")]
    Order(String),
    /// A key could not be used.
    #[error(transparent)]
    Key(#[from] plimsoll_trust::KeyError),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] plimsoll_trust::ReadError),
}

impl RolloutError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } => "check the path, and that it may be read or written".into(),
            Self::Store { .. } => {
                "another process may hold it, or it is no store of this version; telemetry can be ingested anew".into()
            }
            Self::Parquet { reason, .. } if reason.contains("Disabled feature") => {
                "write it compressed by Snappy, or not at all".into()
            }
            Self::Parquet { .. } => "give the columns that docs/rollout.md lists".into(),
            Self::Kind { .. } => "JSON Lines end in .jsonl or .ndjson, the others in .csv and .parquet".into(),
            Self::Chain { .. } => {
                "a decision was changed, taken out or signed by another key; restore the folder from a copy".into()
            }
            Self::Order(_) => "`plimsoll rollout status` shows where the rollout is".into(),
            Self::Key(e) => return e.help(),
            Self::Read(e) => return e.help(),
        })
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
