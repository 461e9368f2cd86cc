//! tract in this process and in a child: results, captured values, hostile models, limits.

use std::{
    env,
    time::{Duration, Instant},
};

use plimsoll_onnx::{
    Model, Tensor, Tensors, attr, node,
    proto::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_shape_proto, type_proto,
    },
};
use plimsoll_runtime::{ExecError, Executor, Isolated, Limits, LoadOptions, TractExecutor, WorkerCommand};

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&d: &i64| tensor_shape_proto::Dimension {
        value: Some(if d < 0 {
            tensor_shape_proto::dimension::Value::DimParam("N".into())
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

fn model(opset: i64, nodes: Vec<NodeProto>) -> Vec<u8> {
    let weight = Tensor::from_elements(&[3, 2], &[1f32, 0.0, 0.0, 1.0, 1.0, -1.0]).unwrap();
    let graph = GraphProto {
        name: "g".into(),
        node: nodes,
        initializer: vec![weight.to_proto("w")],
        input: vec![value("x", &[-1, 3])],
        output: vec![value("y", &[-1, 2])],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: opset, ..Default::default() };
    let proto =
        ModelProto { ir_version: 8, graph: Some(graph).into(), opset_import: vec![opset], ..Default::default() };
    Model::from_proto(proto).unwrap().to_bytes().unwrap()
}

/// y = relu(x · w)
fn small() -> Vec<u8> {
    model(17, vec![node::new("MatMul", &["x", "w"], &["h"]), node::new("Relu", &["h"], &["y"])])
}

fn input() -> Tensors {
    let x = Tensor::from_elements(&[2, 3], &[1f32, 2.0, 3.0, -1.0, 0.0, 0.5]).unwrap();
    Tensors::from([("x".to_owned(), x)])
}

fn isolated(memory_bytes: u64, time: Duration) -> Isolated {
    // Cargo builds examples beside the tests.
    let deps = env::current_exe().unwrap();
    let program = deps.parent().and_then(|d| d.parent()).unwrap().join("examples/worker");
    Isolated::new(WorkerCommand { program, args: vec![] }, Limits { memory_bytes, time }).unwrap()
}

fn usual() -> Isolated {
    isolated(2 << 30, Duration::from_secs(60))
}

/// Loads for the input above, runs, and returns what came out.
fn check(executor: &dyn Executor, model: &[u8], capture: &[&str]) -> Result<Tensors, ExecError> {
    let options = LoadOptions::for_inputs(&input()).capturing(capture.iter().map(|&c| c.to_owned()));
    executor.load(model, &options)?.run(&input())
}

fn error(executor: &dyn Executor, model: &[u8]) -> ExecError {
    check(executor, model, &[]).expect_err("this model must not run")
}

#[test]
fn results_are_right_in_process_and_in_a_child() {
    for executor in [&TractExecutor as &dyn Executor, &usual()] {
        let out = check(executor, &small(), &[]).unwrap();
        assert_eq!(out.keys().collect::<Vec<_>>(), ["y"]);
        assert_eq!(out["y"], Tensor::from_elements(&[2, 2], &[4f32, 0.0, 0.0, 0.0]).unwrap());
    }
}

#[test]
fn inner_values_inputs_weights_and_outputs_can_all_be_captured() {
    for executor in [&TractExecutor as &dyn Executor, &usual()] {
        let out = check(executor, &small(), &["h", "x", "w", "y"]).unwrap();
        assert_eq!(out["h"], Tensor::from_elements(&[2, 2], &[4f32, -1.0, -0.5, -0.5]).unwrap());
        assert_eq!(out["x"], input()["x"]);
        assert_eq!(out["w"].shape(), [3, 2]);
        assert_eq!(out.len(), 4);
    }
}

#[test]
fn a_captured_name_that_does_not_exist_is_named() {
    let error = check(&TractExecutor, &small(), &["nothing"]).unwrap_err();
    assert!(error.to_string().contains("`nothing`"), "{error}");
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name() {
    let mut session = TractExecutor.load(&small(), &LoadOptions::for_inputs(&input())).unwrap();
    let refused =
        |e: Result<Tensors, ExecError>| assert!(matches!(e, Err(ExecError::BadInput { input, .. }) if input == "x"));
    refused(session.run(&Tensors::new()));
    refused(session.run(&Tensors::from([("x".into(), Tensor::from_elements(&[1, 3], &[0f32; 3]).unwrap())])));
    refused(session.run(&Tensors::from([("x".into(), Tensor::from_elements(&[2, 3], &[0f64; 6]).unwrap())])));
}

#[test]
fn an_unknown_operator_is_unsupported_and_named() {
    let strange = model(17, vec![node::new("NoSuchOperator", &["x"], &["y"])]);
    for executor in [&TractExecutor as &dyn Executor, &usual()] {
        let error = error(executor, &strange);
        assert!(
            matches!(&error, ExecError::Unsupported { reason, .. } if reason.contains("NoSuchOperator")),
            "{error}"
        );
    }
}

#[test]
fn bytes_that_are_no_model_are_an_error() {
    for bytes in [&b"not a model"[..], &[], &[0xff; 64]] {
        assert!(check(&TractExecutor, bytes, &[]).is_err());
    }
    let whole = small();
    (0..whole.len()).for_each(|n| drop(check(&TractExecutor, &whole[..n], &[])));
}

#[test]
fn sessions_of_one_thread_live_side_by_side_and_times_come_from_the_child() {
    let executor = usual();
    let options = LoadOptions::for_inputs(&input());
    let mut first = executor.load(&small(), &options).unwrap();
    let mut second = executor.load(&small(), &options).unwrap();
    assert_eq!(first.time(&input(), 5).unwrap().len(), 5);
    drop(first);
    assert_eq!(second.time(&input(), 3).unwrap().len(), 3);
    assert!(!cfg!(target_os = "linux") || second.peak_memory().unwrap() > 1 << 20);
}

#[test]
fn a_child_that_dies_is_a_crash_and_the_next_load_works() {
    let executor = usual();
    let mut bystander = executor.load(&small(), &LoadOptions::for_inputs(&input())).unwrap();
    let crash = error(&executor, b"!abort");
    assert!(matches!(&crash, ExecError::Crash { .. }), "{crash}");
    assert!(!cfg!(unix) || crash.to_string().contains("signal 6"), "{crash}");
    assert!(matches!(bystander.run(&input()), Err(ExecError::Crash { .. })));
    assert!(check(&executor, &small(), &[]).is_ok());
}

/// Five inputs that differ.
fn several() -> Vec<Tensors> {
    let x = |i: usize| Tensor::from_elements(&[2, 3], &[i as f32, 2.0, 3.0, -1.0, 0.0, 0.5]).unwrap();
    (0..5).map(|i| Tensors::from([("x".to_owned(), x(i))])).collect()
}

#[test]
fn several_runs_in_a_request_give_what_each_alone_does() {
    for executor in [&TractExecutor as &dyn Executor, &usual()] {
        let options = LoadOptions::for_inputs(&input()).capturing(["h".to_owned()]);
        let mut session = executor.load(&small(), &options).unwrap();
        let alone: Vec<Tensors> = several().iter().map(|inputs| session.run(inputs).unwrap()).collect();
        assert_eq!(session.run_each(&several()).unwrap(), alone);
        assert!(session.run_each(&[]).unwrap().is_empty());
    }
}

#[test]
fn an_error_among_several_runs_is_that_of_the_run_and_the_session_goes_on() {
    for executor in [&TractExecutor as &dyn Executor, &usual()] {
        let mut session = executor.load(&small(), &LoadOptions::for_inputs(&input())).unwrap();
        let mut inputs = several();
        inputs[2].clear();
        assert!(matches!(session.run_each(&inputs), Err(ExecError::BadInput { input, .. }) if input == "x"));
        assert_eq!(session.run_each(&several()).unwrap().len(), 5);
    }
}

#[test]
fn a_child_that_dies_among_several_runs_is_a_crash() {
    let executor = usual();
    let mut session = executor.load(b"!third run aborts", &LoadOptions::default()).unwrap();
    assert!(matches!(session.run_each(&several()), Err(ExecError::Crash { .. })));
    assert!(matches!(session.run(&input()), Err(ExecError::Crash { .. })));
    assert!(check(&executor, &small(), &[]).is_ok());
}

#[test]
fn runs_of_a_request_have_the_time_of_all_of_them() {
    let executor = isolated(2 << 30, Duration::from_millis(300));
    let mut session = executor.load(b"!third run hangs", &LoadOptions::default()).unwrap();
    let start = Instant::now();
    assert!(matches!(session.run_each(&several()), Err(ExecError::TimeLimit { .. })));
    // The first run goes alone, the second and the third together.
    assert!(start.elapsed() >= Duration::from_millis(600));
    assert!(check(&executor, &small(), &[]).is_ok());
}

#[test]
fn a_child_that_is_held_outlives_its_last_session() {
    let executor = usual();
    let process = || check(&executor, b"!process", &[]).unwrap();
    assert_ne!(process(), process());
    let held = executor.hold();
    assert_eq!(process(), process());
    // One that dies is replaced all the same.
    error(&executor, b"!abort");
    assert!(check(&executor, &small(), &[]).is_ok());
    drop(held);
    assert_ne!(process(), process());
}

#[test]
fn an_endless_load_ends_at_the_time_limit() {
    let executor = isolated(2 << 30, Duration::from_secs(1));
    assert!(matches!(error(&executor, b"!hang"), ExecError::TimeLimit { seconds: 1, .. }));
    assert!(check(&executor, &small(), &[]).is_ok());
}

#[cfg(unix)]
#[test]
fn a_memory_bomb_ends_at_the_memory_limit() {
    let executor = isolated(1 << 30, Duration::from_secs(60));
    let error = error(&executor, b"!bomb");
    assert!(matches!(error, ExecError::MemoryLimit { bytes, .. } if bytes == 1 << 30), "{error}");
}

#[test]
fn a_model_larger_than_the_memory_limit_is_refused_before_it_is_sent() {
    let executor = isolated(1 << 30, Duration::from_secs(60));
    let limit = error(&executor, &vec![0; (1 << 30) + 1]);
    assert!(matches!(limit, ExecError::MemoryLimit { bytes, .. } if bytes == 1 << 30), "{limit}");
    assert!(check(&executor, &small(), &[]).is_ok());
}

/// tract notices a refused allocation of a tensor itself, and panics.
#[cfg(unix)]
#[test]
fn a_tensor_larger_than_the_memory_limit_ends_at_it() {
    let shape = Tensor::vector(&[1i64 << 28, 3, 2]).to_proto("value");
    let shape = node::with("Constant", &[], &["s"], vec![attr::from_tensor("value", shape)]);
    let bomb = model(17, vec![shape, node::new("Expand", &["w", "s"], &["y"])]);
    let executor = isolated(1 << 30, Duration::from_secs(60));
    let limit = error(&executor, &bomb);
    assert!(matches!(limit, ExecError::MemoryLimit { .. }), "{limit}");
}

#[test]
fn a_worker_that_cannot_be_started_is_named() {
    let command = WorkerCommand { program: "/nowhere/worker".into(), args: vec![] };
    let error = Isolated::new(command, Limits::default()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/worker"), "{error}");
}

/// The same graph twice in a row allocates the same, and more nodes more; counting is over when timing goes on.
#[test]
fn allocations_of_a_run_are_counted_in_a_child_and_not_in_a_program_that_does_not_count() {
    let child = isolated(4 << 30, Duration::from_secs(60));
    let of = |model: &[u8]| {
        let mut session = child.load(model, &LoadOptions::for_inputs(&input())).unwrap();
        let found = session.allocations(&input()).unwrap().unwrap();
        assert_eq!(session.time(&input(), 3).unwrap().len(), 3);
        found
    };
    let few = of(&small());
    assert_eq!(few, of(&small()));
    // Two outputs of two rows of two floats at the least.
    assert!(few.count >= 1 && few.bytes >= 16, "{few:?}");
    let longer = model(
        17,
        vec![
            node::new("MatMul", &["x", "w"], &["h"]),
            node::new("Sin", &["h"], &["i"]),
            node::new("Cos", &["i"], &["j"]),
            node::new("Tanh", &["j"], &["y"]),
        ],
    );
    assert!(of(&longer).count > few.count);
    let mut here = TractExecutor.load(&small(), &LoadOptions::for_inputs(&input())).unwrap();
    assert_eq!(here.allocations(&input()).unwrap(), None);
}
