//! Keys: the trait behind which a file, a token or a key service stands, and the public keys that their signatures hold by.
//! All are ECDSA P-256. No secret shows in an error or in debug output.

mod file;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod public;
mod ring;
mod secret;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use file::FileKey;
#[cfg(feature = "pkcs11")]
pub use pkcs11::TokenKey;
pub use public::PublicKey;
pub use ring::Keyring;
pub use secret::{Asked, NoSecrets, Secret, Secrets};

use crate::ReadError;

/// A PEM file of one P-256 key has some 250 bytes.
const LIMIT: u64 = 16 << 10;

/// Why a key is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file could not be written.
    #[error("failed to write the key {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("others may read the private key {}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It is no private key of the kind that is used here.
    #[error("{} is no ECDSA P-256 private key in PKCS#8 PEM", path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
    },
    /// It is no public key of the kind that is used here.
    #[error("{place} is no ECDSA P-256 public key in SPKI PEM")]
    NotPublic {
        /// The file, or what else it was read from.
        place: String,
    },
    /// The system gives no random numbers.
    #[error("failed to draw a key: the system gives no random numbers")]
    NoRandomness,
    /// A key source could not sign.
    #[error("failed to sign with the key {id}: {reason}")]
    Sign {
        /// Key id.
        id: String,
        /// Why.
        reason: String,
    },
    /// The key needs a secret, and none was given.
    #[error("the {0} is needed, and was not given")]
    Locked(Asked),
    /// The secret does not open the key.
    #[error("the {0} is wrong")]
    WrongSecret(Asked),
    /// A token has no such key, or cannot be reached.
    #[error("failed to open a key of the token `{token}`: {reason}")]
    Token {
        /// Label of the token.
        token: String,
        /// Why.
        reason: String,
    },
    /// A URI names no key.
    #[error("the key's `pkcs11:` URI cannot be used: {reason}")]
    Uri {
        /// Why; without the URI, where a PIN may stand in it.
        reason: String,
    },
    /// A folder has two keys of one name.
    #[error("{} has both {name}.pem and {name}.key", folder.display())]
    Twice {
        /// The folder.
        folder: PathBuf,
        /// The name.
        name: String,
    },
    /// The key is not there.
    #[error("there is no key `{0}`")]
    Missing(String),
}

impl KeyError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Read(e) => return e.help(),
            Self::Write { .. } => "check that the folder is there and may be written".into(),
            Self::Exposed { path } => {
                format!("chmod 600 {}; if others have had access, replace the key", path.display())
            }
            Self::NotPrivate { .. } => {
                "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes such a key".into()
            }
            Self::NotPublic { .. } => "openssl pkey -pubout writes such a key; Ed25519 and RSA keys are refused".into(),
            Self::NoRandomness => return None,
            Self::Sign { .. } => "check that the key's token or service can be reached".into(),
            Self::Locked(Asked::Passphrase(_)) => {
                "set PLIMSOLL_PASSPHRASE, or run it where it can ask; a secret is never an argument".into()
            }
            Self::Locked(Asked::Pin(_)) => {
                "set PLIMSOLL_PIN, name a file by `pin-source`, or run it where it can ask; a secret is never an argument"
                    .into()
            }
            Self::WrongSecret(Asked::Passphrase(_)) => "check it; the file was left as it is".into(),
            Self::WrongSecret(Asked::Pin(_)) => {
                "check it before you try again: after a few wrong PINs a token locks itself".into()
            }
            Self::Token { .. } => "`pkcs11-tool --module MODULE -L` lists tokens, and with -O their keys".into(),
            Self::Uri { .. } => {
                "write pkcs11:token=LABEL;object=KEY?module-path=/path/to/module.so; `%20` is a blank".into()
            }
            Self::Twice { .. } => "keep the one that signs, and move the other away".into(),
            Self::Missing(_) => "give all the keys of the role".into(),
        })
    }
}

