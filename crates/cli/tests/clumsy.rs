//! What goes wrong around a command: arguments out of range, outputs that lead nowhere, a stdout that takes nothing.

mod common;

use std::{fs, path::Path, process::Command};

use common::{error, expect, fixture, floats, npy, small, write_model, write_npz};

/// The run ends in `code`, and stderr says all of it.
#[track_caller]
fn check(folder: &Path, code: i32, args: &[&str], says: &[&str]) {
    let message = error(folder, code, args);
    says.iter().for_each(|s| assert!(message.contains(s), "`{s}` is not in\n{message}"));
}

#[test]
fn numbers_out_of_range_are_usage_errors_and_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let m = write_model(folder.path(), "m.onnx", &small());
    for (verb, option, value) in [
        ("bench", "--memory-limit", "10"),
        ("bench", "--time-limit", "0"),
        ("bench", "--threads", "0"),
        ("bench", "--batch", "0"),
        ("bench", "--budget", "nan"),
        ("inspect", "--batch", "0"),
        ("inspect", "--shape", "x"),
        ("inspect", "--shape", "x=ax3"),
    ] {
        check(folder.path(), 2, &[verb, &m, option, value], &[option]);
    }
}

#[test]
fn outputs_that_lead_nowhere_are_named_without_inner_names() {
    let folder = tempfile::tempdir().unwrap();
    let m = write_model(folder.path(), "m.onnx", &small());
    check(folder.path(), 96, &["simplify", &m, "-o", "no/such/o.onnx"], &["no/such/o.onnx", "is no folder", "help:"]);
    let message = error(folder.path(), 96, &["simplify", &m, "-o", "no/such/o.onnx"]);
    assert!(!message.contains(".plimsoll-"), "{message}");
}

#[test]
fn a_folder_in_place_of_a_file_is_an_error_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let m = write_model(folder.path(), "m.onnx", &small());
    check(folder.path(), 96, &["inspect", "."], &["failed to read .", "help:"]);
    check(folder.path(), 96, &["evaluate", &m, "--data", "."], &["bad-data", "help:"]);
    let spec = "schema = 1\nprofiles = []\n[release]\nname = \"a\"\nversion = \"1.0.0\"\n[model]\npath = \".\"\n";
    fs::write(folder.path().join("p.toml"), spec).unwrap();
    check(folder.path(), 96, &["check", "p.toml"], &["p.toml:7:8", "`.` is no file"]);
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_a_full_disk_swallows_are_no_success() {
    let m = fixture("digits", "model.onnx");
    let full = fs::File::create("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(["inspect", &m]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(96));
    assert!(String::from_utf8_lossy(&output.stderr).contains("failed to write to stdout"));
}

#[test]
fn shapes_given_by_hand_are_counted_and_held_against_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let m = write_model(folder.path(), "m.onnx", &small());
    assert!(expect(folder.path(), 0, &["inspect", &m, "--shape", "x=7x3"]).contains("42 MACs"));
    check(folder.path(), 96, &["inspect", &m, "--shape", "z=7x3"], &["`--shape z`", "(inputs: x)"]);
    check(folder.path(), 96, &["inspect", &m, "--shape", "x=7x4"], &["[batch, 3]", "help:"]);
}

#[test]
fn labels_that_are_texts_are_not_numbered_by_guess() {
    let folder = tempfile::tempdir().unwrap();
    let m = write_model(folder.path(), "m.onnx", &small());
    let label = npy("|S3", &[2], b"catdog");
    write_npz(folder.path(), "x.npz", &[("x", floats(&[2, 3], &[1.0; 6])), ("label", label)]);
    check(folder.path(), 96, &["evaluate", &m, "--data", "x.npz"], &["`label`", "texts", "class numbers"]);
}
