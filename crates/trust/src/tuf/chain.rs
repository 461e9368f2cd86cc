//! The chain of trust of a repository, from the root that a client was given to the targets: each link held against the one
//! before. See The Update Framework's specification 1.0.34, section 5.

use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tough::schema::{Metafile, Role, RoleKeys, RoleType, Root, Signed, Snapshot, Targets, Timestamp};

use super::{METADATA, Source, TufError, is_flat_name, sign::hashes};
use crate::{atomic, read_bounded};

pub(super) const ROOT_LIMIT: u64 = 1 << 20;
const TIMESTAMP_LIMIT: u64 = 64 << 10;
const SNAPSHOT_LIMIT: u64 = 4 << 20;
const TARGETS_LIMIT: u64 = 16 << 20;
const MOST_ROOTS: u64 = 1024;

/// Files that a client has seen before: what it must not go back behind, and what it need not fetch again.
#[derive(Debug)]
pub(super) struct Memory(pub(super) Option<PathBuf>);

impl Memory {
    pub(super) fn open(folder: Option<&Path>) -> Result<Self, TufError> {
        if let Some(folder) = folder {
            let io = |source| super::StoreError::Io { path: folder.into(), source };
            atomic::create_folders(folder).map_err(io)?;
        }
        Ok(Self(folder.map(Path::to_owned)))
    }

    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, TufError> {
        let Some(folder) = &self.0 else { return Ok(None) };
        match read_bounded(&folder.join(name), limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// What was seen last of a role. It was believed then: one that cannot be read any more says nothing of the repository.
    fn seen<T: DeserializeOwned>(&self, name: &str, limit: u64) -> Result<Option<Signed<T>>, TufError> {
        let Some(bytes) = self.read(name, limit)? else { return Ok(None) };
        let damaged = |e: serde_json::Error| TufError::Damaged {
            path: self.0.clone().unwrap_or_default().join(name),
            reason: e.to_string(),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TufError> {
        let Some(folder) = &self.0 else { return Ok(()) };
        let path = folder.join(name);
        if read_bounded(&path, bytes.len() as u64).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        Ok(atomic::write(&path, bytes).map_err(|source| super::StoreError::Io { path, source })?)
    }

    fn forget(&self, name: &str) -> Result<(), TufError> {
        let Some(folder) = &self.0 else { return Ok(()) };
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(super::StoreError::Io { path, source }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Metadata of a role, whose signatures nobody has looked at.
fn parse<T: DeserializeOwned>(name: &str, kind: &str, bytes: &[u8]) -> Result<Signed<T>, TufError> {
    let refused = |reason: String| TufError::refused(format!("`{name}` cannot be read: {reason}"));
    let document: Value = serde_json::from_slice(bytes).map_err(|e| refused(e.to_string()))?;
    // Without it, what was signed as one role could be shown as another.
    if document.pointer("/signed/_type").and_then(Value::as_str) != Some(kind) {
        return Err(refused(format!("it is no metadata of the type `{kind}`")));
    }
    // From the bytes, not from the document: that has lost what was written twice.
    serde_json::from_slice(bytes).map_err(|e| refused(e.to_string()))
}

pub(super) fn verified<T: Role + Serialize>(name: &str, root: &Root, role: &Signed<T>) -> Result<(), TufError> {
    root.verify_role(role).map_err(|e| TufError::refused(format!("the role `{name}`: {e}")))
}

fn root_keys(root: &Root, kind: RoleType) -> Option<&RoleKeys> {
    root.roles.get(&kind)
}

/// Everything from the root to the targets of the top, verified; expiry apart.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) root: Signed<Root>,
    pub(super) timestamp: Signed<Timestamp>,
    pub(super) snapshot: Signed<Snapshot>,
    pub(super) targets: Signed<Targets>,
}

impl Chain {
    /// Walks from a trusted root to the targets. With `repair`, a timestamp of the root before is taken as well: a keeper that
    /// died between a new root and what had to follow it left such a one.
    pub(super) fn load(
        source: &dyn Source,
        trusted_root: &[u8],
        memory: &Memory,
        repair: bool,
    ) -> Result<Self, TufError> {
        let (root, root_before) = roots(source, trusted_root, memory)?;
        let under = |name: &str, check: &dyn Fn(&Root) -> Result<(), TufError>| -> Result<(), TufError> {
            match (check(&root.signed), &root_before) {
                (Err(e), Some(before)) if repair => check(&before.signed).map_err(|_| e),
                (result, _) => result,
            }
            .map_err(|e| match e {
                TufError::Refused { reason } if root.signed.version.get() > 1 => {
                    let version = root.signed.version;
                    TufError::refused(format!("{reason} (keys of `{name}` as of root version {version})"))
                }
                other => other,
            })
        };

        let bytes = source.get(super::TIMESTAMP, TIMESTAMP_LIMIT)?;
        let missing = || TufError::NotFound { folder: source.place().into() };
        let mut bytes = bytes.ok_or_else(missing)?;
        let mut timestamp: Signed<Timestamp> = parse("timestamp", "timestamp", &bytes)?;
        under("timestamp", &|root| verified("timestamp", root, &timestamp))?;
        let seen: Option<Signed<Timestamp>> = memory.seen("timestamp.json", TIMESTAMP_LIMIT)?;
        if let Some(seen) = seen {
            back("timestamp", timestamp.signed.version.get(), seen.signed.version.get())?;
            let versions = |t: &Timestamp| t.meta.get("snapshot.json").map_or(0, |m| m.version.get());
            back("snapshot", versions(&timestamp.signed), versions(&seen.signed))?;
            if timestamp.signed.version == seen.signed.version {
                // The same version with other content: the first one counts.
                timestamp = seen;
                bytes = memory.read("timestamp.json", TIMESTAMP_LIMIT)?.unwrap_or(bytes);
            }
        }
        memory.write("timestamp.json", &bytes)?;

        let listed = timestamp.signed.meta.get("snapshot.json");
        let listed = listed.ok_or_else(|| TufError::refused("the timestamp names no snapshot"))?;
        let (bytes, snapshot) =
            fetch::<Snapshot>(source, memory, "snapshot", "snapshot", listed, SNAPSHOT_LIMIT, "timestamp")?;
        under("snapshot", &|root| verified("snapshot", root, &snapshot))?;
        let seen: Option<Signed<Snapshot>> = memory.seen("snapshot.json", SNAPSHOT_LIMIT)?;
        for (name, before) in seen.iter().flat_map(|s| &s.signed.meta) {
            let role = name.strip_suffix(".json").unwrap_or(name);
            match snapshot.signed.meta.get(name) {
                Some(now) => back(role, now.version.get(), before.version.get())?,
                None => {
                    return Err(TufError::refused(format!("the snapshot leaves out the role `{role}`, seen before")));
                }
            }
        }
        memory.write("snapshot.json", &bytes)?;

        let listed = listed_in(&snapshot.signed, "targets")?;
        let (bytes, targets) =
            fetch::<Targets>(source, memory, "targets", "targets", listed, TARGETS_LIMIT, "snapshot")?;
        under("targets", &|root| verified("targets", root, &targets))?;
        memory.write(&remembered("targets"), &bytes)?;
        Ok(Self { root, timestamp, snapshot, targets })
    }

    /// Metadata of a delegated role, by the snapshot's word on its version and digest; signatures apart.
    pub(super) fn delegated(
        &self,
        source: &dyn Source,
        memory: &Memory,
        name: &str,
    ) -> Result<(Vec<u8>, Signed<Targets>), TufError> {
        if !is_flat_name(name) {
            return Err(TufError::refused(format!("a role is called `{}`", name.escape_default())));
        }
        let listed = listed_in(&self.snapshot.signed, name)?;
        fetch(source, memory, name, "targets", listed, TARGETS_LIMIT, "snapshot")
    }
}

fn listed_in<'s>(snapshot: &'s Snapshot, role: &str) -> Result<&'s Metafile, TufError> {
    let missing = || TufError::refused(format!("the snapshot leaves out the role `{role}`"));
    snapshot.meta.get(&format!("{role}.json")).ok_or_else(missing)
}

/// Where the metadata of a role are remembered.
pub(super) fn remembered(role: &str) -> String {
    match role {
        "snapshot" => "snapshot.json".into(),
        other => format!("role.{other}.json"),
    }
}

/// Refuses to go back.
fn back(role: &str, found: u64, seen: u64) -> Result<(), TufError> {
    if found < seen {
        return Err(TufError::refused(format!("the role `{role}` went back to version {found} from {seen}")));
    }
    Ok(())
}

/// The newest root that the trusted one leads to, and the one before.
fn roots(
    source: &dyn Source,
    trusted: &[u8],
    memory: &Memory,
) -> Result<(Signed<Root>, Option<Signed<Root>>), TufError> {
    let mut root: Signed<Root> = parse("the trusted root", "root", trusted)?;
    verified("root", &root.signed, &root)?;
    let mut before: Option<Signed<Root>> = None;
    for _ in 0..MOST_ROOTS {
        let version = root.signed.version.saturating_add(1);
        let name = format!("{version}.root.json");
        let known = memory.read(&name, ROOT_LIMIT)?;
        let is_known = known.is_some();
        let found = match known {
            Some(known) => Some(known),
            None => source.get(&format!("{METADATA}/{name}"), ROOT_LIMIT)?,
        };
        let Some(bytes) = found else { return Ok((root, before)) };
        let next: Signed<Root> = parse(&name, "root", &bytes)?;
        // By the keys of both: the old ones hand over, the new ones can sign.
        verified("root", &root.signed, &next)?;
        verified("root", &next.signed, &next)?;
        if next.signed.version != version {
            return Err(TufError::refused(format!("`{name}` says that it is version {}", next.signed.version)));
        }
        if !is_known {
            // A stolen online key can have raised versions so far that nothing newer would be taken: new keys begin anew.
            let moved = |kind: RoleType| {
                let ids = |root: &Signed<Root>| root_keys(&root.signed, kind).map(|k| k.keyids.clone());
                ids(&root) != ids(&next)
            };
            if moved(RoleType::Timestamp) || moved(RoleType::Snapshot) {
                memory.forget("timestamp.json")?;
                memory.forget("snapshot.json")?;
            }
            memory.write(&name, &bytes)?;
        }
        before = Some(std::mem::replace(&mut root, next));
    }
    Err(TufError::refused(format!("there are more than {MOST_ROOTS} new roots")))
}

/// A metadata file as another role lists it: by version, length and digest. What is remembered is not fetched again.
fn fetch<T: DeserializeOwned + Role>(
    source: &dyn Source,
    memory: &Memory,
    role: &str,
    kind: &str,
    listed: &Metafile,
    limit: u64,
    by: &str,
) -> Result<(Vec<u8>, Signed<T>), TufError> {
    let file = format!("{}.{role}.json", listed.version);
    let holds = |bytes: &[u8]| listed.hashes.as_ref().is_none_or(|h| h.sha256 == hashes(bytes).sha256);
    let limit = listed.length.unwrap_or(limit).min(limit);
    let known = if listed.hashes.is_some() { memory.read(&remembered(role), limit).ok().flatten() } else { None };
    let bytes = match known.filter(|bytes| holds(bytes)) {
        Some(bytes) => bytes,
        None => {
            let found = source.get(&format!("{METADATA}/{file}"), limit)?;
            let missing = || TufError::refused(format!("`{file}`, which the {by} lists, is not there"));
            found.ok_or_else(missing)?
        }
    };
    if !holds(&bytes) {
        return Err(TufError::refused(format!("`{file}` is not what the {by} lists: digest mismatch")));
    }
    let parsed: Signed<T> = parse(&file, kind, &bytes)?;
    if parsed.signed.version() != listed.version {
        let found = parsed.signed.version();
        return Err(TufError::refused(format!("`{file}` says that it is version {found}: version mismatch")));
    }
    Ok((bytes, parsed))
}
