//! One file on its way into the store: a transaction, in which rows are sorted by key before they are written, since a tree that is
//! filled in its own order is many times faster.

use std::{collections::BTreeMap, path::PathBuf};

use rusqlite::{Connection, OptionalExtension, Statement, Transaction, TransactionBehavior, params};

use crate::{
    error::RolloutError,
    ingest::{DayRow, Reason, ReviewRow, Row},
};

/// Rows that are held before they are written.
const HELD: usize = 250_000;
/// Rows in quarantine that are told one by one; the others are only counted.
const TOLD: u64 = 10_000;

/// A file that is being taken.
pub struct Batch<'s> {
    transaction: Transaction<'s>,
    path: PathBuf,
    number: i64,
    sha256: [u8; 32],
    releases: BTreeMap<String, i64>,
    held: Vec<(u64, i64, DayRow)>,
    taken: u64,
    repeated: u64,
    quarantined: BTreeMap<Reason, u64>,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("number", &self.number).finish()
    }
}

const INSERT: &str = "INSERT OR IGNORE INTO days VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";
const SAME: &str = "SELECT cohort = ?4 AND channel = ?5 AND inferences = ?6 AND over_budget = ?7 AND crashes = ?8 AND restarts = ?9 \
                    AND shadow_runs = ?10 AND shadow_agreed = ?11 AND energy_joules IS ?12 AND input_drift IS ?13 \
                    AND output_drift IS ?14 AND crash_loops = ?16 AND signature_failures = ?17 AND latency IS ?18 FROM days WHERE device = ?1 AND day = ?2 AND release = ?3";

