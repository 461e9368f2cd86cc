//! Files that must be refused, each with an error that names the file and the place.

use std::path::Path;

use plimsoll_onnx::{
    Defect, Model, ReadError, Tensor, node,
    proto::{
        GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
        ValueInfoProto, tensor_proto::DataLocation,
    },
};

fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.into(), ..Default::default() }
}

fn proto(nodes: Vec<NodeProto>, weights: Vec<TensorProto>) -> ModelProto {
    let graph = GraphProto {
        name: "g".into(),
        node: nodes,
        initializer: weights,
        input: vec![named("x")],
        output: vec![named("y")],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph).into(), ..Default::default() }
}

/// Writes bytes to a file, reads it, and asks for an error that holds these words, the file's name, and a remedy.
fn check(bytes: &[u8], words: &str) -> ReadError {
    let folder = tempfile::tempdir().unwrap();
    check_in(folder.path(), bytes, words)
}

fn check_in(folder: &Path, bytes: &[u8], words: &str) -> ReadError {
    let path = folder.join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    let error = Model::read(&path).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(words) && text.contains("model.onnx"), "{text}");
    assert!(error.help().is_some(), "{text}");
    error
}

fn refused(proto: &ModelProto, words: &str) -> ReadError {
    check(&proto.write_to_bytes().unwrap(), words)
}

#[test]
fn empty_and_foreign_files() {
    check(b"", "empty");
    check(b"this is not a model at all, whatever its name says", "not a valid ONNX model");
    check(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "not a valid ONNX model");
    refused(&ModelProto { ir_version: 8, ..Default::default() }, "no graph");
    let mut without = proto(vec![node::new("Relu", &["x"], &["y"])], vec![]);
    without.opset_import.clear();
    refused(&without, "no operator set");
}

#[test]
fn every_truncation_is_refused_or_whole() {
    let weight = Tensor::vector(&[1f32; 16]).to_proto("w");
    let nodes = vec![node::new("Add", &["x", "w"], &["s"]), node::new("Relu", &["s"], &["y"])];
    let bytes = proto(nodes, vec![weight]).write_to_bytes().unwrap();
    let readable: Vec<usize> = (0..bytes.len()).filter(|&n| Model::from_bytes(&bytes[..n]).is_ok()).collect();
    assert!(Model::from_bytes(&bytes).is_ok());
    assert_eq!(readable, [0usize; 0]);
}

#[test]
fn a_length_field_of_two_gigabytes_asks_for_no_memory() {
    // Field 7 (graph), length-delimited, 0x7fffffff bytes that are not there.
    check(&[0x08, 0x08, 0x3a, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00], "not a valid ONNX model");
}

#[test]
fn deep_nesting_is_refused() {
    // A graph in an attribute of a node of a graph, a thousand times over.
    let mut inner: Vec<u8> = Vec::new();
    let wrap = |field: u8, body: &[u8]| {
        let mut out = vec![field << 3 | 2];
        let mut n = body.len();
        while n >= 128 {
            out.push(n as u8 | 128);
            n >>= 7;
        }
        out.push(n as u8);
        out.extend_from_slice(body);
        out
    };
    for _ in 0..1000 {
        inner = wrap(1, &wrap(5, &wrap(6, &inner)));
    }
    check(&wrap(7, &inner), "not a valid ONNX model");
}

#[test]
fn graphs_that_are_not_whole() {
    let cycle = vec![
        node::new("Add", &["x", "b"], &["a"]),
        node::new("Relu", &["a"], &["b"]),
        node::new("Relu", &["b"], &["y"]),
    ];
    let error = refused(&proto(cycle, vec![]), "cycle");
    assert!(matches!(error, ReadError::Broken { defect: Defect::Cycle(_), .. }));
    refused(&proto(vec![node::new("Add", &["x", "nowhere"], &["y"])], vec![]), "`nowhere`");
    refused(&proto(vec![node::new("Relu", &["x"], &["z"])], vec![]), "output `y`");
    let twice = vec![node::new("Relu", &["x"], &["y"]), node::new("Neg", &["x"], &["y"])];
    refused(&proto(twice, vec![]), "defined twice");
}

