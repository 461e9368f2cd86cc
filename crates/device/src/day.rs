//! The daily record of a release: counted as it goes, kept in a file a day.

use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use plimsoll_onnx::Tensors;
use plimsoll_profile::Day;
use plimsoll_record::{DeviceDay, Distributions, TelemetryRecord};
use plimsoll_trust::{read_bounded, to_sorted_json};
use serde::{Deserialize, Serialize};

use crate::{DeviceError, disk, keys, reference::Counted, state::State};

const LIMIT: u64 = 1 << 20;
/// What is counted reaches the disk this often: flash wears, and a power cut loses no more.
pub(crate) const EVERY: Duration = Duration::from_secs(30);
/// Days that are kept.
const KEPT: usize = 60;

/// A day of one release, with what its drift is worked out from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counts {
    record: DeviceDay,
    busy: f64,
    shadow_busy: f64,
    inputs: Counted,
    outputs: Counted,
}

/// What happened in one inference.
pub(crate) struct Made<'m> {
    pub(crate) inputs: &'m Tensors,
    pub(crate) outputs: &'m Tensors,
    pub(crate) took: Duration,
    pub(crate) over_budget: bool,
}

/// Counts a day of one release.
pub(crate) struct Diary {
    counts: Counts,
    path: PathBuf,
    saved: Instant,
    watts: Option<f64>,
}

/// Whose day it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whose {
    pub(crate) device: String,
    pub(crate) channel: String,
    pub(crate) cohort: String,
    pub(crate) release: String,
}

/// A day on which nothing has happened yet.
pub(crate) fn blank(whose: Whose, day: &str) -> DeviceDay {
    let Whose { device, channel, cohort, release } = whose;
    DeviceDay {
        schema: TelemetryRecord::SCHEMA.into(),
        device,
        day: day.into(),
        release,
        cohort,
        channel,
        inferences: 0,
        over_budget: 0,
        crashes: 0,
        restarts: 0,
        crash_loops: 0,
        signature_failures: 0,
        latency_log2_us: None,
        shadow: None,
        input_drift: None,
        output_drift: None,
        energy_joules: None,
    }
}

/// Counts how long an inference took.
pub(crate) fn count_latency(bins: &mut Vec<u64>, took: Duration) {
    let bin = DeviceDay::latency_bin(took.as_micros() as u64);
    bins.resize(bins.len().max(bin + 1), 0);
    bins.iter_mut().skip(bin).take(1).for_each(|b| *b += 1);
}

impl Diary {
    /// The diary of a day; one that was begun is gone on with.
    pub(crate) fn open(state: &State, day: Day, whose: &Whose, watts: Option<f64>) -> Result<Self, DeviceError> {
        let short = whose.release.get(..16).unwrap_or(&whose.release);
        let path = state.folder().join("days").join(format!("{day}.{short}.json"));
        // A file that was damaged is begun anew: a day's counts are no reason not to run.
        let begun = read_bounded(&path, LIMIT).ok().and_then(|b| serde_json::from_slice::<Counts>(&b).ok());
        let mut counts = begun.unwrap_or_else(|| Counts {
            record: blank(whose.clone(), &day.to_string()),
            busy: 0.0,
            shadow_busy: 0.0,
            inputs: Counted::default(),
            outputs: Counted::default(),
        });
        (counts.record.channel, counts.record.cohort) = (whose.channel.clone(), whose.cohort.clone());
        Ok(Self { counts, path, saved: Instant::now(), watts })
    }

    pub(crate) fn is_of(&self, day: Day, whose: &Whose) -> bool {
        let r = &self.counts.record;
        r.day == day.to_string() && r.release == whose.release && r.cohort == whose.cohort && r.channel == whose.channel
    }

