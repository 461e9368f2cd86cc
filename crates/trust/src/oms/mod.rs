//! OpenSSF Model Signing: a folder is what its files' digests say, and one signature covers them all.
//!
//! What `model_signing verify key` accepts is what is written here, and what it lets pass is refused here: any number of
//! signatures but one, ignored paths that are not on the constant list, resources out of order.

mod bundle;
mod folder;

use std::path::PathBuf;

pub use bundle::{sign, verify};
pub use folder::{FileDigest, FolderManifest};

use crate::{KeyError, ReadError, dsse::DsseError};

/// What a clone of a repository leaves in a folder, at its top: not signed, by the specification.
pub const IGNORED: &[&str] = &[".git", ".gitattributes", ".github", ".gitignore"];

/// Why a folder is not what was signed, or cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OmsError {
    /// A file could not be read, or is none.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The key could not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The envelope does not verify.
    #[error(transparent)]
    Signature(#[from] DsseError),
    /// A name cannot be signed portably.
    #[error("{} has a name that is no UTF-8, or has a backslash or a control character in it", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to sign, or too much.
    #[error("{} has {files} files; between 1 and {} can be signed", path.display(), folder::MOST_FILES)]
    Count {
        /// The folder.
        path: PathBuf,
        /// How many it has, as far as counted.
        files: usize,
    },
    /// Folders in folders in folders.
    #[error("{} lies too deep to be signed", path.display())]
    Depth {
        /// The folder.
        path: PathBuf,
    },
    /// The signature file is no bundle of the expected form.
    #[error("the signature is no model-signing bundle: {0}")]
    Bundle(String),
    /// The signature names another key.
    #[error("the signature is by the key {found}, expected {expected}")]
    OtherKey {
        /// Id of the key that was expected.
        expected: String,
        /// What the bundle says.
        found: String,
    },
    /// The folder's files are not those that were signed.
    #[error("the folder is not what was signed:{}", differences(changed, added, missing))]
    Differs {
        /// Files with other bytes.
        changed: Vec<String>,
        /// Files that were not signed.
        added: Vec<String>,
        /// Files that were signed and are not there.
        missing: Vec<String>,
    },
}

fn differences(changed: &[String], added: &[String], missing: &[String]) -> String {
    let mut text = String::new();
    for (what, files) in [("changed", changed), ("added", added), ("missing", missing)] {
        if let Some(first) = files.first() {
            let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
            text += &format!("{} {what} `{first}`{more}", if text.is_empty() { "" } else { ";" });
        }
    }
    text
}

impl OmsError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Read(e) => return e.help(),
            Self::Key(e) => return e.help(),
            Self::Signature(e) => return e.help(),
            Self::Name { .. } => "rename the file".into(),
            Self::Count { .. } | Self::Depth { .. } => "check that this is the folder you mean".into(),
            Self::Bundle(_) => "fetch the signature again; it is cut short, or was written by another tool".into(),
            Self::OtherKey { .. } => "give the public key of whoever released it, or do not install it".into(),
            Self::Differs { .. } => "fetch the folder again, and do not use it as it is".into(),
        })
    }

    /// The operating system failed, which says nothing about the folder.
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Read(ReadError::Io { source, .. }) if source.kind() != std::io::ErrorKind::NotFound)
    }
}
