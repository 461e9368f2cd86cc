//! Production: keys that go and come, decisions that let a release in, and the log of who did what.

use std::{collections::BTreeMap, fs, path::PathBuf, time::SystemTime};

use plimsoll_record::{AuditAction, Verdict};
use plimsoll_release::{
    Actor, BETA, ErrorKind, GENERAL, NewKey, Placement, Promotion, Published, ReleaseError, Repository, VerifyOptions,
    audit_log, build, status, verify_repository,
};
use plimsoll_trust::{
    FileKey, KeySource, NoSecrets,
    dsse::{Envelope, IN_TOTO},
    sha256_hex,
    tuf::FolderStore,
};
use serde_json::{Value, json};

#[path = "support/dying.rs"]
mod dying;
mod support;

use dying::DyingStore;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_790_000_000)
}

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap() };
        let holders = BTreeMap::from([("beta-1".to_owned(), "release desk".to_owned())]);
        Repository::create_in(&this.repository(), &this.keys(), true, &holders, now()).unwrap();
        this
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn keeper(&self) -> Repository {
        let actor = Actor { person: "release desk".into(), reason: "a test".into() };
        Repository::open(&self.repository(), &self.keys()).unwrap().acting(actor)
    }

    fn root(&self) -> Vec<u8> {
        fs::read(self.repository().join("metadata/1.root.json")).unwrap()
    }

    /// Puts a release into beta; its release digest.
    fn publish(&self, version: &str) -> String {
        let mut input = support::input(version, version.as_bytes());
        input.trial = false;
        let keeper = self.keeper();
        let built = build(&input, keeper.signing_key().unwrap(), &self.folder.path().join("out")).unwrap();
        keeper.publish(&built.folder, &Placement::default(), now()).unwrap();
        built.release_digest
    }

    fn decision(&self, digest: &str, change: impl Fn(&mut Value)) -> Vec<u8> {
        let mut statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "payload", "digest": {"sha256": digest}}],
            "predicateType": "https://slsa.dev/verification_summary/v1",
            "predicate": {
                "policy": {"digest": {"sha256": sha256_hex(b"schema = 1\n")}},
                "verificationResult": "PASSED",
                "gate": {"modelDigest": sha256_hex(b"model"), "sampleDigests": {"test": sha256_hex(b"test")}},
            },
        });
        change(&mut statement);
        let key = FileKey::read(&self.keys().join("signing.pem")).unwrap();
        let payload = serde_json::to_vec(&statement).unwrap();
        serde_json::to_vec(&Envelope::sign(IN_TOTO, &payload, &[&key]).unwrap()).unwrap()
    }

    fn promote(&self, version: &str, decision: Option<&[u8]>) -> Result<(), ReleaseError> {
        let keeper = self.keeper();
        let decision_sha256 = decision.map(|d| keeper.accept_decision("sleep-wake", version, d, now())).transpose()?;
        let placement = Placement { decision_sha256, ..Placement::default() };
        keeper.promote(&to_general(version, &placement), now()).map(|_| ())
    }

    fn new_key(&self, name: &str) -> NewKey {
        let path = self.keys().join(format!("{name}.pem"));
        FileKey::create(&path).unwrap();
        NewKey::read(&path, "somebody new", &NoSecrets).unwrap()
    }

    #[track_caller]
    fn passes(&self) {
        let options =
            VerifyOptions { trusted_root: Some(self.root()), production: true, now: Some(now()), ..Default::default() };
        let verification = verify_repository(&self.repository(), &options).unwrap();
        assert_eq!(verification.verdict, Verdict::Pass, "{verification:#?}");
    }

    fn actions(&self) -> Vec<AuditAction> {
        audit_log(&self.repository(), None).unwrap().entries.into_iter().map(|e| e.action).collect()
    }
}

fn to_general<'p>(version: &'p str, placement: &'p Placement) -> Promotion<'p> {
    Promotion { name: "sleep-wake", version, channel: GENERAL, placement }
}

