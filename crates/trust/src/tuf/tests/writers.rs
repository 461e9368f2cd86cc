//! Writers that die, and writers that meet.

use super::*;

#[test]
fn a_writer_that_dies_leaves_the_old_state_and_the_next_one_repairs() {
    let mut completed = false;
    for writes in 0..16 {
        let fixture = Fixture::new();
        fixture.set(&fixture.store(), "two", "pointer.json", "old", start()).unwrap();
        let dying = DyingStore { inner: fixture.store(), left: writes.into() };
        // So late that root and targets are renewed as well: the longest change there is.
        let now = start() + 200 * DAY;
        match fixture.set(&dying, "two", "pointer.json", "new", now) {
            Ok(()) => completed = true,
            Err(error) => {
                assert!(matches!(error, TufError::Store(_)), "{error}");
                let seen = check(&fixture.path(), "pointer.json", None, start()).unwrap();
                assert_eq!(seen.as_deref(), Some("old"), "after {writes} writes");
                fixture.set(&fixture.store(), "two", "pointer.json", "newer", now).unwrap();
                let seen = check(&fixture.path(), "pointer.json", None, now).unwrap();
                assert_eq!(seen.as_deref(), Some("newer"), "after {writes} writes");
            }
        }
    }
    assert!(completed, "no number of writes was enough");
}

#[test]
fn a_creation_that_dies_is_finished_by_the_next() {
    for writes in 0..9 {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::of_folder(&folder.path().join("keys"), KEYS, true).unwrap();
        let store = FolderStore::new(folder.path().join("repository"));
        let dying = DyingStore { inner: store.clone(), left: writes.into() };
        let result = make(&dying, &keys, start());
        assert!(matches!(result, Err(TufError::Store(_))), "after {writes} writes");
        assert!(matches!(check(store.source().place(), "x", None, start()), Err(TufError::NotFound { .. })));
        make(&store, &keys, start() + DAY).unwrap();
        check(store.source().place(), "x", None, start() + DAY).unwrap();
        let again = make(&store, &keys, start());
        assert!(matches!(again, Err(TufError::Exists { .. })));
    }
}

#[test]
fn a_second_writer_waits_outside() {
    let fixture = Fixture::new();
    let [one, two] = [fixture.store(), fixture.store()];
    let editor = Editor::open(&one, ROLES).unwrap();
    assert!(matches!(Editor::open(&two, ROLES), Err(TufError::Store(StoreError::Busy { .. }))));
    drop(editor);
    Editor::open(&two, ROLES).unwrap();
}
