//! Where a repository lies: what clients read, and what its keepers write. A folder here; object stores are other
//! implementations.

use std::{
    fmt,
    fs::{OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    FileLock, ReadError, atomic,
    disk::{self, Disk, RealDisk},
    read::{is_address, open_regular},
};

/// Why storage failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system, or the service, refused.
    #[error("failed to write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else is writing.
    #[error("the repository {} is being changed by {holder}", path.display())]
    Busy {
        /// The repository.
        path: PathBuf,
        /// Who, as far as they said.
        holder: String,
    },
    /// Somebody else wrote although the lock was ours: it was held for dead, or taken by force.
    #[error("{} was changed by somebody else meanwhile", path.display())]
    Overtaken {
        /// What was to be written.
        path: PathBuf,
    },
}

impl StoreError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room; the repository is as it was before".into()
            }
            Self::Io { path, .. } if is_address(path) => {
                "check the credentials (AWS_ACCESS_KEY_ID, …) and the network; the repository is as it was before".into()
            }
            Self::Io { .. } => "check that the folder may be written; the repository is as it was before".into(),
            Self::Busy { .. } => "wait for the other to finish, and try again".into(),
            Self::Overtaken { .. } => {
                "nothing of this change took effect; see what the other did (`plimsoll channel status`), and do it again".into()
            }
        })
    }
}

/// Keeps other writers out for as long as it lives.
pub struct Lock {
    _held: Box<dyn Send>,
}

impl Lock {
    /// Something that lets go when it is dropped.
    pub fn new(held: impl Send + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// An object that is open for reading, and its length.
pub struct Opened {
    /// Its bytes.
    pub content: Box<dyn Read + Send>,
    /// How many there are, as far as the storage says.
    pub bytes: u64,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} bytes)", self.bytes)
    }
}

/// What clients read. Names have `/` between folders and no `..`.
pub trait Source: Send + Sync + fmt::Debug {
    /// Opens an object; nothing where there is none.
    fn open(&self, name: &str) -> Result<Option<Opened>, ReadError>;

    /// What people call it: a path or an address.
    fn place(&self) -> &Path;

    /// The bytes of an object of at most `limit` bytes; nothing where there is none.
    fn get(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let path = || self.place().join(name);
        let Some(Opened { content, bytes }) = self.open(name)? else { return Ok(None) };
        if bytes > limit {
            return Err(ReadError::TooLong { path: path(), bytes, limit });
        }
        let mut read = Vec::new();
        // One byte more than allowed: what the storage said of the length may be wrong.
        let mut content = content.take(limit.saturating_add(1));
        content.read_to_end(&mut read).map_err(|source| ReadError::Io { path: path(), source })?;
        match read.len() as u64 {
            bytes if bytes > limit => Err(ReadError::TooLong { path: path(), bytes, limit }),
            _ => Ok(Some(read)),
        }
    }
}

/// What keepers write.
pub trait Store: Send + Sync {
    /// Writes one object so that a reader sees the old bytes or the new, and so that it stays after a power cut.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
    /// Keeps other writers out, or says who is writing.
    fn lock(&self) -> Result<Lock, StoreError>;
    /// The same, as clients read it.
    fn source(&self) -> Arc<dyn Source>;
}

/// The files of a folder, never through a link or a pipe.
#[derive(Debug, Clone)]
pub struct FolderSource {
    folder: PathBuf,
}

impl FolderSource {
    /// The repository of a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

impl Source for FolderSource {
    fn open(&self, name: &str) -> Result<Option<Opened>, ReadError> {
        let path = self.folder.join(name);
        // Names come from metadata: what would lead elsewhere is nothing that is there.
        let leads = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains(['\\', '\0']);
        if name.split('/').any(leads) {
            return Ok(None);
        }
        match open_regular(&path) {
            Ok((file, bytes)) => Ok(Some(Opened { content: Box::new(file), bytes })),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn place(&self) -> &Path {
        &self.folder
    }
}

/// A repository in a folder.
#[derive(Clone)]
pub struct FolderStore {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
}

impl fmt::Debug for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderStore({})", self.folder.display())
    }
}

impl FolderStore {
    /// The repository of a folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self::on(folder, Arc::new(RealDisk))
    }

    /// The same on another file system.
    pub fn on(folder: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Self {
        Self { folder: folder.into(), disk }
    }
}

impl Store for FolderStore {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let io = |source| StoreError::Io { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            disk::make_folders(self.disk.as_ref(), folder).map_err(io)?;
        }
        disk::replace(self.disk.as_ref(), &path, bytes).map_err(io)
    }

    fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.folder.join(".lock");
        let io = |source| StoreError::Io { path: path.clone(), source };
        atomic::create_folders(&self.folder).map_err(io)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let lock = match FileLock::take(file) {
            Ok(lock) => lock,
            Err((TryLockError::Error(e), _)) => return Err(io(e)),
            Err((TryLockError::WouldBlock, file)) => {
                let mut holder = String::new();
                // What it says is for the message only; who holds the lock is the system's word.
                let _ = file.take(200).read_to_string(&mut holder);
                let holder = holder.split(char::is_control).next().unwrap_or_default().trim().to_owned();
                let holder = if holder.is_empty() { "another process".into() } else { holder };
                return Err(StoreError::Busy { path: self.folder.clone(), holder });
            }
        };
        let text = format!("process {}", std::process::id());
        let mut file = &*lock;
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes())).map_err(io)?;
        Ok(Lock::new(lock))
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::new(FolderSource::new(&self.folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_writers_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = [FolderStore::new(folder.path()), FolderStore::new(folder.path())];
        let held = one.lock().unwrap();
        let error = two.lock().unwrap_err();
        assert!(error.to_string().ends_with(&format!("is being changed by process {}", std::process::id())), "{error}");
        drop(held);
        two.lock().unwrap();
    }

    #[test]
    fn a_store_that_cannot_be_written_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let store = FolderStore::new(file.join("repository"));
        assert!(matches!(store.lock(), Err(StoreError::Io { .. })));
        assert!(matches!(store.put("metadata/1.root.json", b""), Err(StoreError::Io { .. })));
    }

    #[test]
    fn names_that_lead_elsewhere_open_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("r")).unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        std::fs::write(folder.path().join("r/inside"), "x").unwrap();
        let source = FolderSource::new(folder.path().join("r"));
        assert!(source.open("inside").unwrap().is_some());
        let absolute = folder.path().join("secret").display().to_string();
        for name in ["../secret", "./../secret", "metadata/../../secret", "..\\secret", "", &absolute] {
            assert!(source.open(name).unwrap().is_none(), "{name}");
        }
    }
}
