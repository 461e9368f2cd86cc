//! Two releases, the second from beta towards everybody by what its devices report: advanced, halted, rolled back, replayed.
#![cfg(feature = "rollout")]

mod common;

use std::{fmt::Write as _, fs, path::Path};

use common::{error, expect, json, release_digits};
use plimsoll_profile::Day;
use plimsoll_record::{ChannelPointer, PointerState};

const POLICY: &str = r#"
schema = 1
name = "play"
holdback = "10%"
[plan]
fleet = 600
enrolled = 600
[beta]
soak = "8d"
[[stages]]
share = "20%"
soak = "3d"
[[stages]]
share = "100%"
soak = "3d"
[metrics.over-budget]
margin = "1pp"
max = "10%"
spread = "0.5pp"
[metrics.agreement]
margin = "5pp"
expected = "98%"
spread = "1pp"
"#;

fn pointer(folder: &Path, channel: &str) -> ChannelPointer {
    let status = json(folder, 0, &["channel", "status", "--json"]);
    let channels = status["channels"].as_array().unwrap();
    let found = channels.iter().find(|c| c["channel"] == channel).unwrap();
    serde_json::from_value(found["pointer"].clone()).unwrap()
}

/// What 600 devices of a channel report from a day on; devices with the release are over budget by so many inferences more.
fn telemetry(folder: &Path, file: &str, channel: &str, first: &str, days: i32, harm: u32) {
    let pointer = pointer(folder, channel);
    let previous = &pointer.previous.as_ref().unwrap().release_digest;
    let first = Day::parse(first).unwrap().number();
    let mut text = String::new();
    for (day, device) in (first..first + days).flat_map(|day| (0..600_u32).map(move |device| (day, device))) {
        let bucket = pointer.bucket(&format!("d{device}"));
        let (cohort, release, harm) = match (pointer.holds_back(bucket), pointer.takes(bucket)) {
            (true, _) => ("holdback", previous, 0),
            (_, true) => ("treatment", &pointer.target.release_digest, harm),
            _ => ("waiting", previous, 0),
        };
        let over = 20 + (device * 7 + day as u32) % 9 + harm;
        writeln!(
            text,
            r#"{{"kind":"device-day","schema":"plimsoll.telemetry/1","device":"d{device}","day":"{}","release":"{release}","cohort":"{cohort}","channel":"{channel}","inferences":1000,"over_budget":{over},"crashes":0,"restarts":0,"shadow":[100,{}]}}"#,
            Day::of_number(day).unwrap(),
            97 + device % 4,
        )
        .unwrap();
    }
    fs::write(folder.join(file), text).unwrap();
    let done = json(folder, 0, &["rollout", "ingest", file, "--day", "2026-12-30", "--json"]);
    assert_eq!((&done["taken"], &done["quarantined"]), (&(600 * days).into(), &serde_json::json!({})));
}

#[test]
fn a_release_goes_on_by_evidence_and_back_by_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    fs::write(f.join("policy.toml"), POLICY).unwrap();
    release_digits(f, "1.0.0");
    let start = ["rollout", "start", "--policy", "policy.toml", "--day", "2026-11-01", "--by", "anna"];
    assert!(error(f, 97, &start).contains("no release to compare with"));
    expect(f, 0, &["channel", "publish", "--channel", "general"]);
    release_digits(f, "1.1.0");
    assert!(error(f, 97, &["rollout", "decide"]).contains("no rollout has begun"));
    expect(f, 0, &start);
    assert_eq!(pointer(f, "beta").holdback_bp, 1_000);

    telemetry(f, "beta.jsonl", "beta", "2026-11-01", 8, 0);
    let hold = json(f, 102, &["rollout", "decide", "--day", "2026-11-05", "--json"]);
    assert_eq!(hold["missing"][0], "3 more days");
    assert!(error(f, 97, &["rollout", "advance"]).contains("3 more days"));
    expect(f, 0, &["rollout", "decide", "--day", "2026-11-08"]);
    expect(f, 0, &["rollout", "advance", "--day", "2026-11-09", "--by", "anna"]);
    let general = pointer(f, "general");
    assert_eq!((general.percent_bp, general.holdback_bp, general.target.version.as_str()), (2_000, 1_000, "1.1.0"));
    let status = json(f, 0, &["rollout", "status", "--json", "--html", "page.html"]);
    assert_eq!(
        (&status["anchored"], &status["head"]),
        (&true.into(), &general.decision_sha256.clone().unwrap().into())
    );
    assert!(fs::read_to_string(f.join("page.html")).unwrap().contains("<svg"));

    telemetry(f, "general.jsonl", "general", "2026-11-09", 3, 20);
    let halt = json(f, 100, &["rollout", "decide", "--day", "2026-11-11", "--json"]);
    assert_eq!(halt["metrics"][0]["standing"], "harmful");
    assert!(error(f, 97, &["rollout", "advance"]).contains("halted"));
    assert!(expect(f, 0, &["rollout", "replay"]).contains("would have halted on 2026-11-11"));
    expect(f, 0, &["rollout", "rollback", "--reason", "too slow", "--by", "anna"]);
    for channel in ["beta", "general"] {
        let back = pointer(f, channel);
        assert_eq!((back.target.version.as_str(), back.state), ("1.0.0", PointerState::Active));
    }

    // A policy that is changed after the fact is not the one that was frozen; a decision that is taken out is missed.
    let frozen = f.join(".plimsoll/rollout/digits/policy.toml");
    fs::write(&frozen, POLICY.replace("1pp", "9pp")).unwrap();
    assert!(error(f, 97, &["rollout", "status"]).contains("frozen"));
    fs::write(&frozen, POLICY).unwrap();
    fs::remove_file(f.join(".plimsoll/rollout/digits/decisions/000002.dsse.json")).unwrap();
    error(f, 98, &["rollout", "status"]);
}

#[test]
fn a_policy_is_rehearsed_without_any_device() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    fs::write(f.join("policy.toml"), POLICY).unwrap();
    let harmless = json(f, 0, &["rollout", "simulate", "policy.toml", "--runs", "20", "--json"]);
    assert_eq!((&harmless["complete"], &harmless["halted"]), (&20.into(), &0.into()));
    let args = ["rollout", "simulate", "policy.toml", "--harm", "over-budget=2pp", "--runs", "20", "--json"];
    let harmful = json(f, 0, &args);
    assert_eq!((&harmful["halted"], &harmful["complete"]), (&20.into(), &0.into()));
    assert_eq!(harmful, json(f, 0, &args), "the same seed plays the same");
    assert!(expect(f, 0, &["rollout", "sql"]).contains("GROUP BY device"));
}
