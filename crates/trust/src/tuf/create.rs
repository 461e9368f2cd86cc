//! A new repository: root and all roles, with nothing in them.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU64,
    time::SystemTime,
};

use serde_json::Value;
use tough::schema::{
    DelegatedRole, Delegations, PathPattern, PathSet, RoleKeys, RoleType, Root, Signed, Snapshot, Targets,
    Timestamp as TimestampRole, key::Key,
};

use super::{
    METADATA, RoleSpec, SPEC_VERSION, Store, TIMESTAMP, TOP_ROLES, TufError,
    sign::{KeyId, expiry, file_of, instant, metafile, sign, tuf_key},
};
use crate::{KeyError, Keyring, read_bounded};

const ROOT_LIMIT: u64 = 1 << 20;

fn role_keys(spec: &RoleSpec, keys: &Keyring, known: &mut HashMap<KeyId, Key>) -> Result<RoleKeys, TufError> {
    let mut keyids = Vec::new();
    for name in spec.keys {
        let (id, key) = tuf_key(keys.require(name)?.public_key())?;
        known.insert(id.clone(), key);
        if !keyids.contains(&id) {
            keyids.push(id);
        }
    }
    let threshold = NonZeroU64::new(spec.threshold).filter(|t| t.get() <= keyids.len() as u64);
    let too_few = || TufError::TooFewKeys { role: spec.name.into(), have: keyids.len() as u64, needed: spec.threshold };
    let threshold = threshold.ok_or_else(too_few)?;
    Ok(RoleKeys { keyids, threshold, _extra: HashMap::new() })
}

fn spec<'r>(roles: &'r [RoleSpec], name: &str) -> Result<&'r RoleSpec, TufError> {
    let missing = || TufError::NoAuthority { role: name.into(), target: name.into() };
    roles.iter().find(|r| r.name == name).ok_or_else(missing)
}

/// Makes a repository with these roles; `marks` become fields of its root.
///
/// The timestamp is written last: until then there is no repository for a client, and a killed call can be repeated.
pub fn create(
    store: &dyn Store,
    roles: &[RoleSpec],
    keys: &Keyring,
    marks: &BTreeMap<String, Value>,
    now: SystemTime,
) -> Result<(), TufError> {
    let _lock = store.lock()?;
    if store.folder().join(TIMESTAMP).exists() {
        return Err(TufError::Exists { folder: store.folder().into() });
    }
    let now = instant(now)?;
    let one = NonZeroU64::MIN;
    let root_name = format!("{METADATA}/1.root.json");
    // A root that is there may have been given to clients: a call that was killed half-way is finished with it.
    let root: Signed<Root> = match read_bounded(&store.folder().join(&root_name), ROOT_LIMIT) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| TufError::refused(format!("1.root.json: {e}")))?,
        Err(e) if e.is_not_found() => {
            let root = new_root(roles, keys, marks, expiry(now, spec(roles, "root")?.days)?)?;
            store.put(&root_name, &file_of(&root)?)?;
            root
        }
        Err(e) => return Err(e.into()),
    };
    root.signed.verify_role(&root)?;
    let top = |kind: RoleType| {
        let missing = || TufError::refused(format!("1.root.json has no role `{kind}`"));
        root.signed.roles.get(&kind).ok_or_else(missing)
    };

    let mut snapshot = Snapshot::new(SPEC_VERSION.into(), one, expiry(now, spec(roles, "snapshot")?.days)?);
    let mut delegations = Delegations::new();
    for role in roles.iter().filter(|r| !TOP_ROLES.contains(&r.name)) {
        let RoleKeys { keyids, threshold, .. } = role_keys(role, keys, &mut delegations.keys)?;
        let mut targets = Targets::new(SPEC_VERSION.into(), one, expiry(now, role.days)?);
        targets.delegations = None;
        let bytes = file_of(&sign(role.name, targets, &keyids, threshold, keys)?)?;
        snapshot.meta.insert(format!("{}.json", role.name), metafile(&bytes, one));
        store.put(&format!("{METADATA}/1.{}.json", role.name), &bytes)?;
        let patterns = role.paths.iter().map(|p| PathPattern::new(*p)).collect::<Result<_, _>>()?;
        delegations.roles.push(DelegatedRole {
            name: role.name.into(),
            keyids,
            threshold,
            paths: PathSet::Paths(patterns),
            terminating: true,
            targets: None,
        });
    }
    let mut targets = Targets::new(SPEC_VERSION.into(), one, expiry(now, spec(roles, "targets")?.days)?);
    targets.delegations = Some(delegations);
    let authority = top(RoleType::Targets)?;
    let bytes = file_of(&sign("targets", targets, &authority.keyids, authority.threshold, keys)?)?;
    snapshot.meta.insert("targets.json".into(), metafile(&bytes, one));
    store.put(&format!("{METADATA}/1.targets.json"), &bytes)?;

    let authority = top(RoleType::Snapshot)?;
    let bytes = file_of(&sign("snapshot", snapshot, &authority.keyids, authority.threshold, keys)?)?;
    store.put(&format!("{METADATA}/1.snapshot.json"), &bytes)?;
    let mut timestamp = TimestampRole::new(SPEC_VERSION.into(), one, expiry(now, spec(roles, "timestamp")?.days)?);
    timestamp.meta.insert("snapshot.json".into(), metafile(&bytes, one));
    let authority = top(RoleType::Timestamp)?;
    let bytes = file_of(&sign("timestamp", timestamp, &authority.keyids, authority.threshold, keys)?)?;
    store.put(TIMESTAMP, &bytes)?;
    Ok(())
}

fn new_root(
    roles: &[RoleSpec],
    keys: &Keyring,
    marks: &BTreeMap<String, Value>,
    expires: jiff::Timestamp,
) -> Result<Signed<Root>, TufError> {
    let mut known = HashMap::new();
    let mut top = HashMap::new();
    for (name, kind) in
        TOP_ROLES.iter().zip([RoleType::Root, RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp])
    {
        top.insert(kind, role_keys(spec(roles, name)?, keys, &mut known)?);
    }
    let root_keys = top.get(&RoleType::Root).cloned().ok_or_else(|| KeyError::Missing("root".into()))?;
    let root = Root {
        spec_version: SPEC_VERSION.into(),
        consistent_snapshot: true,
        version: NonZeroU64::MIN,
        expires,
        keys: known,
        roles: top,
        _extra: marks.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
    };
    sign("root", root, &root_keys.keyids, root_keys.threshold, keys)
}
