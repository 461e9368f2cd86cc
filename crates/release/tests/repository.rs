//! Channels: what moves them, and what must not.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use plimsoll_record::{PointerState, Verdict};
use plimsoll_release::{
    BETA, ErrorKind, GENERAL, Placement, ROLES, ReleaseError, Repository, VerifyOptions, build, fetch, status, verify,
};
use plimsoll_trust::tuf::{Editor, FolderStore};

#[path = "../../trust/tests/support/copied.rs"]
mod copied;
#[path = "support/dying.rs"]
mod dying;
mod support;
#[path = "support/trial.rs"]
mod trial;

use dying::DyingStore;
use trial::{Fixture, check, passes, promotion, refused, start};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_release_goes_from_beta_to_general_and_the_next_one_falls_back_on_it() {
    let fixture = Fixture::new();
    passes(&fixture);
    let first = fixture.publish("1.0.0").unwrap();
    assert_eq!((first.pointer.epoch, first.moved, first.pointer.previous.clone()), (1, true, None));
    let general = fixture.promote("1.0.0").unwrap();
    assert_eq!((general.pointer.epoch, &general.pointer.target), (1, &first.pointer.target));
    let second = fixture.publish("1.1.0").unwrap();
    assert_eq!((second.pointer.epoch, second.pointer.previous.as_ref()), (2, Some(&first.pointer.target)));
    assert_ne!(second.pointer.salt, first.pointer.salt);
    let steps = passes(&fixture).steps;
    // Both releases: the one in beta, and the one in general that beta falls back on.
    assert_eq!(steps.iter().filter(|s| s.name.starts_with("signature (")).count(), 2);
    let seen = status(fixture.keeper.folder(), start()).unwrap();
    let at: Vec<_> = seen.channels.iter().map(|c| c.pointer.as_ref().map(|p| p.target.version.as_str())).collect();
    assert_eq!((at, seen.releases.len(), seen.trial), (vec![Some("1.1.0"), Some("1.0.0")], 2, true));
}

#[test]
fn publishing_again_moves_nothing_and_renews_signatures() {
    let fixture = Fixture::with_beta();
    let again = fixture.publish("1.0.0").unwrap();
    assert_eq!((again.moved, again.pointer.epoch), (false, 1));
    let late = start() + 20 * DAY;
    refused(&check(fixture.keeper.folder(), |o| o.now = Some(late)), "expiry", "`timestamp` expired");
    fixture.keeper.refresh(late).unwrap();
    let verification = check(fixture.keeper.folder(), |o| o.now = Some(late));
    assert_eq!(verification.verdict, Verdict::Pass, "{verification:#?}");
}

#[test]
fn one_key_halts_and_two_go_on() {
    let fixture = Fixture::with_beta();
    fixture.promote("1.0.0").unwrap();
    fixture.publish("1.1.0").unwrap();
    fixture.promote("1.1.0").unwrap();
    let mut ring = fixture.ring();
    for name in ROLES.iter().flat_map(|r| r.keys).chain(&["signing"]) {
        if !["beta-1", "snapshot", "timestamp"].contains(name) {
            ring.remove(name);
        }
    }
    let one = Repository::with_store(Box::new(FolderStore::new(fixture.keeper.folder())), ring).unwrap();
    let halted = one.halt(GENERAL, "crashes at night", None, start()).unwrap();
    assert_eq!((halted.moved, halted.pointer.state, halted.pointer.epoch), (true, PointerState::Halted, 2));
    assert_eq!(halted.pointer.previous.as_ref().unwrap().version, "1.0.0");
    assert_eq!(one.pointer(GENERAL).unwrap().unwrap().state, PointerState::Halted);
    assert_eq!(one.pointer(BETA).unwrap().unwrap().state, PointerState::Active);
    let error = one.resume(GENERAL, None, start()).unwrap_err();
    assert!(error.to_string().contains("`general` needs 2 of its keys"), "{error}");
    let error = fixture.keeper.advance(GENERAL, &Placement::default(), start()).unwrap_err();
    assert!(matches!(error, ReleaseError::Halted { .. }), "{error}");
    assert!(matches!(fixture.promote("1.1.0"), Err(ReleaseError::Halted { .. })));
    let seen = passes(&fixture);
    assert!(seen.steps.iter().any(|s| s.detail.contains("halted")), "{seen:#?}");
    let resumed = fixture.keeper.resume(GENERAL, None, start()).unwrap();
    assert_eq!((resumed.pointer.state, resumed.pointer.epoch), (PointerState::Active, 3));
    assert_eq!(one.pointer(GENERAL).unwrap().unwrap(), resumed.pointer);
    passes(&fixture);
}

