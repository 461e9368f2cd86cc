//! Endpoints of a spec through the binary: what users feel decides beside what samples score.

mod common;

use std::{fs, path::Path};

use common::{error, expect, floats, json, model, npy, small, write_model, write_npz};
use plimsoll_onnx::{Tensor, node};

/// Six nights of eight samples; the first half of each is class 0 of the small model.
fn nights(folder: &Path, grouped: bool) {
    let one = |i: i64| if i % 8 < 4 { [1.0, 0.0, 0.0] } else { [0.0, 1.0, 0.0] };
    let x: Vec<f32> = (0..48).flat_map(one).collect();
    let numbers =
        |of: fn(i64) -> i64| npy("<i8", &[48], &(0..48).flat_map(|i| of(i).to_le_bytes()).collect::<Vec<u8>>());
    let mut members = vec![("x", floats(&[48, 3], &x)), ("label", numbers(|i| i64::from(i % 8 >= 4)))];
    members.extend(grouped.then(|| ("group", numbers(|i| 40 + i / 8))));
    write_npz(folder, "x.npz", &members);
}

fn spec(folder: &Path) {
    let text = "schema = 1\n[release]\nname = \"bed\"\nversion = \"1.0.0\"\n[model]\npath = \"m.onnx\"\nlabels = [\"sleep\", \"wake\"]\n\
                [data]\ntest = \"x.npz\"\n[budget]\nartifact-size = \"1MiB\"\n\
                [endpoint.waking]\nof = \"onset\"\nclass = \"wake\"\nper = \"30s\"\nlasting = \"1min\"\nmax-shift.mean = \"50s\"\nmax-shift.max = \"50s\"\n";
    fs::write(folder.join("plimsoll.toml"), text).unwrap();
}

#[test]
fn a_shift_that_users_feel_fails_the_gate_and_names_the_worst_groups() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    nights(f, true);
    spec(f);
    write_model(f, "m.onnx", &small());
    let weight = Tensor::from_elements(&[3, 2], &[-1f32, 0.0, 0.0, -1.0, 0.0, 0.0]).unwrap();
    let swapped = model(vec![node::new("MatMul", &["x", "w"], &["y"])], vec![weight.to_proto("w")]);
    let swapped = write_model(f, "swapped.onnx", &swapped);
    let args = ["check", "plimsoll.toml", "--budget", "0.5"];
    // Beside itself nothing shifts.
    expect(f, 0, &args);
    // The other wakes at once where this one wakes after two minutes.
    let against = [&args[..], &["--baseline", &swapped]].concat();
    let text = expect(f, 100, &against);
    let worst = text.lines().find(|l| l.trim_start().starts_with("40")).unwrap_or_else(|| panic!("{text}"));
    assert!(["2.0 min", "0.0 s", "+2.0 min"].iter().all(|v| worst.contains(v)), "{text}");
    let markdown = expect(f, 100, &[&against[..], &["--format", "markdown"]].concat());
    assert!(markdown.contains("| 40 | 2.0 min | 0.0 s | +2.0 min |"), "{markdown}");
    let report = json(f, 100, &[&against[..], &["--json"]].concat());
    assert_eq!(report["endpoints"][0]["worst"].as_array().unwrap().len(), 5);
    let rows = report["rows"].as_array().unwrap();
    let row = |statistic| rows.iter().find(|r| r["metric"] == format!("endpoint.waking.shift.{statistic}")).unwrap();
    assert_eq!((&row("max")["verdict"], &row("max")["figure"]["value"]), (&"fail".into(), &120.0.into()));
    // Six nights say nothing of a mean, though these agree.
    let (mean, note) = (row("mean"), row("mean")["note"].as_str().unwrap());
    assert_eq!((&mean["verdict"], &mean["figure"]["value"]), (&"inconclusive".into(), &120.0.into()));
    assert!(note.contains("50 are needed"), "{note}");
}

#[test]
fn data_without_groups_are_refused_where_the_spec_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    nights(f, false);
    spec(f);
    write_model(f, "m.onnx", &small());
    let message = error(f, 96, &["check", "plimsoll.toml"]);
    assert!(message.contains("endpoint `waking`") && message.contains("plimsoll.toml:9:8"), "{message}");
}

/// Through `evaluate`, of a spec and of a candidate beside it.
#[test]
fn evaluate_takes_the_endpoints_of_the_spec() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    nights(f, true);
    spec(f);
    let own = write_model(f, "m.onnx", &small());
    let weight = Tensor::from_elements(&[3, 2], &[-1f32, 0.0, 0.0, -1.0, 0.0, 0.0]).unwrap();
    let swapped = model(vec![node::new("MatMul", &["x", "w"], &["y"])], vec![weight.to_proto("w")]);
    let swapped = write_model(f, "swapped.onnx", &swapped);
    let found = |args: &[&str]| {
        let found = json(f, 0, &[&["evaluate"], args, &["--json"]].concat());
        let figures = found["figures"].as_array().unwrap().clone();
        let shift = figures.iter().find(|f| f["metric"] == "endpoint.waking.shift.mean");
        (shift.map(|f| f["value"].as_f64().unwrap()), found["endpoints"].as_array().map_or(0, Vec::len))
    };
    assert_eq!(found(&["plimsoll.toml", "--baseline", &swapped]), (Some(120.0), 1));
    // The candidate against the model that the spec beside it names, on the spec's test data.
    assert_eq!(found(&[&swapped, "--baseline", &own]), (Some(-120.0), 1));
    assert_eq!(found(&[&own, "--data", "x.npz"]), (None, 0));
    let text = expect(f, 0, &["evaluate", "plimsoll.toml", "--baseline", &swapped]);
    assert!(text.contains("group     40  waking: 120.000 s, by the baseline 0 s, shift 120.000 s"), "{text}");
    // A spec that names another model has nothing to say of these.
    fs::rename(f.join("m.onnx"), f.join("other.onnx")).unwrap();
    let message = error(f, 96, &["evaluate", &swapped]);
    assert!(message.contains("no samples") && message.contains("--data"), "{message}");
}

#[test]
fn data_without_groups_are_refused_where_a_spec_is_named_and_evaluated_where_it_only_lies_there() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    nights(f, false);
    spec(f);
    let own = write_model(f, "m.onnx", &small());
    assert!(error(f, 96, &["evaluate", "plimsoll.toml", "--baseline", &own]).contains("`group`"));
    assert!(error(f, 0, &["evaluate", &own, "--baseline", &own, "--data", "x.npz"]).contains("are left out"));
}
