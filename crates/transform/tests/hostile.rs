//! Hostile models: mutated files must be refused or handled, never panic, hang or ask for memory that the file does not justify.
//!
//! Mutations are drawn from a fixed seed. `PLIMSOLL_MUTATIONS` sets how many there are of each model, `PLIMSOLL_NODE_TESTS` adds
//! ONNX's own backend tests as originals. The executor is a stand-in that returns numbers without running anything: what is
//! tested is our own code; executors run behind their own limits.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{
    Model, Tensor, Tensors,
    proto::{Message, ModelProto, NodeProto},
    shape::{Bindings, infer},
};
use plimsoll_runtime::{ExecError, Executor, LoadOptions, Session, Summary};
use plimsoll_transform::{
    Context, Pass,
    prune::{PruneOptions, Share, Sparsity, Structured, Target},
    quantize::{self, Granularity, QuantizeOptions, Scheme},
    run, simplify, strip_names,
};

/// Longest time that all passes together may take over one small model.
const LIMIT: Duration = Duration::from_secs(10);

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    /// A number that arithmetic tends to stumble over.
    fn odd(&mut self) -> i64 {
        const ODD: [i64; 16] = [
            0,
            1,
            -1,
            2,
            -2,
            3,
            7,
            64,
            65_535,
            i32::MAX as i64,
            i32::MIN as i64,
            1 << 40,
            -(1 << 40),
            i64::MAX,
            i64::MIN,
            i64::MAX - 1,
        ];
        ODD[self.below(ODD.len())]
    }
}

/// Returns a few numbers for whatever is asked.
struct StandIn;

impl Executor for StandIn {
    fn name(&self) -> &str {
        "stand-in"
    }
    fn version(&self) -> String {
        "0".into()
    }
    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Session>, ExecError> {
        let model = Model::from_bytes(model)
            .map_err(|e| ExecError::Failed { executor: "stand-in".into(), reason: e.to_string() })?;
        let names = options.capture.iter().cloned().chain(model.outputs().into_iter().map(|o| o.name)).collect();
        Ok(Box::new(Numbers(names)))
    }
}

struct Numbers(Vec<String>);

impl Session for Numbers {
    fn run(&mut self, _: &Tensors) -> Result<Tensors, ExecError> {
        Ok(self.0.iter().map(|name| (name.clone(), Tensor::vector(&[-1.5f32, 0.0, 2.5]))).collect())
    }
    fn summaries(&mut self) -> Result<BTreeMap<String, Summary>, ExecError> {
        Ok(BTreeMap::new())
    }
    fn time(&mut self, _: &Tensors, runs: usize) -> Result<Vec<u64>, ExecError> {
        Ok(vec![1; runs])
    }
}

/// Every pass over one model. The only claim is that it comes to an end, with a result or a reason.
fn check(model: &Model, what: &str) {
    let start = Instant::now();
    for bindings in [Bindings::none(), Bindings::batch(1), Bindings::batch(3)] {
        let shapes = infer(model, &bindings);
        let _ = plimsoll_cost::analyse(model, &shapes);
    }
    let _ = (model.digest(), strip_names(model));
    let samples: Option<Tensors> = model.inputs().into_iter().map(sample).collect();
    let data = samples.and_then(|s| Dataset::new(Path::new("memory"), s, None, None).ok());
    let context = Context { data: data.as_ref(), ..Context::new(&StandIn) };
    let model = match simplify::simplify(model, &context) {
        Ok((simplified, _, _)) => simplified,
        Err(_) => model.clone(),
    };
    let share = |s: &str| -> Share { s.parse().unwrap() };
    let mut passes: Vec<Box<dyn Pass>> = vec![
        Box::new(Structured::new(PruneOptions::new(Target::Macs(share("30%"))))),
        Box::new(Structured::new(PruneOptions::new(Target::Params(share("60%"))))),
        Box::new(Sparsity::new(share("50%"))),
    ];
    for scheme in Scheme::ALL {
        for granularity in [Granularity::PerChannel, Granularity::PerTensor] {
            passes.push(quantize::pass(QuantizeOptions { granularity, ..QuantizeOptions::new(scheme) }));
        }
    }
    for pass in &passes {
        if let Err(error) = run(&model, &[&**pass], 1, &context) {
            assert!(!error.to_string().contains("is defective"), "{what}: {error}");
        }
    }
    assert!(start.elapsed() < LIMIT, "{what}: took {:?}", start.elapsed());
}

/// Two samples for an input, where that is small.
fn sample(spec: plimsoll_onnx::ValueSpec) -> Option<(String, Tensor)> {
    let mut shape: Vec<usize> = vec![2];
    for dim in spec.dims?.into_iter().skip(1) {
        let n = if let plimsoll_onnx::DimSpec::Fixed(n) = dim { usize::try_from(n).ok()? } else { 1 };
        shape.push(n);
    }
    let elements = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).filter(|&n| n < 1 << 20)?;
    let bytes = vec![0; spec.dtype?.bytes_of(elements)?];
    Some((spec.name, Tensor::new(spec.dtype?, shape, bytes).ok()?))
}