#[test]
fn general_is_entered_by_a_decision_about_this_very_release() {
    let fixture = Fixture::new();
    let digest = fixture.publish("1.0.0");
    let error = fixture.promote("1.0.0", None).unwrap_err();
    assert!(matches!(error, ReleaseError::NoDecision { .. }), "{error}");
    for (says, change) in [
        (
            "it is about the release",
            (|v| v["subject"][0]["digest"]["sha256"] = "0".repeat(64).into()) as fn(&mut Value),
        ),
        ("it says `FAILED`", |v| v["predicate"]["verificationResult"] = "FAILED".into()),
        ("names no policy", |v| v["predicate"]["policy"] = Value::Null),
        ("names no data", |v| v["predicate"]["gate"]["sampleDigests"] = json!({})),
        ("no model and data", |v| v["predicate"]["gate"] = Value::Null),
        ("it judged the model", |v| v["predicate"]["gate"]["modelDigest"] = "b".repeat(64).into()),
        ("test data are not those", |v| v["predicate"]["gate"]["sampleDigests"]["test"] = "c".repeat(64).into()),
        ("field data are not those", |v| v["predicate"]["gate"]["sampleDigests"]["field"] = "c".repeat(64).into()),
        ("no spec or profile", |v| v["predicate"]["policy"]["digest"]["sha256"] = "a".repeat(64).into()),
        ("about another payload/model.onnx", |v| {
            let other = json!({"name": "payload/model.onnx", "digest": {"sha256": "e".repeat(64)}});
            v["subject"].as_array_mut().unwrap().push(other);
        }),
        ("release of its rollout", |v| v["predicate"]["decision"] = json!({"rollout": {"release": "0".repeat(64)}})),
        ("no verification summary", |v| v["predicateType"] = "https://slsa.dev/provenance/v1".into()),
    ] {
        let error = fixture.promote("1.0.0", Some(&fixture.decision(&digest, change))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::VerificationRefused);
        assert!(error.to_string().contains(says), "`{error}` does not say `{says}`");
    }
    let stranger = FileKey::create(&fixture.folder.path().join("stranger.pem")).unwrap();
    let good = fixture.decision(&digest, |_| {});
    let payload = Envelope::from_json(&good).unwrap().payload;
    let envelope = Envelope::sign(IN_TOTO, payload.as_bytes(), &[&stranger as &dyn KeySource]).unwrap();
    let error = fixture.promote("1.0.0", Some(&serde_json::to_vec(&envelope).unwrap())).unwrap_err();
    assert!(error.to_string().contains("0 of the 1 needed signatures"), "{error}");
    // A digest alone lets nobody in.
    let placement = Placement { decision_sha256: Some("d".repeat(64)), ..Placement::default() };
    let error = fixture.keeper().promote(&to_general("1.0.0", &placement), now()).unwrap_err();
    assert!(error.to_string().contains("is not in the repository"), "{error}");
    fixture.promote("1.0.0", Some(&good)).unwrap();
    fixture.passes();
    let actions = fixture.actions();
    assert_eq!(actions.first(), Some(&AuditAction::Publish));
    assert_eq!(actions.iter().filter(|a| **a == AuditAction::Refused).count(), 15);
    assert_eq!(actions.last(), Some(&AuditAction::Promote));
}

#[test]
fn more_devices_and_a_channel_that_goes_on_take_the_decision_that_let_the_release_in() {
    let fixture = Fixture::new();
    let digest = fixture.publish("1.0.0");
    let keeper = fixture.keeper();
    let sha256 = keeper.accept_decision("sleep-wake", "1.0.0", &fixture.decision(&digest, |_| {}), now()).unwrap();
    let share = |percent_bp| Placement { percent_bp, ..Placement::default() };
    let first = Placement { decision_sha256: Some(sha256.clone()), ..share(500) };
    keeper.promote(&to_general("1.0.0", &first), now()).unwrap();
    let grown = keeper.advance(GENERAL, &share(2_000), now()).unwrap().pointer;
    assert_eq!((grown.percent_bp, grown.decision_sha256.as_ref()), (2_000, Some(&sha256)));

    // Its decision is gone: fewer may have it, and it may be halted, but neither more nor again.
    let file = fixture.repository().join(format!("decisions/{sha256}.dsse.json"));
    let kept = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let refused = |result: Result<Published, ReleaseError>, says: &str| {
        let error = result.unwrap_err();
        assert!(error.to_string().contains(says), "`{error}` does not say `{says}`");
    };
    refused(keeper.advance(GENERAL, &share(5_000), now()), "is not in the repository");
    let options = VerifyOptions { now: Some(now()), ..Default::default() };
    let seen = verify_repository(&fixture.repository(), &options).unwrap();
    let step = seen.failure().unwrap();
    assert!(step.name == "decision" && step.detail.contains("is not in the repository"), "{step:?}");
    keeper.advance(GENERAL, &share(100), now()).unwrap();
    keeper.halt(GENERAL, "noise", None, now()).unwrap();
    refused(keeper.resume(GENERAL, None, now()), "is not in the repository");
    fs::write(&file, kept).unwrap();

    // Its content is not what it was: nobody is sent to it again.
    let blobs = fixture.repository().join("blobs/sha256");
    let model = blobs.join(sha256_hex(b"1.0.0"));
    fs::write(&model, "1.0.1").unwrap();
    refused(keeper.resume(GENERAL, None, now()), "other bytes than were signed");
    fs::write(&model, "1.0.0").unwrap();
    let resumed = keeper.resume(GENERAL, None, now()).unwrap().pointer;
    assert_eq!((resumed.percent_bp, resumed.decision_sha256), (100, Some(sha256)));
    refused(keeper.rollback(GENERAL, None, now()), "no release to fall back on");
    fixture.passes();
    assert_eq!(fixture.actions().iter().filter(|a| **a == AuditAction::Refused).count(), 4);
}

