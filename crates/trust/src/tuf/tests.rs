//! Repositories under attack.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

#[path = "../../tests/support/copied.rs"]
mod copied;
mod rotation;
mod writers;

use copied::copy_tree;

use super::*;
use crate::{Keyring, to_sorted_json};

const ROLES: &[RoleSpec] = &[
    RoleSpec { name: "root", keys: &["root-1", "root-2", "root-3"], threshold: 2, days: 365, paths: &[], bins: 0 },
    RoleSpec { name: "targets", keys: &["root-1", "root-2", "root-3"], threshold: 2, days: 365, paths: &[], bins: 0 },
    RoleSpec { name: "snapshot", keys: &["online"], threshold: 1, days: 7, paths: &[], bins: 0 },
    RoleSpec { name: "timestamp", keys: &["online"], threshold: 1, days: 1, paths: &[], bins: 0 },
    RoleSpec { name: "many", keys: &["many-1"], threshold: 1, days: 183, paths: &["file.*"], bins: 4 },
    RoleSpec {
        name: "two",
        keys: &["two-1", "two-2", "two-3"],
        threshold: 2,
        days: 14,
        paths: &["pointer.json"],
        bins: 0,
    },
];
const KEYS: &[&str] = &["root-1", "root-2", "root-3", "online", "many-1", "two-1", "two-2", "two-3"];
const DAY: Duration = Duration::from_secs(86_400);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_790_000_000, 987_654_321)
}

fn make(store: &dyn Store, keys: &Keyring, now: SystemTime) -> Result<(), TufError> {
    let (public, notes) = Default::default();
    let marks = BTreeMap::from([("mark".into(), json!(true))]);
    create(store, &Creation { roles: ROLES, keys, public: &public, marks: &marks, notes: &notes }, now)
}

struct Fixture {
    folder: tempfile::TempDir,
    keys: Keyring,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::of_folder(&folder.path().join("keys"), KEYS, true).unwrap();
        let this = Self { folder, keys };
        make(&this.store(), &this.keys, start()).unwrap();
        this
    }

    fn path(&self) -> PathBuf {
        // A name that an address would have to escape.
        self.folder.path().join("répo sitory%20")
    }

    fn store(&self) -> FolderStore {
        FolderStore::new(self.path())
    }

    fn without(mut self, names: &[&str]) -> Self {
        names.iter().for_each(|n| self.keys.remove(n));
        self
    }

    fn set(&self, store: &dyn Store, role: &str, name: &str, content: &str, now: SystemTime) -> Result<(), TufError> {
        let mut editor = Editor::open(store, ROLES)?;
        editor.set_target(role, name, content.as_bytes().to_vec())?;
        editor.commit(&self.keys, now)
    }

    fn edit(&self, file: &str, change: impl Fn(&mut Value)) {
        let path = self.path().join(file);
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, to_sorted_json(&value).unwrap()).unwrap();
    }
}

/// What a client reads of a target at a time: the one place that loads and reads.
fn check(folder: &Path, name: &str, memory: Option<&Path>, now: SystemTime) -> Result<Option<String>, TufError> {
    let client = Client::load_own(folder, memory)?;
    client.check_expiry(now)?;
    Ok(client.read_target(name, 1000)?.map(|b| String::from_utf8(b).unwrap()))
}

#[track_caller]
fn refused(result: Result<Option<String>, TufError>, says: &str) {
    let error = result.expect_err("this must be refused");
    assert!(error.is_refusal(), "{error:?} is no refusal");
    assert!(error.to_string().contains(says), "`{error}` does not say `{says}`");
}

#[test]
fn what_was_published_is_read_again_and_nothing_else() {
    let fixture = Fixture::new();
    fixture.set(&fixture.store(), "many", "file.1", "one", start()).unwrap();
    fixture.set(&fixture.store(), "two", "pointer.json", "to one", start() + DAY / 2).unwrap();
    let now = start() + DAY;
    assert_eq!(check(&fixture.path(), "file.1", None, now).unwrap().unwrap(), "one");
    assert_eq!(check(&fixture.path(), "pointer.json", None, now).unwrap().unwrap(), "to one");
    assert_eq!(check(&fixture.path(), "file.2", None, now).unwrap(), None);
    let client = Client::load_own(&fixture.path(), None).unwrap();
    assert_eq!(client.mark("mark"), Some(&json!(true)));
    assert_eq!(client.targets_of("many").unwrap().len(), 1);
    let versions: Vec<(String, u64)> = client.authorities().into_iter().map(|a| (a.role, a.version)).collect();
    let expected = [("root", 1), ("timestamp", 3), ("snapshot", 3), ("targets", 1), ("many", 1), ("two", 2)];
    assert_eq!(versions, expected.map(|(r, v)| (r.to_owned(), v)));
    assert!(matches!(client.read_target("file.1", 2), Err(TufError::TooLong { .. })));
}

