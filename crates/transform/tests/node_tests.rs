//! ONNX's own backend tests, held against reading, writing and simplifying.
//!
//! `PLIMSOLL_NODE_TESTS` names a folder that `dump_node_tests.py` wrote; without it there is nothing to run, and the test says
//! so. Every model must be read and written equal; every one that tract runs must give the same outputs after `simplify`; and
//! what constant folding computes from the test's inputs must be the reference output.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use plimsoll_dataset::read_test_data_set;
use plimsoll_onnx::{
    Model, Tensor, Tensors, node,
    proto::{Message, ModelProto, NodeProto, ValueInfoProto},
    shape::{Bindings, Dim, infer},
};
use plimsoll_runtime::{Executor, LoadOptions, TractExecutor};
use plimsoll_transform::{Context, simplify, verify};
use rayon::prelude::*;

/// Cases whose outputs are drawn at random: there is nothing to compare.
const RANDOM: &[&str] = &[
    "test_bernoulli",
    "test_bernoulli_double",
    "test_bernoulli_double_expanded",
    "test_bernoulli_expanded",
    "test_bernoulli_seed",
    "test_bernoulli_seed_expanded",
    "test_training_dropout",
    "test_training_dropout_default",
    "test_training_dropout_default_mask",
    "test_training_dropout_mask",
];

/// What became of one case.
#[derive(Debug, Default)]
struct Found {
    unreadable: Option<String>,
    differs_on_disk: bool,
    /// Data sets that hold what cannot be fed: sequences, optionals, strings.
    no_dense_data: bool,
    not_run: Option<String>,
    ran: bool,
    ran_partly_frozen: bool,
    wrong_in_tract: bool,
    failed_to_simplify: Option<String>,
    same_after: bool,
    differs_after: Option<String>,
    folded: bool,
    folded_wrong: Option<String>,
    inferred: bool,
    wrong_shape: Option<String>,
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are what this test is for")]
fn backend_tests_round_trip_and_simplify() {
    let Some(folder) = std::env::var_os("PLIMSOLL_NODE_TESTS").map(PathBuf::from) else {
        println!("skipped: PLIMSOLL_NODE_TESTS names no folder (cargo xtask node-tests FOLDER)");
        return;
    };
    let cases = cases(&folder);
    assert!(!cases.is_empty(), "{} holds no cases", folder.display());
    let found: BTreeMap<String, Found> = cases.par_iter().map(|case| (name(case), examine(case))).collect();
    let count = |f: &dyn Fn(&Found) -> bool| found.values().filter(|r| f(r)).count();
    let list = |what: &str, f: &dyn Fn(&Found) -> Option<String>| {
        let lines: Vec<String> = found.iter().filter_map(|(n, r)| Some(format!("  {n}: {}", f(r)?))).collect();
        if !lines.is_empty() {
            println!("{what}:\n{}", lines.join("\n"));
        }
        lines.len()
    };
    println!("{} cases", found.len());
    println!("{} read", count(&|r| r.unreadable.is_none()));
    println!("{} written equal", count(&|r| r.unreadable.is_none() && !r.differs_on_disk));
    println!("{} without dense data (sequences, optionals, strings)", count(&|r| r.no_dense_data));
    println!("{} that tract does not run", count(&|r| r.not_run.is_some()));
    println!("{} run by tract, {} of them other than the reference", count(&|r| r.ran), count(&|r| r.wrong_in_tract));
    println!("{} the same after simplify", count(&|r| r.same_after));
    println!("{} run and compared with all inputs but the first made constants", count(&|r| r.ran_partly_frozen));
    println!("{} excluded as random", found.keys().filter(|n| RANDOM.contains(&n.as_str())).count());
    println!("{} with shapes inferred from the inputs alone", count(&|r| r.inferred));
    println!("{} folded to a constant from constant inputs", count(&|r| r.folded));
    if std::env::var_os("PLIMSOLL_NODE_TESTS_VERBOSE").is_some() {
        list("not run", &|r| r.not_run.clone());
        list("other than the reference in tract", &|r| r.wrong_in_tract.then(String::new));
    }
    let failures = [
        list("unreadable", &|r| r.unreadable.clone()),
        list("not written equal", &|r| r.differs_on_disk.then(String::new)),
        list("not simplified", &|r| r.failed_to_simplify.clone()),
        list("not the same after simplify", &|r| r.differs_after.clone()),
        list("other shapes than inferred", &|r| r.wrong_shape.clone()),
        list("folded to something other than the reference", &|r| r.folded_wrong.clone()),
    ];
    assert_eq!(failures, [0; 6], "see the lists above");
}

/// Folders that hold a `model.onnx`, in order.
fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(at) = open.pop() {
        if at.join("model.onnx").is_file() {
            found.push(at);
            continue;
        }
        let entries = std::fs::read_dir(&at).into_iter().flatten().flatten();
        open.extend(entries.map(|e| e.path()).filter(|p| p.is_dir()));
    }
    found.sort();
    found
}

