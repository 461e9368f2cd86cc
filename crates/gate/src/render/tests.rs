//! Snapshots of every format, and hostile text in all of them. `INSTA_UPDATE=always` writes the snapshots again.

use plimsoll_profile::Profile;
use plimsoll_record::{EvidenceSource, Figure, Machine, Report, TakenOver};

use super::{json, markdown, terminal};
use crate::{Evidence, Scope, judge_profile, report};

const BUDGETS: &str = "schema = 1
kind = \"device\"
executor = \"tract\"
[hardware]
isa = [\"neon\"]
[budget]
accuracy-drop = \"0.5pp\"
artifact-size = \"256KiB\"   # flash
latency.p99 = { max = \"8ms\", max-increase = \"5%\", level = \"warn\" }
macs = { max = \"50M\", max-increase = \"10%\" }
";

fn figure(metric: &str, unit: &str, value: f64, interval: Option<[f64; 2]>) -> Figure {
    Figure {
        metric: metric.into(),
        value,
        unit: unit.into(),
        n: if interval.is_some() { 2283 } else { 1 },
        interval,
        method: "for a test".into(),
        executor: "tract".into(),
        executor_version: "1".into(),
        machine: Machine { cpu: "AMD EPYC".into(), isa: vec!["avx2".into()], threads: 1 },
        build: "release".into(),
        model_digest: "sha256:8f85726506aeb92a".into(),
        data_digest: "sha256:data".into(),
        baseline_digest: "sha256:baseline".into(),
    }
}

/// A report with a row of every verdict.
fn check(scope: Scope, model: &str) -> Report {
    with_evidence(scope, model, &[])
}

fn with_evidence(scope: Scope, model: &str, taken_over: &[TakenOver]) -> Report {
    let profile = Profile::from_text("profiles/bed.toml", BUDGETS).unwrap();
    let figures = [
        figure("artifact-size", "bytes", 314_214.0, None),
        figure("macs", "count", 2_540_000.0, None),
        figure("accuracy-drop", "share", 0.002, Some([-0.004, 0.009])),
        figure("latency.p99", "s", 0.001, Some([0.0009, 0.0012])),
        figure("latency.ratio", "ratio", 0.98, Some([0.97, 1.01])),
    ];
    let baseline = [figure("macs", "count", 2_500_000.0, None)];
    let withheld = ["auc: it needs two classes".to_owned()];
    let evidence = Evidence {
        model_digest: "sha256:8f85726506aeb92a",
        figures: &figures,
        taken_over,
        baseline: &baseline,
        withheld: &withheld,
        endpoints: &[],
    };
    let rows = judge_profile(&profile, &evidence, scope);
    report(model, evidence.model_digest, rows, withheld.to_vec())
}

#[test]
fn a_violated_budget_is_shown_with_its_line() {
    insta::assert_snapshot!("terminal", terminal(&check(Scope::All, "model.onnx")));
}

#[test]
fn skipped_budgets_say_why() {
    insta::assert_snapshot!("terminal_cost_only", terminal(&check(Scope::CostOnly, "model.onnx")));
}

#[test]
fn a_comment_names_file_and_line() {
    insta::assert_snapshot!("markdown", markdown(&check(Scope::All, "model.onnx")));
}

#[test]
fn figures_that_were_taken_over_are_named_with_file_and_signer() {
    let source = EvidenceSource { file: "bed|side.json".into(), signer: "3f2a9c".repeat(10) + "abcd" };
    let machine = Machine { cpu: "Cortex-A53".into(), isa: vec!["neon".into()], threads: 2 };
    let figure = Figure { machine, ..figure("latency.p99", "s", 0.005, Some([0.004, 0.006])) };
    let report = with_evidence(Scope::All, "model.onnx", &[TakenOver { figure, source: source.clone() }]);
    assert_eq!(report.rows.iter().find(|r| r.limit == "max 8ms").unwrap().evidence, Some(source));
    for text in [terminal(&report), markdown(&report)] {
        let marked = text.lines().find(|l| l.contains("(evidence 1)")).unwrap();
        assert!(marked.contains("latency.p99") && marked.contains("5 ms"), "{text}");
        let line = text.lines().find(|l| l.contains("evidence 1:")).unwrap();
        let said = ["side.json", "3f2a9c3f2a9c3f2a", "latency.p99", "tract 1 on Cortex-A53, 2 threads, release build"];
        assert!(said.iter().all(|s| line.contains(s)), "{line}");
        assert_eq!(text.matches("(evidence").count(), 1, "{text}");
    }
    assert!(markdown(&report).contains("bed\\|side.json"));
}

#[test]
fn json_is_read_back_equal() {
    let report = check(Scope::All, "model.onnx");
    let text = json(&report).unwrap();
    insta::assert_snapshot!("json", text);
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "a`|b<script>\u{1b}[2J\n| pass |";
    let mut report = check(Scope::All, hostile);
    for row in &mut report.rows {
        row.profile = hostile.into();
        row.found = hostile.into();
        row.note = hostile.into();
        row.source.text = hostile.into();
        row.source.file = hostile.into();
        row.evidence = Some(EvidenceSource { file: hostile.into(), signer: hostile.into() });
        row.source.column = u64::MAX;
        row.source.length = u64::MAX;
    }
    report.withheld = vec![hostile.into()];
    for text in [terminal(&report), markdown(&report), json(&report).unwrap()] {
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    let comment = markdown(&report);
    let table = comment.lines().filter(|l| l.starts_with('|')).count();
    assert_eq!(table, report.rows.len() + 2, "{comment}");
    for line in comment.lines() {
        let unescaped = line.replace("\\`", "");
        let outside_code: String = unescaped.split('`').step_by(2).collect();
        assert!(!outside_code.contains("<script>"), "{line}");
    }
}

#[test]
fn nothing_to_judge_is_said() {
    let empty = report("m", "", vec![], vec![]);
    assert!(terminal(&empty).contains("no budget of level error applies"));
    assert!(markdown(&empty).contains("no budget of level error applies"));
}
