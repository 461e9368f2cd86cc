//! What was found out once is not found out again: results by the digest of everything that they depend on.
//!
//! Where entries lie is for whoever implements [`Store`]; an entry carries a checksum, so that one which was cut short or changed counts
//! as absent.

use std::io;

use plimsoll_onnx::Digest;
use sha2::{Digest as _, Sha256};

/// Entries by key. A key is the digest of what the entry depends on, so that an entry never changes and any number of writers may
/// share a store.
pub trait Store {
    /// The entry, whole as it was put; `None` where there is none.
    fn get(&self, key: &str) -> Option<Vec<u8>>;
    /// Keeps an entry. A reader sees all of it or nothing.
    fn put(&self, key: &str, entry: &[u8]) -> io::Result<()>;
}

/// The key of whatever depends on these parts and nothing else.
pub(crate) fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    Digest(hash.finalize().into()).to_string()
}

/// The digest of bytes.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Digest(Sha256::digest(bytes).into()).to_string()
}

/// A text and bytes as one entry.
pub(crate) fn seal(text: &str, bytes: &[u8]) -> Vec<u8> {
    let length = (text.len() as u64).to_le_bytes();
    let body = [&length[..], text.as_bytes(), bytes].concat();
    [&Sha256::digest(&body)[..], &body].concat()
}

/// The text and the bytes of an entry; `None` where it is not whole.
pub(crate) fn open(entry: &[u8]) -> Option<(&str, &[u8])> {
    let (sum, body) = entry.split_at_checked(32)?;
    if Sha256::digest(body)[..] != *sum {
        return None;
    }
    let (length, rest) = body.split_at_checked(8)?;
    let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let (text, bytes) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(text).ok()?, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_was_cut_short_or_changed_counts_as_absent() {
        let entry = seal("{}", b"model");
        assert_eq!(open(&entry), Some(("{}", &b"model"[..])));
        for end in 0..entry.len() {
            assert_eq!(open(&entry[..end]), None, "{end}");
        }
        for at in 0..entry.len() {
            let mut changed = entry.clone();
            changed[at] ^= 1;
            assert_eq!(open(&changed), None, "{at}");
        }
    }

    #[test]
    fn keys_tell_where_one_part_ends_and_the_next_begins() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["a", ""]));
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
    }
}
