//! A repository as a client reads it: the chain of trust, the roles that targets are delegated to, expiry by our own clock.
//!
//! Roles that the top delegates to are loaded at once; the hash bins below them only where a target lies in one, so that what a
//! client fetches does not grow with the number of releases.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use jiff::Timestamp;
use serde_json::Value;
use tough::{
    TargetName,
    schema::{DelegatedRole, Delegations, RoleKeys, RoleType, Root, Signed, Target, Targets},
};

use super::{
    FolderSource, METADATA, Source, TIMESTAMP, TufError,
    chain::{Chain, Memory, ROOT_LIMIT, remembered},
    is_flat_name,
    sign::{hashes, instant, public_key},
};
use crate::{PublicKey, read::hex};

/// A search visits no more roles.
const MOST_ROLES: usize = 32;

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
    /// Ids of the keys that it lists.
    pub key_ids: Vec<String>,
    /// When its metadata expire, in UTC.
    pub expires: Timestamp,
}

/// A repository whose metadata have been verified, expiry apart.
#[derive(Debug)]
pub struct Client {
    source: Arc<dyn Source>,
    place: PathBuf,
    memory: Memory,
    pub(super) chain: Chain,
    /// Delegated roles that were loaded, by name.
    roles: Mutex<BTreeMap<String, Arc<Signed<Targets>>>>,
    /// The time that roles are held against which are loaded later.
    judged: Mutex<Option<Timestamp>>,
}

impl Client {
    /// Loads and verifies the metadata of a repository on this machine, from a root that the caller trusts.
    ///
    /// `memory` is a folder that remembers what was seen, so that an older state is refused next time. Expiry is not looked
    /// at here: see [`Client::check_expiry`].
    pub fn load(folder: &Path, trusted_root: &[u8], memory: Option<&Path>) -> Result<Self, TufError> {
        Self::load_from(Arc::new(FolderSource::new(folder)), trusted_root, memory)
    }

    /// The same of a repository that lies anywhere.
    pub fn load_from(source: Arc<dyn Source>, trusted_root: &[u8], memory: Option<&Path>) -> Result<Self, TufError> {
        Self::follow(source, trusted_root, memory, false)
    }

    /// Loads a repository from its own first root, which proves that it is consistent, not whose it is.
    pub fn load_own(folder: &Path, memory: Option<&Path>) -> Result<Self, TufError> {
        Self::load_own_from(Arc::new(FolderSource::new(folder)), memory, false)
    }

    /// The same of a repository that lies anywhere; with `repair`, also where a change of the root was cut short.
    pub fn load_own_from(source: Arc<dyn Source>, memory: Option<&Path>, repair: bool) -> Result<Self, TufError> {
        if source.open(TIMESTAMP)?.is_none() {
            return Err(TufError::NotFound { folder: source.place().into() });
        }
        let root = source.get(&format!("{METADATA}/1.root.json"), ROOT_LIMIT)?;
        let root = root.ok_or_else(|| TufError::refused("`1.root.json` is not there"))?;
        Self::follow(source, &root, memory, repair)
    }

    fn follow(
        source: Arc<dyn Source>,
        trusted_root: &[u8],
        memory: Option<&Path>,
        repair: bool,
    ) -> Result<Self, TufError> {
        let memory = Memory::open(memory)?;
        let chain = Chain::load(source.as_ref(), trusted_root, &memory, repair)?;
        let place = source.place().to_owned();
        let client = Self { source, place, memory, chain, roles: Mutex::default(), judged: Mutex::default() };
        for role in client.delegations() {
            client.role(role, &client.chain.targets.signed)?;
        }
        Ok(client)
    }

    /// The repository's folder, or its address.
    pub fn folder(&self) -> &Path {
        &self.place
    }

    /// Where it is read from.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Roles that the top delegates to.
    pub(super) fn delegations(&self) -> &[DelegatedRole] {
        self.chain.targets.signed.delegations.as_ref().map_or(&[], |d| &d.roles)
    }

