//! A release folder.

use std::{fs, path::Path};

use plimsoll_record::{ReleaseRecord, Report, Verdict, Verification};
use plimsoll_trust::{
    PublicKey,
    oms::{self, FolderManifest, OmsError},
    read_bounded,
};
use serde_json::Value;

use super::{VerifyOptions, demands::Shown, release_of, steps::Steps};
use crate::{
    ATTESTATIONS, PAYLOAD, PUBLIC_KEY, RECORD, REPORT, ReleaseError, SIGNATURE,
    attest::{self, Attested},
    names::{check_name, check_version},
};

const SIGNATURE_LIMIT: u64 = 64 << 20;
const DOCUMENT_LIMIT: u64 = 64 << 20;
const MOST_ATTESTATIONS: usize = 64;

/// Verifies a release folder: layout, key, signature and files, record, report, bill of materials, attestations, trial
/// mark, and in production that the key came from elsewhere.
pub fn verify_release(folder: &Path, options: &VerifyOptions) -> Result<Verification, ReleaseError> {
    let not_found = || ReleaseError::NotFound { what: "release".into(), place: folder.into() };
    let folder = release_of(folder).ok_or_else(not_found)?;
    let mut steps = Steps::default();
    take_release(&mut steps, &folder, options, None);
    Ok(steps.finish())
}

/// What somebody who vouches for a release expects of it.
pub(super) struct Expected<'e> {
    pub(super) name: &'e str,
    pub(super) version: &'e str,
    pub(super) release_digest: &'e str,
    pub(super) signing_key: &'e str,
}

