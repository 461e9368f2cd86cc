//! The only place that prints: data to stdout, talk and progress to stderr.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    sync::Mutex,
};

use indicatif::{ProgressBar, ProgressStyle};
use plimsoll_record::{Figure, Figures};
use plimsoll_transform::Progress;

use crate::{failure::Failure, manual::Code};

/// Writes data to stdout. A reader that went away (`| head`) is no error; a full disk is.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes())).and_then(|()| out.flush());
    match written {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::NotWritten, format!("failed to write to stdout: {e}"))
                .help("make room where the output goes, or send it elsewhere"))
        }
        _ => Ok(()),
    }
}

/// Writes one line of talk to stderr.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Clears the terminal that stdout is, if it is one: what follows stands in the place of what was.
#[cfg(feature = "rollout")]
pub(crate) fn clear() {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        let _ = out.write_all(b"\x1b[2J\x1b[H");
    }
}

/// A progress bar on a terminal, one plain line a step elsewhere.
#[derive(Default)]
pub(crate) struct Bar {
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress for Bar {
    fn start(&self, what: &str, units: usize) {
        self.finish();
        if !std::io::stderr().is_terminal() {
            say(&format!("  {what} …"));
            return;
        }
        let bar = ProgressBar::new(units as u64).with_message(what.to_owned());
        let style = ProgressStyle::with_template("  {msg} {wide_bar} {pos}/{len} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if let Ok(mut slot) = self.bar.lock() {
            *slot = Some(bar);
        }
    }

    fn advance(&self, units: usize) {
        if let Ok(slot) = self.bar.lock()
            && let Some(bar) = slot.as_ref()
        {
            bar.inc(units as u64);
        }
    }

    fn finish(&self) {
        if let Ok(mut slot) = self.bar.lock()
            && let Some(bar) = slot.take()
        {
            bar.finish_and_clear();
        }
    }
}

/// A table with a header, numbers to the right.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
    const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    let number = |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit() || "–-+?".contains(c));
    let numeric: Vec<bool> = (0..header.len()).map(|i| rows.iter().all(|r| r.get(i).is_some_and(number))).collect();
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied()).add_rows(rows);
    for column in numeric.iter().enumerate().filter(|(_, n)| **n).map(|(i, _)| i) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Bytes as people read them (1 kB = 1000 bytes).
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// A count with thousands separated.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Figures as a table, then what was withheld.
pub(crate) fn figures(found: &Figures) -> String {
    let row = |f: &Figure| {
        let interval = f.interval.map_or("–".to_owned(), |[low, high]| {
            format!("{} … {}", quantity(low, &f.unit), quantity(high, &f.unit))
        });
        vec![f.metric.clone(), quantity(f.value, &f.unit), interval, count(f.n), f.method.clone()]
    };
    let table = table(&["metric", "value", "95 % interval", "n", "method"], found.figures.iter().map(row).collect());
    let withheld = found.withheld.iter().map(|w| format!("withheld  {w}\n"));
    let origin = found.figures.iter().find(|f| f.executor != "static").map(|f| {
        format!(
            "{} {} · {} · {} thread(s) · {} build\n",
            f.executor, f.executor_version, f.machine.cpu, f.machine.threads, f.build
        )
    });
    let warnings = found.warnings.iter().map(|w| format!("warning   {w}\n"));
    let notes: String = withheld.chain(warnings).collect();
    let verdict = found.verdict.as_ref().map(|v| format!("verdict   {v}\n")).unwrap_or_default();
    format!("{table}\n{notes}{}{verdict}", origin.unwrap_or_default())
}

/// A value with its unit, as people read it.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "s" if value == 0.0 => "0 s".to_owned(),
        "s" if value.abs() < 1e-3 => format!("{:.1} µs", value * 1e6),
        "s" if value.abs() < 1.0 => format!("{:.3} ms", value * 1e3),
        "s" => format!("{value:.3} s"),
        "bytes" => bytes(value as u64),
        "count" => count(value as u64),
        "share" => format!("{value:.4}"),
        "ratio" => format!("{value:.3}"),
        other => format!("{value:.2} {other}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_separated() {
        let check = |n, text: &str| assert_eq!(super::count(n), text);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(12_345_678, "12,345,678");
    }
}
