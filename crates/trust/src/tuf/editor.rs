//! Changes to a repository. New metadata go under new names, the timestamp last and by rename: a client sees the old state
//! or the new one, and a killed change leaves the old.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU64,
    path::Path,
    time::SystemTime,
};

use jiff::Timestamp;
use tough::{
    TargetName,
    schema::{Role, RoleType, Signed, Target, Targets},
};

use super::{
    Client, Lock, METADATA, RoleSpec, Store, TARGETS, TIMESTAMP, TufError, is_flat_name,
    sign::{can_sign, expiry, file_of, hashes, instant, metafile, next, sign},
};
use crate::{Keyring, read::hex};

/// One change in the making. Other writers are kept out until it is committed or dropped.
pub struct Editor<'s> {
    store: &'s dyn Store,
    roles: &'static [RoleSpec],
    client: Client,
    /// Roles with new targets, by name.
    changed: BTreeMap<String, Targets>,
    files: Vec<(String, Vec<u8>)>,
    _lock: Lock,
}

impl<'s> Editor<'s> {
    /// Opens a repository. Its metadata must verify; expired ones may be edited, which is how they are renewed.
    pub fn open(store: &'s dyn Store, roles: &'static [RoleSpec]) -> Result<Self, TufError> {
        if !store.folder().join(TIMESTAMP).exists() {
            return Err(TufError::NotFound { folder: store.folder().into() });
        }
        let lock = store.lock()?;
        // Read under the lock: what was read before it may have been replaced.
        let client = Client::load_own(store.folder(), None)?;
        Ok(Self { store, roles, client, changed: BTreeMap::new(), files: Vec::new(), _lock: lock })
    }

    /// The repository before the change.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Writes an object beside the metadata, which no metadata name: content under its own digest.
    pub fn put_blob(&self, name: &str, bytes: &[u8]) -> Result<(), TufError> {
        Ok(self.store.put(name, bytes)?)
    }

    /// The repository's folder.
    pub fn folder(&self) -> &Path {
        self.store.folder()
    }

    /// Lets a role list a target, or list it with other content.
    pub fn set_target(&mut self, role: &str, name: &str, bytes: Vec<u8>) -> Result<(), TufError> {
        let refused = || TufError::NoAuthority { role: role.into(), target: name.into() };
        let target_name = TargetName::new(name).ok().filter(|_| is_flat_name(name)).ok_or_else(refused)?;
        let delegated = self.client.repository.delegated_role(role).ok_or_else(refused)?;
        // A name that the role has no authority over would make the whole repository invalid.
        let mut alone = tough::schema::Delegations::new();
        alone.roles.push(delegated.clone());
        if !alone.target_is_delegated(&target_name) {
            return Err(refused());
        }
        let current = delegated.targets.as_ref().map(|t| t.signed.clone()).ok_or_else(refused)?;
        let target = Target {
            length: bytes.len() as u64,
            hashes: hashes(&bytes),
            custom: HashMap::new(),
            _extra: HashMap::new(),
        };
        self.files.push((format!("{TARGETS}/{}.{name}", hex(&target.hashes.sha256)), bytes));
        self.changed.entry(role.into()).or_insert(current).targets.insert(target_name, target);
        Ok(())
    }

    fn days(&self, role: &str) -> u32 {
        self.roles.iter().find(|r| r.name == role).map_or(1, |r| r.days)
    }

    /// Past half of its life, a role is signed anew where its keys are at hand.
    fn is_due(&self, role: &str, expires: Timestamp, now: Timestamp) -> Result<bool, TufError> {
        Ok(expires < expiry(now, self.days(role).div_ceil(2))?)
    }

