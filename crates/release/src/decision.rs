//! Decisions that let a release into a channel: verification summaries (SLSA VSA v1 in DSSE) of a gate or of a rollout. What they name
//! by digest is held against the release itself: a gate's model, data and policy, a rollout's release and policy.

use plimsoll_record::{ReleaseManifest, ReleaseRecord};
use plimsoll_trust::{
    PublicKey,
    dsse::{Envelope, IN_TOTO},
    sha256_hex,
    tuf::Client,
};
use serde_json::Value;

use crate::{
    ATTESTATIONS, PAYLOAD, PUBLIC_KEY, RECORD, ReleaseError,
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

/// A decision that holds for a release.
pub(crate) struct Held {
    /// SHA-256 of its payload.
    pub(crate) sha256: String,
    /// Whose it is, and by which policy, in words.
    pub(crate) meaning: String,
}

/// A decision, where it holds for a release.
pub(crate) fn check(envelope: &[u8], client: &Client, manifest: &ReleaseManifest) -> Result<Held, ReleaseError> {
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
    let policy = at("/predicate/policy/digest/sha256");
    if !plimsoll_record::names::is_digest(policy) {
        return Err(refused("it names no policy by its digest"));
    }
    // A gate judges a model on data; a rollout judges the release by what its devices told.
    let object = |pointer: &str| statement.pointer(pointer).filter(|v| v.is_object());
    let meaning = match (object("/predicate/gate"), object("/predicate/decision")) {
        (_, Some(decision)) => {
            of_rollout(decision, policy, manifest)?;
            format!("a rollout under the policy {policy}")
        }
        (Some(gate), None) => {
            let release = Content { client, manifest };
            release.holds_model(gate, subjects)?;
            release.holds_data(gate, &keys)?;
            release.holds_policy(policy)?;
            format!("a gate by the policy {policy}, of this model and these data")
        }
        (None, None) => return Err(refused("it names no model and data by their digests")),
    };
    Ok(Held { sha256: sha256_hex(&payload), meaning })
}

/// A rollout's decision is about this release, under the policy that the summary names.
fn of_rollout(decision: &Value, policy: &str, manifest: &ReleaseManifest) -> Result<(), ReleaseError> {
    let said = |pointer: &str| decision.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    for (what, said, wanted) in [
        ("release", said("/rollout/release"), manifest.release_digest.as_str()),
        ("name", said("/rollout/name"), &manifest.name),
        ("version", said("/rollout/version"), &manifest.version),
        ("policy", said("/policy_sha256"), policy),
    ] {
        if said != wanted {
            return Err(refused(format!("the {what} of its rollout is {}, not {wanted}", said.escape_default())));
        }
    }
    Ok(())
}

/// A release as the repository holds it.
struct Content<'c> {
    client: &'c Client,
    manifest: &'c ReleaseManifest,
}

impl Content<'_> {
    /// A file of the release, by its digest.
    fn read(&self, path: &str) -> Result<Vec<u8>, ReleaseError> {
        let of_file = |reason: &str| ReleaseError::Refused { what: path.into(), reason: reason.into() };
        let file = self.manifest.files.iter().find(|f| f.path == path);
        let file = file.ok_or_else(|| of_file("the release has no such file to hold the decision against"))?;
        let bytes = self.client.source().get(&blob(&file.sha256), LIMIT)?;
        bytes
            .filter(|bytes| sha256_hex(bytes) == file.sha256)
            .ok_or_else(|| of_file("the repository does not hold it as it was signed"))
    }

    /// The model that was judged is the one in the release.
    fn holds_model(&self, gate: &Value, subjects: &[Value]) -> Result<(), ReleaseError> {
        let record: ReleaseRecord = serde_json::from_slice(&self.read(&format!("{PAYLOAD}/{RECORD}"))?)
            .map_err(|e| refused(format!("the release's {RECORD} cannot be read: {e}")))?;
        let judged = gate.get("modelDigest").and_then(Value::as_str).unwrap_or_default();
        if judged != record.model.model_digest {
            return Err(refused(format!(
                "it judged the model `{}`, the release's is {}",
                judged.escape_default(),
                record.model.model_digest
            )));
        }
        let file = format!("{PAYLOAD}/{}", record.model.file);
        let named = subjects.iter().find(|s| s.get("name").and_then(Value::as_str) == Some(&file));
        match named.map(|s| s.pointer("/digest/sha256").and_then(Value::as_str)) {
            Some(sha256) if sha256 != Some(&record.model.sha256) => Err(refused(format!("it is about another {file}"))),
            _ => Ok(()),
        }
    }

    /// The samples that it was judged on are those that the release says it was made and judged with.
    fn holds_data(&self, gate: &Value, keys: &[PublicKey]) -> Result<(), ReleaseError> {
        let provenance = Envelope::from_json(&self.read(&format!("{ATTESTATIONS}/provenance.dsse.json"))?)?;
        let payload = provenance.verify(IN_TOTO, &keys.iter().collect::<Vec<_>>(), 1)?;
        let provenance: Value = serde_json::from_slice(&payload)
            .map_err(|e| refused(format!("the release's provenance cannot be read: {e}")))?;
        let made_from = provenance.pointer("/predicate/buildDefinition/resolvedDependencies").and_then(Value::as_array);
        let of_role = |role: &str| {
            let of = |d: &&Value| d.pointer("/annotations/role").and_then(Value::as_str) == Some(role);
            made_from.into_iter().flatten().find(of)?.pointer("/digest/plimsollSamples")?.as_str()
        };
        let judged = gate.get("sampleDigests").and_then(Value::as_object).filter(|judged| !judged.is_empty());
        for (role, digest) in judged.ok_or_else(|| refused("it names no data by their digests"))? {
            if digest.as_str().is_none_or(|digest| of_role(role) != Some(digest)) {
                return Err(refused(format!("its {} data are not those of the release", role.escape_default())));
            }
        }
        Ok(())
    }

    /// The policy is a spec or profile of the release, as it was.
    fn holds_policy(&self, sha256: &str) -> Result<(), ReleaseError> {
        let budgets = format!("{PAYLOAD}/budgets/");
        if self.manifest.files.iter().any(|f| f.path.starts_with(&budgets) && f.sha256 == sha256) {
            return Ok(());
        }
        Err(refused(format!("its policy {sha256} is no spec or profile of the release")))
    }
}

/// Holds the decision that a pointer names against the release that it let in.
pub(crate) fn read(client: &Client, sha256: &str, manifest: &ReleaseManifest) -> Result<Held, ReleaseError> {
    let envelope = client.source().get(&decision_file(sha256), LIMIT)?;
    let envelope = envelope.ok_or_else(|| refused(format!("{sha256} is not in the repository")))?;
    let found = check(&envelope, client, manifest)?;
    if found.sha256 != sha256 {
        return Err(refused(format!("it is {}, the channel names {sha256}", found.sha256)));
    }
    Ok(found)
}
