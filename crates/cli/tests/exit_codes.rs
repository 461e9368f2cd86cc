//! Exit codes are a contract: 0 pass · 2 usage · 96 bad input · 97 refused · 98 verification · 100 gate · 102 inconclusive.

mod common;

use std::{fs, path::Path};

use common::{error, expect, json, model, small, write_model};
use plimsoll_onnx::node;

/// A profile with one budget.
fn profile(folder: &Path, name: &str, cpu: &str, budget: &str) -> String {
    let text = format!(
        "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[hardware]\ncpu = \"{cpu}\"\n[budget]\n{budget}\n"
    );
    fs::write(folder.join(name), text).unwrap();
    name.into()
}

#[test]
fn each_outcome_has_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let m = write_model(f, "m.onnx", &small());
    expect(f, 0, &["inspect", &m]);
    expect(f, 0, &["--help"]);
    expect(f, 0, &["--version"]);
    error(f, 2, &["inspect"]);
    error(f, 2, &["no-such-verb"]);
    error(f, 2, &["explain", "no-such-code"]);
    error(f, 2, &["prune", &m, "-o", "out.onnx", "--remove-macs", "130%"]);
    error(f, 2, &["bench", &m, "--budget", "NaN"]);
    error(f, 96, &["inspect", "none.onnx"]);
    // Nothing in it has weights that could be stored in fewer bits.
    let weightless = write_model(f, "relu.onnx", &model(vec![node::new("Relu", &["x"], &["y"])], vec![]));
    let message = error(f, 97, &["quantize", &weightless, "-o", "out.onnx", "--scheme", "f16"]);
    assert!(message.contains("error[pass-refused]") && !f.join("out.onnx").exists(), "{message}");
    let loose = profile(f, "loose.toml", "*", "artifact-size = \"1MiB\"");
    let tight = profile(f, "tight.toml", "*", "artifact-size = \"10B\"");
    let foreign = profile(f, "foreign.toml", "no machine has this name", "latency.p50 = \"1h\"");
    expect(f, 0, &["check", &m, "--profile", &loose]);
    expect(f, 100, &["check", &m, "--profile", &tight]);
    expect(f, 102, &["check", &m, "--profile", &foreign, "--budget", "0.1"]);
    expect(f, 0, &["check", &m, "--profile", &foreign, "--budget", "0.1", "--on-inconclusive", "warn"]);
    // Of several, the first in the documented order decides, and every target is reported.
    expect(f, 100, &["check", &m, "--profile", &tight, "--profile", &foreign, "--budget", "0.1"]);
    let out = expect(f, 96, &["check", &m, "none.onnx", "--profile", &tight]);
    assert!(out.contains("artifact-size"), "{out}");
}

#[cfg(feature = "rollout")]
#[test]
fn a_rollout_keeps_to_the_codes() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let policy = plimsoll_example("policy.toml");
    error(f, 2, &["rollout", "decide", "--day", "tomorrow"]);
    error(f, 2, &["rollout", "halt"]);
    error(f, 96, &["rollout", "simulate", "none.toml"]);
    fs::write(f.join("old.toml"), policy.replace("alpha = 0.05", "alpha = 0.05\nkeys = 2")).unwrap();
    let message = error(f, 96, &["rollout", "simulate", "old.toml"]);
    assert!(message.contains("`keys` is not the policy's to say") && message.contains("threshold"), "{message}");
    fs::write(f.join("policy.toml"), policy).unwrap();
    expect(f, 0, &["rollout", "simulate", "policy.toml", "--runs", "1"]);
    // 0, 97, 98, 100 and 102 of a rollout that has begun: crates/cli/tests/rollout.rs.
    error(f, 96, &["rollout", "status", "--repository", "none"]);
}

#[cfg(feature = "rollout")]
fn plimsoll_example(name: &str) -> String {
    fs::read_to_string(common::root().join("docs/examples").join(name)).unwrap()
}

#[test]
fn a_violated_budget_points_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let m = write_model(f, "m.onnx", &small());
    let tight = profile(f, "tight.toml", "*", "artifact-size = \"10B\"");
    let out = expect(f, 100, &["check", &m, "--profile", &tight]);
    assert!(out.contains("tight.toml:7:17") && out.contains("\"10B\"") && out.contains("^^^"), "{out}");
    let report = json(f, 100, &["check", &m, "--profile", &tight, "--json"]);
    assert_eq!(report["schema"], "plimsoll.report/1");
    assert_eq!(report["verdict"], "fail");
    assert_eq!(report["rows"][0]["source"]["line"], 7);
    let markdown = expect(f, 100, &["check", &m, "--profile", &tight, "--format", "markdown"]);
    assert!(markdown.contains('|') && markdown.contains("tight.toml"), "{markdown}");
}

#[test]
fn every_code_has_a_page_and_every_verb_a_manual() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let list = expect(f, 0, &["explain"]);
    let codes: Vec<&str> = list.lines().skip(2).filter_map(|l| l.split_whitespace().next()).collect();
    assert!(codes.len() > 10, "{list}");
    for code in codes {
        assert!(expect(f, 0, &["explain", code]).starts_with(&format!("# {code}: ")));
    }
    let verbs = ["init", "doctor", "inspect", "simplify", "quantize", "prune", "optimize", "evaluate", "bench"];
    let rollout: &[&str] = if cfg!(feature = "rollout") { &["rollout"] } else { &[] };
    for verb in verbs
        .into_iter()
        .chain(["check", "release", "verify", "channel", "device", "explain"])
        .chain(rollout.iter().copied())
    {
        let manual = expect(f, 0, &[verb, "--help"]);
        assert!(manual.lines().count() > 8, "the manual of {verb} is short:\n{manual}");
    }
}

#[test]
fn json_on_stdout_is_a_document_with_a_schema() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let m = write_model(f, "m.onnx", &small());
    for (schema, args) in [
        ("plimsoll.inspect/1", vec!["inspect", &m, "--json"]),
        ("plimsoll.transformation/1", vec!["simplify", &m, "-o", "s.onnx", "--json"]),
        ("plimsoll.figures/1", vec!["bench", &m, "--json", "--budget", "0.1"]),
        ("plimsoll.doctor/1", vec!["doctor", "--json"]),
    ] {
        assert_eq!(json(f, 0, &args)["schema"], schema);
    }
}
