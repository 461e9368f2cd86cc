//! The repository as its keepers see it: releases go in, channels move.

mod moves;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use plimsoll_record::{ChannelPointer, ManifestFile, PointedRelease, PointerState, ReleaseManifest, ReleaseRecord};
use plimsoll_trust::{
    KeySource, Keyring, hex,
    oms::FolderManifest,
    read_bounded, sha256_hex, sha256_of_file, to_sorted_json,
    tuf::{self, Client, Editor, FolderStore, Store, TufError},
};

use crate::{
    BETA, PAYLOAD, RECORD, ReleaseError, catalogue,
    names::{blob, folder_name, manifest_target, pointer_target},
    roles::{CHANNELS, RELEASES, ROLES, SIGNING, key_names},
    verify::{VerifyOptions, verify_release},
};

const RECORD_LIMIT: u64 = 1 << 20;
/// No file of a release is longer: it is held in memory while it is put away.
const FILE_LIMIT: u64 = 4 << 30;

/// How a release enters a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Share of devices that take it, in hundredths of a per cent.
    pub percent_bp: u16,
    /// Share that never takes a release early.
    pub holdback_bp: u16,
    /// Devices wait until then (RFC 3339).
    pub not_before: Option<String>,
    /// SHA-256 of the decision that let it in.
    pub decision_sha256: Option<String>,
}

impl Default for Placement {
    fn default() -> Self {
        Self { percent_bp: 10_000, holdback_bp: 0, not_before: None, decision_sha256: None }
    }
}

/// What a change of a channel came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The repository.
    pub repository: PathBuf,
    /// Where the channel is now.
    pub pointer: ChannelPointer,
    /// The channel moved; otherwise it was there already, and its signatures were renewed.
    pub moved: bool,
}

/// A repository with the keys to change it.
pub struct Repository {
    store: Box<dyn Store>,
    folder: PathBuf,
    keys: Keyring,
    trial: bool,
    made: bool,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, keys, trial, .. } = self;
        f.debug_struct("Repository").field("folder", folder).field("keys", keys).field("trial", trial).finish()
    }
}

