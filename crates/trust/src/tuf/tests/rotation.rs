//! Keys that go and come, and who follows.

use super::*;

/// A key that is no role's yet.
fn draw(fixture: &mut Fixture, name: &str) -> String {
    let ring = Keyring::of_folder(&fixture.folder.path().join("new"), &[name], true).unwrap();
    let id = key_id(ring.get(name).unwrap().public_key()).unwrap();
    let key = crate::FileKey::read(&fixture.folder.path().join(format!("new/{name}.pem"))).unwrap();
    fixture.keys.insert(name, Box::new(key));
    id
}

fn id_of(fixture: &Fixture, name: &str) -> String {
    key_id(fixture.keys.get(name).unwrap().public_key()).unwrap()
}

fn rotate(fixture: &Fixture, store: &dyn Store, old: &str, new: Option<&str>) -> Result<Vec<String>, TufError> {
    let mut editor = Editor::open(store, ROLES)?;
    let new = new.map(|n| fixture.keys.get(n).unwrap().public_key());
    let roles = editor.replace_key(&id_of(fixture, old), new, None)?;
    editor.commit(&fixture.keys, start()).map(|()| roles)
}

#[test]
fn clients_of_the_first_root_follow_every_rotation() {
    let mut fixture = Fixture::new();
    let first_root = fs::read(fixture.path().join("metadata/1.root.json")).unwrap();
    let memory = fixture.folder.path().join("memory");
    fixture.set(&fixture.store(), "many", "file.1", "one", start()).unwrap();
    fixture.set(&fixture.store(), "two", "pointer.json", "x", start()).unwrap();
    let all = ["root-1", "root-2", "online", "many-1", "two-1"];
    for (n, old) in all.into_iter().enumerate() {
        let new = format!("new-{n}");
        draw(&mut fixture, &new);
        let roles = rotate(&fixture, &fixture.store(), old, Some(&new)).unwrap();
        let expected: &[&str] = match old {
            "online" => &["snapshot", "timestamp"],
            "many-1" => &["many"],
            "two-1" => &["two"],
            _ => &["root", "targets"],
        };
        assert_eq!(roles, expected);
        fixture.keys.remove(old);
        for memory in [None, Some(memory.as_path())] {
            let client = Client::load(&fixture.path(), &first_root, memory).unwrap();
            client.check_expiry(start()).unwrap();
            assert_eq!(client.read_target("file.1", 100).unwrap().unwrap(), b"one");
            assert_eq!(client.read_target("pointer.json", 100).unwrap().unwrap(), b"x");
        }
        // The new keys do the work of the old one.
        fixture.set(&fixture.store(), "many", &format!("file.{old}"), "more", start()).unwrap();
        fixture.set(&fixture.store(), "two", "pointer.json", "x", start()).unwrap();
    }
    assert_eq!(Client::load_own(&fixture.path(), None).unwrap().authorities()[0].version, 4);
}

#[test]
fn what_a_revoked_key_signs_is_refused() {
    let fixture = Fixture::new();
    fixture.set(&fixture.store(), "two", "pointer.json", "x", start()).unwrap();
    let roles = rotate(&fixture, &fixture.store(), "two-1", None).unwrap();
    assert_eq!(roles, ["two"]);
    // The thief has the revoked key and one that is good, and the online key as well.
    let mut role: tough::schema::Signed<tough::schema::Targets> =
        serde_json::from_slice(&fs::read(fixture.path().join("metadata/3.two.json")).unwrap()).unwrap();
    let ids: Vec<_> =
        ["two-1", "two-2"].map(|n| sign::tuf_key(fixture.keys.get(n).unwrap().public_key()).unwrap().0).to_vec();
    role.signatures =
        sign::signatures_of(&tough::schema::Role::canonical_form(&role.signed).unwrap(), &ids, &fixture.keys).unwrap();
    assert_eq!(role.signatures.len(), 2);
    let bytes = sign::file_of(&role).unwrap();
    fs::write(fixture.path().join("metadata/3.two.json"), &bytes).unwrap();
    let online = Keyring::of_folder(&fixture.folder.path().join("keys"), &["online"], false).unwrap();
    resign_from(&fixture, &online, 3, |meta| meta["two.json"] = describe(&bytes, 3));
    refused(check(&fixture.path(), "pointer.json", None, start()), "the role `two`: Signature threshold of 2 not met");
}

