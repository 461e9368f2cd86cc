//! A device through the binary: it takes what was released, runs it, reports, and what it measured is taken as evidence.

mod common;

use std::fs;

use common::{error, expect, fixture, json, plimsoll_in, release_digits, root};

#[test]
fn a_device_follows_runs_reports_and_measures() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let digest = release_digits(here, "1.0.0")["release_digest"].as_str().unwrap().to_owned();
    let device = "schema = 1\n[device]\nid = \"d1\"\nstate = \"state\"\n[channel]\nrepository = \".plimsoll/repository/digits\"\n\
                  root = \"root.json\"\nname = \"digits\"\ntrial = true\n[budget]\nmemory = \"128MiB\"\nlatency = \"1s\"\n[run]\nshadow = \"10%\"\n";
    fs::write(here.join("device.toml"), device).unwrap();
    fs::copy(here.join(".plimsoll/repository/digits/metadata/1.root.json"), here.join("root.json")).unwrap();
    let none = error(here, 96, &["device", "run", "device.toml", "--data", &fixture("digits", "test.npz")]);
    assert!(none.contains("no model is installed") && none.contains("device sync"), "{none}");
    // Beta is not what this device follows.
    assert_eq!(json(here, 0, &["device", "sync", "device.toml", "--json"])["active"], serde_json::Value::Null);
    expect(here, 0, &["channel", "publish", "--channel", "general"]);
    let status = json(here, 0, &["device", "sync", "device.toml", "--json"]);
    assert_eq!(
        (status["action"].as_str(), status["active"]["release_digest"].as_str()),
        (Some("switched"), Some(&*digest))
    );
    assert!(status["reason"].as_str().unwrap().contains("shipped reference inputs"), "{status}");

    expect(here, 0, &["device", "run", "device.toml", "--data", &fixture("digits", "test.npz")]);
    assert_eq!(expect(here, 0, &["device", "report", "device.toml"]), "");
    let day = json(here, 0, &["device", "report", "device.toml", "--today"]);
    assert_eq!(
        (day["inferences"].as_u64(), day["crashes"].as_u64(), day["release"].as_str()),
        (Some(540), Some(0), Some(&*digest))
    );
    assert!(day["input_drift"].as_f64().unwrap() < 0.2, "{day}");

    let model = ".plimsoll/releases/digits-1.0.0/payload/model.onnx";
    let bench = [
        "device",
        "bench",
        "device.toml",
        "--budget",
        "0.3",
        "--sign",
        ".plimsoll/trial/signing.pem",
        "-o",
        "board.json",
    ];
    expect(here, 0, &bench);
    let profile = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[budget]\nallocations = 1_000_000\n";
    fs::write(here.join("board.toml"), profile).unwrap();
    let key = ".plimsoll/releases/digits-1.0.0/public_key.pem";
    let check = ["check", model, "--profile", "board.toml", "--evidence", "board.json", "--evidence-key", key];
    assert!(expect(here, 0, &check).contains("evidence 1"));

    // What is in the repository was changed: nothing is installed, and what runs goes on.
    let pointer = here.join(".plimsoll/repository/digits/metadata/timestamp.json");
    fs::write(&pointer, "{}").unwrap();
    let held = json(here, 98, &["device", "sync", "device.toml", "--json"]);
    assert_eq!((held["action"].as_str(), held["active"]["release_digest"].as_str()), (Some("held"), Some(&*digest)));
}

#[cfg(unix)]
#[test]
fn a_command_of_the_manual_of_devices_that_does_not_work_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for name in ["fixtures", "profiles"] {
        std::os::unix::fs::symlink(root().join(name), here.join(name)).unwrap();
    }
    let manual = fs::read_to_string(root().join("docs/devices.md")).unwrap();
    let (_, toml) = manual.split_once("```toml\n").unwrap();
    fs::write(here.join("device.toml"), toml.split_once("```").unwrap().0).unwrap();
    let commands: Vec<&str> = manual.lines().filter_map(|l| l.strip_prefix("$ cargo xtask ")).collect();
    assert!(commands.len() >= 6, "only {} commands were found", commands.len());
    for command in commands {
        let first = here.join(".plimsoll/repository/sleep-wake/metadata/1.root.json");
        if command.starts_with("device sync") {
            fs::copy(first, here.join("root.json")).unwrap();
        }
        let output = plimsoll_in(here, &command.split_whitespace().collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(0), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(here.join("board.json").is_file());
}
