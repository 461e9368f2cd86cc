//! Records out of JSON Lines, CSV and Parquet. CSV and Parquet hold either device-days or reviews, by the names of their columns.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
};
use plimsoll_record::TelemetryRecord;
use serde_json::{Map, Value};

use super::{
    lines::{self, LONGEST},
    rules::Reason,
};
use crate::error::RolloutError;

/// Calls with the number of each row and its record, or why it is none.
pub(crate) type Take<'t> = &'t mut dyn FnMut(u64, Result<TelemetryRecord, Reason>) -> Result<(), RolloutError>;

/// The records of a file, by how its name ends.
pub(crate) fn records(path: &Path, file: File, take: Take<'_>) -> Result<(), RolloutError> {
    match kind(path) {
        Some(Kind::Json) => {
            by_line(path, file, |line| serde_json::from_slice(line).map_err(|_| Reason::Malformed), take)
        }
        Some(Kind::Csv) => csv(path, file, take),
        Some(Kind::Parquet) => parquet(path, file, take),
        None => Err(RolloutError::Kind { path: path.into() }),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Csv,
    Parquet,
}

fn kind(path: &Path) -> Option<Kind> {
    match path.extension()?.to_str()? {
        "jsonl" | "ndjson" => Some(Kind::Json),
        "csv" => Some(Kind::Csv),
        "parquet" => Some(Kind::Parquet),
        _ => None,
    }
}

/// Whether files of this name hold telemetry.
pub fn is_known(path: &Path) -> bool {
    kind(path).is_some()
}

fn by_line(
    path: &Path,
    file: impl io::Read,
    parse: impl Fn(&[u8]) -> Result<TelemetryRecord, Reason>,
    take: Take<'_>,
) -> Result<(), RolloutError> {
    let mut failed = None;
    let read = lines::each(BufReader::with_capacity(1 << 18, file), |number, line| {
        let record = line.ok_or(Reason::TooLong).and_then(&parse);
        take(number, record).map_err(|e| {
            failed = Some(e);
            io::Error::other("not taken")
        })
    });
    match failed {
        Some(e) => Err(e),
        None => read.map_err(RolloutError::io("read", path)),
    }
}

/// One record a line: a quoted field must not hold line ends.
fn csv(path: &Path, file: File, take: Take<'_>) -> Result<(), RolloutError> {
    let mut reader = BufReader::new(file);
    let mut header = Vec::new();
    let bounded = io::Read::take(&mut reader, LONGEST as u64);
    let read = BufReader::with_capacity(1, bounded).read_until(b'\n', &mut header);
    read.map_err(RolloutError::io("read", path))?;
    let names = fields(&header).unwrap_or_default();
    let parse = |line: &[u8]| {
        let values = fields(line).ok_or(Reason::Malformed)?;
        if values.len() != names.len() {
            return Err(Reason::Malformed);
        }
        let pairs = names.iter().zip(&values);
        record(pairs.map(|(name, text)| (name.as_str(), cell(name, text))))
    };
    by_line(path, reader, parse, &mut |number, record| take(number + 1, record))
}

fn fields(line: &[u8]) -> Option<Vec<String>> {
    let mut reader =
        ::csv::ReaderBuilder::new().has_headers(false).buffer_capacity(line.len().max(1)).from_reader(line);
    let mut record = ::csv::StringRecord::new();
    reader.read_record(&mut record).ok().filter(|found| *found)?;
    Some(record.iter().map(|f| f.trim().to_owned()).collect())
}

/// Texts stay texts, an empty cell is none, lists are separated by spaces.
fn cell(name: &str, text: &str) -> Value {
    let number = |t: &str| serde_json::from_str::<serde_json::Number>(t).map_or_else(|_| t.into(), Value::Number);
    match name {
        "schema" | "device" | "user" | "day" | "release" | "cohort" | "channel" | "text" => text.into(),
        _ if text.is_empty() => Value::Null,
        "latency_log2_us" => text.split(' ').map(number).collect(),
        _ => number(text),
    }
}

/// A record of named values; `shadow_runs` and `shadow_agreed` stand for the pair.
fn record<'n>(values: impl Iterator<Item = (&'n str, Value)>) -> Result<TelemetryRecord, Reason> {
    let (mut map, mut shadow) = (Map::new(), [Value::Null, Value::Null]);
    for (name, value) in values {
        match name {
            "shadow_runs" => shadow[0] = value,
            "shadow_agreed" => shadow[1] = value,
            // The last of two columns of a name would win.
            _ if map.insert(name.to_owned(), value).is_some() => return Err(Reason::Malformed),
            _ => {}
        }
    }
    if !shadow[0].is_null() {
        map.insert("shadow".into(), shadow.to_vec().into());
    }
    let kind = if map.contains_key("rating") { "review" } else { "device-day" };
    map.entry("kind").or_insert_with(|| kind.into());
    map.entry("schema").or_insert_with(|| TelemetryRecord::SCHEMA.into());
    serde_json::from_value(Value::Object(map)).map_err(|_| Reason::Malformed)
}

fn parquet(path: &Path, file: File, take: Take<'_>) -> Result<(), RolloutError> {
    let wrong = |e: parquet::errors::ParquetError| RolloutError::Parquet { path: path.into(), reason: e.to_string() };
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    let rows = reader.get_row_iter(None).map_err(wrong)?;
    for (number, row) in (1..).zip(rows) {
        let row = row.map_err(wrong)?;
        take(number, record(row.get_column_iter().map(|(name, field)| (name.as_str(), value(field)))))?;
    }
    Ok(())
}

fn value(field: &Field) -> Value {
    let real = |v: f64| serde_json::Number::from_f64(v).map_or_else(|| "not finite".into(), Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Byte(v) => (*v).into(),
        Field::Short(v) => (*v).into(),
        Field::Int(v) => (*v).into(),
        Field::Long(v) => (*v).into(),
        Field::UByte(v) => (*v).into(),
        Field::UShort(v) => (*v).into(),
        Field::UInt(v) => (*v).into(),
        Field::ULong(v) => (*v).into(),
        Field::Float(v) => real(f64::from(*v)),
        Field::Double(v) => real(*v),
        Field::Str(v) => v.as_str().into(),
        Field::Date(days) => plimsoll_profile::Day::of_number(*days).map_or(Value::Null, |d| d.to_string().into()),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        _ => "of no kind that is read".into(),
    }
}
