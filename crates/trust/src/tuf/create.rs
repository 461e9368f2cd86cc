//! A new repository: root and all roles, with nothing in them.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU64,
    time::SystemTime,
};

use serde_json::Value;
use tough::schema::{
    DelegatedRole, Delegations, PathHashPrefix, PathPattern, PathSet, RoleKeys, RoleType, Root, Signed, Snapshot,
    Targets, Timestamp as TimestampRole, key::Key,
};

use super::{
    METADATA, RoleSpec, SPEC_VERSION, Store, TIMESTAMP, TOP_ROLES, TufError,
    chain::ROOT_LIMIT,
    sign::{KeyId, expiry, file_of, instant, metafile, sign, tuf_key},
};
use crate::{KeyError, Keyring, PublicKey};

/// What a new repository is made of.
#[derive(Debug)]
pub struct Creation<'c> {
    /// The roles.
    pub roles: &'c [RoleSpec],
    /// Private keys: of every role as many as its threshold.
    pub keys: &'c Keyring,
    /// Public keys by name, where the private ones are not at hand.
    pub public: &'c BTreeMap<String, PublicKey>,
    /// Fields of the root.
    pub marks: &'c BTreeMap<String, Value>,
    /// Fields of the targets role.
    pub notes: &'c BTreeMap<String, Value>,
}

impl Creation<'_> {
    fn role_keys(&self, spec: &RoleSpec, known: &mut HashMap<KeyId, Key>) -> Result<RoleKeys, TufError> {
        let mut keyids = Vec::new();
        for name in spec.keys {
            let public = match (self.keys.get(name), self.public.get(*name)) {
                (Some(key), _) => key.public_key(),
                (None, Some(public)) => public,
                (None, None) => return Err(KeyError::Missing((*name).into()).into()),
            };
            let (id, key) = tuf_key(public)?;
            known.insert(id.clone(), key);
            if !keyids.contains(&id) {
                keyids.push(id);
            }
        }
        let have = keyids.len() as u64;
        let threshold = NonZeroU64::new(spec.threshold).filter(|t| t.get() <= have);
        let too_few = || TufError::TooFewKeys { role: spec.name.into(), have, needed: spec.threshold };
        Ok(RoleKeys { keyids, threshold: threshold.ok_or_else(too_few)?, _extra: HashMap::new() })
    }

    fn spec(&self, name: &str) -> Result<&RoleSpec, TufError> {
        let missing = || TufError::NoAuthority { role: name.into(), target: name.into() };
        self.roles.iter().find(|r| r.name == name).ok_or_else(missing)
    }

    fn root(&self, now: jiff::Timestamp) -> Result<Signed<Root>, TufError> {
        let mut known = HashMap::new();
        let mut top = HashMap::new();
        let kinds = [RoleType::Root, RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp];
        for (name, kind) in TOP_ROLES.iter().zip(kinds) {
            top.insert(kind, self.role_keys(self.spec(name)?, &mut known)?);
        }
        let root_keys = top.get(&RoleType::Root).cloned().ok_or_else(|| KeyError::Missing("root".into()))?;
        let root = Root {
            spec_version: SPEC_VERSION.into(),
            consistent_snapshot: true,
            version: NonZeroU64::MIN,
            expires: expiry(now, self.spec("root")?.days)?,
            keys: known,
            roles: top,
            _extra: self.marks.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        };
        sign("root", root, &root_keys.keyids, root_keys.threshold, self.keys)
    }
}

/// The hash bins of a role: its targets by the first byte of the SHA-256 of their names.
fn bins(spec: &RoleSpec, keys: &RoleKeys) -> Result<Vec<DelegatedRole>, TufError> {
    let each = 256_u16.checked_div(spec.bins).filter(|each| each * spec.bins == 256).unwrap_or(256);
    let mut all = Vec::new();
    for bin in 0..256 / each {
        let prefixes = (bin * each..(bin + 1) * each).map(|byte| PathHashPrefix::new(format!("{byte:02x}")));
        all.push(DelegatedRole {
            name: format!("{}-{bin:02x}", spec.name),
            keyids: keys.keyids.clone(),
            threshold: keys.threshold,
            paths: PathSet::PathHashPrefixes(prefixes.collect::<Result<_, _>>()?),
            terminating: true,
            targets: None,
        });
    }
    Ok(all)
}