#[test]
fn expired_timestamp_is_refused_and_renewed_by_the_next_change() {
    let fixture = Fixture::new();
    check(&fixture.path(), "x", None, start() + DAY).unwrap();
    refused(check(&fixture.path(), "x", None, start() + DAY + Duration::from_secs(1)), "`timestamp` expired at 2026-");
    let later = start() + 200 * DAY;
    fixture.set(&fixture.store(), "many", "file.1", "one", later).unwrap();
    check(&fixture.path(), "file.1", None, later).unwrap().unwrap();
    // The offline roles were past half of their lives, and their keys at hand: a client with the first root follows.
    let client = Client::load_own(&fixture.path(), None).unwrap();
    assert!(client.authorities().iter().filter(|a| a.role == "root" || a.role == "targets").all(|a| a.version == 2));
    check(&fixture.path(), "file.1", None, later + DAY).unwrap().unwrap();
}

#[test]
fn offline_keys_are_needed_only_when_their_roles_have_expired() {
    let fixture = Fixture::new().without(&["root-1", "root-2", "root-3"]);
    fixture.set(&fixture.store(), "many", "file.1", "one", start() + 364 * DAY).unwrap();
    let late = fixture.set(&fixture.store(), "many", "file.2", "two", start() + 366 * DAY);
    assert!(matches!(late, Err(TufError::TooFewKeys { have: 0, needed: 2, .. })));
}

#[test]
fn a_role_signed_by_too_few_of_its_keys_is_refused() {
    let fixture = Fixture::new().without(&["two-1", "two-3"]);
    let before = fs::read(fixture.path().join(TIMESTAMP)).unwrap();
    let error = fixture.set(&fixture.store(), "two", "pointer.json", "x", start()).unwrap_err();
    assert!(matches!(error, TufError::TooFewKeys { ref role, have: 1, needed: 2 } if role == "two"), "{error}");
    assert_eq!(fs::read(fixture.path().join(TIMESTAMP)).unwrap(), before, "something was written");
    // The same from the other side: one signature taken out of what two keys signed.
    let fixture = Fixture::new();
    fixture.set(&fixture.store(), "two", "pointer.json", "x", start()).unwrap();
    fixture.edit("metadata/2.two.json", |v| {
        v["signatures"].as_array_mut().unwrap().truncate(1);
    });
    refused(check(&fixture.path(), "pointer.json", None, start()), "mismatch");
}

#[test]
fn a_stolen_online_key_adds_no_target() {
    // Whoever holds snapshot and timestamp keys can re-sign those, over a role that was tampered with.
    let fixture = Fixture::new();
    fixture.edit("metadata/1.many.json", |v| {
        v["signed"]["targets"]["file.evil"] = json!({"length": 1, "hashes": {"sha256": "00".repeat(32)}});
    });
    let tampered = fs::read(fixture.path().join("metadata/1.many.json")).unwrap();
    let online = Keyring::of_folder(&fixture.folder.path().join("keys"), &["online"], false).unwrap();
    resign(&fixture, &online, |meta| meta["many.json"] = describe(&tampered, 1));
    refused(check(&fixture.path(), "file.evil", None, start()), "threshold of 1 not met");
}

#[test]
fn too_few_signatures_are_refused_even_where_the_snapshot_vouches_for_them() {
    let fixture = Fixture::new();
    let online = Keyring::of_folder(&fixture.folder.path().join("keys"), &["online"], false).unwrap();
    for left in [2, 1] {
        fixture.edit("metadata/1.two.json", |v| v["signatures"].as_array_mut().unwrap().truncate(left));
        let role = fs::read(fixture.path().join("metadata/1.two.json")).unwrap();
        resign(&fixture, &online, |meta| meta["two.json"] = describe(&role, 1));
        match left {
            2 => drop(check(&fixture.path(), "x", None, start()).unwrap()),
            _ => refused(check(&fixture.path(), "x", None, start()), "threshold of 2 not met"),
        }
    }
}