    /// Signs and writes everything that changed or is due, and the snapshot and timestamp over it.
    pub fn commit(self, keys: &Keyring, now: SystemTime) -> Result<(), TufError> {
        let now = instant(now)?;
        let repository = &self.client.repository;
        let mut files = Vec::new();
        let mut snapshot = repository.snapshot().signed.clone();

        // Everything is signed before anything is written: a missing key leaves no trace.
        let mut root = repository.root().clone();
        let renewed = self.renew_root(&root, keys, now)?;
        if let Some((signed, bytes)) = renewed {
            files.push((format!("{METADATA}/{}.root.json", signed.signed.version), bytes));
            root = signed;
        }
        let top = |kind: RoleType| {
            let missing = || TufError::refused(format!("the root has no role `{kind}`"));
            root.signed.roles.get(&kind).ok_or_else(missing)
        };

        for name in repository.targets().signed.role_names() {
            let Some(delegated) = repository.delegated_role(name) else { continue };
            let Some(current) = &delegated.targets else { continue };
            let due = self.is_due(name, current.signed.expires, now)?;
            let role = match self.changed.get(name) {
                Some(changed) => changed,
                None if due
                    && self.may_renew(&delegated.keyids, delegated.threshold, keys, current.signed.expires, now)? =>
                {
                    &current.signed
                }
                None => continue,
            };
            let renewed = self.renew(name, role, now)?;
            let signed = sign(name, renewed, &delegated.keyids, delegated.threshold, keys)?;
            let bytes = file_of(&signed)?;
            snapshot.meta.insert(format!("{name}.json"), metafile(&bytes, signed.signed.version));
            files.push((format!("{METADATA}/{}.{name}.json", signed.signed.version), bytes));
        }

        let current = &repository.targets().signed;
        let authority = top(RoleType::Targets)?;
        if self.is_due("targets", current.expires, now)?
            && self.may_renew(&authority.keyids, authority.threshold, keys, current.expires, now)?
        {
            let renewed = self.renew("targets", current, now)?;
            let signed = sign("targets", renewed, &authority.keyids, authority.threshold, keys)?;
            let bytes = file_of(&signed)?;
            snapshot.meta.insert("targets.json".into(), metafile(&bytes, signed.signed.version));
            files.push((format!("{METADATA}/{}.targets.json", signed.signed.version), bytes));
        }

        snapshot.version = next(snapshot.version)?;
        snapshot.expires = expiry(now, self.days("snapshot"))?;
        let authority = top(RoleType::Snapshot)?;
        let signed = sign("snapshot", snapshot, &authority.keyids, authority.threshold, keys)?;
        let bytes = file_of(&signed)?;
        let mut timestamp = repository.timestamp().signed.clone();
        timestamp.version = next(timestamp.version)?;
        timestamp.expires = expiry(now, self.days("timestamp"))?;
        timestamp.meta = HashMap::from([("snapshot.json".into(), metafile(&bytes, signed.signed.version))]);
        files.push((format!("{METADATA}/{}.snapshot.json", signed.signed.version), bytes));
        let authority = top(RoleType::Timestamp)?;
        let timestamp = file_of(&sign("timestamp", timestamp, &authority.keyids, authority.threshold, keys)?)?;

        for (name, bytes) in self.files.iter().chain(&files) {
            self.store.put(name, bytes)?;
        }
        self.store.put(TIMESTAMP, &timestamp)?;
        Ok(())
    }

    /// Whether a role that is due is renewed: with its keys, yes; without them, only what has not expired may stay.
    fn may_renew(
        &self,
        keyids: &[super::sign::KeyId],
        threshold: NonZeroU64,
        keys: &Keyring,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<bool, TufError> {
        // Signing without the keys says which role it was.
        Ok(expires < now || can_sign(keyids, threshold, keys)?)
    }

    fn renew(&self, name: &str, role: &Targets, now: Timestamp) -> Result<Targets, TufError> {
        let mut renewed = role.clone();
        renewed.version = next(role.version())?;
        renewed.expires = expiry(now, self.days(name))?;
        Ok(renewed)
    }

    /// The same keys for another term; both the old and the new root are signed by them.
    #[expect(clippy::type_complexity, reason = "a signed role and its bytes; a name would say no more")]
    fn renew_root(
        &self,
        root: &Signed<tough::schema::Root>,
        keys: &Keyring,
        now: Timestamp,
    ) -> Result<Option<(Signed<tough::schema::Root>, Vec<u8>)>, TufError> {
        let missing = || TufError::refused("the root has no role `root`");
        let authority = root.signed.roles.get(&RoleType::Root).ok_or_else(missing)?;
        if !self.is_due("root", root.signed.expires, now)?
            || !self.may_renew(&authority.keyids, authority.threshold, keys, root.signed.expires, now)?
        {
            return Ok(None);
        }
        let mut renewed = root.signed.clone();
        renewed.version = next(renewed.version)?;
        renewed.expires = expiry(now, self.days("root"))?;
        let signed = sign("root", renewed, &authority.keyids, authority.threshold, keys)?;
        let bytes = file_of(&signed)?;
        Ok(Some((signed, bytes)))
    }
}
