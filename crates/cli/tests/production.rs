//! A repository for production from the command line: what its keepers do wrong, and what they are told.

mod common;
#[path = "../../release/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use common::{error, expect, json, plimsoll_in};
use plimsoll_record::{AuditAction, AuditEntry, ChannelPointer, PointerState};
use plimsoll_release::build;
use plimsoll_trust::{
    FileKey, KeySource,
    dsse::{Envelope, IN_TOTO},
    sha256_hex,
};

const HERE: [&str; 4] = ["--repository", "repository", "--keys", "keys"];
const DECISION: &str = "decision.dsse.json";

fn args<'a>(verb: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [verb, &HERE, more].concat()
}

/// A repository with a release in beta, and what a gate says of it.
fn production() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    expect(f, 0, &args(&["channel", "init"], &["--draw-keys", "--holder", "general-1=anna"]));
    let key = FileKey::read(&f.join("keys/signing.pem")).unwrap();
    let input = plimsoll_release::ReleaseInput { trial: false, ..support::input("1.0.0", b"1.0.0") };
    let built = build(&input, &key, &f.join("releases")).unwrap();
    let summary = serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "payload", "digest": {"sha256": built.release_digest}}],
        "predicateType": "https://slsa.dev/verification_summary/v1",
        "predicate": {
            "policy": {"digest": {"sha256": sha256_hex(&input.spec)}},
            "verificationResult": "PASSED",
            "gate": {"modelDigest": input.model_digest, "sampleDigests": {"test": sha256_hex(b"test")}},
        },
    });
    let envelope = Envelope::sign(IN_TOTO, &serde_json::to_vec(&summary).unwrap(), &[&key]).unwrap();
    fs::write(f.join(DECISION), serde_json::to_vec(&envelope).unwrap()).unwrap();
    let from = built.folder.to_str().unwrap();
    expect(f, 0, &args(&["channel", "publish"], &["--channel", "beta", "--from", from]));
    folder
}

fn pointer(folder: &Path, channel: &str) -> Option<ChannelPointer> {
    let status = json(folder, 0, &["channel", "status", "--repository", "repository", "--json"]);
    let channels = status["channels"].as_array().unwrap();
    let found = channels.iter().find(|c| c["channel"] == channel).unwrap();
    serde_json::from_value(found["pointer"].clone()).unwrap()
}