fn describe(bytes: &[u8], version: u64) -> Value {
    json!({"length": bytes.len(), "hashes": {"sha256": crate::sha256_hex(bytes)}, "version": version})
}

/// Signs snapshot and timestamp anew, as an attacker with the online key does.
fn resign(fixture: &Fixture, online: &Keyring, change: impl Fn(&mut Value)) {
    resign_from(fixture, online, 1, change);
}

fn resign_from(fixture: &Fixture, online: &Keyring, version: u64, change: impl Fn(&mut Value)) {
    use tough::schema::{Signed, Snapshot, Timestamp};
    let read = |name: &str| fs::read(fixture.path().join("metadata").join(name)).unwrap();
    let (id, _) = sign::tuf_key(online.get("online").unwrap().public_key()).unwrap();
    let one = std::num::NonZeroU64::MIN;
    let mut snapshot: Value = serde_json::from_slice(&read(&format!("{version}.snapshot.json"))).unwrap();
    change(&mut snapshot["signed"]["meta"]);
    let snapshot: Signed<Snapshot> = serde_json::from_value(snapshot).unwrap();
    let ids = std::slice::from_ref(&id);
    let bytes = sign::file_of(&sign::sign("snapshot", snapshot.signed, ids, one, online).unwrap()).unwrap();
    let mut timestamp: Signed<Timestamp> = serde_json::from_slice(&read("timestamp.json")).unwrap();
    timestamp.signed.meta.insert("snapshot.json".into(), sign::metafile(&bytes, version.try_into().unwrap()));
    let timestamp = sign::sign("timestamp", timestamp.signed, ids, one, online).unwrap();
    fs::write(fixture.path().join(format!("metadata/{version}.snapshot.json")), bytes).unwrap();
    fs::write(fixture.path().join(TIMESTAMP), sign::file_of(&timestamp).unwrap()).unwrap();
}

#[test]
fn a_snapshot_that_leaves_out_a_role_is_refused() {
    let fixture = Fixture::new();
    let online = Keyring::of_folder(&fixture.folder.path().join("keys"), &["online"], false).unwrap();
    resign(&fixture, &online, |meta| {
        meta.as_object_mut().unwrap().remove("two.json");
    });
    refused(check(&fixture.path(), "x", None, start()), "leaves out the role `two`");
}

#[test]
fn changed_metadata_and_targets_are_refused() {
    for file in ["1.root.json", "1.targets.json", "1.many.json", "2.two.json", "2.snapshot.json", "timestamp.json"] {
        let fixture = Fixture::new();
        fixture.set(&fixture.store(), "two", "pointer.json", "x", start()).unwrap();
        fixture.edit(&format!("metadata/{file}"), |v| v["signed"]["expires"] = "2099-01-01T00:00:00Z".into());
        refused(check(&fixture.path(), "pointer.json", None, start()), "");
    }
    let fixture = Fixture::new();
    fixture.set(&fixture.store(), "two", "pointer.json", "x", start()).unwrap();
    let target = fs::read_dir(fixture.path().join("targets")).unwrap().next().unwrap().unwrap().path();
    for content in ["y", "longer", ""] {
        fs::write(&target, content).unwrap();
        refused(check(&fixture.path(), "pointer.json", None, start()), "");
    }
    fs::remove_file(&target).unwrap();
    refused(check(&fixture.path(), "pointer.json", None, start()), "");
}

#[test]
fn garbage_and_endless_metadata_are_refused() {
    for (file, content) in [
        ("timestamp.json", vec![b' '; 1 << 20]),
        ("timestamp.json", [vec![b'['; 60_000], vec![b']'; 1]].concat()),
        ("timestamp.json", b"\xff\xfe".to_vec()),
        ("1.snapshot.json", b"{}".to_vec()),
        ("1.root.json", b"{}".to_vec()),
        ("2.root.json", b"{}".to_vec()),
    ] {
        let fixture = Fixture::new();
        fs::write(fixture.path().join("metadata").join(file), content).unwrap();
        refused(check(&fixture.path(), "x", None, start()), "");
    }
}

