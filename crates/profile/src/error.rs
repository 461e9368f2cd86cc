//! What is wrong with a file: everything at once, each with its place.

use std::{fmt, path::Path, sync::Arc};

use crate::source::{Source, Span};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty where the message says it.
    pub help: String,
    /// Where; `None` where the file as a whole is meant.
    pub span: Option<Span>,
    /// What to write beside the place.
    pub label: String,
}

impl Problem {
    pub(crate) fn at(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), help: String::new(), span: Some(span), label: String::new() }
    }

    pub(crate) fn of_file(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into(), span: None, label: String::new() }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl miette::Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let span = self.span?;
        let label = (!self.label.is_empty()).then(|| self.label.clone());
        Some(Box::new(std::iter::once(miette::LabeledSpan::new(
            label,
            span.start,
            span.end.saturating_sub(span.start),
        ))))
    }
}

/// A file that cannot be used, and every reason why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    source: Arc<Source>,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// The problems in the order of their places. There is at least one.
    pub(crate) fn new(source: Arc<Source>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| p.span.map_or(0, |s| s.start));
        Self { source, problems }
    }

    /// One problem found by a reader of the file later on, such as a path that leads nowhere.
    pub fn later(source: &Arc<Source>, span: Span, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(Arc::clone(source), vec![Problem::at(span, message).help(help)])
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// The text that the places are in, with those of the files that it extends; empty where the file could not be read.
    pub fn source_text(&self) -> &Source {
        &self.source
    }

    /// Everything that is wrong.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What the user can do about the first of them.
    pub fn help(&self) -> Option<String> {
        self.problems.first().map(|p| p.help.clone()).filter(|h| !h.is_empty())
    }

    /// All problems as text, each with the line that it lies in and its remedy.
    pub fn render(&self) -> String {
        let one = |problem: &Problem| {
            let mut text = problem.message.clone();
            match problem.span {
                Some(span) => text = format!("{text}\n{}", self.source.snippet(span, &problem.label)),
                None => text = format!("{}: {text}", self.source.path().display()),
            }
            if !problem.help.is_empty() {
                text = format!("{text}\nhelp: {}", problem.help);
            }
            text
        };
        self.problems.iter().map(one).collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.problems.first();
        let span = first.and_then(|p| p.span).unwrap_or_default();
        write!(f, "{}", self.source.file_of(span).0.path().display())?;
        let Some(first) = first else { return Ok(()) };
        if let Some(span) = first.span {
            let place = self.source.place(span);
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", first.message)?;
        match self.problems.len() - 1 {
            0 => Ok(()),
            1 => f.write_str(" (and 1 more problem)"),
            n => write!(f, " (and {n} more problems)"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl miette::Diagnostic for ConfigError {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&*self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|p| p as &dyn miette::Diagnostic)))
    }
}

impl miette::SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let here = Span { start: span.offset(), end: span.offset() + span.len() };
        let (file, place) = self.file_of(here);
        let inner = file.text().read_span(&(place.start, place.end - place.start).into(), before, after)?;
        let shift = here.start - place.start;
        let shown = miette::SourceSpan::new((inner.span().offset() + shift).into(), inner.span().len());
        Ok(Box::new(miette::MietteSpanContents::new_named(
            file.path().display().to_string(),
            inner.data(),
            shown,
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}