#[test]
fn going_back_is_a_higher_epoch_and_a_halted_release_is_nobodys_fallback() {
    let fixture = Fixture::with_beta();
    assert!(matches!(fixture.keeper.halt(GENERAL, "x", None, start()), Err(ReleaseError::AtNothing { .. })));
    fixture.promote("1.0.0").unwrap();
    assert!(matches!(fixture.keeper.rollback(GENERAL, None, start()), Err(ReleaseError::NoFallback { .. })));
    fixture.publish("1.1.0").unwrap();
    let share = Placement { percent_bp: 100, ..Placement::default() };
    fixture.keeper.promote(&promotion("1.1.0", GENERAL, &share), start()).unwrap();
    let wider = Placement { percent_bp: 2_000, ..Placement::default() };
    let advanced = fixture.keeper.advance(GENERAL, &wider, start()).unwrap();
    assert_eq!((advanced.pointer.epoch, advanced.pointer.percent_bp), (3, 2_000));
    fixture.keeper.halt(GENERAL, "x", None, start()).unwrap();
    fixture.publish("1.2.0").unwrap();
    let next = fixture.promote("1.2.0").unwrap();
    assert_eq!(next.pointer.previous.as_ref().unwrap().version, "1.0.0");
    let back = fixture.keeper.rollback(GENERAL, None, start()).unwrap();
    assert_eq!((back.pointer.epoch, back.pointer.target.version.as_str()), (5, "1.0.0"));
    assert_eq!((back.pointer.previous, back.pointer.percent_bp), (None, 10_000));
    passes(&fixture);
}

#[test]
fn only_what_is_in_beta_goes_to_general() {
    let fixture = Fixture::with_beta();
    fixture.publish("1.1.0").unwrap();
    for version in ["1.0.0", "9.9.9"] {
        let error = fixture.promote(version).unwrap_err();
        assert!(matches!(error, ReleaseError::NotInBeta { .. }), "{error}");
    }
    let nowhere = fixture.keeper.promote(&promotion("1.1.0", "halt", &Placement::default()), start());
    assert!(matches!(nowhere, Err(ReleaseError::Name { what: "channel", .. })));
    assert!(matches!(Fixture::new().promote("1.0.0"), Err(ReleaseError::NotInBeta { at: None, .. })));
}

#[test]
fn a_version_keeps_its_content_and_a_channel_its_model() {
    let fixture = Fixture::with_beta();
    fs::remove_dir_all(fixture.folder.path().join("out")).unwrap();
    let other = fixture.build("1.0.0", b"other content");
    let error = fixture.keeper.publish(&other.folder, &Placement::default(), start()).unwrap_err();
    assert!(matches!(error, ReleaseError::Taken { .. }), "{error}");
    let mut input = support::input("1.0.0", b"digits");
    input.name = "digits".into();
    let key = fixture.keeper.signing_key().unwrap();
    let digits = build(&input, key, &fixture.folder.path().join("out")).unwrap();
    let error = fixture.keeper.publish(&digits.folder, &Placement::default(), start()).unwrap_err();
    assert!(matches!(error, ReleaseError::OtherModel { .. }), "{error}");
    let nowhere = std::path::PathBuf::new();
    assert_eq!(fixture.keeper.free_version("sleep-wake", "1.0.0", &nowhere).unwrap(), "1.0.0+trial.2");
    assert_eq!(fixture.keeper.free_version("sleep-wake", "1.0.1", &nowhere).unwrap(), "1.0.1");
    fixture.publish("1.0.0+trial.2").unwrap();
    assert_eq!(fixture.keeper.free_version("sleep-wake", "1.0.0", &nowhere).unwrap(), "1.0.0+trial.3");
    passes(&fixture);
}

#[test]
fn what_does_not_verify_is_not_published() {
    let fixture = Fixture::new();
    let built = fixture.build("1.0.0", b"model");
    fs::write(built.release_dir.join("model.onnx"), "other").unwrap();
    let error = fixture.keeper.publish(&built.folder, &Placement::default(), start()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::VerificationRefused, "{error}");
    assert!(error.to_string().contains("changed `model.onnx`"), "{error}");
    let mut input = support::input("1.0.1", b"model");
    input.trial = false;
    let key = fixture.keeper.signing_key().unwrap();
    let built = build(&input, key, &fixture.folder.path().join("out")).unwrap();
    let error = fixture.keeper.publish(&built.folder, &Placement::default(), start()).unwrap_err();
    assert!(matches!(error, ReleaseError::Inconsistent(_)), "{error}");
    let share = Placement { percent_bp: 10_001, ..Placement::default() };
    let built = fixture.build("1.0.2", b"model");
    assert!(matches!(fixture.keeper.publish(&built.folder, &share, start()), Err(ReleaseError::Inconsistent(_))));
    assert_eq!(status(fixture.keeper.folder(), start()).unwrap().releases, []);
}

#[test]
fn general_signed_by_too_few_keys_changes_nothing() {
    let fixture = Fixture::with_beta();
    let mut ring = fixture.ring();
    ["general-1", "general-2"].iter().for_each(|n| ring.remove(n));
    let keeper = Repository::with_store(Box::new(FolderStore::new(fixture.keeper.folder())), ring).unwrap();
    let error = keeper.promote(&promotion("1.0.0", GENERAL, &Placement::default()), start()).unwrap_err();
    assert!(error.to_string().contains("`general` needs 2 of its keys"), "{error}");
    let seen = status(fixture.keeper.folder(), start()).unwrap();
    assert_eq!(seen.channels[1].pointer, None);
    passes(&fixture);
}

