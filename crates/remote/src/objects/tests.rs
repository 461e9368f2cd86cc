//! The store's promises, kept by a store in memory that knows conditional puts.

use std::{path::Path, sync::Arc, thread, time::Duration};

use object_store::memory::InMemory;
use plimsoll_trust::tuf::{Store, StoreError};

use super::{lease::Times, runtime, source::ObjectSource, store::ObjectsStore};

const PLACE: &str = "s3://models/sleep-wake";

fn times(beat: u64, lease: u64) -> Times {
    Times { beat: Duration::from_millis(beat), lease: Duration::from_millis(lease) }
}

/// A writer of a bucket.
fn writer(bucket: &Arc<InMemory>, times: Times) -> ObjectsStore {
    let objects = Arc::clone(bucket) as Arc<dyn object_store::ObjectStore>;
    let source = ObjectSource::new(Path::new(PLACE), objects, "sleep-wake/", Arc::new(runtime().unwrap()));
    ObjectsStore::of(source, times)
}

fn text(store: &ObjectsStore, name: &str) -> Option<String> {
    store.source().get(name, 100).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn names_that_lead_elsewhere_open_nothing_and_are_not_written() {
    let bucket = Arc::new(InMemory::new());
    let store = writer(&bucket, Times::default());
    store.put("inside", b"x").unwrap();
    assert_eq!(text(&store, "inside").as_deref(), Some("x"));
    for name in ["../sleep-wake/inside", "a/../../inside", "./inside", "", "a//b", "..\\inside"] {
        assert!(store.source().open(name).unwrap().is_none(), "{name}");
        assert!(matches!(store.put(name, b"x"), Err(StoreError::Io { .. })), "{name}");
    }
}

#[test]
fn an_object_longer_than_allowed_is_refused() {
    let bucket = Arc::new(InMemory::new());
    let store = writer(&bucket, Times::default());
    store.put("long", &[7; 1_000]).unwrap();
    let error = store.source().get("long", 999).unwrap_err().to_string();
    assert!(error.contains("s3://models/sleep-wake/long") && error.contains("1000 bytes"), "{error}");
    assert_eq!(store.source().get("long", 1_000).unwrap().unwrap(), [7; 1_000]);
}

#[test]
fn a_second_writer_learns_who_is_writing_and_gets_the_lock_once_it_is_free() {
    let bucket = Arc::new(InMemory::new());
    let [one, two] = [writer(&bucket, times(20, 60_000)), writer(&bucket, times(20, 60_000))];
    let held = one.lock().unwrap();
    let error = two.lock().unwrap_err().to_string();
    assert!(error.contains(&format!("is being changed by process {} on ", std::process::id())), "{error}");
    drop(held);
    two.lock().unwrap();
}

#[test]
fn a_writer_that_was_held_for_dead_writes_nothing_more() {
    let bucket = Arc::new(InMemory::new());
    // Its first sign of life would come in an hour: as good as killed.
    let dead = writer(&bucket, times(3_600_000, 100));
    let held = dead.lock().unwrap();
    let next = writer(&bucket, times(20, 100));
    let taken = next.lock().unwrap();
    next.put("metadata/timestamp.json", b"two").unwrap();
    let error = dead.put("metadata/timestamp.json", b"one").unwrap_err();
    assert!(matches!(error, StoreError::Overtaken { .. }), "{error}");
    // Letting go of what is another's by now frees nothing.
    drop(held);
    let error = writer(&bucket, times(20, 60_000)).lock().unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    drop(taken);
    assert_eq!(text(&next, "metadata/timestamp.json").as_deref(), Some("two"));
}

#[test]
fn what_was_read_is_replaced_as_it_was_read_or_not_at_all() {
    let bucket = Arc::new(InMemory::new());
    let [one, two] = [writer(&bucket, Times::default()), writer(&bucket, Times::default())];
    assert_eq!(text(&one, "timestamp"), None);
    two.put("timestamp", b"two").unwrap();
    assert!(matches!(one.put("timestamp", b"one"), Err(StoreError::Overtaken { .. })), "it was not there");
    assert_eq!(text(&one, "timestamp").as_deref(), Some("two"));
    one.put("timestamp", b"one").unwrap();
    assert!(matches!(two.put("timestamp", b"three"), Err(StoreError::Overtaken { .. })), "it is another by now");
    assert_eq!(text(&one, "timestamp").as_deref(), Some("one"));
    // The same bytes are there already: the answer to the first try was lost.
    two.put("timestamp", b"one").unwrap();
}

#[test]
fn of_many_writers_one_writes_at_a_time() {
    const WRITERS: usize = 4;
    const EACH: usize = 5;
    let bucket = Arc::new(InMemory::new());
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let store = writer(&bucket, times(5, 2_000));
                let mut done = 0;
                while done < EACH {
                    let Ok(_held) = store.lock() else { continue };
                    let count: usize = text(&store, "count").map_or(0, |t| t.parse().unwrap());
                    // A machine that stood still for a lease has lost the lock, and is told so.
                    done += usize::from(store.put("count", (count + 1).to_string().as_bytes()).is_ok());
                }
            });
        }
    });
    let count = text(&writer(&bucket, Times::default()), "count").unwrap();
    assert_eq!(count, (WRITERS * EACH).to_string());
}
