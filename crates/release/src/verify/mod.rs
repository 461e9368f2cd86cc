//! Proof, step by step: what was checked, in order, with which key; the first thing that did not hold ends it.

mod demands;
mod folder;
mod repository;
mod steps;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

use plimsoll_record::Verification;
use plimsoll_trust::PublicKey;

pub use demands::{Demand, Rule};
pub use folder::verify_release;
pub use repository::verify_repository;

use crate::{PAYLOAD, RECORD, ReleaseError, SIGNATURE};

/// What is demanded.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Key that a release must be signed with; `None` for the one beside it, which proves less.
    pub public_key: Option<PublicKey>,
    /// Root metadata that the caller trusts; `None` for the repository's own first root, which proves less.
    pub trusted_root: Option<Vec<u8>>,
    /// Verify as a production client does: trials are refused, and so is a key or root that comes with what it is to prove.
    pub production: bool,
    /// Folder that remembers what was seen of a repository: older states than that are refused, and so are smaller epochs.
    pub memory: Option<PathBuf>,
    /// Epochs that were seen before, by channel: smaller ones are refused.
    pub seen_epochs: BTreeMap<String, u64>,
    /// What must be shown besides, in order.
    pub demands: Vec<Demand>,
    /// The time that expiry is judged by; `None` leaves repositories unjudged, and says so.
    pub now: Option<SystemTime>,
}

/// Verifies whatever lies in a folder: a repository, a release, or a release's payload.
pub fn verify(folder: &Path, options: &VerifyOptions) -> Result<Verification, ReleaseError> {
    if folder.join("metadata").is_dir() {
        return verify_repository(folder, options);
    }
    match release_of(folder) {
        Some(release) => verify_release(&release, options),
        None => Err(ReleaseError::NotFound { what: "release or repository".into(), place: folder.into() }),
    }
}

/// The release folder that is meant: itself, or the one that a payload lies in.
fn release_of(folder: &Path) -> Option<PathBuf> {
    if folder.join(PAYLOAD).is_dir() {
        return Some(folder.into());
    }
    let above = std::fs::canonicalize(folder).ok()?;
    let above = above.parent()?;
    (folder.join(RECORD).is_file() && above.join(SIGNATURE).is_file()).then(|| above.into())
}