/// Takes the steps for one release folder.
pub(super) fn take_release(steps: &mut Steps, folder: &Path, options: &VerifyOptions, expected: Option<&Expected<'_>>) {
    steps.take("layout", || layout(folder));
    let key = steps.take("key", || key(folder, options, expected));
    let Some(key) = key else { return };
    let manifest = steps.take("signature", || signature(folder, &key, expected));
    let Some(manifest) = manifest else { return };
    let record = steps.take("record", || record(folder, &manifest, expected));
    let Some(record) = record else { return };
    let report = steps.take("report", || report(folder, &record));
    steps.take("bill of materials", || bill(folder, &record));
    let Some(report) = report else { return };
    let attested = steps.take("attestations", || attestations(folder, &manifest, &record, &report, &key));
    steps.take("trial mark", || match (record.trial, options.production) {
        (true, true) => Err("the release is marked `trial`: anybody with the trial folder can have signed it".into()),
        (true, false) => Ok(((), "a trial; production clients refuse it".into())),
        (false, _) => Ok(((), "none".into())),
    });
    if options.production && expected.is_none() {
        steps.take("authority", || match &options.public_key {
            Some(_) => Ok(((), "the key was given, not taken from beside the release".into())),
            None => Err("the key beside a release says nothing of who signed it; give the one that you trust".into()),
        });
    }
    let attested = attested.unwrap_or_default();
    let shown = Shown { signer: &key.id(), record: &record, report: &report, attested: &attested };
    for demand in &options.demands {
        steps.take(&demand.title(), || demand.check(&shown));
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn layout(folder: &Path) -> Result<((), String), String> {
    let known = [PAYLOAD, SIGNATURE, PUBLIC_KEY, ATTESTATIONS];
    for entry in fs::read_dir(folder).map_err(text)? {
        let name = entry.map_err(text)?.file_name();
        if !name.to_str().is_some_and(|n| known.contains(&n)) {
            return Err(format!("`{}` does not belong beside a payload", name.display()));
        }
    }
    if !folder.join(PAYLOAD).symlink_metadata().map_err(text)?.is_dir() {
        return Err("the payload is a link".into());
    }
    Ok(((), "payload, signature, public key, attestations".into()))
}

fn key(folder: &Path, options: &VerifyOptions, expected: Option<&Expected<'_>>) -> Result<(PublicKey, String), String> {
    if let Some(key) = &options.public_key {
        return Ok((key.clone(), format!("{}, as given", key.id())));
    }
    let key = PublicKey::read(&folder.join(PUBLIC_KEY)).map_err(text)?;
    let id = key.id();
    match expected {
        Some(expected) if expected.signing_key == id => Ok((key, format!("{id}, as the repository says"))),
        Some(expected) => Err(format!("the key is {id}, the repository says {}", expected.signing_key)),
        None => {
            let caveat = "the one beside the release: it proves that nothing changed since signing, not who signed";
            Ok((key, format!("{id}, {caveat}")))
        }
    }
}

fn signature(
    folder: &Path,
    key: &PublicKey,
    expected: Option<&Expected<'_>>,
) -> Result<(FolderManifest, String), String> {
    let bundle = read_bounded(&folder.join(SIGNATURE), SIGNATURE_LIMIT).map_err(text)?;
    let manifest = oms::verify(&folder.join(PAYLOAD), &bundle, key).map_err(|e| match e {
        OmsError::Bundle(_) | OmsError::Signature(_) => format!("`{SIGNATURE}`: {e}"),
        OmsError::OtherKey { .. } => format!("`{SIGNATURE}` and the key (`{PUBLIC_KEY}`, or the one given): {e}"),
        _ => e.to_string(),
    })?;
    // Other tools look past these; whoever unpacks the payload would not.
    if let Some(name) = manifest.ignored.first() {
        return Err(format!("`{name}` lies unsigned in the payload"));
    }
    let digest = manifest.root_digest();
    if let Some(expected) = expected
        && expected.release_digest != digest
    {
        return Err(format!("the release digest is {digest}, the repository says {}", expected.release_digest));
    }
    let detail = format!("{} files, release digest {digest}", manifest.files.len());
    Ok((manifest, detail))
}

fn document<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Result<T, String> {
    let bytes = read_bounded(&folder.join(PAYLOAD).join(name), DOCUMENT_LIMIT).map_err(text)?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{name}: {e}"))
}

fn record(
    folder: &Path,
    manifest: &FolderManifest,
    expected: Option<&Expected<'_>>,
) -> Result<(ReleaseRecord, String), String> {
    let record: ReleaseRecord = document(folder, RECORD)?;
    if record.schema != ReleaseRecord::SCHEMA {
        return Err(format!("{RECORD}: its schema is `{}`", record.schema));
    }
    check_name(&record.name).map_err(text)?;
    check_version(&record.version).map_err(text)?;
    if let Some(expected) = expected
        && (record.name != expected.name || record.version != expected.version)
    {
        let Expected { name, version, .. } = expected;
        return Err(format!("it is {} {}, the repository says {name} {version}", record.name, record.version));
    }
    let file = manifest.get(&record.model.file).ok_or_else(|| format!("there is no `{}`", record.model.file))?;
    if file.sha256_hex() != record.model.sha256 || file.bytes != record.model.bytes {
        return Err(format!("`{}` is another model than it says", record.model.file));
    }
    let detail = format!("{} {}, model {}", record.name, record.version, record.model.model_digest);
    Ok((record, detail))
}

fn report(folder: &Path, record: &ReleaseRecord) -> Result<(Report, String), String> {
    let report: Report = document(folder, REPORT)?;
    if report.model_digest != record.model.model_digest {
        return Err(format!("it is about the model {}", report.model_digest));
    }
    match &report.verdict {
        Verdict::Pass | Verdict::Inconclusive => {
            let detail = format!("{} over {} budgets", report.verdict, report.rows.len());
            Ok((report, detail))
        }
        other => Err(format!("its verdict is `{other}`")),
    }
}

fn bill(folder: &Path, record: &ReleaseRecord) -> Result<((), String), String> {
    let bill: Value = document(folder, crate::bom::FILE)?;
    let at = |pointer: &str| bill.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    for (pointer, expected) in [
        ("/bomFormat", "CycloneDX"),
        ("/metadata/component/name", record.name.as_str()),
        ("/metadata/component/version", &record.version),
        ("/metadata/component/hashes/0/content", &record.model.sha256),
    ] {
        if at(pointer) != expected {
            return Err(format!("its {pointer} is `{}`, expected `{expected}`", at(pointer)));
        }
    }
    Ok(((), format!("CycloneDX {}", at("/specVersion"))))
}

fn attestations(
    folder: &Path,
    manifest: &FolderManifest,
    record: &ReleaseRecord,
    report: &Report,
    key: &PublicKey,
) -> Result<(Vec<Attested>, String), String> {
    let digest = manifest.root_digest();
    let subject = attest::Subject { release_digest: &digest, model_sha256: &record.model.sha256 };
    let mut attested: Vec<Attested> = Vec::new();
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder.join(ATTESTATIONS)).map_err(text)? {
        entries.push(entry.map_err(text)?.path());
        if entries.len() > MOST_ATTESTATIONS {
            return Err(format!("there are more than {MOST_ATTESTATIONS}"));
        }
    }
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().display().to_string();
        let bytes = read_bounded(&path, attest::LIMIT).map_err(text)?;
        attested.push(attest::check(&bytes, &subject, key).map_err(|reason| format!("`{name}`: {reason}"))?);
    }
    for needed in [attest::PROVENANCE, attest::TEST_RESULT] {
        if !attested.iter().any(|a| a.kind == needed) {
            return Err(format!("there is none of the type {needed}"));
        }
    }
    for gate in attest::gates(report) {
        if !attested.iter().any(|a| a.gate() == Some(&gate)) {
            return Err(format!("there is no verification summary of the gate `{gate}`"));
        }
    }
    let mut kinds: Vec<&str> = attested.iter().map(|a| a.kind.as_str()).collect();
    kinds.dedup();
    let detail = format!("{}: {}", attested.len(), kinds.join(", "));
    Ok((attested, detail))
}
