//! The text of a file and places in it.

use std::{
    fmt::Write as _,
    ops::Range,
    path::{Path, PathBuf},
};

/// Bytes of a source text, from `start` to before `end`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end.max(range.start) }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

/// A place as people count: line and column from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// A file as it was read, with those that it extends. Spans count on through their texts, so that each is a place in one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    text: String,
    extended: Vec<Source>,
}

impl Source {
    /// A text under the path that it is known by.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), extended: vec![] }
    }

    /// The same with the files that it extends, the nearest first.
    pub(crate) fn extending(self, extended: Vec<Source>) -> Self {
        Self { extended, ..self }
    }

    /// The file and those that it extends.
    pub fn files(&self) -> impl Iterator<Item = &Source> {
        std::iter::once(self).chain(&self.extended)
    }

    /// Where the spans of each file begin.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = usize> {
        // One between two files: what is missing at the end of one is not at the start of the next.
        self.files().scan(0, |next, file| Some(std::mem::replace(next, *next + file.text.len() + 1)))
    }

    /// The file that a span lies in, and the span as that file counts; this file where it lies in none.
    pub fn file_of(&self, span: Span) -> (&Source, Span) {
        let mut files = self.files().zip(self.offsets());
        let holds = |(file, offset): &(&Source, usize)| (*offset..=offset + file.text.len()).contains(&span.start);
        match files.find(holds) {
            Some((file, offset)) => (
                file,
                Span { start: span.start - offset, end: span.end.saturating_sub(offset).max(span.start - offset) },
            ),
            None => (self, span),
        }
    }

    /// The path, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder of the file, which its paths are relative to.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// What a span covers; empty where it lies outside the text.
    pub fn slice(&self, span: Span) -> &str {
        let (file, span) = self.file_of(span);
        file.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Line and column of a span's start.
    pub fn place(&self, span: Span) -> Place {
        let before = self.before(span);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let in_line = before.get(line_start..).unwrap_or_default();
        Place { line: before.matches('\n').count() + 1, column: in_line.chars().count() + 1 }
    }

    /// The line that a span starts in, without its end.
    pub fn line(&self, span: Span) -> &str {
        let start = self.before(span).rfind('\n').map_or(0, |i| i + 1);
        self.file_of(span).0.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default()
    }

    /// `file:line:column`, the line, and a mark under the span with a label: how every place is shown.
    pub fn snippet(&self, span: Span, label: &str) -> String {
        let place = self.place(span);
        let covered = self.slice(span).lines().next().unwrap_or_default().chars().count();
        snippet(&self.file_of(span).0.path.display().to_string(), place, self.line(span), covered, label)
    }

    /// The text before a span, however odd the span.
    fn before(&self, span: Span) -> &str {
        let (file, span) = self.file_of(span);
        let mut start = span.start.min(file.text.len());
        while !file.text.is_char_boundary(start) {
            start -= 1;
        }
        file.text.get(..start).unwrap_or_default()
    }
}

/// Draws a place: `file:line:column`, the line, a mark of `covered` characters under the column, a label. Whatever could drive
/// a terminal is replaced.
pub fn snippet(file: &str, place: Place, line: &str, covered: usize, label: &str) -> String {
    /// Longer lines are shown in part, around the mark.
    const WIDTH: usize = 160;
    let number = place.line.to_string();
    let gutter = " ".repeat(number.len());
    let at = place.column.saturating_sub(1);
    let skipped = at.saturating_sub(WIDTH / 2);
    let shown: String = line.chars().skip(skipped).take(WIDTH).map(visible).collect();
    let (at, room) = (at - skipped, shown.chars().count());
    let marks = covered.clamp(1, room.saturating_sub(at).max(1));
    let file: String = file.chars().map(visible).collect();
    let mut text = format!("{gutter}--> {file}:{}:{}\n{gutter} |\n{number} | {shown}\n", place.line, place.column);
    let _ = write!(text, "{gutter} | {}{}", " ".repeat(at.min(room)), "^".repeat(marks));
    if !label.is_empty() {
        let _ = write!(text, " {}", label.chars().map(visible).collect::<String>());
    }
    text
}

/// A tab would shift the mark, and a control character could drive the terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, needle: &str, line: usize, column: usize) -> String {
        let source = Source::new("a.toml", text);
        let start = text.find(needle).unwrap();
        let span = Span { start, end: start + needle.len() };
        assert_eq!(source.place(span), Place { line, column });
        source.snippet(span, "here")
    }

    #[test]
    fn places_count_characters_and_survive_crlf_and_tabs() {
        let drawn = check("é = 1\r\n\tbéta = 22\r\n", "22", 2, 9);
        assert_eq!(drawn, " --> a.toml:2:9\n  |\n2 |  béta = 22\n  |         ^^ here");
        check("x", "x", 1, 1);
    }

    #[test]
    fn spans_outside_the_text_are_no_panic() {
        let source = Source::new("a.toml", "é");
        for span in [Span { start: 1, end: 9 }, Span { start: 70, end: 71 }, Span { start: 9, end: 3 }] {
            source.snippet(span, "here");
            assert_eq!(source.place(span).line, 1);
        }
    }

    #[test]
    fn a_place_in_an_extended_file_names_that_file() {
        let source = Source::new("a.toml", "a = 1\n").extending(vec![Source::new("b.toml", "\nb = 22\n")]);
        let span = Span { start: 12, end: 14 };
        assert_eq!((source.slice(span), source.place(span)), ("22", Place { line: 2, column: 5 }));
        assert_eq!(source.snippet(span, ""), " --> b.toml:2:5\n  |\n2 | b = 22\n  |     ^^");
        // The end of one file is not the start of the next.
        assert_eq!(source.file_of(Span { start: 6, end: 6 }).0.path(), Path::new("a.toml"));
        assert_eq!(source.file_of(Span { start: 7, end: 7 }).0.path(), Path::new("b.toml"));
    }

    #[test]
    fn long_lines_are_shown_around_the_mark() {
        let text = format!("{}needle{}", "a".repeat(5_000), "b".repeat(5_000));
        let drawn = check(&text, "needle", 1, 5_001);
        assert!(drawn.len() < 600 && drawn.contains("needle") && drawn.contains("^^^^^^ here"), "{drawn}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert!(!check("a = \"\u{1b}[2J\"", "a", 1, 1).contains('\u{1b}'));
    }
}
