//! Rows become one report.

use plimsoll_record::{Report, Row, Verdict};

/// What rows come to together.
pub fn verdict(rows: &[Row]) -> Verdict {
    let decisive: Vec<Verdict> = rows.iter().filter(|r| r.level == "error").map(Row::counts_as).collect();
    match decisive.is_empty() {
        false => Verdict::of_several(&decisive),
        true => Verdict::Skipped("no budget of level error applies".into()),
    }
}

/// The report of a model. Rows of level `warn` are shown and decide nothing; what is waived passes.
pub fn report(model: &str, model_digest: &str, rows: Vec<Row>, withheld: Vec<String>) -> Report {
    let verdict = verdict(&rows);
    Report {
        schema: "plimsoll.report/1".into(),
        model: model.into(),
        model_digest: model_digest.into(),
        verdict,
        rows,
        withheld,
        endpoints: vec![],
        changes: None,
        accepted: None,
        trend: vec![],
        remarks: vec![],
        forecast: vec![],
    }
}
