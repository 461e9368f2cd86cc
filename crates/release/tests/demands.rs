//! What of a release its attestations show to whoever demands it, what each gate's summary says, and what its dossier tells.

use std::{collections::BTreeMap, fs, path::Path};

use plimsoll_record::{ChangeTrace, ReleaseChange, Verdict, Waived};
use plimsoll_release::{
    Built, Demand, Package, ReleaseInput, Rule, VerifyOptions, build, difference, dossier, payload, verify_release,
};
use plimsoll_trust::{
    FileKey, KeySource,
    dsse::{Envelope, IN_TOTO},
    sha256_hex,
};
use serde_json::Value;

mod support;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

struct Fixture {
    _folder: tempfile::TempDir,
    key: FileKey,
    built: Built,
}

impl Fixture {
    fn new(change: impl Fn(&mut ReleaseInput)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = FileKey::create(&folder.path().join("key.pem")).unwrap();
        let mut input = support::input("1.0.0", b"model");
        change(&mut input);
        let built = build(&input, &key, &folder.path().join("out")).unwrap();
        Self { _folder: folder, key, built }
    }

    /// Holds the release against a demand: what was found, or what was not.
    fn check(&self, rule: Rule) -> Result<String, String> {
        let demands = vec![Demand { rule, place: "policy.toml:7".into() }];
        let found = verify_release(&self.built.folder, &VerifyOptions { demands, ..Default::default() }).unwrap();
        let step = found.steps.last().unwrap();
        assert!(step.name.starts_with("demand: "), "{step:?}");
        match step.outcome {
            Verdict::Pass => Ok(step.detail.clone()),
            _ => Err(step.detail.clone()),
        }
    }

    fn summary(&self, gate: &str) -> Value {
        let bytes = fs::read(self.built.folder.join(format!("attestations/gate.{gate}.dsse.json"))).unwrap();
        let payload = Envelope::from_json(&bytes).unwrap().verify(IN_TOTO, &[self.key.public_key()], 1).unwrap();
        serde_json::from_slice(&payload).unwrap()
    }

    fn dossier(&self) -> String {
        let package = Package { name: "sha2".into(), version: "0.11.0".into(), checksum: "ab".into() };
        dossier(&self.built.folder, &VerifyOptions::default(), &[package]).unwrap()
    }
}

#[test]
fn a_demand_that_nothing_shows_is_refused_with_its_line() {
    let f = Fixture::new(|_| {});
    let signer = f.key.public_key().id();
    let profile = sha256_hex(b"schema = 1\n");
    let source = sha256_hex(b"source file");
    let held = [
        Rule::Name("sleep-wake".into()),
        Rule::Signers(vec!["0".repeat(64), signer]),
        Rule::Commit(COMMIT.into()),
        Rule::Commit(COMMIT[..12].into()),
        Rule::SourceModel(source),
        Rule::Gate("device-example".into()),
        Rule::Policy(profile),
        Rule::NoWaivers,
        Rule::Budget("artifact-size".into()),
        Rule::Attestation("https://slsa.dev/provenance/v1".into()),
    ];
    for rule in held {
        assert!(f.check(rule.clone()).is_ok(), "{rule:?}");
    }
    let refused = [
        (Rule::Name("digits".into()), "it is `sleep-wake`"),
        (Rule::NoTrial, "marked `trial`"),
        (Rule::Signers(vec!["0".repeat(64)]), "none of the 1 keys"),
        (Rule::Commit("fedcba987654".into()), "not fedcba987654"),
        (Rule::SourceModel("0".repeat(64)), "its provenance names"),
        (Rule::Gate("server-x86".into()), "there are device-example"),
        (Rule::Policy("0".repeat(64)), "no gate by a file of that digest"),
        (Rule::Budget("latency.p99".into()), "no budget of latency.p99 was judged"),
        (Rule::Samples(1_001), "on 1000 samples, 1001 are demanded"),
        (Rule::Attestation("https://example.com/audit/v1".into()), "none of the type"),
    ];
    for (rule, says) in refused {
        let error = f.check(rule.clone()).expect_err("this must be refused");
        assert!(error.contains(says) && error.ends_with("(demanded in policy.toml:7)"), "{rule:?}: {error}");
    }
}

