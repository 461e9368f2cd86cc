//! Endpoints against their limits: pass, fail, inconclusive with the number of groups that would settle it, and the worst groups.

use plimsoll_gate::{Evidence, Scope, judge_spec, render, report};
use plimsoll_profile::Spec;
use plimsoll_record::{EndpointShift, Figure, GroupShift, Machine, NeededGroups, Report, Row, Verdict};

const DIGEST: &str = "sha256:model";

fn spec(shift: &str) -> Spec {
    let text = format!(
        "schema = 1\n[release]\nname = \"bed\"\nversion = \"1.0.0\"\n[model]\npath = \"m.onnx\"\nlabels = [\"sleep\", \"wake\"]\n[budget]\nmacs = 1\n\
         [endpoint.tst]\nof = \"total\"\nclass = \"sleep\"\nper = \"30s\"\nmax-shift.{shift}\n"
    );
    Spec::from_text("a/plimsoll.toml", &text).unwrap_or_else(|e| panic!("{}", e.render()))
}

fn figure(statistic: &str, value: f64, interval: Option<[f64; 2]>) -> Figure {
    Figure {
        metric: format!("endpoint.tst.shift.{statistic}"),
        value,
        unit: "s".into(),
        n: 24,
        interval,
        method: "for a test".into(),
        executor: "tract".into(),
        executor_version: "1".into(),
        machine: Machine { cpu: "a CPU".into(), isa: vec![], threads: 1 },
        build: "release".into(),
        model_digest: DIGEST.into(),
        data_digest: "sha256:data".into(),
        baseline_digest: "sha256:baseline".into(),
    }
}

fn shift() -> EndpointShift {
    let group = |group, model, baseline| GroupShift { group, model, baseline };
    EndpointShift {
        name: "tst".into(),
        what: "time spent in sleep|".into(),
        groups: 24,
        worst: vec![group(17, 21_600.0, 25_200.0), group(4, 1_830.0, 1_800.0)],
        never_in_model: (0..12).collect(),
        never_in_baseline: vec![],
        needed: vec![NeededGroups { metric: "endpoint.tst.shift.mean".into(), limit: 120.0, groups: Some(321) }],
    }
}

fn row(shift_limit: &str, figures: &[Figure], scope: Scope) -> Row {
    let shifts = [shift()];
    let evidence = Evidence { model_digest: DIGEST, figures, endpoints: &shifts, ..Evidence::default() };
    judge_spec(&spec(shift_limit), &evidence, scope).pop().unwrap()
}

fn check(limit: &str, figure: Figure, verdict: Verdict, note: &str) {
    let row = row(limit, &[figure], Scope::All);
    assert_eq!(row.verdict, verdict, "{row:?}");
    assert!(row.note.contains(note), "{row:?}");
}

#[test]
fn a_mean_may_lie_beyond_its_limit_on_neither_side() {
    let mean = |low: f64, high: f64| figure("mean", (low + high) / 2.0, Some([low, high]));
    let limit = "mean = \"2min\"";
    check(limit, mean(-100.0, 120.0), Verdict::Pass, "");
    check(limit, mean(-300.0, -121.0), Verdict::Fail, "shift most");
    check(limit, mean(121.0, 300.0), Verdict::Fail, "shift most");
    check(limit, mean(-130.0, 20.0), Verdict::Inconclusive, "about 321 groups would settle it");
    check(limit, mean(-500.0, 500.0), Verdict::Inconclusive, "straddles");
    let load = row(limit, &[mean(-300.0, -121.0)], Scope::All).load.unwrap();
    assert_eq!((load.limit, load.value, load.interval), (120.0, Some(210.5), Some([121.0, 300.0])));
}

#[test]
fn too_few_groups_settle_nothing() {
    let why = "24 groups are too few, 72 are needed";
    let bare = |statistic| Figure { method: format!("of a test; no interval: {why}"), ..figure(statistic, 0.0, None) };
    check("mean = \"2min\"", bare("mean"), Verdict::Inconclusive, why);
    check("p95 = \"2min\"", bare("p95"), Verdict::Inconclusive, why);
    check("p95 = \"2min\"", figure("p95", 60.0, Some([30.0, 110.0])), Verdict::Pass, "");
    check("p95 = \"2min\"", figure("p95", 600.0, Some([130.0, 900.0])), Verdict::Fail, "");
}

#[test]
fn the_largest_shift_is_exact() {
    check("max = \"2min\"", figure("max", 120.0, None), Verdict::Pass, "");
    check("max = \"2min\"", figure("max", 121.0, None), Verdict::Fail, "");
}

#[test]
fn a_figure_of_another_model_or_a_debug_build_or_none_settles_nothing() {
    let limit = "max = \"2min\"";
    check(
        limit,
        Figure { model_digest: "other".into(), ..figure("max", 0.0, None) },
        Verdict::Inconclusive,
        "--baseline",
    );
    check(limit, Figure { build: "debug".into(), ..figure("max", 0.0, None) }, Verdict::Inconclusive, "release build");
    assert!(matches!(row(limit, &[figure("max", 0.0, None)], Scope::CostOnly).verdict, Verdict::Skipped(_)));
    let withheld = ["endpoint.tst.shift.max: there is no baseline".to_owned()];
    let evidence = Evidence { model_digest: DIGEST, withheld: &withheld, ..Evidence::default() };
    let row = judge_spec(&spec(limit), &evidence, Scope::All).pop().unwrap();
    assert_eq!((row.verdict, row.note.as_str()), (Verdict::Inconclusive, "there is no baseline"));
}

#[test]
fn a_row_names_the_line_that_set_its_limit() {
    let row = row("max = { max = \"2min\", level = \"warn\" }", &[figure("max", 90.0, None)], Scope::All);
    assert_eq!((row.source.line, row.source.column, row.level.as_str()), (14, 25, "warn"));
    assert_eq!((row.limit.as_str(), row.found.as_str()), ("max 2min", "1.5 min, n 24"));
}

#[test]
fn the_worst_groups_are_told_with_both_values_and_names_stay_in_their_cells() {
    let rows = vec![row("max = \"2min\"", &[figure("max", 3600.0, None)], Scope::All)];
    let report = Report { endpoints: vec![shift()], ..report("m.onnx", DIGEST, rows, vec![]) };
    for text in [render::terminal(&report), render::markdown(&report)] {
        let line = text.lines().find(|l| l.contains("-60.0 min")).unwrap();
        assert!(["17", "360.0 min", "420.0 min"].iter().all(|v| line.contains(v)), "{text}");
        assert!(text.contains("30.5 min") && text.contains("+30.0 s"), "{text}");
        assert!(text.contains("0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"), "{text}");
        assert!(text.contains("length of the whole record"), "{text}");
    }
    assert!(render::markdown(&report).contains("sleep\\|"));
    let json = render::json(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}