    /// The metadata of a role that another delegates to, verified.
    pub(super) fn role(&self, role: &DelegatedRole, above: &Targets) -> Result<Arc<Signed<Targets>>, TufError> {
        let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = roles.get(&role.name) {
            return Ok(Arc::clone(known));
        }
        let (bytes, signed) = self.chain.delegated(self.source.as_ref(), &self.memory, &role.name)?;
        let delegations = above.delegations.as_ref().ok_or_else(|| TufError::refused("there are no delegations"))?;
        let held = delegations.verify_role(&signed, &role.name);
        held.map_err(|e| TufError::refused(format!("the role `{}`: {e}", role.name)))?;
        // Nobody would find it under such a name, and somebody might write it to where the name leads.
        if let Some(name) = signed.signed.targets.keys().find(|name| !is_flat_name(name.raw())) {
            let name = name.raw().escape_default();
            return Err(TufError::refused(format!("the role `{}` lists a target called `{name}`", role.name)));
        }
        if let Some(now) = *self.judged.lock().unwrap_or_else(PoisonError::into_inner) {
            current(&role.name, signed.signed.expires, now)?;
        }
        // Saves fetching it again, no more: a memory that is gone by now is no reason to refuse.
        let _ = self.memory.write(&remembered(&role.name), &bytes);
        let signed = Arc::new(signed);
        roles.insert(role.name.clone(), Arc::clone(&signed));
        Ok(signed)
    }

