//! What a repository's channels are at, without any key.

use std::{path::Path, time::SystemTime};

use plimsoll_record::ChannelPointer;

use crate::{
    ReleaseError, catalogue,
    roles::{CHANNELS, RELEASES},
};

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ChannelStatus {
    /// Its name.
    pub channel: String,
    /// What it is at; `null` for nothing yet.
    pub pointer: Option<ChannelPointer>,
}

/// One role.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RoleStatus {
    /// Its name.
    pub role: String,
    /// Version of its metadata.
    pub version: u64,
    /// Signatures it needs.
    pub threshold: u64,
    /// Keys it has.
    pub keys: u64,
    /// When its metadata expire, in UTC.
    pub expires: String,
}

/// One release that the repository lists.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ReleaseStatus {
    /// Target name of its manifest.
    pub target: String,
    /// SHA-256 of its manifest.
    pub manifest_sha256: String,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// `plimsoll.status/1`.
    pub schema: String,
    /// Production clients refuse it.
    pub trial: bool,
    /// The role whose metadata have expired, and when; `null` where all are current.
    pub expired: Option<String>,
    /// The channels.
    pub channels: Vec<ChannelStatus>,
    /// The roles.
    pub roles: Vec<RoleStatus>,
    /// The releases.
    pub releases: Vec<ReleaseStatus>,
}

/// Reads a repository from its own first root. Expired metadata are shown, and said to be so.
pub fn status(repository: &Path, now: SystemTime) -> Result<Status, ReleaseError> {
    let client = catalogue::open(repository)?;
    let mut channels = Vec::new();
    for channel in CHANNELS {
        channels.push(ChannelStatus { channel: (*channel).into(), pointer: catalogue::pointer(&client, channel)? });
    }
    let roles = client.authorities().into_iter().map(|a| RoleStatus {
        role: a.role,
        version: a.version,
        threshold: a.threshold,
        keys: a.keys,
        expires: a.expires.to_string(),
    });
    let releases = client.targets_of(RELEASES).into_iter();
    Ok(Status {
        schema: "plimsoll.status/1".into(),
        trial: catalogue::is_trial(&client),
        expired: client.check_expiry(now).err().map(|e| e.to_string()),
        channels,
        roles: roles.collect(),
        releases: releases.map(|t| ReleaseStatus { target: t.name, manifest_sha256: t.sha256 }).collect(),
    })
}
