//! In-toto statements about a release, each in a DSSE envelope: how it was made (SLSA provenance), what it was tested for.

use plimsoll_record::{Report, Row, Verdict};
use plimsoll_trust::{
    KeySource, PublicKey,
    dsse::{Envelope, IN_TOTO},
    sha256_hex, to_sorted_json,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{PAYLOAD, ReleaseError, ReleaseInput};

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
pub(crate) const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
pub(crate) const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// No statement about a release is longer.
pub(crate) const LIMIT: u64 = 16 << 20;

/// What a release's attestations are about.
pub(crate) struct Subject<'s> {
    pub(crate) release_digest: &'s str,
    pub(crate) model_sha256: &'s str,
}

/// The envelopes of a release, by file name.
pub(crate) fn attestations(
    input: &ReleaseInput,
    subject: &Subject<'_>,
    key: &dyn KeySource,
) -> Result<Vec<(&'static str, Vec<u8>)>, ReleaseError> {
    let statements = [
        ("provenance.dsse.json", PROVENANCE, provenance(input)),
        ("test-result.dsse.json", TEST_RESULT, test_result(input)),
    ];
    let mut files = Vec::new();
    for (file, kind, predicate) in statements {
        let encode = |source| ReleaseError::Encode { what: file.into(), source };
        let statement = json!({
            "_type": STATEMENT,
            "subject": [
                {"name": PAYLOAD, "digest": {"sha256": subject.release_digest}},
                {"name": "payload/model.onnx", "digest": {"sha256": subject.model_sha256}},
            ],
            "predicateType": kind,
            "predicate": predicate,
        });
        let envelope = Envelope::sign(IN_TOTO, &to_sorted_json(&statement).map_err(encode)?, &[key])?;
        files.push((file, to_sorted_json(&envelope).map_err(encode)?));
    }
    Ok(files)
}

fn resource(name: &str, bytes: &[u8]) -> Value {
    json!({"name": name, "digest": {"sha256": sha256_hex(bytes)}})
}

fn budgets(input: &ReleaseInput) -> Vec<Value> {
    let profiles = input.profiles.iter().map(|(name, text)| resource(&format!("budgets/profiles/{name}"), text));
    std::iter::once(resource("budgets/plimsoll.toml", &input.spec)).chain(profiles).collect()
}

fn provenance(input: &ReleaseInput) -> Value {
    let mut dependencies = vec![json!({
        "name": input.source.file,
        "digest": {"sha256": input.source.sha256},
        "annotations": {"modelDigest": input.source.model_digest},
    })];
    dependencies.extend(
        input
            .datasets
            .iter()
            .map(|d| json!({"name": d.file, "digest": {"plimsollSamples": d.digest}, "annotations": {"role": d.role}})),
    );
    json!({
        "buildDefinition": {
            "buildType": "urn:plimsoll:build:release:1",
            "externalParameters": {
                "name": input.name,
                "version": input.version,
                "spec": resource("budgets/plimsoll.toml", &input.spec),
                "recipe": input.recipe,
            },
            "internalParameters": {"trial": input.trial},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {
                "id": if input.trial { "urn:plimsoll:builder:trial" } else { "urn:plimsoll:builder:local" },
                "version": {"plimsoll": env!("CARGO_PKG_VERSION")},
            },
        },
    })
}

fn label(row: &Row) -> String {
    format!("{}: {} {}", row.profile, row.metric, row.limit)
}

fn test_result(input: &ReleaseInput) -> Value {
    let of = |wanted: fn(&Row) -> bool| -> Vec<String> {
        input.report.rows.iter().filter(|r| wanted(r)).map(label).collect()
    };
    json!({
        "result": result(&input.report),
        "configuration": budgets(input),
        "passedTests": of(|r| r.verdict == Verdict::Pass),
        "warnedTests": of(|r| r.verdict == Verdict::Inconclusive || (r.verdict == Verdict::Fail && r.level != "error")),
        "failedTests": of(|r| r.verdict == Verdict::Fail && r.level == "error"),
    })
}

fn result(report: &Report) -> &'static str {
    let warned = report.rows.iter().any(|r| matches!(r.verdict, Verdict::Fail | Verdict::Inconclusive));
    match report.verdict {
        Verdict::Pass if !warned => "PASSED",
        Verdict::Fail => "FAILED",
        _ => "WARNED",
    }
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<StatementSubject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Value,
}

#[derive(Deserialize)]
struct StatementSubject {
    name: String,
    digest: std::collections::BTreeMap<String, String>,
}

/// The predicate type of an envelope about this release; an error in words where it does not hold.
pub(crate) fn check(bytes: &[u8], subject: &Subject<'_>, key: &PublicKey) -> Result<String, String> {
    let envelope = Envelope::from_json(bytes).map_err(|e| e.to_string())?;
    let payload = envelope.verify(IN_TOTO, &[key], 1).map_err(|e| e.to_string())?;
    let statement: Statement = serde_json::from_slice(&payload).map_err(|e| format!("it is no statement: {e}"))?;
    if statement.kind != STATEMENT {
        return Err(format!("it is a `{}`", statement.kind));
    }
    for (name, digest) in [(PAYLOAD, subject.release_digest), ("payload/model.onnx", subject.model_sha256)] {
        let said = statement.subject.iter().find(|s| s.name == name).and_then(|s| s.digest.get("sha256"));
        if said.is_none_or(|d| d != digest) {
            return Err(format!("it is about another `{name}`"));
        }
    }
    if statement.predicate_type == TEST_RESULT {
        match statement.predicate.get("result").and_then(Value::as_str) {
            Some("PASSED" | "WARNED") => {}
            other => return Err(format!("it says `{}`", other.unwrap_or("nothing"))),
        }
    }
    Ok(statement.predicate_type)
}