#[cfg(unix)]
#[test]
fn links_in_a_repository_are_not_followed() {
    let fixture = Fixture::new();
    let outside = fixture.folder.path().join("outside");
    fs::rename(fixture.path().join("metadata/1.many.json"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, fixture.path().join("metadata/1.many.json")).unwrap();
    refused(check(&fixture.path(), "x", None, start()), "not a regular file");
}

#[test]
fn a_repository_that_went_back_is_refused_by_who_saw_the_newer_one() {
    let fixture = Fixture::new();
    let old = fixture.folder.path().join("old");
    copy_tree(&fixture.path(), &old);
    fixture.set(&fixture.store(), "two", "pointer.json", "x", start()).unwrap();
    let memory = fixture.folder.path().join("memory");
    check(&fixture.path(), "pointer.json", Some(&memory), start()).unwrap();
    check(&old, "pointer.json", None, start()).unwrap();
    refused(check(&old, "pointer.json", Some(&memory), start()), "timestamp");
}

#[test]
fn another_root_is_refused() {
    let [fixture, other] = [Fixture::new(), Fixture::new()];
    let root = fs::read(other.path().join("metadata/1.root.json")).unwrap();
    let error = Client::load(&fixture.path(), &root, None).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("threshold"), "{error}");
}

#[test]
fn names_without_authority_change_nothing() {
    let fixture = Fixture::new();
    for (role, name) in [
        ("many", "pointer.json"),
        ("two", "file.1"),
        ("nobody", "file.1"),
        ("many", "file./../x"),
        ("many", "file.a/b"),
        ("targets", "file.1"),
        ("many", ""),
    ] {
        let result = fixture.set(&fixture.store(), role, name, "x", start());
        assert!(matches!(result, Err(TufError::NoAuthority { .. })), "{role} {name}");
    }
}

/// Dies after some writes: of the last one, half reaches a temporary file.
struct DyingStore {
    inner: FolderStore,
    left: AtomicUsize,
}

impl Store for DyingStore {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err() {
            let folder = self.inner.source().place().join(name);
            fs::create_dir_all(folder.parent().unwrap()).unwrap();
            fs::write(folder.with_file_name(".plimsoll-torn"), &bytes[..bytes.len() / 2]).unwrap();
            return Err(StoreError::Io { path: folder, source: std::io::ErrorKind::StorageFull.into() });
        }
        self.inner.put(name, bytes)
    }

    fn lock(&self) -> Result<Lock, StoreError> {
        self.inner.lock()
    }

    fn source(&self) -> Arc<dyn Source> {
        self.inner.source()
    }
}

#[derive(Debug)]
struct Counting {
    inner: FolderSource,
    opened: std::sync::Mutex<Vec<String>>,
}

impl Source for Counting {
    fn open(&self, name: &str) -> Result<Option<Opened>, crate::ReadError> {
        self.opened.lock().unwrap().push(name.into());
        self.inner.open(name)
    }

    fn place(&self) -> &Path {
        self.inner.place()
    }
}

#[test]
fn a_client_fetches_the_bin_of_its_target_alone_and_nothing_twice() {
    let fixture = Fixture::new();
    for n in 0..20 {
        fixture.set(&fixture.store(), "many", &format!("file.{n}"), "x", start()).unwrap();
    }
    let memory = fixture.folder.path().join("memory");
    let root = fs::read(fixture.path().join("metadata/1.root.json")).unwrap();
    let sync = |target: &str| {
        let source = Arc::new(Counting { inner: FolderSource::new(fixture.path()), opened: Default::default() });
        let client = Client::load_from(Arc::clone(&source) as Arc<dyn Source>, &root, Some(&memory)).unwrap();
        client.read_target(target, 10).unwrap().unwrap();
        source.opened.lock().unwrap().clone()
    };
    let bins = |opened: &[String]| opened.iter().filter(|n| n.contains("many-")).count();
    let first = sync("file.3");
    assert_eq!(bins(&first), 1, "{first:?}");
    let second = sync("file.3");
    assert_eq!(second.len(), 3, "{second:?}");
    let client = Client::load_own(&fixture.path(), None).unwrap();
    assert_eq!(client.targets_of("many").unwrap().len(), 20);
}
