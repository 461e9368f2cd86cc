//! JUnit XML: a suite for each model, a case for each budget, as Jenkins and GitLab read it.

use std::fmt::Write as _;

use plimsoll_record::{Check, Fault, Report, Row, Verdict};

use super::severity::{Severity, headline, sentences};

/// The document. What blocks is a failure, what could not be checked an error, what was not asked for is skipped; the rest passes, and
/// warnings are printed by their case.
pub fn junit(check: &Check) -> String {
    let suites: Vec<Suite> = check
        .reports
        .iter()
        .map(|r| Suite::of_report(r, check.inconclusive_warns))
        .chain((!check.faults.is_empty()).then(|| Suite::of_faults(&check.faults)))
        .collect();
    let sum = |count: fn(&Suite) -> usize| suites.iter().map(count).sum::<usize>();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        text,
        "<testsuites name=\"plimsoll check\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"0\">",
        sum(|s| s.tests),
        sum(|s| s.failures),
        sum(|s| s.errors),
    );
    for suite in &suites {
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"0\">\n{}  </testsuite>",
            escape(&suite.name),
            suite.tests,
            suite.failures,
            suite.errors,
            suite.skipped,
            suite.cases,
        );
    }
    text.push_str("</testsuites>\n");
    text
}

#[derive(Default)]
struct Suite {
    name: String,
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    cases: String,
}

impl Suite {
    fn of_report(report: &Report, inconclusive_warns: bool) -> Self {
        let mut suite = Self { name: report.model.clone(), ..Self::default() };
        for row in &report.rows {
            let body = suite.body(row, inconclusive_warns);
            let before = if row.loosened.is_some() { ", before this change" } else { "" };
            suite.case(&row.profile, &format!("{}: {}{before}", row.metric, row.limit), &body);
        }
        suite
    }

    fn of_faults(faults: &[Fault]) -> Self {
        let mut suite = Self { name: "cannot be checked".into(), errors: faults.len(), ..Self::default() };
        for fault in faults {
            let text = format!("{}\n{}", place(&fault.file, fault.line, fault.column), fault.help);
            let message = escape(&fault.message);
            let body = format!("<error message=\"{message}\" type=\"bad-input\">{}</error>", escape(text.trim()));
            suite.case("plimsoll", &fault.target, &body);
        }
        suite
    }

    fn case(&mut self, class: &str, name: &str, body: &str) {
        self.tests += 1;
        let _ = writeln!(
            self.cases,
            "    <testcase name=\"{}\" classname=\"{}\" time=\"0\">{body}</testcase>",
            escape(name),
            escape(class)
        );
    }

    fn body(&mut self, row: &Row, inconclusive_warns: bool) -> String {
        if let Verdict::Skipped(reason) = &row.verdict {
            self.skipped += 1;
            return format!("<skipped message=\"{}\"/>", escape(reason));
        }
        let at = place(&row.source.file, row.source.line, row.source.column);
        let text = escape(&format!("{}\n{at}\n{}", sentences(row).join("\n"), row.source.text));
        match Severity::of(row, inconclusive_warns) {
            None => String::new(),
            Some(Severity::Error) => {
                self.failures += 1;
                let kind = &row.verdict;
                format!("<failure message=\"{}\" type=\"{kind}\">{text}</failure>", escape(&headline(row)))
            }
            Some(_) => format!("<system-out>{}\n{text}</system-out>", escape(&headline(row))),
        }
    }
}

fn place(file: &str, line: u64, column: u64) -> String {
    if line == 0 { file.to_owned() } else { format!("{file}:{line}:{column}") }
}

/// Text for content and for attributes in double quotes; XML 1.0 cannot hold control characters at all.
fn escape(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}