fn name(case: &Path) -> String {
    case.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn examine(case: &Path) -> Found {
    let mut found = Found::default();
    let path = case.join("model.onnx");
    let model = match Model::read(&path) {
        Ok(model) => model,
        Err(error) => return Found { unreadable: Some(error.to_string()), ..found },
    };
    found.differs_on_disk = !written_equal(&path, &model);
    let random = RANDOM.contains(&name(case).as_str());
    let context = Context::new(&TractExecutor);
    let simplified = match simplify::simplify(&model, &context) {
        Ok((simplified, _, _)) => simplified,
        Err(error) => return Found { failed_to_simplify: Some(error.to_string()), ..found },
    };
    let mut sets: Vec<PathBuf> = std::fs::read_dir(case).into_iter().flatten().flatten().map(|e| e.path()).collect();
    sets.retain(|p| p.is_dir());
    sets.sort();
    for set in sets {
        let Some((inputs, expected)) = data(&set, &model) else {
            found.no_dense_data = true;
            continue;
        };
        match run(&model, &inputs) {
            Err(error) => found.not_run = Some(error),
            Ok(before) => {
                found.ran = true;
                found.wrong_in_tract |= !random && near(&expected, &before).is_err();
                match compare(&before, &simplified, &inputs) {
                    _ if random => {}
                    None => found.same_after = true,
                    difference => found.differs_after = difference,
                }
            }
        }
        match shapes_agree(&model, &inputs, &expected) {
            Ok(inferred) => found.inferred |= inferred,
            Err(why) => found.wrong_shape = Some(why),
        }
        if random {
            continue;
        }
        let partly = frozen(&model, inputs.iter().filter(|(n, _)| **n != first_input(&model)));
        if let Some(Err(why)) = partly.as_ref().map(|m| shapes_agree(m, &inputs, &expected)) {
            found.wrong_shape = Some(format!("partly frozen: {why}"));
        }
        if let Some(partly) = partly
            && let Ok(before) = run(&partly, &inputs)
        {
            found.ran_partly_frozen = true;
            match simplify::simplify(&partly, &context) {
                Err(error) => found.differs_after = Some(format!("partly frozen: {error}")),
                Ok((simplified, _, _)) => {
                    let difference = compare(&before, &simplified, &inputs);
                    found.differs_after = found.differs_after.or(difference.map(|d| format!("partly frozen: {d}")));
                }
            }
        }
        fold(&model, &inputs, &expected, &context, &mut found);
    }
    found.same_after &= found.differs_after.is_none();
    found
}

fn compare(before: &Tensors, simplified: &Model, inputs: &Tensors) -> Option<String> {
    match run(simplified, inputs) {
        Err(error) => Some(format!("does not run any more: {error}")),
        Ok(after) => verify::compare(before, &after, "reference").err().map(|d| d.to_string()),
    }
}

fn first_input(model: &Model) -> String {
    model.inputs().into_iter().next().map(|i| i.name).unwrap_or_default()
}

/// The model with some inputs made constants; `None` where there are none.
fn frozen<'t>(model: &Model, inputs: impl Iterator<Item = (&'t String, &'t Tensor)>) -> Option<Model> {
    let mut proto = model.proto().clone();
    let graph = proto.graph.as_mut()?;
    let before = graph.input.len();
    for (name, tensor) in inputs {
        graph.input.retain(|i| i.name != *name);
        graph.initializer.retain(|i| i.name != *name);
        graph.initializer.push(tensor.to_proto(name));
    }
    let changed = graph.input.len() < before;
    proto.ir_version = proto.ir_version.max(8);
    if changed { Model::from_proto(proto).ok() } else { None }
}

/// Whether the file, its re-encoded form and what is read from that are the same message and have the same digest.
fn written_equal(path: &Path, model: &Model) -> bool {
    let (Ok(file), Ok(bytes)) = (std::fs::read(path), model.to_bytes()) else { return false };
    let canonical = |b: &[u8]| ModelProto::parse_from_bytes(b).ok()?.write_to_bytes().ok();
    let again = Model::from_bytes(&bytes);
    canonical(&file).is_some_and(|c| c == bytes) && again.is_ok_and(|m| m.digest() == model.digest())
}

/// Inputs and outputs of a data set by name; `None` where one is no dense tensor, or does not fit its declaration.
fn data(set: &Path, model: &Model) -> Option<(Tensors, Tensors)> {
    let tensors = |kind: &str, declared: &[ValueInfoProto]| -> Option<Tensors> {
        let read = read_test_data_set(set, kind).ok()?;
        let dense = declared.iter().all(|d| d.type_.has_tensor_type());
        if !dense {
            return None;
        }
        declared.iter().zip(read).map(|(d, t)| Some((d.name.clone(), t.ok()?))).collect()
    };
    Some((tensors("input", &model.graph().input)?, tensors("output", &model.graph().output)?))
}

