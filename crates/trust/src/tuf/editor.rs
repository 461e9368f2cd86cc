//! Changes to a repository. New metadata go under new names, the timestamp last and by rename: a client sees the old state
//! or the new one, and a killed change leaves the old.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU64,
    sync::Arc,
    time::SystemTime,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tough::{
    TargetName,
    schema::{DelegatedRole, Role, RoleType, Root, Signed, Target, Targets},
};

use super::{
    Client, Lock, METADATA, RoleSpec, Source, Store, TARGETS, TIMESTAMP, TufError, chain,
    client::speaks_for,
    is_flat_name,
    sign::{KeyId, can_sign, expiry, file_of, hashes, instant, metafile, next, sign, signatures_of},
};
use crate::{Keyring, read::hex};

/// A root may have been expired for so long before the clock is doubted rather than the repository.
const MOST_DAYS_NEGLECTED: u32 = 5 * 365;
/// The role at the top of all that list targets.
pub(super) const TOP: &str = "targets";

/// One change in the making. Other writers are kept out until it is committed or dropped.
pub struct Editor<'s> {
    store: &'s dyn Store,
    roles: &'static [RoleSpec],
    pub(super) client: Client,
    /// The root with other keys.
    pub(super) root: Option<Root>,
    /// Roles with other targets or delegations, by name.
    pub(super) changed: BTreeMap<String, Targets>,
    files: Vec<(String, Vec<u8>)>,
    logs: Vec<(String, Vec<u8>)>,
    _lock: Lock,
}

impl<'s> Editor<'s> {
    /// Opens a repository. Its metadata must verify; expired ones may be edited, which is how they are renewed.
    pub fn open(store: &'s dyn Store, roles: &'static [RoleSpec]) -> Result<Self, TufError> {
        let source = store.source();
        // Taking the lock makes a folder: not where there is no repository.
        if source.open(TIMESTAMP)?.is_none() {
            return Err(TufError::NotFound { folder: source.place().into() });
        }
        let lock = store.lock()?;
        // Read under the lock: what was read before it may have been replaced.
        let client = Client::load_own_from(source, None, true)?;
        let (changed, files, logs) = Default::default();
        Ok(Self { store, roles, client, root: None, changed, files, logs, _lock: lock })
    }

    /// The repository before the change.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Writes an object beside the metadata, which no metadata name: content under its own digest.
    pub fn put_blob(&self, name: &str, bytes: &[u8]) -> Result<(), TufError> {
        Ok(self.store.put(name, bytes)?)
    }

    /// Writes an object at the very last, right before the change takes effect.
    pub fn put_last(&mut self, name: &str, bytes: Vec<u8>) {
        self.logs.push((name.into(), bytes));
    }

    /// Where the repository is read from.
    pub fn source(&self) -> &Arc<dyn Source> {
        self.client.source()
    }

    /// A role as it will be.
    pub(super) fn content(&self, role: &str) -> Result<Option<Targets>, TufError> {
        if let Some(changed) = self.changed.get(role) {
            return Ok(Some(changed.clone()));
        }
        if role == TOP {
            return Ok(Some(self.client.chain.targets.signed.clone()));
        }
        Ok(self.client.role_named(role)?.map(|signed| signed.signed.clone()))
    }

    /// The roles that a role will delegate to.
    pub(super) fn below(&self, role: &str) -> Result<Vec<DelegatedRole>, TufError> {
        Ok(self.content(role)?.and_then(|c| c.delegations).map(|d| d.roles).unwrap_or_default())
    }

