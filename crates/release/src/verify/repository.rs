//! A repository: its metadata, its channels, and every release that a device could take or fall back on.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use plimsoll_record::{ChannelPointer, PointedRelease, PointerState, ReleaseManifest, Verification};
use plimsoll_trust::{
    atomic, read_bounded, sha256_hex, to_sorted_json,
    tuf::{Client, TufError},
};

use super::{
    VerifyOptions,
    folder::{Expected, take_release},
    steps::Steps,
};
use crate::{
    Place, ReleaseError, catalogue, decision,
    fetch::extract,
    roles::{CHANNELS, GENERAL},
};

/// No keeper's clock is so far ahead that the first role to expire, which is signed for a day, is good for longer.
const MOST_AHEAD: Duration = Duration::from_secs(60 * 86_400);
/// Where the epochs that were seen are remembered.
const EPOCHS: &str = "epochs.json";

/// Verifies a repository: metadata chain, expiry, trial mark, pointers, manifests, and each release that a channel points to
/// or falls back on, unpacked and held against its signature.
pub fn verify_repository(repository: impl Into<Place>, options: &VerifyOptions) -> Result<Verification, ReleaseError> {
    let place = repository.into();
    let mut steps = Steps::default();
    let load = || match &options.trusted_root {
        Some(root) => Client::load_from(Arc::clone(&place.0), root, options.memory.as_deref()),
        None => Client::load_own_from(Arc::clone(&place.0), options.memory.as_deref(), false),
    };
    let client = match load() {
        // Nothing there, or not readable: no verdict on anything.
        Err(e @ TufError::NotFound { .. }) => return Err(e.into()),
        Err(e) if !e.is_refusal() => return Err(e.into()),
        other => other.map_err(|e| e.to_string()),
    };
    let client = steps.take("metadata", || {
        let client = client?;
        let detail = metadata(&client, options);
        Ok((client, detail))
    });
    let Some(client) = client else { return Ok(steps.finish()) };
    match options.now {
        Some(now) => drop(steps.take("expiry", || {
            client.check_expiry(now).map_err(|e| e.to_string())?;
            Ok(((), expiry(&client, now)?))
        })),
        None => steps.skip("expiry", "no clock was given"),
    }
    let trial = catalogue::is_trial(&client);
    steps.take("trial mark", || match (trial, options.production) {
        (true, true) => {
            Err("the repository is marked `trial`: anybody with the trial folder can have signed it".into())
        }
        (true, false) => Ok(((), "a trial; production clients refuse it".into())),
        (false, _) => Ok(((), "none".into())),
    });
    if options.production {
        steps.take("authority", || match &options.trusted_root {
            Some(_) => Ok(((), "the root was given, not taken from the repository".into())),
            None => Err("a repository's own root says nothing of whose it is; give the one that you trust".into()),
        });
    }

    let mut releases: Vec<PointedRelease> = Vec::new();
    let mut options = options.clone();
    let remembered = options.memory.as_ref().map(|folder| folder.join(EPOCHS));
    if let Some(path) = &remembered {
        steps.take("memory", || {
            let seen = epochs(path)?;
            let detail = format!("{} channels were seen before", seen.len());
            options.seen_epochs.extend(seen);
            Ok(((), detail))
        });
    }
    let options = &options;
    let mut seen = options.seen_epochs.clone();
    for channel in CHANNELS {
        let found = steps.take(&format!("channel {channel}"), || pointer(&client, channel, trial, options));
        let Some(Some(pointer)) = found else { continue };
        seen.insert((*channel).into(), pointer.epoch);
        if *channel == GENERAL && !trial {
            let_in(&mut steps, &client, &pointer);
        }
        for release in [Some(pointer.target), pointer.previous].into_iter().flatten() {
            if !releases.contains(&release) {
                releases.push(release);
            }
        }
    }
    steps.take("audit log", || match crate::audit::verified_log(&client) {
        Ok(log) if log.entries.is_empty() => Ok(((), "nothing yet".into())),
        Ok(log) => Ok(((), format!("{} lines, chained, the last one as the repository says", log.entries.len()))),
        Err(e) => Err(e.to_string()),
    });
    if releases.is_empty() {
        steps.skip("release", "no channel is at a release yet");
    }
    for release in &releases {
        steps.about(format!("{} {}", release.release, release.version));
        take_pointed(&mut steps, &client, release, trial, options);
    }
    let verification = steps.finish();
    if let (Some(path), None) = (&remembered, verification.failure()) {
        let bytes = to_sorted_json(&seen).map_err(|source| ReleaseError::Encode { what: EPOCHS.into(), source })?;
        atomic::write(path, &bytes).map_err(|source| ReleaseError::Io { path: path.clone(), source })?;
    }
    Ok(verification)
}

