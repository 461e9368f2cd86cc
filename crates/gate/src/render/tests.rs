//! Snapshots of every format, and hostile text in all of them. `INSTA_UPDATE=always` writes the snapshots again.

use plimsoll_profile::Profile;
use plimsoll_record::{
    AcceptedBy, Changes, Check, EvidenceSource, Fault, Figure, Loosened, Machine, Moved, NodeMoved, Report, TakenOver,
    Trend, TrendPoint, Waived,
};

use super::{comment, github, json, junit, markdown, sarif, terminal};
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

pub(super) fn figure(metric: &str, unit: &str, value: f64, interval: Option<[f64; 2]>) -> Figure {
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

/// A change with something of everything: a budget that is violated, waived, loosened, a node that grew, a file that is broken.
pub(super) fn change() -> Check {
    let mut report = check(Scope::All, "bed/model.onnx");
    let waived = |in_force| Waived {
        until: "2026-12-31".into(),
        in_force,
        reason: "the next board".into(),
        signed_off_by: "Ada".into(),
        line: 9,
    };
    let size = report.rows.iter().position(|r| r.metric == "artifact-size").unwrap();
    let mut stricter = report.rows[size].clone();
    stricter.loosened = Some(Loosened { became: "now max 256KiB".into(), now_at: Some(stricter.source.clone()) });
    stricter.limit = "max 200KiB".into();
    stricter.source.text = "artifact-size = \"200KiB\"   # flash".into();
    let mut gone = stricter.clone();
    gone.loosened = Some(Loosened { became: "no longer limited".into(), now_at: None });
    gone.verdict = plimsoll_record::Verdict::Pass;
    gone.metric = "params".into();
    report.rows[size].waiver = Some(waived(true));
    report.rows[0].waiver = Some(waived(false));
    report.rows.extend([stricter, gone]);
    let node = |name: &str, before: Option<u64>, after: Option<u64>| NodeMoved {
        name: name.into(),
        op: "Conv".into(),
        macs_before: before,
        macs_after: after,
        bytes_before: before.map(|n| n / 10),
        bytes_after: after.map(|n| n / 10),
    };
    let moved =
        |metric: &str, unit: &str, before, after| Moved { metric: metric.into(), unit: unit.into(), before, after };
    report.changes = Some(Changes {
        since: "origin/main".into(),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        spec_before: "bed/plimsoll.toml".into(),
        files: vec!["bed/plimsoll.toml".into(), "bed/model.onnx".into()],
        moved: vec![
            moved("artifact-size", "bytes", Some(250_000.0), Some(314_214.0)),
            moved("macs", "count", None, Some(2_540_000.0)),
            moved("params", "count", Some(5.0), Some(5.0)),
        ],
        nodes: vec![node("conv1", Some(1000), Some(2000)), node("conv2", None, Some(10))],
    });
    report.accepted =
        Some(AcceptedBy { day: "2026-01-02".into(), reason: "first release".into(), model_digest: "sha256:0".into() });
    let points = [("2026-01-02", 250_000.0), ("", 314_214.0)];
    let points = points.map(|(day, value)| TrendPoint { day: day.into(), value }).to_vec();
    report.trend = vec![Trend { metric: "artifact-size".into(), unit: "bytes".into(), points }];
    report.remarks = vec!["the waiver of `macs` at bed/plimsoll.toml:12 is not needed".into()];
    let fault = Fault {
        target: "cot/plimsoll.toml".into(),
        message: "unknown key `budgets`".into(),
        help: "did you mean `budget`?".into(),
        file: "profiles/cot 1.toml".into(),
        line: 3,
        column: 7,
    };
    let without_place = Fault { target: "m.onnx".into(), message: "it is empty".into(), ..Fault::default() };
    let (reports, faults) = (vec![report], vec![fault, without_place]);
    let mut check = Check::new(Some("origin/main".into()), reports, faults, vec!["third/plimsoll.toml".into()]);
    check.removed = vec!["fourth/plimsoll.toml".into()];
    check
}

#[test]
fn a_change_is_told_in_every_format() {
    let check = change();
    insta::assert_snapshot!("comment", comment(&check));
    insta::assert_snapshot!("github", github(&check));
    insta::assert_snapshot!("junit", junit(&check));
    insta::assert_snapshot!("sarif", sarif(&check).unwrap());
    insta::assert_snapshot!("terminal_change", terminal(&check.reports[0]));
    let text = serde_json::to_string(&check).unwrap();
    assert_eq!(serde_json::from_str::<Check>(&text).unwrap(), check);
}

#[test]
fn a_comment_is_never_too_long_for_github() {
    let one = change();
    for (reports, rows, nodes) in [(1, 1, 30_000), (1, 2_000, 40), (300, 1, 40), (3, 4_000, 4_000)] {
        let mut check = one.clone();
        let report = &mut check.reports[0];
        report.rows = report.rows.iter().cycle().take(report.rows.len() * rows).cloned().collect();
        let changes = report.changes.as_mut().unwrap();
        changes.nodes = changes.nodes.iter().cycle().take(nodes).cloned().collect();
        check.reports = vec![report.clone(); reports];
        check.faults = one.faults.iter().cycle().take(2_000).cloned().collect();
        let text = comment(&check);
        assert!(text.chars().count() < 65_000, "{} characters", text.chars().count());
        assert!(text.starts_with("## plimsoll check: fail"));
        assert!(text.ends_with("`third/plimsoll.toml`\n"), "{}", &text[text.len() - 100..]);
    }
}

#[test]
fn what_only_warns_blocks_nothing() {
    let mut check = change();
    check.faults.clear();
    for row in &mut check.reports[0].rows {
        row.verdict = plimsoll_record::Verdict::Inconclusive;
        (row.level, row.waiver) = ("error".into(), None);
    }
    assert!(junit(&check).contains("failures=\"8\"") && github(&check).contains("::error "), "{}", junit(&check));
    check.inconclusive_warns = true;
    assert!(junit(&check).contains("failures=\"0\"") && !github(&check).contains("::error "), "{}", github(&check));
    assert!(!sarif(&check).unwrap().contains("\"level\": \"error\""));
}

#[test]
fn hostile_text_cannot_leave_its_place_in_any_format() {
    let hostile = "a]]>\"'<b>&%\n::error file=x::,y\u{1b}[2J\u{0}\u{ffff}";
    let mut check = change();
    let report = &mut check.reports[0];
    report.model = hostile.into();
    report.remarks = vec![hostile.into()];
    for row in &mut report.rows {
        (row.profile, row.found, row.note) = (hostile.into(), hostile.into(), hostile.into());
        (row.metric, row.limit) = (hostile.into(), hostile.into());
        (row.source.text, row.source.file) = (hostile.into(), hostile.into());
        (row.source.column, row.source.length, row.source.line) = (u64::MAX, u64::MAX, 0);
        row.waiver = row.waiver.clone().map(|w| Waived { reason: hostile.into(), signed_off_by: hostile.into(), ..w });
    }
    for fault in &mut check.faults {
        *fault = Fault { target: hostile.into(), message: hostile.into(), file: hostile.into(), ..fault.clone() };
    }
    let commands = github(&check);
    let (rows, faults) = (check.reports[0].rows.len(), check.faults.len());
    assert!(commands.lines().count() <= rows + faults + 3, "{commands}");
    assert!(commands.lines().all(|l| l.starts_with("::") || l.starts_with("plimsoll check")), "{commands}");
    assert!(!commands.contains('\u{1b}'), "{commands}");
    let xml = junit(&check);
    assert!(!xml.contains('\u{1b}') && !xml.contains('\u{0}') && !xml.contains('\u{ffff}'), "{xml}");
    assert!(!xml.contains("<b>") && xml.matches("<testcase ").count() == rows + faults, "{xml}");
    let log: serde_json::Value = serde_json::from_str(&sarif(&check).unwrap()).unwrap();
    assert!(log["runs"][0]["results"].as_array().unwrap().len() >= faults);
    assert!(!comment(&check).lines().any(|l| l.starts_with("::")), "{}", comment(&check));
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
