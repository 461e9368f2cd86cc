//! The report for a pull request's comment.

use plimsoll_record::{Changes, EndpointShift, Forecast, Report, Row, Verdict};

use super::{changes, evidence::Sources, forecast, plain, tally, word};
use crate::endpoint::{COLUMNS, Told};

/// Nodes of a comment, at most.
const MOST_NODES: usize = 40;

/// How much of a report is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// All of it.
    Full,
    /// No nodes.
    NoNodes,
    /// No nodes, no rows that pass, no groups of endpoints, nothing withheld.
    OpenRows,
}

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    detailed(report, Detail::Full)
}

pub(super) fn detailed(report: &Report, detail: Detail) -> String {
    let mut text = format!("### {}: {}\n\n{}.", report.verdict, code(&report.model), tally(&report.rows));
    if let Verdict::Skipped(reason) = &report.verdict {
        text.push_str(&format!(" {}.", cell(reason)));
    }
    if let Some(changes) = &report.changes {
        text.push_str(&moved(changes));
    }
    for line in changes::accepted(report).iter().chain(&report.remarks) {
        text.push_str(&format!("\n\n{}.", cell(line)));
    }
    let shown = |r: &&Row| detail != Detail::OpenRows || r.loosened.is_some() || r.verdict != Verdict::Pass;
    let rows: Vec<&Row> = report.rows.iter().filter(shown).collect();
    let sources = Sources::of(&report.rows);
    if !rows.is_empty() {
        text.push_str("\n\n| verdict | profile | metric | limit | found | set at |\n|---|---|---|---|---|---|\n");
        for row in &rows {
            text.push_str(&line(row, &sources));
        }
    }
    if rows.len() < report.rows.len() {
        text.push_str(&format!("\n{} budgets that pass are left out here.\n", report.rows.len() - rows.len()));
    }
    let taken_over = sources.lines();
    if !taken_over.is_empty() {
        text.push('\n');
    }
    for line in taken_over {
        text.push_str(&format!("- {}\n", cell(&line)));
    }
    let said: Vec<String> = rows.iter().flat_map(|row| notes(row)).collect();
    if !said.is_empty() {
        text.push_str(&format!("\n{}", said.concat()));
    }
    if let Some(changes) = report.changes.as_ref().filter(|c| detail == Detail::Full && !c.nodes.is_empty()) {
        text.push_str(&nodes(changes));
    }
    let trend = if detail == Detail::OpenRows { vec![] } else { changes::trend(report) };
    if !trend.is_empty() {
        let lines: String = trend.iter().map(|line| format!("- {}\n", cell(line))).collect();
        text.push_str(&format!("\n<details><summary>trend</summary>\n\n{lines}\n</details>\n"));
    }
    if detail == Detail::OpenRows {
        text.push_str(&format!("\nModel {}\n", code(&report.model_digest)));
        return text;
    }
    for endpoint in &report.endpoints {
        text.push_str(&worst(endpoint));
    }
    if !report.forecast.is_empty() {
        text.push_str(&lasting(&report.forecast));
    }
    if !report.withheld.is_empty() {
        text.push_str("\n<details><summary>withheld figures</summary>\n\n");
        for reason in &report.withheld {
            text.push_str(&format!("- {}\n", cell(reason)));
        }
        text.push_str("\n</details>\n");
    }
    text.push_str(&format!("\nModel {}\n", code(&report.model_digest)));
    text
}

/// What is to be said of a row besides its line: notes, loosening, waivers.
fn notes(row: &Row) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(loosened) = &row.loosened {
        said.push(format!("**loosened**: the limit was {} and is {}", code(&row.limit), cell(&loosened.became)));
    }
    if let Some(waived) = &row.waiver {
        let what = if waived.in_force { "**waived** until" } else { "its waiver expired on" };
        let (until, by, why) = (cell(&waived.until), cell(&waived.signed_off_by), cell(&waived.reason));
        said.push(format!("{what} {until}, signed off by {by}: {why}"));
    }
    if !row.note.is_empty() && row.verdict != Verdict::Pass {
        said.push(cell(&row.note));
    }
    let whose = format!("{} of {}", code(&row.metric), cell(&row.profile));
    said.into_iter().map(|text| format!("- {whose}: {text}\n")).collect()
}

