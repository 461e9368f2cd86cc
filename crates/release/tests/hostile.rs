//! What a verifier refuses of a repository that was tampered with, or that somebody else made.

use std::{collections::BTreeMap, fs, path::Path};

use plimsoll_record::Verdict;
use plimsoll_release::{BETA, ErrorKind, GENERAL, Placement, ROLES, Repository, build, fetch};
use plimsoll_trust::tuf::{Client, Creation, Editor, FolderStore, create};
use serde_json::Value;

#[path = "../../trust/tests/support/copied.rs"]
mod copied;
mod support;
#[path = "support/trial.rs"]
mod trial;

use trial::{Fixture, check, passes, refused, start};

/// Signs a target with the repository's own keys, as whoever stole them would.
fn sign_target(fixture: &Fixture, role: &str, name: &str, bytes: Vec<u8>) {
    let store = FolderStore::new(fixture.keeper.folder());
    let mut editor = Editor::open(&store, ROLES).unwrap();
    editor.set_target(role, name, bytes).unwrap();
    editor.commit(&fixture.ring(), start()).unwrap();
}

/// Changes a document that a target holds, and signs it.
fn edit_target(fixture: &Fixture, role: &str, name: &str, change: impl Fn(&mut Value)) {
    let client = Client::load_own(fixture.keeper.folder(), None).unwrap();
    let bytes = client.read_target(name, 1 << 20).unwrap().unwrap();
    let mut document: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut document);
    sign_target(fixture, role, name, serde_json::to_vec(&document).unwrap());
}

#[test]
fn a_trial_is_refused_by_production() {
    let fixture = Fixture::with_beta();
    refused(&check(fixture.keeper.folder(), |o| o.production = true), "trial mark", "marked `trial`");
}

#[test]
fn a_repository_without_the_mark_passes_in_production_from_a_trusted_root_alone() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path().join("production");
    let (public, marks, notes) = Default::default();
    let ring = fixture.ring();
    let creation = Creation { roles: ROLES, keys: &ring, public: &public, marks: &marks, notes: &notes };
    create(&FolderStore::new(&folder), &creation, start()).unwrap();
    let keeper = Repository::with_store(Box::new(FolderStore::new(&folder)), fixture.ring()).unwrap();
    assert!(!keeper.is_trial());
    let trial = fixture.build("1.0.0", b"model");
    let error = keeper.publish(&trial.folder, &Placement::default(), start()).unwrap_err();
    assert!(error.to_string().contains("marked `trial`"), "{error}");
    let mut input = support::input("1.0.1", b"model");
    input.trial = false;
    let built = build(&input, keeper.signing_key().unwrap(), &fixture.folder.path().join("out")).unwrap();
    keeper.publish(&built.folder, &Placement::default(), start()).unwrap();
    refused(&check(&folder, |o| o.production = true), "authority", "the one that you trust");
    let root = fs::read(folder.join("metadata/1.root.json")).unwrap();
    let verification = check(&folder, |o| {
        o.production = true;
        o.trusted_root = Some(root.clone());
    });
    assert_eq!(verification.verdict, Verdict::Pass, "{verification:#?}");
}

#[test]
fn a_rolled_back_epoch_is_refused() {
    let fixture = Fixture::with_beta();
    let seen = |epoch| check(fixture.keeper.folder(), |o| o.seen_epochs = BTreeMap::from([(BETA.into(), epoch)]));
    assert_eq!(seen(1).verdict, Verdict::Pass);
    refused(&seen(2), "channel beta", "went back to epoch 1 from 2");
    let general = check(fixture.keeper.folder(), |o| o.seen_epochs = BTreeMap::from([(GENERAL.into(), 1)]));
    refused(&general, "channel general", "at nothing, and was at epoch 1");
}

#[test]
fn another_root_is_refused() {
    let fixture = Fixture::with_beta();
    let folder = tempfile::tempdir().unwrap();
    let [elsewhere, keys] = ["repository", "trial"].map(|n| folder.path().join(n));
    Repository::open_or_create_trial(&elsewhere, &keys, start()).unwrap();
    let root = |folder: &Path| Some(fs::read(folder.join("metadata/1.root.json")).unwrap());
    refused(&check(fixture.keeper.folder(), |o| o.trusted_root = root(&elsewhere)), "metadata", "threshold");
    let own = check(fixture.keeper.folder(), |o| o.trusted_root = root(fixture.keeper.folder()));
    assert_eq!(own.verdict, Verdict::Pass);
    assert!(own.steps[0].detail.starts_with("from the given root"), "{:?}", own.steps[0]);
}

