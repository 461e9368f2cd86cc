//! What `quantize` tells about nodes and other files, and what it refuses, through the binary on a fixture.

mod common;

use common::{error, fixture, floats, json, write_npz};

#[test]
fn explain_ranks_nodes_and_compares_with_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let (model, data) = (fixture("digits", "model.onnx"), fixture("digits", "calib.npz"));
    let other = ["quantize", &model, "-o", "other.onnx", "--scheme", "int8-weights", "--strip-names"];
    json(f, 0, &[&other[..], &["--json"]].concat());
    let args = ["quantize", &model, "-o", "int8.onnx", "--data", &data, "--repair", "none", "--strip-names", "--json"];
    let plain = json(f, 0, &args);
    assert!(plain.get("sensitivity").is_none() && plain.get("against").is_none());
    let found = json(f, 0, &[&args[..], &["--explain", "--against", "other.onnx"]].concat());
    let ranked = found["sensitivity"].as_array().unwrap();
    let divergence: Vec<f64> = ranked.iter().map(|r| r["damage"]["divergence"].as_f64().unwrap()).collect();
    assert!(ranked.len() > 3 && divergence.is_sorted_by(|a, b| a >= b) && divergence[0] > 0.0, "{divergence:?}");
    // What the ranking calls a node is what --exclude takes.
    let worst = ranked[0]["exclude"][0].as_str().unwrap();
    let without = json(f, 0, &[&args[..], &["--exclude", worst, "--explain"]].concat());
    assert_eq!(without["sensitivity"].as_array().unwrap().len() + 1, ranked.len());
    let against = &found["against"];
    assert_eq!(against["made"]["bytes"].as_u64(), found["after"]["bytes"].as_u64());
    assert_eq!(against["other"]["bytes"].as_u64().unwrap(), std::fs::metadata(f.join("other.onnx")).unwrap().len());
    // Weights alone move the outputs less than weights and activations.
    let sqnr = |side: &str| against[side]["damage"]["sqnr"].as_f64().unwrap();
    assert!(sqnr("other") > sqnr("made") && sqnr("made") > 10.0, "{against}");
}

#[test]
fn a_target_is_held_or_refused_and_never_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let (model, data) = (fixture("digits", "model.onnx"), fixture("digits", "calib.npz"));
    let args = ["quantize", &model, "-o", "out.onnx", "--repair", "none"];
    error(f, 2, &[&args[..], &["--min-agreement", "99%"]].concat());
    error(f, 2, &[&args[..], &["--data", &data, "--min-agreement", "990%"]].concat());
    error(f, 2, &[&args[..], &["--data", &data, "--against", "other.onnx"]].concat());
    let few = write_npz(f, "few.npz", &[("image", floats(&[3, 1, 8, 8], &[0.5; 192]))]);
    let message = error(f, 97, &[&args[..], &["--data", &few, "--min-agreement", "99%"]].concat());
    assert!(message.contains("too few to hold some back") && !f.join("out.onnx").exists(), "{message}");
    let held = json(f, 0, &[&args[..], &["--data", &data, "--min-agreement", "95%", "--json"]].concat());
    let reasons = held["passes"].as_array().unwrap().iter().flat_map(|p| p["reasons"].as_array().unwrap());
    let mut told = reasons.filter_map(|r| r.as_str()).filter(|r| r.contains("held-back samples"));
    assert!(told.any(|r| r.starts_with("agreement ") && r.contains("at least 95 %")));
}

#[test]
fn saved_scores_are_those_of_every_sample_and_never_take_the_place_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let (model, data) = (fixture("digits", "model.onnx"), fixture("digits", "test.npz"));
    let args = ["evaluate", &model, "--data", &data, "--metric", "accuracy", "--json", "--save-scores"];
    let found = json(f, 0, &[&args[..], &["scores.npy"]].concat());
    let samples = found["figures"][0]["n"].as_u64().unwrap() as usize;
    let bytes = std::fs::read(f.join("scores.npy")).unwrap();
    let header = String::from_utf8_lossy(&bytes[10..128]).into_owned();
    assert!(header.contains(&format!("({samples}, 10")), "{header}");
    assert_eq!(bytes.len(), 128 + samples * 10 * 8);
    let error = error(f, 96, &[&args[..4], &["--save-scores", &model]].concat());
    assert!(error.contains("one of the inputs"), "{error}");
}
