//! A gate never guesses: what settles a budget, and what does not.

use plimsoll_gate::{Evidence, Scope, Subject, judge_profile, judge_spec, report, wanted};
use plimsoll_profile::{Profile, Spec};
use plimsoll_record::{EvidenceSource, Figure, Machine, Row, Side, TakenOver, Verdict};
use proptest::prelude::*;

const DIGEST: &str = "sha256:model";

fn profile(budget: &str) -> Profile {
    let facts =
        "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[hardware]\nisa = [\"neon\"]\ncpu = \"*Zero 2*\"\n";
    let stream = "[stream]\nwindow = \"60s\"\nhop = \"2s\"\n";
    Profile::from_text("bed.toml", &format!("{facts}{stream}[budget]\n{budget}\n"))
        .unwrap_or_else(|e| panic!("{}", e.render()))
}

fn figure(metric: &str, unit: &str, value: f64, interval: Option<[f64; 2]>) -> Figure {
    Figure {
        metric: metric.into(),
        value,
        unit: unit.into(),
        n: 400,
        interval,
        method: String::new(),
        executor: "tract".into(),
        executor_version: "1".into(),
        machine: Machine { cpu: "Raspberry Pi Zero 2 W".into(), isa: vec!["neon".into()], threads: 1 },
        build: "release".into(),
        model_digest: DIGEST.into(),
        data_digest: "sha256:data".into(),
        baseline_digest: "sha256:baseline".into(),
    }
}

fn time(metric: &str, low: f64, value: f64, high: f64) -> Figure {
    figure(metric, "s", value, Some([low, high]))
}

fn size(bytes: f64) -> Figure {
    figure("artifact-size", "bytes", bytes, None)
}

fn rows(budget: &str, figures: &[Figure], baseline: &[Figure]) -> Vec<Row> {
    let withheld = ["latency.p99: 10 runs".into()];
    let evidence = Evidence { model_digest: DIGEST, figures, baseline, withheld: &withheld, ..Evidence::default() };
    judge_profile(&profile(budget), &evidence, Scope::All)
}

/// One limit: its verdict, and what its row says.
fn check(budget: &str, figures: &[Figure], baseline: &[Figure], verdict: Verdict, says: &str) {
    let rows = rows(budget, figures, baseline);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row.verdict, verdict, "{row:?}");
    let text = format!("{} | {} | {}", row.limit, row.found, row.note);
    assert!(text.contains(says), "`{says}` is not in {text}");
    numbers_agree(row);
}

/// What is drawn of a row says what its verdict says.
fn numbers_agree(row: &Row) {
    let load = row.load.as_ref().unwrap();
    let (Some(value), Pass | Fail) = (load.value, &row.verdict) else {
        assert!(row.verdict != Pass && row.verdict != Fail, "{row:?}");
        return;
    };
    let keeps = |x: &f64| match load.side {
        Side::Max => *x <= load.tolerated + load.tolerated.abs() * 1e-9,
        Side::Min => *x >= load.tolerated - load.tolerated.abs() * 1e-9,
    };
    let bounds = load.interval.unwrap_or([value; 2]);
    assert_eq!(bounds.iter().all(keeps), row.verdict == Pass, "{row:?}");
    assert_eq!(!bounds.iter().any(keeps), row.verdict == Fail, "{row:?}");
}

use Verdict::{Fail, Inconclusive, Pass};

#[test]
fn the_whole_interval_decides() {
    let p50 = "latency.p50 = \"8ms\"";
    check(p50, &[time("latency.p50", 0.006, 0.007, 0.008)], &[], Pass, "7 ms (6 ms … 8 ms), n 400");
    check(p50, &[time("latency.p50", 0.0081, 0.009, 0.01)], &[], Fail, "prune");
    check(p50, &[time("latency.p50", 0.006, 0.007, 0.0081)], &[], Inconclusive, "straddles");
    let accuracy = "accuracy = \"90%\"";
    let share = |low, high| figure("accuracy", "share", (low + high) / 2.0, Some([low, high]));
    check(accuracy, &[share(0.9, 0.95)], &[], Pass, "");
    check(accuracy, &[share(0.85, 0.89)], &[], Fail, "");
    check(accuracy, &[share(0.85, 0.95)], &[], Inconclusive, "more test samples");
}

