//! The search through the binary: what it leaves behind is whole however it ended, and can be repeated.

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use common::{error, expect, fixture, json};
use serde_json::Value;

/// A spec for the handwritten digits, with budgets that any machine keeps.
fn spec(folder: &Path, budget: &str, optimize: &str) {
    let spec = format!(
        "schema = 1\nprofiles = [\"any.toml\"]\n[release]\nname = \"digits\"\nversion = \"1.2.0\"\n\
         [model]\npath = {model:?}\n[data]\ncalibration = {calib:?}\nvalidation = {valid:?}\ntest = {test:?}\n\
         [margins]\naccuracy-drop = \"5pp\"\n{optimize}",
        model = fixture("digits", "model.onnx"),
        calib = fixture("digits", "calib.npz"),
        valid = fixture("digits", "valid.npz"),
        test = fixture("digits", "test.npz"),
    );
    fs::write(folder.join("plimsoll.toml"), spec).unwrap();
    let profile = format!("schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[budget]\n{budget}\n");
    fs::write(folder.join("any.toml"), profile).unwrap();
}

/// Four recipes, so that a search comes to its end.
const FOUR: &str = r#"
[[optimize.recipes]]
name = "int8-weights"
steps = [{ pass = "simplify" }, { pass = "quantize", scheme = "int8-weights" }, { pass = "strip-names" }]
[[optimize.recipes]]
name = "f16"
steps = [{ pass = "simplify" }, { pass = "quantize", scheme = "f16" }, { pass = "strip-names" }]
[[optimize.recipes]]
name = "pruned"
steps = [{ pass = "simplify" }, { pass = "prune", remove-macs = "20%", allocation = "global" }, { pass = "strip-names" }]
[[optimize.recipes]]
name = "both"
steps = [{ pass = "simplify" }, { pass = "prune", remove-macs = "20%", allocation = "global" }, { pass = "quantize", scheme = "int8" }]
"#;

fn read(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn ranking(folder: &Path) -> Value {
    serde_json::from_slice(&read(folder, "ranking.json")).unwrap()
}

/// Every file that a search has written can be read, whenever it was ended.
fn check_whole(folder: &Path) {
    for entry in walk(folder) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&entry).unwrap();
        if name.starts_with(".plimsoll-") {
            continue;
        } else if name.ends_with(".json") {
            serde_json::from_slice::<Value>(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        } else if name.ends_with(".onnx") {
            plimsoll_onnx::Model::from_bytes(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_search_is_repeated_from_its_cache_its_recording_and_its_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    spec(f, "artifact-size = \"40kB\"", FOUR);
    let first = json(f, 0, &["optimize", "plimsoll.toml", "-o", "out", "--json"]);
    assert_eq!(first["schema"], "plimsoll.ranking/1");
    assert_eq!(first["winner"], "both");
    let out = f.join("out");
    let (written, model) = (read(&out, "ranking.json"), read(&out, "winner.onnx"));
    let judged: Vec<&Value> = first["judged"].as_array().unwrap().iter().map(|j| &j["recipe"]).collect();
    assert_eq!(judged, ["both", "int8-weights"], "the winner and the runner-up alone touch the test data");

    // A second run is served from the cache: the times in it are those of the first.
    expect(f, 0, &["optimize", "plimsoll.toml", "-o", "out"]);
    assert_eq!(read(&out, "ranking.json"), written);
    // The recording alone gives the same, without a cache.
    fs::remove_dir_all(out.join("cache")).unwrap();
    expect(f, 0, &["optimize", "plimsoll.toml", "-o", "out", "--replay"]);
    assert_eq!(read(&out, "ranking.json"), written);
    assert_eq!(read(&out, "winner.onnx"), model);
    // And so does the recipe for the model.
    expect(f, 0, &["optimize", "plimsoll.toml", "-o", "again", "--recipe", "out/recipe.json"]);
    assert_eq!(read(&f.join("again"), "winner.onnx"), model);

    // What was searched is not what is asked for any more.
    spec(f, "artifact-size = \"41kB\"", FOUR);
    let message = error(f, 96, &["optimize", "plimsoll.toml", "-o", "out", "--replay"]);
    assert!(message.contains("has changed since"), "{message}");
}

#[test]
fn killed_at_any_moment_a_search_goes_on_to_the_same_winner() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    spec(f, "artifact-size = \"40kB\"", FOUR);
    for killed in 0..10u64 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .args(["optimize", "plimsoll.toml", "-o", "out"])
            .current_dir(f)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Moments that share no rhythm with the work.
        std::thread::sleep(Duration::from_millis(40 + (killed * 137) % 400));
        child.kill().unwrap();
        child.wait().unwrap();
        check_whole(&f.join("out"));
    }
    expect(f, 0, &["optimize", "plimsoll.toml", "-o", "out"]);
    check_whole(&f.join("out"));
    assert_eq!(ranking(&f.join("out"))["winner"], "both");
}

#[test]
fn shards_that_are_merged_rank_as_one_machine_does() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    spec(f, "artifact-size = \"40kB\"", FOUR);
    expect(f, 0, &["optimize", "plimsoll.toml", "-o", "one"]);
    for shard in ["1/3", "2/3", "3/3"] {
        expect(f, 0, &["optimize", "plimsoll.toml", "-o", "several", "--shard", shard]);
        assert!(!f.join("several/ranking.json").exists(), "a shard has chosen");
    }
    expect(f, 0, &["optimize", "plimsoll.toml", "-o", "several", "--merge"]);
    let [one, several] = ["one", "several"].map(|d| ranking(&f.join(d)));
    let order = |r: &Value| -> Vec<(String, String)> {
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let candidates = r["candidates"].as_array().unwrap().iter();
        candidates.map(|c| (text(&c["recipe"]["name"]), text(&c["model_digest"]))).collect()
    };
    assert_eq!(order(&one), order(&several));
    assert_eq!(one["winner"], several["winner"]);
    error(f, 2, &["optimize", "plimsoll.toml", "-o", "several", "--shard", "4/3"]);
    error(f, 2, &["optimize", "plimsoll.toml", "-o", "several", "--shard", "0/3"]);
}

