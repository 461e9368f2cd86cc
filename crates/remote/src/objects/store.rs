//! Objects as keepers write them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use object_store::PutMode;
use plimsoll_trust::tuf::{Lock, Source, Store, StoreError};

use super::{
    io_error,
    lease::{Lease, Times, Where},
    put,
    source::ObjectSource,
};

/// The object that is the lock.
const LOCK: &str = ".lock";

/// A repository in a bucket.
pub(super) struct ObjectsStore {
    source: Arc<ObjectSource>,
    times: Times,
    lease: Mutex<Weak<Lease>>,
}

impl ObjectsStore {
    pub(super) fn of(source: ObjectSource, times: Times) -> Self {
        Self { source: Arc::new(source), times, lease: Mutex::default() }
    }

    /// What was written is there already: the answer to a first try was lost.
    fn is_there(&self, name: &str, bytes: &[u8]) -> bool {
        self.source.get(name, bytes.len() as u64).ok().flatten().is_some_and(|there| there == bytes)
    }
}

impl Store for ObjectsStore {
    /// What was read under the lock is replaced as it was read, or not at all: a writer that was held for dead cannot undo what
    /// the next one did.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let place = || self.source.place().join(name);
        let io = |source| StoreError::Io { path: place(), source };
        let path = self.source.path(name).ok_or_else(|| io(std::io::ErrorKind::InvalidInput.into()))?;
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if lease.is_some_and(|lease| !lease.is_held()) {
            return Err(StoreError::Overtaken { path: place() });
        }
        let mode = match self.source.seen(name) {
            Some(Some(version)) => PutMode::Update(version),
            Some(None) => PutMode::Create,
            None => PutMode::Overwrite,
        };
        let reached = (self.source.objects.as_ref(), &*self.source.runtime);
        match put(reached, &path, bytes, mode).map_err(|e| io(io_error(&e)))? {
            Some(done) => self.source.note(name, done.e_tag.is_some().then(|| done.into())),
            None if self.is_there(name, bytes) => {}
            None => return Err(StoreError::Overtaken { path: place() }),
        }
        Ok(())
    }

    fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.source.path(LOCK);
        let path = path.ok_or_else(|| StoreError::Io {
            path: self.source.place().into(),
            source: std::io::ErrorKind::InvalidInput.into(),
        })?;
        let at = Where {
            objects: Arc::clone(&self.source.objects),
            runtime: Arc::clone(&self.source.runtime),
            path,
            place: self.source.place().into(),
        };
        let lease = Arc::new(Lease::take(at, self.times)?);
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&lease);
        // What was read before may have been changed by the holder before.
        self.source.forget();
        Ok(Lock::new(lease))
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as Arc<dyn Source>
    }
}