#[test]
fn a_drop_is_judged_against_its_margin_by_its_whole_interval() {
    let drop = |low, value, high| figure("accuracy-drop", "share", value, Some([low, high]));
    for (low, value, high, verdict) in
        [(-0.01, 0.0, 0.005, Pass), (0.006, 0.01, 0.02, Fail), (-0.01, 0.004, 0.02, Inconclusive)]
    {
        check("accuracy-drop = \"0.5pp\"", &[drop(low, value, high)], &[], verdict, "max 0.5pp");
    }
}

#[test]
fn exact_figures_pass_at_the_limit_and_fail_above() {
    check("artifact-size = \"1KiB\"", &[size(1024.0)], &[], Pass, "1 KiB");
    check("artifact-size = \"1KiB\"", &[size(1025.0)], &[], Fail, "quantize");
}

#[test]
fn a_tolerance_widens_a_limit_and_is_seen() {
    let tolerant = "artifact-size = { max = \"1000B\", tolerance = \"2%\" }";
    check(tolerant, &[size(1000.0)], &[], Pass, "max 1000B (tolerance 2%) | 1 kB | ");
    check(tolerant, &[size(1020.0)], &[], Pass, "1.020 kB, within the tolerance");
    check(tolerant, &[size(1021.0)], &[], Fail, "quantize");
    let increase = "artifact-size = { max-increase = \"10%\", tolerance = 0.005 }";
    check(increase, &[size(1105.0)], &[size(1000.0)], Pass, "max-increase 10% (tolerance 0.500%)");
    check(increase, &[size(1106.0)], &[size(1000.0)], Fail, "+10.6 %");
    let accuracy = "accuracy = { min = \"90%\", tolerance = \"1%\" }";
    let share = |low, high| figure("accuracy", "share", (low + high) / 2.0, Some([low, high]));
    check(accuracy, &[share(0.892, 0.95)], &[], Pass, "within the tolerance");
    check(accuracy, &[share(0.85, 0.89)], &[], Fail, "");
    // Of an interval that lay above the limit, a part keeps the tolerance.
    let p50 = "latency.p50 = { max = \"8ms\", tolerance = \"5%\" }";
    check(p50, &[time("latency.p50", 0.0081, 0.009, 0.01)], &[], Inconclusive, "straddles");
    check(p50, &[time("latency.p50", 0.007, 0.008, 0.0083)], &[], Pass, "within the tolerance");
    check(p50, &[], &[], Inconclusive, "not measured");
}

#[test]
fn absent_figure_is_not_a_pass() {
    check("artifact-size = \"1KiB\"", &[], &[], Inconclusive, "no figure");
    check("latency.p99 = \"1ms\"", &[], &[], Inconclusive, "10 runs");
    check("latency.p90 = \"1ms\"", &[], &[], Inconclusive, "not measured");
    check("accuracy = 0.5", &[], &[], Inconclusive, "--data");
}

#[test]
fn figure_of_another_model_is_not_looked_at() {
    let other = Figure { model_digest: "sha256:other".into(), ..size(1.0) };
    check("artifact-size = \"1KiB\"", std::slice::from_ref(&other), &[], Inconclusive, "another model");
    check("artifact-size = \"1KiB\"", &[other, size(2048.0)], &[], Fail, "2 KiB");
}

