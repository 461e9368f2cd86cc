//! What the tests of the binary share: running it, fixtures, small models and archives.

#![allow(dead_code, reason = "each test file uses its part")]

#[cfg(feature = "rollout")]
pub(crate) mod fleet;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use plimsoll_onnx::{
    Tensor, node,
    proto::{
        GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_shape_proto, type_proto,
    },
};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// A file of a fixture.
pub(crate) fn fixture(name: &str, file: &str) -> String {
    root().join("fixtures").join(name).join(file).display().to_string()
}

/// The binary in a folder.
pub(crate) fn plimsoll_in(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(args).current_dir(folder).output().unwrap()
}

/// What a run printed to stdout, where it ended in `code`.
#[track_caller]
pub(crate) fn expect(folder: &Path, code: i32, args: &[&str]) -> String {
    let output = plimsoll_in(folder, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "plimsoll {}\n{out}\n{err}", args.join(" "));
    out.into_owned()
}

/// As [`expect`], as JSON.
#[track_caller]
pub(crate) fn json(folder: &Path, code: i32, args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&expect(folder, code, args)).unwrap()
}

/// What a run printed to stderr, where it ended in `code`.
#[track_caller]
pub(crate) fn error(folder: &Path, code: i32, args: &[&str]) -> String {
    let output = plimsoll_in(folder, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "plimsoll {}\n{out}\n{err}", args.join(" "));
    err.into_owned()
}

/// A float value of a shape; negative dimensions are open.
pub(crate) fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&d: &i64| tensor_shape_proto::Dimension {
        value: Some(if d < 0 {
            tensor_shape_proto::dimension::Value::DimParam("batch".into())
        } else {
            tensor_shape_proto::dimension::Value::DimValue(d)
        }),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect(), ..Default::default() };
    let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape).into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
}

/// y [batch, 2] = softmax-less scores of x [batch, 3] through a weight, as a graph to be changed.
pub(crate) fn small() -> ModelProto {
    let weight = Tensor::from_elements(&[3, 2], &[1f32, 0.0, 0.0, 1.0, 1.0, -1.0]).unwrap();
    model(vec![node::new("MatMul", &["x", "w"], &["h"]), node::new("Relu", &["h"], &["y"])], vec![weight.to_proto("w")])
}

/// A model of these nodes from x [batch, 3] to y [batch, 2].
pub(crate) fn model(nodes: Vec<NodeProto>, initializer: Vec<plimsoll_onnx::proto::TensorProto>) -> ModelProto {
    let graph = GraphProto {
        name: "g".into(),
        node: nodes,
        initializer,
        input: vec![value("x", &[-1, 3])],
        output: vec![value("y", &[-1, 2])],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    ModelProto { ir_version: 8, graph: Some(graph).into(), opset_import: vec![opset], ..Default::default() }
}

/// Writes a model as it is, whole or not.
pub(crate) fn write_model(folder: &Path, name: &str, model: &ModelProto) -> String {
    let path = folder.join(name);
    fs::write(&path, model.write_to_bytes().unwrap()).unwrap();
    path.display().to_string()
}

/// A `.npy` member: header and bytes.
pub(crate) fn npy(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let dims: String = shape.iter().map(|d| format!("{d}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

/// A float32 member.
pub(crate) fn floats(shape: &[usize], values: &[f32]) -> Vec<u8> {
    npy("<f4", shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

/// Writes an archive.
pub(crate) fn write_npz(folder: &Path, name: &str, members: &[(&str, Vec<u8>)]) -> String {
    let path = folder.join(name);
    let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    for (member, bytes) in members {
        archive.start_file(format!("{member}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    path.display().to_string()
}

/// A release of a small spec of the digits in a folder of its own.
pub(crate) fn release_digits(folder: &Path, version: &str) -> serde_json::Value {
    write_digits(folder, version);
    json(folder, 0, &["release", "--json"])
}

/// A small spec of the digits: one recipe, briefly timed, with budgets that any machine keeps.
pub(crate) fn write_digits(folder: &Path, version: &str) {
    let spec = format!(
        "schema = 1\nprofiles = [\"any.toml\"]\n[release]\nname = \"digits\"\nversion = \"{version}\"\nlicense = \"MIT\"\n\
         [model]\npath = {model:?}\n[data]\ncalibration = {calib:?}\nvalidation = {valid:?}\ntest = {test:?}\n\
         [margins]\naccuracy-drop = \"5pp\"\n\
         [[optimize.recipes]]\nname = \"simplify+int8-weights\"\n\
         steps = [{{ pass = \"simplify\" }}, {{ pass = \"quantize\", scheme = \"int8-weights\" }}]\n",
        model = fixture("digits", "model.onnx"),
        calib = fixture("digits", "calib.npz"),
        valid = fixture("digits", "valid.npz"),
        test = fixture("digits", "test.npz"),
    );
    fs::write(folder.join("plimsoll.toml"), spec).unwrap();
    let profile = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[budget]\nartifact-size = \"40kB\"\n";
    fs::write(folder.join("any.toml"), profile).unwrap();
}
