//! How loudly a row speaks on a pull request, and what it says there.

use plimsoll_record::{BudgetSource, Row, Verdict};

/// From what blocks a change to what only informs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    Warning,
    Notice,
}

impl Severity {
    /// `None` where a row needs nobody's attention.
    pub(super) fn of(row: &Row, inconclusive_warns: bool) -> Option<Self> {
        let warns = row.level == "warn";
        match row.verdict {
            Verdict::Fail | Verdict::Inconclusive if row.is_waived() => Some(Self::Notice),
            Verdict::Fail => Some(if warns { Self::Warning } else { Self::Error }),
            Verdict::Inconclusive if warns => Some(Self::Notice),
            Verdict::Inconclusive => Some(if inconclusive_warns { Self::Warning } else { Self::Error }),
            Verdict::Pass | Verdict::Skipped(_) => row.loosened.is_some().then_some(Self::Notice),
        }
    }
}

/// What is wrong, in a few words.
pub(super) fn headline(row: &Row) -> String {
    let what = match row.verdict {
        Verdict::Fail if row.loosened.is_some() => "violates the budget that this change loosens",
        Verdict::Fail => "violates its budget",
        Verdict::Inconclusive => "is not shown to keep its budget",
        Verdict::Pass | Verdict::Skipped(_) => "has its budget loosened",
    };
    format!("{} {what} ({})", row.metric, row.profile)
}

/// Everything about a row in sentences, one a line.
pub(super) fn sentences(row: &Row) -> Vec<String> {
    let mut lines = vec![format!("found {}, limit {}", row.found, row.limit)];
    if let Some(loosened) = &row.loosened {
        lines.push(format!("the limit was {} and is {}", row.limit, loosened.became));
    }
    if let Some(waived) = &row.waiver {
        let (verb, by) = (if waived.in_force { "waived" } else { "its waiver expired:" }, &waived.signed_off_by);
        lines.push(format!("{verb} until {} by {by}: {}", waived.until, waived.reason));
    }
    if !row.note.is_empty() {
        lines.push(row.note.clone());
    }
    lines
}

/// Where the limit stands in the files as they are now; `None` where it stands there no more.
pub(super) fn present(row: &Row) -> Option<&BudgetSource> {
    match &row.loosened {
        Some(loosened) => loosened.now_at.as_ref(),
        None => Some(&row.source),
    }
}

/// Column after the limit, from 1, in characters.
pub(super) fn end_column(source: &BudgetSource) -> u64 {
    let start = (source.column as usize).saturating_sub(1);
    let from_limit: String = source.text.chars().skip(start).collect();
    let mut end = (source.length as usize).min(from_limit.len());
    while !from_limit.is_char_boundary(end) {
        end -= 1;
    }
    let covered = from_limit.get(..end).map_or(0, |s| s.chars().count()).max(1);
    source.column.saturating_add(covered as u64)
}