#[test]
fn too_few_samples_and_a_budget_that_was_not_passed_are_no_coverage() {
    let f = Fixture::new(|i| {
        let mut row = i.report.rows[0].clone();
        row.metric = "balanced-accuracy".into();
        row.figure = Some(i.figures.figures[0].clone());
        row.verdict = Verdict::Inconclusive;
        row.level = "warn".into();
        i.report.rows[0].figure.as_mut().unwrap().executor = "static".into();
        i.report.rows.push(row);
    });
    assert!(f.check(Rule::Samples(1_000)).unwrap().contains("1000"));
    assert!(f.check(Rule::Samples(1_001)).unwrap_err().contains("on 1000 samples, 1001 are demanded"));
    assert!(f.check(Rule::Budget("balanced-accuracy".into())).unwrap_err().contains("`inconclusive`"));
    f.check(Rule::Gate("device-example".into())).unwrap();
}

#[test]
fn a_gate_that_was_passed_by_a_waiver_is_passed_and_says_so() {
    let f = Fixture::new(|i| {
        i.report.rows[0].verdict = Verdict::Fail;
        i.report.rows[0].waiver = Some(Waived {
            until: "2026-12-31".into(),
            in_force: true,
            reason: "twice the flash".into(),
            signed_off_by: "A. Lovelace".into(),
            line: 3,
        });
    });
    f.check(Rule::Gate("device-example".into())).unwrap();
    assert!(f.check(Rule::NoWaivers).unwrap_err().contains("a waiver let `device-example: artifact-size max 256 KiB`"));
    assert!(f.check(Rule::Budget("artifact-size".into())).unwrap_err().contains("is `fail`"));
    assert!(f.dossier().contains("waived by A. Lovelace until 2026-12-31: twice the flash"));
}

#[test]
fn a_commit_that_is_not_stated_is_not_shown() {
    let f = Fixture::new(|i| i.commit = None);
    assert!(f.check(Rule::Commit(COMMIT.into())).unwrap_err().contains("names none"));
}

#[test]
fn a_summary_binds_a_gate_to_model_data_and_the_text_of_its_policy() {
    let f = Fixture::new(|_| {});
    let statement = f.summary("device-example");
    assert_eq!(statement["predicateType"], "https://slsa.dev/verification_summary/v1");
    let said = &statement["predicate"];
    assert_eq!(said["verificationResult"], "PASSED");
    assert_eq!(said["resourceUri"], "pkg:generic/sleep-wake@1.0.0");
    assert_eq!(said["policy"]["uri"], "payload/budgets/profiles/device-example.toml");
    assert_eq!(said["policy"]["digest"]["sha256"], sha256_hex(b"schema = 1\n"));
    assert_eq!(said["gate"]["modelDigest"], sha256_hex(b"model"));
    assert_eq!(said["gate"]["sampleDigests"]["test"], sha256_hex(b"test"));
    let result = fs::read(f.built.folder.join("attestations/test-result.dsse.json")).unwrap();
    assert_eq!(said["inputAttestations"][0]["digest"]["sha256"], sha256_hex(&result));
}

#[test]
fn a_gate_that_is_not_shown_to_pass_is_not_passed() {
    let f = Fixture::new(|i| {
        i.report.verdict = Verdict::Inconclusive;
        i.report.rows[0].verdict = Verdict::Inconclusive;
    });
    assert_eq!(f.summary("device-example")["predicate"]["verificationResult"], "FAILED");
    let error = f.check(Rule::Gate("device-example".into())).unwrap_err();
    assert!(error.contains("was not passed"), "{error}");
}

#[test]
fn a_gate_that_no_file_defines_is_not_released() {
    let folder = tempfile::tempdir().unwrap();
    let key = FileKey::create(&folder.path().join("key.pem")).unwrap();
    let mut input = support::input("1.0.0", b"model");
    input.gates.clear();
    let error = build(&input, &key, &folder.path().join("out")).unwrap_err().to_string();
    assert!(error.contains("`device-example`, which no file defines"), "{error}");
}

fn files(folder: &Path, below: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = Path::new(below).join(entry.file_name()).display().to_string();
        if entry.path().is_dir() { files(folder, &name, found) } else { found.push(name) }
    }
}

