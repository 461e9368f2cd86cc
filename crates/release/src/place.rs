//! Where a repository is read: a folder of this machine, or any other storage.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use plimsoll_trust::tuf::{FolderSource, Source};

/// A repository to read: made from a path, or from the [`Source`] of a store.
#[derive(Debug, Clone)]
pub struct Place(pub(crate) Arc<dyn Source>);

impl From<&Path> for Place {
    fn from(folder: &Path) -> Self {
        Self(Arc::new(FolderSource::new(folder)))
    }
}

impl From<&PathBuf> for Place {
    fn from(folder: &PathBuf) -> Self {
        Self::from(folder.as_path())
    }
}

impl From<Arc<dyn Source>> for Place {
    fn from(source: Arc<dyn Source>) -> Self {
        Self(source)
    }
}