    /// Who will have authority over a delegated role.
    fn delegation(&self, name: &str) -> Result<Option<DelegatedRole>, TufError> {
        let direct = self.below(TOP)?;
        if let Some(role) = direct.iter().find(|r| r.name == name) {
            return Ok(Some(role.clone()));
        }
        for role in direct {
            if let Some(found) = self.below(&role.name)?.into_iter().find(|r| r.name == name) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Lets a role list a target, or list it with other content. A role with bins lists it in the bin of its name.
    pub fn set_target(&mut self, role: &str, name: &str, bytes: Vec<u8>) -> Result<(), TufError> {
        let refused = || TufError::NoAuthority { role: role.into(), target: name.into() };
        let target_name = TargetName::new(name).ok().filter(|_| is_flat_name(name)).ok_or_else(refused)?;
        // A name that the role has no authority over would make the whole repository invalid.
        let delegated = self.delegation(role)?.filter(|d| speaks_for(d, &target_name)).ok_or_else(refused)?;
        let bins = self.below(&delegated.name)?;
        let holder = match bins.iter().find(|bin| speaks_for(bin, &target_name)) {
            Some(bin) => bin.name.clone(),
            None if bins.is_empty() => delegated.name,
            None => return Err(refused()),
        };
        let mut content = self.content(&holder)?.ok_or_else(refused)?;
        let target = Target {
            length: bytes.len() as u64,
            hashes: hashes(&bytes),
            custom: HashMap::new(),
            _extra: HashMap::new(),
        };
        self.files.push((format!("{TARGETS}/{}.{name}", hex(&target.hashes.sha256)), bytes));
        content.targets.insert(target_name, target);
        self.changed.insert(holder, content);
        Ok(())
    }

    /// Sets a field of the targets role beyond what the specification asks for.
    pub fn set_note(&mut self, name: &str, value: Value) -> Result<(), TufError> {
        let mut top = self.content(TOP)?.ok_or_else(|| TufError::refused("there is no role `targets`"))?;
        top._extra.insert(name.into(), value);
        self.changed.insert(TOP.into(), top);
        Ok(())
    }

    fn days(&self, role: &str) -> u32 {
        // Bins live as long as the role above them.
        let of = |spec: &&RoleSpec| {
            role == spec.name
                || (spec.bins > 0 && role.strip_prefix(spec.name).is_some_and(|rest| rest.starts_with('-')))
        };
        self.roles.iter().find(of).map_or(1, |r| r.days)
    }

    /// Past half of its life, a role is signed anew where its keys are at hand; after its end it must be.
    fn is_due(
        &self,
        role: &str,
        (keyids, threshold): (&[KeyId], NonZeroU64),
        expires: Timestamp,
        keys: &Keyring,
        now: Timestamp,
    ) -> Result<bool, TufError> {
        let half = expires < expiry(now, self.days(role).div_ceil(2))?;
        // Signing without the keys says which role it was.
        Ok(half && (expires < now || can_sign(keyids, threshold, keys)?))
    }

    /// The roles to sign: those that changed and those that are due, with their bins.
    fn dirty(&self, root: &Root, keys: &Keyring, now: Timestamp) -> Result<BTreeSet<String>, TufError> {
        let mut dirty: BTreeSet<String> = self.changed.keys().cloned().collect();
        for role in self.below(TOP)? {
            let Some(content) = self.content(&role.name)? else { continue };
            if self.is_due(&role.name, (&role.keyids, role.threshold), content.expires, keys, now)? {
                dirty.extend(self.below(&role.name)?.into_iter().map(|bin| bin.name));
                dirty.insert(role.name);
            }
        }
        let targets = &self.client.chain.targets;
        let authority = top(root, RoleType::Targets)?;
        let due = self.is_due(TOP, (&authority.keyids, authority.threshold), targets.signed.expires, keys, now)?;
        // Under other keys than it was signed with, it must be signed anew whatever its age.
        if due || chain::verified(TOP, root, targets).is_err() {
            dirty.insert(TOP.into());
        }
        Ok(dirty)
    }

    /// Signs and writes everything that changed or is due, and the snapshot and timestamp over it.
    pub fn commit(self, keys: &Keyring, now: SystemTime) -> Result<(), TufError> {
        let now = instant(now)?;
        self.check_clock(now)?;
        let mut files = Vec::new();
        let mut snapshot = self.client.chain.snapshot.signed.clone();

        // Everything is signed before anything is written: a missing key leaves no trace.
        let before = self.client.chain.root.signed.clone();
        let renewed = self.renew_root(keys, now)?;
        let root = renewed.as_ref().map_or(&before, |r| &r.signed);
        // Clients of the root before must be able to follow until they have seen the new one.
        let mut followed = true;
        let mut sign_top = |name: &str, kind: RoleType, message: &[u8]| -> Result<_, TufError> {
            let [old, new] = [top(&before, kind)?, top(root, kind)?];
            let mut keyids = new.keyids.clone();
            keyids.extend(old.keyids.iter().filter(|id| !new.keyids.contains(id)).cloned());
            let signatures = signatures_of(message, &keyids, keys)?;
            let by = |ids: &[KeyId]| signatures.iter().filter(|s| ids.contains(&s.keyid)).count() as u64;
            followed &= by(&old.keyids) >= old.threshold.get();
            match by(&new.keyids) {
                have if have < new.threshold.get() => {
                    Err(TufError::TooFewKeys { role: name.into(), have, needed: new.threshold.get() })
                }
                _ => Ok(signatures),
            }
        };

        for name in self.dirty(root, keys, now)? {
            let missing = || TufError::refused(format!("there is no role `{name}`"));
            let mut role = self.content(&name)?.ok_or_else(missing)?;
            role.version = next(role.version())?;
            role.expires = expiry(now, self.days(&name))?;
            let signed = if name == TOP {
                let signatures = sign_top(TOP, RoleType::Targets, &role.canonical_form()?)?;
                Signed { signed: role, signatures }
            } else {
                let authority = self.delegation(&name)?.ok_or_else(missing)?;
                sign(&name, role, &authority.keyids, authority.threshold, keys)?
            };
            let bytes = file_of(&signed)?;
            snapshot.meta.insert(format!("{name}.json"), metafile(&bytes, signed.signed.version));
            files.push((format!("{METADATA}/{}.{name}.json", signed.signed.version), bytes));
        }

        snapshot.version = next(snapshot.version)?;
        snapshot.expires = expiry(now, self.days("snapshot"))?;
        let signatures = sign_top("snapshot", RoleType::Snapshot, &snapshot.canonical_form()?)?;
        let version = snapshot.version;
        let bytes = file_of(&Signed { signed: snapshot, signatures })?;
        let mut timestamp = self.client.chain.timestamp.signed.clone();
        timestamp.version = next(timestamp.version)?;
        timestamp.expires = expiry(now, self.days("timestamp"))?;
        timestamp.meta = HashMap::from([("snapshot.json".into(), metafile(&bytes, version))]);
        files.push((format!("{METADATA}/{version}.snapshot.json"), bytes));
        let signatures = sign_top("timestamp", RoleType::Timestamp, &timestamp.canonical_form()?)?;
        let timestamp = file_of(&Signed { signed: timestamp, signatures })?;
        let root = match &renewed {
            Some(root) => Some((format!("{METADATA}/{}.root.json", root.signed.version), file_of(root)?)),
            None => None,
        };

        for (name, bytes) in self.files.iter().chain(&files).chain(&self.logs) {
            self.store.put(name, bytes)?;
        }
        match root {
            // The new state holds under both roots, so the new root can come after it.
            Some((name, bytes)) if followed && self.root.is_some() => {
                self.store.put(TIMESTAMP, &timestamp)?;
                self.store.put(&name, &bytes)?;
            }
            // The same keys for another term: either order holds. Or an old online key is lost: for the moment between these two
            // writes clients are refused, and try again.
            Some((name, bytes)) => {
                self.store.put(&name, &bytes)?;
                self.store.put(TIMESTAMP, &timestamp)?;
            }
            None => self.store.put(TIMESTAMP, &timestamp)?,
        }
        Ok(())
    }

    /// Refuses a clock that cannot be right: what it would sign is expired for everybody, or outlives all who hold the keys.
    fn check_clock(&self, now: Timestamp) -> Result<(), TufError> {
        let last = &self.client.chain.timestamp.signed;
        let ago = SignedDuration::from_hours(24 * i64::from(self.days("timestamp")) + 24);
        let behind = last.expires.checked_sub(ago).is_ok_and(|signed| now < signed);
        let root = self.client.chain.root.signed.expires;
        let ahead = expiry(root, MOST_DAYS_NEGLECTED).is_ok_and(|end| now > end);
        if behind || ahead {
            return Err(TufError::Clock(format!(
                "{now}, where the repository's newest signature is good until {}",
                last.expires
            )));
        }
        Ok(())
    }

    /// The next root, where its keys changed or it is due: signed by the keys of the old one and of the new one.
    fn renew_root(&self, keys: &Keyring, now: Timestamp) -> Result<Option<Signed<Root>>, TufError> {
        let before = &self.client.chain.root.signed;
        let old = top(before, RoleType::Root)?;
        let mut renewed = match &self.root {
            Some(root) => root.clone(),
            None if self.is_due("root", (&old.keyids, old.threshold), before.expires, keys, now)? => before.clone(),
            None => return Ok(None),
        };
        renewed.version = next(before.version)?;
        renewed.expires = expiry(now, self.days("root"))?;
        let new = top(&renewed, RoleType::Root)?.clone();
        let mut keyids = old.keyids.clone();
        keyids.extend(new.keyids.iter().filter(|id| !old.keyids.contains(id)).cloned());
        let signatures = signatures_of(&renewed.canonical_form()?, &keyids, keys)?;
        for authority in [old, &new] {
            let have = signatures.iter().filter(|s| authority.keyids.contains(&s.keyid)).count() as u64;
            if have < authority.threshold.get() {
                return Err(TufError::TooFewKeys { role: "root".into(), have, needed: authority.threshold.get() });
            }
        }
        Ok(Some(Signed { signed: renewed, signatures }))
    }
}

/// Who has authority over a role of the top.
pub(super) fn top(root: &Root, kind: RoleType) -> Result<&tough::schema::RoleKeys, TufError> {
    root.roles.get(&kind).ok_or_else(|| TufError::refused(format!("the root has no role `{kind}`")))
}
