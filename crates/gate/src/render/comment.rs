//! One comment for a pull request: everything that was checked, within what GitHub takes.

use plimsoll_record::{Check, Fault, Verdict};

use super::markdown::{Detail, cell, code, detailed};

/// Characters of a comment; GitHub takes 65,536.
const LARGEST: usize = 65_000;

/// What was found, as Markdown of less than 65,000 characters. Where everything would be longer, nodes go first, then rows that pass,
/// then whole reports, and the comment says so.
pub fn comment(check: &Check) -> String {
    let details = [Detail::Full, Detail::NoNodes, Detail::OpenRows];
    let mut texts = details.into_iter().map(|detail| whole(check, detail));
    texts.find(|text| fits(text)).unwrap_or_else(|| cut(check))
}

fn fits(text: &str) -> bool {
    text.chars().count() < LARGEST
}

fn whole(check: &Check, detail: Detail) -> String {
    let reports: String = check.reports.iter().map(|r| format!("\n{}", detailed(r, detail))).collect();
    format!("{}{}{reports}{}", head(check), faults(&check.faults), foot(check))
}

/// As many reports as fit; those that are no pass first.
fn cut(check: &Check) -> String {
    const NOTE: usize = 200;
    let (head, foot) = (head(check), foot(check));
    let mut faults = faults(&check.faults);
    let room = LARGEST.saturating_sub(NOTE + head.chars().count() + foot.chars().count());
    if faults.chars().count() > room {
        faults = format!("\n{} targets cannot be checked; the log names them.\n", check.faults.len());
    }
    let mut body = faults;
    let mut reports: Vec<_> = check.reports.iter().collect();
    reports.sort_by_key(|r| matches!(r.verdict, Verdict::Pass | Verdict::Skipped(_)));
    let (mut length, mut left) = (body.chars().count(), reports.len());
    for report in reports {
        let text = format!("\n{}", detailed(report, Detail::OpenRows));
        length += text.chars().count();
        if length > room {
            break;
        }
        body.push_str(&text);
        left -= 1;
    }
    format!("{head}{body}\n{left} more reports do not fit into a comment; `--format json` holds them all.\n{foot}")
}

/// How it all went, in one line.
pub fn summary(check: &Check) -> String {
    let some = |n: usize, one: &str, many: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {many}") };
    let mut parts = Vec::new();
    match (&check.since, check.reports.len()) {
        (Some(since), 0) if !check.faults.is_empty() => parts.push(format!("since {since}")),
        (Some(since), 0) => parts.push(format!("no spec changed since {since}")),
        (Some(since), n) => parts.push(format!("{} since {since}", some(n, "spec changed", "specs changed"))),
        (None, n) => parts.push(some(n, "model checked", "models checked")),
    }
    if !check.faults.is_empty() {
        parts.push(some(check.faults.len(), "thing cannot be checked", "things cannot be checked"));
    }
    if !check.unchanged.is_empty() {
        parts.push(format!("{} unchanged", check.unchanged.len()));
    }
    if !check.removed.is_empty() {
        parts.push(format!("{} removed", check.removed.len()));
    }
    let verdict = match check.verdict {
        Verdict::Skipped(_) => "pass".into(),
        ref verdict => verdict.to_string(),
    };
    format!("plimsoll check: {verdict} ({})", parts.join(", "))
}

fn head(check: &Check) -> String {
    format!("## {}\n", cell(&summary(check)))
}

fn faults(faults: &[Fault]) -> String {
    if faults.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n### cannot be checked\n\n");
    for fault in faults {
        let place = match (fault.file.as_str(), fault.line) {
            ("", _) => String::new(),
            (file, 0) => format!(" at {}", code(file)),
            (file, line) => format!(" at {}", code(&format!("{file}:{line}:{}", fault.column))),
        };
        let help = if fault.help.is_empty() { String::new() } else { format!(" ({})", cell(&fault.help)) };
        text.push_str(&format!("- {}{place}: {}{help}\n", code(&fault.target), cell(&fault.message)));
    }
    text
}

/// Specs that were not checked, and those that are there no more; few are named, many counted.
fn foot(check: &Check) -> String {
    let named = |what: &str, specs: &[String]| {
        const NAMED: usize = 20;
        if specs.is_empty() {
            return String::new();
        }
        let named: Vec<String> = specs.iter().take(NAMED).map(|name| code(name)).collect();
        let rest = specs.len().saturating_sub(NAMED);
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        format!("\n{what}: {}{rest}\n", named.join(", "))
    };
    let removed = named("**Removed**, so that no budget holds their models any more", &check.removed);
    format!("{removed}{}", named("Unchanged, not checked", &check.unchanged))
}
