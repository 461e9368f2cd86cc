//! The report for a person at a terminal: the verdict, the table, then every row that is no pass with the line that set its limit.

use comfy_table::{ContentArrangement, LineStyle, Table, presets};
use plimsoll_profile::{Place, snippet};
use plimsoll_record::{EndpointShift, Report, Row, Verdict};

use super::{evidence::Sources, plain, tally, word};
use crate::endpoint::{COLUMNS, Told};

/// The report as text, without colours.
pub fn terminal(report: &Report) -> String {
    let digest: String = report.model_digest.chars().take(19).collect();
    let mut text =
        format!("{}: {} ({}; model {})\n", report.verdict, plain(&report.model), tally(&report.rows), plain(&digest));
    if let Verdict::Skipped(reason) = &report.verdict {
        text.push_str(&format!("{}\n", plain(reason)));
    }
    let sources = Sources::of(&report.rows);
    if !report.rows.is_empty() {
        text.push_str(&table(&report.rows, &sources));
        text.push('\n');
    }
    for line in sources.lines() {
        text.push_str(&format!("{}\n", plain(&line)));
    }
    let (open, warned): (Vec<&Row>, Vec<&Row>) = report
        .rows
        .iter()
        .filter(|r| matches!(r.verdict, Verdict::Fail | Verdict::Inconclusive))
        .partition(|r| r.verdict == Verdict::Fail || r.level != "warn");
    for row in open {
        text.push('\n');
        text.push_str(&labelled(row));
    }
    // What is open and would decide nothing takes one line each.
    if !warned.is_empty() {
        text.push_str("\nwarnings that could not be settled:\n");
    }
    for row in warned {
        let at = format!("{}:{}:{}", row.source.file, row.source.line, row.source.column);
        text.push_str(&format!(
            "  {} ({}): {} [{}]\n",
            plain(&row.metric),
            plain(&row.profile),
            plain(&row.note),
            plain(&at)
        ));
    }
    for endpoint in &report.endpoints {
        text.push_str(&worst(endpoint));
    }
    if !report.withheld.is_empty() {
        text.push_str("\nwithheld:\n");
        for reason in &report.withheld {
            text.push_str(&format!("  {}\n", plain(reason)));
        }
    }
    text
}

fn blank(header: &[&str]) -> Table {
    let mut table = Table::new();
    let style = presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));
    table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

/// The groups in which an endpoint shifts most.
fn worst(endpoint: &EndpointShift) -> String {
    let told = Told::of(endpoint);
    let mut table = blank(&COLUMNS);
    for group in told.groups {
        table.add_row(group);
    }
    let never: String = told.never.iter().map(|line| format!("{}\n", plain(line))).collect();
    format!("\n{}\n{}\n{never}", plain(&told.heading), table.trim_fmt())
}

fn table(rows: &[Row], sources: &Sources<'_>) -> String {
    let mut table = blank(&["verdict", "profile", "metric", "limit", "found"]);
    for row in rows {
        let found = match &row.verdict {
            Verdict::Skipped(reason) => reason.clone(),
            _ => format!("{}{}", row.found, sources.mark(row)),
        };
        table.add_row([word(row), plain(&row.profile), plain(&row.metric), plain(&row.limit), plain(&found)]);
    }
    table.trim_fmt()
}

/// `error:` or `warning:`, the place that set the limit, and what would help.
fn labelled(row: &Row) -> String {
    let severity = if row.level == "warn" { "warning" } else { "error" };
    let what = match row.verdict {
        Verdict::Fail => "violates its budget",
        _ => "is not shown to keep its budget",
    };
    let place = Place { line: row.source.line as usize, column: row.source.column as usize };
    let covered = limit_width(row);
    let drawn = snippet(&row.source.file, place, &row.source.text, covered, &format!("found {}", row.found));
    let mut text = format!("{severity}: {} {what} ({})\n{drawn}\n", plain(&row.metric), plain(&row.profile));
    if !row.note.is_empty() {
        let kind = if row.verdict == Verdict::Fail { "help" } else { "why" };
        text.push_str(&format!("{kind}: {}\n", plain(&row.note)));
    }
    text
}

/// Characters of the limit in its line; bytes and characters differ.
fn limit_width(row: &Row) -> usize {
    let from_limit: String = row.source.text.chars().skip((row.source.column as usize).saturating_sub(1)).collect();
    let mut end = (row.source.length as usize).min(from_limit.len());
    while !from_limit.is_char_boundary(end) {
        end -= 1;
    }
    from_limit.get(..end).map_or(1, |s| s.chars().count())
}