#[test]
fn figure_of_another_machine_is_inconclusive_in_time_and_memory() {
    let x86 = Machine { cpu: "AMD EPYC".into(), isa: vec!["avx2".into()], threads: 1 };
    let away = |f: Figure| Figure { machine: x86.clone(), ..f };
    let fast = time("latency.p50", 1e-6, 1e-6, 1e-6);
    check("latency.p50 = \"8ms\"", &[away(fast.clone())], &[], Inconclusive, "AMD EPYC`, which has no neon");
    let slow = time("latency.p50", 1.0, 1.0, 1.0);
    check("latency.p50 = \"8ms\"", &[away(slow)], &[], Inconclusive, "no neon");
    check("peak-memory = \"8MiB\"", &[away(figure("peak-rss", "bytes", 1.0, None))], &[], Inconclusive, "no neon");
    let graviton = Machine { cpu: "Neoverse-V1".into(), isa: vec!["neon".into(), "sve".into()], threads: 1 };
    let near = Figure { machine: graviton, ..fast.clone() };
    check("latency.p50 = \"8ms\"", std::slice::from_ref(&near), &[], Inconclusive, "which is no `*Zero 2*`");
    // Evidence from the right machine settles it, wherever it stands in the list.
    check("latency.p50 = \"8ms\"", &[away(fast.clone()), near, fast], &[], Pass, "");
    // What compares within one run holds anywhere.
    let ratio = figure("latency.ratio", "ratio", 0.5, Some([0.4, 0.6]));
    check("latency.ratio = 1.0", &[away(ratio.clone())], &[], Pass, "0.500");
    // As far as both run the same plans.
    let lowered = Figure { executor_version: "1, lowered for avx2".into(), ..away(ratio) };
    check(
        "latency.ratio = 1.0",
        std::slice::from_ref(&lowered),
        &[],
        Pass,
        "in plans lowered for avx2, which are others",
    );
    check(
        "latency.p50 = { max-increase = \"5%\" }",
        &[lowered],
        &[],
        Pass,
        "in plans lowered for avx2, which are others",
    );
}

#[test]
fn figure_of_another_executor_or_a_debug_build_is_inconclusive() {
    let fast = time("latency.p50", 1e-6, 1e-6, 1e-6);
    let elsewhere = Figure { executor: "onnxruntime".into(), ..fast.clone() };
    check("latency.p50 = \"8ms\"", &[elsewhere], &[], Inconclusive, "--executor tract");
    let served = Profile::from_text(
        "server.toml",
        "schema = 1\nkind = \"server\"\nexecutor = \"onnxruntime\"\n[budget]\nlatency.p50 = \"8ms\"\n",
    )
    .unwrap();
    let figures = [fast.clone()];
    let evidence = Evidence { model_digest: DIGEST, figures: &figures, ..Evidence::default() };
    let row = judge_profile(&served, &evidence, Scope::All).remove(0);
    assert_eq!(row.verdict, Inconclusive);
    assert!(row.note.contains("--executor onnxruntime") && row.note.contains("--ort-lib"), "{}", row.note);
    let debug = Figure { build: "debug".into(), ..fast };
    check("latency.p50 = \"8ms\"", &[debug], &[], Inconclusive, "debug build");
}

#[test]
fn figures_that_are_no_figures_settle_nothing() {
    let p50 = "latency.p50 = \"8ms\"";
    check(p50, &[figure("latency.p50", "s", 1e-6, None)], &[], Inconclusive, "no interval");
    check(p50, &[figure("latency.p50", "ms", 1e-6, Some([1e-6, 1e-6]))], &[], Inconclusive, "in `ms`, not in `s`");
    check(p50, &[figure("latency.p50", "s", f64::NAN, Some([0.0, 0.0]))], &[], Inconclusive, "no finite number");
    check(p50, &[figure("latency.p50", "s", 1e-6, Some([1e-6, 0.0]))], &[], Inconclusive, "interval");
}

