//! The signature file: a Sigstore bundle around a DSSE envelope around an in-toto statement.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{FolderManifest, IGNORED, OmsError};
use crate::{
    KeySource, PublicKey,
    dsse::{Envelope, IN_TOTO},
    read::{hex, sha256_from_hex},
    to_sorted_json,
};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://model_signing/signature/v1.0";
/// A bundle takes some 200 bytes a file.
const LIMIT: usize = 64 << 20;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: KeyHint,
    #[serde(default)]
    tlog_entries: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
struct KeyHint {
    hint: String,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

/// Signs a folder's manifest under a name; the bytes of the signature file.
pub fn sign(manifest: &FolderManifest, name: &str, key: &dyn KeySource) -> Result<Vec<u8>, OmsError> {
    let resources: Vec<Value> = manifest
        .files
        .iter()
        .map(|f| json!({"name": f.path, "algorithm": "sha256", "digest": f.sha256_hex()}))
        .collect();
    let statement = json!({
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": manifest.root_digest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": false,
                "ignore_paths": IGNORED,
            },
            "resources": resources,
        },
    });
    let encode = |e: serde_json::Error| OmsError::Bundle(e.to_string());
    let payload = to_sorted_json(&statement).map_err(encode)?;
    let mut envelope = Envelope::sign(IN_TOTO, &payload, &[key])?;
    // The format names the key in the verification material, and wants nothing here.
    envelope.signatures.iter_mut().for_each(|s| s.keyid.clear());
    let bundle = Bundle {
        media_type: MEDIA_TYPE.into(),
        verification_material: Material {
            public_key: KeyHint { hint: key.public_key().id() },
            tlog_entries: Vec::new(),
        },
        dsse_envelope: envelope,
    };
    to_sorted_json(&bundle).map_err(encode)
}

/// Holds a folder against its signature file; what the folder holds, where all of it was signed and nothing is missing.
pub fn verify(folder: &Path, bundle: &[u8], key: &PublicKey) -> Result<FolderManifest, OmsError> {
    let signed = signed_files(bundle, key)?;
    let manifest = FolderManifest::of_folder(folder)?;
    compare(&manifest, &signed.files)?;
    // The files agree one by one; were the root digest another, it would have been taken in another order.
    if manifest.root_digest() != signed.root {
        return Err(OmsError::Bundle("its root digest is not that of its files in order".into()));
    }
    Ok(manifest)
}

struct SignedFiles {
    root: String,
    files: BTreeMap<String, [u8; 32]>,
}

fn signed_files(bundle: &[u8], key: &PublicKey) -> Result<SignedFiles, OmsError> {
    let malformed = |reason: String| OmsError::Bundle(reason);
    let expect = |what: &str, found: &str, expected: &str| match found == expected {
        true => Ok(()),
        false => Err(OmsError::Bundle(format!("its {what} is `{found}`, expected `{expected}`"))),
    };
    if bundle.len() > LIMIT {
        return Err(malformed(format!("it has {} bytes", bundle.len())));
    }
    let bundle: Bundle = serde_json::from_slice(bundle).map_err(|e| malformed(e.to_string()))?;
    expect("media type", &bundle.media_type, MEDIA_TYPE)?;
    let found = bundle.verification_material.public_key.hint;
    if found != key.id() {
        return Err(OmsError::OtherKey { expected: key.id(), found });
    }
    // Clients read the first signature only; what they do not read must not be there.
    if bundle.dsse_envelope.signatures.len() != 1 {
        return Err(malformed(format!("it has {} signatures, expected one", bundle.dsse_envelope.signatures.len())));
    }
    let payload = bundle.dsse_envelope.verify(IN_TOTO, &[key], 1)?;

    let statement: Statement = serde_json::from_slice(&payload).map_err(|e| malformed(e.to_string()))?;
    expect("statement type", &statement.kind, STATEMENT)?;
    expect("predicate type", &statement.predicate_type, PREDICATE)?;
    let [subject] = statement.subject.as_slice() else {
        return Err(malformed(format!("it has {} subjects, expected one", statement.subject.len())));
    };
    let root = subject.digest.get("sha256").cloned().unwrap_or_default();
    let Serialization { method, hash_type, allow_symlinks, ignore_paths } = statement.predicate.serialization;
    expect("serialization", &method, "files")?;
    expect("hash", &hash_type, "sha256")?;
    if allow_symlinks {
        return Err(malformed("it allows symbolic links".into()));
    }
    if let Some(path) = ignore_paths.iter().find(|p| !IGNORED.contains(&p.as_str())) {
        return Err(malformed(format!("it leaves `{path}` unsigned")));
    }
    let mut files = BTreeMap::new();
    for resource in statement.predicate.resources {
        expect("digest algorithm", &resource.algorithm, "sha256")?;
        let digest = sha256_from_hex(&resource.digest)
            .ok_or_else(|| malformed(format!("the digest of `{}` is no SHA-256", resource.name)))?;
        if files.insert(resource.name.clone(), digest).is_some() {
            return Err(malformed(format!("it lists `{}` twice", resource.name)));
        }
    }
    Ok(SignedFiles { root, files })
}