#[test]
fn nodes_out_of_order_are_no_cycle() {
    let shuffled = vec![node::new("Relu", &["a"], &["y"]), node::new("Neg", &["x"], &["a"])];
    assert!(Model::from_proto(proto(shuffled, vec![])).is_ok());
}

#[test]
fn weights_whose_data_cannot_be_theirs() {
    let add = || vec![node::new("Add", &["x", "w"], &["y"])];
    let weight = || Tensor::vector(&[1f32; 4]).to_proto("w");
    refused(&proto(add(), vec![TensorProto { dims: vec![5], ..weight() }]), "16 bytes of data, 20 are needed");
    refused(&proto(add(), vec![TensorProto { dims: vec![-4], ..weight() }]), "impossible dimensions");
    refused(&proto(add(), vec![TensorProto { dims: vec![1 << 40, 1 << 40], ..weight() }]), "impossible dimensions");
    refused(&proto(add(), vec![TensorProto { raw_data: vec![], dims: vec![1 << 40], ..weight() }]), "0 bytes of data");
    // Typed fields count as well.
    let typed = TensorProto { raw_data: vec![], float_data: vec![1.0; 3], ..weight() };
    refused(&proto(add(), vec![typed]), "12 bytes of data, 16 are needed");
    let typed = TensorProto { raw_data: vec![], float_data: vec![1.0; 4], ..weight() };
    assert!(Model::from_bytes(&proto(add(), vec![typed]).write_to_bytes().unwrap()).is_ok());
}

fn external(fields: &[(&str, &str)]) -> ModelProto {
    let entry =
        |(k, v): &(&str, &str)| StringStringEntryProto { key: (*k).into(), value: (*v).into(), ..Default::default() };
    let weight = TensorProto {
        name: "w".into(),
        data_type: 1,
        dims: vec![4],
        data_location: DataLocation::EXTERNAL.into(),
        external_data: fields.iter().map(entry).collect(),
        ..Default::default()
    };
    proto(vec![node::new("Add", &["x", "w"], &["y"])], vec![weight])
}

#[test]
fn external_data_must_be_there_and_inside() {
    let bytes = |fields: &[(&str, &str)]| external(fields).write_to_bytes().unwrap();
    check(&bytes(&[("location", "gone.bin")]), "`w`");
    check(&bytes(&[]), "no location");
    check(&bytes(&[("location", "../secret")]), "leaves the model's folder");
    check(&bytes(&[("location", "/etc/passwd")]), "leaves the model's folder");
    check(&bytes(&[("location", "sub\\..\\..\\secret")]), "leaves the model's folder");
    check(&bytes(&[("location", ".")]), "not a regular file");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.bin"), [0u8; 20]).unwrap();
    let short = [("location", "w.bin"), ("offset", "8"), ("length", "16")];
    check_in(folder.path(), &bytes(&short), "20 bytes; 16 from 8 on");
    check_in(folder.path(), &bytes(&[("location", "w.bin")]), "gives 20 bytes; dtype and shape ask for 16");
    check_in(folder.path(), &bytes(&[("location", "w.bin"), ("offset", "18446744073709551615")]), "asked for");
    check_in(folder.path(), &bytes(&[("location", "w.bin"), ("offset", "many")]), "no number");
    let error = Model::from_bytes(&bytes(&[("location", "w.bin")])).unwrap_err();
    assert!(error.to_string().contains("no folder"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_does_not_lead_outside() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), [0u8; 16]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("w.bin")).unwrap();
    let bytes = external(&[("location", "w.bin")]).write_to_bytes().unwrap();
    check_in(folder.path(), &bytes, "symbolic link");
}
