//! The embedded telemetry store: SQLite, one file, enough for about 100,000 devices.

mod batch;
mod latency;
mod query;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

pub use batch::Batch;
pub use latency::Histogram;
pub(crate) use latency::encode;
pub(crate) use query::of_counts;
pub use query::{COLUMNS, Kept, StageQuery};
use rusqlite::{Connection, OpenFlags};

use crate::{
    error::RolloutError,
    ingest::Enrolment,
    pseudonym::{Pseudonym, Pseudonyms},
};

const SCHEMA: &str = include_str!("schema.sql");
const VERSION: i64 = 3;
/// From version 1: days without a histogram and without incidents.
const FROM_1: &str = "ALTER TABLE days ADD COLUMN crash_loops INTEGER NOT NULL DEFAULT 0;\
                      ALTER TABLE days ADD COLUMN signature_failures INTEGER NOT NULL DEFAULT 0;\
                      ALTER TABLE days ADD COLUMN latency BLOB;";
/// From version 2: of rows in quarantine those were counted that are told one by one; whether a list of the enrolled was given, its rows said.
const FROM_2: &str = "CREATE TABLE refused (batch INTEGER NOT NULL, reason TEXT NOT NULL, rows INTEGER NOT NULL, \
                      PRIMARY KEY (batch, reason)) WITHOUT ROWID;\
                      INSERT INTO refused SELECT batch, reason, COUNT(*) FROM quarantine GROUP BY batch, reason;\
                      CREATE TABLE lists (devices INTEGER NOT NULL);\
                      INSERT INTO lists SELECT COUNT(*) FROM enrolled HAVING COUNT(*) > 0;\
                      CREATE TABLE expired (before INTEGER NOT NULL);\
                      PRAGMA user_version = 3;";

