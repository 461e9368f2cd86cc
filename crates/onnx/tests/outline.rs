//! Models without their weights: what is taken for absent, and what is refused all the same.

use std::path::Path;

use plimsoll_onnx::{
    Model, ReadError, Tensor, attr, node,
    proto::{
        GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
        TensorShapeProto, TypeProto, ValueInfoProto, tensor_proto::DataLocation, tensor_shape_proto, type_proto,
    },
};

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value;
    let dim = |&d: &i64| tensor_shape_proto::Dimension {
        value: (d >= 0).then_some(Value::DimValue(d)),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect(), ..Default::default() };
    let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape).into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
}

fn proto(inputs: &[(&str, &[i64])], nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let graph = GraphProto {
        name: "g".into(),
        node: nodes,
        initializer,
        input: inputs.iter().map(|(name, dims)| value(name, dims)).collect(),
        output: vec![ValueInfoProto { name: "y".into(), ..Default::default() }],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph).into(), ..Default::default() }
}

/// Reads both ways.
fn read(folder: &Path, proto: &ModelProto) -> (Result<Model, ReadError>, Result<Model, ReadError>) {
    let path = folder.join("model.onnx");
    std::fs::write(&path, proto.write_to_bytes().unwrap()).unwrap();
    (Model::read(&path), Model::read_outline(&path))
}

/// The names of absent weights, each with why.
fn absent(model: &Model) -> Vec<(&str, &str)> {
    model.absent().iter().map(|a| (a.name.as_str(), a.reason.as_str())).collect()
}

fn layer() -> Vec<NodeProto> {
    vec![node::new("Gemm", &["x", "w", "b"], &["y"])]
}

fn declared(name: &str, dims: &[i64]) -> TensorProto {
    TensorProto { name: name.into(), data_type: 1, dims: dims.to_vec(), ..Default::default() }
}

fn external(name: &str, dims: &[i64], location: &str) -> TensorProto {
    let entry = StringStringEntryProto { key: "location".into(), value: location.into(), ..Default::default() };
    TensorProto { data_location: DataLocation::EXTERNAL.into(), external_data: vec![entry], ..declared(name, dims) }
}

#[test]
fn what_is_declared_without_data_is_absent_and_counted_as_if_it_were_there() {
    let folder = tempfile::tempdir().unwrap();
    // Long enough that the length of the graph takes more bytes with the weight than without.
    let whole = |dims: &[i64]| {
        let zeros = vec![0f32; dims.iter().product::<i64>() as usize];
        let shape: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
        Tensor::from_elements(&shape, &zeros).unwrap().to_proto("w")
    };
    let bias = Tensor::vector(&[0f32; 7]).to_proto("b");
    let weights = vec![declared("w", &[300, 7]), bias.clone()];
    let (refused, outline) = read(folder.path(), &proto(&[("x", &[-1, 300])], layer(), weights));
    let error = refused.unwrap_err();
    assert!(error.help().unwrap().contains("check --cost-only"), "{error}");
    let outline = outline.unwrap();
    assert_eq!(absent(&outline), [("w", "it is declared without data")]);
    let whole = proto(&[("x", &[-1, 300])], layer(), vec![whole(&[300, 7]), bias]);
    assert_eq!(outline.file_len().unwrap(), whole.compute_size());
}

#[test]
fn missing_data_files_are_absent_weights_and_broken_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = |location: &str| {
        let weights = vec![external("w", &[10, 7], location), external("b", &[7], location)];
        proto(&[("x", &[-1, 10])], layer(), weights)
    };
    let (refused, outline) = read(folder.path(), &model("weights.bin"));
    assert!(refused.is_err());
    let outline = outline.unwrap();
    let reason = "its file `weights.bin` is not there";
    assert_eq!(absent(&outline), [("w", reason), ("b", reason)]);
    assert!(outline.file_len().unwrap() > 4 * 77);
    // A file that is there must be right, and one outside is not looked for.
    std::fs::write(folder.path().join("short.bin"), [0; 9]).unwrap();
    for location in ["short.bin", "../weights.bin", "/weights.bin"] {
        assert!(read(folder.path(), &model(location)).1.is_err(), "{location}");
    }
}

#[test]
fn data_of_the_wrong_length_are_no_absent_weight() {
    let folder = tempfile::tempdir().unwrap();
    let cut = TensorProto { raw_data: vec![0; 5], ..declared("w", &[10, 7]) };
    let weights = vec![cut, declared("b", &[7])];
    assert!(read(folder.path(), &proto(&[("x", &[-1, 10])], layer(), weights)).1.is_err());
}

#[test]
fn weights_that_are_inputs_are_told_from_data() {
    let folder = tempfile::tempdir().unwrap();
    let names = |inputs: &[(&str, &[i64])], nodes: Vec<NodeProto>, weights: Vec<TensorProto>| {
        let (whole, outline) = read(folder.path(), &proto(inputs, nodes, weights));
        assert!(whole.unwrap().absent().is_empty(), "such a model is whole for whoever runs it");
        let outline = outline.unwrap();
        let left: Vec<String> = outline.inputs().into_iter().map(|i| i.name).collect();
        (absent(&outline).iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>(), left)
    };
    let (fed, left) = names(&[("x", &[-1, 10]), ("w", &[10, 7]), ("b", &[7])], layer(), vec![]);
    assert_eq!((fed, left), (vec!["w".to_owned(), "b".into()], vec!["x".to_owned()]));
    let none = |inputs, nodes, weights| assert_eq!(names(inputs, nodes, weights).0, [""; 0]);
    // Both operands of a sum are data; so is what has an open dimension.
    none(&[("x", &[1, 7]), ("z", &[1, 7])], vec![node::new("Add", &["x", "z"], &["y"])], vec![]);
    let product = || vec![node::new("MatMul", &["x", "z"], &["y"])];
    none(&[("x", &[-1, 10]), ("z", &[10, -1])], product(), vec![]);
    // Nothing would be left to feed.
    none(&[("z", &[10, 7])], vec![node::new("MatMul", &["z", "z"], &["y"])], vec![]);
    // A model whose layers have weights of their own takes what it is fed as data: a state, another tensor to compare with.
    let layers = vec![node::new("MatMul", &["x", "w"], &["h"]), node::new("MatMul", &["h", "z"], &["y"])];
    let own = Tensor::from_elements(&[10, 7], &[0f32; 70]).unwrap().to_proto("w");
    none(&[("x", &[-1, 10]), ("z", &[7, 7])], layers, vec![own.clone()]);
    // The same where they stand in Constant nodes, and one part of a state is looked up.
    let constant = node::with("Constant", &[], &["w"], vec![attr::from_tensor("value", own)]);
    let at = Tensor::from_elements(&[], &[0i64]).unwrap().to_proto("");
    let nodes = vec![
        constant,
        node::with("Constant", &[], &["i"], vec![attr::from_tensor("value", at)]),
        node::new("Gather", &["z", "i"], &["h"]),
        node::new("MatMul", &["x", "w"], &["p"]),
        node::new("Add", &["p", "h"], &["y"]),
    ];
    none(&[("x", &[-1, 10]), ("z", &[2, 1, 7])], nodes, vec![]);
}