fn run(model: &Model, inputs: &Tensors) -> Result<Tensors, String> {
    let bytes = model.to_bytes().map_err(|e| e.to_string())?;
    let wanted: Vec<String> = model.inputs().into_iter().map(|i| i.name).collect();
    let inputs: Tensors =
        inputs.iter().filter(|(n, _)| wanted.contains(n)).map(|(n, t)| (n.clone(), t.clone())).collect();
    let mut session = TractExecutor.load(&bytes, &LoadOptions::for_inputs(&inputs)).map_err(|e| e.to_string())?;
    session.run(&inputs).map_err(|e| e.to_string())
}

/// Whether what shape inference claims of the outputs is what they are; declarations of outputs and inner values are taken away.
/// True where every size of every output is known.
fn shapes_agree(model: &Model, inputs: &Tensors, expected: &Tensors) -> Result<bool, String> {
    let mut proto = model.proto().clone();
    if let Some(graph) = proto.graph.as_mut() {
        graph.value_info.clear();
        graph.output.iter_mut().for_each(|o| o.type_ = None.into());
    }
    let bare = Model::from_proto(proto).map_err(|e| e.to_string())?;
    let bound = inputs.iter().map(|(name, t)| (name.clone(), t.shape().to_vec())).collect();
    let mut all = true;
    for bindings in [Bindings::none(), Bindings::shapes(bound)] {
        let shapes = infer(&bare, &bindings);
        for (name, tensor) in expected {
            if shapes.dtype(name).is_some_and(|d| d != tensor.dtype()) {
                return Err(format!("`{name}` is {}, not {:?}", tensor.dtype(), shapes.dtype(name)));
            }
            all &= shapes.concrete(name).is_some();
            let Some(dims) = shapes.dims(name) else { continue };
            let same = |(d, n): (&Dim, &usize)| d.known().is_none_or(|d| d == *n as u64);
            if dims.len() != tensor.shape().len() || !dims.iter().zip(tensor.shape()).all(same) {
                return Err(format!("`{name}` is {:?}, not {dims:?}", tensor.shape()));
            }
        }
    }
    Ok(all)
}

/// As near as ONNX's own runner asks: one in a thousand.
fn near(expected: &Tensors, found: &Tensors) -> Result<(), String> {
    for (name, e) in expected {
        let f = found.get(name).ok_or_else(|| format!("`{name}` is missing"))?;
        if e.dtype() != f.dtype() || e.shape() != f.shape() {
            return Err(format!("`{name}` is {} {:?}, not {} {:?}", f.dtype(), f.shape(), e.dtype(), e.shape()));
        }
        let (Ok(x), Ok(y)) = (e.to_f64(), f.to_f64()) else {
            if e.bytes() == f.bytes() {
                continue;
            }
            return Err(format!("`{name}` has other bytes"));
        };
        let half = matches!(e.dtype(), plimsoll_onnx::DType::F16 | plimsoll_onnx::DType::BF16);
        let relative = if half { 1e-2 } else { 1e-3 };
        let far = |(a, b): (&f64, &f64)| {
            let same = a == b || (a.is_nan() && b.is_nan());
            !same && (!e.dtype().is_float() || (a - b).abs().is_nan() || (a - b).abs() > 1e-5 + relative * a.abs())
        };
        if let Some(i) = x.iter().zip(&y).position(far) {
            return Err(format!("`{name}` has {} in place {i}, not {}", y[i], x[i]));
        }
    }
    Ok(())
}

/// Makes the inputs constants, puts an operator that nobody knows after each output, simplifies, and compares whatever became a constant.
fn fold(model: &Model, inputs: &Tensors, expected: &Tensors, context: &Context<'_>, found: &mut Found) {
    let Some(mut proto) = frozen(model, inputs.iter()).map(|m| m.proto().clone()) else { return };
    let Some(graph) = proto.graph.as_mut() else { return };
    for output in &mut graph.output {
        let held = output.name.clone();
        output.name = format!("{held}__out");
        let domain = "keep".into();
        graph.node.push(NodeProto { domain, ..node::new("Keep", &[&held], &[&output.name]) });
    }
    let Ok(frozen) = Model::from_proto(proto) else { return };
    let Ok((simplified, _, _)) = simplify::simplify(&frozen, context) else {
        found.folded_wrong = Some("the frozen model could not be simplified".into());
        return;
    };
    for (name, tensor) in expected {
        let view = simplified.view();
        let source = view.producer(&format!("{name}__out")).and_then(|(_, n)| node::input(n, 0));
        let Some(constant) = source.and_then(|s| view.initializer(s)) else { continue };
        match Tensor::from_proto(constant) {
            Err(error) => found.folded_wrong = Some(error.to_string()),
            Ok(constant) => {
                found.folded = true;
                let pair = |t: &Tensor| Tensors::from([(name.clone(), t.clone())]);
                if let Err(why) = near(&pair(tensor), &pair(&constant)) {
                    found.folded_wrong = Some(why);
                }
            }
        }
    }
}
