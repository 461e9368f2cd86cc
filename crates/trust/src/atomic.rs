//! Writes that leave the old state or the new one, through a crash of the process or of the machine: temporary name in the
//! same folder, fsync, rename, fsync of the folder.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use tempfile::NamedTempFile;

/// Prefix of temporary names; what a killed process left under it is never read.
pub const TEMPORARY: &str = ".plimsoll-";

/// The folder that a path lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes renames in a folder last through a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    // Other systems do not open folders; their renames are as durable as they come.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn staged(path: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    // Temporary files are made with mode 0600, and get the mode that was asked for before they get their name.
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder_of(path))?;
    file.write_all(bytes)?;
    set_mode(file.as_file(), mode)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Sets the permissions of a file, where the system has such.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(mode))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, mode);
        Ok(())
    }
}

/// Writes a file, or replaces it: a reader sees the old content or the new.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    staged(path, bytes, 0o644)?.persist(path).map_err(|e| e.error)?;
    sync_folder(folder_of(path))
}

/// Writes a file that nobody else may read; refuses to replace one.
pub fn write_new_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    staged(path, bytes, 0o600)?.persist_noclobber(path).map_err(|e| e.error)?;
    sync_folder(folder_of(path))
}

/// Makes a folder and those above it, each synced into its parent.
pub fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    create_folders(folder_of(folder))?;
    match fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists || !folder.is_dir() => return Err(e),
        _ => {}
    }
    sync_folder(folder_of(folder))
}

/// Moves a finished folder to its place; refuses where something lies there already.
pub fn publish_folder(finished: &Path, place: &Path) -> io::Result<()> {
    // A rename replaces an empty folder silently, and nothing else.
    if fs::symlink_metadata(place).is_ok() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    sync_tree(finished)?;
    // Somebody else may have been faster since: a full folder is not replaced either.
    fs::rename(finished, place).map_err(|e| match e.kind() {
        io::ErrorKind::DirectoryNotEmpty => io::ErrorKind::AlreadyExists.into(),
        _ => e,
    })?;
    sync_folder(folder_of(place))
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_secret_is_never_readable_by_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_new_secret(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write_new_secret(&path, b"other").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");
    }

    #[test]
    fn a_folder_never_replaces_another() {
        let folder = tempfile::tempdir().unwrap();
        let [new, place] = ["new", "place"].map(|n| folder.path().join(n));
        create_folders(&new.join("deep/er")).unwrap();
        publish_folder(&new, &place).unwrap();
        assert!(place.join("deep/er").is_dir());
        fs::create_dir(&new).unwrap();
        assert_eq!(publish_folder(&new, &place).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
