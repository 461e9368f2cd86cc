//! Models on the same samples: their order, what is said of each, and samples that are not the same.

mod common;

use std::{fs, path::Path};

use common::{error, expect, floats, json, model, npy, small, write_model, write_npz};
use plimsoll_onnx::{Tensor, node};

/// `n` samples of two classes that the small model tells apart; `name` is what the array of features is called.
fn samples(folder: &Path, file: &str, name: &str, n: usize, shift: i64) {
    let x: Vec<f32> = (0..n).flat_map(|i| if i % 2 == 0 { [1.0, 0.0, 0.0] } else { [0.0, 1.0, 0.0] }).collect();
    let label: Vec<u8> = (0..n as i64).flat_map(|i| ((i + shift) % 2).to_le_bytes()).collect();
    write_npz(folder, file, &[(name, floats(&[n, 3], &x)), ("label", npy("<i8", &[n], &label))]);
}

fn spec(folder: &Path, name: &str, model: &str, test: &str, more: &str) -> String {
    let text = format!(
        "schema = 1\nprofiles = []\n[release]\nname = \"{name}\"\nversion = \"1.0.0\"\n[model]\npath = \"{model}\"\n\
         [data]\ntest = \"{test}\"\n[margins]\naccuracy-drop = \"20pp\"\n{more}"
    );
    let path = format!("{name}.toml");
    fs::write(folder.join(&path), text).unwrap();
    path
}

/// A model that is right, one that is wrong, and one that is right by a weight of its own.
fn three(folder: &Path) -> [String; 3] {
    samples(folder, "x.npz", "x", 40, 0);
    let good = write_model(folder, "good.onnx", &small());
    let linear = |weights: &[f32], file: &str| {
        let weight = Tensor::from_elements(&[3, 2], weights).unwrap();
        let made = model(vec![node::new("MatMul", &["x", "w"], &["y"])], vec![weight.to_proto("w")]);
        write_model(folder, file, &made)
    };
    [good, linear(&[-1.0, 0.0, 0.0, -1.0, 0.0, 0.0], "bad.onnx"), linear(&[2.0, 0.0, 0.0, 2.0, 0.0, 0.0], "other.onnx")]
}

#[test]
fn models_are_held_against_the_one_that_a_spec_names() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let [good, bad, other] = three(f);
    spec(f, "today", &good, "x.npz", "");
    let worse = spec(f, "worse", &bad, "x.npz", "[compare]\nbaseline = \"today.toml\"\n");
    let equal = spec(f, "equal", &other, "x.npz", "");
    // The baseline need not be given besides.
    let board = json(f, 0, &["compare", &worse, &equal, "--json", "-o", "board.html"]);
    assert_eq!(board["schema"], "plimsoll.leaderboard/1");
    let ranks: Vec<(&str, &str)> = board["places"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["model"].as_str().unwrap(), p["rank"].as_str().unwrap()))
        .collect();
    assert_eq!(ranks.last(), Some(&("worse 1.0.0", "worse")), "{ranks:?}");
    assert!(ranks.contains(&("equal 1.0.0", "not-worse")) && ranks.contains(&("today 1.0.0", "baseline")), "{ranks:?}");
    let page = fs::read_to_string(f.join("board.html")).unwrap();
    assert!(page.contains("The one to beat is <bdi>today 1.0.0</bdi>") && page.contains("</html>"));
    assert!(expect(f, 0, &["compare", &worse, &equal]).contains("not worse"));
    // Without a name the first is the baseline.
    let board = json(f, 0, &["compare", &equal, "today.toml", "--json"]);
    let equal = board["places"].as_array().unwrap().iter().find(|p| p["model"] == "equal 1.0.0").unwrap();
    assert_eq!((equal["rank"].as_str(), equal["loss"].is_null()), (Some("baseline"), true));
}

#[test]
fn another_feature_space_is_compared_and_other_samples_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let [good, ..] = three(f);
    let mut renamed = small();
    let graph = renamed.graph.as_mut().unwrap();
    graph.input[0].name = "features".into();
    graph.node.iter_mut().flat_map(|n| &mut n.input).filter(|i| *i == "x").for_each(|i| *i = "features".into());
    let renamed = write_model(f, "renamed.onnx", &renamed);
    samples(f, "features.npz", "features", 40, 0);
    samples(f, "fewer.npz", "x", 38, 0);
    samples(f, "relabelled.npz", "x", 40, 1);
    let today = spec(f, "today", &good, "x.npz", "");
    let wider = spec(f, "wider", &renamed, "features.npz", "");
    assert!(expect(f, 0, &["compare", &today, &wider]).contains("not worse"));
    for file in ["fewer.npz", "relabelled.npz"] {
        let other = spec(f, "other", &good, file, "");
        let message = error(f, 96, &["compare", &today, &other]);
        assert!(message.contains("the samples are not those of the baseline"), "{message}");
    }
}

#[test]
fn specs_that_do_not_agree_on_what_to_beat_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let [good, bad, _] = three(f);
    let today = spec(f, "today", &good, "x.npz", "[compare]\nbaseline = \"today.toml\"\n");
    let other = spec(f, "other", &bad, "x.npz", "[compare]\nbaseline = \"other.toml\"\n");
    assert!(error(f, 96, &["compare", &today, &other]).contains("let all specs name the same baseline"));
    let nowhere = spec(f, "nowhere", &bad, "x.npz", "[compare]\nbaseline = \"gone.toml\"\n");
    assert!(error(f, 96, &["compare", &nowhere]).contains("`gone.toml` does not exist"));
    let bare = spec(f, "bare", &bad, "x.npz", "");
    let text = fs::read_to_string(f.join(&bare)).unwrap().replace("[data]\ntest = \"x.npz\"\n", "");
    fs::write(f.join(&bare), text).unwrap();
    assert!(error(f, 96, &["compare", &bare]).contains("names no test data"));
}
