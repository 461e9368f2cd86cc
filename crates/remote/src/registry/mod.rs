//! Releases in OCI registries: a ModelPack artifact for the payload, and a second artifact that refers to it for the signature.
//!
//! The payload is an image manifest of the artifact type `application/vnd.cncf.model.manifest.v1+json` (CNCF ModelPack
//! specification, version 1), one raw layer a file: what is pulled is what was signed, byte for byte. Signature, public key and
//! attestations are the layers of a manifest whose `subject` is the first one (OCI distribution 1.1); where a registry has no
//! referrers API, an index under the tag `sha256-…` lists it. The signature goes up before the tag does, so that whoever finds
//! the release finds its signature.
//!
//! Whoever pushes trusts the registry, and `oci-client` does that. Whoever pulls does not: [`pull`] bounds every answer.

mod address;
mod artifact;
mod challenge;
mod error;
mod pull;
mod push;
mod reader;

use std::{future::Future, time::Duration};

use oci_client::{
    Client,
    client::{ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};

pub use address::Address;
pub use artifact::{Artifact, File};
pub use error::RegistryError;
pub use pull::{Pulled, pull};
pub use push::{Pushed, push};

/// A registry that is not reached in that time is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// One that says nothing for so long has died.
const READ: Duration = Duration::from_secs(60);

/// Who asks. Debug output shows no password.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Nobody in particular.
    Anonymous,
    /// A user with a password or token.
    User {
        /// Name.
        name: String,
        /// Password.
        password: Password,
    },
}

/// A password, which no debug output shows.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Takes a text over.
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Credentials {
    fn auth(&self) -> RegistryAuth {
        match self {
            Self::Anonymous => RegistryAuth::Anonymous,
            Self::User { name, password } => RegistryAuth::Basic(name.clone(), password.0.clone()),
        }
    }
}

fn client(address: &Address) -> Client {
    Client::new(ClientConfig {
        protocol: if address.is_loopback() { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(CONNECT),
        read_timeout: Some(READ),
        user_agent: concat!("plimsoll/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
}

fn wait<T>(work: impl Future<Output = Result<T, RegistryError>>) -> Result<T, RegistryError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