fn mutate_bytes(dice: &mut Dice, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes[at] = dice.next() as u8,
            2 => bytes[at] ^= 1 << dice.below(8),
            3 => bytes.insert(at, dice.next() as u8),
            _ => _ = bytes.remove(at),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

fn mutate_structure(dice: &mut Dice, proto: &ModelProto) -> ModelProto {
    let mut proto = proto.clone();
    let version = dice.below(26) as i64;
    let graph = proto.graph.mut_or_insert_default();
    for _ in 0..1 + dice.below(3) {
        let names: Vec<String> = graph.node.iter().flat_map(|n| n.input.iter().chain(&n.output)).cloned().collect();
        let (nodes, weights) = (graph.node.len(), graph.initializer.len());
        match dice.below(12) {
            0..=3 if nodes > 0 => mutate_node(dice, &mut graph.node[dice.0 as usize % nodes], &names),
            4 if nodes > 0 => _ = graph.node.remove(dice.0 as usize % nodes),
            5 if nodes > 0 => {
                let (from, to) = (dice.below(nodes), dice.below(nodes));
                graph.node[to].op_type = graph.node[from].op_type.clone();
            }
            6 if weights > 0 => {
                let weight = &mut graph.initializer[dice.0 as usize % weights];
                match dice.below(4) {
                    0 => weight.data_type = dice.below(30) as i32,
                    1 => weight.dims.push(dice.odd()),
                    2 => _ = weight.dims.pop(),
                    _ if !weight.dims.is_empty() => {
                        let at = dice.below(weight.dims.len());
                        weight.dims[at] = dice.odd();
                    }
                    _ => weight.raw_data.truncate(3),
                }
            }
            7 if weights > 0 => {
                // Numbers that say how: targets, axes, pads.
                let weight = &mut graph.initializer[dice.0 as usize % weights];
                if weight.data_type == 7 && weight.raw_data.len() >= 8 {
                    let at = dice.below(weight.raw_data.len() / 8) * 8;
                    weight.raw_data[at..at + 8].copy_from_slice(&dice.odd().to_le_bytes());
                }
            }
            8 => graph.input.iter_mut().chain(&mut graph.output).for_each(|v| {
                use plimsoll_onnx::proto::{tensor_shape_proto::dimension::Value, type_proto};
                if let Some(type_proto::Value::TensorType(t)) = v.type_.as_mut().and_then(|t| t.value.as_mut())
                    && let Some(dim) = t.shape.as_mut().and_then(|s| s.dim.last_mut())
                {
                    dim.value = Some(Value::DimValue(dice.odd()));
                }
            }),
            9 => graph.input.iter_mut().for_each(|v| v.type_ = None.into()),
            10 => proto.opset_import.iter_mut().for_each(|o| o.version = version),
            _ => proto.ir_version = 1 + version / 2,
        }
    }
    proto
}

fn mutate_node(dice: &mut Dice, n: &mut NodeProto, names: &[String]) {
    match dice.below(7) {
        0 if !n.input.is_empty() => {
            let at = dice.below(n.input.len());
            n.input[at] = names.get(dice.below(names.len())).cloned().unwrap_or_default();
        }
        1 => _ = n.input.pop(),
        2 => n.input.push(names.get(dice.below(names.len())).cloned().unwrap_or_default()),
        3 if !n.attribute.is_empty() => {
            let at = dice.below(n.attribute.len());
            let a = &mut n.attribute[at];
            a.i = dice.odd();
            if !a.ints.is_empty() {
                let at = dice.below(a.ints.len());
                a.ints[at] = dice.odd();
            }
        }
        4 if !n.attribute.is_empty() => {
            let at = dice.below(n.attribute.len());
            let a = &mut n.attribute[at];
            if dice.below(2) == 0 { a.ints.push(dice.odd()) } else { _ = a.ints.pop() }
        }
        5 => n.attribute.clear(),
        _ => n.output.push(format!("more{}", dice.next())),
    }
}

fn originals() -> Vec<(String, Vec<u8>)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let mut open = vec![fixtures];
    open.extend(std::env::var_os("PLIMSOLL_NODE_TESTS").map(PathBuf::from));
    let mut found = Vec::new();
    while let Some(at) = open.pop() {
        for path in std::fs::read_dir(at).into_iter().flatten().flatten().map(|e| e.path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "onnx") {
                found.extend(std::fs::read(&path).map(|bytes| (path.display().to_string(), bytes)));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no fixtures");
    found
}

#[test]
fn mutated_models_are_handled_or_refused() {
    let count = std::env::var("PLIMSOLL_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(120);
    let seed = std::env::var("PLIMSOLL_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let (mut read, mut refused) = (0, 0);
    for (path, bytes) in originals() {
        let proto = ModelProto::parse_from_bytes(&bytes).unwrap();
        let mut dice = Dice(seed ^ bytes.len() as u64);
        for round in 0..count {
            let mutated = if round % 3 == 0 {
                mutate_bytes(&mut dice, &bytes)
            } else {
                mutate_structure(&mut dice, &proto).write_to_bytes().unwrap()
            };
            let what = format!("{path}, mutation {round}");
            match Model::from_bytes(&mutated) {
                Ok(model) => {
                    read += 1;
                    check(&model, &what);
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty(), "{what}");
                }
            }
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}
