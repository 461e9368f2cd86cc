//! The files of a folder with their digests, in the order that the root digest is taken over.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{IGNORED, OmsError};
use crate::{
    ReadError,
    read::{hex, sha256_of_file},
};

/// More files than any release has.
pub(super) const MOST_FILES: usize = 100_000;
/// Deeper than any release lies.
const DEEPEST: usize = 32;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigest {
    /// Path below the folder, with `/`.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Its length.
    pub bytes: u64,
}

impl FileDigest {
    /// The digest in lower-case hex.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

/// The files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderManifest {
    /// Sorted by path components.
    pub files: Vec<FileDigest>,
    /// What lies at the top and is not signed, by the constant list.
    pub ignored: Vec<String>,
}

impl FolderManifest {
    /// Reads every file of a folder, in pieces. Links and special files are refused.
    pub fn of_folder(folder: &Path) -> Result<Self, OmsError> {
        let mut walk = Walk::default();
        walk.enter(folder, &[])?;
        let mut files = Vec::with_capacity(walk.files.len());
        for (parts, path) in &walk.files {
            let (sha256, bytes) = sha256_of_file(path)?;
            files.push(FileDigest { path: parts.join("/"), sha256, bytes });
        }
        if files.is_empty() {
            return Err(OmsError::Count { path: folder.into(), files: 0 });
        }
        walk.ignored.sort();
        Ok(Self { files, ignored: walk.ignored })
    }

    /// SHA-256 over the files' digests in order: one number for the whole folder.
    pub fn root_digest(&self) -> String {
        let mut hasher = Sha256::new();
        self.files.iter().for_each(|f| hasher.update(f.sha256));
        hex(&hasher.finalize())
    }

    /// The file of a path.
    pub fn get(&self, path: &str) -> Option<&FileDigest> {
        self.files.iter().find(|f| f.path == path)
    }
}

#[derive(Default)]
struct Walk {
    /// By components, not by the joined path: `a/b` sorts before `a.b`.
    files: BTreeMap<Vec<String>, PathBuf>,
    ignored: Vec<String>,
}

impl Walk {
    fn enter(&mut self, folder: &Path, above: &[String]) -> Result<(), OmsError> {
        if above.len() > DEEPEST {
            return Err(OmsError::Depth { path: folder.into() });
        }
        let io = |path: &Path, source| ReadError::Io { path: path.into(), source };
        for entry in fs::read_dir(folder).map_err(|e| io(folder, e))? {
            let path = entry.map_err(|e| io(folder, e))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.is_empty() || name.contains(|c: char| c == '\\' || c.is_control()) {
                return Err(OmsError::Name { path });
            }
            if above.is_empty() && IGNORED.contains(&name) {
                self.ignored.push(name.into());
                continue;
            }
            let mut parts = above.to_vec();
            parts.push(name.into());
            let kind = fs::symlink_metadata(&path).map_err(|e| io(&path, e))?.file_type();
            if kind.is_dir() {
                self.enter(&path, &parts)?;
            } else if kind.is_file() {
                self.files.insert(parts, path);
            } else {
                return Err(ReadError::NotAFile { path }.into());
            }
            if self.files.len() > MOST_FILES {
                return Err(OmsError::Count { path: folder.into(), files: self.files.len() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manifest of a folder with these files.
    fn check(files: &[&str]) -> FolderManifest {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        FolderManifest::of_folder(folder.path()).unwrap()
    }

    #[test]
    fn files_are_ordered_by_components_not_by_text() {
        let paths: Vec<String> = check(&["a.b", "a/c", "a/b", "Z", "a-b"]).files.into_iter().map(|f| f.path).collect();
        assert_eq!(paths, ["Z", "a/b", "a/c", "a-b", "a.b"]);
    }

    #[test]
    fn the_root_digest_is_that_of_the_specification() {
        let raw: Vec<u8> = ["a", "b"].iter().flat_map(|n| Sha256::digest(n.as_bytes())).collect();
        assert_eq!(check(&["b", "a"]).root_digest(), crate::sha256_hex(&raw));
    }

    #[test]
    fn ignored_names_are_ignored_at_the_top_alone_and_reported() {
        let manifest = check(&["a", ".git/config", ".gitignore", "b/.gitignore"]);
        assert_eq!(manifest.ignored, [".git", ".gitignore"]);
        assert!(manifest.get("b/.gitignore").is_some());
        assert_eq!(manifest.files.len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_pipes_are_refused() {
        for target in ["a", "/etc/passwd", "nowhere", "."] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("a"), "a").unwrap();
            std::os::unix::fs::symlink(target, folder.path().join("link")).unwrap();
            let error = FolderManifest::of_folder(folder.path()).unwrap_err();
            assert!(error.to_string().contains("link"), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        assert!(matches!(FolderManifest::of_folder(folder.path()), Err(OmsError::Read(ReadError::NotAFile { .. }))));
    }

    #[test]
    fn empty_and_absent_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(FolderManifest::of_folder(folder.path()), Err(OmsError::Count { .. })));
        assert!(
            matches!(FolderManifest::of_folder(&folder.path().join("no")), Err(OmsError::Read(e)) if e.is_not_found())
        );
    }
}
