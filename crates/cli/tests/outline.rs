//! Models whose weights are absent: what can be counted is counted and said to be counted, everything else is refused.

mod common;

use std::fs;

use common::{error, expect, fixture, json, model, plimsoll_in, value, write_model};
use plimsoll_onnx::{
    node,
    proto::{Message, ModelProto, NodeProto, StringStringEntryProto, TensorProto, tensor_proto},
};

const PROFILE: &str = r#"
schema = 1
kind = "device"
executor = "tract"
[hardware]
cores = 1
clock = "1GHz"
memory-bandwidth = "1GB/s"
macs-per-cycle = { f32 = 4, i8 = 8 }
[budget]
artifact-size = "1MB"
artifact-size-zstd = { max = "1MB", level = "warn" }
macs = 100
params = 100
memory-size = "1KiB"
peak-activation-memory = "1KiB"
latency.estimate = "1ms"
latency.p99 = "1ms"
accuracy = "90%"
"#;

fn weights() -> Vec<NodeProto> {
    vec![node::new("MatMul", &["x", "w"], &["y"])]
}

fn declared() -> TensorProto {
    TensorProto { name: "w".into(), data_type: 1, dims: vec![3, 2], ..Default::default() }
}

/// The three ways in which weights are absent, each with what is said of it.
fn outlines() -> Vec<(&'static str, ModelProto, &'static str)> {
    let external = TensorProto {
        data_location: tensor_proto::DataLocation::EXTERNAL.into(),
        external_data: vec![StringStringEntryProto {
            key: "location".into(),
            value: "gone.data".into(),
            ..Default::default()
        }],
        ..declared()
    };
    let mut fed = model(weights(), vec![]);
    fed.graph.mut_or_insert_default().input.push(value("w", &[3, 2]));
    vec![
        ("declared.onnx", model(weights(), vec![declared()]), "declared without data"),
        ("external.onnx", model(weights(), vec![external]), "`gone.data` is not there"),
        ("fed.onnx", fed, "an input of the graph"),
    ]
}

#[test]
fn inspect_counts_an_outline_and_says_what_is_absent() {
    let folder = tempfile::tempdir().unwrap();
    for (name, proto, says) in outlines() {
        write_model(folder.path(), name, &proto);
        let found = json(folder.path(), 0, &["inspect", name, "--json"]);
        let totals = &found["totals"];
        assert_eq!(
            (&totals["macs"], &totals["params"], &totals["bytes"]),
            (&6.into(), &6.into(), &24.into()),
            "{name}"
        );
        assert_eq!((&totals["peak_activation_bytes"], &totals["loaded_bytes"]), (&20.into(), &24.into()), "{name}");
        assert!(found["zstd_bytes"].is_null() && found["file_bytes"].as_u64().unwrap() > 24, "{name}");
        assert!(found["absent"][0]["reason"].as_str().unwrap().contains(says), "{name}: {found}");
        let output = plimsoll_in(folder.path(), &["inspect", name]);
        let note = String::from_utf8_lossy(&output.stderr);
        assert!(note.contains("weights are absent: `w`") && note.contains(says), "{note}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("not known (1 weights are absent)"), "{name}");
    }
}

#[test]
fn check_cost_only_answers_what_is_known_and_names_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), PROFILE).unwrap();
    for (name, proto, says) in outlines() {
        write_model(folder.path(), name, &proto);
        let args = ["check", name, "--profile", "small.toml", "--cost-only"];
        let report = json(folder.path(), 0, &[args.as_slice(), &["--json"]].concat());
        let verdict = |metric: &str| {
            let rows = report["rows"].as_array().unwrap();
            let row = rows.iter().find(|r| r["metric"] == metric).unwrap_or_else(|| panic!("{metric}: {report}"));
            row["verdict"].clone()
        };
        for known in ["artifact-size", "macs", "params", "memory-size", "peak-activation-memory", "latency.estimate"] {
            assert_eq!(verdict(known), "pass", "{name}: {known}");
        }
        assert_eq!(verdict("artifact-size-zstd"), "inconclusive", "{name}");
        for run in ["latency.p99", "accuracy"] {
            assert!(verdict(run).to_string().contains("skipped"), "{name}: {run} is {}", verdict(run));
        }
        let output = plimsoll_in(folder.path(), &args);
        let note = String::from_utf8_lossy(&output.stderr);
        assert!(note.contains("weights are absent") && note.contains(says) && note.contains("accuracy"), "{note}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("`w` is absent"), "{name}");
    }
}

#[test]
fn a_budget_that_an_outline_breaks_fails() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), PROFILE.replace("macs = 100", "macs = 5")).unwrap();
    let (name, proto, _) = outlines().remove(0);
    write_model(folder.path(), name, &proto);
    expect(folder.path(), 100, &["check", name, "--profile", "small.toml", "--cost-only"]);
}

#[test]
fn every_other_verb_refuses_weights_without_data() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    fs::write(f.join("small.toml"), PROFILE).unwrap();
    let data = fixture("digits", "calib.npz");
    for (name, proto, _) in outlines().into_iter().take(2) {
        write_model(f, name, &proto);
        let verbs: [&[&str]; 6] = [
            &["check", name, "--profile", "small.toml"],
            &["simplify", name, "-o", "out.onnx"],
            &["quantize", name, "-o", "out.onnx"],
            &["prune", name, "-o", "out.onnx", "--sparsity", "50%"],
            &["bench", name],
            &["evaluate", name, "--data", &data],
        ];
        for verb in verbs {
            let message = error(f, 96, verb);
            assert!(message.contains("`w`") && message.contains("check --cost-only"), "{message}");
        }
        assert!(!f.join("out.onnx").exists());
    }
}

#[test]
fn a_spec_may_name_an_outline_where_only_costs_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    fs::write(f.join("small.toml"), PROFILE).unwrap();
    fs::write(f.join("model.onnx"), outlines().remove(0).1.write_to_bytes().unwrap()).unwrap();
    let spec = r#"
schema = 1
profiles = ["small.toml"]
[release]
name = "idea"
version = "0.1.0"
[model]
path = "model.onnx"
"#;
    fs::write(f.join("plimsoll.toml"), spec).unwrap();
    expect(f, 0, &["check", "plimsoll.toml", "--cost-only"]);
    assert!(error(f, 96, &["check", "plimsoll.toml"]).contains("check --cost-only"));
}

#[test]
fn every_budget_on_what_is_counted_has_a_figure() {
    let folder = tempfile::tempdir().unwrap();
    let counted = [
        "artifact-size",
        "artifact-size-zstd",
        "params",
        "macs",
        "macs.f32",
        "macs.f16",
        "macs.i8",
        "weight-bytes",
        "memory-size",
        "peak-activation-memory",
        "peak-activation-memory.in-place",
    ];
    let head = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[budget]\narithmetic-intensity = 0.01\n";
    let limits = counted.map(|metric| format!("\"{metric}\" = {{ max = \"900M{}\" }}\n", unit(metric))).concat();
    fs::write(folder.path().join("all.toml"), format!("{head}{limits}")).unwrap();
    let digits = fixture("digits", "model.onnx");
    let report = json(folder.path(), 0, &["check", &digits, "--profile", "all.toml", "--cost-only", "--json"]);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), counted.len() + 1, "{report}");
    assert!(rows.iter().all(|row| row["verdict"] == "pass"), "{report}");
}

/// What stands behind a number of millions.
fn unit(metric: &str) -> &'static str {
    if metric.starts_with("macs") || metric == "params" { "" } else { "B" }
}
