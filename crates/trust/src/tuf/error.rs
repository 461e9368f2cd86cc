//! Why a repository was not changed, or is not believed.

use std::path::PathBuf;

use super::StoreError;
use crate::{KeyError, ReadError};

/// Why a repository was not changed, or is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TufError {
    /// There is no repository.
    #[error("there is no repository in {}", folder.display())]
    NotFound {
        /// The folder.
        folder: PathBuf,
    },
    /// There is one already.
    #[error("there is a repository in {} already", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// Signatures, versions or digests of the metadata do not hold.
    #[error("the repository's metadata do not hold: {reason}")]
    Refused {
        /// What does not.
        reason: String,
    },
    /// A role's metadata are too old.
    #[error("the metadata of the role `{role}` expired at {expired}")]
    Expired {
        /// The role.
        role: String,
        /// When, in UTC.
        expired: String,
    },
    /// A role was to sign with fewer keys than it needs.
    #[error("the role `{role}` needs {needed} of its keys to sign; {have} are at hand")]
    TooFewKeys {
        /// The role.
        role: String,
        /// Keys of the role at hand.
        have: u64,
        /// Its threshold.
        needed: u64,
    },
    /// The repository has no such role, or the role no authority over a target.
    #[error("the repository's role `{role}` has no authority over `{target}`")]
    NoAuthority {
        /// The role.
        role: String,
        /// The target.
        target: String,
    },
    /// A target is longer than it may be.
    #[error("the target `{target}` has {bytes} bytes; such a file may have {limit}")]
    TooLong {
        /// The target.
        target: String,
        /// Its length, as signed.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// What a client remembers cannot be read any more.
    #[error("{}, which remembers what was seen of the repository, cannot be read: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key that signs for no role.
    #[error("no role {}of the repository lists the key {id}", role.as_ref().map(|r| format!("`{r}` ")).unwrap_or_default())]
    UnknownKey {
        /// The key's id, or what was given for one.
        id: String,
        /// The role that was asked for, where it was one.
        role: Option<String>,
    },
    /// A role would be left with fewer keys than must sign.
    #[error("the role `{role}` needs {needed} keys; {left} would be left")]
    TooFewLeft {
        /// The role.
        role: String,
        /// Keys that would be left.
        left: u64,
        /// Its threshold.
        needed: u64,
    },
    /// A time outside of what can be written down.
    #[error("the clock says {0}: that cannot be")]
    Clock(String),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A key failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl TufError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { .. } => "check the folder; a release makes a repository where there is none".into(),
            Self::Exists { .. } => "open it instead".into(),
            Self::Refused { .. } => "do not trust what it holds; fetch the repository again from where it is published".into(),
            Self::Expired { .. } => {
                "whoever keeps the repository signs it anew with `plimsoll channel refresh`; until then it may be a replayed old state".into()
            }
            Self::TooFewKeys { .. } => "bring the other keys of the role together".into(),
            Self::TooFewLeft { .. } => "put another key in its place: `plimsoll channel rotate-key`".into(),
            Self::NoAuthority { .. } => "only roles that the repository delegates a name to can sign it".into(),
            Self::TooLong { .. } => "this is nothing that Plimsoll signed".into(),
            Self::Damaged { .. } => "remove the file; older states than it remembers are not noticed until the next update".into(),
            Self::UnknownKey { .. } => "`plimsoll channel status` lists roles and keys".into(),
            Self::Clock(_) => "set the clock".into(),
            Self::Store(e) => return e.help(),
            Self::Read(e) => return e.help(),
            Self::Key(e) => return e.help(),
        })
    }

    /// The repository is there and is not to be believed.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Expired { .. }
                | Self::TooLong { .. }
                | Self::Read(ReadError::NotAFile { .. } | ReadError::TooLong { .. })
        )
    }

    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}

impl From<tough::schema::Error> for TufError {
    fn from(error: tough::schema::Error) -> Self {
        Self::refused(error.to_string())
    }
}
