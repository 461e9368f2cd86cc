//! `prune --sparsity` and `--pattern` through the binary: zeros that are asked for, what makes up for them, what is refused.

mod common;

use common::{error, fixture, json};

/// Prunes the digits with these options; what was told about the weights.
fn check(folder: &std::path::Path, options: &[&str]) -> (Vec<String>, serde_json::Value) {
    let model = fixture("digits", "model.onnx");
    let found = json(folder, 0, &[&["prune", &model, "-o", "out.onnx", "--json"], options].concat());
    let passes = found["passes"].as_array().unwrap();
    let pass = passes.iter().find(|p| p["pass"] == "prune-weights").unwrap();
    let reasons = pass["reasons"].as_array().unwrap().iter().map(|r| r.as_str().unwrap().to_owned()).collect();
    (reasons, found)
}

#[test]
fn zeros_are_counted_and_promise_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let data = fixture("digits", "calib.npz");
    for (options, compensated) in [
        (&["--sparsity", "60%"][..], false),
        (&["--sparsity", "60%", "--data", &data], true),
        (&["--pattern", "2:4", "--data", &data], true),
        (&["--pattern", "2:4", "--data", &data, "--repair", "none"], false),
    ] {
        let (reasons, found) = check(folder.path(), options);
        let told = |text: &str| reasons.iter().any(|r| r.contains(text));
        assert_eq!(told("layers compensated"), compensated, "{options:?}: {reasons:?}");
        assert!(told("dense executors save no time") && told("bytes deflated before"), "{options:?}: {reasons:?}");
        assert_eq!(found["before"]["macs"], found["after"]["macs"], "{options:?}");
    }
}

#[test]
fn a_repair_of_the_other_kind_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (f, model) = (folder.path(), fixture("digits", "model.onnx"));
    let prune = ["prune", &model, "-o", "out.onnx"];
    let message = error(f, 96, &[&prune[..], &["--pattern", "2:4", "--repair", "distill"]].concat());
    assert!(message.contains("none or obs"), "{message}");
    let message = error(f, 96, &[&prune[..], &["--remove-macs", "20%", "--repair", "obs"]].concat());
    assert!(message.contains("least-squares"), "{message}");
    let message = error(f, 97, &[&prune[..], &["--pattern", "2:4", "--repair", "obs"]].concat());
    assert!(message.contains("--data"), "{message}");
    error(f, 2, &[&prune[..], &["--pattern", "4:2"]].concat());
    error(f, 2, &[&prune[..], &["--pattern", "2:4", "--sparsity", "50%"]].concat());
    assert!(!f.join("out.onnx").exists());
}
