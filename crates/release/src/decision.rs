//! Decisions that let a release into a channel: verification summaries (SLSA VSA v1 in DSSE) of a gate or of a rollout, bound by
//! digest to the release, and so to its model, data and profiles, and to the policy that they were judged by.

use plimsoll_record::ReleaseManifest;
use plimsoll_trust::{
    PublicKey,
    dsse::{Envelope, IN_TOTO},
    sha256_hex,
    tuf::Client,
};
use serde_json::Value;

use crate::{
    PAYLOAD, PUBLIC_KEY, ReleaseError,
    names::blob,
    roles::{BETA, GENERAL},
};

const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
const LIMIT: u64 = 16 << 20;

/// Where a repository keeps a decision, by the digest of what was signed.
pub(crate) fn decision_file(sha256: &str) -> String {
    format!("decisions/{sha256}.dsse.json")
}

fn refused(reason: impl Into<String>) -> ReleaseError {
    ReleaseError::Refused { what: "the decision".into(), reason: reason.into() }
}

/// Keys whose word lets a release into a channel: the one that its payload was signed with, and those of the channels.
fn judges(client: &Client, manifest: &ReleaseManifest) -> Result<Vec<PublicKey>, ReleaseError> {
    let mut keys = Vec::new();
    if let Some(file) = manifest.files.iter().find(|f| f.path == PUBLIC_KEY)
        && let Some(pem) = client.source().get(&blob(&file.sha256), 1 << 16)?
    {
        let key = PublicKey::from_pem(&String::from_utf8_lossy(&pem), PUBLIC_KEY)?;
        // The blob is only as good as its digest; the manifest names the key as well.
        if key.id() == manifest.signing_key {
            keys.push(key);
        }
    }
    for channel in [BETA, GENERAL] {
        keys.extend(client.keys_of(channel)?);
    }
    Ok(keys)
}

/// The digest of a decision's payload, where it holds for a release.
pub(crate) fn check(envelope: &[u8], client: &Client, manifest: &ReleaseManifest) -> Result<String, ReleaseError> {
    let envelope = Envelope::from_json(envelope)?;
    let keys = judges(client, manifest)?;
    let payload = envelope.verify(IN_TOTO, &keys.iter().collect::<Vec<_>>(), 1)?;
    let statement: Value = serde_json::from_slice(&payload).map_err(|e| refused(format!("it is no statement: {e}")))?;
    let at = |pointer: &str| statement.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if at("/predicateType") != SUMMARY {
        return Err(refused(format!("it is a `{}`, no verification summary", at("/predicateType").escape_default())));
    }
    let subjects = statement.pointer("/subject").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let of = |s: &&Value| s.get("name").and_then(Value::as_str) == Some(PAYLOAD);
    let about = subjects.iter().find(of).and_then(|s| s.pointer("/digest/sha256")).and_then(Value::as_str);
    if about != Some(&manifest.release_digest) {
        return Err(refused(format!(
            "it is about the release {}, not {}",
            about.unwrap_or("of no digest").escape_default(),
            manifest.release_digest
        )));
    }
    if at("/predicate/verificationResult") != "PASSED" {
        return Err(refused(format!("it says `{}`", at("/predicate/verificationResult").escape_default())));
    }
    if !plimsoll_record::names::is_digest(at("/predicate/policy/digest/sha256")) {
        return Err(refused("it names no policy by its digest"));
    }
    // A gate judges a model on data; a rollout judges the release by what its devices told.
    let gate = statement.pointer("/predicate/gate");
    let rollout = statement.pointer("/predicate/decision").is_some();
    let bound = |gate: &Value| {
        let model = gate.get("modelDigest").and_then(Value::as_str).unwrap_or_default();
        let data = gate.get("sampleDigests").and_then(Value::as_object).is_some_and(|d| !d.is_empty());
        !model.is_empty() && data
    };
    if !rollout && !gate.is_some_and(bound) {
        return Err(refused("it names no model and data by their digests"));
    }
    Ok(sha256_hex(&payload))
}

/// Holds the decision that a pointer names against the release that it let in.
pub(crate) fn read(client: &Client, sha256: &str, manifest: &ReleaseManifest) -> Result<(), ReleaseError> {
    let envelope = client.source().get(&decision_file(sha256), LIMIT)?;
    let envelope = envelope.ok_or_else(|| refused(format!("{sha256} is not in the repository")))?;
    let found = check(&envelope, client, manifest)?;
    if found != sha256 {
        return Err(refused(format!("it is {found}, the channel names {sha256}")));
    }
    Ok(())
}