    pub(crate) fn inference(&mut self, made: &Made<'_>, distributions: &Distributions) {
        let record = &mut self.counts.record;
        record.inferences += 1;
        record.over_budget += u64::from(made.over_budget);
        count_latency(record.latency_log2_us.get_or_insert_default(), made.took);
        self.counts.busy += made.took.as_secs_f64();
        self.counts.inputs.take(made.inputs, &distributions.inputs);
        self.counts.outputs.take(made.outputs, &distributions.outputs);
    }

    pub(crate) fn shadow(&mut self, agreed: bool, took: Duration) {
        let [runs, agreeing] = self.counts.record.shadow.get_or_insert([0, 0]);
        *runs += 1;
        *agreeing += u64::from(agreed);
        self.counts.shadow_busy += took.as_secs_f64();
    }

    /// Energy that shadow runs have taken, in joules; 0 where the power is not known.
    pub(crate) fn shadow_joules(&self) -> f64 {
        self.watts.unwrap_or(0.0) * self.counts.shadow_busy
    }

    pub(crate) fn crashed(&mut self) {
        self.counts.record.crashes += 1;
    }

    /// The release was given up.
    pub(crate) fn gave_up(&mut self) {
        self.counts.record.crash_loops += 1;
    }

    /// The release's files were not what was signed.
    pub(crate) fn forged(&mut self) {
        self.counts.record.signature_failures += 1;
    }

    pub(crate) fn restarted(&mut self) {
        self.counts.record.restarts += 1;
    }

    /// Writes what was counted, where it is time to, or where `now` it is.
    pub(crate) fn save(&mut self, state: &State, distributions: &Distributions, now: bool) -> Result<(), DeviceError> {
        if !now && self.saved.elapsed() < EVERY {
            return Ok(());
        }
        self.saved = Instant::now();
        let counts = &mut self.counts;
        counts.record.input_drift = counts.inputs.distance(&distributions.inputs);
        counts.record.output_drift = counts.outputs.distance(&distributions.outputs);
        counts.record.energy_joules = self.watts.map(|w| w * (counts.busy + counts.shadow_busy));
        let damaged = |e: serde_json::Error| DeviceError::Damaged { path: self.path.clone(), reason: e.to_string() };
        let bytes = to_sorted_json(counts).map_err(damaged)?;
        disk::replace(state.disk(), &self.path, &bytes)
            .map_err(|source| DeviceError::Io { path: self.path.clone(), source })
    }
}

/// The files of the days, the oldest first.
fn files(state: &State) -> Result<Vec<PathBuf>, DeviceError> {
    let folder = state.folder().join("days");
    let io = |source| DeviceError::Io { path: folder.clone(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".json") && !name.starts_with('.') {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Removes all but the last days.
pub(crate) fn forget_old(state: &State) -> Result<(), DeviceError> {
    let files = files(state)?;
    for path in files.iter().take(files.len().saturating_sub(KEPT)) {
        match state.disk().remove(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(DeviceError::Io { path: path.clone(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The records of all days that are over, the oldest first; with `today`, those of the running day too. A server's own come with those of
/// each key that requests were drawn by.
pub fn records(state: &State, before: Day, today: bool) -> Result<Vec<TelemetryRecord>, DeviceError> {
    let mut all = Vec::new();
    let is_due = |day: &str| today || Day::parse(day).is_some_and(|day| day < before);
    for path in files(state)? {
        if path.to_string_lossy().ends_with(keys::ENDING) {
            let (day, records) = keys::records(&path)?;
            all.extend(records.into_iter().filter(|_| is_due(&day)));
            continue;
        }
        let bytes = read_bounded(&path, LIMIT)?;
        let damaged = |e: serde_json::Error| DeviceError::Damaged { path: path.clone(), reason: e.to_string() };
        let counts: Counts = serde_json::from_slice(&bytes).map_err(damaged)?;
        if is_due(&counts.record.day) {
            all.push(TelemetryRecord::DeviceDay(counts.record));
        }
    }
    Ok(all)
}
