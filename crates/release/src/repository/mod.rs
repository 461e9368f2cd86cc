//! The repository as its keepers see it: releases go in, channels move.

pub(crate) mod entry;
pub(crate) mod keepers;
mod moves;

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use plimsoll_record::{AuditAction, ChannelPointer, ManifestFile, PointedRelease, PointerState, ReleaseManifest};
use plimsoll_trust::{
    KeySource, Keyring, NoSecrets, ReadError, Secrets, hex, sha256_hex, to_sorted_json,
    tuf::{self, Client, Creation, Editor, FolderStore, Opened, Source, Store, TufError},
};
use sha2::{Digest, Sha256};

use crate::{
    Actor, BETA, ErrorKind, Place, ReleaseError,
    audit::{self, Event},
    catalogue, decision,
    names::{blob, folder_name, manifest_target, pointer_target},
    roles::{CHANNELS, ROLES, SIGNING, key_names},
};

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
    place: Place,
    keys: Keyring,
    trial: bool,
    made: bool,
    actor: Actor,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, keys, trial, .. } = self;
        f.debug_struct("Repository").field("place", place).field("keys", keys).field("trial", trial).finish()
    }
}

impl Repository {
    /// Opens a trial repository; makes it, and keys for all its roles, where there is none.
    ///
    /// Whoever can read the key folder can sign, so its root carries the mark `trial`, and production clients refuse it.
    pub fn open_or_create_trial(folder: &Path, keys: &Path, now: SystemTime) -> Result<Self, ReleaseError> {
        match catalogue::open(&folder.into()) {
            // Keys drawn for a repository that is there would be strangers to it.
            Ok(_) => return Self::open(folder, keys),
            Err(TufError::NotFound { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        let keys = Keyring::of_folder(keys, &key_names(), true)?;
        let marks = BTreeMap::from([("trial".to_owned(), serde_json::Value::Bool(true))]);
        let public = BTreeMap::new();
        let notes = keepers::holders(&keys, &public, &BTreeMap::new())?;
        let creation = Creation { roles: ROLES, keys: &keys, public: &public, marks: &marks, notes: &notes };
        let made = match tuf::create(&FolderStore::new(folder), &creation, now) {
            Ok(()) => true,
            // Somebody else was faster.
            Err(TufError::Exists { .. }) => false,
            Err(e) => return Err(e.into()),
        };
        Ok(Self { made, ..Self::with_store(Box::new(FolderStore::new(folder)), keys)? })
    }

    /// Opens a repository with the keys of a folder that need no secret.
    pub fn open(folder: &Path, keys: &Path) -> Result<Self, ReleaseError> {
        Self::open_with(folder, keys, &NoSecrets)
    }

    /// Opens a repository with the keys of a folder, which need not be all there are; `secrets` open encrypted keys and tokens.
    /// Nothing is made.
    pub fn open_with(folder: &Path, keys: &Path, secrets: &dyn Secrets) -> Result<Self, ReleaseError> {
        Self::open_stored(Box::new(FolderStore::new(folder)), keys, secrets)
    }

    /// The same in any storage.
    pub fn open_stored(store: Box<dyn Store>, keys: &Path, secrets: &dyn Secrets) -> Result<Self, ReleaseError> {
        // A repository that is not there says more than keys that are not.
        let trial = catalogue::is_trial(&catalogue::open(&Place::from(store.source()))?);
        let keys = keys_of(keys, secrets)?;
        Ok(Self::of(store, keys, trial))
    }

    /// Opens a repository with storage and keys from elsewhere: keys by the names that [`crate::ROLES`] calls them by, and
    /// `signing`.
    pub fn with_store(store: Box<dyn Store>, keys: Keyring) -> Result<Self, ReleaseError> {
        let trial = catalogue::is_trial(&catalogue::open(&Place::from(store.source()))?);
        Ok(Self::of(store, keys, trial))
    }

    fn of(store: Box<dyn Store>, keys: Keyring, trial: bool) -> Self {
        let place = Place::from(store.source());
        Self { store, place, keys, trial, made: false, actor: Actor::default() }
    }

    /// Says who changes it, and why: the audit log keeps it.
    pub fn acting(self, actor: Actor) -> Self {
        Self { actor, ..self }
    }

    /// Says so of changes to come.
    pub fn act_as(&mut self, actor: Actor) {
        self.actor = actor;
    }

    /// It was made just now, with its keys.
    pub fn is_new(&self) -> bool {
        self.made
    }

    /// Its folder, or its address.
    pub fn folder(&self) -> &Path {
        self.place.0.place()
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
        let client = catalogue::open(&self.place)?;
        let joint = if version.contains('+') { '.' } else { '+' };
        let mut candidate = version.to_owned();
        for n in 2_u32.. {
            let listed = client.target(&manifest_target(name, &candidate))?.is_some();
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
        Ok(catalogue::pointer(&catalogue::open(&self.place)?, channel)?.map(|p| p.target))
    }

    /// Writes down that a person set a rule aside who may.
    pub fn note_override(&self, meaning: &str, now: SystemTime) -> Result<(), ReleaseError> {
        let mut editor = Editor::open(self.store.as_ref(), ROLES)?;
        let event = Event::new(AuditAction::Override, meaning);
        audit::append(&mut editor, &[event], &self.actor, &self.keys, now)?;
        Ok(editor.commit(&self.keys, now)?)
    }

    /// Tries a change; where it is refused, writes that down. The refusal stands whether or not the keys at hand can sign for the log.
    fn noting<T>(&self, now: SystemTime, change: impl FnOnce() -> Result<T, ReleaseError>) -> Result<T, ReleaseError> {
        change().inspect_err(|error| {
            // A disk that is full and a lock that is held are nobody's refusal.
            if !matches!(error.kind(), ErrorKind::VerificationRefused | ErrorKind::BadInput) {
                return;
            }
            let Ok(mut editor) = Editor::open(self.store.as_ref(), ROLES) else { return };
            let event = Event::new(AuditAction::Refused, error.to_string());
            if audit::append(&mut editor, &[event], &self.actor, &self.keys, now).is_ok() {
                let _ = editor.commit(&self.keys, now);
            }
        })
    }

    /// In production a release enters general, and grows there, by a decision alone.
    fn asks_for_decisions(&self, channel: &str) -> bool {
        !self.trial && channel != BETA
    }

    /// A release that is all there, as it was signed.
    fn whole(&self, client: &Client, target: &PointedRelease) -> Result<ReleaseManifest, ReleaseError> {
        let manifest = catalogue::pointed(client, target)?;
        for file in &manifest.files {
            let refused = |reason: String| ReleaseError::Refused { what: file.path.clone(), reason };
            if !holds(self.place.0.as_ref(), file).map_err(|e| refused(e.to_string()))? {
                return Err(refused("the repository holds other bytes than were signed".into()));
            }
        }
        Ok(manifest)
    }

    /// The decision that lets a release in is there, and is about it.
    fn held(
        &self,
        client: &Client,
        channel: &str,
        manifest: &ReleaseManifest,
        decision: Option<&str>,
    ) -> Result<(), ReleaseError> {
        let none = || ReleaseError::NoDecision {
            channel: channel.into(),
            name: manifest.name.clone(),
            version: manifest.version.clone(),
        };
        decision::read(client, decision.ok_or_else(none)?, manifest).map(drop)
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
        events: &[Event],
        now: SystemTime,
    ) -> Result<Published, ReleaseError> {
        if moved {
            audit::append(&mut editor, events, &self.actor, &self.keys, now)?;
            pointer.check(&pointer.channel).map_err(ReleaseError::Inconsistent)?;
            let name = pointer_target(&pointer.channel);
            let bytes = encode(&name, &pointer)?;
            editor.set_target(&pointer.channel, &name, bytes)?;
        }
        editor.commit(&self.keys, now)?;
        Ok(Published { repository: self.folder().into(), pointer, moved })
    }
}

fn named(target: &PointedRelease) -> String {
    format!("{} {}", target.release, target.version)
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

/// The keys that lie in a folder, by their names.
fn keys_of(folder: &Path, secrets: &dyn Secrets) -> Result<Keyring, ReleaseError> {
    let unreadable = |source| ReadError::Io { path: folder.into(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let stem = path.file_stem().and_then(|s| s.to_str()).filter(|s| !s.ends_with(".pub"));
        if let (Some(stem), Some("pem" | "key")) = (stem, path.extension().and_then(|e| e.to_str())) {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    names.dedup();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(Keyring::open_folder(folder, &names, secrets)?)
}

/// SHA-256 of a stream, in hex.
fn sha256_of(content: &mut dyn Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match content.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(piece.get(..n).unwrap_or_default()),
        }
    }
}

/// Whether a repository holds a file's content whole.
fn holds(source: &dyn Source, file: &ManifestFile) -> Result<bool, ReadError> {
    let name = blob(&file.sha256);
    let Some(Opened { mut content, bytes }) = source.open(&name)? else { return Ok(false) };
    if bytes != file.bytes {
        return Ok(false);
    }
    let path = || source.place().join(&name);
    let found = sha256_of(&mut content).map_err(|source| ReadError::Io { path: path(), source })?;
    Ok(found == file.sha256)
}
