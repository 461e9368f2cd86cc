//! The report for a person at a terminal: the verdict, the table, then every row that is no pass with the line that set its limit.

use comfy_table::{ContentArrangement, LineStyle, Table, presets};
use plimsoll_profile::{Place, snippet};
use plimsoll_record::{Changes, EndpointShift, Forecast, Report, Row, Verdict};

use super::{
    changes,
    evidence::Sources,
    forecast, plain,
    severity::{end_column, headline, sentences},
    tally, word,
};
use crate::endpoint::{COLUMNS, Told};

/// The report as text, without colours.
pub fn terminal(report: &Report) -> String {
    let digest: String = report.model_digest.chars().take(19).collect();
    let mut text =
        format!("{}: {} ({}; model {})\n", report.verdict, plain(&report.model), tally(&report.rows), plain(&digest));
    if let Verdict::Skipped(reason) = &report.verdict {
        text.push_str(&format!("{}\n", plain(reason)));
    }
    if let Some(changes) = &report.changes {
        text.push_str(&moved(changes));
    }
    for line in changes::accepted(report).iter().chain(&report.remarks) {
        text.push_str(&format!("{}\n", plain(line)));
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
        .filter(|r| !r.is_waived() && matches!(r.verdict, Verdict::Fail | Verdict::Inconclusive))
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
    let told = |r: &&Row| r.is_waived() || r.loosened.is_some() && r.verdict == Verdict::Pass;
    for row in report.rows.iter().filter(told) {
        text.push_str(&format!("\nnote: {}: {}\n", plain(&headline(row)), plain(&sentences(row).join("; "))));
    }
    for endpoint in &report.endpoints {
        text.push_str(&worst(endpoint));
    }
    if !report.forecast.is_empty() {
        text.push_str(&lasting(&report.forecast));
    }
    let trend = changes::trend(report);
    if !trend.is_empty() {
        text.push('\n');
        for line in trend {
            text.push_str(&format!("{}\n", plain(&line)));
        }
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

/// What moved since the revision.
fn moved(changes: &Changes) -> String {
    let mut text = format!("{}\n", plain(&changes::heading(changes)));
    let moved = changes::moved(changes);
    if !moved.is_empty() {
        let mut table = blank(&changes::MOVED);
        for row in moved {
            table.add_row(row.map(|c| plain(&c)));
        }
        text.push_str(&format!("{}\n\n", table.trim_fmt()));
    }
    text
}

/// How long what runs today will do.
fn lasting(forecasts: &[Forecast]) -> String {
    let mut table = blank(&forecast::COLUMNS);
    for forecast in forecasts {
        table.add_row(forecast::row(forecast).map(|c| plain(&c)));
    }
    let notes: String = forecasts.iter().map(|f| format!("  {}\n", plain(&forecast::note(f)))).collect();
    format!("\nforecast:\n{}\n{notes}", table.trim_fmt())
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
    let place = Place { line: row.source.line as usize, column: row.source.column as usize };
    let covered = (end_column(&row.source).saturating_sub(row.source.column)) as usize;
    let drawn = snippet(&row.source.file, place, &row.source.text, covered, &format!("found {}", row.found));
    let mut text = format!("{severity}: {}\n{drawn}\n", plain(&headline(row)));
    if let Some(loosened) = &row.loosened {
        text.push_str(&format!("the line is that of before this change: {}\n", plain(&loosened.became)));
    }
    if let Some(expired) = &row.waiver {
        text.push_str(&format!("its waiver expired on {}\n", plain(&expired.until)));
    }
    if !row.note.is_empty() {
        let kind = if row.verdict == Verdict::Fail { "help" } else { "why" };
        text.push_str(&format!("{kind}: {}\n", plain(&row.note)));
    }
    text
}
