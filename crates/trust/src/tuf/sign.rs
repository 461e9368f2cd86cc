//! Signing of roles, expiry times, and the bytes of metadata files.

use std::{collections::HashMap, num::NonZeroU64, time::SystemTime};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tough::schema::{
    Hashes, Metafile, Role, Signature, Signed,
    decoded::{Decoded, Hex},
    key::Key,
};

use super::TufError;
use crate::{KeyError, Keyring, PublicKey, hex, to_sorted_json};

pub(super) type KeyId = Decoded<Hex>;

/// A key as metadata name it, with its id there.
pub(super) fn tuf_key(key: &PublicKey) -> Result<(KeyId, Key), TufError> {
    // Independent clients want PEM text, as the specification says.
    let refused = || KeyError::NotPublic { place: key.id() };
    let parsed: Key = key.pem().trim_end().parse().map_err(|_| refused())?;
    let id = parsed.key_id().map_err(|_| refused())?;
    Ok((id, parsed))
}

/// A key of the metadata, as other signatures than theirs are verified with.
pub(super) fn public_key(role: &str, key: &Key) -> Result<PublicKey, TufError> {
    let value = serde_json::to_value(key).ok();
    let pem = value.as_ref().and_then(|v| v.pointer("/keyval/public")).and_then(serde_json::Value::as_str);
    Ok(PublicKey::from_pem(pem.unwrap_or_default(), &format!("a key of the role `{role}`"))?)
}

/// A key's id in metadata.
pub fn key_id(key: &PublicKey) -> Result<String, TufError> {
    Ok(hex(&tuf_key(key)?.0))
}

/// Now, in the whole seconds that metadata are written in.
pub(super) fn instant(now: SystemTime) -> Result<Timestamp, TufError> {
    let clock = || TufError::Clock(format!("{now:?}"));
    let now = Timestamp::try_from(now).map_err(|_| clock())?;
    // Clients elsewhere refuse fractions of a second.
    Timestamp::from_second(now.as_second()).map_err(|_| clock())
}

/// Some days from now.
pub(super) fn expiry(now: Timestamp, days: u32) -> Result<Timestamp, TufError> {
    now.checked_add(SignedDuration::from_hours(24 * i64::from(days))).map_err(|_| TufError::Clock(now.to_string()))
}

pub(super) fn next(version: NonZeroU64) -> Result<NonZeroU64, TufError> {
    version.checked_add(1).ok_or_else(|| TufError::refused("a version is at its end"))
}

/// Signatures by every key at hand that is listed.
pub(super) fn signatures_of(message: &[u8], keyids: &[KeyId], keys: &Keyring) -> Result<Vec<Signature>, TufError> {
    let mut signatures: Vec<Signature> = Vec::new();
    for (_, key) in keys.iter() {
        let (id, _) = tuf_key(key.public_key())?;
        if keyids.contains(&id) && !signatures.iter().any(|s| s.keyid == id) {
            signatures.push(Signature { keyid: id, sig: key.sign(message)?.into() });
        }
    }
    Ok(signatures)
}

/// Signs with every key at hand that the role lists; needs as many as its threshold.
pub(super) fn sign<T: Role + Serialize>(
    name: &str,
    role: T,
    keyids: &[KeyId],
    threshold: NonZeroU64,
    keys: &Keyring,
) -> Result<Signed<T>, TufError> {
    let signatures = signatures_of(&role.canonical_form()?, keyids, keys)?;
    let have = signatures.len() as u64;
    if have < threshold.get() {
        return Err(TufError::TooFewKeys { role: name.into(), have, needed: threshold.get() });
    }
    Ok(Signed { signed: role, signatures })
}

/// Whether enough keys are at hand to sign for a role.
pub(super) fn can_sign(keyids: &[KeyId], threshold: NonZeroU64, keys: &Keyring) -> Result<bool, TufError> {
    let mut ids = Vec::new();
    for (_, key) in keys.iter() {
        let (id, _) = tuf_key(key.public_key())?;
        if keyids.contains(&id) && !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids.len() as u64 >= threshold.get())
}

/// The bytes of a metadata file.
pub(super) fn file_of<T: Serialize>(signed: &Signed<T>) -> Result<Vec<u8>, TufError> {
    to_sorted_json(signed).map_err(|e| TufError::refused(format!("metadata cannot be written as JSON: {e}")))
}

/// How another role names a metadata file.
pub(super) fn metafile(bytes: &[u8], version: NonZeroU64) -> Metafile {
    Metafile { length: Some(bytes.len() as u64), hashes: Some(hashes(bytes)), version, _extra: HashMap::new() }
}

pub(super) fn hashes(bytes: &[u8]) -> Hashes {
    Hashes { sha256: Sha256::digest(bytes).to_vec().into(), _extra: HashMap::new() }
}
