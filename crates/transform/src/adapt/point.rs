//! What a comparison says, point by point.

use plimsoll_profile::Span;

/// Whether a model fits in one respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// As it is.
    Fits,
    /// With an adapter.
    Adapts,
    /// Not at all.
    Never,
}

impl Fit {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Adapts => "adapts",
            Self::Never => "incompatible",
        }
    }
}

/// One respect in which a model is held against a contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// `input`, `output`, `executor`, or `adapter` for one that the model carries.
    pub side: &'static str,
    /// The model's input or output; for the executor what is asked.
    pub name: String,
    /// The respect, such as `dtype`, `layout`, `sampling rate`.
    pub aspect: &'static str,
    /// What came of it.
    pub fit: Fit,
    /// What the pipeline has.
    pub pipeline: String,
    /// What the model has.
    pub model: String,
    /// What an adapter does about it, or what is missing and what to do; empty where it fits.
    pub note: String,
    /// The place in the contract.
    pub span: Option<Span>,
}

/// Points about one input or output in the making.
pub(super) struct Points<'p> {
    pub(super) side: &'static str,
    pub(super) name: String,
    pub(super) all: &'p mut Vec<Point>,
    pub(super) span: Span,
}

impl Points<'_> {
    pub(super) fn say(
        &mut self,
        aspect: &'static str,
        fit: Fit,
        [pipeline, model]: [String; 2],
        note: impl Into<String>,
        span: Option<Span>,
    ) {
        self.all.push(Point {
            side: self.side,
            name: self.name.clone(),
            aspect,
            fit,
            pipeline,
            model,
            note: note.into(),
            span: Some(span.unwrap_or(self.span)),
        });
    }

    pub(super) fn fits(&mut self, aspect: &'static str, both: [String; 2]) {
        self.say(aspect, Fit::Fits, both, "", None);
    }

    /// What cannot be; gives back nothing, as there is nothing to plan then.
    pub(super) fn never<T>(
        &mut self,
        aspect: &'static str,
        both: [String; 2],
        note: impl Into<String>,
        span: Option<Span>,
    ) -> Option<T> {
        self.say(aspect, Fit::Never, both, note, span);
        None
    }
}
