//! Release folders: what is written, and what of a tampered one is refused.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use plimsoll_record::{Verdict, Verification};
use plimsoll_release::{Built, ErrorKind, ReleaseError, ReleaseInput, VerifyOptions, build, verify, verify_release};
use plimsoll_trust::{FileKey, KeySource, oms};
use serde_json::Value;

mod support;

struct Fixture {
    folder: tempfile::TempDir,
    key: FileKey,
    built: Built,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = FileKey::create(&folder.path().join("key.pem")).unwrap();
        let built = build(&support::input("1.0.0", b"model"), &key, &folder.path().join("out")).unwrap();
        Self { folder, key, built }
    }

    fn build(&self, change: impl Fn(&mut ReleaseInput)) -> Result<Built, ReleaseError> {
        let mut input = support::input("1.0.0", b"model");
        change(&mut input);
        build(&input, &self.key, &self.folder.path().join("out"))
    }

    /// Signs the payload again, as whoever stole the key would, or a tool with a fault.
    fn resign(&self) {
        let manifest = oms::FolderManifest::of_folder(&self.built.release_dir).unwrap();
        fs::write(&self.built.signature, oms::sign(&manifest, "payload", &self.key).unwrap()).unwrap();
    }

    fn edit(&self, file: &str, change: impl Fn(&mut Value)) {
        let path = self.built.folder.join(file);
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
    }
}

/// Tampers with a release folder and verifies it: the one place that does.
fn check(tamper: impl Fn(&Fixture, &Path), options: impl Fn(&Fixture) -> VerifyOptions) -> Verification {
    let fixture = Fixture::new();
    tamper(&fixture, &fixture.built.folder);
    verify_release(&fixture.built.folder, &options(&fixture)).unwrap()
}

#[track_caller]
fn refused_with(verification: &Verification, step: &str, says: &str) {
    assert_eq!(verification.verdict, Verdict::Fail, "{verification:#?}");
    let failure = verification.failure().unwrap();
    assert_eq!(failure.name, step, "{failure:?}");
    assert!(failure.detail.contains(says), "`{}` does not say `{says}`", failure.detail);
}

#[track_caller]
fn refused(step: &str, says: &str, tamper: impl Fn(&Fixture, &Path)) {
    refused_with(&check(tamper, |_| VerifyOptions::default()), step, says);
}

fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn enter(folder: &Path, above: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                enter(&path, above, files);
            } else {
                files.insert(path.strip_prefix(above).unwrap().into(), fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    enter(folder, folder, &mut files);
    files
}

#[test]
fn a_release_verifies_step_by_step_and_says_by_which_key() {
    let verification = check(|_, _| {}, |_| VerifyOptions::default());
    assert_eq!(verification.verdict, Verdict::Pass, "{verification:#?}");
    let names: Vec<&str> = verification.steps.iter().map(|s| s.name.as_str()).collect();
    let expected =
        ["layout", "key", "signature", "record", "report", "bill of materials", "attestations", "trial mark"];
    assert_eq!(names, expected);
    assert!(verification.steps[1].detail.contains("not who signed"), "{:?}", verification.steps[1]);
    let given = |f: &Fixture| VerifyOptions { public_key: Some(f.key.public_key().clone()), ..Default::default() };
    let verification = check(|_, _| {}, given);
    assert!(verification.steps[1].detail.ends_with("as given"), "{:?}", verification.steps[1]);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let fixture = Fixture::new();
    let elsewhere = fixture.folder.path().join("elsewhere");
    let again = build(&support::input("1.0.0", b"model"), &fixture.key, &elsewhere).unwrap();
    assert_eq!(again.release_digest, fixture.built.release_digest);
    assert!(!again.existed);
    assert_eq!(tree(&again.folder), tree(&fixture.built.folder));
    let other = build(&support::input("1.0.1", b"model"), &fixture.key, &elsewhere).unwrap();
    assert_ne!(other.release_digest, again.release_digest);
}

#[test]
fn a_release_is_never_replaced_by_another_of_its_name() {
    let fixture = Fixture::new();
    let before = tree(&fixture.built.folder);
    assert!(fixture.build(|_| {}).unwrap().existed);
    for change in
        [|i: &mut ReleaseInput| i.model = b"other".to_vec(), |i: &mut ReleaseInput| i.report_markdown.push('\n')]
    {
        let error = fixture.build(change).unwrap_err();
        assert!(matches!(error, ReleaseError::Taken { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::BadInput);
    }
    assert_eq!(tree(&fixture.built.folder), before);
    let names: Vec<_> = fs::read_dir(fixture.folder.path().join("out")).unwrap().collect();
    assert_eq!(names.len(), 1, "something temporary was left: {names:?}");
    // What is there must verify, too, and by the same key.
    fs::write(&fixture.built.signature, "{}").unwrap();
    assert!(matches!(fixture.build(|_| {}), Err(ReleaseError::Taken { .. })));
}

#[test]
fn what_the_gate_did_not_pass_is_not_released() {
    let fixture = Fixture::new();
    for verdict in [Verdict::Fail, Verdict::Skipped("no data".into())] {
        let error = fixture.build(|i| i.report.verdict = verdict.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::GateFailed, "{error}");
    }
    let error = fixture.build(|i| i.report.model_digest = "other".into()).unwrap_err();
    assert!(matches!(error, ReleaseError::Inconsistent(_)), "{error}");
    let built = fixture.build(|i| {
        i.version = "1.0.1".into();
        i.report.verdict = Verdict::Inconclusive;
    });
    let verification = verify_release(&built.unwrap().folder, &VerifyOptions::default()).unwrap();
    assert_eq!(verification.verdict, Verdict::Pass);
    assert!(verification.steps[4].detail.starts_with("inconclusive"));
}

#[test]
fn names_and_paths_that_lead_elsewhere_are_refused() {
    let fixture = Fixture::new();
    for bad in ["", "../x", "a/b", "A", ".x", "a b", "a..b"] {
        assert!(
            matches!(fixture.build(|i| i.name = bad.into()), Err(ReleaseError::Name { what: "name", .. })),
            "{bad}"
        );
        let version = fixture.build(|i| i.version = bad.into());
        assert!(matches!(version, Err(ReleaseError::Name { what: "version", .. })), "{bad}");
    }
    for bad in ["../x", "/x", "a/../x", "a\\b", ".gitignore", "a//b", "model.onnx"] {
        let extra = fixture.build(|i| drop(i.extra.insert(bad.into(), vec![])));
        assert!(matches!(extra, Err(ReleaseError::Name { what: "file", .. })), "{bad}");
        let profile = fixture.build(|i| drop(i.profiles.insert(format!("../{bad}"), vec![])));
        assert!(matches!(profile, Err(ReleaseError::Name { what: "file", .. })), "{bad}");
    }
}

#[test]
fn an_output_that_cannot_be_written_leaves_nothing() {
    let fixture = Fixture::new();
    let file = fixture.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = build(&support::input("1.0.0", b"model"), &fixture.key, &file.join("out")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.help().is_some());
}

#[test]
fn tampered_payloads_are_refused_by_file() {
    refused("signature", "changed `model.onnx`", |_, f| fs::write(f.join("payload/model.onnx"), "modem").unwrap());
    refused("signature", "added `budgets/x`", |_, f| fs::write(f.join("payload/budgets/x"), "").unwrap());
    refused("signature", "missing `report.md`", |_, f| fs::remove_file(f.join("payload/report.md")).unwrap());
    refused("signature", "`.gitignore` lies unsigned", |_, f| fs::write(f.join("payload/.gitignore"), "").unwrap());
    refused("layout", "`run.sh` does not belong", |_, f| fs::write(f.join("run.sh"), "").unwrap());
    refused("signature", "failed to read", |_, f| fs::remove_file(f.join("model.sig")).unwrap());
    refused("signature", "no model-signing bundle", |_, f| {
        let signature = fs::read(f.join("model.sig")).unwrap();
        fs::write(f.join("model.sig"), &signature[..signature.len() / 2]).unwrap();
    });
}

#[cfg(unix)]
#[test]
fn links_are_refused() {
    use std::os::unix::fs::symlink;
    refused("signature", "not a regular file", |_, f| {
        fs::rename(f.join("payload/report.md"), f.join("payload/../../outside")).unwrap();
        symlink("../../outside", f.join("payload/report.md")).unwrap();
    });
    refused("layout", "the payload is a link", |_, f| {
        fs::rename(f.join("payload"), f.join("../moved")).unwrap();
        symlink("../moved", f.join("payload")).unwrap();
    });
}

#[test]
fn another_key_is_refused() {
    let stranger = |f: &Fixture| {
        let key = FileKey::create(&f.folder.path().join("stranger.pem")).unwrap();
        VerifyOptions { public_key: Some(key.public_key().clone()), ..Default::default() }
    };
    refused_with(&check(|_, _| {}, stranger), "signature", "by the key");
    refused("signature", "by the key", |f, folder| {
        let key = FileKey::create(&f.folder.path().join("stranger.pem")).unwrap();
        fs::write(folder.join("public_key.pem"), key.public_key().pem()).unwrap();
    });
    refused("key", "is no ECDSA P-256 public key", |_, f| fs::write(f.join("public_key.pem"), "key").unwrap());
}

#[test]
fn signed_contradictions_are_refused() {
    let signed = |step: &str, says: &str, file: &str, change: fn(&mut Value)| {
        refused(step, says, |f, _| {
            f.edit(&format!("payload/{file}"), change);
            f.resign();
        });
    };
    signed("record", "is another model", "release.json", |v| v["model"]["sha256"] = "00".into());
    signed("record", "there is no `x`", "release.json", |v| v["model"]["file"] = "x".into());
    signed("record", "no name", "release.json", |v| v["name"] = "../x".into());
    signed("record", "missing field", "release.json", |v| drop(v.as_object_mut().unwrap().remove("trial")));
    signed("record", "schema", "release.json", |v| v["schema"] = "plimsoll.release/2".into());
    signed("report", "about the model x", "report.json", |v| v["model_digest"] = "x".into());
    signed("report", "verdict is `fail`", "report.json", |v| v["verdict"] = "fail".into());
    signed("bill of materials", "/hashes/0/content", "bom.json", |v| {
        v["metadata"]["component"]["hashes"][0]["content"] = "00".into();
    });
}

#[test]
fn attestations_of_another_release_or_none_are_refused() {
    refused("attestations", "another `payload`", |f, folder| {
        let other = f.build(|i| i.version = "2.0.0".into()).unwrap();
        fs::copy(&other.attestations[0], folder.join("attestations/provenance.dsse.json")).unwrap();
    });
    refused("attestations", "none of the type https://in-toto.io/attestation/test-result", |f, _| {
        fs::remove_file(&f.built.attestations[1]).unwrap();
    });
    refused("attestations", "0 of the 1", |f, _| {
        let file = f.built.attestations[0].strip_prefix(&f.built.folder).unwrap().display().to_string();
        f.edit(&file, |v| v["payload"] = "e30=".into());
    });
    refused("attestations", "no DSSE", |_, f| fs::write(f.join("attestations/x"), "").unwrap());
}

#[test]
fn a_trial_is_refused_by_production() {
    let production = |_: &Fixture| VerifyOptions { production: true, ..Default::default() };
    refused_with(&check(|_, _| {}, production), "trial mark", "marked `trial`");
}

#[test]
fn a_key_that_comes_with_the_release_is_no_authority_in_production() {
    let fixture = Fixture::new();
    let built = fixture.build(|i| {
        i.version = "1.0.1".into();
        i.trial = false;
    });
    let folder = built.unwrap().folder;
    let mut options = VerifyOptions { production: true, ..Default::default() };
    refused_with(&verify_release(&folder, &options).unwrap(), "authority", "the one that you trust");
    options.public_key = Some(fixture.key.public_key().clone());
    assert_eq!(verify_release(&folder, &options).unwrap().verdict, Verdict::Pass);
}

#[test]
fn the_payload_itself_can_be_named_and_nothing_is_not_found() {
    let fixture = Fixture::new();
    let options = VerifyOptions::default();
    assert_eq!(verify(&fixture.built.release_dir, &options).unwrap().verdict, Verdict::Pass);
    assert_eq!(verify(&fixture.built.folder, &options).unwrap().verdict, Verdict::Pass);
    for nothing in [fixture.folder.path(), Path::new("no/such/folder")] {
        assert_eq!(verify(nothing, &options).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
