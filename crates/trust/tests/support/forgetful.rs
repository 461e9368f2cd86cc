//! A file system that forgets, when power is lost, whatever was not synced.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Mutex,
};

use plimsoll_trust::disk::{Disk, RealDisk};

/// A file system that forgets, when power is lost, every byte and every name that was not synced.
#[derive(Default)]
pub(crate) struct ForgetfulDisk {
    inner: Mutex<Forgetful>,
}

#[derive(Default)]
struct Forgetful {
    /// Calls until power is lost; `None` for never.
    left: Option<usize>,
    /// How to take back what is not synced, the latest last: in which folder, and what to do.
    undo: Vec<(PathBuf, Undo)>,
    /// Files whose bytes are not synced.
    unsynced: Vec<PathBuf>,
}

enum Undo {
    Remove(PathBuf),
    Restore(PathBuf, Vec<u8>),
    RestoreTree(BTreeMap<PathBuf, Vec<u8>>),
}

fn files(folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, into) } else { drop(into.insert(path.clone(), fs::read(&path).unwrap())) }
    }
}

fn put_back(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

impl ForgetfulDisk {
    pub(crate) fn lose_power_after(&self, calls: Option<usize>) {
        self.inner.lock().unwrap().left = calls;
    }

    /// One call: nothing more happens once power is lost.
    fn call<T>(&self, act: impl FnOnce(&mut Forgetful) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.inner.lock().unwrap();
        match &mut inner.left {
            Some(0) => return Err(io::Error::other("power is lost")),
            Some(left) => *left -= 1,
            None => {}
        }
        act(&mut inner)
    }

    /// What is left after a power cut where every name happened to last: bytes that were not synced are gone.
    #[allow(dead_code, reason = "not every test file cuts so")]
    pub(crate) fn forget_bytes(&self) {
        let mut inner = self.inner.lock().unwrap();
        for path in std::mem::take(&mut inner.unsynced).into_iter().filter(|path| path.is_file()) {
            fs::write(&path, "").unwrap();
        }
        inner.undo.clear();
        inner.left = None;
    }

    /// What is left after the power cut.
    pub(crate) fn forget(&self) {
        let mut inner = self.inner.lock().unwrap();
        // A name may have lasted without its bytes.
        for path in std::mem::take(&mut inner.unsynced) {
            if path.is_file() {
                fs::write(&path, "").unwrap();
            }
        }
        while let Some((_, undo)) = inner.undo.pop() {
            match undo {
                Undo::Remove(path) if path.is_dir() => drop(fs::remove_dir_all(path)),
                Undo::Remove(path) => drop(fs::remove_file(path)),
                Undo::Restore(path, bytes) => put_back(&path, &bytes),
                Undo::RestoreTree(files) => files.iter().for_each(|(path, bytes)| put_back(path, bytes)),
            }
        }
        inner.left = None;
    }
}

impl Disk for ForgetfulDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.call(|inner| {
            if !path.is_dir() {
                inner.undo.push((path.parent().unwrap().to_owned(), Undo::Remove(path.to_owned())));
            }
            RealDisk.make_folder(path)
        })
    }

    fn write(&self, path: &Path, content: &mut dyn Read) -> io::Result<()> {
        self.call(|inner| {
            inner.undo.push((path.parent().unwrap().to_owned(), Undo::Remove(path.to_owned())));
            inner.unsynced.push(path.to_owned());
            RealDisk.write(path, content)
        })
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.call(|inner| {
            inner.unsynced.retain(|p| p != path);
            Ok(())
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.call(|inner| {
            inner.undo.retain(|(folder, _)| folder != path);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|inner| {
            let folder = to.parent().unwrap().to_owned();
            let undo = match fs::read(to) {
                Ok(bytes) => Undo::Restore(to.to_owned(), bytes),
                Err(_) => Undo::Remove(to.to_owned()),
            };
            inner.undo.push((folder, undo));
            if inner.unsynced.iter().any(|p| p == from) {
                inner.unsynced.push(to.to_owned());
            }
            RealDisk.rename(from, to)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|inner| {
            if let Ok(bytes) = fs::read(path) {
                inner.undo.push((path.parent().unwrap().to_owned(), Undo::Restore(path.to_owned(), bytes)));
            }
            RealDisk.remove(path)
        })
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.call(|inner| {
            let mut held = BTreeMap::new();
            files(path, &mut held);
            inner.undo.push((path.parent().unwrap().to_owned(), Undo::RestoreTree(held)));
            RealDisk.remove_folder(path)
        })
    }
}
