//! What telemetry may say: everything else goes into quarantine, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_profile::Day;
use plimsoll_record::{ChannelPointer, DeviceDay, Review, TelemetryRecord};

use crate::pseudonym::{Pseudonym, Pseudonyms};

/// Ids longer than this are no ids.
const LONGEST_ID: usize = 200;
/// A thousand inferences in each second of a day.
const MOST_INFERENCES: u64 = 86_400_000;

/// Why a row is not taken. Rows are counted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is longer than a record may be.
    TooLong,
    /// It is no record: no text, no JSON, other or missing fields, NaN, negative counts.
    Malformed,
    /// Its schema is another one.
    OtherSchema,
    /// The id of a device or user is empty or too long.
    BadId,
    /// The day is none.
    BadDay,
    /// The day has not come yet.
    Future,
    /// The day is longer ago than telemetry is kept.
    TooOld,
    /// The release is no digest, or none that was rolled out.
    WrongRelease,
    /// The cohort or channel is none.
    BadCohort,
    /// The bucket of the device lies elsewhere than its cohort says.
    ForgedCohort,
    /// The device is on the beta channel and nobody enrolled it, or not any more.
    NotEnrolled,
    /// Numbers that contradict each other, or cannot be.
    Impossible,
    /// Another record of the same device, day and release came first, and says something else.
    Conflict,
    /// The device asked to be forgotten.
    Forgotten,
}

impl Reason {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::TooLong => "longer than a record may be",
            Self::Malformed => "no record of telemetry",
            Self::OtherSchema => "another schema",
            Self::BadId => "no id of a device or user",
            Self::BadDay => "no day",
            Self::Future => "a day that has not come yet",
            Self::TooOld => "a day from before the retention",
            Self::WrongRelease => "a release that was not rolled out",
            Self::BadCohort => "no cohort or channel",
            Self::ForgedCohort => "a cohort that its bucket contradicts",
            Self::NotEnrolled => "on beta without being enrolled",
            Self::Impossible => "numbers that cannot be",
            Self::Conflict => "contradicts an earlier record of the same day",
            Self::Forgotten => "a device that asked to be forgotten",
        }
    }
}

/// Somebody in the beta: from when, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolment {
    /// Day of consent.
    pub consented: i32,
    /// Day of leaving.
    pub left: Option<i32>,
}

/// What rows are held against.
#[derive(Debug)]
pub struct Rules {
    /// The day of ingestion, since 1970-01-01.
    pub today: i32,
    /// Days that telemetry is kept.
    pub retention: i32,
    /// Releases that were rolled out; empty where nobody knows.
    pub releases: BTreeSet<String>,
    /// How channels draw devices.
    pub pointers: Vec<ChannelPointer>,
    /// The enrolled; `None` where no list was given.
    pub enrolled: Option<BTreeMap<Pseudonym, Enrolment>>,
    /// Who asked to be forgotten.
    pub forgotten: BTreeSet<Pseudonym>,
    /// Whether the text of reviews is kept.
    pub keep_text: bool,
    /// Makes pseudonyms.
    pub pseudonyms: Pseudonyms,
}

/// A device-day as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct DayRow {
    /// Pseudonym.
    pub device: Pseudonym,
    /// Days since 1970-01-01.
    pub day: i32,
    /// Digest of the release.
    pub release: String,
    /// 0 waiting, 1 treatment, 2 holdback.
    pub cohort: u8,
    /// 0 beta, 1 general.
    pub channel: u8,
    /// Inferences, those over budget, crashes, restarts, shadow runs, those that agreed.
    pub counts: [u64; 6],
    /// Energy in joules, drift of inputs, drift of outputs.
    pub measures: [Option<f64>; 3],
    /// Crash loops, signature failures.
    pub incidents: [u64; 2],
    /// Bins of the latency histogram, as the store keeps them.
    pub latency: Option<Vec<u8>>,
}

/// A review as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewRow {
    /// Pseudonym of the user.
    pub reviewer: Pseudonym,
    /// Pseudonym of the device.
    pub device: Pseudonym,
    /// Days since 1970-01-01.
    pub day: i32,
    /// Digest of the release.
    pub release: String,
    /// 1 to 5.
    pub rating: u8,
    /// In their words, where these are kept.
    pub text: Option<String>,
}

/// A row that is taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// A device-day.
    Day(DayRow),
    /// A review.
    Review(ReviewRow),
}

impl Rules {
    /// A record as it is stored, or why it is not.
    pub fn check(&self, record: TelemetryRecord) -> Result<Row, Reason> {
        match record {
            TelemetryRecord::DeviceDay(day) => self.day(day).map(Row::Day),
            TelemetryRecord::Review(review) => self.review(review).map(Row::Review),
        }
    }

