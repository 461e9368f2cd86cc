//! Publishers that are killed at random points, under a client that syncs all the while. `PLIMSOLL_KILLS=200` is the long form.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use plimsoll_record::Verdict;
use plimsoll_release::{Placement, Repository, VerifyOptions, build, verify_repository};

mod support;

const FOLDER: &str = "PLIMSOLL_KILLED_PUBLISHER";

/// What is killed: publishes one release after the other, for as long as it may.
#[test]
#[ignore = "a process of the test below"]
fn publisher() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let keeper = Repository::open(&folder.join("repository"), &folder.join("trial")).unwrap();
    let out = folder.join(format!("out-{}", std::process::id()));
    for n in 0.. {
        let version = format!("1.{}.{n}", std::process::id());
        let built = build(&support::input(&version, version.as_bytes()), keeper.signing_key().unwrap(), &out).unwrap();
        keeper.publish(&built.folder, &Placement::default(), SystemTime::now()).unwrap();
        fs::remove_dir_all(built.folder).unwrap();
    }
}

fn sync(folder: &Path) {
    let options =
        VerifyOptions { memory: Some(folder.join("memory")), now: Some(SystemTime::now()), ..VerifyOptions::default() };
    let verification = verify_repository(&folder.join("repository"), &options).unwrap();
    assert_eq!(verification.verdict, Verdict::Pass, "{verification:#?}");
}

#[test]
fn a_client_never_sees_an_invalid_repository_whenever_its_publisher_is_killed() {
    let kills: u64 = env::var("PLIMSOLL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [repository, keys] = ["repository", "trial"].map(|n| folder.join(n));
    Repository::open_or_create_trial(&repository, &keys, SystemTime::now()).unwrap();
    let (done, syncs) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                sync(folder);
                syncs.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut state: u64 = 42;
        for _ in 0..kills {
            let mut publisher = Command::new(env::current_exe().unwrap())
                .args(["--exact", "publisher", "--ignored"])
                .env(FOLDER, folder)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Some get far, some hardly begin.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            thread::sleep(Duration::from_micros((state >> 33) % 300_000));
            publisher.kill().unwrap();
            publisher.wait().unwrap();
        }
        // The next publish goes on from whatever the last one left.
        let keeper = Repository::open(&repository, &keys).unwrap();
        let built =
            build(&support::input("2.0.0", b"last"), keeper.signing_key().unwrap(), &folder.join("out")).unwrap();
        keeper.publish(&built.folder, &Placement::default(), SystemTime::now()).unwrap();
        done.store(true, Ordering::SeqCst);
    });
    sync(folder);
    assert!(syncs.load(Ordering::SeqCst) > 0, "the client was too slow to see anything");
    let status = plimsoll_release::status(&repository, SystemTime::now()).unwrap();
    assert_eq!(status.channels[0].pointer.as_ref().unwrap().target.version, "2.0.0");
    assert!(status.releases.len() > 1, "no publisher got anywhere before it was killed");
}
