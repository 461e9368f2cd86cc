//! Repositories by where they lie, as verbs use them: folders, and what the feature `remote` knows besides.

use std::path::{Path, PathBuf};

use plimsoll_release::{Place, Repository};
use plimsoll_trust::{
    Secrets, is_address,
    tuf::{FolderStore, Source, Store},
};

use crate::{failure::Failure, manual::Code, places};

/// A repository to read.
pub(crate) fn place(at: &Path) -> Result<Place, Failure> {
    if is_address(at) { Ok(Place::from(source(at)?)) } else { Ok(Place::from(at)) }
}

/// A repository to write.
pub(crate) fn store(at: &Path) -> Result<Box<dyn Store>, Failure> {
    if is_address(at) { elsewhere(at) } else { Ok(Box::new(FolderStore::new(at))) }
}

/// The folder of keys that goes with a repository, unless another is given.
pub(crate) fn keys(at: &Path, given: Option<&Path>) -> Result<PathBuf, Failure> {
    match given {
        Some(keys) => Ok(keys.to_owned()),
        None if is_address(at) => {
            let message = format!("no keys lie beside {}", at.display());
            Err(Failure::new(Code::BadKey, message).help("name their folder with --keys"))
        }
        None => Ok(places::keys_of(at)),
    }
}

/// Opens a repository with the keys of a folder.
pub(crate) fn open(at: &Path, keys: &Path, secrets: &dyn Secrets) -> Result<Repository, Failure> {
    Ok(Repository::open_stored(store(at)?, keys, secrets)?)
}

#[cfg(feature = "remote")]
fn source(at: &Path) -> Result<std::sync::Arc<dyn Source>, Failure> {
    Ok(plimsoll_remote::objects::source(&at.to_string_lossy())?)
}

#[cfg(feature = "remote")]
fn elsewhere(at: &Path) -> Result<Box<dyn Store>, Failure> {
    Ok(plimsoll_remote::objects::store(&at.to_string_lossy())?)
}

#[cfg(feature = "remote")]
impl From<plimsoll_remote::objects::AddressError> for Failure {
    fn from(e: plimsoll_remote::objects::AddressError) -> Self {
        Self::of(Code::NoRepository, &e, Some(e.help.into()))
    }
}

#[cfg(not(feature = "remote"))]
fn source(_: &Path) -> Result<std::sync::Arc<dyn Source>, Failure> {
    Err(unknown())
}

#[cfg(not(feature = "remote"))]
fn elsewhere(_: &Path) -> Result<Box<dyn Store>, Failure> {
    Err(unknown())
}

/// What a build without the network says of an address.
#[cfg(not(feature = "remote"))]
pub(crate) fn unknown() -> Failure {
    Failure::new(Code::Unsupported, "this build of plimsoll knows folders and files alone")
        .help("build it with its default features: cargo build --release --package plimsoll-cli")
}
