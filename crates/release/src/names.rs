//! Names that become file and target names, refused with an error that says which.

pub(crate) use plimsoll_record::names::{
    blob, folder_name, halt_target, is_safe_path, manifest_target, pointer_target,
};
use plimsoll_record::names::{is_name, is_version};

use crate::ReleaseError;

fn refused(what: &'static str, value: &str) -> ReleaseError {
    ReleaseError::Name { what, value: value.chars().take(80).collect() }
}

/// A name that is safe as a file name, and as a part of one.
pub(crate) fn check_name(name: &str) -> Result<(), ReleaseError> {
    if is_name(name) { Ok(()) } else { Err(refused("name", name)) }
}

/// A version of the form that semver allows.
pub(crate) fn check_version(version: &str) -> Result<(), ReleaseError> {
    if is_version(version) { Ok(()) } else { Err(refused("version", version)) }
}