#[test]
fn a_release_that_is_refused_and_a_rule_that_is_set_aside_are_in_the_log() {
    let fixture = Fixture::new();
    fixture.publish("1.0.0");
    let keeper = fixture.keeper().acting(Actor { person: "anna".into(), reason: "the ward waits".into() });
    let mut input = support::input("1.1.0", b"1.1.0");
    input.trial = false;
    let built = build(&input, keeper.signing_key().unwrap(), &fixture.folder.path().join("out")).unwrap();
    fs::write(built.release_dir.join("model.onnx"), "other").unwrap();
    keeper.publish(&built.folder, &Placement::default(), now()).unwrap_err();
    keeper.note_override("1.0.0 goes on from stage 2 though evidence does not decide it", now()).unwrap();
    let log = audit_log(&fixture.repository(), Some(&fixture.root())).unwrap();
    let [refused, set_aside] = log.entries.last_chunk().unwrap();
    assert_eq!(refused.action, AuditAction::Refused);
    assert!(refused.meaning.contains("changed `model.onnx`"), "{}", refused.meaning);
    assert_eq!((set_aside.action, set_aside.person.as_str()), (AuditAction::Override, "anna"));
    assert_eq!(set_aside.reason, "the ward waits");
}

#[test]
fn every_key_can_be_replaced_and_clients_of_the_first_root_follow() {
    let fixture = Fixture::new();
    let digest = fixture.publish("1.0.0");
    fixture.promote("1.0.0", Some(&fixture.decision(&digest, |_| {}))).unwrap();
    for old in ["releases-ci", "beta-1", "general-1", "root-1", "targets-1", "snapshot", "timestamp"] {
        let new = fixture.new_key(&format!("{old}-b"));
        let roles = fixture.keeper().replace_key(old, Some(new), None, now()).unwrap();
        assert!(!roles.is_empty());
        fs::remove_file(fixture.keys().join(format!("{old}.pem"))).unwrap();
        fixture.passes();
    }
    let digest = fixture.publish("1.1.0");
    fixture.promote("1.1.0", Some(&fixture.decision(&digest, |_| {}))).unwrap();
    fixture.passes();
    let keys = status(&fixture.repository(), now()).unwrap().keys;
    let new = keys.iter().find(|k| k.name == "beta-1-b").unwrap();
    assert_eq!((new.holder.as_str(), new.roles.join(" ").as_str()), ("somebody new", "beta halt audit"));
    assert!(keys.iter().all(|k| k.name != "beta-1"));
    let revoked = fixture.keeper().replace_key("general-2", None, Some(GENERAL), now()).unwrap();
    assert_eq!(revoked, [GENERAL]);
    fixture.passes();
    // The revoked key and one other are no longer two of general's.
    fs::remove_file(fixture.keys().join("general-3.pem")).unwrap();
    let error = fixture.keeper().rollback(GENERAL, None, now()).unwrap_err();
    assert!(error.to_string().contains("`general` needs 2 of its keys to sign; 1 are at hand"), "{error}");
    assert_eq!(fixture.actions().iter().filter(|a| **a == AuditAction::RotateKey).count(), 7);
}