#[test]
fn a_profile_that_cannot_be_met_names_its_binding_budget_and_the_nearest_candidate() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    spec(f, "artifact-size = \"1kB\"\nmacs = \"10M\"", FOUR);
    let message = error(f, 100, &["optimize", "plimsoll.toml", "-o", "out"]);
    assert!(message.contains("the nearest is both: artifact-size of any is"), "{message}");
    let ranking = ranking(&f.join("out"));
    assert_eq!(ranking["winner"], Value::Null);
    assert_eq!(ranking["choices"][0]["binding"]["metric"], "artifact-size");
    assert_eq!(ranking["judged"].as_array().unwrap().len(), 0, "nothing is worth touching the test data");
    assert!(!f.join("out/winner.onnx").exists());
}

#[test]
fn no_time_at_all_still_gives_a_valid_answer() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    spec(f, "artifact-size = \"400kB\"", "");
    let found = json(f, 0, &["optimize", "plimsoll.toml", "-o", "out", "--budget", "10ms", "--json"]);
    assert_eq!((&found["winner"], &found["complete"]), (&Value::from("original"), &Value::from(false)));
    // With the same folder and some time, it goes on to something smaller.
    let found = json(f, 0, &["optimize", "plimsoll.toml", "-o", "out", "--budget", "12s", "--json"]);
    assert_ne!(found["winner"], "original");
    let size = fs::metadata(f.join("out/winner.onnx")).unwrap().len();
    assert!(size < 20_000, "{size} bytes");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_the_best_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    spec(f, "artifact-size = \"400kB\"", "");
    let child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["optimize", "plimsoll.toml", "-o", "out", "--budget", "10m"])
        .current_dir(f)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It listens once it has read its files, which it has before the cache is there.
    let cache = f.join("out/cache");
    for _ in 0..600 {
        if cache.is_dir() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let ranking = ranking(&f.join("out"));
    assert_eq!(ranking["complete"], false);
    assert!(ranking["winner"].is_string());
}

#[test]
fn one_model_a_profile_is_chosen_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    spec(f, "artifact-size = \"400kB\"", &format!("[optimize]\nmodels = \"one-a-profile\"\n{FOUR}"));
    let profile = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[budget]\nagreement = { min = 1.0, tolerance = \"2%\" }\n";
    fs::write(f.join("strict.toml"), profile).unwrap();
    let text = fs::read_to_string(f.join("plimsoll.toml")).unwrap();
    fs::write(f.join("plimsoll.toml"), text.replace("[\"any.toml\"]", "[\"any.toml\", \"strict.toml\"]")).unwrap();
    expect(f, 0, &["optimize", "plimsoll.toml", "-o", "out"]);
    let ranking = ranking(&f.join("out"));
    let choices = ranking["choices"].as_array().unwrap();
    assert_eq!((&choices[0]["profile"], &choices[0]["winner"]), (&Value::from("any"), &Value::from("both")));
    assert_eq!(choices[1]["profile"], "strict");
    for profile in ["any", "strict"] {
        assert!(f.join(format!("out/winner-{profile}.onnx")).is_file());
        assert!(f.join(format!("out/recipe-{profile}.json")).is_file());
    }
}
