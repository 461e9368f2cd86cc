//! Annotations for GitHub: workflow commands, one a line, that mark the line of the file that set the limit.
//!
//! The syntax is that of GitHub's documentation, “Workflow commands for GitHub Actions”; what it escapes is what the runner's
//! own toolkit escapes.

use plimsoll_record::{Check, Fault, Report, Row};

use super::severity::{Severity, end_column, headline, present, sentences};

/// One command for each budget that needs attention and for each fault; at the end a line that says how it all went.
pub fn github(check: &Check) -> String {
    let mut text: String = check.faults.iter().map(fault).collect();
    for report in &check.reports {
        text.extend(report.rows.iter().filter_map(|row| of_row(report, row, check.inconclusive_warns)));
        for remark in &report.remarks {
            text.push_str(&command(Severity::Warning, &[], "please note", remark));
        }
    }
    for spec in &check.removed {
        let message = format!("{spec} is there no more: no budget holds its model");
        text.push_str(&command(Severity::Warning, &[], "a spec was removed", &message));
    }
    text.push_str(&format!("{}\n", super::plain(&super::comment::summary(check))));
    text
}

fn of_row(report: &Report, row: &Row, inconclusive_warns: bool) -> Option<String> {
    let severity = Severity::of(row, inconclusive_warns)?;
    let place: Vec<(&str, String)> = present(row).map_or_else(Vec::new, |at| {
        vec![
            ("file", at.file.clone()),
            ("line", at.line.to_string()),
            ("endLine", at.line.to_string()),
            ("col", at.column.to_string()),
            ("endColumn", end_column(at).to_string()),
        ]
    });
    let message = format!("{}: {}", report.model, sentences(row).join("\n"));
    Some(command(severity, &place, &headline(row), &message))
}

fn fault(fault: &Fault) -> String {
    let mut place = Vec::new();
    if !fault.file.is_empty() {
        place.push(("file", fault.file.clone()));
    }
    for (key, number) in [("line", fault.line), ("col", fault.column)] {
        if number > 0 {
            place.push((key, number.to_string()));
        }
    }
    let help = if fault.help.is_empty() { String::new() } else { format!("\n{}", fault.help) };
    command(Severity::Error, &place, "cannot be checked", &format!("{}: {}{help}", fault.target, fault.message))
}

fn command(severity: Severity, place: &[(&str, String)], title: &str, message: &str) -> String {
    let name = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Notice => "notice",
    };
    let mut properties: Vec<String> = place.iter().map(|(key, value)| format!("{key}={}", property(value))).collect();
    properties.push(format!("title={}", property(title)));
    format!("::{name} {}::{}\n", properties.join(","), data(message))
}

/// Line breaks would end the command, and what follows them could be one.
fn data(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(super::plain).collect();
    lines.join("\n").replace('%', "%25").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
