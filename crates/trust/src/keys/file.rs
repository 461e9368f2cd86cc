//! Private keys in files: PKCS#8 PEM that its owner alone may read, plain or encrypted under a passphrase (PBES2).

use std::{fmt, io, path::Path};

use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer},
    elliptic_curve::{Generate, zeroize::Zeroizing},
};
use pkcs8::{
    DecodePrivateKey, EncodePrivateKey, EncryptedPrivateKeyInfoRef, LineEnding, SecretDocument, der::pem::PemLabel,
};

use super::{Asked, KeyError, KeySource, LIMIT, NoSecrets, PublicKey, Secrets};
use crate::{ReadError, atomic, read_bounded};

/// What the first line of an encrypted key says.
const ENCRYPTED: &str = "BEGIN ENCRYPTED PRIVATE KEY";

/// Refuses a secret that others than its owner may read.
pub(super) fn refuse_exposed(path: &Path) -> Result<(), KeyError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(path).map_err(|source| ReadError::Io { path: path.into(), source })?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.into() });
        }
    }
    Ok(())
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

    /// Reads a key that needs no passphrase and that its owner alone may read.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        Self::read_with(path, &NoSecrets)
    }

    /// Reads a key that its owner alone may read; a passphrase is asked for where the file is encrypted.
    pub fn read_with(path: &Path, secrets: &dyn Secrets) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(read_bounded(path, LIMIT)?);
        refuse_exposed(path)?;
        let refused = || KeyError::NotPrivate { path: path.into() };
        let text = std::str::from_utf8(&bytes).map_err(|_| refused())?;
        if !text.contains(ENCRYPTED) {
            return Self::new(SigningKey::from_pkcs8_pem(text).map_err(|_| refused())?, path);
        }
        let (label, document) = SecretDocument::from_pem(text).map_err(|_| refused())?;
        let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| refused())?;
        EncryptedPrivateKeyInfoRef::validate_pem_label(label).map_err(|_| refused())?;
        let asked = Asked::passphrase(path);
        let Some(secret) = secrets.ask(&asked) else { return Err(KeyError::Locked(asked)) };
        let plain = encrypted.decrypt(secret.expose()).map_err(|_| KeyError::WrongSecret(asked))?;
        Self::new(SigningKey::from_pkcs8_der(plain.as_bytes()).map_err(|_| refused())?, path)
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