    /// A role by its name, wherever it is delegated to.
    pub(super) fn role_named(&self, name: &str) -> Result<Option<Arc<Signed<Targets>>>, TufError> {
        let top = &self.chain.targets.signed;
        for role in self.delegations() {
            let signed = self.role(role, top)?;
            if role.name == name {
                return Ok(Some(signed));
            }
            for below in signed.signed.delegations.iter().flat_map(|d| &d.roles) {
                if below.name == name {
                    return self.role(below, &signed.signed).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// The roles of the top and those that they delegate to: versions, keys, expiry. Bins, which share the keys of the role above
    /// them, are not listed.
    pub fn authorities(&self) -> Vec<Authority> {
        let root = &self.chain.root.signed;
        let top = |role: &str, kind: RoleType, version: u64, expires: Timestamp| {
            let keys = root.roles.get(&kind);
            authority(role, keys, version, expires)
        };
        let timestamp = &self.chain.timestamp.signed;
        let snapshot = &self.chain.snapshot.signed;
        let targets = &self.chain.targets.signed;
        let mut all = vec![
            top("root", RoleType::Root, root.version.get(), root.expires),
            top("timestamp", RoleType::Timestamp, timestamp.version.get(), timestamp.expires),
            top("snapshot", RoleType::Snapshot, snapshot.version.get(), snapshot.expires),
            top("targets", RoleType::Targets, targets.version.get(), targets.expires),
        ];
        let roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        for role in self.delegations() {
            if let Some(signed) = roles.get(&role.name) {
                let signed = &signed.signed;
                all.push(authority(&role.name, Some(&role.keys()), signed.version.get(), signed.expires));
            }
        }
        all
    }

    /// Refuses metadata that have expired at `now`: somebody may be holding back newer ones. What is loaded later is held against
    /// the same time.
    pub fn check_expiry(&self, now: SystemTime) -> Result<(), TufError> {
        let now = instant(now)?;
        for role in self.authorities() {
            current(&role.role, role.expires, now)?;
        }
        for (name, signed) in self.roles.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            current(name, signed.signed.expires, now)?;
        }
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }

    /// A field that the root carries beyond what the specification asks for.
    pub fn mark(&self, name: &str) -> Option<&Value> {
        self.chain.root.signed._extra.get(name)
    }

    /// A field that the targets role carries beyond what the specification asks for.
    pub fn note(&self, name: &str) -> Option<&Value> {
        self.chain.targets.signed._extra.get(name)
    }

    /// The public keys of a role that the top delegates to.
    pub fn keys_of(&self, role: &str) -> Result<Vec<PublicKey>, TufError> {
        let Some(delegations) = &self.chain.targets.signed.delegations else { return Ok(Vec::new()) };
        let ids = delegations.roles.iter().filter(|r| r.name == role).flat_map(|r| &r.keyids);
        let keys = ids.filter_map(|id| delegations.keys.get(id));
        keys.map(|key| public_key(role, key)).collect()
    }

    /// The newest root.
    pub(super) fn root(&self) -> &Root {
        &self.chain.root.signed
    }

    /// A target, where the role with authority over its name lists it.
    pub fn target(&self, name: &str) -> Result<Option<TargetInfo>, TufError> {
        Ok(self.find(name)?.map(|target| info(name, &target)))
    }

    fn find(&self, name: &str) -> Result<Option<Target>, TufError> {
        // Clients disagree about other names.
        let Some(parsed) = TargetName::new(name).ok().filter(|_| is_flat_name(name)) else { return Ok(None) };
        let mut visited = 0;
        self.find_below(&self.chain.targets.signed, &parsed, &mut visited).map(|(found, _)| found)
    }

    /// In pre-order, as the specification says: what a role lists, then those that it delegates to; a terminating one ends the
    /// search.
    fn find_below(
        &self,
        role: &Targets,
        name: &TargetName,
        visited: &mut usize,
    ) -> Result<(Option<Target>, bool), TufError> {
        if let Some(target) = role.targets.get(name) {
            return Ok((Some(target.clone()), true));
        }
        for below in role.delegations.iter().flat_map(|d| &d.roles) {
            if !speaks_for(below, name) {
                continue;
            }
            *visited += 1;
            if *visited > MOST_ROLES {
                return Err(TufError::refused(format!("more than {MOST_ROLES} roles would speak for a target")));
            }
            let signed = self.role(below, role)?;
            let (found, ended) = self.find_below(&signed.signed, name, visited)?;
            if found.is_some() || ended || below.terminating {
                return Ok((found, true));
            }
        }
        Ok((None, false))
    }

    /// The targets that a role and those below it list, sorted by name. Loads every bin.
    pub fn targets_of(&self, role: &str) -> Result<Vec<TargetInfo>, TufError> {
        let Some(signed) = self.role_named(role)? else { return Ok(Vec::new()) };
        let mut all: Vec<TargetInfo> = signed.signed.targets.iter().map(|(n, t)| info(n.raw(), t)).collect();
        for below in signed.signed.delegations.iter().flat_map(|d| &d.roles) {
            let bin = self.role(below, &signed.signed)?;
            all.extend(bin.signed.targets.iter().map(|(n, t)| info(n.raw(), t)));
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The bytes of a target, verified; nothing where it is not listed.
    pub fn read_target(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, TufError> {
        let Some(target) = self.find(name)? else { return Ok(None) };
        if target.length > limit {
            return Err(TufError::TooLong { target: name.into(), bytes: target.length, limit });
        }
        let file = format!("{}/{}.{name}", super::TARGETS, hex(&target.hashes.sha256));
        let refused = |reason: &str| TufError::refused(format!("the target `{name}` {reason}"));
        let bytes = self.source.get(&file, target.length)?;
        let bytes = bytes.ok_or_else(|| refused("is listed and not there"))?;
        if bytes.len() as u64 != target.length || hashes(&bytes).sha256 != target.hashes.sha256 {
            return Err(refused("is not what was signed: digest mismatch"));
        }
        Ok(Some(bytes))
    }
}

/// Whether a role's paths or hash prefixes have a name among them.
pub(super) fn speaks_for(role: &DelegatedRole, name: &TargetName) -> bool {
    let mut alone = Delegations::new();
    alone.roles.push(role.clone());
    alone.target_is_delegated(name)
}

fn current(role: &str, expires: Timestamp, now: Timestamp) -> Result<(), TufError> {
    if expires < now {
        return Err(TufError::Expired { role: role.into(), expired: expires.to_string() });
    }
    Ok(())
}

fn authority(role: &str, keys: Option<&RoleKeys>, version: u64, expires: Timestamp) -> Authority {
    let key_ids: Vec<String> = keys.map_or(vec![], |k| k.keyids.iter().map(|id| hex(id)).collect());
    Authority {
        role: role.into(),
        version,
        threshold: keys.map_or(0, |k| k.threshold.get()),
        keys: key_ids.len() as u64,
        key_ids,
        expires,
    }
}

fn info(name: &str, target: &Target) -> TargetInfo {
    TargetInfo { name: name.into(), sha256: hex(&target.hashes.sha256), bytes: target.length }
}