/// A store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens a store; makes it where there is none.
    pub fn open(path: &Path) -> Result<Self, RolloutError> {
        let failed = |source| RolloutError::Store { path: path.into(), source };
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(failed)?;
        // What is deleted is overwritten: somebody asked to be forgotten.
        let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; \
                        PRAGMA cache_size = -131072; PRAGMA temp_store = MEMORY; PRAGMA busy_timeout = 10000;";
        connection.execute_batch(settings).map_err(failed)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(failed)?;
        match version {
            0 => connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;")).map_err(failed)?,
            1 => connection.execute_batch(&format!("BEGIN IMMEDIATE; {FROM_1} {FROM_2} COMMIT;")).map_err(failed)?,
            2 => connection.execute_batch(&format!("BEGIN IMMEDIATE; {FROM_2} COMMIT;")).map_err(failed)?,
            VERSION => {}
            _ => return Err(failed(rusqlite::Error::InvalidQuery)),
        }
        Ok(Self { connection, path: path.into() })
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> RolloutError + use<> {
        let path = self.path.clone();
        move |source| RolloutError::Store { path: path.clone(), source }
    }

    /// Begins to take a file; `None` where it was taken before.
    pub fn batch(&mut self, sha256: &[u8; 32]) -> Result<Option<Batch<'_>>, RolloutError> {
        Batch::begin(&mut self.connection, self.path.clone(), sha256)
    }

    /// Whether anybody's pseudonym may be in it.
    pub fn knows_anybody(&self) -> Result<bool, RolloutError> {
        Ok(self.last_batch()? > 0 || self.enrolled()?.is_some() || !self.forgotten()?.is_empty())
    }

    /// Number of the last file taken.
    pub fn last_batch(&self) -> Result<u64, RolloutError> {
        let last = self.connection.query_row("SELECT COALESCE(MAX(batch), 0) FROM batches", [], |r| r.get::<_, i64>(0));
        Ok(last.map_err(self.failed())?.unsigned_abs())
    }

    /// Deletes all that is known of a device, and refuses what will come of it. Decisions hold sums and digests alone, and stay.
    pub fn forget(&mut self, pseudonyms: &Pseudonyms, device: &str) -> Result<u64, RolloutError> {
        let failed = self.failed();
        let pseudonym = pseudonyms.device(device);
        let mut run = || {
            let transaction = self.connection.transaction()?;
            let mut gone = transaction.execute("DELETE FROM days WHERE device = ?1", [pseudonym])?;
            gone += transaction.execute("DELETE FROM opinions WHERE device = ?1", [pseudonym])?;
            transaction.execute("DELETE FROM enrolled WHERE device = ?1", [pseudonym])?;
            transaction.execute("INSERT OR IGNORE INTO forgotten VALUES (?1)", [pseudonym])?;
            transaction.commit()?;
            // The log still holds the pages as they were.
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            Ok(gone as u64)
        };
        run().map_err(failed)
    }

    /// Deletes telemetry from before a day.
    pub fn expire(&mut self, before: i32) -> Result<u64, RolloutError> {
        let failed = self.failed();
        let mut run = || {
            let transaction = self.connection.transaction()?;
            let mut gone = transaction.execute("DELETE FROM days WHERE day < ?1", [before])?;
            gone += transaction.execute("DELETE FROM opinions WHERE day < ?1", [before])?;
            if gone > 0 {
                transaction.execute("INSERT INTO expired VALUES (?1)", [before])?;
            }
            transaction.commit()?;
            Ok(gone as u64)
        };
        run().map_err(failed)
    }

    /// The day before which telemetry was deleted, since 1970-01-01; none where none was.
    pub fn expired(&self) -> Result<Option<i32>, RolloutError> {
        self.connection.query_row("SELECT MAX(before) FROM expired", [], |r| r.get(0)).map_err(self.failed())
    }

    /// Who asked to be forgotten.
    pub fn forgotten(&self) -> Result<BTreeSet<Pseudonym>, RolloutError> {
        let all = || {
            let mut statement = self.connection.prepare("SELECT device FROM forgotten")?;
            statement.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()
        };
        all().map_err(self.failed())
    }

    /// Replaces the list of the enrolled.
    pub fn enrol(&mut self, list: &[(Pseudonym, Enrolment)]) -> Result<(), RolloutError> {
        let failed = self.failed();
        let mut run = || {
            let transaction = self.connection.transaction()?;
            transaction.execute("DELETE FROM enrolled", [])?;
            transaction.execute("INSERT INTO lists VALUES (?1)", [list.len() as i64])?;
            for (device, e) in list {
                transaction
                    .execute("INSERT OR REPLACE INTO enrolled VALUES (?1, ?2, ?3)", (device, e.consented, e.left))?;
            }
            transaction.commit()
        };
        run().map_err(failed)
    }

    /// The enrolled; `None` where no list was ever given. An empty list, or one whose last device was forgotten, enrols nobody.
    pub fn enrolled(&self) -> Result<Option<BTreeMap<Pseudonym, Enrolment>>, RolloutError> {
        let all = || {
            let mut statement = self.connection.prepare("SELECT device, consented, gone FROM enrolled")?;
            let row = |r: &rusqlite::Row<'_>| Ok((r.get(0)?, Enrolment { consented: r.get(1)?, left: r.get(2)? }));
            let list = statement.query_map([], row)?.collect::<Result<BTreeMap<_, _>, _>>()?;
            let given =
                self.connection.query_row("SELECT EXISTS (SELECT 1 FROM lists)", [], |r| r.get::<_, bool>(0))?;
            Ok(given.then_some(list))
        };
        all().map_err(self.failed())
    }

    /// Rows in quarantine, by reason.
    pub fn quarantined(&self) -> Result<BTreeMap<String, u64>, RolloutError> {
        let all = || {
            let mut statement = self.connection.prepare("SELECT reason, SUM(rows) FROM refused GROUP BY reason")?;
            let row = |r: &rusqlite::Row<'_>| Ok((r.get(0)?, r.get::<_, i64>(1)?.unsigned_abs()));
            statement.query_map([], row)?.collect::<Result<_, _>>()
        };
        all().map_err(self.failed())
    }
}
