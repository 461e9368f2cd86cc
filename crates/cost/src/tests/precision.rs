//! In what nodes multiply, and how large weights are at rest and once loaded.

use plimsoll_onnx::DType;

use super::*;

fn tensor(name: &str, dtype: DType, shape: &[usize]) -> plimsoll_onnx::proto::TensorProto {
    let bytes = dtype.bytes_of(shape.iter().product()).unwrap();
    plimsoll_onnx::proto::TensorProto {
        name: name.into(),
        data_type: dtype.to_onnx(),
        dims: shape.iter().map(|&d| d as i64).collect(),
        raw_data: vec![0; bytes],
        ..Default::default()
    }
}

/// Input `x` [n, 10] of a type, weights of types.
fn typed(input: DType, weights: &[(&str, DType, &[usize])], nodes: Vec<NodeProto>) -> Cost {
    let shapes: Vec<(&str, &[usize])> = weights.iter().map(|(name, _, shape)| (*name, *shape)).collect();
    let mut proto = model(&[-1, 10], &shapes, nodes).proto().clone();
    let graph = proto.graph.as_mut().unwrap();
    graph.initializer = weights.iter().map(|(name, dtype, shape)| tensor(name, *dtype, shape)).collect();
    let kind = graph.input[0].type_.as_mut().unwrap().value.as_mut().unwrap();
    let type_proto::Value::TensorType(t) = kind else { panic!() };
    t.elem_type = input.to_onnx();
    costs(&Model::from_proto(proto).unwrap(), 1)
}

const SCALE: (&str, DType, &[usize]) = ("s", DType::F32, &[]);

fn q(input: &str, output: &str) -> NodeProto {
    node::new("QuantizeLinear", &[input, "s"], &[output])
}

fn dq(input: &str, output: &str) -> NodeProto {
    node::new("DequantizeLinear", &[input, "s"], &[output])
}

fn macs(cost: &Cost) -> (u64, u64, u64, u64) {
    let m = cost.by_dtype;
    (m.f32, m.f16, m.i8, m.other)
}

#[test]
fn floats_by_their_width() {
    let product = || vec![node::new("MatMul", &["x", "w"], &["y"])];
    for (dtype, expected) in [
        (DType::F32, (70, 0, 0, 0)),
        (DType::F16, (0, 70, 0, 0)),
        (DType::BF16, (0, 70, 0, 0)),
        (DType::F64, (0, 0, 0, 70)),
        (DType::I32, (0, 0, 0, 70)),
    ] {
        assert_eq!(macs(&typed(dtype, &[("w", dtype, &[10, 7])], product())), expected, "{dtype}");
    }
}

#[test]
fn integer_operators_multiply_in_8_bits() {
    let product = vec![node::new("MatMulInteger", &["x", "w"], &["y"])];
    assert_eq!(macs(&typed(DType::U8, &[("w", DType::I8, &[10, 7])], product)), (0, 0, 70, 0));
}

#[test]
fn both_operands_must_be_quantized() {
    let weights = [("w", DType::I8, [10, 7].as_slice()), SCALE];
    let both = vec![q("x", "a"), dq("a", "b"), dq("w", "c"), node::new("MatMul", &["b", "c"], &["y"])];
    let found = typed(DType::F32, &weights, both);
    assert_eq!(macs(&found), (0, 0, 70, 0));
    // Eight bits at rest and once loaded, beside the scale.
    assert_eq!((found.bytes, found.loaded_bytes), (74, Some(74)));
    // Weights alone: products of floats, which the weights are once they are loaded.
    let alone = vec![dq("w", "c"), node::new("MatMul", &["x", "c"], &["y"])];
    let found = typed(DType::F32, &weights, alone);
    assert_eq!(macs(&found), (70, 0, 0, 0));
    assert_eq!((found.bytes, found.loaded_bytes), (74, Some(280)));
    // Data movement in between changes nothing.
    let moved = vec![
        q("x", "a"),
        dq("a", "b"),
        dq("w", "c"),
        node::with("Transpose", &["c"], &["d"], vec![attr::from_ints("perm", &[1, 0])]),
        node::with("Gemm", &["b", "d"], &["y"], vec![attr::from_int("transB", 1)]),
    ];
    let found = typed(DType::F32, &weights, moved);
    assert_eq!((macs(&found), found.loaded_bytes), ((0, 0, 70, 0), Some(74)));
}

#[test]
fn sixteen_bits_are_not_eight() {
    let weights = [("w", DType::I16, [10, 7].as_slice()), SCALE];
    let both = vec![q("x", "a"), dq("a", "b"), dq("w", "c"), node::new("MatMul", &["b", "c"], &["y"])];
    assert_eq!(macs(&typed(DType::F32, &weights, both)), (70, 0, 0, 0));
}

#[test]
fn halves_that_are_cast_are_floats_once_loaded() {
    let cast = node::with("Cast", &["w"], &["c"], vec![attr::from_int("to", 1)]);
    let nodes = vec![cast, node::new("MatMul", &["x", "c"], &["y"])];
    let found = typed(DType::F32, &[("w", DType::F16, &[10, 7])], nodes);
    assert_eq!((found.bytes, found.loaded_bytes), (140, Some(280)));
    let stored: Vec<_> = found.stored.iter().map(|s| (s.dtype, s.params, s.bytes)).collect();
    assert_eq!(stored, [("float16", 70, 140)]);
}

#[test]
fn four_bit_weights_are_packed() {
    let nodes = vec![dq("w", "c"), node::new("MatMul", &["x", "c"], &["y"])];
    let found = typed(DType::F32, &[("w", DType::I4, &[10, 7]), SCALE], nodes);
    assert_eq!((found.params, found.bytes, found.loaded_bytes), (71, 35 + 4, Some(280)));
}
