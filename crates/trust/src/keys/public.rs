//! Public keys: ECDSA P-256 in SPKI PEM, and the id that signatures name them by.

use std::{fmt, path::Path};

use p256::{
    ecdsa::{Signature, VerifyingKey, signature::Verifier},
    pkcs8::{DecodePublicKey, EncodePublicKey, LineEnding},
};

use super::{KeyError, LIMIT};
use crate::{read_bounded, sha256_hex};

/// The public half of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    pem: String,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

impl PublicKey {
    pub(super) fn new(key: VerifyingKey) -> Option<Self> {
        // The PEM text is written anew: the id is a digest of it, and must not depend on how a file wraps its lines.
        let pem = key.to_public_key_pem(LineEnding::LF).ok()?;
        Some(Self { key, pem })
    }

    /// From SPKI PEM text; `place` is named in errors.
    pub fn from_pem(text: &str, place: &str) -> Result<Self, KeyError> {
        let refused = || KeyError::NotPublic { place: place.into() };
        Self::new(VerifyingKey::from_public_key_pem(text).map_err(|_| refused())?).ok_or_else(refused)
    }

    /// From a file of SPKI PEM text.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let place = path.display().to_string();
        let text = String::from_utf8(read_bounded(path, LIMIT)?);
        Self::from_pem(&text.map_err(|_| KeyError::NotPublic { place: place.clone() })?, &place)
    }

    /// SPKI PEM text, with a newline at its end.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of the PEM text: what an OpenSSF Model Signing bundle names a key by.
    pub fn id(&self) -> String {
        sha256_hex(self.pem.as_bytes())
    }

    /// Whether a DER signature over the SHA-256 of a message is by this key.
    pub fn verifies(&self, message: &[u8], der: &[u8]) -> bool {
        Signature::from_der(der).is_ok_and(|signature| self.key.verify(message, &signature).is_ok())
    }
}
