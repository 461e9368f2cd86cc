//! What the repository says, as far as it is to be believed: metadata from a trusted root, the channel's pointer, manifests.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use plimsoll_profile::{Day, DeviceSpec, Enrolment};
use plimsoll_record::{
    ChannelPointer, Halt, PointedRelease, ReleaseManifest,
    names::{halt_target, manifest_target, pointer_target},
};
use plimsoll_trust::{
    atomic, is_address, read_bounded,
    tuf::{Client, FolderSource, Source},
};
use serde::de::DeserializeOwned;

use crate::{
    DeviceError,
    state::{Memory, State},
};

const POINTER_LIMIT: u64 = 64 << 10;
const MANIFEST_LIMIT: u64 = 4 << 20;
const ROOT_LIMIT: u64 = 1 << 20;
const METADATA_LIMIT: u64 = 4 << 20;
/// No clock that goes right shows an earlier time: 2026-01-01, in seconds since 1970.
const EARLIEST: u64 = 1_767_225_600;

/// A repository whose metadata hold.
pub(crate) struct View {
    client: Client,
    trial: bool,
}

/// Where the repository is read from.
fn source(spec: &DeviceSpec) -> Result<Arc<dyn Source>, DeviceError> {
    let place = &spec.repository.path;
    if !is_address(place) {
        return Ok(Arc::new(FolderSource::new(place)));
    }
    #[cfg(feature = "remote")]
    let found = plimsoll_remote::objects::source(&spec.repository.written)
        .map_err(|e| DeviceError::Address { reason: e.to_string(), help: e.help.into() });
    #[cfg(not(feature = "remote"))]
    let found = Err(DeviceError::Address {
        reason: format!("{} is an address, and this build of the agent knows folders alone", place.display()),
        help: "build it with the feature `remote`, or mirror the repository into a folder".into(),
    });
    found
}

/// The channel that a device follows: beta as long as the enrolment list names it.
pub(crate) fn followed(spec: &DeviceSpec, now: SystemTime) -> Result<&'static str, DeviceError> {
    if !spec.beta {
        return Ok("general");
    }
    let Some(list) = &spec.enrolment else { return Ok("general") };
    let enrolment = Enrolment::read(&list.path)?;
    Ok(if enrolment.has(&spec.id, Day::of(now)) { "beta" } else { "general" })
}

/// Why a clock is not to be believed.
pub(crate) fn check_clock(now: SystemTime, memory: &Memory) -> Result<u64, DeviceError> {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let floor = memory.latest.max(EARLIEST);
    // A clock may be set back by an hour without harm; one without a battery starts in 1970.
    if seconds + 3_600 >= floor {
        return Ok(seconds);
    }
    let [day, known] = [seconds, floor].map(|s| Day::of(UNIX_EPOCH + Duration::from_secs(s)));
    let reason = format!("it says {day}, and it was {known} before: whether the metadata are fresh cannot be told");
    Err(DeviceError::refused("the clock", reason))
}

impl View {
    /// Loads and verifies the metadata, with what is remembered of earlier ones; they are remembered where they hold.
    pub(crate) fn load(
        spec: &DeviceSpec,
        state: &State,
        memory: &mut Memory,
        now: SystemTime,
    ) -> Result<Self, DeviceError> {
        let seconds = check_clock(now, memory)?;
        let root = read_bounded(&spec.root.path, ROOT_LIMIT)?;
        // The client's own memory is files that it writes as it goes; ours is one file, replaced whole.
        let io = |source| DeviceError::Io { path: state.folder().into(), source };
        let scratch = tempfile::Builder::new().prefix(atomic::TEMPORARY).tempdir_in(state.folder()).map_err(io)?;
        for (name, text) in &memory.metadata {
            fs::write(scratch.path().join(name), text).map_err(io)?;
        }
        let client = Client::load_from(source(spec)?, &root, Some(scratch.path()))?;
        client.check_expiry(now)?;
        let trial = client.mark("trial").is_some_and(|mark| mark != &serde_json::Value::Bool(false));
        if trial && !spec.trial {
            let reason = "it is marked `trial`: anybody with the trial folder can have signed it";
            return Err(DeviceError::refused("the repository", reason));
        }
        memory.metadata = kept(scratch.path())?;
        memory.latest = memory.latest.max(seconds);
        Ok(Self { client, trial })
    }

