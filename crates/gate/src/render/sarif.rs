//! SARIF 2.1.0, for code scanning: a result for each budget that needs attention, at the place that set its limit.

use plimsoll_record::{BudgetSource, Check, Fault, Report, Row};
use serde_json::{Value, json};

use super::severity::{Severity, end_column, headline, present, sentences};

/// The log as JSON, indented. Columns count characters; paths are relative to the root of the repository.
pub fn sarif(check: &Check) -> Result<String, serde_json::Error> {
    let mut results: Vec<Value> = check.faults.iter().map(fault).collect();
    for report in &check.reports {
        results.extend(report.rows.iter().filter_map(|row| of_row(report, row, check.inconclusive_warns)));
    }
    let mut rules: Vec<&str> = results.iter().filter_map(|r| r.get("ruleId")?.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let rule = |id: &&str| {
        let text = match id.strip_prefix("budget/") {
            Some(crate::CONTRACT) => "The model fits the contract of the running pipeline.".to_owned(),
            Some(metric) => format!("The budget of {metric} is kept, interval included."),
            None => "Specs, profiles and models can be read.".to_owned(),
        };
        json!({ "id": id, "shortDescription": { "text": text } })
    };
    serde_json::to_string_pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "plimsoll",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(rule).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

fn of_row(report: &Report, row: &Row, inconclusive_warns: bool) -> Option<Value> {
    let level = match Severity::of(row, inconclusive_warns)? {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Notice => "note",
    };
    let text = format!("{}: {}. {}.", report.model, headline(row), sentences(row).join(". "));
    let mut result = json!({
        "ruleId": format!("budget/{}", row.metric),
        "level": level,
        "message": { "text": text },
        "locations": present(row).into_iter().map(location).collect::<Vec<_>>(),
    });
    if let (Some(waived), true, Some(fields)) = (&row.waiver, row.is_waived(), result.as_object_mut()) {
        let justification = format!("until {}, {}: {}", waived.until, waived.signed_off_by, waived.reason);
        let accepted = json!([{ "kind": "external", "status": "accepted", "justification": justification }]);
        fields.insert("suppressions".into(), accepted);
    }
    Some(result)
}

fn location(at: &BudgetSource) -> Value {
    let region = json!({
        "startLine": at.line.max(1),
        "startColumn": at.column.max(1),
        "endColumn": end_column(at).max(1),
        "snippet": { "text": at.text },
    });
    json!({ "physicalLocation": { "artifactLocation": { "uri": uri(&at.file) }, "region": region } })
}

fn fault(fault: &Fault) -> Value {
    let mut locations = Vec::new();
    if !fault.file.is_empty() {
        let mut physical = json!({ "artifactLocation": { "uri": uri(&fault.file) } });
        if let (true, Some(fields)) = (fault.line > 0, physical.as_object_mut()) {
            let region = json!({ "startLine": fault.line, "startColumn": fault.column.max(1) });
            fields.insert("region".into(), region);
        }
        locations.push(json!({ "physicalLocation": physical }));
    }
    let text = format!("{}: {}. {}", fault.target, fault.message, fault.help);
    json!({
        "ruleId": "bad-input",
        "level": "error",
        "message": { "text": text.trim_end() },
        "locations": locations,
    })
}

/// A path as a URI reference.
fn uri(path: &str) -> String {
    let mut text = String::new();
    for byte in path.replace('\\', "/").bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => text.push(byte as char),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}