#[test]
fn increase_of_latency_is_judged_by_the_paired_ratio() {
    let budget = "latency.p50 = { max-increase = \"5%\" }";
    let ratio = |low, value, high| figure("latency.ratio", "ratio", value, Some([low, high]));
    let bare = [time("latency.p50", 0.001, 0.001, 0.001)];
    check(budget, &[ratio(0.9, 1.0, 1.05)], &[], Pass, "+0.0 % (-10.0 % … +5.0 %), paired");
    check(budget, &[ratio(1.06, 1.2, 1.3)], &[], Fail, "+20.0 %");
    check(budget, &[ratio(1.0, 1.04, 1.06)], &[], Inconclusive, "straddles");
    check(budget, &bare, &bare, Inconclusive, "--baseline");
}

#[test]
fn increase_of_a_size_needs_the_baseline() {
    let budget = "artifact-size = { max-increase = \"10%\" }";
    let base = |bytes| [Figure { model_digest: "sha256:base".into(), ..size(bytes) }];
    check(budget, &[size(1100.0)], &base(1000.0), Pass, "+10.0 %: 1.100 kB after 1 kB");
    check(budget, &[size(1101.0)], &base(1000.0), Fail, "+10.1 %");
    check(budget, &[size(1100.0)], &[], Inconclusive, "--baseline");
    check(budget, &[size(1100.0)], &base(0.0), Inconclusive, "zero");
    let cold = "cold-start = { max-increase = \"10%\" }";
    let other = Figure { machine: Machine::default(), ..time("cold-start", 1.0, 1.0, 1.0) };
    check(cold, &[time("cold-start", 1.0, 1.0, 1.0)], &[other], Inconclusive, "another machine");
    check(cold, &[time("cold-start", 1.0, 1.0, 1.05)], &[time("cold-start", 1.0, 1.0, 1.0)], Pass, "");
    check(cold, &[time("cold-start", 1.0, 1.1, 1.2)], &[time("cold-start", 0.9, 1.0, 1.1)], Inconclusive, "straddles");
}

#[test]
fn increase_is_judged_beside_the_baseline_of_the_same_executor_and_run() {
    let budget = "peak-memory = { max-increase = \"10%\" }";
    let peak = |bytes| figure("peak-rss", "bytes", bytes, None);
    let elsewhere = Figure { executor: "onnxruntime".into(), ..peak(1000.0) };
    check(budget, &[peak(1100.0)], &[elsewhere.clone(), peak(1000.0)], Pass, "+10.0 %");
    check(budget, &[peak(1200.0)], &[peak(1000.0), elsewhere.clone()], Fail, "+20.0 %");
    check(budget, &[peak(1000.0)], &[elsewhere], Inconclusive, "was taken in onnxruntime");
    // Evidence tells nothing of the baseline: what was measured here is compared, and is asked for.
    let light = peak(1.0);
    let (here, before, over) = ([peak(1200.0)], [peak(1000.0)], [taken_over(&light)]);
    let evidence =
        Evidence { model_digest: DIGEST, figures: &here, baseline: &before, taken_over: &over, ..Evidence::default() };
    assert_eq!(judge_profile(&profile(budget), &evidence, Scope::All).remove(0).verdict, Fail);
    assert_eq!(open(budget, &[light], &Machine::default()), ["peak-rss"]);
}

#[test]
fn every_drop_and_increase_needs_to_say_what_it_compares_with() {
    for (metric, unit, limit) in [
        ("balanced-accuracy-drop", "share", "\"1pp\""),
        ("auc-drop", "share", "\"1pp\""),
        ("f1-macro-drop", "share", "\"1pp\""),
        ("kappa-drop", "ratio", "0.01"),
        ("mae-increase", "target", "0.01"),
        ("rmse-increase", "target", "0.01"),
    ] {
        let budget = format!("{metric} = {limit}");
        let of = |low: f64, high: f64| figure(metric, unit, (low + high) / 2.0, Some([low, high]));
        check(&budget, &[of(-0.02, 0.01)], &[], Pass, "");
        check(&budget, &[of(0.02, 0.03)], &[], Fail, "milder recipe");
        check(&budget, &[of(-0.02, 0.03)], &[], Inconclusive, "about 21,000 samples");
        check(&budget, &[Figure { interval: None, ..of(0.0, 0.0) }], &[], Inconclusive, "no interval");
        let blank = Figure { baseline_digest: String::new(), ..of(-0.02, 0.01) };
        check(&budget, &[blank], &[], Inconclusive, "which model it compares with");
        check(&budget, &[], &[], Inconclusive, "--baseline");
    }
}

