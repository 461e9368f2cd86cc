//! Nothing is lost on the way through: fields that nobody knows, every dtype, external data; and what a digest stands for.

use half::{bf16, f16};
use plimsoll_onnx::{
    DType, Model, Patch, PatchError, Tensor, attr, node,
    proto::{
        GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
        ValueInfoProto,
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

fn adding(weight: TensorProto) -> ModelProto {
    proto(vec![node::new("Add", &["x", "w"], &["s"]), node::new("Relu", &["s"], &["y"])], vec![weight])
}

fn model(proto: &ModelProto) -> Model {
    Model::from_bytes(&proto.write_to_bytes().unwrap()).unwrap()
}

#[test]
fn unknown_fields_survive() {
    let bytes = adding(Tensor::vector(&[1f32; 4]).to_proto("w")).write_to_bytes().unwrap();
    // Field 2000 of the model, a varint; and field 3000, text.
    let unknown: [&[u8]; 2] = [&[0x80, 0x7d, 0x2a], &[0xc2, 0xbb, 0x01, 0x02, b'h', b'i']];
    let found = Model::from_bytes(&[&bytes[..], unknown[0], unknown[1]].concat()).unwrap().to_bytes().unwrap();
    assert!(unknown.iter().all(|u| found.windows(u.len()).any(|w| w == *u)));
    assert_eq!(found.len(), bytes.len() + 9);
}

#[test]
fn every_dtype_goes_in_and_out() {
    let tensors = [
        Tensor::vector(&[1f32, f32::NAN, -0.0]),
        Tensor::vector(&[1f64, f64::MIN_POSITIVE]),
        Tensor::vector(&[f16::from_f32(1.5), f16::INFINITY]),
        Tensor::vector(&[bf16::from_f32(-2.0)]),
        Tensor::vector(&[-1i8, 127]),
        Tensor::vector(&[255u8]),
        Tensor::vector(&[-5i16]),
        Tensor::vector(&[65_535u16]),
        Tensor::vector(&[i32::MIN]),
        Tensor::vector(&[u32::MAX]),
        Tensor::vector(&[i64::MIN]),
        Tensor::vector(&[u64::MAX]),
        Tensor::vector(&[true, false]),
        Tensor::new(DType::I4, vec![3], vec![0xf1, 0x08]).unwrap(),
        Tensor::scalar(7i64),
        Tensor::new(DType::F32, vec![0, 4], vec![]).unwrap(),
    ];
    for tensor in tensors {
        let proto = TensorProto::parse_from_bytes(&tensor.to_proto("t").write_to_bytes().unwrap()).unwrap();
        assert_eq!(Tensor::from_proto(&proto).unwrap(), tensor);
    }
    let packed = Tensor::new(DType::I4, vec![3], vec![0xf1, 0x08]).unwrap();
    assert_eq!(packed.to_i64().unwrap(), [1, -1, -8]);
    assert_eq!(Tensor::vector(&[f16::from_f32(0.1)]).to_f64().unwrap(), [0.0999755859375]);
}

#[test]
fn typed_fields_are_read_as_raw_data_are() {
    let typed = [
        TensorProto { data_type: 1, dims: vec![2], float_data: vec![1.0, 2.0], ..Default::default() },
        TensorProto { data_type: 10, dims: vec![2], int32_data: vec![0x3c00, 0x4000], ..Default::default() },
        TensorProto { data_type: 3, dims: vec![2], int32_data: vec![1, 2], ..Default::default() },
        TensorProto { data_type: 7, dims: vec![2], int64_data: vec![1, 2], ..Default::default() },
        TensorProto { data_type: 12, dims: vec![2], uint64_data: vec![1, 2], ..Default::default() },
        TensorProto { data_type: 11, dims: vec![2], double_data: vec![1.0, 2.0], ..Default::default() },
    ];
    for proto in typed {
        assert_eq!(Tensor::from_proto(&proto).unwrap().to_f64().unwrap(), [1.0, 2.0], "{}", proto.data_type);
    }
}

#[test]
fn external_data_are_written_beside_the_model_again() {
    let folder = tempfile::tempdir().unwrap();
    let entry = |k: &str, v: &str| StringStringEntryProto { key: k.into(), value: v.into(), ..Default::default() };
    let values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    let inline = Tensor::vector(&values);
    std::fs::write(folder.path().join("w.bin"), inline.bytes()).unwrap();
    let weight = TensorProto {
        raw_data: vec![],
        data_location: plimsoll_onnx::proto::tensor_proto::DataLocation::EXTERNAL.into(),
        external_data: vec![entry("location", "w.bin")],
        ..inline.to_proto("w")
    };
    std::fs::write(folder.path().join("in.onnx"), adding(weight).write_to_bytes().unwrap()).unwrap();
    let read = Model::read(&folder.path().join("in.onnx")).unwrap();
    assert_eq!(read.digest(), model(&adding(inline.to_proto("w"))).digest());
    let out = folder.path().join("out.onnx");
    read.write(&out).unwrap();
    assert!(std::fs::metadata(&out).unwrap().len() < 1000);
    assert!(std::fs::metadata(folder.path().join("out.onnx.data")).unwrap().len() >= 4000);
    std::fs::remove_file(folder.path().join("w.bin")).unwrap();
    assert_eq!(Model::read(&out).unwrap().digest(), read.digest());
    // One message for whoever takes bytes.
    assert_eq!(Model::from_bytes(&read.to_bytes().unwrap()).unwrap().digest(), read.digest());
}

#[test]
fn a_failed_write_leaves_no_file_behind() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("no-such-folder").join("model.onnx");
    assert!(model(&adding(Tensor::vector(&[1f32]).to_proto("w"))).write(&gone).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_digest_stands_for_what_is_computed() {
    let base = adding(Tensor::vector(&[1f32, 2.0]).to_proto("w"));
    let digest = model(&base).digest();
    let change = |f: &dyn Fn(&mut ModelProto)| {
        let mut changed = base.clone();
        f(&mut changed);
        model(&changed).digest()
    };
    let graph = |p: &mut ModelProto| p.graph.mut_or_insert_default().clone();
    // Names of inner values and nodes, doc strings, metadata, the producer, and how weights are stored say nothing.
    assert_eq!(digest, change(&|p| p.producer_name = "somebody".into()));
    assert_eq!(digest, change(&|p| p.doc_string = "words".into()));
    assert_eq!(digest, change(&|p| p.metadata_props.push(Default::default())));
    let renamed = |p: &mut ModelProto| {
        let mut g = graph(p);
        g.node[0].name = "first".into();
        (g.node[0].output[0], g.node[1].input[0]) = ("other".into(), "other".into());
        (g.node[0].input[1], g.initializer[0].name) = ("weight".into(), "weight".into());
        p.graph = Some(g).into();
    };
    assert_eq!(digest, change(&renamed));
    let typed = |p: &mut ModelProto| {
        let weight = &mut p.graph.mut_or_insert_default().initializer[0];
        (weight.raw_data, weight.float_data) = (vec![], vec![1.0, 2.0]);
    };
    assert_eq!(digest, change(&typed));
    // Everything else does.
    let graph_of = |p: &mut ModelProto, f: &dyn Fn(&mut GraphProto)| f(p.graph.mut_or_insert_default());
    let weight = change(&|p| graph_of(p, &|g| g.initializer[0].raw_data[0] = 1));
    let operator = change(&|p| graph_of(p, &|g| g.node[1].op_type = "Neg".into()));
    let attribute = change(&|p| graph_of(p, &|g| g.node[1].attribute.push(attr::from_int("a", 1))));
    let interface = change(&|p| {
        graph_of(p, &|g| {
            g.input[0].name = "z".into();
            g.node[0].input[0] = "z".into();
        })
    });
    let wiring = change(&|p| graph_of(p, &|g| g.node[0].input.swap(0, 1)));
    let opset = change(&|p| p.opset_import[0].version = 18);
    let all = [digest, weight, operator, attribute, interface, wiring, opset];
    let mut unique = all.to_vec();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), all.len());
}

#[test]
fn a_patch_that_fails_leaves_the_model_as_it_was() {
    let before = model(&adding(Tensor::vector(&[1f32, 2.0]).to_proto("w")));
    let view = before.view();
    let (relu, _) = view.producer("y").unwrap();
    let mut broken = Patch::new();
    broken.remove(relu).set_initializer("w", &Tensor::vector(&[9f32])).set_opset("", 18).set_metadata("k", "v");
    let mut circle = Patch::new();
    circle.redirect("s", "x").redirect("x", "s");
    let mut after = before.clone();
    assert!(matches!(broken.apply(&mut after), Err(PatchError::Broken(_))));
    assert_eq!(after.proto(), before.proto());
    assert!(matches!(circle.apply(&mut after), Err(PatchError::Circle(_))));
    assert_eq!(after.proto(), before.proto());
}