#[test]
fn pointers_that_contradict_the_rest_are_refused_though_their_keys_signed_them() {
    let tampered = |step: &str, says: &str, change: fn(&mut Value)| {
        let fixture = Fixture::with_beta();
        edit_target(&fixture, "beta", "channel.beta.json", change);
        refused(&check(fixture.keeper.folder(), |_| {}), step, says);
    };
    tampered("manifest (sleep-wake 1.0.0)", "lists another release", |v| v["manifest_sha256"] = "0".repeat(64).into());
    tampered("manifest (sleep-wake 1.0.0)", "lists another release", |v| v["release_digest"] = "0".repeat(64).into());
    tampered("manifest (sleep-wake 2.0.0)", "does not list it", |v| v["version"] = "2.0.0".into());
    tampered("channel beta", "pointer of the channel `general`", |v| v["channel"] = "general".into());
    tampered("channel beta", "share above 100 %", |v| v["percent_bp"] = 10_001.into());
    tampered("channel beta", "trial mark", |v| v["trial"] = false.into());
    tampered("channel beta", "no name", |v| v["release"] = "../x".into());
    tampered("channel beta", "schema", |v| v["schema"] = "plimsoll.channel/2".into());
    tampered("channel beta", "", |v| *v = Value::Null);
}

#[test]
fn manifests_that_lead_elsewhere_are_refused_though_their_keys_signed_them() {
    for (says, change) in [
        ("no file of a release", (|v| v["files"][0]["path"] = "../../evil".into()) as fn(&mut Value)),
        ("no file of a release", |v| v["files"][0]["path"] = "/etc/passwd".into()),
        ("no file of a release", |v| v["files"][0]["sha256"] = "../../x".into()),
        ("twice", |v| v["files"][1]["path"] = v["files"][0]["path"].clone()),
        ("lists no `model.sig`", |v| v["files"] = Value::Array(vec![])),
        ("manifest of other", |v| v["name"] = "other".into()),
    ] {
        let fixture = Fixture::with_beta();
        edit_target(&fixture, "releases", "release.sleep-wake.1.0.0.json", change);
        refused(&check(fixture.keeper.folder(), |_| {}), "manifest (sleep-wake 1.0.0)", says);
        let got = fetch(fixture.keeper.folder(), None, "sleep-wake", "1.0.0", fixture.folder.path(), start());
        assert_eq!(got.unwrap_err().kind(), ErrorKind::VerificationRefused);
        assert!(!fixture.folder.path().join("sleep-wake-1.0.0").exists());
    }
}

#[test]
fn changed_missing_and_swollen_content_is_refused_and_not_promoted() {
    for tamper in [
        |path: &Path| fs::write(path, "MODEL").unwrap(),
        |path: &Path| fs::write(path, "longer than it was").unwrap(),
        |path: &Path| fs::remove_file(path).unwrap(),
    ] {
        let fixture = Fixture::new();
        let built = fixture.build("1.0.0", b"model");
        fixture.keeper.publish(&built.folder, &Placement::default(), start()).unwrap();
        let digest = plimsoll_trust::sha256_hex(b"model");
        tamper(&fixture.keeper.folder().join("blobs/sha256").join(digest));
        refused(&check(fixture.keeper.folder(), |_| {}), "files (sleep-wake 1.0.0)", "");
        assert_eq!(fixture.promote("1.0.0").unwrap_err().kind(), ErrorKind::VerificationRefused);
        // Publishing again repairs it.
        fixture.keeper.publish(&built.folder, &Placement::default(), start()).unwrap();
        passes(&fixture);
        fixture.promote("1.0.0").unwrap();
    }
}

#[test]
fn a_release_signed_by_a_stranger_is_refused_inside_a_repository() {
    // The releases keys vouch for the signing key; a payload by another one does not get in through the public key beside it.
    let fixture = Fixture::with_beta();
    let stranger = "0".repeat(64);
    let manifest = fixture.keeper.folder().join("targets");
    edit_target(&fixture, "releases", "release.sleep-wake.1.0.0.json", |v| v["signing_key"] = stranger.clone().into());
    let found = fs::read_dir(manifest).unwrap().filter_map(|e| {
        let bytes = fs::read(e.unwrap().path()).unwrap();
        String::from_utf8(bytes.clone()).unwrap().contains(&stranger).then(|| plimsoll_trust::sha256_hex(&bytes))
    });
    let sha256 = found.last().unwrap();
    edit_target(&fixture, "beta", "channel.beta.json", |v| v["manifest_sha256"] = sha256.clone().into());
    refused(&check(fixture.keeper.folder(), |_| {}), "key (sleep-wake 1.0.0)", "the repository says 0000");
}
