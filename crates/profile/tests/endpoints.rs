//! Endpoints of a spec: what they mean, and everything that is wrong with one at once.

use plimsoll_profile::{EndpointOf, Level, ShiftStatistic, Spec};

const SPEC: &str = "schema = 1\nprofiles = [\"p.toml\"]\n[release]\nname = \"a\"\nversion = \"1.0.0\"\n[model]\npath = \"m.onnx\"\nlabels = [\"sleep\", \"wake\"]\n";
const TOTAL: &str = "[endpoint.total]\nof = \"total\"\nclass = \"wake\"\nper = \"30s\"\n";
const ONSET: &str = "[endpoint.onset]\nof = \"onset\"\nclass = 0\nper = \"30s\"\nlasting = \"5min\"\n";
const SHIFT: &str = "max-shift.mean = \"2min\"\n";

fn read(text: &str) -> Spec {
    Spec::from_text("s.toml", &format!("{SPEC}{text}")).unwrap_or_else(|e| panic!("{}", e.render()))
}

/// One problem for each expectation, in the order of the file, each with a remedy.
fn check(text: &str, expected: &[&[&str]]) {
    let error = Spec::from_text("s.toml", &format!("{SPEC}{text}")).expect_err(text);
    let rendered = error.render();
    assert_eq!(error.problems().len(), expected.len(), "{rendered}");
    for (one, parts) in rendered.split("\n\n").zip(expected) {
        assert!(one.contains("help: ") && parts.iter().all(|p| one.contains(p)), "{parts:?} not in\n{one}");
    }
}

#[test]
fn endpoints_mean_what_they_say_and_remember_their_place() {
    let shifts = "max-shift.p95 = \"10min\"\nmax-shift.mean = { max = \"2min\", level = \"warn\" }\n";
    let spec = read(&format!("{TOTAL}{shifts}{ONSET}{SHIFT}"));
    let [onset, total] = spec.endpoints.as_slice() else { panic!("{:?}", spec.endpoints) };
    assert!(matches!(onset.of, EndpointOf::Onset { lasting } if lasting.0 == 300.0));
    assert_eq!((onset.class, onset.class_name.as_str(), onset.per.0), (0, "sleep", 30.0));
    assert_eq!((total.of, total.class, total.class_name.as_str()), (EndpointOf::Total, 1, "wake"));
    let [mean, p95] = total.limits.as_slice() else { panic!() };
    assert_eq!((mean.statistic, mean.seconds(), mean.level), (ShiftStatistic::Mean, 120.0, Level::Warn));
    assert_eq!((p95.statistic, p95.seconds(), p95.level), (ShiftStatistic::P95, 600.0, Level::Error));
    assert_eq!((p95.limit.words().as_str(), spec.source.slice(p95.limit.span)), ("max 10min", "\"10min\""));
    assert_eq!(total.figure(p95.statistic), "endpoint.total.shift.p95");
}

#[test]
fn a_class_is_a_number_where_the_model_names_no_labels() {
    let unlabelled = SPEC.replace("labels = [\"sleep\", \"wake\"]\n", "");
    let spec = Spec::from_text("s.toml", &format!("{unlabelled}{ONSET}{SHIFT}")).unwrap();
    assert_eq!(spec.endpoints[0].class_name, "class 0");
    let error = Spec::from_text("s.toml", &format!("{unlabelled}{TOTAL}{SHIFT}")).unwrap_err();
    assert!(error.render().contains("write `labels` in [model]"), "{}", error.render());
}

#[test]
fn classes_that_the_model_has_not_are_refused_with_the_nearest() {
    let with = |class: &str| format!("{}{SHIFT}", TOTAL.replace("\"wake\"", class));
    check(&with("\"wakes\""), &[&["no label `wakes`", "did you mean `wake`?", "sleep, wake"]]);
    check(&with("\"rem\""), &[&["no label `rem`", "sleep, wake"]]);
    check(&with("2"), &[&["no class 2", "2 classes"]]);
    for odd in ["-1", "0.5", "true", "[]"] {
        check(&with(odd), &[&["no class", "from 0"]]);
    }
}

#[test]
fn everything_that_is_wrong_with_an_endpoint_comes_at_once() {
    let wrong = "[endpoint.Night_1]\nof = \"totla\"\nclass = \"wake\"\nper = 30\nmax-shfit = 3\n";
    check(
        wrong,
        &[
            &["no name of an endpoint", "s.toml:9:"],
            &["`max-shift` is missing", "s.toml:9:"],
            &["no `totla`", "did you mean `total`?"],
            &["no unit"],
            &["unknown key `max-shfit` in `endpoint.Night_1`", "did you mean `max-shift`?"],
        ],
    );
}

#[test]
fn limits_that_limit_nothing_are_refused() {
    let with = |shift: &str| format!("{TOTAL}{shift}\n");
    check(&with("max-shift = \"2min\""), &[&["not a table"]]);
    check(&with("max-shift = {}"), &[&["sets no limit"]]);
    check(&with("max-shift.p59 = \"2min\""), &[&["unknown key `p59`", "did you mean `p95`?"]]);
    check(&with("max-shift.max = \"0s\""), &[&["zero"]]);
    check(&with("max-shift.max = 5"), &[&["no unit"]]);
    check(&with("max-shift.max = { level = \"warn\" }"), &[&["`max` is missing"]]);
    check(&with("max-shift.max = { max = \"1min\", levle = 3 }"), &[&["unknown key `levle`", "did you mean `level`?"]]);
}

#[test]
fn lasting_belongs_to_an_onset() {
    check(&format!("{TOTAL}lasting = \"5min\"\n{SHIFT}"), &[&["makes no sense for a total"]]);
    check(&format!("{}{SHIFT}", ONSET.replace("lasting = \"5min\"\n", "")), &[&["`lasting` is missing"]]);
}
