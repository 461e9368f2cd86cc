//! In-toto statements about a release, each in a DSSE envelope: how it was made (SLSA provenance v1), what it was tested for
//! (test-result v0.1), and what each gate said (SLSA verification summary v1).

use std::collections::BTreeMap;

use plimsoll_record::{Report, Row, Verdict};
use plimsoll_trust::{
    KeySource, PublicKey,
    dsse::{Envelope, IN_TOTO},
    sha256_hex, to_sorted_json,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{ATTESTATIONS, EVIDENCE, Gate, PAYLOAD, ReleaseError, ReleaseInput, SPEC};

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
pub(crate) const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
pub(crate) const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
pub(crate) const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
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
) -> Result<Vec<(String, Vec<u8>)>, ReleaseError> {
    let envelope = |file: &str, kind: &str, predicate: Value| {
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
        to_sorted_json(&envelope).map_err(encode)
    };
    let [made, tested] = ["provenance.dsse.json", "test-result.dsse.json"];
    let result = envelope(tested, TEST_RESULT, test_result(input))?;
    let mut files = vec![(made.into(), envelope(made, PROVENANCE, provenance(input))?)];
    let on = resource(&format!("{ATTESTATIONS}/{tested}"), &result);
    files.push((tested.into(), result));
    for gate in gates(&input.report) {
        let defined = input.gates.iter().find(|g| g.name == gate);
        let defined = defined.ok_or_else(|| {
            ReleaseError::Inconsistent(format!("the report judges by `{gate}`, which no file defines"))
        })?;
        let file = free_name(&gate, &files);
        let bytes = envelope(&file, SUMMARY, summary(input, defined, &on)?)?;
        files.push((file, bytes));
    }
    Ok(files)
}

/// The specs and profiles that a report judges by, in its order.
pub(crate) fn gates(report: &Report) -> Vec<String> {
    let mut gates: Vec<String> = Vec::new();
    for row in &report.rows {
        if !gates.contains(&row.profile) {
            gates.push(row.profile.clone());
        }
    }
    gates
}

/// A file name for a gate, whatever its name is made of.
fn free_name(gate: &str, taken: &[(String, Vec<u8>)]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '-' };
    let slug: String = gate.chars().take(64).map(plain).collect();
    let mut name = format!("gate.{slug}.dsse.json");
    let mut n = 1;
    while taken.iter().any(|(t, _)| *t == name) {
        n += 1;
        name = format!("gate.{slug}.{n}.dsse.json");
    }
    name
}

/// What one gate said. A summary knows pass and fail alone: what is not shown to pass has failed here.
fn summary(input: &ReleaseInput, gate: &Gate, on: &Value) -> Result<Value, ReleaseError> {
    let text = |file: &String| {
        let name = file.strip_prefix("budgets/profiles/");
        let bytes = if file == SPEC { Some(&input.spec) } else { name.and_then(|n| input.profiles.get(n)) };
        let absent = || ReleaseError::Inconsistent(format!("the gate `{}` lies in no file `{file}`", gate.name));
        Ok(resource_at(&format!("{PAYLOAD}/{file}"), bytes.ok_or_else(absent)?))
    };
    let files = gate.files.iter().map(text).collect::<Result<Vec<_>, ReleaseError>>()?;
    let Some((policy, extended)) = files.split_first() else {
        return Err(ReleaseError::Inconsistent(format!("the gate `{}` lies in no file", gate.name)));
    };
    let rows: Vec<&Row> = input.report.rows.iter().filter(|r| r.profile == gate.name).collect();
    let counted: Vec<Verdict> = rows.iter().filter(|r| r.level == "error").map(|r| r.counts_as()).collect();
    let budgets: Vec<String> = rows.iter().map(|r| format!("{}: {}", label(r), r.verdict)).collect();
    let waived: Vec<String> = rows.iter().filter(|r| r.is_waived()).map(|r| label(r)).collect();
    // A gate whose budgets are all of level `warn` has nothing to fail by.
    let passed = counted.is_empty() || Verdict::of_several(&counted) == Verdict::Pass;
    let data: BTreeMap<&str, &str> = input.datasets.iter().map(|d| (d.role.as_str(), d.digest.as_str())).collect();
    let evidence =
        serde_json::to_vec(&input.figures).map_err(|source| ReleaseError::Encode { what: EVIDENCE.into(), source })?;
    Ok(json!({
        "verifier": {"id": "urn:plimsoll:gate:1", "version": {"plimsoll": env!("CARGO_PKG_VERSION")}},
        "resourceUri": format!("pkg:generic/{}@{}", input.name, input.version),
        "policy": policy,
        "inputAttestations": [{"uri": on.get("name"), "digest": on.get("digest")}],
        "verificationResult": if passed { "PASSED" } else { "FAILED" },
        "verifiedLevels": [],
        "slsaVersion": "1.0",
        "gate": {
            "name": gate.name,
            "extends": extended,
            "budgets": budgets,
            "waived": waived,
            "modelDigest": input.model_digest,
            "sampleDigests": data,
            "figuresSha256": sha256_hex(&evidence),
        },
    }))
}

