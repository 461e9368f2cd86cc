//! Outcomes of a stage out of the store, by the same statement that other engines run.

use rusqlite::{Row, params};
use sha2::{Digest, Sha256};

use super::{Histogram, Store};
use crate::{
    error::RolloutError,
    evidence::{Evidence, Span},
    outcome::{Cohort, Outcome, SQL},
    pseudonym::Pseudonym,
};

/// The stage that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageQuery {
    /// Digest of the release.
    pub candidate: String,
    /// Digest of the one before.
    pub previous: String,
    /// The channel.
    pub channel: String,
    /// First day of the stage, since 1970-01-01.
    pub first_day: i32,
    /// Last day that is looked at.
    pub last_day: i32,
    /// Days before the release.
    pub pre_days: u64,
    /// Last file that counts.
    pub batch: u64,
}

impl StageQuery {
    /// Days that are looked at.
    pub fn span(&self) -> Span {
        let days = (i64::from(self.last_day) - i64::from(self.first_day) + 1).max(0);
        Span { days: days.unsigned_abs(), pre_days: self.pre_days }
    }
}

/// What the store holds of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The sums.
    pub evidence: Evidence,
    /// SHA-256 over the digests of all files up to the batch.
    pub sha256: String,
}

const VIEWS: &str = include_str!("views.sql");

impl Store {
    /// The evidence of a stage.
    pub fn evidence(&self, query: &StageQuery) -> Result<Kept, RolloutError> {
        let mut evidence = Evidence::new(query.span());
        self.outcomes(query, |outcome| evidence.take(&outcome))?;
        let digest = || {
            let mut statement =
                self.connection.prepare("SELECT sha256 FROM batches WHERE batch <= ?1 ORDER BY batch")?;
            let mut rows = statement.query([query.batch as i64])?;
            let mut hash = Sha256::new();
            while let Some(row) = rows.next()? {
                hash.update(row.get::<_, [u8; 32]>(0)?);
            }
            Ok(plimsoll_trust::hex(&hash.finalize()))
        };
        Ok(Kept { evidence, sha256: digest().map_err(self.failed())? })
    }

    /// How long inferences took in a stage, and how many devices tell: with the release, and in the holdback.
    pub fn latency(&self, query: &StageQuery) -> Result<[(u64, Histogram); 2], RolloutError> {
        let run = || {
            let mut statement = self.connection.prepare(
                "SELECT d.device, d.cohort, d.latency FROM days d JOIN releases r ON r.id = d.release \
                 WHERE d.latency IS NOT NULL AND d.channel = (?1 <> 'beta') AND d.day BETWEEN ?2 AND ?3 AND d.batch <= ?4 \
                 AND (d.cohort = 1 AND r.digest = ?5 OR d.cohort = 2 AND r.digest = ?6) ORDER BY d.device",
            )?;
            let mut rows = statement.query(params![
                query.channel,
                query.first_day,
                query.last_day,
                query.batch as i64,
                query.candidate,
                query.previous
            ])?;
            let mut arms = [(0_u64, Histogram::default()); 2];
            let mut last = [None, None];
            while let Some(row) = rows.next()? {
                let (device, cohort): (Pseudonym, u32) = (row.get(0)?, row.get(1)?);
                let place = cohort.saturating_sub(1) as usize;
                let (Some((devices, sum)), Some(last)) = (arms.get_mut(place), last.get_mut(place)) else { continue };
                *devices += u64::from(last.replace(device) != Some(device));
                sum.add(row.get_ref(2)?.as_bytes().unwrap_or_default());
            }
            Ok(arms)
        };
        run().map_err(self.failed())
    }

    fn outcomes(&self, query: &StageQuery, mut take: impl FnMut(Outcome)) -> Result<(), RolloutError> {
        let mut run = || {
            self.connection.execute_batch(VIEWS)?;
            self.connection.execute("DELETE FROM stage", [])?;
            self.connection.execute(
                "INSERT INTO stage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    query.candidate,
                    query.previous,
                    query.channel,
                    query.first_day,
                    query.last_day,
                    query.pre_days as i64,
                    query.batch as i64
                ],
            )?;
            let mut statement = self.connection.prepare(SQL)?;
            let places = COLUMNS.map(|name| statement.column_index(name));
            let cohort = statement.column_index("cohort")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let cohort = Cohort::parse(row.get_ref(cohort)?.as_bytes().unwrap_or_default());
                let mut counts = [0.0; COLUMNS.len()];
                for (count, place) in counts.iter_mut().zip(&places) {
                    *count = real(row, place.as_ref().copied().unwrap_or(usize::MAX))?;
                }
                if let Some(cohort) = cohort {
                    take(of_counts(cohort, &counts));
                }
            }
            Ok(())
        };
        run().map_err(self.failed())
    }
}

fn real(row: &Row<'_>, place: usize) -> rusqlite::Result<f64> {
    row.get::<_, Option<f64>>(place).map(Option::unwrap_or_default)
}

/// Columns of outcomes that are counts: all but the cohort.
pub const COLUMNS: [&str; 24] = [
    "days",
    "inferences",
    "over_budget",
    "crashes",
    "shadow_runs",
    "shadow_agreed",
    "crash_loops",
    "signature_failures",
    "energy",
    "metered",
    "input_drift",
    "input_days",
    "output_drift",
    "output_days",
    "pre_inferences",
    "pre_over_budget",
    "pre_energy",
    "pre_metered",
    "pre_days",
    "rating_1",
    "rating_2",
    "rating_3",
    "rating_4",
    "rating_5",
];

/// An outcome of its counts in the order of [`COLUMNS`]; what is no count is none.
pub(crate) fn of_counts(cohort: Cohort, counts: &[f64; COLUMNS.len()]) -> Outcome {
    let [
        days,
        inferences,
        over_budget,
        crashes,
        shadow_runs,
        shadow_agreed,
        crash_loops,
        signature_failures,
        energy,
        metered,
        input_drift,
        input_days,
        output_drift,
        output_days,
        pre_inferences,
        pre_over_budget,
        pre_energy,
        pre_metered,
        pre_days,
        ratings @ ..,
    ] = counts.map(|v| v as u64);
    Outcome {
        cohort,
        days,
        inferences,
        over_budget,
        crashes,
        shadow_runs,
        shadow_agreed,
        crash_loops,
        signature_failures,
        energy: [energy, metered],
        input_drift: [input_drift, input_days],
        output_drift: [output_drift, output_days],
        pre_inferences,
        pre_over_budget,
        pre_energy: [pre_energy, pre_metered],
        pre_days,
        ratings,
    }
}
