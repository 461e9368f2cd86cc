//! A trial repository, and what a verifier says of it.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use plimsoll_record::{Verdict, Verification};
use plimsoll_release::{
    Built, GENERAL, Placement, Promotion, Published, ROLES, ReleaseError, Repository, VerifyOptions, build, verify,
};
use plimsoll_trust::Keyring;

use super::{copied::copy_tree, support::input};

pub(crate) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) keeper: Repository,
}

impl Fixture {
    /// A repository with no release.
    pub(crate) fn new() -> Self {
        // Drawn and signed once a process.
        static FIRST: OnceLock<tempfile::TempDir> = OnceLock::new();
        let first = FIRST.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let [repository, keys] = ["repository", "trial"].map(|n| folder.path().join(n));
            let keeper = Repository::open_or_create_trial(&repository, &keys, start()).unwrap();
            assert!(keeper.is_new() && keeper.is_trial());
            folder
        });
        let folder = tempfile::tempdir().unwrap();
        copy_tree(first.path(), folder.path());
        let [repository, keys] = ["repository", "trial"].map(|n| folder.path().join(n));
        let keeper = Repository::open_or_create_trial(&repository, &keys, start()).unwrap();
        Self { folder, keeper }
    }

    /// A repository with a release in beta.
    pub(crate) fn with_beta() -> Self {
        let this = Self::new();
        this.publish("1.0.0").unwrap();
        this
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.path().join("trial")
    }

    pub(crate) fn ring(&self) -> Keyring {
        let mut names: Vec<&str> = ROLES.iter().flat_map(|r| r.keys).copied().collect();
        names.push("signing");
        Keyring::of_folder(&self.keys(), &names, false).unwrap()
    }

    pub(crate) fn build(&self, version: &str, model: &[u8]) -> Built {
        let key = self.keeper.signing_key().unwrap();
        build(&input(version, model), key, &self.folder.path().join("out")).unwrap()
    }

    pub(crate) fn publish(&self, version: &str) -> Result<Published, ReleaseError> {
        let built = self.build(version, version.as_bytes());
        self.keeper.publish(&built.folder, &Placement::default(), start())
    }

    pub(crate) fn promote(&self, version: &str) -> Result<Published, ReleaseError> {
        self.keeper.promote(&promotion(version, GENERAL, &Placement::default()), start())
    }
}

/// From beta into a channel.
pub(crate) fn promotion<'p>(version: &'p str, channel: &'p str, placement: &'p Placement) -> Promotion<'p> {
    Promotion { name: "sleep-wake", version, channel, placement }
}

/// Verifies a repository: the one place that does.
pub(crate) fn check(folder: &Path, change: impl Fn(&mut VerifyOptions)) -> Verification {
    let mut options = VerifyOptions { now: Some(start()), ..Default::default() };
    change(&mut options);
    verify(folder, &options).unwrap()
}

#[track_caller]
pub(crate) fn passes(fixture: &Fixture) -> Verification {
    let verification = check(fixture.keeper.folder(), |_| {});
    assert_eq!(verification.verdict, Verdict::Pass, "{verification:#?}");
    verification
}

#[track_caller]
pub(crate) fn refused(verification: &Verification, step: &str, says: &str) {
    assert_eq!(verification.verdict, Verdict::Fail, "{verification:#?}");
    let failure = verification.failure().unwrap();
    assert_eq!(failure.name, step, "{failure:?}");
    assert!(failure.detail.contains(says), "`{}` does not say `{says}`", failure.detail);
}
