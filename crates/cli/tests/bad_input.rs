//! Bad input gets a clear error, exit code 96, and nothing is written.

mod common;

use std::{fs, path::Path};

use common::{error, fixture, floats, model, npy, small, value, write_model, write_npz};
use plimsoll_onnx::{
    Tensor, node,
    proto::{AttributeProto, GraphProto, Message, StringStringEntryProto, attribute_proto, tensor_proto},
};

/// Runs a verb on a model that is no good: 96, a code with a manual page, the file named, a remedy, no output.
#[track_caller]
fn check(folder: &Path, code: &str, args: &[&str], says: &[&str]) {
    let output = folder.join("out.onnx");
    let message = error(folder, 96, args);
    assert!(message.starts_with(&format!("error[{code}]: ")), "{message}");
    assert!(message.contains(&format!("plimsoll explain {code}")), "{message}");
    says.iter().for_each(|s| assert!(message.contains(s), "`{s}` is not in:\n{message}"));
    assert!(!output.exists(), "something was written");
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|n| !n.to_string_lossy().starts_with(".plimsoll")), "{left:?}");
}

#[track_caller]
fn check_model(folder: &Path, bytes: &[u8], code: &str, says: &[&str]) {
    fs::write(folder.join("bad.onnx"), bytes).unwrap();
    for verb in ["simplify", "quantize"] {
        check(folder, code, &[verb, "bad.onnx", "-o", "out.onnx", "--data", "x.npz"], &[says, &["bad.onnx"]].concat());
    }
    check(folder, code, &["inspect", "bad.onnx"], says);
}

#[test]
fn files_that_are_no_model_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(fixture("digits", "model.onnx")).unwrap();
    check_model(folder.path(), b"", "bad-model", &["empty", "help:"]);
    check_model(folder.path(), &whole[..whole.len() / 2], "bad-model", &["not a valid ONNX model", "help:"]);
    check_model(folder.path(), b"\x89PNG\r\n\x1a\n not a model at all", "bad-model", &["not a valid ONNX model"]);
    check_model(folder.path(), &[0u8; 4096], "bad-model", &["bad.onnx"]);
    // Field 7 (graph), length-delimited, 2 GiB - 1 bytes that are not there.
    check_model(
        folder.path(),
        &[0x08, 0x08, 0x3a, 0xff, 0xff, 0xff, 0xff, 0x07],
        "bad-model",
        &["not a valid ONNX model"],
    );
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = GraphProto { name: "innermost".into(), ..Default::default() };
    for _ in 0..2_000 {
        let attribute = AttributeProto {
            name: "then_branch".into(),
            type_: attribute_proto::AttributeType::GRAPH.into(),
            g: Some(graph).into(),
            ..Default::default()
        };
        let nested = node::with("If", &["x"], &["y"], vec![attribute]);
        graph = GraphProto { name: "g".into(), node: vec![nested], ..Default::default() };
    }
    // Writing and dropping such a thing recurses as well: on a stack that is large enough.
    let bytes = std::thread::Builder::new()
        .stack_size(512 << 20)
        .spawn(move || {
            let mut deep = small();
            deep.graph = Some(graph).into();
            deep.write_to_bytes().unwrap()
        })
        .unwrap()
        .join()
        .unwrap();
    check_model(folder.path(), &bytes, "bad-model", &["not a valid ONNX model"]);
}

#[test]
fn graphs_that_are_not_whole_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = vec![
        node::new("Add", &["x", "b"], &["a"]),
        node::new("Relu", &["a"], &["b"]),
        node::new("Relu", &["a"], &["y"]),
    ];
    check_model(folder.path(), &model(nodes, vec![]).write_to_bytes().unwrap(), "bad-model", &["cycle"]);
    let nodes = vec![node::new("Relu", &["nowhere"], &["y"])];
    check_model(folder.path(), &model(nodes, vec![]).write_to_bytes().unwrap(), "bad-model", &["nowhere"]);
    let mut short = small();
    short.graph.mut_or_insert_default().initializer[0].raw_data.truncate(7);
    check_model(folder.path(), &short.write_to_bytes().unwrap(), "bad-model", &["`w`"]);
}