fn compare(found: &FolderManifest, signed: &BTreeMap<String, [u8; 32]>) -> Result<(), OmsError> {
    let [mut changed, mut added] = [Vec::new(), Vec::new()];
    let mut seen = BTreeSet::new();
    for file in &found.files {
        seen.insert(file.path.as_str());
        match signed.get(&file.path) {
            None => added.push(file.path.clone()),
            Some(digest) if hex(digest) != file.sha256_hex() => changed.push(file.path.clone()),
            Some(_) => {}
        }
    }
    let missing: Vec<String> = signed.keys().filter(|p| !seen.contains(p.as_str())).cloned().collect();
    if changed.is_empty() && added.is_empty() && missing.is_empty() {
        return Ok(());
    }
    Err(OmsError::Differs { changed, added, missing })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use base64::{Engine, prelude::BASE64_STANDARD};

    use super::*;
    use crate::FileKey;

    /// Signs a folder of three files, lets `folder` and `bundle` be changed, and verifies.
    fn check(change: impl Fn(&Path, &mut Value)) -> Result<FolderManifest, OmsError> {
        let keys = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        for name in ["model.onnx", "labels.txt", "sub/a"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let key = FileKey::create(&keys.path().join("key")).unwrap();
        let bundle = sign(&FolderManifest::of_folder(folder.path()).unwrap(), "payload", &key).unwrap();
        let mut bundle: Value = serde_json::from_slice(&bundle).unwrap();
        change(folder.path(), &mut bundle);
        verify(folder.path(), &serde_json::to_vec(&bundle).unwrap(), key.public_key())
    }

    #[track_caller]
    fn refused(result: Result<FolderManifest, OmsError>, says: &str) {
        let error = result.expect_err("this must be refused");
        assert!(error.to_string().contains(says), "`{error}` does not say `{says}`");
    }

    #[test]
    fn changed_added_missing_and_renamed_files_are_refused_by_name() {
        assert_eq!(check(|_, _| {}).unwrap().files.len(), 3);
        refused(check(|f, _| fs::write(f.join("model.onnx"), "model.onny").unwrap()), "changed `model.onnx`");
        refused(check(|f, _| fs::write(f.join("sub/b"), "").unwrap()), "added `sub/b`");
        refused(check(|f, _| fs::remove_file(f.join("labels.txt")).unwrap()), "missing `labels.txt`");
        let renamed = check(|f, _| fs::rename(f.join("sub/a"), f.join("sub/b")).unwrap());
        refused(renamed, "added `sub/b`; missing `sub/a`");
    }

    #[test]
    fn forged_bundles_are_refused() {
        refused(check(|_, b| b["mediaType"] = "text/plain".into()), "media type");
        refused(check(|_, b| b["verificationMaterial"]["publicKey"]["hint"] = "00".into()), "by the key 00");
        refused(check(|_, b| b["dsseEnvelope"]["payloadType"] = "text/plain".into()), "holds `text/plain`");
        refused(check(|_, b| b["dsseEnvelope"]["signatures"] = json!([])), "0 signatures");
        let twice = |b: &mut Value| {
            let one = b["dsseEnvelope"]["signatures"][0].clone();
            b["dsseEnvelope"]["signatures"] = json!([one.clone(), one]);
        };
        refused(check(|_, b| twice(b)), "2 signatures");
        let garbage = BASE64_STANDARD.encode([0; 70]);
        refused(check(|_, b| b["dsseEnvelope"]["signatures"][0]["sig"] = garbage.clone().into()), "0 of the 1");
        refused(check(|_, b| b["dsseEnvelope"]["payload"] = "e30=".into()), "0 of the 1");
    }

    /// Verifies a folder with one file against a statement that its key did sign.
    fn stated(change: impl Fn(&mut Value)) -> Result<FolderManifest, OmsError> {
        let keys = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "a").unwrap();
        fs::write(folder.path().join("b"), "b").unwrap();
        let key = FileKey::create(&keys.path().join("key")).unwrap();
        let bundle = sign(&FolderManifest::of_folder(folder.path()).unwrap(), "payload", &key).unwrap();
        let mut bundle: Bundle = serde_json::from_slice(&bundle).unwrap();
        let payload = BASE64_STANDARD.decode(&bundle.dsse_envelope.payload).unwrap();
        let mut statement: Value = serde_json::from_slice(&payload).unwrap();
        change(&mut statement);
        bundle.dsse_envelope = Envelope::sign(IN_TOTO, &serde_json::to_vec(&statement).unwrap(), &[&key]).unwrap();
        verify(folder.path(), &serde_json::to_vec(&bundle).unwrap(), key.public_key())
    }

    #[test]
    fn signed_statements_that_leave_gaps_are_refused() {
        stated(|_| {}).unwrap();
        refused(stated(|s| s["predicate"]["serialization"]["ignore_paths"] = json!(["b"])), "leaves `b` unsigned");
        refused(stated(|s| s["predicate"]["serialization"]["allow_symlinks"] = true.into()), "symbolic links");
        refused(stated(|s| s["predicate"]["serialization"]["hash_type"] = "md5".into()), "its hash is `md5`");
        refused(stated(|s| s["predicateType"] = "https://model_signing/Digests/v0.1".into()), "predicate type");
        refused(stated(|s| s["_type"] = "other".into()), "statement type");
        refused(stated(|s| s["subject"] = json!([])), "0 subjects");
        refused(stated(|s| s["subject"][0]["digest"]["sha256"] = "00".into()), "root digest");
        refused(stated(|s| s["predicate"]["resources"][0]["digest"] = "zz".into()), "no SHA-256");
        refused(stated(|s| s["predicate"]["resources"][1]["name"] = "a".into()), "twice");
        refused(stated(|s| s["predicate"]["resources"] = json!([])), "added `a` and 1 more");
    }

    #[test]
    fn cut_and_garbage_signature_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "a").unwrap();
        let keys = tempfile::tempdir().unwrap();
        let key = FileKey::create(&keys.path().join("key")).unwrap();
        let bundle = sign(&FolderManifest::of_folder(folder.path()).unwrap(), "payload", &key).unwrap();
        for cut in 0..bundle.len() - 2 {
            refused(verify(folder.path(), &bundle[..cut], key.public_key()), "no model-signing bundle");
        }
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        refused(verify(folder.path(), &deep, key.public_key()), "no model-signing bundle");
        let other = FileKey::create(&keys.path().join("other")).unwrap();
        refused(verify(folder.path(), &bundle, other.public_key()), "by the key");
    }
}
