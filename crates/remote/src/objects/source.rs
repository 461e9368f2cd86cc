//! Objects as clients read them.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, stream::BoxStream};
use object_store::{GetOptions, ObjectMeta, ObjectStore, UpdateVersion, path::Path as ObjectPath};
use plimsoll_trust::{
    ReadError,
    tuf::{Opened, Source},
};
use tokio::runtime::Runtime;

use super::io_error;

/// What was seen of an object when it was read last: a version, or that there was none.
pub(super) type Seen = Option<UpdateVersion>;

/// The objects below a prefix.
pub(super) struct ObjectSource {
    place: PathBuf,
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) prefix: String,
    pub(super) runtime: Arc<Runtime>,
    seen: Mutex<BTreeMap<String, Seen>>,
}

impl fmt::Debug for ObjectSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectSource({})", self.place.display())
    }
}

impl ObjectSource {
    pub(super) fn new(place: &Path, objects: Arc<dyn ObjectStore>, prefix: &str, runtime: Arc<Runtime>) -> Self {
        Self { place: place.into(), objects, prefix: prefix.into(), runtime, seen: Mutex::default() }
    }

    /// Where an object lies; nothing for a name that leads elsewhere.
    pub(super) fn path(&self, name: &str) -> Option<ObjectPath> {
        // Names come from metadata.
        let leads = |part: &str| matches!(part, "" | "." | "..") || part.contains('\\');
        if name.split('/').any(leads) {
            return None;
        }
        ObjectPath::parse(format!("{}{name}", self.prefix)).ok()
    }

    /// What was seen of an object, since everything was forgotten last.
    pub(super) fn seen(&self, name: &str) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn note(&self, name: &str, seen: Seen) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), seen);
    }

    pub(super) fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The version of an object, where the store tells versions apart.
pub(super) fn version(meta: &ObjectMeta) -> Seen {
    meta.e_tag.is_some().then(|| UpdateVersion { e_tag: meta.e_tag.clone(), version: meta.version.clone() })
}

impl Source for ObjectSource {
    fn open(&self, name: &str) -> Result<Option<Opened>, ReadError> {
        let Some(path) = self.path(name) else { return Ok(None) };
        match self.runtime.block_on(self.objects.get_opts(&path, GetOptions::default())) {
            Ok(found) => {
                if let Some(version) = version(&found.meta) {
                    self.note(name, Some(version));
                }
                let bytes = found.meta.size;
                let stream = found.into_stream();
                let content = Streamed { runtime: Arc::clone(&self.runtime), stream, piece: None, at: 0 };
                Ok(Some(Opened { content: Box::new(content), bytes }))
            }
            Err(object_store::Error::NotFound { .. }) => {
                self.note(name, None);
                Ok(None)
            }
            Err(e) => Err(ReadError::Io { path: self.place.join(name), source: io_error(&e) }),
        }
    }

    fn place(&self) -> &Path {
        &self.place
    }
}

/// Bytes as they come.
struct Streamed<B> {
    runtime: Arc<Runtime>,
    stream: BoxStream<'static, object_store::Result<B>>,
    piece: Option<B>,
    at: usize,
}

impl<B: AsRef<[u8]>> Read for Streamed<B> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.piece.as_ref().and_then(|piece| piece.as_ref().get(self.at..)).unwrap_or_default();
            if into.is_empty() || !left.is_empty() {
                let n = left.len().min(into.len());
                if let (Some(into), Some(left)) = (into.get_mut(..n), left.get(..n)) {
                    into.copy_from_slice(left);
                }
                self.at += n;
                return Ok(n);
            }
            match self.runtime.block_on(self.stream.next()) {
                Some(piece) => (self.piece, self.at) = (Some(piece.map_err(|e| io_error(&e))?), 0),
                None => return Ok(0),
            }
        }
    }
}