#[test]
fn metrics_of_models_and_rates_have_limits_on_the_side_that_is_worse() {
    let of = |metric, unit, low: f64, high: f64| [figure(metric, unit, (low + high) / 2.0, Some([low, high]))];
    check("f1-macro = \"90%\"", &of("f1-macro", "share", 0.91, 0.95), &[], Pass, "");
    check("kappa = 0.6", &of("kappa", "ratio", -0.1, 0.5), &[], Fail, "better model");
    check("mae = 0.5", &of("mae", "target", 0.4, 0.45), &[], Pass, "0.4250 (0.4000 … 0.4500)");
    check("rmse = 0.5", &of("rmse", "target", 0.6, 0.7), &[], Fail, "better model");
    check("mae = 0.5", &[], &[], Inconclusive, "labels are floats");
    check("output-cosine = 0.99", &of("output-cosine", "ratio", 0.995, 0.999), &[], Pass, "");
    check("latency.normalized = \"1ms\"", &of("latency.normalized", "s", 2e-3, 3e-3), &[], Fail, "prune");
    check("throughput.offline = 100", &of("throughput.offline", "1/s", 50.0, 60.0), &[], Fail, "more cores");
    check("throughput = 100", &of("throughput", "1/s", 150.0, 160.0), &[], Pass, "");
    let both = [of("throughput", "1/s", 150.0, 160.0), of("throughput.offline", "1/s", 150.0, 160.0)].concat();
    let rows = rows("throughput = { min = 100, offline = { min = 200, level = \"warn\" } }", &both, &[]);
    let found: Vec<_> = rows.iter().map(|r| (r.metric.as_str(), &r.verdict, r.level.as_str())).collect();
    assert_eq!(found, [("throughput", &Pass, "error"), ("throughput.offline", &Fail, "warn")]);
}

#[test]
fn real_time_factor_is_the_tail_over_the_hop() {
    let p99 = [time("latency.p99", 0.9, 1.0, 1.1)];
    check("real-time-factor = 0.6", &p99, &[], Pass, "0.500 (0.450 … 0.550)");
    check("real-time-factor = 0.4", &p99, &[], Fail, "");
}

