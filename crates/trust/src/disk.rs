//! The few things that are done to the file system where a power cut must do no harm, behind a trait: a test puts a file system under
//! a device's agent, or under the keeper of a repository, that forgets what was not synced.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use crate::atomic;

/// A file system that may lose power between any two calls.
pub trait Disk: Send + Sync {
    /// Makes a folder in one that is there. Its name lasts once that one is synced.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Writes a new file. Its bytes last once it is synced, its name once its folder is.
    fn write(&self, path: &Path, content: &mut dyn Read) -> io::Result<()>;
    /// Makes the bytes of a file last.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder last.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name; what had it is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all that it holds; none is fine.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn write(&self, path: &Path, content: &mut dyn Read) -> io::Result<()> {
        io::copy(content, &mut File::create_new(path)?).map(drop)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        atomic::sync_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// Makes a folder and those above it, each with a name that lasts.
pub fn make_folders(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folders(disk, above)?;
    match disk.make_folder(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    disk.sync_folder(above)
}

/// Writes a file, or replaces it: after a crash or a power cut it has the old content or the new. Whoever calls it has a lock that keeps
/// others away.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // One writer at a time, by that lock; what a killed one left is overwritten.
    let staged = folder.join(format!("{}{name}", atomic::TEMPORARY));
    match disk.remove(&staged) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    disk.write(&staged, &mut &*bytes)?;
    disk.sync(&staged)?;
    disk.rename(&staged, path)?;
    disk.sync_folder(folder)
}
