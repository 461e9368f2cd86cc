//! The release folder: written beside its place, signed there, and moved whole.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use plimsoll_record::{ReleaseRecord, ReleasedModel, Verdict};
use plimsoll_trust::{
    KeySource, atomic,
    oms::{self, FolderManifest},
    sha256_hex,
};
use serde::Serialize;

use crate::{
    ATTESTATIONS, BASELINE, EVIDENCE, PAYLOAD, PUBLIC_KEY, RECIPE, RECORD, REPORT, ReleaseError, ReleaseInput,
    SIGNATURE, SPEC, attest, bom,
    names::{check_name, check_version, folder_name, is_safe_path},
    verify::{VerifyOptions, verify_release},
};

const MODEL: &str = "model.onnx";

/// A release on disk, and where its parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its folder.
    pub folder: PathBuf,
    /// The payload in it: what is signed, and what is shipped.
    pub release_dir: PathBuf,
    /// The signature.
    pub signature: PathBuf,
    /// The public key.
    pub public_key: PathBuf,
    /// The attestations.
    pub attestations: Vec<PathBuf>,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// OpenSSF Model Signing root digest of the payload.
    pub release_digest: String,
    /// It was there already, byte for byte.
    pub existed: bool,
}

/// Writes a release below `output`, as `<name>-<version>`, signed with a key.
///
/// What is there already is left alone: the same content is fine, other content is refused.
pub fn build(input: &ReleaseInput, key: &dyn KeySource, output: &Path) -> Result<Built, ReleaseError> {
    check_name(&input.name)?;
    check_version(&input.version)?;
    let files = payload(input)?;

    let place = output.join(folder_name(&input.name, &input.version));
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ReleaseError::Io { path, source }
    };
    atomic::create_folders(output).map_err(io(output))?;
    let staging = tempfile::Builder::new().prefix(atomic::TEMPORARY).tempdir_in(output).map_err(io(output))?;
    let folder = staging.path().join("release");
    for (name, bytes) in &files {
        put(&folder.join(PAYLOAD).join(name), bytes)?;
    }
    let manifest = FolderManifest::of_folder(&folder.join(PAYLOAD))?;
    let release_digest = manifest.root_digest();
    put(&folder.join(SIGNATURE), &oms::sign(&manifest, PAYLOAD, key)?)?;
    put(&folder.join(PUBLIC_KEY), key.public_key().pem().as_bytes())?;
    let subject = attest::Subject { release_digest: &release_digest, model_sha256: &sha256_hex(&input.model) };
    let mut attestations = Vec::new();
    for (name, bytes) in attest::attestations(input, &subject, key)? {
        put(&folder.join(ATTESTATIONS).join(&name), &bytes)?;
        attestations.push(place.join(ATTESTATIONS).join(&name));
    }

    let built = |existed| Built {
        release_dir: place.join(PAYLOAD),
        signature: place.join(SIGNATURE),
        public_key: place.join(PUBLIC_KEY),
        folder: place.clone(),
        attestations: attestations.clone(),
        name: input.name.clone(),
        version: input.version.clone(),
        release_digest: release_digest.clone(),
        existed,
    };
    match atomic::publish_folder(&folder, &place) {
        Ok(()) => Ok(built(false)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let taken = || ReleaseError::Taken {
                name: input.name.clone(),
                version: input.version.clone(),
                place: output.to_owned(),
            };
            let present = FolderManifest::of_folder(&place.join(PAYLOAD)).map_err(|_| taken())?;
            if present.root_digest() != release_digest {
                return Err(taken());
            }
            let options = VerifyOptions { public_key: Some(key.public_key().clone()), ..VerifyOptions::default() };
            // The payload is what it would be; so must be whatever says so.
            match verify_release(&place, &options)?.failure() {
                None => Ok(built(true)),
                Some(_) => Err(taken()),
            }
        }
        Err(source) => Err(ReleaseError::Io { path: place.clone(), source }),
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), ReleaseError> {
    let io = |source| ReleaseError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    // Synced with the whole folder before it is moved into place.
    fs::write(path, bytes).map_err(io)
}

/// Every file of the payload. The same input gives the same bytes: no time of day, no order by chance.
pub fn payload(input: &ReleaseInput) -> Result<BTreeMap<String, Vec<u8>>, ReleaseError> {
    let report = &input.report;
    if report.model_digest != input.model_digest {
        return Err(ReleaseError::Inconsistent(format!(
            "the report is about the model {}, the release about {}",
            report.model_digest, input.model_digest
        )));
    }
    if input.model.is_empty() {
        return Err(ReleaseError::Inconsistent("the model is empty".into()));
    }
    // An absent verdict is no pass; an inconclusive one is the caller's to let through, and the signed result says so.
    if !matches!(report.verdict, Verdict::Pass | Verdict::Inconclusive) {
        return Err(ReleaseError::Gate(report.verdict.to_string()));
    }
    let model_sha256 = sha256_hex(&input.model);
    let record = ReleaseRecord {
        schema: ReleaseRecord::SCHEMA.into(),
        name: input.name.clone(),
        version: input.version.clone(),
        trial: input.trial,
        model: ReleasedModel {
            file: MODEL.into(),
            sha256: model_sha256.clone(),
            model_digest: input.model_digest.clone(),
            bytes: input.model.len() as u64,
        },
        recipe: input.recipe.name.clone(),
        parent: input.parent.clone(),
        rollback: input.parent.clone(),
        minimum_client: input.minimum_client.clone(),
        licence: input.licence.as_ref().map(|l| l.expression.clone()),
        seed: Some(input.seed),
        judged_on: input.judged_on.clone(),
        change: input.change.clone(),
    };
    let mut files = input.extra.clone();
    let mut add = |name: &str, bytes: Vec<u8>| match files.insert(name.to_owned(), bytes) {
        None => Ok(()),
        Some(_) => Err(ReleaseError::Name { what: "file", value: name.into() }),
    };
    add(MODEL, input.model.clone())?;
    add(RECORD, json(RECORD, &record)?)?;
    add(RECIPE, json(RECIPE, &input.recipe)?)?;
    add(EVIDENCE, json(EVIDENCE, &input.figures)?)?;
    add(BASELINE, json(BASELINE, &input.baseline)?)?;
    add(REPORT, json(REPORT, report)?)?;
    add("report.md", input.report_markdown.clone().into_bytes())?;
    add(bom::FILE, bom::bom(input, &model_sha256)?)?;
    add(SPEC, input.spec.clone())?;
    for (name, text) in &input.profiles {
        add(&format!("budgets/profiles/{name}"), text.clone())?;
    }
    if let Some(contract) = &input.contract {
        add("contract.toml", contract.clone())?;
    }
    if !input.labels.is_empty() {
        add("labels.json", json("labels.json", &input.labels)?)?;
    }
    if let Some(text) = input.licence.as_ref().and_then(|l| l.text.clone()) {
        add("LICENSE.txt", text.into_bytes())?;
    }
    match files.keys().find(|name| !is_safe_path(name)) {
        None => Ok(files),
        Some(name) => Err(ReleaseError::Name { what: "file", value: name.clone() }),
    }
}

fn json(what: &str, value: &impl Serialize) -> Result<Vec<u8>, ReleaseError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|source| ReleaseError::Encode { what: what.into(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}