#[test]
fn an_estimate_is_labelled_and_needs_no_machine() {
    let facts = "clock = \"1GHz\"\nmacs-per-cycle = { f32 = 4 }\nmemory-bandwidth = \"1GB/s\"\n";
    let head = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[hardware]\nisa = [\"neon\"]\n";
    let text = format!("{head}{facts}[budget]\nlatency.estimate = \"1ms\"\n");
    let profile = Profile::from_text("bed.toml", &text).unwrap();
    let nowhere = Figure { machine: Machine::default(), executor: "static".into(), ..size(1.0) };
    let figure = Figure { metric: "latency.estimate".into(), unit: "s".into(), value: 1e-3, ..nowhere };
    let evidence = Evidence { model_digest: DIGEST, figures: &[figure], ..Evidence::default() };
    for scope in [Scope::All, Scope::CostOnly] {
        let row = judge_profile(&profile, &evidence, scope).remove(0);
        assert_eq!((row.verdict, row.found.as_str()), (Pass, "1 ms, estimated"));
        assert!(row.note.contains("not a measurement"));
    }
}

#[test]
fn warnings_are_shown_and_decide_nothing() {
    let budget = "artifact-size = { max = 10, level = \"warn\" }\nmacs = 10";
    let macs = figure("macs", "count", 5.0, None);
    let rows = rows(budget, &[size(11.0), macs], &[]);
    assert_eq!(rows.iter().map(|r| r.verdict.clone()).collect::<Vec<_>>(), [Fail, Pass]);
    assert_eq!(report("m", DIGEST, rows, vec![]).verdict, Pass);
    let warned = judge_profile(&profile("macs = { max = 1, level = \"warn\" }"), &Evidence::default(), Scope::All);
    assert!(matches!(report("m", DIGEST, warned, vec![]).verdict, Verdict::Skipped(_)));
}

#[test]
fn skipped_only_when_not_asked_for() {
    let evidence = Evidence { model_digest: DIGEST, figures: &[size(1.0)], ..Evidence::default() };
    let budget = "artifact-size = 10\nmacs = 10\naccuracy = 0.5\nlatency.p50 = { max-increase = \"5%\" }";
    let rows = judge_profile(&profile(budget), &evidence, Scope::CostOnly);
    let skipped: Vec<&str> =
        rows.iter().filter(|r| matches!(r.verdict, Verdict::Skipped(_))).map(|r| r.metric.as_str()).collect();
    assert_eq!(skipped, ["accuracy", "latency.p50"]);
    assert_eq!(report("m", DIGEST, rows, vec![]).verdict, Inconclusive, "macs have no figure");
}

#[test]
fn margins_and_budgets_of_a_spec_hold_anywhere_and_name_their_line() {
    let text = "schema = 1\n[release]\nname = \"bed\"\nversion = \"1.0.0\"\n[model]\npath = \"m.onnx\"\n[margins]\nagreement = \"90%\"\n[budget]\nartifact-size = 10\n";
    let spec = Spec::from_text("a/plimsoll.toml", text).unwrap();
    let agreement = figure("agreement", "share", 0.95, Some([0.93, 0.97]));
    let evidence = Evidence { model_digest: DIGEST, figures: &[size(11.0), agreement], ..Evidence::default() };
    let rows = judge_spec(&spec, &evidence, Scope::All);
    let [margin, budget] = rows.as_slice() else { panic!() };
    assert_eq!((&margin.verdict, &budget.verdict), (&Pass, &Fail));
    let source = &budget.source;
    assert_eq!((source.file.as_str(), source.line, source.column, source.length), ("a/plimsoll.toml", 10, 17, 2));
    assert_eq!(source.text, "artifact-size = 10");
}

proptest! {
    #[test]
    fn nothing_but_a_whole_interval_within_the_limit_passes(low in 0.0f64..2.0, width in 0.0f64..2.0, limit in 0.001f64..2.0) {
        let high = low + width;
        let ms = (limit * 1e6).round() / 1e3;
        let figures = [time("latency.p50", low / 1e3, (low + high) / 2e3, high / 1e3)];
        let rows = rows(&format!("latency.p50 = \"{ms}us\""), &figures, &[]);
        let limit = ms * 1e-6;
        let expected = if high / 1e3 <= limit { Pass } else if low / 1e3 > limit { Fail } else { Inconclusive };
        prop_assert_eq!(&rows[0].verdict, &expected);
    }

    #[test]
    fn a_wider_interval_never_settles_what_a_narrower_left_open(low in 0.0f64..2.0, width in 0.0f64..1.0, more in 0.0f64..1.0) {
        let verdict = |low: f64, high: f64| {
            let figures = [figure("latency.ratio", "ratio", (low + high) / 2.0, Some([low, high]))];
            rows("latency.ratio = 1.0", &figures, &[]).remove(0).verdict
        };
        if verdict(low, low + width) == Inconclusive {
            prop_assert_eq!(verdict(low - more, low + width + more), Inconclusive);
        }
    }
}

fn taken_over(figure: &Figure) -> TakenOver {
    TakenOver { figure: figure.clone(), source: EvidenceSource { file: "e.json".into(), signer: "key".into() } }
}

#[test]
fn what_was_taken_over_goes_before_what_was_measured_but_not_before_what_settles() {
    let x86 = Machine { cpu: "AMD EPYC".into(), isa: vec!["avx2".into()], threads: 1 };
    let board = time("latency.p50", 0.006, 0.007, 0.008);
    let away = Figure { machine: x86, ..time("latency.p50", 1e-6, 1e-6, 1e-6) };
    let check = |over: &Figure, here: &[Figure], verdict, from_evidence: bool| {
        let taken_over = [taken_over(over)];
        let evidence = Evidence { model_digest: DIGEST, figures: here, taken_over: &taken_over, ..Evidence::default() };
        let row = judge_profile(&profile("latency.p50 = \"8ms\""), &evidence, Scope::All).remove(0);
        assert_eq!((&row.verdict, row.evidence.is_some()), (&verdict, from_evidence), "{row:?}");
    };
    check(&board, &[time("latency.p50", 0.1, 0.1, 0.1)], Pass, true);
    check(&away, std::slice::from_ref(&board), Pass, false);
    check(&away, &[], Inconclusive, true);
    check(&Figure { model_digest: "sha256:other".into(), ..board.clone() }, &[], Inconclusive, false);
    check(&Figure { build: "debug".into(), ..board }, &[], Inconclusive, true);
}

#[test]
fn a_figure_that_does_not_say_what_it_compares_with_or_was_taken_on_settles_nothing() {
    let ratio = figure("latency.ratio", "ratio", 0.5, Some([0.4, 0.6]));
    let agreement = figure("agreement", "share", 1.0, Some([0.99, 1.0]));
    for f in [&ratio, &agreement] {
        let budget = if f.metric == "agreement" { "agreement = 0.9" } else { "latency.ratio = 1.0" };
        check(budget, std::slice::from_ref(f), &[], Pass, "");
        let blank = Figure { baseline_digest: String::new(), ..f.clone() };
        check(budget, &[blank], &[], Inconclusive, "which model it compares with");
    }
    let blank = Figure { data_digest: String::new(), ..agreement };
    check("agreement = 0.9", &[blank], &[], Inconclusive, "on which data");
}

/// Metrics of the figures that are still to be measured.
fn open(budget: &str, over: &[Figure], here: &Machine) -> Vec<&'static str> {
    let taken_over: Vec<TakenOver> = over.iter().map(taken_over).collect();
    let evidence = Evidence { model_digest: DIGEST, taken_over: &taken_over, ..Evidence::default() };
    let profile = profile(budget);
    wanted(&Subject::profile(&profile), &evidence, here).into_iter().map(|w| w.metric.figure()).collect()
}

