//! A disk that is full, a file system that is read-only, and a limit on the length of files, for real: a clear error, the old state, and
//! the next try goes through. Mounting takes root; without it that part is not judged, and says so.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use plimsoll_record::Verdict;
use plimsoll_release::{
    ErrorKind, Placement, ReleaseError, Repository, VerifyOptions, build, status, verify_repository,
};

mod support;

const FOLDER: &str = "PLIMSOLL_LIMITED_PUBLISHER";

/// A file system of one megabyte in memory, as long as it is not dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|m| m.status.success()).then(|| Self(at.into()))
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }

    /// Fills it up to some free bytes.
    fn fill(&self, free: u64) {
        let filler = self.0.join("filler");
        let mut bytes = 1 << 20;
        // Pages and names take room too: what fits is found by trying.
        while bytes > 0 && fs::write(&filler, vec![0; bytes]).is_err() {
            bytes = bytes.saturating_sub(4_096);
        }
        fs::File::options().write(true).open(&filler).unwrap().set_len((bytes as u64).saturating_sub(free)).unwrap();
    }

    fn clear(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn passes(repository: &Path, version: &str) {
    let options = VerifyOptions { now: Some(SystemTime::now()), ..VerifyOptions::default() };
    let verification = verify_repository(repository, &options).unwrap();
    assert_eq!(verification.verdict, Verdict::Pass, "{verification:#?}");
    let beta = status(repository, SystemTime::now()).unwrap().channels.remove(0).pointer.unwrap();
    assert_eq!(beta.target.version, version);
}

/// An error of the file system's, in words that name the place and the remedy.
fn told(error: &ReleaseError, says: &str, help: &str) {
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let text = format!("{error}: {:?}", std::error::Error::source(error).map(ToString::to_string));
    assert!(text.contains(says), "`{text}` does not say `{says}`");
    assert!(error.help().unwrap().contains(help), "{:?}", error.help());
}

#[expect(clippy::print_stderr, reason = "captured unless asked for, as every test's output is")]
fn not_judged() {
    eprintln!("NOT JUDGED: mounting is not permitted here");
}

#[test]
fn a_full_disk_and_a_read_only_one_are_clear_errors_and_leave_the_old_state() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let Some(small) = Small::mount(&place("small")) else {
        return not_judged();
    };
    let repository = small.0.join("repository");
    let keeper = Repository::open_or_create_trial(&repository, &place("keys"), SystemTime::now()).unwrap();
    let make = |version: &str, out: &Path| {
        build(&support::input(version, version.as_bytes()), keeper.signing_key().unwrap(), out)
    };
    let publish = |release: &Path| keeper.publish(release, &Placement::default(), SystemTime::now());
    publish(&make("1.0.0", &place("out")).unwrap().folder).unwrap();
    let [next, last] = ["1.1.0", "1.2.0"].map(|version| make(version, &place("out")).unwrap().folder);

    let (mut refused, mut fitted) = (0, false);
    for free in [0, 8_192, 24_576, 40_960, 65_536] {
        small.fill(free);
        match publish(&next) {
            Ok(_) => fitted = true,
            Err(error) => told(&error, "No space left", "make room"),
        }
        small.clear();
        if fitted {
            break;
        }
        refused += 1;
        passes(&repository, "1.0.0");
    }
    assert!(refused >= 2, "the disk was full {refused} times alone");
    publish(&next).unwrap();
    passes(&repository, "1.1.0");

    small.fill(8_192);
    let out = small.0.join("out");
    told(&make("2.0.0", &out).unwrap_err(), "No space left", "room");
    let left: Vec<_> = fs::read_dir(&out).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "half a release is left: {left:?}");
    small.clear();

    small.remount("ro");
    told(&publish(&last).unwrap_err(), "Read-only", "may be written");
    told(&make("2.0.0", &out).unwrap_err(), "Read-only", "may be written");
    passes(&repository, "1.1.0");
    small.remount("rw");

    publish(&last).unwrap();
    passes(&repository, "1.2.0");
    make("2.0.0", &out).unwrap();
}

/// Publishes under a limit on the length of files: says what came of it.
#[test]
#[ignore = "a process of the test below"]
fn limited_publisher() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let keeper = Repository::open(&folder.join("repository"), &folder.join("keys")).unwrap();
    let release = folder.join("out/sleep-wake-1.1.0");
    let error = keeper.publish(&release, &Placement::default(), SystemTime::now()).unwrap_err();
    told(&error, "too large", "may be written");
}

#[test]
fn a_limit_on_the_length_of_files_is_a_clear_error_and_leaves_the_old_state() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let keeper = Repository::open_or_create_trial(&place("repository"), &place("keys"), SystemTime::now()).unwrap();
    let make = |version: &str| {
        build(&support::input(version, version.as_bytes()), keeper.signing_key().unwrap(), &place("out"))
            .unwrap()
            .folder
    };
    keeper.publish(&make("1.0.0"), &Placement::default(), SystemTime::now()).unwrap();
    let next = make("1.1.0");
    // Metadata are longer than that, and so are reports: the shell counts in 512 or 1,024 bytes. The signal would end the process.
    let limited = "trap '' XFSZ; ulimit -f 2; exec \"$0\" --exact limited_publisher --ignored";
    let ended = Command::new("sh")
        .args(["-c", limited])
        .arg(env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    passes(&place("repository"), "1.0.0");
    keeper.publish(&next, &Placement::default(), SystemTime::now()).unwrap();
    passes(&place("repository"), "1.1.0");
}
