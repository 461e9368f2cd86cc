//! Outcomes that another engine wrote, as Parquet: read a few thousand rows at a time, whatever their number.

use std::path::{Path, PathBuf};

use parquet::{
    basic::Type,
    column::reader::ColumnReader,
    data_type::ByteArray,
    errors::ParquetError,
    file::reader::{FileReader, RowGroupReader, SerializedFileReader},
};
use plimsoll_trust::{hex, sha256_hex, sha256_of_file};

use crate::{
    error::RolloutError,
    evidence::{Evidence, Span},
    outcome::{Cohort, Outcome},
    store::{COLUMNS, Kept, of_counts},
};

/// Rows that are held at a time.
const ROWS: usize = 8_192;
/// More users of one device than this rated nothing.
const MOST_RATINGS: f64 = 1e4;

/// What a file of outcomes held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Rows.
    pub rows: u64,
    /// Rows that were no outcome: another cohort, counts that are negative, not finite or contradict each other.
    pub refused: u64,
}

/// The files of a path: itself, or the `*.parquet` of a folder as engines write it.
fn files(path: &Path) -> Result<Vec<PathBuf>, RolloutError> {
    let mut found = crate::ingest::files(path)?;
    found.retain(|file| file.extension().is_some_and(|e| e == "parquet"));
    Ok(found)
}

/// What decisions know the outcomes of a path by: SHA-256 over the digests of its files.
pub fn digest(path: &Path) -> Result<String, RolloutError> {
    let mut all = String::new();
    for file in files(path)? {
        all.push_str(&hex(&sha256_of_file(&file)?.0));
    }
    Ok(sha256_hex(all.as_bytes()))
}

/// The evidence in the outcomes of a path.
pub fn evidence(path: &Path, span: Span) -> Result<(Kept, Taken), RolloutError> {
    let (sha256, mut evidence) = (digest(path)?, Evidence::new(span));
    let taken = outcomes(path, |outcome| evidence.take(&outcome))?;
    Ok((Kept { evidence, sha256 }, taken))
}

/// Calls with each outcome of the files of a path.
pub fn outcomes(path: &Path, mut take: impl FnMut(Outcome)) -> Result<Taken, RolloutError> {
    let mut taken = Taken::default();
    for file in files(path)? {
        let (open, _) = plimsoll_trust::open_regular(&file)?;
        let wrong = |reason: String| RolloutError::Parquet { path: file.clone(), reason };
        let reader = SerializedFileReader::new(open).map_err(|e| wrong(e.to_string()))?;
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group).map_err(|e| wrong(e.to_string()))?;
            read_group(group.as_ref(), &mut taken, &mut take).map_err(|e| wrong(e.to_string()))?;
        }
    }
    Ok(taken)
}

fn read_group(
    group: &dyn RowGroupReader,
    taken: &mut Taken,
    take: &mut impl FnMut(Outcome),
) -> Result<(), ParquetError> {
    let mut cohorts = Column::open(group, "cohort")?;
    let mut columns = COLUMNS.iter().map(|name| Column::open(group, name)).collect::<Result<Vec<_>, _>>()?;
    let mut left = group.metadata().num_rows().max(0) as u64;
    let (mut names, mut values) = (Vec::new(), vec![Vec::new(); COLUMNS.len()]);
    while left > 0 {
        let n = left.min(ROWS as u64) as usize;
        cohorts.texts(n, &mut names)?;
        for (column, into) in columns.iter_mut().zip(&mut values) {
            column.numbers(n, into)?;
        }
        for i in 0..n {
            let mut counts = [0.0; COLUMNS.len()];
            for (count, column) in counts.iter_mut().zip(&values) {
                *count = column.get(i).copied().unwrap_or(f64::NAN);
            }
            taken.rows += 1;
            match names.get(i).and_then(|name| Cohort::parse(name.data())) {
                Some(cohort) if possible(&counts) => take(of_counts(cohort, &counts)),
                _ => taken.refused += 1,
            }
        }
        left -= n as u64;
    }
    Ok(())
}

/// Whole numbers that doubles hold exactly, parts no larger than their whole.
fn possible(counts: &[f64; COLUMNS.len()]) -> bool {
    let whole = |v: &f64| *v >= 0.0 && *v <= 9e15 && v.fract() == 0.0;
    const ONE: f64 = 1e6;
    let [
        _,
        inferences,
        over,
        _,
        runs,
        agreed,
        _,
        _,
        _,
        metered,
        input_drift,
        input_days,
        output_drift,
        output_days,
        pre,
        pre_over,
        _,
        pre_metered,
        _,
        ratings @ ..,
    ] = counts;
    counts.iter().all(whole)
        && over <= inferences
        && agreed <= runs
        && pre_over <= pre
        && metered <= inferences
        && pre_metered <= pre
        && *input_drift <= ONE * input_days
        && *output_drift <= ONE * output_days
        && ratings.iter().all(|r| *r <= MOST_RATINGS)
}

