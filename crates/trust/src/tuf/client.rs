//! A repository as a client reads it: tough's rules for signatures, versions and digests, our clock for expiry.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tough::{
    ExpirationEnforcement, IntoVec, Limits, Repository, RepositoryLoader, TargetName,
    schema::{RoleType, Target},
};

use super::{
    METADATA, TARGETS, TIMESTAMP, TufError,
    sign::instant,
    transport::{FolderTransport, base},
};
use crate::{ReadError, atomic, read::hex, read_bounded};

const LIMITS: Limits = Limits {
    max_root_size: 1 << 20,
    max_targets_size: 16 << 20,
    max_timestamp_size: 64 << 10,
    max_snapshot_size: 1 << 20,
    max_root_updates: 1024,
};

/// A target as the metadata name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetInfo {
    /// Its name.
    pub name: String,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// Whose signatures a role takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The role.
    pub role: String,
    /// Version of its metadata.
    pub version: u64,
    /// How many keys must sign.
    pub threshold: u64,
    /// How many it lists.
    pub keys: u64,
    /// When its metadata expire, in UTC.
    pub expires: Timestamp,
}

/// A repository whose metadata have been verified, expiry apart.
#[derive(Debug)]
pub struct Client {
    pub(super) repository: Repository,
    runtime: Runtime,
    folder: PathBuf,
}

impl Client {
    /// Loads and verifies the metadata of a repository on this machine, from a root that the caller trusts.
    ///
    /// `memory` is a folder that remembers what was seen, so that an older state is refused next time. Expiry is not looked
    /// at here: see [`Client::check_expiry`].
    pub fn load(folder: &Path, trusted_root: &[u8], memory: Option<&Path>) -> Result<Self, TufError> {
        if !folder.join(TIMESTAMP).exists() {
            return Err(TufError::NotFound { folder: folder.into() });
        }
        let runtime = Builder::new_current_thread().build();
        let runtime = runtime.map_err(|source| ReadError::Io { path: folder.into(), source })?;
        let mut loader = RepositoryLoader::new(&trusted_root, base(METADATA)?, base(TARGETS)?)
            .transport(FolderTransport::new(folder))
            .limits(LIMITS)
            // tough asks the system's clock; ours comes in as a value.
            .expiration_enforcement(ExpirationEnforcement::Unsafe);
        if let Some(memory) = memory {
            let io = |source| super::StoreError::Io { path: memory.into(), source };
            atomic::create_folders(memory).map_err(io)?;
            loader = loader.datastore(memory);
        }
        let repository = runtime.block_on(loader.load())?;
        let client = Self { repository, runtime, folder: folder.into() };
        // tough takes roles that the snapshot leaves out for empty ones.
        let listed = &client.repository.snapshot().signed.meta;
        let mut names = client.repository.targets().signed.role_names().into_iter();
        if let Some(name) = names.find(|name| !listed.contains_key(&format!("{name}.json"))) {
            return Err(TufError::refused(format!("the snapshot leaves out the role `{name}`")));
        }
        Ok(client)
    }

    /// Loads a repository from its own first root, which proves that it is consistent, not whose it is.
    pub fn load_own(folder: &Path, memory: Option<&Path>) -> Result<Self, TufError> {
        if !folder.join(TIMESTAMP).exists() {
            return Err(TufError::NotFound { folder: folder.into() });
        }
        let root = read_bounded(&folder.join(METADATA).join("1.root.json"), LIMITS.max_root_size)?;
        Self::load(folder, &root, memory)
    }

    /// The repository's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every role: versions, thresholds, expiry; the roles of the top first.
    pub fn authorities(&self) -> Vec<Authority> {
        let root = &self.repository.root().signed;
        let top = |role: &str, kind: RoleType, version: u64, expires: Timestamp| {
            let keys = root.roles.get(&kind);
            Authority {
                role: role.into(),
                version,
                threshold: keys.map_or(0, |k| k.threshold.get()),
                keys: keys.map_or(0, |k| k.keyids.len() as u64),
                expires,
            }
        };
        let timestamp = &self.repository.timestamp().signed;
        let snapshot = &self.repository.snapshot().signed;
        let targets = &self.repository.targets().signed;
        let mut all = vec![
            top("root", RoleType::Root, root.version.get(), root.expires),
            top("timestamp", RoleType::Timestamp, timestamp.version.get(), timestamp.expires),
            top("snapshot", RoleType::Snapshot, snapshot.version.get(), snapshot.expires),
            top("targets", RoleType::Targets, targets.version.get(), targets.expires),
        ];
        for name in targets.role_names() {
            if let Some(role) = self.repository.delegated_role(name)
                && let Some(signed) = &role.targets
            {
                all.push(Authority {
                    role: name.clone(),
                    version: signed.signed.version.get(),
                    threshold: role.threshold.get(),
                    keys: role.keyids.len() as u64,
                    expires: signed.signed.expires,
                });
            }
        }
        all
    }

    /// Refuses metadata that have expired at `now`: somebody may be holding back newer ones.
    pub fn check_expiry(&self, now: SystemTime) -> Result<(), TufError> {
        let now = instant(now)?;
        match self.authorities().into_iter().find(|a| a.expires < now) {
            None => Ok(()),
            Some(role) => Err(TufError::Expired { role: role.role, expired: role.expires.to_string() }),
        }
    }

    /// A field that the root carries beyond what the specification asks for.
    pub fn mark(&self, name: &str) -> Option<&Value> {
        self.repository.root().signed._extra.get(name)
    }

    /// A target, where the role with authority over its name lists it.
    pub fn target(&self, name: &str) -> Option<TargetInfo> {
        let parsed = TargetName::new(name).ok()?;
        self.repository.targets().signed.find_target(&parsed, false).ok().map(|t| info(name, t))
    }

    /// The targets that a role lists, sorted by name.
    pub fn targets_of(&self, role: &str) -> Vec<TargetInfo> {
        let signed = self.repository.delegated_role(role).and_then(|r| r.targets.as_ref());
        let targets = signed.map(|s| s.signed.targets.iter()).into_iter().flatten();
        let mut all: Vec<TargetInfo> = targets.map(|(name, target)| info(name.raw(), target)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The bytes of a target, verified; nothing where it is not listed.
    pub fn read_target(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, TufError> {
        let Some(target) = self.target(name) else { return Ok(None) };
        if target.bytes > limit {
            return Err(TufError::TooLong { target: name.into(), bytes: target.bytes, limit });
        }
        let name = TargetName::new(name)?;
        let read = async {
            match self.repository.read_target(&name).await? {
                Some(stream) => stream.into_vec().await.map(Some),
                None => Ok(None),
            }
        };
        Ok(self.runtime.block_on(read)?)
    }
}

fn info(name: &str, target: &Target) -> TargetInfo {
    TargetInfo { name: name.into(), sha256: hex(&target.hashes.sha256), bytes: target.length }
}
