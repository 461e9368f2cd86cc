//! Two releases, the second from beta towards everybody by what its devices report: advanced, halted, rolled back, replayed.
#![cfg(feature = "rollout")]

mod common;

use std::fs;

use common::{
    error, expect,
    fleet::{pointer, telemetry, usual},
    json, release_digits,
};
use plimsoll_record::{PointerState, Replay, RolloutStatus, Simulation};

#[test]
fn a_release_goes_on_by_evidence_and_back_by_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    fs::write(f.join("policy.toml"), usual()).unwrap();
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
    let status: RolloutStatus = serde_json::from_value(status).unwrap();
    assert!(status.anchored && !status.pending);
    assert_eq!(Some(&status.head), general.decision_sha256.as_ref());
    assert!(fs::read_to_string(f.join("page.html")).unwrap().contains("<svg"));

    telemetry(f, "general.jsonl", "general", "2026-11-09", 3, 20);
    let halt = json(f, 100, &["rollout", "decide", "--day", "2026-11-11", "--json"]);
    assert_eq!(halt["metrics"][0]["standing"], "harmful");
    assert!(error(f, 97, &["rollout", "advance"]).contains("halted"));
    assert!(expect(f, 0, &["rollout", "replay"]).contains("would have halted on 2026-11-11"));
    let replay: Replay = serde_json::from_value(json(f, 0, &["rollout", "replay", "--json"])).unwrap();
    assert_eq!((replay.schema.as_str(), replay.judgements.len()), (Replay::SCHEMA, 3));
    expect(f, 0, &["rollout", "rollback", "--reason", "too slow", "--by", "anna"]);
    for channel in ["beta", "general"] {
        let back = pointer(f, channel);
        assert_eq!((back.target.version.as_str(), back.state), ("1.0.0", PointerState::Active));
    }

    // A policy that is changed after the fact is not the one that was frozen; a decision that is taken out is missed.
    let frozen = f.join(".plimsoll/rollout/digits/policy.toml");
    fs::write(&frozen, usual().replace("1pp", "9pp")).unwrap();
    assert!(error(f, 97, &["rollout", "status"]).contains("frozen"));
    fs::write(&frozen, usual()).unwrap();
    fs::remove_file(f.join(".plimsoll/rollout/digits/decisions/000002.dsse.json")).unwrap();
    error(f, 98, &["rollout", "status"]);
}

#[test]
fn a_policy_is_rehearsed_without_any_device() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    fs::write(f.join("policy.toml"), usual()).unwrap();
    let harmless = json(f, 0, &["rollout", "simulate", "policy.toml", "--runs", "20", "--json"]);
    assert_eq!((&harmless["complete"], &harmless["halted"]), (&20.into(), &0.into()));
    let args = ["rollout", "simulate", "policy.toml", "--harm", "over-budget=2pp", "--runs", "20", "--json"];
    let harmful = json(f, 0, &args);
    assert_eq!((&harmful["halted"], &harmful["complete"]), (&20.into(), &0.into()));
    assert_eq!(harmful, json(f, 0, &args), "the same seed plays the same");
    let typed: Simulation = serde_json::from_value(harmful).unwrap();
    assert_eq!((typed.schema.as_str(), typed.runs), (Simulation::SCHEMA, 20));
    assert!(expect(f, 0, &["rollout", "sql"]).contains("GROUP BY device"));
}
