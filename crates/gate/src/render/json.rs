//! The report for machines, described by the JSON Schema of `plimsoll.report/1`.

use plimsoll_record::Report;

/// The report as JSON, indented.
pub fn json(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report)
}
