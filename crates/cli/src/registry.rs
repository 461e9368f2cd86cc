//! Releases in OCI registries, as verbs use them. A build without the feature `remote` says that it knows none.

use std::path::Path;

use plimsoll_trust::PublicKey;

use crate::failure::Failure;

/// What an address of a registry begins with.
pub(crate) const SCHEME: &str = "oci://";

#[cfg(feature = "remote")]
pub(crate) use with::{pull, push};

#[cfg(not(feature = "remote"))]
fn unknown() -> Failure {
    let message = "this build of plimsoll knows no registries";
    Failure::new(crate::manual::Code::Unsupported, message)
        .help("build it with its default features: cargo build --release --package plimsoll-cli")
}

/// Puts a release folder at an address.
#[cfg(not(feature = "remote"))]
pub(crate) fn push(_: &str, _: &Path) -> Result<String, Failure> {
    Err(unknown())
}

/// Gets a release from an address into a new folder.
#[cfg(not(feature = "remote"))]
pub(crate) fn pull(_: &str, _: Option<&PublicKey>, _: &Path) -> Result<String, Failure> {
    Err(unknown())
}

#[cfg(feature = "remote")]
mod with {
    use std::env;

    use plimsoll_release::{ATTESTATIONS, PAYLOAD, PUBLIC_KEY, SIGNATURE, recorded};
    use plimsoll_remote::registry::{self, Address, Artifact, Credentials, File, Password, RegistryError};
    use plimsoll_trust::oms::FolderManifest;

    use super::*;
    use crate::manual::Code;

    /// Puts a release folder at an address; the address pinned to what was put there.
    pub(crate) fn push(address: &str, folder: &Path) -> Result<String, Failure> {
        let address = Address::parse(address)?;
        let record = recorded(folder)?.record;
        let files = |prefix: &str, below: &Path| -> Result<Vec<File>, Failure> {
            let manifest = FolderManifest::of_folder(below).map_err(plimsoll_release::ReleaseError::from)?;
            let file = |path: String| File { path: below.join(&path), name: format!("{prefix}{path}") };
            Ok(manifest.files.into_iter().map(|f| file(f.path)).collect())
        };
        let plain = |name: &str| File { name: name.into(), path: folder.join(name) };
        let mut beside = vec![plain(SIGNATURE), plain(PUBLIC_KEY)];
        beside.extend(files(&format!("{ATTESTATIONS}/"), &folder.join(ATTESTATIONS))?);
        let artifact = Artifact {
            name: record.name,
            version: record.version,
            licence: record.licence,
            payload: files("", &folder.join(PAYLOAD))?,
            beside,
        };
        Ok(registry::push(&address, &artifact, &credentials())?.address.to_string())
    }

    /// Gets a release from an address into a new folder; what came, in words.
    pub(crate) fn pull(address: &str, key: Option<&PublicKey>, folder: &Path) -> Result<String, Failure> {
        let address = Address::parse(address)?;
        let wanted = key.map(PublicKey::id);
        let pulled = registry::pull(&address, &credentials(), wanted.as_deref(), folder)?;
        let registry::Pulled { digest, signature_digest, files, bytes } = pulled;
        Ok(format!("{files} files, {bytes} bytes; manifest {digest}, signature {signature_digest}"))
    }

    fn credentials() -> Credentials {
        match (env::var("PLIMSOLL_REGISTRY_USER"), env::var("PLIMSOLL_REGISTRY_PASSWORD")) {
            (Ok(name), Ok(password)) => Credentials::User { name, password: Password::new(password) },
            _ => Credentials::Anonymous,
        }
    }

    impl From<RegistryError> for Failure {
        fn from(e: RegistryError) -> Self {
            let code = match &e {
                RegistryError::Refused { .. } => Code::VerificationRefused,
                RegistryError::File { .. } | RegistryError::Io(_) => Code::NotWritten,
                RegistryError::Address { .. } => Code::BadConfig,
                _ => Code::NoRepository,
            };
            let help = e.help();
            Self::of(code, &e, help)
        }
    }
}
