//! The telemetry example of the docs is what the type reads, and a record with a key too many is none.

use std::{fs, path::Path};

use plimsoll_record::TelemetryRecord;

fn check(line: &str) -> Result<TelemetryRecord, serde_json::Error> {
    serde_json::from_str(line)
}

#[test]
fn the_example_is_read_and_written_back_equal() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/telemetry.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let (mut days, mut reviews) = (0, 0);
    for line in text.lines() {
        let record = check(line).unwrap();
        assert_eq!(serde_json::to_value(&record).unwrap(), serde_json::from_str::<serde_json::Value>(line).unwrap());
        match record {
            TelemetryRecord::DeviceDay(_) => days += 1,
            TelemetryRecord::Review(_) => reviews += 1,
        }
    }
    assert!(days >= 2 && reviews >= 1);
}

#[test]
fn unknown_kinds_and_negative_counts_are_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/telemetry.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().next().unwrap();
    assert!(check(&line.replace("device-day", "gossip")).is_err());
    assert!(check(&line.replace("\"crashes\":0", "\"crashes\":-1")).is_err());
    assert!(check(&line.replace("\"crashes\":0", "\"crashes\":0,\"mood\":1")).is_err());
}