#[test]
fn external_data_that_are_missing_or_lie_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("secret.bin");
    let inside = folder.path().join("models");
    fs::create_dir(&inside).unwrap();
    fs::write(&outside, [0u8; 24]).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&outside, inside.join("link.bin")).unwrap();
    for (location, says) in [
        ("weights.bin", "weights.bin"),
        ("../secret.bin", "../secret.bin"),
        ("link.bin", "link.bin"),
        (outside.to_str().unwrap(), "secret.bin"),
    ] {
        let mut external = small();
        let weight = &mut external.graph.mut_or_insert_default().initializer[0];
        weight.raw_data.clear();
        weight.data_location = tensor_proto::DataLocation::EXTERNAL.into();
        let entry = |k: &str, v: &str| StringStringEntryProto { key: k.into(), value: v.into(), ..Default::default() };
        weight.external_data = vec![entry("location", location), entry("length", "24")];
        fs::write(inside.join("bad.onnx"), external.write_to_bytes().unwrap()).unwrap();
        check(&inside, "external-data", &["simplify", "bad.onnx", "-o", "out.onnx"], &["`w`", says, "help:"]);
    }
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let m = write_model(f, "m.onnx", &small());
    let label = npy("<i8", &[2], &[0; 16]);
    let check = |members: &[(&str, Vec<u8>)], says: &[&str]| {
        write_npz(f, "x.npz", members);
        check(f, "bad-data", &["evaluate", &m, "--data", "x.npz"], says);
        check(f, "bad-data", &["quantize", &m, "-o", "out.onnx", "--data", "x.npz"], says);
    };
    let good = floats(&[2, 3], &[0.0; 6]);
    check(&[("xx", good.clone()), ("label", label.clone())], &["`x`", "`xx`", "help:"]);
    check(&[("x", floats(&[2, 4], &[0.0; 8])), ("label", label.clone())], &["[2, 4]", "help:"]);
    check(&[("x", npy("<f8", &[2, 3], &[0; 48])), ("label", label.clone())], &["float64", "float32", "help:"]);
    check(&[("x", floats(&[2, 3], &[0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0]))], &["NaN", "sample 1"]);
    check(&[("x", good.clone()), ("label", npy("<i8", &[3], &[0; 24]))], &["`label`"]);
    check(&[("x", npy("<f4", &[2, 3], &[0; 9]))], &["`x`"]);
    check(&[("x", npy("<f4", &[2, 1 << 40], &[0; 9]))], &["`x`"]);
    let message = error(f, 96, &["evaluate", &m, "--data", "none.npz"]);
    assert!(message.contains("none.npz"), "{message}");
    fs::write(f.join("x.npz"), b"PK\x03\x04 cut off").unwrap();
    let message = error(f, 96, &["evaluate", &m, "--data", "x.npz"]);
    assert!(message.contains("error[bad-data]") && message.contains("x.npz"), "{message}");
}

#[test]
fn a_profile_with_an_unknown_key_or_unit_is_shown_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let m = write_model(f, "m.onnx", &small());
    let profile = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\nexecuter = \"tract\"\n\n[budget]\nartifact-size = \"256 KiBi\"\n";
    fs::write(f.join("p.toml"), profile).unwrap();
    // Both problems at once, each with its place, and the nearest key.
    let says = ["p.toml:4:1", "`executor`", "p.toml:7:17", "KiB", "help:"];
    check(f, "bad-config", &["check", &m, "--profile", "p.toml"], &says);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let m = write_model(f, "m.onnx", &small());
    let message = error(f, 96, &["simplify", &m, "-o", "no/such/folder/out.onnx"]);
    assert!(message.contains("error[not-written]") && message.contains("help:"), "{message}");
    // Not even root can make files there.
    if cfg!(target_os = "linux") {
        let message = error(f, 96, &["simplify", &m, "-o", "/proc/out.onnx"]);
        assert!(message.contains("error[not-written]"), "{message}");
    }
    let message = error(f, 96, &["simplify", &m, "-o", &m]);
    assert!(message.contains("one of the inputs"), "{message}");
    assert_eq!(fs::read(&m).unwrap(), small().write_to_bytes().unwrap());
}

#[test]
fn a_bomb_and_an_endless_loop_end_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    // 2^40 floats out of eight bytes.
    let shape = Tensor::vector(&[1i64 << 40]);
    let nodes = vec![
        node::new("ConstantOfShape", &["shape"], &["huge"]),
        node::new("ReduceSum", &["huge"], &["sum"]),
        node::new("Add", &["x", "sum"], &["moved"]),
        node::new("MatMul", &["moved", "w"], &["y"]),
    ];
    let weight = Tensor::from_elements(&[3, 2], &[1f32; 6]).unwrap().to_proto("w");
    let bomb = write_model(f, "bomb.onnx", &model(nodes, vec![shape.to_proto("shape"), weight]));
    let limits = ["--memory-limit", "1024", "--time-limit", "20"];
    let message = error(f, 96, &[&["bench", &bomb], &limits[..]].concat());
    assert!(message.contains("error["), "{message}");

    let body = GraphProto {
        name: "body".into(),
        node: vec![node::new("Identity", &["cond_in"], &["cond_out"]), node::new("Add", &["v_in", "one"], &["v_out"])],
        initializer: vec![Tensor::from_elements(&[1, 1], &[1f32]).unwrap().to_proto("one")],
        input: vec![value("i", &[]), value("cond_in", &[]), value("v_in", &[-1, 3])],
        output: vec![value("cond_out", &[]), value("v_out", &[-1, 3])],
        ..Default::default()
    };
    let attribute = AttributeProto {
        name: "body".into(),
        type_: attribute_proto::AttributeType::GRAPH.into(),
        g: Some(body).into(),
        ..Default::default()
    };
    let nodes = vec![
        node::with("Loop", &["trips", "always", "x"], &["v"], vec![attribute]),
        node::new("MatMul", &["v", "w"], &["y"]),
    ];
    let weight = Tensor::from_elements(&[3, 2], &[1f32; 6]).unwrap().to_proto("w");
    let trips = Tensor::scalar(i64::MAX).to_proto("trips");
    let mut always = Tensor::scalar(1u8).to_proto("always");
    always.data_type = 9;
    let endless = write_model(f, "endless.onnx", &model(nodes, vec![trips, always, weight]));
    let message = error(f, 96, &["bench", &endless, "--time-limit", "3"]);
    assert!(message.contains("error["), "{message}");
}