/// What let the release into general that is there.
fn let_in(steps: &mut Steps, client: &Client, pointer: &ChannelPointer) {
    let Some(sha256) = &pointer.decision_sha256 else {
        return steps.skip("decision", "general names none: it went back to a release that it had before");
    };
    steps.take("decision", || {
        let held = catalogue::pointed(client, &pointer.target)
            .and_then(|manifest| decision::read(client, sha256, &manifest))
            .map_err(|e| e.to_string())?;
        Ok(((), format!("general: {}", held.meaning)))
    });
}

/// The epochs that were seen of channels.
fn epochs(path: &Path) -> Result<BTreeMap<String, u64>, String> {
    match read_bounded(path, 1 << 16) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display())),
        Err(e) if e.is_not_found() => Ok(BTreeMap::new()),
        Err(e) => Err(e.to_string()),
    }
}

fn metadata(client: &Client, options: &VerifyOptions) -> String {
    let roles: Vec<String> = client
        .authorities()
        .iter()
        .map(|a| format!("{} v{} ({} of {})", a.role, a.version, a.threshold, a.keys))
        .collect();
    let root = match &options.trusted_root {
        Some(root) => format!("from the given root {}", sha256_hex(root)),
        None => "from its own first root, which proves that it is consistent, not whose it is".into(),
    };
    format!("{root}; {}", roles.join(", "))
}

/// What expires first. By a clock that is far behind nothing has expired, whatever somebody holds back.
fn expiry(client: &Client, now: SystemTime) -> Result<String, String> {
    let Some(first) = client.authorities().into_iter().min_by_key(|a| a.expires) else { return Ok(String::new()) };
    match SystemTime::from(first.expires).duration_since(now) {
        Ok(left) if left > MOST_AHEAD => Err(format!(
            "the clock is behind: {} is good until {}, and what is signed last is signed for a day",
            first.role, first.expires
        )),
        _ => Ok(format!("the first to expire is {}, at {}", first.role, first.expires)),
    }
}

fn pointer(
    client: &Client,
    channel: &str,
    trial: bool,
    options: &VerifyOptions,
) -> Result<(Option<ChannelPointer>, String), String> {
    let seen = options.seen_epochs.get(channel).copied().unwrap_or(0);
    let Some(pointer) = catalogue::pointer(client, channel).map_err(|e| e.to_string())? else {
        return match seen {
            0 => Ok((None, "at nothing yet".into())),
            seen => Err(format!("it is at nothing, and was at epoch {seen}")),
        };
    };
    if pointer.epoch < seen {
        return Err(format!("it went back to epoch {} from {seen}", pointer.epoch));
    }
    if pointer.trial != trial {
        return Err("its trial mark is not that of the repository".into());
    }
    let halt = catalogue::halt(client, channel).map_err(|e| e.to_string())?;
    if halt.as_ref().is_some_and(|h| h.trial != trial) {
        return Err("the trial mark of its halt is not that of the repository".into());
    }
    let pointer = pointer.under(halt.as_ref());
    let PointedRelease { release, version, release_digest, .. } = &pointer.target;
    let share = f64::from(pointer.percent_bp) / 100.0;
    let state = match (pointer.state, &halt) {
        (PointerState::Active, _) => String::new(),
        (PointerState::Paused, _) => ", paused".into(),
        (PointerState::Halted, Some(halt)) => format!(", halted at {}: {}", halt.utc, halt.reason.escape_debug()),
        (PointerState::Halted, None) => ", halted".into(),
    };
    let epoch = pointer.epoch;
    let detail = format!("epoch {epoch}: {release} {version} for {share} %{state}, release digest {release_digest}");
    Ok((Some(pointer), detail))
}

fn take_pointed(steps: &mut Steps, client: &Client, release: &PointedRelease, trial: bool, options: &VerifyOptions) {
    let manifest: Option<ReleaseManifest> = steps.take("manifest", || {
        let manifest = catalogue::pointed(client, release).map_err(|e| e.to_string())?;
        if manifest.trial != trial {
            return Err("its trial mark is not that of the repository".into());
        }
        let detail = format!("{} files", manifest.files.len());
        Ok((manifest, detail))
    });
    let Some(manifest) = manifest else { return };
    let unpacked = steps.take("files", || {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        extract(client.source().as_ref(), &manifest, &folder.path().join("release")).map_err(|e| e.to_string())?;
        let bytes: u64 = manifest.files.iter().map(|f| f.bytes).fold(0, u64::saturating_add);
        Ok((folder, format!("{} files, {bytes} bytes, as signed", manifest.files.len())))
    });
    let Some(unpacked) = unpacked else { return };
    let expected = Expected {
        name: &manifest.name,
        version: &manifest.version,
        release_digest: &manifest.release_digest,
        signing_key: &manifest.signing_key,
    };
    take_release(steps, &unpacked.path().join("release"), options, Some(&expected));
}
