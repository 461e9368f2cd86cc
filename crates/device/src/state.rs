//! What the agent keeps: two slots, which of them is active, and what it remembers of the repository.
//!
//! ```text
//! state/
//!   active.json     the slot that runs; replaced whole, which is the moment of an update
//!   memory.json     epochs and metadata seen, digests that are not tried again, the latest time seen
//!   health.json     the row of crashes; written by what runs the model
//!   slots/a, b      payload/, model.sig, public_key.pem, and last of all installed.json, without which a slot holds nothing
//!   days/           daily records
//!   lock            held by whoever changes any of it but health.json and days/
//! ```

use std::{
    collections::BTreeMap,
    fs::{OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use plimsoll_record::{ChannelPointer, PAYLOAD, PointedRelease};
use plimsoll_trust::{FileLock, atomic, oms::FolderManifest, read_bounded, to_sorted_json};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    DeviceError,
    disk::{self, Disk},
};

const LIMIT: u64 = 16 << 20;
/// How long somebody else may go on: what only looks is through by then, and so is a killed agent that the system still clears away.
const PATIENCE: Duration = Duration::from_secs(1);
pub(crate) const INSTALLED: &str = "installed.json";

/// One of the two places for a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// The one that it is not.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// What a slot holds, written after everything else in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The release.
    #[serde(flatten)]
    pub release: PointedRelease,
    /// The channel that it came by.
    pub channel: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// File name of the model in the payload.
    pub model: String,
    /// What the self-test said.
    pub self_test: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Active {
    slot: Slot,
}

/// What the agent remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The highest epoch seen, by channel.
    #[serde(default)]
    pub(crate) epochs: BTreeMap<String, u64>,
    /// The pointer that was seen last.
    #[serde(default)]
    pub(crate) pointer: Option<ChannelPointer>,
    /// Metadata that the repository's client remembers, by file name.
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    /// Release digests that are not tried again, with the reason.
    #[serde(default)]
    pub(crate) refused: BTreeMap<String, String>,
    /// The latest time seen, in seconds since 1970.
    #[serde(default)]
    pub(crate) latest: u64,
}

/// How the model that runs has been doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// Release digest of what runs.
    pub(crate) release: String,
    /// Crashes, and starts that were not ended, since it was last healthy.
    pub(crate) row: u64,
    /// It made enough inferences without a crash, once.
    pub(crate) proven: bool,
    /// It is running; still set at a start, the last run was not ended.
    pub(crate) running: bool,
}

/// The state folder.
#[derive(Clone)]
pub struct State {
    folder: PathBuf,
    disk: std::sync::Arc<dyn Disk>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl State {
    /// The state of a folder, which is made where there is none.
    pub fn open(folder: &Path, disk: std::sync::Arc<dyn Disk>) -> Result<Self, DeviceError> {
        let io = |source| DeviceError::Io { path: folder.into(), source };
        for part in ["slots", "days"] {
            disk::make_folders(&*disk, &folder.join(part)).map_err(io)?;
        }
        Ok(Self { folder: folder.into(), disk })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Keeps others from changing the state; says so where another does, and goes on doing so for [`PATIENCE`].
    pub(crate) fn lock(&self) -> Result<FileLock, DeviceError> {
        let path = self.folder.join("lock");
        let io = |source| DeviceError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let began = Instant::now();
        let lock = loop {
            match FileLock::take(file) {
                Ok(lock) => break lock,
                Err((TryLockError::Error(source), _)) => return Err(io(source)),
                Err((TryLockError::WouldBlock, _)) if began.elapsed() >= PATIENCE => {
                    return Err(DeviceError::Busy { path: self.folder.clone() });
                }
                Err((TryLockError::WouldBlock, again)) => file = again,
            }
            thread::sleep(Duration::from_millis(20));
        };
        // Folders that a killed agent worked in.
        for entry in std::fs::read_dir(&self.folder).map_err(io)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(atomic::TEMPORARY) && entry.path().is_dir() {
                self.disk.remove_folder(&entry.path()).map_err(io)?;
            }
        }
        Ok(lock)
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, DeviceError> {
        let bytes = match read_bounded(path, LIMIT) {
            Ok(bytes) => bytes,
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let damaged = |e: serde_json::Error| DeviceError::Damaged { path: path.into(), reason: e.to_string() };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), DeviceError> {
        let damaged = |e: serde_json::Error| DeviceError::Damaged { path: path.into(), reason: e.to_string() };
        let bytes = to_sorted_json(value).map_err(damaged)?;
        disk::replace(&*self.disk, path, &bytes).map_err(|source| DeviceError::Io { path: path.into(), source })
    }

    pub(crate) fn memory(&self) -> Result<Memory, DeviceError> {
        Ok(self.read(&self.folder.join("memory.json"))?.unwrap_or_default())
    }

    pub(crate) fn remember(&self, memory: &Memory) -> Result<(), DeviceError> {
        if self.memory().is_ok_and(|before| before == *memory) {
            return Ok(());
        }
        self.write(&self.folder.join("memory.json"), memory)
    }

    pub(crate) fn health(&self) -> Result<Health, DeviceError> {
        Ok(self.read(&self.folder.join("health.json"))?.unwrap_or_default())
    }

    pub(crate) fn set_health(&self, health: &Health) -> Result<(), DeviceError> {
        self.write(&self.folder.join("health.json"), health)
    }

    /// A slot's folder.
    pub fn slot(&self, slot: Slot) -> PathBuf {
        self.folder.join("slots").join(slot.name())
    }

    /// What a slot holds, where it is whole.
    pub fn installed(&self, slot: Slot) -> Result<Option<Installed>, DeviceError> {
        self.read(&self.slot(slot).join(INSTALLED))
    }

    /// The slot that runs, and what it holds.
    pub fn active(&self) -> Result<Option<(Slot, Installed)>, DeviceError> {
        let Some(Active { slot }) = self.read(&self.folder.join("active.json"))? else { return Ok(None) };
        Ok(self.installed(slot)?.map(|installed| (slot, installed)))
    }

    /// The moment of an update. What the slot holds must be whole and on the disk.
    pub(crate) fn activate(&self, slot: Slot) -> Result<(), DeviceError> {
        self.write(&self.folder.join("active.json"), &Active { slot })
    }

    pub(crate) fn finish(&self, slot: Slot, installed: &Installed) -> Result<(), DeviceError> {
        self.write(&self.slot(slot).join(INSTALLED), installed)
    }

    /// Empties a slot. First it stops being whole, then its files go.
    pub(crate) fn clear(&self, slot: Slot) -> Result<(), DeviceError> {
        let folder = self.slot(slot);
        let io = |source| DeviceError::Io { path: folder.clone(), source };
        match self.disk.remove(&folder.join(INSTALLED)) {
            Ok(()) => self.disk.sync_folder(&folder).map_err(io)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io(e)),
        }
        self.disk.remove_folder(&folder).map_err(io)
    }

    /// Whether the files of a slot are those that were installed: read again, all of them.
    pub fn verify(&self, slot: Slot) -> Result<bool, DeviceError> {
        let Some(installed) = self.installed(slot)? else { return Ok(false) };
        let found = FolderManifest::of_folder(&self.slot(slot).join(PAYLOAD));
        Ok(found.is_ok_and(|f| f.root_digest() == installed.release.release_digest))
    }
}
