//! Why there is no release, or no change of a channel.

use std::{io, path::PathBuf};

use plimsoll_trust::{
    KeyError, ReadError,
    dsse::DsseError,
    is_address,
    oms::OmsError,
    tuf::{StoreError, TufError},
};

/// What kind of failure it was: a script must tell a forged release from a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A signature, digest, version or role does not hold.
    VerificationRefused,
    /// What came in is not what it should be.
    BadInput,
    /// There is no release or repository.
    NotFound,
    /// The gate did not let it through.
    GateFailed,
    /// A file could not be read or written.
    Io,
    /// Somebody else is changing the repository.
    Busy,
}

/// Why there is no release, or no change of a channel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// A name that cannot become a file name.
    #[error("`{value}` is no {what} of a release")]
    Name {
        /// `name`, `version`, `file` or `channel`.
        what: &'static str,
        /// What was given.
        value: String,
    },
    /// No role has a key of that name.
    #[error("a repository has no key called `{0}`")]
    NoSuchKey(String),
    /// One key would stand for several.
    #[error("`{key}` cannot be another key of the repository: {by}")]
    KeyInUse {
        /// Its name.
        key: String,
        /// What has it already.
        by: String,
    },
    /// The parts of a release do not belong together.
    #[error("the release is inconsistent: {0}")]
    Inconsistent(String),
    /// The report says fail.
    #[error("the report's verdict is `{0}`: a release needs a pass, or an inconclusive one that nothing contradicts")]
    Gate(String),
    /// The same name and version with other content.
    #[error("{name} {version} exists in {} with other content", place.display())]
    Taken {
        /// Name.
        name: String,
        /// Version.
        version: String,
        /// Where.
        place: PathBuf,
    },
    /// There is nothing.
    #[error("there is no {what} in {}", place.display())]
    NotFound {
        /// What is missing.
        what: String,
        /// Where it was looked for.
        place: PathBuf,
    },
    /// A channel carries one model.
    #[error("the {channel} channel carries `{carries}`, and `{name}` would replace it on every device that follows it")]
    OtherModel {
        /// The channel.
        channel: String,
        /// What it carries.
        carries: String,
        /// What was to be published.
        name: String,
    },
    /// A release must be in beta first.
    #[error("{name} {version} is not what the beta channel is at{}", at.as_ref().map(|a| format!(" (that is {a})")).unwrap_or_default())]
    NotInBeta {
        /// Name.
        name: String,
        /// Version.
        version: String,
        /// What it is at.
        at: Option<String>,
    },
    /// A halted channel takes a decision to move again.
    #[error("the {channel} channel is halted")]
    Halted {
        /// The channel.
        channel: String,
    },
    /// Nobody decided.
    #[error("{name} {version} enters the {channel} channel by a decision alone, and none was given")]
    NoDecision {
        /// The channel.
        channel: String,
        /// Name.
        name: String,
        /// Version.
        version: String,
    },
    /// A channel that is at nothing cannot be moved.
    #[error("the {channel} channel is at nothing yet")]
    AtNothing {
        /// The channel.
        channel: String,
    },
    /// There is nothing to go back to.
    #[error("the {channel} channel has no release to fall back on")]
    NoFallback {
        /// The channel.
        channel: String,
    },
    /// Something that was signed does not hold.
    #[error("{what} does not verify: {reason}")]
    Refused {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
    /// The operating system refused.
    #[error("failed to write {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document could not be encoded.
    #[error("failed to encode {what}: {source}")]
    Encode {
        /// What.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The payload's signature.
    #[error(transparent)]
    Oms(#[from] OmsError),
    /// An attestation.
    #[error(transparent)]
    Dsse(#[from] DsseError),
    /// The repository.
    #[error(transparent)]
    Tuf(#[from] TufError),
}

impl ReleaseError {
    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } | Self::Inconsistent(_) | Self::Taken { .. } | Self::Encode { .. } => ErrorKind::BadInput,
            Self::OtherModel { .. } | Self::NotInBeta { .. } | Self::KeyInUse { .. } | Self::NoSuchKey(_) => {
                ErrorKind::BadInput
            }
            Self::NoDecision { .. } => ErrorKind::VerificationRefused,
            Self::Halted { .. } | Self::AtNothing { .. } | Self::NoFallback { .. } => ErrorKind::BadInput,
            Self::Gate(_) => ErrorKind::GateFailed,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Refused { .. } | Self::Dsse(_) => ErrorKind::VerificationRefused,
            Self::Io { .. } => ErrorKind::Io,
            Self::Read(e) => of_read(e),
            Self::Key(KeyError::Read(e)) => of_read(e),
            Self::Key(KeyError::Write { .. } | KeyError::NoRandomness | KeyError::Sign { .. }) => ErrorKind::Io,
            Self::Key(_) => ErrorKind::BadInput,
            Self::Oms(e) if e.is_io() => ErrorKind::Io,
            Self::Oms(_) => ErrorKind::VerificationRefused,
            Self::Tuf(TufError::NotFound { .. }) => ErrorKind::NotFound,
            Self::Tuf(TufError::Store(StoreError::Busy { .. } | StoreError::Overtaken { .. })) => ErrorKind::Busy,
            Self::Tuf(TufError::Store(_)) => ErrorKind::Io,
            Self::Tuf(e) if e.is_refusal() => ErrorKind::VerificationRefused,
            Self::Tuf(TufError::Read(e)) => of_read(e),
            Self::Tuf(_) => ErrorKind::BadInput,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Name { what: "name", .. } => {
                "up to 64 of a-z, 0-9, `-`, `_`, `.`, `+`, beginning with a letter or digit: it becomes a file name"
                    .into()
            }
            Self::Name { what: "version", .. } => "a version is written as semver does, such as 1.4.0".into(),
            Self::Name { what: "channel", .. } => "the channels are beta and general".into(),
            Self::NoSuchKey(_) => "`plimsoll channel init --dry-run` lists the keys that there are".into(),
            Self::KeyInUse { .. } => "draw one of its own: what takes two keys is to take two people".into(),
            Self::Name { .. } => "use letters, digits, `-`, `_` and `.`".into(),
            Self::Inconsistent(_) => "report, figures and model must come from the same run".into(),
            Self::Gate(_) => "see the report: change the model or the budget, and check again".into(),
            Self::Taken { .. } => "raise the version: what was signed under one stays what it was".into(),
            Self::NotFound { .. } => "`plimsoll release` makes the first release and its repository".into(),
            Self::OtherModel { .. } => "give each model a repository of its own (`--output`)".into(),
            Self::NotInBeta { .. } => "publish it to beta first, and let it soak there".into(),
            Self::Halted { .. } => {
                "`plimsoll channel resume` goes on with the same release, `plimsoll channel rollback` back to the one before".into()
            }
            Self::NoDecision { .. } => {
                "give a verification summary of the release with --decision: a gate's, as they lie in its attestations/, or a rollout's".into()
            }
            Self::AtNothing { .. } => "publish a release there first".into(),
            Self::NoFallback { .. } => "publish a release that is good; until then halted devices keep what they have".into(),
            Self::Refused { .. } => "do not install or publish it; fetch it again, or release anew".into(),
            Self::Io { .. } => "check that the folder is there, may be written and has room".into(),
            Self::Encode { .. } => return None,
            Self::Read(e) => return e.help(),
            Self::Key(e) => return e.help(),
            Self::Oms(e) => return e.help(),
            Self::Dsse(e) => return e.help(),
            Self::Tuf(e) => return e.help(),
        })
    }
}

fn of_read(error: &ReadError) -> ErrorKind {
    match error {
        e if e.is_not_found() => ErrorKind::NotFound,
        ReadError::Io { path, .. } if is_address(path) => ErrorKind::NotFound,
        ReadError::NotAFile { .. } | ReadError::TooLong { .. } => ErrorKind::BadInput,
        _ => ErrorKind::Io,
    }
}
