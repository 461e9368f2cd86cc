//! Power is lost at any point of a publish: what lasts is a repository that clients read, and the next publish finishes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use plimsoll_record::Verdict;
use plimsoll_release::{Placement, ROLES, Repository, VerifyOptions, build, status, verify_repository};
use plimsoll_trust::{Keyring, tuf::FolderStore};

#[path = "../../trust/tests/support/copied.rs"]
mod copied;
#[path = "../../trust/tests/support/forgetful.rs"]
mod forgetful;
mod support;

use copied::copy_tree;
use forgetful::ForgetfulDisk;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

/// A repository with one release in beta, and a second one to be published.
struct Fixture {
    folder: tempfile::TempDir,
    second: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let keeper = Repository::open_or_create_trial(&place("repository"), &place("trial"), now()).unwrap();
        let built = |version: &str| {
            let input = support::input(version, version.as_bytes());
            build(&input, keeper.signing_key().unwrap(), &place("out")).unwrap().folder
        };
        keeper.publish(&built("1.0.0"), &Placement::default(), now()).unwrap();
        let second = built("1.1.0");
        Self { folder, second }
    }

    /// A client that saw the first release; it remembers.
    fn passes(&self, repository: &Path, memory: &Path) {
        let root = fs::read(self.folder.path().join("repository/metadata/1.root.json")).unwrap();
        let options = VerifyOptions {
            trusted_root: Some(root),
            memory: Some(memory.into()),
            now: Some(now()),
            ..VerifyOptions::default()
        };
        let verification = verify_repository(repository, &options).unwrap();
        assert_eq!(verification.verdict, Verdict::Pass, "{verification:#?}");
    }

    fn keeper(&self, repository: &Path, disk: Arc<ForgetfulDisk>) -> Repository {
        let mut names: Vec<&str> = ROLES.iter().flat_map(|r| r.keys).copied().collect();
        names.push("signing");
        let keys = Keyring::of_folder(&self.folder.path().join("trial"), &names, false).unwrap();
        Repository::with_store(Box::new(FolderStore::on(repository, disk)), keys).unwrap()
    }

    /// Publishes, and loses power after so many calls to the file system. Whether it came to its end.
    fn cut(&self, after: usize, names_last: bool) -> bool {
        let scratch = tempfile::tempdir().unwrap();
        let [repository, memory] = ["repository", "memory"].map(|n| scratch.path().join(n));
        copy_tree(&self.folder.path().join("repository"), &repository);
        self.passes(&repository, &memory);
        let disk = Arc::new(ForgetfulDisk::default());
        let keeper = self.keeper(&repository, Arc::clone(&disk));
        disk.lose_power_after(Some(after));
        let ended = keeper.publish(&self.second, &Placement::default(), now()).is_ok();
        drop(keeper);
        if names_last {
            disk.forget_bytes()
        } else {
            disk.forget()
        }

        self.passes(&repository, &memory);
        let beta = || status(&repository, now()).unwrap().channels.remove(0).pointer.unwrap().target.version;
        assert!(!ended || beta() == "1.1.0", "what was said to be published is gone after {after} calls");
        // The next publish finishes what was begun.
        let keeper = self.keeper(&repository, disk);
        keeper.publish(&self.second, &Placement::default(), now()).unwrap();
        self.passes(&repository, &memory);
        assert_eq!(beta(), "1.1.0");
        ended
    }
}

#[test]
fn a_power_cut_at_any_write_of_a_publish_leaves_a_repository_that_clients_read() {
    let fixture = Fixture::new();
    let cuts = (0..2_000).take_while(|after| !fixture.cut(*after, false)).count();
    assert!(cuts > 50, "a publish is over after {cuts} calls: nothing was cut");
}

#[test]
fn names_that_lasted_without_their_bytes_are_never_believed() {
    let fixture = Fixture::new();
    // A file system may keep a name that was not synced, or lose it: here it keeps all.
    let cuts = (0..2_000).step_by(3).take_while(|after| !fixture.cut(*after, true)).count();
    assert!(cuts > 15, "a publish is over after {cuts} tries: nothing was cut");
}