    fn day(&self, d: DeviceDay) -> Result<DayRow, Reason> {
        let (day, device) = self.common(&d.schema, &d.day, &d.release, &d.device)?;
        let cohort = match d.cohort.as_str() {
            "waiting" => 0,
            "treatment" => 1,
            "holdback" => 2,
            _ => return Err(Reason::BadCohort),
        };
        let channel = match d.channel.as_str() {
            "beta" => 0,
            "general" => 1,
            _ => return Err(Reason::BadCohort),
        };
        self.drawn(&d, cohort)?;
        if let (0, Some(enrolled)) = (channel, &self.enrolled) {
            let in_time = |e: &Enrolment| day >= e.consented && e.left.is_none_or(|left| day < left);
            if !enrolled.get(&device).is_some_and(in_time) {
                return Err(Reason::NotEnrolled);
            }
        }
        let [runs, agreed] = d.shadow.unwrap_or_default();
        let bins = d.latency_log2_us.as_deref().unwrap_or_default();
        let timed = bins.iter().try_fold(0_u64, |sum, n| sum.checked_add(*n));
        let share = |v: Option<f64>| v.is_none_or(|v| (0.0..=1.0).contains(&v));
        let possible = d.inferences <= MOST_INFERENCES
            && d.over_budget <= d.inferences
            && [d.crashes, d.restarts, d.crash_loops, d.signature_failures].iter().all(|n| *n <= MOST_INFERENCES)
            && agreed <= runs
            && runs <= MOST_INFERENCES
            && bins.len() <= DeviceDay::LATENCY_BINS
            && timed.is_some_and(|n| n <= d.inferences)
            && d.energy_joules.is_none_or(|j| (0.0..=1e9).contains(&j))
            && share(d.input_drift)
            && share(d.output_drift);
        if !possible {
            return Err(Reason::Impossible);
        }
        Ok(DayRow {
            device,
            day,
            release: d.release,
            cohort,
            channel,
            counts: [d.inferences, d.over_budget, d.crashes, d.restarts, runs, agreed],
            measures: [d.energy_joules, d.input_drift, d.output_drift],
            incidents: [d.crash_loops, d.signature_failures],
            latency: d.latency_log2_us.as_deref().map(crate::store::encode),
        })
    }

    fn review(&self, r: Review) -> Result<ReviewRow, Reason> {
        let (day, device) = self.common(&r.schema, &r.day, &r.release, &r.device)?;
        if r.user.is_empty() || r.user.len() > LONGEST_ID {
            return Err(Reason::BadId);
        }
        if !(1..=5).contains(&r.rating) {
            return Err(Reason::Impossible);
        }
        let text = Some(r.text).filter(|t| self.keep_text && !t.is_empty());
        Ok(ReviewRow {
            reviewer: self.pseudonyms.user(&r.user),
            device,
            day,
            release: r.release,
            rating: r.rating,
            text,
        })
    }

    fn common(&self, schema: &str, day: &str, release: &str, device: &str) -> Result<(i32, Pseudonym), Reason> {
        if schema != TelemetryRecord::SCHEMA {
            return Err(Reason::OtherSchema);
        }
        if device.is_empty() || device.len() > LONGEST_ID {
            return Err(Reason::BadId);
        }
        let day = Day::parse(day).ok_or(Reason::BadDay)?.number();
        // Clocks differ by a day around the globe.
        if day > self.today + 1 {
            return Err(Reason::Future);
        }
        if day < self.today - self.retention {
            return Err(Reason::TooOld);
        }
        let digest = release.len() == 64 && release.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !digest || !(self.releases.is_empty() || self.releases.contains(release)) {
            return Err(Reason::WrongRelease);
        }
        let device = self.pseudonyms.device(device);
        if self.forgotten.contains(&device) { Err(Reason::Forgotten) } else { Ok((day, device)) }
    }

    /// Holds the cohort against the draw, where the record is of a release that a channel is at.
    fn drawn(&self, d: &DeviceDay, cohort: u8) -> Result<(), Reason> {
        for p in self.pointers.iter().filter(|p| p.channel == d.channel) {
            let bucket = p.bucket(&d.device);
            let forged = match cohort {
                1 if d.release == p.target.release_digest => !p.takes(bucket),
                // Who is held back has not got it.
                2 if d.release == p.target.release_digest => true,
                2 if p.previous.as_ref().is_some_and(|previous| previous.release_digest == d.release) => {
                    !p.holds_back(bucket)
                }
                _ => false,
            };
            if forged {
                return Err(Reason::ForgedCohort);
            }
        }
        Ok(())
    }
}