#[test]
fn one_key_is_not_two_peoples() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let read = |name: &str| NewKey::read(&keys.join(format!("{name}.pem")), "", &NoSecrets).unwrap();
    let replace = |old: &str, new: &str, role: Option<&str>| {
        fixture.keeper().replace_key(old, Some(read(new)), role, now()).map_err(|e| e.to_string())
    };
    let error = replace("general-1", "general-2", None).unwrap_err();
    assert!(error.contains("`general-2` cannot be another key of the repository: the role `"), "{error}");
    for (old, new) in [("general-1", "beta-1"), ("beta-1", "general-1")] {
        let error = replace(old, new, Some(if old == "beta-1" { BETA } else { GENERAL })).unwrap_err();
        assert!(error.contains("would speak for both beta and general"), "{error}");
    }
    // The same new key in one role after the other is one person's all the same.
    let new = fixture.new_key("beta-1-b");
    fixture.keeper().replace_key("beta-1", Some(new), Some(BETA), now()).unwrap();
    replace("beta-1", "beta-1-b", None).unwrap();
    fixture.passes();

    // Nor does a repository begin with such keys.
    let place = fixture.folder.path().join("other");
    fs::copy(keys.join("beta-2.pem"), keys.join("general-3.pem")).unwrap();
    let error = Repository::create_in(&place, &keys, false, &BTreeMap::new(), now()).unwrap_err();
    assert_eq!(error.to_string(), "`general-3` cannot be another key of the repository: it is that of `beta-2`");
    fs::remove_file(keys.join("general-3.pem")).unwrap();
    let people = BTreeMap::from([("general-4".to_owned(), "anna".to_owned())]);
    let error = Repository::create_in(&place, &keys, true, &people, now()).unwrap_err();
    assert_eq!(error.to_string(), "a repository has no key called `general-4`");
    assert!(!place.exists() && !keys.join("general-3.pem").exists());
}

#[test]
fn keys_are_not_drawn_for_a_repository_that_is_there_nor_where_nobody_asked() {
    let fixture = Fixture::new();
    let again =
        Repository::create_in(&fixture.repository(), &fixture.folder.path().join("k"), true, &BTreeMap::new(), now());
    assert!(again.unwrap_err().to_string().contains("there is a repository in"));
    let keys = fixture.folder.path().join("none");
    let elsewhere = fixture.folder.path().join("elsewhere");
    let error = Repository::create_in(&elsewhere, &keys, false, &BTreeMap::new(), now()).unwrap_err();
    assert!(error.to_string().contains("there is no key `beta-1`, `beta-2`, `general-1`"), "{error}");
    assert!(!keys.exists() && !elsewhere.exists());
}

#[test]
fn offline_keys_may_stay_away_where_their_public_halves_are() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    for name in ["root-3", "targets-3", "general-3", "beta-2"] {
        let key = FileKey::read(&keys.join(format!("{name}.pem"))).unwrap();
        fs::write(keys.join(format!("{name}.pub.pem")), key.public_key().pem()).unwrap();
        fs::remove_file(keys.join(format!("{name}.pem"))).unwrap();
    }
    let place = fixture.folder.path().join("other");
    let made = Repository::create_in(&place, &keys, false, &BTreeMap::new(), now()).unwrap();
    assert!(!made.is_trial());
    let root = status(&place, now()).unwrap().roles.into_iter().find(|r| r.role == "root").unwrap();
    assert_eq!((root.threshold, root.keys), (2, 3));
}

#[test]
fn a_log_that_was_changed_cut_short_or_reordered_is_refused() {
    let fixture = Fixture::new();
    fixture.publish("1.0.0");
    fixture.publish("1.1.0");
    fixture.keeper().halt(BETA, "smells", None, now()).unwrap();
    let file = fixture.repository().join("audit/000000.jsonl");
    let good = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    assert_eq!(lines.len(), 3);
    let log = audit_log(&fixture.repository(), None).unwrap();
    assert_eq!(log.entries[2].person, "release desk");
    assert!(log.entries[2].meaning.contains("smells"), "{:?}", log.entries[2]);
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    let other = lines[1].replace("release desk", "nobody");
    let last = lines[2].replace("smells", "is fine");
    for (says, text) in [
        ("cut short: 2 of 3 lines", joined(&lines[..2])),
        ("cut short: 0 of 3 lines", String::new()),
        ("does not follow the line before", joined(&[lines[0], &other, lines[2]])),
        ("not the line that the repository vouches for", joined(&[lines[0], lines[1], &last])),
        ("is not entry 1", joined(&[lines[0], lines[2], lines[1]])),
        ("is cut short", good.trim_end().to_owned()),
        ("line 3 of audit/000000.jsonl", joined(&[lines[0], lines[1], "{}"])),
    ] {
        fs::write(&file, text).unwrap();
        let error = audit_log(&fixture.repository(), None).unwrap_err();
        assert!(error.to_string().contains(says), "`{error}` does not say `{says}`");
        assert_eq!(error.kind(), ErrorKind::VerificationRefused);
    }
    fs::write(&file, joined(&lines[..2])).unwrap();
    let error = fixture.keeper().resume(BETA, None, now()).unwrap_err();
    assert!(error.to_string().contains("cut short"), "{error}");
    fs::write(&file, good).unwrap();
    fixture.keeper().resume(BETA, None, now()).unwrap();
    fixture.passes();
}

