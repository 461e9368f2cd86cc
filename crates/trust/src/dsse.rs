//! DSSE: an envelope around a payload, signed over its type, its length and its bytes.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use crate::{KeyError, KeySource, PublicKey};

/// Payload type of in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// More signatures than anybody has keys are an attack.
const MOST_SIGNATURES: usize = 32;

/// Why an envelope is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DsseError {
    /// It is no envelope.
    #[error("the envelope is no DSSE: {0}")]
    Malformed(String),
    /// It holds something else than expected.
    #[error("the envelope holds `{found}`, expected `{expected}`")]
    PayloadType {
        /// What it says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Fewer valid signatures than asked for.
    #[error("{valid} of the {needed} needed signatures are valid")]
    Signatures {
        /// Keys with a valid signature.
        valid: usize,
        /// Keys needed.
        needed: usize,
    },
}

impl DsseError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Malformed(_) | Self::PayloadType { .. } => "fetch the file again; it is not what was signed".into(),
            Self::Signatures { .. } => "the file was changed after signing, or was signed by another key".into(),
        })
    }
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// DER signature in base64.
    pub sig: String,
    /// Key id; a hint, which verification does not rely on.
    #[serde(default)]
    pub keyid: String,
}

/// A signed payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The payload in base64.
    pub payload: String,
    /// What it is.
    pub payload_type: String,
    /// The signatures.
    pub signatures: Vec<Signature>,
}

/// What is signed: type and payload, each with its length, so that neither can be taken for the other.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

impl Envelope {
    /// Signs a payload with every key.
    pub fn sign(payload_type: &str, payload: &[u8], keys: &[&dyn KeySource]) -> Result<Self, KeyError> {
        let message = pae(payload_type, payload);
        let sign = |key: &&dyn KeySource| {
            Ok(Signature { sig: BASE64_STANDARD.encode(key.sign(&message)?), keyid: key.public_key().id() })
        };
        Ok(Self {
            payload: BASE64_STANDARD.encode(payload),
            payload_type: payload_type.into(),
            signatures: keys.iter().map(sign).collect::<Result<_, KeyError>>()?,
        })
    }

    /// From JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DsseError> {
        serde_json::from_slice(bytes).map_err(|e| DsseError::Malformed(e.to_string()))
    }

    /// The payload, where at least `needed` different keys have signed it.
    pub fn verify(&self, payload_type: &str, keys: &[&PublicKey], needed: usize) -> Result<Vec<u8>, DsseError> {
        if self.payload_type != payload_type {
            return Err(DsseError::PayloadType { found: self.payload_type.clone(), expected: payload_type.into() });
        }
        if self.signatures.len() > MOST_SIGNATURES {
            return Err(DsseError::Malformed(format!("it has {} signatures", self.signatures.len())));
        }
        let decode = |what: &str, text: &str| {
            BASE64_STANDARD.decode(text).map_err(|e| DsseError::Malformed(format!("{what} is no base64: {e}")))
        };
        let payload = decode("the payload", &self.payload)?;
        let message = pae(payload_type, &payload);
        let signatures =
            self.signatures.iter().map(|s| decode("a signature", &s.sig)).collect::<Result<Vec<_>, DsseError>>()?;
        // Counted by key: one key that signs twice is one.
        let mut distinct: Vec<&PublicKey> = Vec::new();
        for key in keys {
            if !distinct.contains(key) && signatures.iter().any(|s| key.verifies(&message, s)) {
                distinct.push(key);
            }
        }
        match distinct.len() {
            valid if valid >= needed.max(1) => Ok(payload),
            valid => Err(DsseError::Signatures { valid, needed: needed.max(1) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileKey;

    struct Keys(tempfile::TempDir);

    impl Keys {
        fn key(&self, name: &str) -> FileKey {
            FileKey::read_or_create(&self.0.path().join(name)).unwrap()
        }
    }

    /// Signs with the keys of `signers`, changes the envelope, and verifies with the keys of `trusted`.
    fn check(
        signers: &[&str],
        trusted: &[&str],
        needed: usize,
        change: impl Fn(&mut Envelope),
    ) -> Result<(), DsseError> {
        let keys = Keys(tempfile::tempdir().unwrap());
        let signing: Vec<FileKey> = signers.iter().map(|n| keys.key(n)).collect();
        let sources: Vec<&dyn KeySource> = signing.iter().map(|k| k as &dyn KeySource).collect();
        let mut envelope = Envelope::sign(IN_TOTO, b"{}", &sources).unwrap();
        change(&mut envelope);
        let trusted: Vec<FileKey> = trusted.iter().map(|n| keys.key(n)).collect();
        let public: Vec<&PublicKey> = trusted.iter().map(|k| k.public_key()).collect();
        envelope.verify(IN_TOTO, &public, needed).map(|payload| assert_eq!(payload, b"{}"))
    }

    #[test]
    fn pre_authentication_encoding_is_that_of_the_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn one_key_that_signs_twice_is_one() {
        check(&["a", "b"], &["a", "b"], 2, |_| {}).unwrap();
        let twice = Err(DsseError::Signatures { valid: 1, needed: 2 });
        assert_eq!(check(&["a", "a"], &["a", "b"], 2, |_| {}), twice);
        assert_eq!(check(&["a", "a"], &["a", "a"], 2, |_| {}), twice);
    }

    #[test]
    fn another_key_changed_payload_or_type_are_refused() {
        let none = Err(DsseError::Signatures { valid: 0, needed: 1 });
        assert_eq!(check(&["a"], &["b"], 1, |_| {}), none);
        assert_eq!(check(&[], &["a"], 0, |_| {}), none);
        assert_eq!(check(&["a"], &["a"], 1, |e| e.payload = BASE64_STANDARD.encode(b"{ }")), none);
        assert_eq!(check(&["a"], &["a"], 1, |e| e.signatures[0].sig = BASE64_STANDARD.encode(b"garbage")), none);
        assert!(matches!(check(&["a"], &["a"], 1, |e| e.signatures[0].sig.push('!')), Err(DsseError::Malformed(_))));
        assert!(matches!(
            check(&["a"], &["a"], 1, |e| e.payload_type = "text/plain".into()),
            Err(DsseError::PayloadType { .. })
        ));
        let many = |e: &mut Envelope| e.signatures = vec![e.signatures[0].clone(); MOST_SIGNATURES + 1];
        assert!(matches!(check(&["a"], &["a"], 1, many), Err(DsseError::Malformed(_))));
    }
}
