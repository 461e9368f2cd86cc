//! A lock on a file, for as long as it is held.

use std::{
    fs::{File, TryLockError},
    ops::Deref,
};

/// An exclusive lock on a file. It is given back when this is dropped: closing the file alone leaves it with whatever process was forked
/// meanwhile, until that one runs a program of its own.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Takes the lock, or says at once that another has it.
    pub fn take(file: File) -> Result<Self, (TryLockError, File)> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(e) => Err((e, file)),
        }
    }
}

impl Deref for FileLock {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // What cannot be unlocked is when the file is closed.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_given_back_though_another_handle_of_the_file_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let open = || File::create(folder.path().join("lock")).unwrap();
        let lock = FileLock::take(open()).unwrap();
        // What a forked process has until it runs a program: the same open file.
        let forked = lock.try_clone().unwrap();
        assert!(matches!(FileLock::take(open()), Err((TryLockError::WouldBlock, _))));
        drop(lock);
        FileLock::take(open()).unwrap();
        drop(forked);
    }
}
