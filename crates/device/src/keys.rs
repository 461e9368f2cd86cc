//! What a server counts of each key that it draws requests by: there the key is what a release is judged by, not the server.
//!
//! Bounded: of more keys than are kept a share is counted, which a hash of the key draws. Of that the release knows nothing, so that what
//! is counted of both releases can be compared.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use plimsoll_profile::Day;
use plimsoll_record::{DeviceDay, TelemetryRecord};
use plimsoll_trust::{read_bounded, to_sorted_json};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    DeviceError,
    day::{EVERY, Whose, blank, count_latency},
    disk,
    state::State,
};

/// Keys of a release and a day that are counted one by one.
const MOST: usize = 20_000;
/// Telemetry has no longer ids.
const LONGEST: usize = 200;
/// Their file is not longer.
const LIMIT: u64 = 64 << 20;
/// How the names of their files end.
pub(crate) const ENDING: &str = ".keys.json";

/// What was counted of a key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    cohort: String,
    inferences: u64,
    over_budget: u64,
    crashes: u64,
    crash_loops: u64,
    latency_log2_us: Vec<u64>,
    busy: f64,
}

impl Tally {
    pub(crate) fn inference(&mut self, took: Duration, over_budget: bool) {
        self.inferences += 1;
        self.over_budget += u64::from(over_budget);
        self.busy += took.as_secs_f64();
        count_latency(&mut self.latency_log2_us, took);
    }

    pub(crate) fn crashed(&mut self) {
        self.crashes += 1;
    }

    /// The release was given up at a request of this key.
    pub(crate) fn gave_up(&mut self) {
        self.crash_loops += 1;
    }
}

/// A day of one release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counts {
    day: String,
    release: String,
    channel: String,
    watts: Option<f64>,
    /// One key of 2 to this power is counted.
    halvings: u32,
    keys: BTreeMap<String, Tally>,
}

/// Counts a day of one release by key.
pub(crate) struct Keys {
    counts: Counts,
    path: PathBuf,
    saved: Instant,
}

impl Keys {
    /// Those of a day; what was begun is gone on with.
    pub(crate) fn open(state: &State, day: Day, release: &str, channel: &str, watts: Option<f64>) -> Self {
        let short = release.get(..16).unwrap_or(release);
        let path = state.folder().join("days").join(format!("{day}.{short}{ENDING}"));
        // As with a day's own file, one that was damaged is begun anew.
        let begun = read_bounded(&path, LIMIT).ok().and_then(|b| serde_json::from_slice::<Counts>(&b).ok());
        let mut counts = begun.unwrap_or_else(|| Counts {
            day: day.to_string(),
            release: release.to_owned(),
            channel: String::new(),
            watts,
            halvings: 0,
            keys: BTreeMap::new(),
        });
        channel.clone_into(&mut counts.channel);
        Self { counts, path, saved: Instant::now() }
    }

    pub(crate) fn is_of(&self, day: Day) -> bool {
        self.counts.day == day.to_string()
    }

    /// What was counted of a key, where it is one of those that are.
    pub(crate) fn of(&mut self, key: &str, cohort: &str) -> Option<&mut Tally> {
        let Counts { halvings, keys, .. } = &mut self.counts;
        if key.len() > LONGEST || !is_drawn(key, *halvings) {
            return None;
        }
        keys.entry(key.to_owned()).or_default().cohort = cohort.to_owned();
        while keys.len() > MOST {
            *halvings += 1;
            keys.retain(|key, _| is_drawn(key, *halvings));
        }
        keys.get_mut(key)
    }

    /// Writes what was counted, where it is time to, or where `now` it is.
    pub(crate) fn save(&mut self, state: &State, now: bool) -> Result<(), DeviceError> {
        if !now && self.saved.elapsed() < EVERY {
            return Ok(());
        }
        self.saved = Instant::now();
        let damaged = |e: serde_json::Error| DeviceError::Damaged { path: self.path.clone(), reason: e.to_string() };
        let bytes = to_sorted_json(&self.counts).map_err(damaged)?;
        disk::replace(state.disk(), &self.path, &bytes)
            .map_err(|source| DeviceError::Io { path: self.path.clone(), source })
    }
}

/// Whether one key of two to the power of `halvings` is this one.
fn is_drawn(key: &str, halvings: u32) -> bool {
    let digest: [u8; 32] = Sha256::new().chain_update("plimsoll.keys/1\0").chain_update(key).finalize().into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d]).trailing_zeros() >= halvings
}

/// The records of a file of keys, and the day that they are of.
pub(crate) fn records(path: &Path) -> Result<(String, Vec<TelemetryRecord>), DeviceError> {
    let bytes = read_bounded(path, LIMIT)?;
    let damaged = |e: serde_json::Error| DeviceError::Damaged { path: path.into(), reason: e.to_string() };
    let Counts { day, release, channel, watts, keys, .. } = serde_json::from_slice(&bytes).map_err(damaged)?;
    let record = |(key, tally): (String, Tally)| {
        let whose = Whose { device: key, channel: channel.clone(), cohort: tally.cohort, release: release.clone() };
        TelemetryRecord::DeviceDay(DeviceDay {
            inferences: tally.inferences,
            over_budget: tally.over_budget,
            crashes: tally.crashes,
            crash_loops: tally.crash_loops,
            latency_log2_us: (tally.inferences > 0).then_some(tally.latency_log2_us),
            energy_joules: watts.map(|w| w * tally.busy),
            ..blank(whose, &day)
        })
    };
    let records = keys.into_iter().map(record).collect();
    Ok((day, records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_keys_than_are_kept_are_a_sample_that_both_releases_share() {
        let counts = || Counts {
            day: String::new(),
            release: String::new(),
            channel: String::new(),
            watts: None,
            halvings: 0,
            keys: BTreeMap::new(),
        };
        let new = || Keys { counts: counts(), path: PathBuf::new(), saved: Instant::now() };
        let (mut many, mut few) = (new(), new());
        for n in 0..50_000 {
            let key = format!("user-{n}");
            many.of(&key, "treatment");
            if n % 10 == 0 {
                few.of(&key, "holdback");
            }
        }
        assert_eq!((many.counts.halvings, few.counts.halvings, few.counts.keys.len()), (2, 0, 5_000));
        assert!((12_000..13_000).contains(&many.counts.keys.len()), "{}", many.counts.keys.len());
        let both = few.counts.keys.keys().filter(|k| many.counts.keys.contains_key(*k)).count();
        assert!((1_100..1_400).contains(&both), "a quarter of either is drawn: {both}");
        assert_eq!(few.of(&"x".repeat(201), "holdback"), None, "whoever keeps telemetry would refuse it");
        // What was dropped stays out, and what is counted is counted from its first request on.
        assert!(many.counts.keys.keys().all(|k| is_drawn(k, 2)));
    }
}
