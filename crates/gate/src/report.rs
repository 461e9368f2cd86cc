//! Rows become one report.

use plimsoll_record::{Report, Row, Verdict};

/// The report of a model. Rows of level `warn` are shown and decide nothing.
pub fn report(model: &str, model_digest: &str, rows: Vec<Row>, withheld: Vec<String>) -> Report {
    let mut decisive = rows.iter().filter(|r| r.level == "error").map(|r| &r.verdict).peekable();
    let verdict = match decisive.peek() {
        Some(_) => Verdict::of_several(decisive),
        None => Verdict::Skipped("no budget of level error applies".into()),
    };
    Report {
        schema: "plimsoll.report/1".into(),
        model: model.into(),
        model_digest: model_digest.into(),
        verdict,
        rows,
        withheld,
        endpoints: vec![],
    }
}
