//! Which figures of a report were taken over from evidence, for readers: a mark in their row, and a line for each file.

use plimsoll_record::{EvidenceSource, Figure, Row};

/// The sources of a report, in the order of the rows that use them.
pub(super) struct Sources<'r> {
    found: Vec<(&'r EvidenceSource, Vec<&'r Figure>)>,
}

impl<'r> Sources<'r> {
    pub(super) fn of(rows: &'r [Row]) -> Self {
        let mut found: Vec<(&EvidenceSource, Vec<&Figure>)> = Vec::new();
        for (source, figure) in rows.iter().filter_map(|r| Some((r.evidence.as_ref()?, r.figure.as_ref()?))) {
            match found.iter_mut().find(|(s, _)| *s == source) {
                Some((_, figures)) => figures.push(figure),
                None => found.push((source, vec![figure])),
            }
        }
        Self { found }
    }

    /// What stands behind the figure of a row, such as ` (evidence 1)`; nothing where this run took the figure.
    pub(super) fn mark(&self, row: &Row) -> String {
        let of_row = |source: &EvidenceSource| self.found.iter().position(|(s, _)| *s == source);
        let number = row.evidence.as_ref().and_then(of_row);
        number.map(|i| format!(" (evidence {})", i + 1)).unwrap_or_default()
    }

    /// A line for each file: its name, who signed it, what was taken from it, and where that was measured.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(i, (source, figures)): (usize, &(&EvidenceSource, Vec<&Figure>))| {
            let metrics = distinct(figures.iter().map(|f| f.metric.clone()));
            let origins = distinct(figures.iter().map(|f| origin(f)));
            let (number, signer) = (i + 1, short(&source.signer));
            format!("evidence {number}: {}, signed by the key {signer}: {metrics}; {origins}", source.file)
        };
        self.found.iter().enumerate().map(line).collect()
    }
}

fn origin(f: &Figure) -> String {
    let threads = if f.machine.threads == 1 { "1 thread".into() } else { format!("{} threads", f.machine.threads) };
    let data = if f.data_digest.is_empty() { String::new() } else { format!(", data {}", short(&f.data_digest)) };
    format!("{} {} on {}, {threads}, {} build{data}", f.executor, f.executor_version, f.machine.cpu, f.build)
}

/// Enough of a digest to tell it from others.
fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}

fn distinct(texts: impl Iterator<Item = String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.join(", ")
}