#[test]
fn nothing_is_measured_again_but_where_this_machine_knows_better() {
    let p50 = time("latency.p50", 0.006, 0.007, 0.008);
    let board = p50.machine.clone();
    let x86 = Machine { cpu: "AMD EPYC".into(), isa: vec!["avx2".into()], threads: 1 };
    let away = Figure { machine: x86.clone(), ..p50.clone() };
    let budget = "artifact-size = \"1KiB\"\nlatency.p50 = { max = \"8ms\", max-increase = \"5%\" }";
    assert_eq!(open(budget, &[], &x86), ["latency.p50", "latency.ratio"]);
    assert_eq!(open(budget, std::slice::from_ref(&p50), &x86), ["latency.ratio"]);
    let budget = "latency.p50 = \"8ms\"";
    assert!(open(budget, std::slice::from_ref(&away), &x86).is_empty(), "a run here would settle it no more");
    assert_eq!(open(budget, std::slice::from_ref(&away), &board), ["latency.p50"]);
    assert!(open(budget, &[away, p50.clone()], &board).is_empty());
    let other = Figure { executor: "onnxruntime".into(), ..p50 };
    assert_eq!(open(budget, &[other], &board), ["latency.p50"]);
    let unsure = figure("accuracy", "share", 0.9, None);
    assert_eq!(open("accuracy = 0.5", &[unsure], &x86), ["accuracy"]);
}