/// Makes a repository with these roles.
///
/// The timestamp is written last: until then there is no repository for a client, and a killed call can be repeated.
pub fn create(store: &dyn Store, creation: &Creation<'_>, now: SystemTime) -> Result<(), TufError> {
    let Creation { roles, keys, .. } = creation;
    let _lock = store.lock()?;
    let source = store.source();
    if source.open(TIMESTAMP)?.is_some() {
        return Err(TufError::Exists { folder: source.place().into() });
    }
    let now = instant(now)?;
    let one = NonZeroU64::MIN;
    let root_name = format!("{METADATA}/1.root.json");
    // A root that is there may have been given to clients: a call that was killed half-way is finished with it.
    let root: Signed<Root> = match source.get(&root_name, ROOT_LIMIT)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|e| TufError::refused(format!("1.root.json: {e}")))?,
        None => {
            let root = creation.root(now)?;
            store.put(&root_name, &file_of(&root)?)?;
            root
        }
    };
    root.signed.verify_role(&root)?;
    let top = |kind: RoleType| {
        let missing = || TufError::refused(format!("1.root.json has no role `{kind}`"));
        root.signed.roles.get(&kind).ok_or_else(missing)
    };

    let mut snapshot = Snapshot::new(SPEC_VERSION.into(), one, expiry(now, creation.spec("snapshot")?.days)?);
    let mut put = |name: &str, targets: Targets, authority: &RoleKeys| -> Result<(), TufError> {
        let bytes = file_of(&sign(name, targets, &authority.keyids, authority.threshold, keys)?)?;
        snapshot.meta.insert(format!("{name}.json"), metafile(&bytes, one));
        Ok(store.put(&format!("{METADATA}/1.{name}.json"), &bytes)?)
    };
    let empty = |days: u32| -> Result<Targets, TufError> {
        let mut targets = Targets::new(SPEC_VERSION.into(), one, expiry(now, days)?);
        targets.delegations = None;
        Ok(targets)
    };
    let mut delegations = Delegations::new();
    for role in roles.iter().filter(|r| !TOP_ROLES.contains(&r.name)) {
        let authority = creation.role_keys(role, &mut delegations.keys)?;
        let mut targets = empty(role.days)?;
        if role.bins > 0 {
            let mut below = Delegations::new();
            creation.role_keys(role, &mut below.keys)?;
            below.roles = bins(role, &authority)?;
            for bin in &below.roles {
                put(&bin.name, empty(role.days)?, &authority)?;
            }
            targets.delegations = Some(below);
        }
        put(role.name, targets, &authority)?;
        let patterns = role.paths.iter().map(|p| PathPattern::new(*p)).collect::<Result<_, _>>()?;
        delegations.roles.push(DelegatedRole {
            name: role.name.into(),
            keyids: authority.keyids,
            threshold: authority.threshold,
            paths: PathSet::Paths(patterns),
            terminating: true,
            targets: None,
        });
    }
    let mut targets = empty(creation.spec("targets")?.days)?;
    targets.delegations = Some(delegations);
    targets._extra = creation.notes.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    put("targets", targets, top(RoleType::Targets)?)?;

    let authority = top(RoleType::Snapshot)?;
    let bytes = file_of(&sign("snapshot", snapshot, &authority.keyids, authority.threshold, keys)?)?;
    store.put(&format!("{METADATA}/1.snapshot.json"), &bytes)?;
    let days = creation.spec("timestamp")?.days;
    let mut timestamp = TimestampRole::new(SPEC_VERSION.into(), one, expiry(now, days)?);
    timestamp.meta.insert("snapshot.json".into(), metafile(&bytes, one));
    let authority = top(RoleType::Timestamp)?;
    let bytes = file_of(&sign("timestamp", timestamp, &authority.keyids, authority.threshold, keys)?)?;
    store.put(TIMESTAMP, &bytes)?;
    Ok(())
}
