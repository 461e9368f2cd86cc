//! Arrows between crates go down only: layers as in ARCHITECTURE.md, within a layer none.

use std::{env, path::Path, process::Command};

const LAYERS: &[&[&str]] = &[
    &["onnx", "profile", "record", "stats", "trust", "lower"],
    &["dataset", "runtime", "cost", "remote"],
    &["transform", "measure"],
    &["gate"],
    &["optimize", "release", "rollout", "device"],
    &["cli"],
    &["benches"],
];

fn layer(package: &str) -> Option<usize> {
    let name = package.strip_prefix("plimsoll-")?;
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// Dependencies between crates of the workspace, as (from, to).
fn arrows() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--locked"];
    let output = Command::new(cargo).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        for dependency in package["dependencies"].as_array().unwrap() {
            // Tests may reach for whatever they need.
            if dependency["kind"] != "dev" && dependency["path"].is_string() {
                let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
                found.push((text(&package["name"]), text(&dependency["name"])));
            }
        }
    }
    found
}

#[test]
fn an_arrow_that_goes_up_or_sideways_is_found() {
    let arrows = arrows();
    assert!(arrows.len() > 20, "the workspace has more arrows than {arrows:?}");
    for (from, to) in arrows {
        let places = layer(&from).zip(layer(&to));
        let (from_layer, to_layer) = places.unwrap_or_else(|| panic!("{from} or {to} has no layer here"));
        assert!(from_layer > to_layer, "{from} (layer {from_layer}) must not depend on {to} (layer {to_layer})");
    }
}

#[test]
fn every_crate_has_a_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(layer(&format!("plimsoll-{name}")).is_some(), "crates/{name} has no layer");
    }
}

/// Names of what the agent of a device is built of, besides the toolchain's own.
fn linked_by_the_agent(features: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--locked", "--package", "plimsoll-device", "--features", features]);
    tree.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let output = tree.current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|l| Some(l.split_whitespace().next()?.to_owned())).collect()
}

#[test]
fn the_agent_of_a_device_links_nothing_of_the_optimizer_and_the_network_where_asked_for_alone() {
    let ours = ["dataset", "device", "lower", "onnx", "profile", "record", "runtime", "stats", "trust"];
    let heavy = ["faer", "rayon", "clap", "ort", "rusqlite", "parquet", "oci-client", "cryptoki"];
    let network = ["plimsoll-remote", "object_store", "reqwest"];
    for (features, is_networked) in [("", false), ("remote", true)] {
        let linked = linked_by_the_agent(features);
        let has = |name: &&str| linked.iter().any(|l| l == *name);
        for name in linked.iter().filter_map(|l| l.strip_prefix("plimsoll-")) {
            assert!(ours.contains(&name) || (is_networked && name == "remote"), "the agent links plimsoll-{name}");
        }
        assert_eq!(heavy.iter().find(|name| has(name)), None, "with the features `{features}`");
        assert!(network.iter().all(|name| has(name) == is_networked), "with the features `{features}`: {linked:?}");
        assert!(has(&"tract-onnx"), "{linked:?}");
    }
}
