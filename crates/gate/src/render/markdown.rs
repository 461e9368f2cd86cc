//! The report for a pull request's comment.

use plimsoll_record::{EndpointShift, Report, Row, Verdict};

use super::{evidence::Sources, plain, tally, word};
use crate::endpoint::{COLUMNS, Told};

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("### {}: {}\n\n{}.", report.verdict, code(&report.model), tally(&report.rows));
    if let Verdict::Skipped(reason) = &report.verdict {
        text.push_str(&format!(" {}.", cell(reason)));
    }
    let sources = Sources::of(&report.rows);
    if !report.rows.is_empty() {
        text.push_str("\n\n| verdict | profile | metric | limit | found | set at |\n|---|---|---|---|---|---|\n");
        for row in &report.rows {
            text.push_str(&line(row, &sources));
        }
    }
    let taken_over = sources.lines();
    if !taken_over.is_empty() {
        text.push('\n');
    }
    for line in taken_over {
        text.push_str(&format!("- {}\n", cell(&line)));
    }
    let open: Vec<&Row> = report.rows.iter().filter(|r| !r.note.is_empty() && r.verdict != Verdict::Pass).collect();
    if !open.is_empty() {
        text.push('\n');
        for row in open {
            text.push_str(&format!("- {} of {}: {}\n", code(&row.metric), cell(&row.profile), cell(&row.note)));
        }
    }
    for endpoint in &report.endpoints {
        text.push_str(&worst(endpoint));
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
    let found = match &row.verdict {
        Verdict::Skipped(reason) => cell(reason),
        _ => cell(&format!("{}{}", row.found, sources.mark(row))),
    };
    let at = code(&format!("{}:{}", row.source.file, row.source.line));
    format!("| {verdict} | {} | {} | {} | {found} | {at} |\n", cell(&row.profile), code(&row.metric), code(&row.limit))
}

/// Text that cannot leave its cell, open a tag, a link or a mention.
fn cell(text: &str) -> String {
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
fn code(text: &str) -> String {
    format!("`{}`", plain(text).replace('`', "'").replace('|', "\\|"))
}
