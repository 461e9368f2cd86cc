//! Why nothing was pushed or pulled.

use std::{io, path::PathBuf};

use oci_client::errors::OciDistributionError;

const ACCESS: &str = "set PLIMSOLL_REGISTRY_USER and PLIMSOLL_REGISTRY_PASSWORD";
const REACH: &str = "check that the registry is up and can be reached from here; without TLS only localhost is";

/// Why nothing was pushed or pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The address is none.
    #[error("`{address}` is no address in a registry: {reason}")]
    Address {
        /// As given.
        address: String,
        /// Why.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("failed to copy {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program cannot wait for the network.
    #[error("failed to wait for the network: {0}")]
    Io(#[from] io::Error),
    /// There is no such artifact.
    #[error("there is nothing at {0}")]
    NotFound(String),
    /// What is there is not what it should be.
    #[error("{place} is refused: {reason}")]
    Refused {
        /// Where.
        place: String,
        /// Why.
        reason: String,
    },
    /// The registry could not be reached, or broke off.
    #[error("failed to pull {place}: {reason}")]
    Unreachable {
        /// What was asked for.
        place: String,
        /// Why.
        reason: String,
    },
    /// The registry answered with an error.
    #[error("failed to pull {place}: the registry answered {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Answer {
        /// What was asked for.
        place: String,
        /// HTTP status.
        status: u16,
        /// What it said; may be empty.
        message: String,
    },
    /// The registry refused what was to be pushed, or could not be reached.
    #[error("failed to {doing} {place}: {source}")]
    Registry {
        /// What was done.
        doing: &'static str,
        /// Where.
        place: String,
        /// Why.
        source: Box<OciDistributionError>,
    },
}

impl RegistryError {
    pub(super) fn of(doing: &'static str, place: &impl ToString) -> impl Fn(OciDistributionError) -> Self {
        let place = place.to_string();
        move |source| match &source {
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. } => Self::NotFound(place.clone()),
            OciDistributionError::RegistryError { envelope, .. }
                if envelope.errors.iter().any(|e| {
                    use oci_client::errors::OciErrorCode::{ManifestUnknown, NameUnknown, NotFound};
                    matches!(e.code, ManifestUnknown | NameUnknown | NotFound)
                }) =>
            {
                Self::NotFound(place.clone())
            }
            _ => Self::Registry { doing, place: place.clone(), source: Box::new(source) },
        }
    }

    /// What came is not what it should be; as opposed to nothing that came.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Address { .. } => {
                "write oci://HOST/REPOSITORY:TAG, such as oci://registry.example/sleep-wake:1.4.0".into()
            }
            Self::File { .. } => "check that the folder is there, may be written and has room".into(),
            Self::Io(_) => return None,
            Self::NotFound(_) => "check the address; `plimsoll release --push` puts a release there".into(),
            Self::Refused { .. } => "do not use it; find out who pushed it".into(),
            Self::Answer { status: 401 | 403, .. } => ACCESS.into(),
            Self::Unreachable { .. } | Self::Answer { .. } => REACH.into(),
            Self::Registry { source, .. } => match source.as_ref() {
                OciDistributionError::AuthenticationFailure(_) | OciDistributionError::UnauthorizedError { .. } => {
                    ACCESS.into()
                }
                _ => REACH.into(),
            },
        })
    }
}
