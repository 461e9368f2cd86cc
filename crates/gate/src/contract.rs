//! A model against the contract of the running pipeline, as rows of a report.

use plimsoll_profile::{Source, Span};
use plimsoll_record::{BudgetSource, Row, Verdict};

use crate::judge::place_of;

/// What the rows are named.
pub const CONTRACT: &str = "contract";

/// One respect in which a model does not fit as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// What does not fit, such as ``input `image`, dtype``.
    pub what: String,
    /// The pipeline's side and the model's.
    pub sides: [String; 2],
    /// What an adapter would do, or what is missing.
    pub note: String,
    /// Where the contract says it.
    pub span: Option<Span>,
}

/// One row where everything fits, else one for each respect in which something does not: a model that needs an adapter must get one
/// before it is released.
///
/// `gate` is the spec that names the contract.
pub fn contract_rows(gate: &str, source: &Source, points: usize, unfit: &[Unfit]) -> Vec<Row> {
    let row = |found: String, verdict: Verdict, note: String, source: BudgetSource| Row {
        profile: gate.into(),
        metric: CONTRACT.into(),
        limit: "fits the pipeline".into(),
        level: "error".into(),
        figure: None,
        evidence: None,
        baseline: None,
        found,
        load: None,
        verdict,
        note,
        source,
        waiver: None,
        loosened: None,
    };
    if unfit.is_empty() {
        let all = format!("{points} points fit");
        return vec![row(all, Verdict::Pass, String::new(), place_of(source, Span::default()))];
    }
    let one = |u: &Unfit| {
        let [pipeline, model] = &u.sides;
        let found = format!("{}: the pipeline {pipeline}, the model {model}", u.what);
        row(found, Verdict::Fail, u.note.clone(), place_of(source, u.span.unwrap_or_default()))
    };
    unfit.iter().map(one).collect()
}
