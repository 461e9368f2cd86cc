//! What `prune` makes, tells and refuses, through the binary on a fixture.

mod common;

use common::{error, fixture, json};
use serde_json::Value;

/// Prunes the fixture with these options besides; what was printed.
fn check(options: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (fixture("digits", "model.onnx"), fixture("digits", "calib.npz"));
    let args = ["prune", &model, "-o", "pruned.onnx", "--data", &data, "--json"];
    let found = json(folder.path(), 0, &[&args[..], options].concat());
    assert!(folder.path().join("pruned.onnx").exists());
    found
}

fn removed(found: &Value, what: &str) -> f64 {
    let count = |side: &str| found[side][what].as_f64().unwrap();
    1.0 - count("after") / count("before")
}

/// The two numbers of the reason that says this.
fn divergence(found: &Value, says: &str) -> [f64; 2] {
    let reasons = found["passes"].as_array().unwrap().iter().flat_map(|p| p["reasons"].as_array().unwrap());
    let reason = reasons.filter_map(|r| r.as_str()).find(|r| r.contains(says));
    let reason = reason.unwrap_or_else(|| panic!("nothing says `{says}`: {found}"));
    let mut numbers = reason.rsplit(' ').filter_map(|w| w.parse::<f64>().ok());
    let (after, before) = (numbers.next().unwrap(), numbers.next().unwrap());
    [before, after]
}

#[test]
fn the_share_removed_lies_in_the_window_and_the_repair_brings_outputs_nearer() {
    for (option, what) in [("--remove-macs", "macs"), ("--remove-params", "params"), ("--remove-bytes", "bytes")] {
        let found = check(&[option, "30%", "--allocation", "sensitivity"]);
        let share = removed(&found, what);
        assert!((0.3..=0.32).contains(&share), "{option}: {share}");
        let [before, after] = divergence(&found, "refitted by least squares");
        assert!(after < 0.5 * before, "{option}: {before} {after}");
    }
}

#[test]
fn every_score_and_allocation_keeps_the_window() {
    for (score, allocation, repair) in [
        ("obs", "global", "least-squares"),
        ("thinet", "uniform", "none"),
        ("wanda", "global", "none"),
        ("magnitude", "sensitivity", "none"),
        ("obs", "search", "least-squares"),
    ] {
        let options = ["--remove-macs", "25%", "--score", score, "--allocation", allocation, "--repair", repair];
        let share = removed(&check(&options), "macs");
        assert!((0.25..=0.27).contains(&share), "{score}, {allocation}: {share}");
    }
}

#[test]
fn the_same_samples_and_seed_give_the_same_model() {
    let options = ["--remove-macs", "30%", "--seed", "5"];
    let digest = |found: &Value| found["after"]["model_digest"].as_str().unwrap().to_owned();
    assert_eq!(digest(&check(&options)), digest(&check(&options)));
}

#[test]
fn a_time_is_measured_and_kept_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let (model, data) = (fixture("digits", "model.onnx"), fixture("digits", "calib.npz"));
    let args = ["prune", &model, "-o", "pruned.onnx"];
    error(f, 2, &[&args[..], &["--max-latency", "2ms"]].concat());
    let args = [&args[..], &["--data", &data]].concat();
    error(f, 2, &[&args[..], &["--max-latency", "2"]].concat());
    let message = error(f, 97, &[&args[..], &["--max-latency", "100s"]].concat());
    assert!(message.contains("already"), "{message}");
    let message = error(f, 97, &[&args[..], &["--max-latency", "0.001us"]].concat());
    assert!(message.contains("still takes"), "{message}");
    assert!(!f.join("pruned.onnx").exists());
}

#[test]
fn what_needs_samples_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("digits", "model.onnx");
    let args = ["prune", &model, "-o", "pruned.onnx", "--remove-macs", "30%"];
    for options in [["--repair", "least-squares"], ["--score", "obs"], ["--allocation", "sensitivity"]] {
        let message = error(folder.path(), 97, &[&args[..], &options].concat());
        assert!(message.contains("calibration data are needed"), "{message}");
    }
    error(folder.path(), 2, &[&args[..], &["--repair", "pray"]].concat());
}
