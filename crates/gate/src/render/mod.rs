//! Reports as text: one file a format, each a pure function of the report.

mod changes;
mod comment;
mod evidence;
mod forecast;
mod github;
mod html;
mod json;
mod junit;
mod markdown;
mod sarif;
mod severity;
mod terminal;

pub use comment::{comment, summary};
pub use github::github;
pub use html::{Anatomy, Page, html, leaderboard};
pub use json::json;
pub use junit::junit;
pub use markdown::markdown;
pub use sarif::sarif;
pub use terminal::terminal;

use plimsoll_record::{Row, Verdict};

/// The verdict of a row in a word or two.
fn word(row: &Row) -> String {
    match (&row.verdict, row.level.as_str()) {
        (verdict, _) if row.is_waived() => format!("{verdict} (waived)"),
        (Verdict::Fail, "warn") => "fail (warns)".into(),
        (Verdict::Inconclusive, "warn") => "inconclusive (warns)".into(),
        (verdict, _) => verdict.to_string(),
    }
}

/// `3 of 9 budgets pass`, and how the rest stand.
fn tally<'r>(rows: impl IntoIterator<Item = &'r Row>) -> String {
    let rows: Vec<&Row> = rows.into_iter().collect();
    let count = |wanted: fn(&Verdict) -> bool| rows.iter().filter(|r| !r.is_waived() && wanted(&r.verdict)).count();
    let pass = count(|v| matches!(v, Verdict::Pass));
    let others = [
        (count(|v| matches!(v, Verdict::Fail)), "fail"),
        (count(|v| matches!(v, Verdict::Inconclusive)), "inconclusive"),
        (count(|v| matches!(v, Verdict::Skipped(_))), "skipped"),
        (rows.iter().filter(|r| r.is_waived()).count(), "waived"),
    ];
    let mut text = format!("{pass} of {} budgets pass", rows.len());
    for (n, what) in others.into_iter().filter(|(n, _)| *n > 0) {
        text.push_str(&format!(", {n} {what}"));
    }
    text
}

/// Text from outside, harmless to a terminal and on one line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