#[test]
fn a_log_of_many_files_holds() {
    let fixture = Fixture::new();
    fixture.publish("1.0.0");
    let full = fixture.repository().join("audit/000000.jsonl");
    let mut n = 0;
    while fs::read_to_string(&full).unwrap().lines().count() < 256 {
        n += 1;
        // A refusal is the shortest change there is.
        fixture.keeper().accept_decision("sleep-wake", "1.0.0", b"{}", now()).unwrap_err();
        assert!(n < 256);
    }
    assert!(!fixture.repository().join("audit/000001.jsonl").exists());
    fixture.keeper().halt(BETA, "x", None, now()).unwrap();
    fixture.keeper().resume(BETA, None, now()).unwrap();
    let log = audit_log(&fixture.repository(), None).unwrap();
    assert_eq!((log.entries.len(), log.unanchored), (258, 0));
    fixture.passes();
}

#[test]
fn lines_of_a_change_that_never_took_effect_are_said_to_be_such() {
    let fixture = Fixture::new();
    fixture.publish("1.0.0");
    // Everything but the timestamp, which is the last write: pointer, audit head, role files, snapshot, log.
    let mut recovered = false;
    for writes in 0..10 {
        let before = audit_log(&fixture.repository(), None).unwrap();
        let store = DyingStore { inner: FolderStore::new(fixture.repository()), left: writes.into() };
        let keys = plimsoll_trust::Keyring::of_folder(&fixture.keys(), &["beta-1", "snapshot", "timestamp"], false);
        let dying = Repository::with_store(Box::new(store), keys.unwrap()).unwrap();
        let done = dying.halt(BETA, &format!("try {writes}"), None, now());
        let log = audit_log(&fixture.repository(), None).unwrap();
        fixture.passes();
        match done {
            Ok(_) => break,
            Err(_) => assert_eq!(log.entries, before.entries),
        }
        if log.unanchored > 0 {
            fixture.keeper().halt(BETA, "after", None, now()).unwrap();
            let log = audit_log(&fixture.repository(), None).unwrap();
            let actions: Vec<_> = log.entries.iter().map(|e| e.action).collect();
            assert_eq!(actions[actions.len() - 2..], [AuditAction::Recovered, AuditAction::Halt]);
            assert_eq!(log.unanchored, 0);
            recovered = true;
        }
    }
    assert!(recovered, "no writer died between the log and the timestamp");
}

#[test]
fn a_clock_ten_years_off_is_a_clear_error_and_the_old_state() {
    const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 86_400);
    let fixture = Fixture::new();
    fixture.publish("1.0.0");
    let late = VerifyOptions { now: Some(now() + 10 * YEAR), ..Default::default() };
    let verification = verify_repository(&fixture.repository(), &late).unwrap();
    assert!(verification.failure().unwrap().detail.contains("expired at"), "{verification:#?}");
    // By a clock that is behind nothing expires, so that an old state could be held up for ever.
    let early = VerifyOptions { now: Some(now() - 10 * YEAR), ..Default::default() };
    let verification = verify_repository(&fixture.repository(), &early).unwrap();
    let failure = verification.failure().unwrap();
    assert!(failure.name == "expiry" && failure.detail.contains("the clock is behind"), "{failure:?}");
    // A publisher's clock: what it signed would be expired for everybody, or would outlive all who hold the keys.
    let timestamp = || fs::read(fixture.repository().join("metadata/timestamp.json")).unwrap();
    let before = timestamp();
    for off in [now() - 10 * YEAR, now() + 10 * YEAR] {
        for result in [fixture.keeper().halt(BETA, "x", None, off).map(drop), fixture.keeper().refresh(off)] {
            let error = result.unwrap_err();
            assert!(error.to_string().contains("the clock says 20"), "{error}");
            assert_eq!(error.help().as_deref(), Some("set the clock"));
        }
    }
    assert_eq!(timestamp(), before);
    fixture.passes();
}