/// Whatever holds a private key: a file, a token, a key service. This is all that is asked of it.
///
/// A cloud's key management service signs a digest, and gives back DER, which is what is wanted here:
///
/// ```
/// use plimsoll_trust::{KeyError, KeySource, PublicKey};
/// use sha2::{Digest, Sha256};
///
/// /// A key of a service: AWS KMS `Sign` with `ECDSA_SHA_256` and `MessageType=DIGEST`, Google Cloud KMS `asymmetricSign` with
/// /// `digest.sha256`, or Azure Key Vault `sign` with `ES256` (which answers r ‖ s: encode it by `ecdsa::Signature::to_der`).
/// struct ServiceKey<F> {
///     public: PublicKey,
///     sign_digest: F,
/// }
///
/// impl<F: Fn(&[u8; 32]) -> Result<Vec<u8>, String> + Send + Sync> KeySource for ServiceKey<F> {
///     fn public_key(&self) -> &PublicKey {
///         &self.public
///     }
///
///     fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
///         let failed = |reason| KeyError::Sign { id: self.public.id(), reason };
///         let der = (self.sign_digest)(&Sha256::digest(message).into()).map_err(failed)?;
///         // What a service answered is believed when it verifies.
///         if !self.public.verifies(message, &der) {
///             return Err(failed("the service's signature does not verify".into()));
///         }
///         Ok(der)
///     }
/// }
/// ```
pub trait KeySource: Send + Sync {
    /// The public half.
    fn public_key(&self) -> &PublicKey;
    /// A DER signature, ECDSA P-256 over SHA-256.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

/// Opens the key that a user names: a PKCS#8 PEM file, or a `pkcs11:` URI.
pub fn open_key(name: &str, secrets: &dyn Secrets) -> Result<Box<dyn KeySource>, KeyError> {
    if !name.starts_with("pkcs11:") {
        return Ok(Box::new(FileKey::read_with(Path::new(name), secrets)?));
    }
    #[cfg(feature = "pkcs11")]
    return Ok(Box::new(TokenKey::open(name, secrets)?));
    #[cfg(not(feature = "pkcs11"))]
    Err(KeyError::Uri { reason: "this build knows no tokens: build it with the feature `pkcs11`".into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic;

    /// Draws a key in a folder, reads it again, and lets both sign.
    fn check(folder: &Path) -> FileKey {
        let path = folder.join("key.pem");
        let made = FileKey::read_or_create(&path).unwrap();
        let read = FileKey::read_or_create(&path).unwrap();
        assert_eq!(made.public_key(), read.public_key());
        assert!(made.public_key().verifies(b"message", &read.sign(b"message").unwrap()));
        read
    }

    #[test]
    fn a_signature_holds_for_its_message_and_key_alone() {
        let [one, two] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [key, other] = [check(one.path()), check(two.path())];
        let signature = key.sign(b"message").unwrap();
        assert!(!key.public_key().verifies(b"massage", &signature));
        assert!(!other.public_key().verifies(b"message", &signature));
        assert!(!key.public_key().verifies(b"message", &signature[..signature.len() - 1]));
        assert!(!key.public_key().verifies(b"message", b""));
        let public = PublicKey::from_pem(&key.public_key().pem().replace('\n', "\r\n"), "a file").unwrap();
        assert_eq!(public.id(), key.public_key().id(), "the id depends on line ends");
    }

    #[test]
    fn no_secret_shows_in_debug_output_or_errors() {
        let folder = tempfile::tempdir().unwrap();
        let key = check(folder.path());
        let secret = std::fs::read_to_string(folder.path().join("key.pem")).unwrap();
        let line = secret.lines().nth(1).unwrap();
        let mut ring = Keyring::default();
        let shown = format!("{key:?}");
        ring.insert("key", Box::new(key));
        assert!(!format!("{shown}{ring:?}").contains(line));
        std::fs::write(folder.path().join("cut.pem"), &secret[..secret.len() / 2]).unwrap();
        atomic::set_mode(&std::fs::File::open(folder.path().join("cut.pem")).unwrap(), 0o600).unwrap();
        let error = FileKey::read(&folder.path().join("cut.pem")).unwrap_err();
        assert!(matches!(error, KeyError::NotPrivate { .. }));
        assert!(!format!("{error} {error:?}").contains(line));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path());
        let path = folder.path().join("key.pem");
        atomic::set_mode(&std::fs::File::open(&path).unwrap(), 0o640).unwrap();
        assert!(matches!(FileKey::read(&path), Err(KeyError::Exposed { .. })));
    }

    /// A key that OpenSSL encrypted: `openssl pkcs8 -topk8 -v2 aes-256-cbc`.
    const ENCRYPTED: &str = include_str!("../../tests/encrypted.pem");

    struct One(&'static str);

    impl Secrets for One {
        fn ask(&self, asked: &Asked) -> Option<Secret> {
            assert_eq!(asked.name(), "key");
            Some(Secret::new(self.0.into()))
        }
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        atomic::write_new_secret(&path, ENCRYPTED.as_bytes()).unwrap();
        let name = path.to_str().unwrap();
        let key = open_key(name, &One("an example")).unwrap();
        assert!(key.public_key().verifies(b"message", &key.sign(b"message").unwrap()));
        assert!(matches!(FileKey::read(&path), Err(KeyError::Locked(Asked::Passphrase(_)))));
        let error = open_key(name, &One("another one")).err().unwrap();
        assert!(matches!(error, KeyError::WrongSecret(_)));
        assert!(!format!("{error} {error:?} {:?}", error.help()).contains("another one"));
        std::fs::write(&path, &ENCRYPTED[..ENCRYPTED.len() / 2]).unwrap();
        assert!(matches!(open_key(name, &One("an example")), Err(KeyError::NotPrivate { .. })));
    }

    #[test]
    fn a_folder_may_name_keys_that_lie_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let key = FileKey::create(&folder.path().join("a.pem")).unwrap();
        FileKey::create(&folder.path().join("b.pem")).unwrap();
        let elsewhere = folder.path().join("a.pem").display().to_string();
        std::fs::write(folder.path().join("c.key"), format!("{elsewhere}\n")).unwrap();
        let ring = Keyring::open_folder(folder.path(), &["b", "c"], &NoSecrets).unwrap();
        assert_eq!(ring.require("c").unwrap().public_key(), key.public_key());
        std::fs::write(folder.path().join("b.key"), elsewhere).unwrap();
        assert!(matches!(Keyring::open_folder(folder.path(), &["b"], &NoSecrets), Err(KeyError::Twice { .. })));
        let absent = Keyring::open_folder(folder.path(), &["d"], &NoSecrets).unwrap_err();
        assert!(matches!(absent, KeyError::Read(e) if e.is_not_found()));
    }

    #[test]
    fn keys_of_another_kind_are_refused() {
        let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        for text in [ed25519, "", "-----BEGIN PUBLIC KEY-----\n", "\0\u{1}"] {
            assert!(matches!(PublicKey::from_pem(text, "a file"), Err(KeyError::NotPublic { .. })), "{text}");
        }
    }
}