/// What moved since the revision.
fn moved(changes: &Changes) -> String {
    let mut text = format!("\n\n{}.", cell(&changes::heading(changes)));
    let moved = changes::moved(changes);
    if moved.is_empty() {
        text.push_str(" No counted figure moved.");
        return text;
    }
    text.push_str(&format!("\n\n| {} |\n|---|--:|--:|--:|\n", changes::MOVED.join(" | ")));
    for row in moved {
        text.push_str(&format!("| {} |\n", row.map(|c| cell(&c)).join(" | ")));
    }
    text.pop();
    text
}

/// Nodes before and after, folded away.
fn nodes(changes: &Changes) -> String {
    let shown = changes::nodes(changes, MOST_NODES);
    let of = changes.nodes.len();
    let which = if shown.len() < of { format!("{} of {of}, the largest changes", shown.len()) } else { of.to_string() };
    let mut text = format!("\n<details><summary>nodes that changed: {which}</summary>\n\n");
    text.push_str(&format!("| {} |\n|---|---|--:|--:|--:|--:|\n", changes::NODES.join(" | ")));
    for row in shown {
        text.push_str(&format!("| {} |\n", row.map(|c| cell(&c)).join(" | ")));
    }
    text.push_str("\n</details>\n");
    text
}

/// How long what runs today will do.
fn lasting(forecasts: &[Forecast]) -> String {
    let mut text = format!("\n| {} |\n|---|---|---|---|---|\n", forecast::COLUMNS.join(" | "));
    for forecast in forecasts {
        text.push_str(&format!("| {} |\n", forecast::row(forecast).map(|c| cell(&c)).join(" | ")));
    }
    text.push('\n');
    for forecast in forecasts {
        text.push_str(&format!("- {}\n", cell(&forecast::note(forecast))));
    }
    text
}

/// The groups in which an endpoint shifts most.
fn worst(endpoint: &EndpointShift) -> String {
    let told = Told::of(endpoint);
    let mut text = format!("\n{}\n\n| {} |\n|--:|--:|--:|--:|\n", cell(&told.heading), COLUMNS.join(" | "));
    for group in told.groups {
        text.push_str(&format!("| {} |\n", group.join(" | ")));
    }
    if !told.never.is_empty() {
        text.push('\n');
    }
    for line in told.never {
        text.push_str(&format!("- {}\n", cell(&line)));
    }
    text
}

fn line(row: &Row, sources: &Sources<'_>) -> String {
    let verdict = match row.verdict {
        Verdict::Pass | Verdict::Skipped(_) => word(row),
        _ => format!("**{}**", word(row)),
    };
    let before = if row.loosened.is_some() { " before" } else { "" };
    let found = match &row.verdict {
        Verdict::Skipped(reason) => cell(reason),
        _ => cell(&format!("{}{}", row.found, sources.mark(row))),
    };
    let at = code(&format!("{}:{}", row.source.file, row.source.line));
    format!(
        "| {verdict} | {} | {} | {} | {found} | {at}{before} |\n",
        cell(&row.profile),
        code(&row.metric),
        code(&row.limit)
    )
}

/// Text that cannot leave its cell, open a tag, a link or a mention.
pub(super) fn cell(text: &str) -> String {
    let mut safe = String::new();
    for c in plain(text).chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '@' => safe.push_str("&#64;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' => safe.extend(['\\', c]),
            c => safe.push(c),
        }
    }
    safe
}

/// Text as code; a backtick in it would end it, and a bar would end the cell.
pub(super) fn code(text: &str) -> String {
    format!("`{}`", plain(text).replace('`', "'").replace('|', "\\|"))
}
