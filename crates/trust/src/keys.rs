//! ECDSA P-256 keys: PKCS#8 PEM files that their owner alone may read, SPKI PEM public keys, and the trait behind which a
//! token or a key service can stand. No secret shows in an error or in debug output.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use p256::{
    ecdsa::{
        Signature, SigningKey, VerifyingKey,
        signature::{Signer, Verifier},
    },
    elliptic_curve::Generate,
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding},
};

use crate::{ReadError, atomic, read_bounded, sha256_hex};

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
            Self::Missing(_) => "give all the keys of the role".into(),
        })
    }
}

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
    fn new(key: VerifyingKey) -> Option<Self> {
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

/// Whatever holds a private key: a file here, a token or a key service elsewhere.
pub trait KeySource: Send + Sync {
    /// The public half.
    fn public_key(&self) -> &PublicKey;
    /// A DER signature, ECDSA P-256 over SHA-256.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

/// A private key in a file.
pub struct FileKey {
    signing: SigningKey,
    public: PublicKey,
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKey({})", self.public.id())
    }
}

impl FileKey {
    fn new(signing: SigningKey, path: &Path) -> Result<Self, KeyError> {
        let public = PublicKey::new(*signing.verifying_key());
        let public = public.ok_or_else(|| KeyError::NotPrivate { path: path.into() })?;
        Ok(Self { signing, public })
    }

    /// Reads a key that its owner alone may read.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let bytes = read_bounded(path, LIMIT)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let metadata = std::fs::metadata(path).map_err(|source| ReadError::Io { path: path.into(), source })?;
            if metadata.permissions().mode() & 0o077 != 0 {
                return Err(KeyError::Exposed { path: path.into() });
            }
        }
        let refused = || KeyError::NotPrivate { path: path.into() };
        let text = std::str::from_utf8(&bytes).map_err(|_| refused())?;
        Self::new(SigningKey::from_pkcs8_pem(text).map_err(|_| refused())?, path)
    }

    /// Draws a key and writes it; refuses to replace one.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let signing = SigningKey::try_generate().map_err(|_| KeyError::NoRandomness)?;
        let pem = signing.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::NotPrivate { path: path.into() })?;
        atomic::write_new_secret(path, pem.as_bytes())
            .map_err(|source| KeyError::Write { path: path.into(), source })?;
        Self::new(signing, path)
    }

    /// The key of a file, drawn first where there is none.
    pub fn read_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::read(path) {
            Err(KeyError::Read(e)) if e.is_not_found() => match Self::create(path) {
                // Somebody else was faster.
                Err(KeyError::Write { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                    Self::read(path)
                }
                other => other,
            },
            other => other,
        }
    }
}

impl KeySource for FileKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        // The nonce is derived (RFC 6979): the same message gives the same signature, and bad randomness gives no key away.
        let signature: Signature = self
            .signing
            .try_sign(message)
            .map_err(|e| KeyError::Sign { id: self.public.id(), reason: e.to_string() })?;
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

/// Keys by the names that roles call them by.
#[derive(Default)]
pub struct Keyring {
    keys: BTreeMap<String, Box<dyn KeySource>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.keys.iter().map(|(name, key)| (name, key.public_key().id()))).finish()
    }
}

impl Keyring {
    /// Keys of a folder, `<name>.pem` each; with `create`, those that are not there are drawn.
    pub fn of_folder(folder: &Path, names: &[&str], create: bool) -> Result<Self, KeyError> {
        let mut ring = Self::default();
        if create {
            make_private_folder(folder).map_err(|source| KeyError::Write { path: folder.into(), source })?;
        }
        for name in names {
            let path = folder.join(format!("{name}.pem"));
            let key = if create { FileKey::read_or_create(&path)? } else { FileKey::read(&path)? };
            ring.insert(*name, Box::new(key));
        }
        Ok(ring)
    }

    /// Adds a key.
    pub fn insert(&mut self, name: impl Into<String>, key: Box<dyn KeySource>) {
        self.keys.insert(name.into(), key);
    }

    /// Takes a key away.
    pub fn remove(&mut self, name: &str) {
        self.keys.remove(name);
    }

    /// The key of a name.
    pub fn get(&self, name: &str) -> Option<&dyn KeySource> {
        self.keys.get(name).map(AsRef::as_ref)
    }

    /// The key of a name, or an error that says which one is missing.
    pub fn require(&self, name: &str) -> Result<&dyn KeySource, KeyError> {
        self.get(name).ok_or_else(|| KeyError::Missing(name.into()))
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &dyn KeySource)> {
        self.keys.iter().map(|(name, key)| (name.as_str(), key.as_ref()))
    }
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        atomic::create_folders(above)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    match builder.create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn keys_of_another_kind_are_refused() {
        let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        for text in [ed25519, "", "-----BEGIN PUBLIC KEY-----\n", "\0\u{1}"] {
            assert!(matches!(PublicKey::from_pem(text, "a file"), Err(KeyError::NotPublic { .. })), "{text}");
        }
    }
}