    /// Where content is read from.
    pub(crate) fn source(&self) -> &dyn Source {
        self.client.source().as_ref()
    }

    fn document<T: DeserializeOwned>(&self, target: &str, limit: u64) -> Result<Option<(T, String)>, DeviceError> {
        let Some(info) = self.client.target(target)? else { return Ok(None) };
        let missing = || DeviceError::refused(target, "it is listed and not there");
        let bytes = self.client.read_target(target, limit)?.ok_or_else(missing)?;
        let document = serde_json::from_slice(&bytes).map_err(|e| DeviceError::refused(target, e.to_string()))?;
        Ok(Some((document, info.sha256)))
    }

    /// The channel's pointer; one of an epoch below what was seen is refused, and so is one of another model.
    pub(crate) fn pointer(
        &self,
        spec: &DeviceSpec,
        channel: &str,
        memory: &mut Memory,
    ) -> Result<Option<ChannelPointer>, DeviceError> {
        let target = pointer_target(channel);
        let refused = |reason: String| DeviceError::refused(&target, reason);
        let seen = memory.epochs.get(channel).copied();
        let Some((pointer, _)) = self.document::<ChannelPointer>(&target, POINTER_LIMIT)? else {
            return match seen {
                Some(epoch) => Err(refused(format!("the channel is at nothing, and was at epoch {epoch}"))),
                None => Ok(None),
            };
        };
        pointer.check(channel).map_err(refused)?;
        if pointer.trial != self.trial {
            return Err(refused("its trial mark is not the repository's".into()));
        }
        if let Some(seen) = seen.filter(|seen| *seen > pointer.epoch) {
            return Err(refused(format!("it went back to epoch {} from {seen}", pointer.epoch)));
        }
        // Two pointers of one epoch, a halt apart: one of them was never meant to be.
        let before = memory.pointer.as_ref().filter(|m| m.channel == channel && m.epoch == pointer.epoch);
        if before.is_some_and(|m| *m != ChannelPointer { state: m.state, ..pointer.clone() }) {
            return Err(refused(format!("it is another pointer of the epoch {} that was seen before", pointer.epoch)));
        }
        if pointer.target.release != spec.name {
            return Err(refused(format!("it is at {}, and this device runs {}", pointer.target.release, spec.name)));
        }
        let target = halt_target(channel);
        let halt = self.document::<Halt>(&target, POINTER_LIMIT)?.map(|(halt, _)| halt);
        if let Some(halt) = &halt {
            halt.check(channel).map_err(|reason| DeviceError::refused(&target, reason))?;
        }
        let pointer = pointer.under(halt.as_ref());
        memory.epochs.insert(channel.into(), pointer.epoch);
        memory.pointer = Some(pointer.clone());
        Ok(Some(pointer))
    }

    /// The manifest that a pointer means, by name and by both digests.
    pub(crate) fn manifest(&self, release: &PointedRelease) -> Result<ReleaseManifest, DeviceError> {
        let target = manifest_target(&release.release, &release.version);
        let refused = |reason: String| DeviceError::refused(&target, reason);
        let Some((manifest, sha256)) = self.document::<ReleaseManifest>(&target, MANIFEST_LIMIT)? else {
            return Err(refused("the channel points to it, and the repository does not list it".into()));
        };
        manifest.check().map_err(refused)?;
        let same = manifest.name == release.release
            && manifest.version == release.version
            && sha256 == release.manifest_sha256
            && manifest.release_digest == release.release_digest;
        if !same || manifest.trial != self.trial {
            return Err(refused(
                "the repository lists another release under that name than the channel points to".into(),
            ));
        }
        Ok(manifest)
    }
}

/// What the repository's client needs to tell an older state by: the newest timestamp and snapshot, and the roots that led there. Other
/// roles are kept by it to save fetching them, and are fetched again.
fn kept(folder: &Path) -> Result<BTreeMap<String, String>, DeviceError> {
    let io = |source| DeviceError::Io { path: folder.into(), source };
    let mut kept = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if ["timestamp.json", "snapshot.json"].contains(&name.as_str()) || name.ends_with(".root.json") {
            let bytes = read_bounded(&folder.join(&name), METADATA_LIMIT)?;
            kept.insert(name, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(kept)
}
