//! What a repository's channels are at, without any key.

use std::time::SystemTime;

use plimsoll_record::{ChannelStatus, ReleaseStatus, RoleStatus, Status};

use crate::{
    Place, ReleaseError, catalogue,
    repository::keepers,
    roles::{CHANNELS, RELEASES},
};

/// Reads a repository from its own first root. Expired metadata are shown, and said to be so.
pub fn status(repository: impl Into<Place>, now: SystemTime) -> Result<Status, ReleaseError> {
    let client = catalogue::open(&repository.into())?;
    let mut channels = Vec::new();
    for channel in CHANNELS {
        let pointer = catalogue::pointer(&client, channel)?;
        let pointer = pointer.map(|p| catalogue::under_halt(&client, p)).transpose()?;
        channels.push(ChannelStatus { channel: (*channel).into(), pointer });
    }
    let roles = client.authorities().into_iter().map(|a| RoleStatus {
        role: a.role,
        version: a.version,
        threshold: a.threshold,
        keys: a.keys,
        expires: a.expires.to_string(),
    });
    let releases = client.targets_of(RELEASES)?.into_iter();
    Ok(Status {
        schema: "plimsoll.status/1".into(),
        trial: catalogue::is_trial(&client),
        expired: client.check_expiry(now).err().map(|e| e.to_string()),
        channels,
        roles: roles.collect(),
        keys: keepers::keys_of(&client),
        releases: releases.map(|t| ReleaseStatus { target: t.name, manifest_sha256: t.sha256 }).collect(),
    })
}