impl<'s> Batch<'s> {
    pub(super) fn begin(
        connection: &'s mut Connection,
        path: PathBuf,
        sha256: &[u8; 32],
    ) -> Result<Option<Self>, RolloutError> {
        let failed = |source| RolloutError::Store { path: path.clone(), source };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let known =
            transaction.query_row("SELECT batch FROM batches WHERE sha256 = ?1", [sha256], |r| r.get::<_, i64>(0));
        if known.optional().map_err(failed)?.is_some() {
            return Ok(None);
        }
        let number = transaction
            .query_row("SELECT COALESCE(MAX(batch), 0) + 1 FROM batches", [], |r| r.get(0))
            .map_err(failed)?;
        Ok(Some(Self {
            transaction,
            path,
            number,
            sha256: *sha256,
            releases: BTreeMap::new(),
            held: Vec::new(),
            taken: 0,
            repeated: 0,
            quarantined: BTreeMap::new(),
        }))
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> RolloutError + use<> {
        let path = self.path.clone();
        move |source| RolloutError::Store { path: path.clone(), source }
    }

    /// Takes a row.
    pub fn push(&mut self, line: u64, row: Row) -> Result<(), RolloutError> {
        match row {
            Row::Day(day) => {
                let release = self.release(&day.release).map_err(self.failed())?;
                self.held.push((line, release, day));
                if self.held.len() >= HELD { self.write() } else { Ok(()) }
            }
            Row::Review(review) => self.review(line, &review),
        }
    }

    /// Puts a row into quarantine.
    pub fn refuse(&mut self, line: u64, reason: Reason) -> Result<(), RolloutError> {
        let count = self.quarantined.entry(reason).or_default();
        *count += 1;
        if *count > TOLD {
            return Ok(());
        }
        let insert = || {
            let mut statement = self.transaction.prepare("INSERT INTO quarantine VALUES (?1, ?2, ?3)")?;
            statement.execute(params![self.number, line as i64, reason.words()])
        };
        insert().map(drop).map_err(self.failed())
    }

    fn release(&mut self, digest: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.releases.get(digest) {
            return Ok(*id);
        }
        self.transaction.execute("INSERT OR IGNORE INTO releases (digest) VALUES (?1)", [digest])?;
        let id = self.transaction.query_row("SELECT id FROM releases WHERE digest = ?1", [digest], |r| r.get(0))?;
        self.releases.insert(digest.to_owned(), id);
        Ok(id)
    }

    fn review(&mut self, line: u64, review: &ReviewRow) -> Result<(), RolloutError> {
        let release = self.release(&review.release).map_err(self.failed())?;
        let (device, reviewer) = (review.device, review.reviewer);
        let insert = "INSERT OR IGNORE INTO opinions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let values = params![reviewer, device, release, review.day, review.rating, review.text, self.number];
        let new = self.transaction.prepare(insert).and_then(|mut s| s.execute(values)).map_err(self.failed())?;
        if new > 0 {
            self.taken += 1;
            return Ok(());
        }
        let same = "SELECT rating FROM opinions WHERE reviewer = ?1 AND device = ?2 AND release = ?3 AND day = ?4";
        let values = params![reviewer, device, release, review.day];
        let rating: u8 = self
            .transaction
            .prepare(same)
            .and_then(|mut s| s.query_row(values, |r| r.get(0)))
            .map_err(self.failed())?;
        if rating == review.rating {
            self.repeated += 1;
            Ok(())
        } else {
            self.refuse(line, Reason::Conflict)
        }
    }

    fn write(&mut self) -> Result<(), RolloutError> {
        let mut held = std::mem::take(&mut self.held);
        // Of two records with one key the line that came first is kept.
        held.sort_unstable_by(|(a_line, a_release, a), (b_line, b_release, b)| {
            (&a.device, a.day, a_release, a_line).cmp(&(&b.device, b.day, b_release, b_line))
        });
        let mut conflicts = Vec::new();
        let written = (|| {
            let mut insert = self.transaction.prepare(INSERT)?;
            let mut same = self.transaction.prepare(SAME)?;
            for (line, release, row) in &held {
                if bind(&mut insert, *release, row, Some(self.number))?.raw_execute()? > 0 {
                    self.taken += 1;
                    continue;
                }
                let mut rows = bind(&mut same, *release, row, None)?.raw_query();
                let equal = rows.next()?.map_or(Ok(false), |r| r.get::<_, bool>(0))?;
                if equal {
                    self.repeated += 1;
                } else {
                    conflicts.push(*line);
                }
            }
            Ok(())
        })();
        written.map_err(self.failed())?;
        held.clear();
        self.held = held;
        conflicts.into_iter().try_for_each(|line| self.refuse(line, Reason::Conflict))
    }

    /// Ends the transaction: rows taken, rows that were there already, and those in quarantine.
    pub fn finish(mut self, today: i32) -> Result<(u64, u64, BTreeMap<Reason, u64>), RolloutError> {
        self.write()?;
        let failed = self.failed();
        let quarantined: u64 = self.quarantined.values().sum();
        let values =
            params![self.number, self.sha256, today, self.taken as i64, self.repeated as i64, quarantined as i64];
        self.transaction.execute("INSERT INTO batches VALUES (?1, ?2, ?3, ?4, ?5, ?6)", values).map_err(&failed)?;
        for (reason, rows) in &self.quarantined {
            let values = params![self.number, reason.words(), *rows as i64];
            self.transaction.execute("INSERT INTO refused VALUES (?1, ?2, ?3)", values).map_err(&failed)?;
        }
        self.transaction.commit().map_err(&failed)?;
        Ok((self.taken, self.repeated, self.quarantined))
    }
}

fn bind<'b, 'c>(
    statement: &'b mut Statement<'c>,
    release: i64,
    row: &DayRow,
    batch: Option<i64>,
) -> rusqlite::Result<&'b mut Statement<'c>> {
    statement.raw_bind_parameter(1, row.device)?;
    statement.raw_bind_parameter(2, row.day)?;
    statement.raw_bind_parameter(3, release)?;
    statement.raw_bind_parameter(4, row.cohort)?;
    statement.raw_bind_parameter(5, row.channel)?;
    for (place, count) in (6..).zip(row.counts) {
        statement.raw_bind_parameter(place, count as i64)?;
    }
    for (place, measure) in (12..).zip(row.measures) {
        statement.raw_bind_parameter(place, measure)?;
    }
    if let Some(batch) = batch {
        statement.raw_bind_parameter(15, batch)?;
    }
    for (place, count) in (16..).zip(row.incidents) {
        statement.raw_bind_parameter(place, count as i64)?;
    }
    statement.raw_bind_parameter(18, row.latency.as_deref())?;
    Ok(statement)
}
