//! What a repository says, read as a client does: manifests and pointers, each held against the other.

use std::sync::Arc;

use plimsoll_record::{ChannelPointer, Halt, PointedRelease, ReleaseManifest};
use plimsoll_trust::tuf::{Client, TufError};
use serde::de::DeserializeOwned;

use crate::{
    Place, ReleaseError,
    names::{check_name, check_version, halt_target, manifest_target, pointer_target},
};

const POINTER_LIMIT: u64 = 64 << 10;
const MANIFEST_LIMIT: u64 = 4 << 20;

fn refused(what: &str, reason: impl Into<String>) -> ReleaseError {
    ReleaseError::Refused { what: what.into(), reason: reason.into() }
}

/// A document that a target holds, with the target's digest; nothing where there is no such target.
fn read<T: DeserializeOwned>(client: &Client, target: &str, limit: u64) -> Result<Option<(T, String)>, ReleaseError> {
    let Some(info) = client.target(target)? else { return Ok(None) };
    let bytes = client.read_target(target, limit)?.ok_or_else(|| refused(target, "it is not there"))?;
    let document = serde_json::from_slice(&bytes).map_err(|e| refused(target, e.to_string()))?;
    Ok(Some((document, info.sha256)))
}

/// A small document that a target holds; nothing where there is no such target.
pub(crate) fn document<T: DeserializeOwned>(client: &Client, target: &str) -> Result<Option<T>, ReleaseError> {
    Ok(read(client, target, POINTER_LIMIT)?.map(|(document, _)| document))
}

/// The manifest of a release and its digest.
pub(crate) fn manifest(
    client: &Client,
    name: &str,
    version: &str,
) -> Result<Option<(ReleaseManifest, String)>, ReleaseError> {
    check_name(name)?;
    check_version(version)?;
    let target = manifest_target(name, version);
    let Some((manifest, sha256)) = read::<ReleaseManifest>(client, &target, MANIFEST_LIMIT)? else { return Ok(None) };
    manifest.check().map_err(|reason| refused(&target, reason))?;
    // Two releases may share a target name: `a` 1.0.0-b.2.0.0 and `a.1.0.0-b` 2.0.0.
    if manifest.name != name || manifest.version != version {
        return Err(refused(&target, format!("it is the manifest of {} {}", manifest.name, manifest.version)));
    }
    Ok(Some((manifest, sha256)))
}

/// What a channel is at; nothing where it is at nothing yet.
pub(crate) fn pointer(client: &Client, channel: &str) -> Result<Option<ChannelPointer>, ReleaseError> {
    let target = pointer_target(channel);
    let Some((pointer, _)) = read::<ChannelPointer>(client, &target, POINTER_LIMIT)? else { return Ok(None) };
    pointer.check(channel).map_err(|reason| refused(&target, reason))?;
    Ok(Some(pointer))
}

/// What halts a channel; nothing where nobody has.
pub(crate) fn halt(client: &Client, channel: &str) -> Result<Option<Halt>, ReleaseError> {
    let target = halt_target(channel);
    let Some((halt, _)) = read::<Halt>(client, &target, POINTER_LIMIT)? else { return Ok(None) };
    halt.check(channel).map_err(|reason| refused(&target, reason))?;
    Ok(Some(halt))
}

/// A pointer as devices have to take it: halted where the channel's halt file names its epoch.
pub(crate) fn under_halt(client: &Client, pointer: ChannelPointer) -> Result<ChannelPointer, ReleaseError> {
    let halt = halt(client, &pointer.channel)?;
    Ok(pointer.under(halt.as_ref()))
}

/// The manifest that a pointer means: by name, and by both digests.
pub(crate) fn pointed(client: &Client, target: &PointedRelease) -> Result<ReleaseManifest, ReleaseError> {
    let what = format!("{} {}", target.release, target.version);
    let Some((manifest, sha256)) = manifest(client, &target.release, &target.version)? else {
        return Err(refused(&what, "a channel points to it, and the repository does not list it"));
    };
    if sha256 != target.manifest_sha256 || manifest.release_digest != target.release_digest {
        return Err(refused(&what, "the repository lists another release under that name than the channel points to"));
    }
    Ok(manifest)
}

/// Whether the repository's root says that it is a trial.
pub(crate) fn is_trial(client: &Client) -> bool {
    client.mark("trial").is_some_and(|mark| mark != &serde_json::Value::Bool(false))
}

/// A repository from its own first root.
pub(crate) fn open(place: &Place) -> Result<Client, TufError> {
    Client::load_own_from(Arc::clone(&place.0), None, false)
}