fn log(folder: &Path) -> Vec<AuditEntry> {
    let lines = expect(folder, 0, &["audit", "export", "--repository", "repository"]);
    lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn a_repository_is_gone_through_before_it_is_made_and_a_slip_of_the_pen_makes_none() {
    let folder = production();
    let f = folder.path();
    let other = |more: &[&'static str]| [&["channel", "init", "--repository", "other", "--keys", "few"], more].concat();
    fs::create_dir(f.join("few")).unwrap();
    fs::copy(f.join("keys/root-1.pem"), f.join("few/root-1.pem")).unwrap();
    let key = FileKey::read(&f.join("keys/root-2.pem")).unwrap();
    fs::write(f.join("few/root-2.pub.pem"), key.public_key().pem()).unwrap();
    let walk = expect(f, 0, &other(&["--dry-run", "--holder", "root-1=anna"]));
    for (key, says) in [("root-1", "anna"), ("root-1", "private key"), ("root-2", "public half"), ("root-3", "MISSING")]
    {
        let mut rows = walk.lines().filter(|l| l.split_whitespace().next() == Some(key));
        assert!(rows.any(|l| l.contains(says)), "{key} is not {says}:\n{walk}");
    }
    let walk = expect(f, 0, &other(&["--dry-run", "--draw-keys"]));
    assert!(walk.contains("would be drawn") && !walk.contains("MISSING"), "{walk}");
    for args in [other(&["--dry-run", "--holder", "root-4=anna"]), other(&["--draw-keys", "--holder", "root-4=anna"])] {
        assert!(error(f, 96, &args).contains("a repository has no key called `root-4`"));
    }
    assert!(error(f, 96, &other(&[])).contains("there is no key `beta-1`, `beta-2`"));
    assert!(!f.join("other").exists() && fs::read_dir(f.join("few")).unwrap().count() == 2);
}

#[test]
fn a_change_with_too_few_keys_is_refused_and_who_tried_it_is_in_the_log() {
    let folder = production();
    let f = folder.path();
    for name in ["general-2", "general-3"] {
        fs::rename(f.join(format!("keys/{name}.pem")), f.join(format!("{name}.pem"))).unwrap();
    }
    let promote = args(
        &["channel", "publish", "--channel", "general", "--percent", "5"],
        &["--decision", DECISION, "--person", "anna", "--reason", "in a hurry"],
    );
    let few = "`general` needs 2 of its keys to sign; 1 are at hand";
    assert!(error(f, 96, &promote).contains(few));
    assert_eq!(pointer(f, "general"), None);
    let refused = log(f).pop().unwrap();
    assert_eq!(refused.action, AuditAction::Refused);
    assert_eq!((refused.person.as_str(), refused.reason.as_str()), ("anna", "in a hurry"));
    assert!(refused.meaning.contains(few), "{}", refused.meaning);

    // With another of its keys it goes, and back at one key's word; what takes more keys than are there does not.
    fs::rename(f.join("general-2.pem"), f.join("keys/general-2.pem")).unwrap();
    expect(f, 0, &promote);
    fs::remove_file(f.join("keys/general-2.pem")).unwrap();
    expect(f, 0, &args(&["channel", "halt", "--channel", "general"], &["--reason", "noise"]));
    assert_eq!(pointer(f, "general").unwrap().state, PointerState::Halted);
    assert!(error(f, 96, &args(&["channel", "resume", "--channel", "general"], &[])).contains(few));
    for name in ["root-2", "root-3", "targets-2", "targets-3"] {
        fs::remove_file(f.join(format!("keys/{name}.pem"))).unwrap();
    }
    let revoke = args(&["channel", "revoke", "--key", "beta-2"], &["--person", "eve"]);
    assert!(error(f, 96, &revoke).contains("`targets` needs 2 of its keys to sign; 1 are at hand"));
    let last = log(f).pop().unwrap();
    assert_eq!((last.action, last.person.as_str()), (AuditAction::Refused, "eve"));
    expect(f, 0, &["verify", "repository", "--production", "--root", "repository/metadata/1.root.json"]);
}

#[cfg(unix)]
#[test]
fn no_secret_of_a_repository_is_readable_by_others_or_told() {
    use std::os::unix::fs::PermissionsExt;
    let folder = production();
    let f = folder.path();
    for entry in fs::read_dir(f.join("keys")).unwrap().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{:?} has {mode:o}", entry.path());
    }
    // An encrypted key among them, opened by the environment alone.
    let encrypted = include_str!("../../trust/tests/encrypted.pem");
    fs::write(f.join("keys/signing.pem"), encrypted).unwrap();
    let with = |variable: &str, passphrase: &str, verb: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.current_dir(f).arg("channel").args(verb).args(HERE).env_remove("PLIMSOLL_PASSPHRASE");
        command.env(variable, passphrase).output().unwrap()
    };
    let told = |output: &Output, says: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(96) && said.contains(says) && !said.contains("another one"), "{said}");
    };
    let signing = "PLIMSOLL_PASSPHRASE_SIGNING";
    told(&with("UNHEARD_OF", "another one", &["refresh"]), "set PLIMSOLL_PASSPHRASE");
    told(&with(signing, "another one", &["refresh"]), "is wrong");
    assert_eq!(with(signing, "an example", &["refresh"]).status.code(), Some(0));
    // So is a key that takes the place of another.
    fs::rename(f.join("keys/signing.pem"), f.join("desk.pem")).unwrap();
    let rotate = ["rotate-key", "--key", "beta-2", "--new", "desk.pem"];
    told(&with(signing, "an example", &rotate), "set PLIMSOLL_PASSPHRASE");
    assert_eq!(with("PLIMSOLL_PASSPHRASE_DESK", "an example", &rotate).status.code(), Some(0));
    fs::set_permissions(f.join("keys/beta-1.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    told(&with(signing, "an example", &["refresh"]), "chmod 600");
}

#[test]
fn metadata_that_break_off_are_named_and_nothing_is_written() {
    let folder = production();
    let f = folder.path();
    for name in ["timestamp.json", "1.root.json"] {
        let file = f.join("repository/metadata").join(name);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        for verb in [&["verify", "repository"][..], &args(&["channel", "refresh"], &[])] {
            let output = plimsoll_in(f, verb);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(output.status.code(), Some(98), "{verb:?}: {said}");
            assert!(said.contains(name.trim_start_matches("1.").trim_end_matches(".json")), "{verb:?}: {said}");
        }
        assert_eq!(fs::read(&file).unwrap().len(), whole.len() / 2, "what is broken is left as it is");
        fs::write(&file, whole).unwrap();
    }
    expect(f, 0, &["verify", "repository"]);
}
