//! Keyed pseudonyms: who holds the key can find a device again, who holds the store alone cannot.

use std::{fs, io::Read, path::Path};

use sha2::{Digest, Sha256};

use crate::error::RolloutError;

/// What a device or a user is called in the store: the first half of an HMAC-SHA256 of its id (RFC 2104).
pub type Pseudonym = [u8; 16];

/// Makes pseudonyms. The key does not show in debug output.
#[derive(Clone)]
pub struct Pseudonyms {
    inner: Sha256,
    outer: Sha256,
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

impl Pseudonyms {
    /// With a key.
    pub fn new(key: &[u8; 32]) -> Self {
        let padded = |with: u8| {
            let mut block = [with; 64];
            block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
            Sha256::new().chain_update(block)
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// With the key of a file; where there is none, one is drawn and written there.
    pub fn of_file(path: &Path) -> Result<Self, RolloutError> {
        if !path.exists() {
            let mut key = [0; 32];
            let source = Path::new("/dev/urandom");
            let mut file = fs::File::open(source).map_err(RolloutError::io("read random numbers from", source))?;
            file.read_exact(&mut key).map_err(RolloutError::io("read random numbers from", source))?;
            let text = plimsoll_trust::hex(&key) + "\n";
            plimsoll_trust::atomic::write_new_secret(path, text.as_bytes()).map_err(RolloutError::io("write", path))?;
        }
        let text = plimsoll_trust::read_bounded(path, 1 << 10)?;
        let key = std::str::from_utf8(&text).ok().and_then(|t| key_of(t.trim()));
        let wrong = || std::io::Error::new(std::io::ErrorKind::InvalidData, "it is no key of 64 hex digits");
        Ok(Self::new(&key.ok_or_else(wrong).map_err(RolloutError::io("read", path))?))
    }

    /// Of a device.
    pub fn device(&self, id: &str) -> Pseudonym {
        self.of(b"device\0", id)
    }

    /// Of a user.
    pub fn user(&self, id: &str) -> Pseudonym {
        self.of(b"user\0", id)
    }

    fn of(&self, kind: &[u8], id: &str) -> Pseudonym {
        let whole = self.hmac(&[kind, id.as_bytes()]);
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    }

    fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let inner = parts.iter().fold(self.inner.clone(), |hash, part| hash.chain_update(part));
        self.outer.clone().chain_update(inner.finalize()).finalize().into()
    }
}

fn key_of(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_rfc_4231() {
        // Test case 1, whose key of 20 bytes is padded with zeros.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let found = Pseudonyms::new(&key).hmac(&[b"Hi ", b"There"]);
        assert_eq!(plimsoll_trust::hex(&found), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn another_key_makes_other_pseudonyms_and_a_user_is_no_device() {
        let [one, two] = [[1; 32], [2; 32]].map(|key| Pseudonyms::new(&key));
        assert_ne!(one.device("a"), two.device("a"));
        assert_ne!(one.device("a"), one.user("a"));
        assert_eq!(one.device("a"), Pseudonyms::new(&[1; 32]).device("a"));
    }

    #[test]
    fn a_key_is_drawn_once_and_a_broken_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let first = Pseudonyms::of_file(&path).unwrap().device("a");
        assert_eq!(Pseudonyms::of_file(&path).unwrap().device("a"), first);
        std::fs::write(&path, "zz").unwrap();
        assert!(Pseudonyms::of_file(&path).unwrap_err().to_string().contains("64 hex digits"));
    }
}