#[test]
fn a_key_that_its_role_cannot_do_without_is_not_revoked() {
    let fixture = Fixture::new();
    let before = fs::read(fixture.path().join(TIMESTAMP)).unwrap();
    let error = rotate(&fixture, &fixture.store(), "many-1", None).unwrap_err();
    assert!(matches!(error, TufError::TooFewLeft { left: 0, needed: 1, .. }), "{error}");
    let mut editor = Editor::open(&*Box::leak(Box::new(fixture.store())), ROLES).unwrap();
    assert!(matches!(editor.replace_key("00", None, None), Err(TufError::UnknownKey { .. })));
    let elsewhere = editor.replace_key(&id_of(&fixture, "two-1"), None, Some("many"));
    assert!(matches!(elsewhere, Err(TufError::UnknownKey { .. })));
    assert_eq!(fs::read(fixture.path().join(TIMESTAMP)).unwrap(), before);
}

#[test]
fn a_root_signed_by_too_few_old_keys_is_not_written_nor_followed() {
    let mut fixture = Fixture::new();
    draw(&mut fixture, "new");
    for lost in ["root-2", "root-3"] {
        fixture.keys.remove(lost);
    }
    let error = rotate(&fixture, &fixture.store(), "root-1", Some("new")).unwrap_err();
    assert!(matches!(error, TufError::TooFewKeys { have: 1, needed: 2, .. }), "{error}");
    assert!(!fixture.path().join("metadata/2.root.json").exists());
    // A thief with one of the old keys makes a root of his own keys and that one.
    let mut root: Value =
        serde_json::from_slice(&fs::read(fixture.path().join("metadata/1.root.json")).unwrap()).unwrap();
    root["signed"]["version"] = 2.into();
    let root: tough::schema::Signed<tough::schema::Root> = serde_json::from_value(root).unwrap();
    let ids: Vec<_> =
        ["root-1", "new"].map(|n| sign::tuf_key(fixture.keys.get(n).unwrap().public_key()).unwrap().0).to_vec();
    let signed = sign::sign("root", root.signed, &ids, std::num::NonZeroU64::MIN, &fixture.keys).unwrap();
    fs::write(fixture.path().join("metadata/2.root.json"), sign::file_of(&signed).unwrap()).unwrap();
    refused(check(&fixture.path(), "x", None, start()), "the role `root`: Signature threshold of 2 not met");
}

#[test]
fn a_rotation_that_dies_anywhere_leaves_a_repository_that_clients_follow() {
    // With the old online key at hand there is no moment at which clients are refused; without it there is one, which the next
    // change ends.
    for lost in [false, true] {
        let mut completed = false;
        for writes in 0..8 {
            let mut fixture = Fixture::new();
            fixture.set(&fixture.store(), "two", "pointer.json", "x", start()).unwrap();
            draw(&mut fixture, "new");
            let old = id_of(&fixture, "online");
            if lost {
                fixture.keys.remove("online");
            }
            let dying = DyingStore { inner: fixture.store(), left: writes.into() };
            let mut editor = Editor::open(&dying, ROLES).unwrap();
            editor.replace_key(&old, Some(fixture.keys.get("new").unwrap().public_key()), None).unwrap();
            let result = editor.commit(&fixture.keys, start());
            completed |= result.is_ok();
            let between = lost && writes == 2;
            match check(&fixture.path(), "pointer.json", None, start()) {
                Ok(seen) => assert_eq!((seen.as_deref(), between), (Some("x"), false)),
                Err(error) => assert!(between && result.is_err(), "after {writes} writes: {error}"),
            }
            if between {
                fixture.set(&fixture.store(), "two", "pointer.json", "y", start()).unwrap();
                let seen = check(&fixture.path(), "pointer.json", None, start()).unwrap();
                assert_eq!(seen.as_deref(), Some("y"));
            }
        }
        assert!(completed, "no number of writes was enough");
    }
}