#[test]
fn a_changed_or_missing_file_is_refused_by_name_whichever_it_is() {
    let f = Fixture::new(|_| {});
    let folder = &f.built.folder;
    let mut all = Vec::new();
    files(folder, "", &mut all);
    assert!(all.len() > 14, "{all:?}");
    let failure = || verify_release(folder, &VerifyOptions::default()).unwrap().failure().unwrap().clone();
    for name in all {
        let path = folder.join(&name);
        let bytes = fs::read(&path).unwrap();
        let base = path.file_name().unwrap().to_str().unwrap();
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&path, changed).unwrap();
        let said = failure().detail;
        assert!(said.contains(base), "{name} was changed: {said}");
        fs::remove_file(&path).unwrap();
        let said = failure().detail;
        // What should be there is known by what it says, not by a name.
        let known = if name.starts_with("attestations/") { "there is no" } else { base };
        assert!(said.contains(known), "{name} is missing: {said}");
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(verify_release(folder, &VerifyOptions::default()).unwrap().verdict, Verdict::Pass);
}

#[test]
fn a_payload_that_is_built_otherwise_is_told_by_the_first_difference() {
    let f = Fixture::new(|_| {});
    let mut input = support::input("1.0.0", b"model");
    let again = |input: &ReleaseInput| difference(&f.built.folder, &payload(input).unwrap()).unwrap();
    assert_eq!(again(&input), None);
    input.figures.figures[0].value = 0.92;
    let first = again(&input).unwrap();
    assert_eq!(first.file, "bom.json", "{first:?}");
    let mut input = support::input("1.0.0", b"model");
    input.parent = Some("0".repeat(64));
    let first = again(&input).unwrap();
    assert_eq!((first.file.as_str(), first.what.starts_with("/parent is null")), ("release.json", true), "{first:?}");
    let mut input = support::input("1.0.0", b"model");
    input.extra = BTreeMap::from([("a.txt".to_owned(), vec![])]);
    assert_eq!(again(&input).unwrap().what, "it is built, and is not there");
}

fn changed(i: &mut ReleaseInput) {
    i.change = Some(ReleaseChange {
        ticket: "SW-1|432".into(),
        in_plan: true,
        requirements: vec!["REQ-1".into(), "REQ-2".into()],
        risks: vec!["RISK-1".into(), "RISK-2".into()],
        anomalies: vec!["BUG-7: *known*".into()],
        trace: ["REQ-1", "REQ-2"]
            .map(|requirement| ChangeTrace {
                requirement: requirement.into(),
                risks: vec!["RISK-1".into()],
                budgets: vec![if requirement == "REQ-1" { "artifact-size" } else { "latency.p99" }.into()],
            })
            .to_vec(),
    });
}

#[test]
fn a_dossier_traces_requirements_to_evidence_and_says_what_nothing_shows() {
    let f = Fixture::new(changed);
    let text = f.dossier();
    let size =
        "| REQ-1 | RISK-1 | device-example: artifact-size max 256 KiB | pass | 20 KiB (`evidence.json`, n = 1000";
    assert!(text.contains(size), "{text}");
    assert!(text.contains("| REQ-2 | RISK-1 | latency.p99: no budget | NOT JUDGED | none |"), "{text}");
    assert!(text.contains("No requirement traces to these risks: RISK-2."), "{text}");
    assert!(text.contains("SW-1\\|432") && text.contains("- BUG-7: \\*known\\*\n"), "{text}");
    assert!(text.contains("- not measured: latency.p99: 100 runs are too few"), "{text}");
    assert!(text.contains("| sha2 | 0.11.0 | ab |") && text.contains(COMMIT), "{text}");
    assert_eq!(text, f.dossier());
    let untraced = Fixture::new(|i| {
        changed(i);
        i.change.as_mut().unwrap().trace.clear();
    });
    assert_eq!(untraced.dossier().matches("| RISK-1, RISK-2 | device-example: artifact-size").count(), 2);
}

#[test]
fn nothing_is_told_of_a_release_that_does_not_verify() {
    let f = Fixture::new(|_| {});
    fs::write(f.built.release_dir.join("report.md"), "other").unwrap();
    let error = dossier(&f.built.folder, &VerifyOptions::default(), &[]).unwrap_err().to_string();
    assert!(error.contains("changed `report.md`"), "{error}");
}
