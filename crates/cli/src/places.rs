//! Where things are unless somebody says otherwise: one folder holds keys, releases and repositories.
//!
//! ```text
//! .plimsoll/trial/                  keys, made on first use
//! .plimsoll/releases/NAME-VERSION/  release folders
//! .plimsoll/cache/                  what searches found out; may be deleted
//! .plimsoll/repository/NAME/        one repository a model, with its channels
//! .plimsoll/rollout/NAME/           its telemetry, its frozen policy and its decisions
//! ```

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{failure::Failure, manual::Code};

/// The folder that holds everything.
pub(crate) struct Home(PathBuf);

impl Home {
    /// The folder given, or `.plimsoll` here.
    pub(crate) fn new(folder: Option<&Path>) -> Self {
        Self(folder.map_or_else(|| PathBuf::from(".plimsoll"), Path::to_owned))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn trial_keys(&self) -> PathBuf {
        self.0.join("trial")
    }

    pub(crate) fn releases(&self) -> PathBuf {
        self.0.join("releases")
    }

    /// What searches found out.
    pub(crate) fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        self.0.join("repository").join(name)
    }

    /// The repository of a name; without one, the only repository there is.
    pub(crate) fn find_repository(&self, name: Option<&str>) -> Result<PathBuf, Failure> {
        if let Some(name) = name {
            return Ok(self.repository(name));
        }
        let all = self.0.join("repository");
        let entries = fs::read_dir(&all).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        match names.as_slice() {
            [only] => Ok(self.repository(only)),
            [] => Err(Failure::new(Code::NoRepository, format!("there is no repository in {}", all.display()))
                .help("`plimsoll release` makes the first release and its repository")),
            several => Err(Failure::new(
                Code::NoRepository,
                format!("there are several repositories in {}: {}", all.display(), several.join(", ")),
            )
            .help("say which with --name, or give its folder with --repository")),
        }
    }
}

/// The trial keys that go with a repository in a [`Home`].
pub(crate) fn keys_of(repository: &Path) -> PathBuf {
    // Of the canonical path, as `.` and links have no parent to go by.
    let whole = repository.canonicalize().unwrap_or_else(|_| repository.to_owned());
    whole.ancestors().nth(2).unwrap_or(Path::new(".")).join("trial")
}

/// The folder of the rollout that goes with a repository in a [`Home`].
#[cfg(feature = "rollout")]
pub(crate) fn rollout_of(repository: &Path) -> PathBuf {
    if plimsoll_trust::is_address(repository) {
        let name = repository.file_name().unwrap_or_default();
        return Home::new(None).folder().join("rollout").join(name);
    }
    let whole = repository.canonicalize().unwrap_or_else(|_| repository.to_owned());
    let home = whole.ancestors().nth(2).unwrap_or(Path::new(".")).to_owned();
    home.join("rollout").join(whole.file_name().unwrap_or_default())
}

/// The spec given, `plimsoll.toml` here, or the one that is shipped.
pub(crate) fn spec(given: Option<&Path>) -> Result<PathBuf, Failure> {
    const HERE: &str = "plimsoll.toml";
    const SHIPPED: &str = "fixtures/sleep-wake/plimsoll.toml";
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    if Path::new(HERE).is_file() {
        return Ok(HERE.into());
    }
    // `cargo xtask` says where the repository is.
    let root = env::var_os("PLIMSOLL_ROOT").map(PathBuf::from).unwrap_or_default();
    let shipped = root.join(SHIPPED);
    if !shipped.is_file() {
        return Err(Failure::new(Code::BadConfig, "there is no plimsoll.toml here")
            .help("name a release spec; `plimsoll init MODEL --data X.npz` drafts one"));
    }
    // As seen from here, so that no report names folders of this machine.
    let here = env::current_dir().unwrap_or_default();
    Ok(shipped.strip_prefix(&here).map(Path::to_owned).unwrap_or(shipped))
}
