//! A model beside its baseline: how much worse it may be, and how the outcome reaches a script.

mod common;

use std::path::Path;

use common::{error, expect, floats, json, model, npy, small, write_model, write_npz};
use plimsoll_onnx::{Tensor, node};

/// 40 samples of two classes that the small model tells apart.
fn samples(folder: &Path) {
    let x: Vec<f32> = (0..40).flat_map(|i| if i % 2 == 0 { [1.0, 0.0, 0.0] } else { [0.0, 1.0, 0.0] }).collect();
    let label: Vec<u8> = (0..40i64).flat_map(|i| (i % 2).to_le_bytes()).collect();
    write_npz(folder, "x.npz", &[("x", floats(&[40, 3], &x)), ("label", npy("<i8", &[40], &label))]);
}

#[test]
fn a_margin_that_is_kept_exceeded_or_not_settled_has_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    samples(f);
    let m = write_model(f, "m.onnx", &small());
    let weight = Tensor::from_elements(&[3, 2], &[-1f32, 0.0, 0.0, -1.0, 0.0, 0.0]).unwrap();
    let swapped = model(vec![node::new("MatMul", &["x", "w"], &["y"])], vec![weight.to_proto("w")]);
    let swapped = write_model(f, "swapped.onnx", &swapped);
    let args = |model, margin| ["evaluate", model, "--data", "x.npz", "--baseline", m.as_str(), "--margin", margin];
    assert!(expect(f, 0, &args(&m, "accuracy-drop=20pp")).contains("pass  accuracy-drop within 0.2"));
    assert!(expect(f, 102, &args(&m, "accuracy-drop=1pp")).contains("samples would settle it"));
    assert!(expect(f, 100, &args(&swapped, "accuracy-drop=20pp")).contains("fail  accuracy-drop"));
    let found = json(f, 102, &[&args(&m, "accuracy-drop=1pp")[..], &["--json"]].concat());
    let drop = found["figures"].as_array().unwrap().iter().find(|f| f["metric"] == "accuracy-drop").unwrap();
    assert!(drop["method"].as_str().unwrap().contains("inconclusive"), "{drop}");
}

#[test]
fn margins_that_mean_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    samples(f);
    let m = write_model(f, "m.onnx", &small());
    let with = |margin| ["evaluate", &m, "--data", "x.npz", "--baseline", &m, "--margin", margin];
    for wrong in ["accuracy-drop", "accuracy-drop=-1pp", "accuracy-drop=NaN", "accuracy-drop=much"] {
        assert!(error(f, 2, &with(wrong)).contains("is no margin"), "{wrong}");
    }
    assert!(error(f, 96, &with("accuracy=1pp")).contains("accuracy-drop"));
    error(f, 2, &["evaluate", &m, "--data", "x.npz", "--margin", "accuracy-drop=1pp"]);
}