impl Repository {
    /// Opens a trial repository; makes it, and keys for all its roles, where there is none.
    ///
    /// Whoever can read the key folder can sign, so its root carries the mark `trial`, and production clients refuse it.
    pub fn open_or_create_trial(folder: &Path, keys: &Path, now: SystemTime) -> Result<Self, ReleaseError> {
        match catalogue::open(folder) {
            // Keys drawn for a repository that is there would be strangers to it.
            Ok(_) => return Self::open(folder, keys),
            Err(TufError::NotFound { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        let keys = Keyring::of_folder(keys, &key_names(), true)?;
        let marks = BTreeMap::from([("trial".to_owned(), serde_json::Value::Bool(true))]);
        let made = match tuf::create(&FolderStore::new(folder), ROLES, &keys, &marks, now) {
            Ok(()) => true,
            // Somebody else was faster.
            Err(TufError::Exists { .. }) => false,
            Err(e) => return Err(e.into()),
        };
        Ok(Self { made, ..Self::with_store(Box::new(FolderStore::new(folder)), keys)? })
    }

    /// Opens a repository with the keys of a folder. Nothing is made.
    pub fn open(folder: &Path, keys: &Path) -> Result<Self, ReleaseError> {
        // A repository that is not there says more than keys that are not.
        drop(catalogue::open(folder)?);
        let keys = Keyring::of_folder(keys, &key_names(), false)?;
        Self::with_store(Box::new(FolderStore::new(folder)), keys)
    }

    /// Opens a repository with storage and keys from elsewhere: keys by the names that [`crate::ROLES`] calls them by, and
    /// `signing`.
    pub fn with_store(store: Box<dyn Store>, keys: Keyring) -> Result<Self, ReleaseError> {
        let folder = store.folder().to_owned();
        let trial = catalogue::is_trial(&catalogue::open(&folder)?);
        Ok(Self { store, folder, keys, trial, made: false })
    }

    /// It was made just now, with its keys.
    pub fn is_new(&self) -> bool {
        self.made
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Production clients refuse it.
    pub fn is_trial(&self) -> bool {
        self.trial
    }

    /// The key that payloads and attestations are signed with.
    pub fn signing_key(&self) -> Result<&dyn KeySource, ReleaseError> {
        Ok(self.keys.require(SIGNING)?)
    }

    /// The version where it is free; otherwise the same with `+trial.2`, `+trial.3`, … for another try. Free is what neither the
    /// repository lists nor the folder of releases holds: a release that was signed and never published stays what it was.
    pub fn free_version(&self, name: &str, version: &str, releases: &Path) -> Result<String, ReleaseError> {
        let client = catalogue::open(&self.folder)?;
        let joint = if version.contains('+') { '.' } else { '+' };
        let mut candidate = version.to_owned();
        for n in 2_u32.. {
            let listed = client.target(&manifest_target(name, &candidate)).is_some();
            if !listed && !releases.join(folder_name(name, &candidate)).exists() {
                break;
            }
            candidate = format!("{version}{joint}trial.{n}");
        }
        Ok(candidate)
    }

    /// Release digest of what a channel is at, for a new release's `parent`.
    pub fn at(&self, channel: &str) -> Result<Option<PointedRelease>, ReleaseError> {
        check_channel(channel)?;
        Ok(catalogue::pointer(&catalogue::open(&self.folder)?, channel)?.map(|p| p.target))
    }

    /// Puts a release folder into the repository, and the beta channel at it. The folder must verify with the signing key.
    pub fn publish(&self, release: &Path, placement: &Placement, now: SystemTime) -> Result<Published, ReleaseError> {
        let signing = self.signing_key()?.public_key();
        let options =
            VerifyOptions { public_key: Some(signing.clone()), production: !self.trial, ..Default::default() };
        if let Some(step) = verify_release(release, &options)?.failure() {
            let what = format!("the release in {} ({})", release.display(), step.name);
            return Err(ReleaseError::Refused { what, reason: step.detail.clone() });
        }
        let record = read_bounded(&release.join(PAYLOAD).join(RECORD), RECORD_LIMIT)?;
        let record: ReleaseRecord =
            serde_json::from_slice(&record).map_err(|source| ReleaseError::Encode { what: RECORD.into(), source })?;
        if record.trial != self.trial {
            let of = |trial| if trial { "a trial" } else { "no trial" };
            let reason = format!("the release is {}, the repository is {}", of(record.trial), of(self.trial));
            return Err(ReleaseError::Inconsistent(reason));
        }
        let whole = FolderManifest::of_folder(release)?;
        let manifest = ReleaseManifest {
            schema: ReleaseManifest::SCHEMA.into(),
            name: record.name,
            version: record.version,
            trial: record.trial,
            release_digest: FolderManifest::of_folder(&release.join(PAYLOAD))?.root_digest(),
            signing_key: signing.id(),
            files: whole
                .files
                .iter()
                .map(|f| ManifestFile { path: f.path.clone(), sha256: f.sha256_hex(), bytes: f.bytes })
                .collect(),
        };
        let bytes = encode(&manifest_target(&manifest.name, &manifest.version), &manifest)?;
        let target = PointedRelease {
            release: manifest.name.clone(),
            version: manifest.version.clone(),
            manifest_sha256: sha256_hex(&bytes),
            release_digest: manifest.release_digest.clone(),
        };

        let mut editor = Editor::open(self.store.as_ref(), ROLES)?;
        let name = manifest_target(&manifest.name, &manifest.version);
        match editor.client().target(&name) {
            Some(listed) if listed.sha256 != target.manifest_sha256 => {
                return Err(ReleaseError::Taken {
                    name: manifest.name,
                    version: manifest.version,
                    place: self.folder.clone(),
                });
            }
            Some(_) => {}
            None => editor.set_target(RELEASES, &name, bytes)?,
        }
        let next = self.next(editor.client(), BETA, target, placement)?;
        // Content first: whoever sees the manifest finds what it lists.
        for file in &manifest.files {
            put_blob(&editor, release, file)?;
        }
        self.point(editor, next, now)
    }

    /// Puts another channel at the release that the beta channel is at.
    pub fn promote(
        &self,
        name: &str,
        version: &str,
        channel: &str,
        placement: &Placement,
        now: SystemTime,
    ) -> Result<Published, ReleaseError> {
        check_channel(channel)?;
        let editor = Editor::open(self.store.as_ref(), ROLES)?;
        let beta = catalogue::pointer(editor.client(), BETA)?.map(|p| p.target);
        let target = match beta {
            Some(beta) if beta.release == name && beta.version == version => beta,
            other => {
                return Err(ReleaseError::NotInBeta {
                    name: name.into(),
                    version: version.into(),
                    at: other.map(|b| format!("{} {}", b.release, b.version)),
                });
            }
        };
        // Beta was believed when it was signed; what it points to is looked at again before everybody gets it.
        let manifest = catalogue::pointed(editor.client(), &target)?;
        for file in &manifest.files {
            let refused = |reason: String| ReleaseError::Refused { what: file.path.clone(), reason };
            let content = sha256_of_file(&self.folder.join(blob(&file.sha256)));
            let (found, bytes) = content.map_err(|e| refused(e.to_string()))?;
            if hex(&found) != file.sha256 || bytes != file.bytes {
                return Err(refused("the repository holds other bytes than were signed".into()));
            }
        }
        let next = self.next(editor.client(), channel, target, placement)?;
        self.point(editor, next, now)
    }

    /// Signs anew whatever is about to expire: for a clock to call, once a day.
    pub fn refresh(&self, now: SystemTime) -> Result<(), ReleaseError> {
        Ok(Editor::open(self.store.as_ref(), ROLES)?.commit(&self.keys, now)?)
    }

    /// The channel's next pointer, or the one it has where nothing changes.
    fn next(
        &self,
        client: &Client,
        channel: &str,
        target: PointedRelease,
        placement: &Placement,
    ) -> Result<(ChannelPointer, bool), ReleaseError> {
        let current = catalogue::pointer(client, channel)?;
        if let Some(current) = &current
            && current.target.release != target.release
        {
            return Err(ReleaseError::OtherModel {
                channel: channel.into(),
                carries: current.target.release.clone(),
                name: target.release,
            });
        }
        let same = current.as_ref().is_some_and(|c| c.target == target);
        let halted = match &current {
            Some(current) => catalogue::under_halt(client, current.clone())?.state == PointerState::Halted,
            None => false,
        };
        if halted && same {
            return Err(ReleaseError::Halted { channel: channel.into() });
        }
        let pointer = ChannelPointer {
            schema: ChannelPointer::SCHEMA.into(),
            channel: channel.into(),
            trial: self.trial,
            epoch: current.as_ref().map_or(0, |c| c.epoch),
            salt: salt(channel, &target),
            previous: match &current {
                // What was halted is nothing to fall back on.
                Some(current) if same || halted => current.previous.clone(),
                other => other.as_ref().map(|c| c.target.clone()),
            },
            target,
            percent_bp: placement.percent_bp,
            holdback_bp: placement.holdback_bp,
            state: PointerState::Active,
            not_before: placement.not_before.clone(),
            decision_sha256: placement.decision_sha256.clone(),
        };
        if current.as_ref() == Some(&pointer) {
            return Ok((pointer, false));
        }
        let epoch = next_epoch(channel, pointer.epoch)?;
        Ok((ChannelPointer { epoch, ..pointer }, true))
    }

    fn point(
        &self,
        mut editor: Editor<'_>,
        (pointer, moved): (ChannelPointer, bool),
        now: SystemTime,
    ) -> Result<Published, ReleaseError> {
        if moved {
            pointer.check(&pointer.channel).map_err(ReleaseError::Inconsistent)?;
            let name = pointer_target(&pointer.channel);
            let bytes = encode(&name, &pointer)?;
            editor.set_target(&pointer.channel, &name, bytes)?;
        }
        editor.commit(&self.keys, now)?;
        Ok(Published { repository: self.folder.clone(), pointer, moved })
    }
}

/// Drawn anew for each release, so that not always the same devices go first; kept while its share grows.
fn salt(channel: &str, target: &PointedRelease) -> String {
    sha256_hex(format!("plimsoll.salt/1\n{channel}\n{}\n", target.release_digest).as_bytes())
}

fn next_epoch(channel: &str, epoch: u64) -> Result<u64, ReleaseError> {
    let full = || ReleaseError::Inconsistent(format!("the {channel} channel has run out of epochs"));
    epoch.checked_add(1).ok_or_else(full)
}

fn check_channel(channel: &str) -> Result<(), ReleaseError> {
    if CHANNELS.contains(&channel) {
        return Ok(());
    }
    Err(ReleaseError::Name { what: "channel", value: channel.chars().take(80).collect() })
}

fn encode(what: &str, value: &impl serde::Serialize) -> Result<Vec<u8>, ReleaseError> {
    to_sorted_json(value).map_err(|source| ReleaseError::Encode { what: what.into(), source })
}

/// Content under its digest; what is there whole is left.
fn put_blob(editor: &Editor<'_>, release: &Path, file: &ManifestFile) -> Result<(), ReleaseError> {
    let name = blob(&file.sha256);
    if sha256_of_file(&editor.folder().join(&name)).is_ok_and(|(found, _)| hex(&found) == file.sha256) {
        return Ok(());
    }
    let bytes = read_bounded(&release.join(&file.path), FILE_LIMIT)?;
    if sha256_hex(&bytes) != file.sha256 {
        let reason = "it was changed while it was published".into();
        return Err(ReleaseError::Refused { what: file.path.clone(), reason });
    }
    Ok(editor.put_blob(&name, &bytes)?)
}
