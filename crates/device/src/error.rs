//! Why the agent did not do what it was asked to.

use std::{io, path::PathBuf};

use plimsoll_profile::ConfigError;
use plimsoll_runtime::ExecError;
use plimsoll_trust::{ReadError, tuf::TufError};

/// Why the agent did not do what it was asked to. Whatever it is, the model that runs goes on running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The operating system refused.
    #[error("failed to use {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent works on the state.
    #[error("the state in {} is being changed by another process", path.display())]
    Busy {
        /// The state folder.
        path: PathBuf,
    },
    /// A file of the state is not what the agent wrote.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The repository, a pointer, or a release is not to be believed.
    #[error("{what}: {reason}")]
    Refused {
        /// What.
        what: String,
        /// Why.
        reason: String,
        /// The files of a release are not what was signed.
        forged: bool,
    },
    /// The release is genuine, and not for this device.
    #[error("{release} does not suit this device: {reason}")]
    Unfit {
        /// Name and version.
        release: String,
        /// Why.
        reason: String,
    },
    /// The repository's address is none that this build can read.
    #[error("{reason}")]
    Address {
        /// What is wrong.
        reason: String,
        /// What to do about it.
        help: String,
    },
    /// There is no model to run.
    #[error("no model is installed")]
    NoModel,
    /// What people wrote for the device is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model does not run.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl DeviceError {
    /// What somebody can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room; what runs is as it was before".into()
            }
            Self::Io { .. } => "check that the folder is there and that the agent may write to it".into(),
            Self::Busy { .. } => "wait for the other, and try again".into(),
            Self::Damaged { .. } => "remove the file: the agent goes on as one that has just been made".into(),
            Self::Refused { .. } => {
                "nothing was installed; whoever keeps the repository must find out what was put in its place".into()
            }
            Self::Unfit { .. } => "this digest is not tried again; `device forgive DIGEST` lifts that".into(),
            Self::Address { help, .. } => help.clone(),
            Self::NoModel => "`device sync` installs one".into(),
            Self::Config(_) => return None,
            Self::Exec(e) => return e.help(),
        })
    }

    pub(crate) fn refused(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), reason: reason.into(), forged: false }
    }

    pub(crate) fn forged(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), reason: reason.into(), forged: true }
    }
}

impl From<TufError> for DeviceError {
    fn from(e: TufError) -> Self {
        Self::refused("the repository", e.to_string())
    }
}

impl From<ReadError> for DeviceError {
    fn from(e: ReadError) -> Self {
        match e {
            ReadError::Io { path, source } => Self::Io { path, source },
            other => Self::refused("a file", other.to_string()),
        }
    }
}
