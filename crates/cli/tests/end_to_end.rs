//! Time end to end through the binary: commands of `bench`, and budgets of a spec whose pipeline names them.
#![cfg(unix)]

mod common;

use std::{fs, path::Path};

use common::{error, expect, floats, json, small, write_model, write_npz};

fn spec(folder: &Path, pipeline: &str, budget: &str) {
    let text = format!(
        "schema = 1\n[release]\nname = \"bed\"\nversion = \"1.0.0\"\n[model]\npath = \"m.onnx\"\n[data]\ntest = \"x.npz\"\n\
         [budget]\n{budget}\n{pipeline}"
    );
    fs::write(folder.join("plimsoll.toml"), text).unwrap();
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), "m.onnx", &small());
    write_npz(folder.path(), "x.npz", &[("x", floats(&[2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))]);
    folder
}

#[test]
fn bench_times_what_stands_around_the_model() {
    let folder = folder();
    let f = folder.path();
    let args = ["bench", "m.onnx", "--data", "x.npz", "--budget", "0.3", "--json"];
    let found = json(f, 0, &[&args[..], &["--before", "cat", "--after", "cat"]].concat());
    let names: Vec<&str> = found["figures"].as_array().unwrap().iter().filter_map(|f| f["metric"].as_str()).collect();
    assert!(names.contains(&"end-to-end.p99") && names.contains(&"latency.p99"), "{names:?}");
    let message = error(f, 96, &[&args[..], &["--after", "echo no such device >&2; exit 3"]].concat());
    assert!(message.contains("command-failed") && message.contains("exit status: 3: no such device"), "{message}");
}

#[test]
fn a_budget_holds_for_the_whole_step() {
    let folder = folder();
    let f = folder.path();
    let commands = "[pipeline]\nbefore = \"cat\"\nafter = \"sh after.sh\"\n";
    // Relative to the spec's folder.
    fs::write(f.join("after.sh"), "exec cat").unwrap();
    let check = ["check", "plimsoll.toml", "--budget", "0.3"];
    spec(f, commands, "end-to-end.p90 = \"10min\"");
    assert!(expect(f, 0, &check).contains("end-to-end.p90"));
    spec(f, commands, "end-to-end.p50 = \"1ns\"");
    expect(f, 100, &check);
    spec(f, commands, "end-to-end.p50 = { max-increase = \"1000%\" }");
    assert!(expect(f, 0, &check).contains("paired"));
}

#[test]
fn without_commands_a_budget_end_to_end_is_inconclusive_with_the_remedy() {
    let folder = folder();
    let f = folder.path();
    spec(f, "", "end-to-end.p50 = \"1s\"");
    let text = expect(f, 102, &["check", "plimsoll.toml", "--budget", "0.1", "--on-inconclusive", "fail"]);
    assert!(text.contains("name them in [pipeline]"), "{text}");
}

#[test]
fn samples_that_no_command_takes_are_refused_at_their_line() {
    let folder = folder();
    spec(folder.path(), "[pipeline]\nafter = \"cat\"\nsamples = \"x.npz\"\n", "end-to-end.p50 = \"1s\"");
    let message = error(folder.path(), 96, &["check", "plimsoll.toml"]);
    assert!(message.contains("no command `before`") && message.contains("plimsoll.toml:13"), "{message}");
}