#[test]
fn a_client_that_reads_all_the_while_never_sees_an_invalid_repository() {
    let fixture = Fixture::with_beta();
    let versions: Vec<String> = (1..=8).map(|n| format!("1.{n}.0")).collect();
    let folder = fixture.keeper.folder().to_owned();
    let done = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            loop {
                let last = done.load(Ordering::SeqCst);
                let verification = check(&folder, |_| {});
                assert_eq!(verification.verdict, Verdict::Pass, "{verification:#?}");
                reads += 1;
                if last {
                    return reads;
                }
            }
        });
        for version in &versions {
            fixture.publish(version).unwrap();
            fixture.promote(version).unwrap();
        }
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap()
    });
    assert!(reads > 1, "the reader was too slow to see anything");
}

#[test]
fn what_is_fetched_is_what_was_published() {
    let fixture = Fixture::with_beta();
    let got = fixture.folder.path().join("got");
    let fetched = fetch(fixture.keeper.folder(), None, "sleep-wake", "1.0.0", &got, start()).unwrap();
    let verification = verify(&fetched, &VerifyOptions::default()).unwrap();
    assert_eq!(verification.verdict, Verdict::Pass, "{verification:#?}");
    let model = fs::read(fetched.join("payload/model.onnx")).unwrap();
    assert_eq!(model, b"1.0.0");
    let again = fetch(fixture.keeper.folder(), None, "sleep-wake", "1.0.0", &got, start()).unwrap_err();
    assert!(matches!(again, ReleaseError::Taken { .. }), "{again}");
    let absent = fetch(fixture.keeper.folder(), None, "sleep-wake", "1.0.1", &got, start()).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound, "{absent}");
    let late = fetch(fixture.keeper.folder(), None, "sleep-wake", "1.0.0", &got, start() + 2 * DAY).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::VerificationRefused, "{late}");
}

#[test]
fn two_writers_exclude_each_other_and_the_second_learns_who_it_was() {
    let fixture = Fixture::with_beta();
    let store = FolderStore::new(fixture.keeper.folder());
    let held = Editor::open(&store, ROLES).unwrap();
    let error = fixture.publish("1.1.0").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert_eq!(fixture.promote("1.0.0").unwrap_err().kind(), ErrorKind::Busy);
    drop(held);
    fixture.publish("1.1.0").unwrap();
}

#[test]
fn keys_are_private_made_once_and_never_for_a_repository_that_is_there() {
    let fixture = Fixture::with_beta();
    #[cfg(unix)]
    for entry in fs::read_dir(fixture.keys()).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let path = entry.unwrap().path();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    let open = || Repository::open_or_create_trial(fixture.keeper.folder(), &fixture.keys(), start());
    assert!(!open().unwrap().is_new());
    fs::remove_file(fixture.keys().join("beta-1.pem")).unwrap();
    // Nobody need have them all.
    assert!(!open().unwrap().is_new());
    assert!(!fixture.keys().join("beta-1.pem").exists());
    let nowhere = Repository::open(&fixture.folder.path().join("no"), &fixture.keys()).unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound, "{nowhere}");
}

#[test]
fn a_folder_that_cannot_be_written_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for (repository, keys) in
        [(file.join("repository"), folder.path().join("k")), (folder.path().join("r"), file.join("k"))]
    {
        let error = Repository::open_or_create_trial(&repository, &keys, start()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.help().is_some());
    }
}

#[test]
fn a_publisher_that_dies_leaves_a_valid_repository_and_the_next_one_repairs() {
    let mut completed = false;
    for writes in 0..40 {
        let fixture = Fixture::with_beta();
        let next = fixture.build("1.1.0", b"next");
        let store = DyingStore { inner: FolderStore::new(fixture.keeper.folder()), left: writes.into() };
        let dying = Repository::with_store(Box::new(store), fixture.ring()).unwrap();
        match dying.publish(&next.folder, &Placement::default(), start()) {
            Ok(_) => completed = true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Io, "{error}");
                passes(&fixture);
                let at = status(fixture.keeper.folder(), start()).unwrap().channels[0].pointer.clone().unwrap();
                assert_eq!(at.target.version, "1.0.0", "after {writes} writes");
                fixture.keeper.publish(&next.folder, &Placement::default(), start()).unwrap();
            }
        }
        let at = status(fixture.keeper.folder(), start()).unwrap().channels[0].pointer.clone().unwrap();
        assert_eq!((at.target.version.as_str(), at.epoch), ("1.1.0", 2));
        passes(&fixture);
        if completed {
            return;
        }
    }
    panic!("no number of writes was enough");
}
