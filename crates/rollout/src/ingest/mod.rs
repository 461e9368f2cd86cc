//! Telemetry into the store: each file in one transaction and once, each device-day once, what is wrong into quarantine.

mod formats;
mod lines;
mod rules;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

pub use formats::is_known;
pub use rules::{DayRow, Enrolment, Reason, ReviewRow, Row, Rules};

use crate::{error::RolloutError, store::Store};

/// What came of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// The file was ingested before.
    pub known: bool,
    /// Rows that it has.
    pub rows: u64,
    /// Rows that were taken.
    pub taken: u64,
    /// Rows that were there already, equal.
    pub repeated: u64,
    /// Rows that were not taken, by reason.
    pub quarantined: BTreeMap<Reason, u64>,
}

/// The telemetry files of a path: itself, or those of a folder and of all folders in it, by name.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, RolloutError> {
    let metadata = fs::metadata(path).map_err(RolloutError::io("read", path))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = fs::read_dir(path)
        .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>())
        .map_err(RolloutError::io("read", path))?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        // Links may lead in circles.
        let kind = fs::symlink_metadata(&entry).map_err(RolloutError::io("read", &entry))?;
        if kind.is_dir() {
            found.extend(files(&entry)?);
        } else if kind.is_file() && formats::is_known(&entry) {
            found.push(entry);
        }
    }
    Ok(found)
}

/// Ingests a file. Nothing of it is stored where it cannot be read to its end.
pub fn ingest(store: &mut Store, path: &Path, rules: &Rules) -> Result<Receipt, RolloutError> {
    ingest_copy(store, path, path, rules)
}

/// Ingests a copy of a file that is known by another name, whose ending says what it is.
pub fn ingest_copy(store: &mut Store, path: &Path, copy: &Path, rules: &Rules) -> Result<Receipt, RolloutError> {
    let (digest, _) = plimsoll_trust::sha256_of_file(copy)?;
    let mut receipt = Receipt::default();
    let Some(mut batch) = store.batch(&digest)? else {
        return Ok(Receipt { known: true, ..receipt });
    };
    let (file, _) = plimsoll_trust::open_regular(copy)?;
    formats::records(path, file, &mut |number, record| {
        receipt.rows += 1;
        match record.and_then(|r| rules.check(r)) {
            Ok(row) => batch.push(number, row),
            Err(reason) => batch.refuse(number, reason),
        }
    })?;
    let (taken, repeated, quarantined) = batch.finish(rules.today)?;
    Ok(Receipt { taken, repeated, quarantined, ..receipt })
}