fn resource_at(uri: &str, bytes: &[u8]) -> Value {
    json!({"uri": uri, "digest": {"sha256": sha256_hex(bytes)}})
}

fn resource(name: &str, bytes: &[u8]) -> Value {
    json!({"name": name, "digest": {"sha256": sha256_hex(bytes)}})
}

fn budgets(input: &ReleaseInput) -> Vec<Value> {
    let profiles = input.profiles.iter().map(|(name, text)| resource(&format!("budgets/profiles/{name}"), text));
    std::iter::once(resource(SPEC, &input.spec)).chain(profiles).collect()
}

fn provenance(input: &ReleaseInput) -> Value {
    let mut dependencies = vec![json!({
        "name": input.source.file,
        "digest": {"sha256": input.source.sha256},
        "annotations": {"modelDigest": input.source.model_digest},
    })];
    dependencies.extend(
        input.commit.iter().map(|commit| json!({"name": "work tree of the spec", "digest": {"gitCommit": commit}})),
    );
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
                "spec": resource(SPEC, &input.spec),
                "recipe": input.recipe,
            },
            "internalParameters": {"trial": input.trial, "seed": input.seed},
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

/// A statement that holds.
pub(crate) struct Attested {
    /// Type of its predicate.
    pub(crate) kind: String,
    /// What it says.
    pub(crate) predicate: Value,
}

impl Attested {
    fn text(&self, pointer: &str) -> Option<&str> {
        self.predicate.pointer(pointer)?.as_str()
    }

    /// The gate that it summarizes.
    pub(crate) fn gate(&self) -> Option<&str> {
        self.text("/gate/name").filter(|_| self.kind == SUMMARY)
    }

    /// Whether it says that a gate was passed.
    pub(crate) fn passed(&self) -> bool {
        self.text("/verificationResult") == Some("PASSED")
    }

    /// Budgets of the gate that a waiver let through.
    pub(crate) fn waived(&self) -> Vec<&str> {
        let waived = self.predicate.pointer("/gate/waived").and_then(Value::as_array);
        waived.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Digests of the files that define the gate.
    pub(crate) fn policies(&self) -> Vec<&str> {
        let extended = self.predicate.pointer("/gate/extends").and_then(Value::as_array);
        let extended = extended.into_iter().flatten().filter_map(|r| r.pointer("/digest/sha256")?.as_str());
        self.text("/policy/digest/sha256").into_iter().chain(extended).collect()
    }

    /// Digests of what the release was made from, of an algorithm: `sha256`, `gitCommit`.
    pub(crate) fn made_from(&self, algorithm: &str) -> Vec<&str> {
        let resolved = self.predicate.pointer("/buildDefinition/resolvedDependencies").and_then(Value::as_array);
        resolved.into_iter().flatten().filter_map(|r| r.get("digest")?.get(algorithm)?.as_str()).collect()
    }
}

/// What an envelope about this release says; an error in words where it does not hold.
pub(crate) fn check(bytes: &[u8], subject: &Subject<'_>, key: &PublicKey) -> Result<Attested, String> {
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
    Ok(Attested { kind: statement.predicate_type, predicate: statement.predicate })
}