/// A flat column.
struct Column {
    reader: ColumnReader,
    optional: bool,
    levels: Vec<i16>,
}

impl Column {
    fn open(group: &dyn RowGroupReader, name: &str) -> Result<Self, ParquetError> {
        let columns = group.metadata().columns();
        let place = columns.iter().position(|c| c.column_path().string().eq_ignore_ascii_case(name));
        let place = place.ok_or_else(|| ParquetError::General(format!("the column `{name}` is missing")))?;
        let description = columns.get(place).map(|c| c.column_descr());
        let (levels, repeated) = description.map_or((0, 0), |d| (d.max_def_level(), d.max_rep_level()));
        if repeated > 0 || levels > 1 {
            return Err(ParquetError::General(format!("the column `{name}` is nested")));
        }
        Ok(Self { reader: group.get_column_reader(place)?, optional: levels == 1, levels: Vec::new() })
    }

    /// So many numbers; a null is 0.
    fn numbers(&mut self, n: usize, into: &mut Vec<f64>) -> Result<(), ParquetError> {
        match &mut self.reader {
            ColumnReader::DoubleColumnReader(r) => fill(
                n,
                self.optional,
                &mut self.levels,
                into,
                |v: &f64| *v,
                |l, v| r.read_records(n - l.1, l.0, None, v).map(|(rows, ..)| rows),
            ),
            ColumnReader::Int64ColumnReader(r) => fill(
                n,
                self.optional,
                &mut self.levels,
                into,
                |v: &i64| *v as f64,
                |l, v| r.read_records(n - l.1, l.0, None, v).map(|(rows, ..)| rows),
            ),
            ColumnReader::Int32ColumnReader(r) => fill(
                n,
                self.optional,
                &mut self.levels,
                into,
                |v: &i32| f64::from(*v),
                |l, v| r.read_records(n - l.1, l.0, None, v).map(|(rows, ..)| rows),
            ),
            other => Err(ParquetError::General(format!("a count is no number but {:?}", kind(other)))),
        }
    }

    /// So many texts; a null is empty.
    fn texts(&mut self, n: usize, into: &mut Vec<ByteArray>) -> Result<(), ParquetError> {
        match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(r) => {
                fill(n, self.optional, &mut self.levels, into, ByteArray::clone, |l, v| {
                    r.read_records(n - l.1, l.0, None, v).map(|(rows, ..)| rows)
                })
            }
            other => Err(ParquetError::General(format!("the cohort is no text but {:?}", kind(other)))),
        }
    }
}

fn kind(reader: &ColumnReader) -> Type {
    match reader {
        ColumnReader::BoolColumnReader(_) => Type::BOOLEAN,
        ColumnReader::Int32ColumnReader(_) => Type::INT32,
        ColumnReader::Int64ColumnReader(_) => Type::INT64,
        ColumnReader::Int96ColumnReader(_) => Type::INT96,
        ColumnReader::FloatColumnReader(_) => Type::FLOAT,
        ColumnReader::DoubleColumnReader(_) => Type::DOUBLE,
        ColumnReader::ByteArrayColumnReader(_) => Type::BYTE_ARRAY,
        ColumnReader::FixedLenByteArrayColumnReader(_) => Type::FIXED_LEN_BYTE_ARRAY,
    }
}

/// Reads until `n` rows are there; values go where their levels say that there are some.
fn fill<T, U: Default>(
    n: usize,
    optional: bool,
    levels: &mut Vec<i16>,
    into: &mut Vec<U>,
    convert: impl Fn(&T) -> U,
    mut read: impl FnMut((Option<&mut Vec<i16>>, usize), &mut Vec<T>) -> Result<usize, ParquetError>,
) -> Result<(), ParquetError> {
    levels.clear();
    into.clear();
    let (mut values, mut rows) = (Vec::new(), 0);
    while rows < n {
        let got = read((optional.then_some(&mut *levels), rows), &mut values)?;
        if got == 0 {
            return Err(ParquetError::General("a column is shorter than its row group".into()));
        }
        rows += got;
    }
    let mut values = values.iter();
    for row in 0..rows {
        let there = !optional || levels.get(row) == Some(&1);
        into.push(if there { values.next().map(&convert).unwrap_or_default() } else { U::default() });
    }
    Ok(())
}
