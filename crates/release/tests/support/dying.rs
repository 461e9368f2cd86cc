//! A store whose publisher dies.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use plimsoll_trust::tuf::{FolderStore, Lock, Source, Store, StoreError};

/// Dies after some writes.
pub(crate) struct DyingStore {
    pub(crate) inner: FolderStore,
    pub(crate) left: AtomicUsize,
}

impl Store for DyingStore {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
            Ok(_) => self.inner.put(name, bytes),
            Err(_) => Err(StoreError::Io { path: name.into(), source: std::io::ErrorKind::StorageFull.into() }),
        }
    }

    fn lock(&self) -> Result<Lock, StoreError> {
        self.inner.lock()
    }

    fn source(&self) -> Arc<dyn Source> {
        self.inner.source()
    }
}
