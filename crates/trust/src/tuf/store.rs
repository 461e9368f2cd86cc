//! Where a repository lies. A folder here; an object store is to be another implementation.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::atomic;

/// Why storage failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused.
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
}

impl StoreError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room; the repository is as it was before".into()
            }
            Self::Io { .. } => "check that the folder may be written; the repository is as it was before".into(),
            Self::Busy { .. } => "wait for the other to finish, and try again".into(),
        })
    }
}

/// Keeps other writers out for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
}

impl Lock {
    /// A lock that another implementation holds in its own way.
    pub fn virtual_lock() -> Self {
        Self { _file: None }
    }
}

/// Storage of a repository. Names have `/` between folders and no `..`.
pub trait Store: Send + Sync {
    /// Writes one object so that a reader sees the old bytes or the new, and so that it stays after a power cut.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
    /// Keeps other writers out, or says who is writing.
    fn lock(&self) -> Result<Lock, StoreError>;
    /// Where clients on this machine read it.
    fn folder(&self) -> &Path;
}

/// A repository in a folder.
#[derive(Debug, Clone)]
pub struct FolderStore {
    folder: PathBuf,
}

impl FolderStore {
    /// The repository of a folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

impl Store for FolderStore {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let io = |source| StoreError::Io { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            atomic::create_folders(folder).map_err(io)?;
        }
        atomic::write(&path, bytes).map_err(io)
    }

    fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.folder.join(".lock");
        let io = |source| StoreError::Io { path: path.clone(), source };
        atomic::create_folders(&self.folder).map_err(io)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(io(e)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // What it says is for the message only; who holds the lock is the system's word.
                let _ = file.take(200).read_to_string(&mut holder);
                let holder = holder.split(char::is_control).next().unwrap_or_default().trim().to_owned();
                let holder = if holder.is_empty() { "another process".into() } else { holder };
                return Err(StoreError::Busy { path: self.folder.clone(), holder });
            }
        }
        let text = format!("process {}", std::process::id());
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes())).map_err(io)?;
        Ok(Lock { _file: Some(file) })
    }

    fn folder(&self) -> &Path {
        &self.folder
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
}
