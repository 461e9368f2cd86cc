//! Repairs on synthetic layers: what they gain, and what must not break them.

use std::path::Path;

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{Model, Tensor, Tensors, attr};
use plimsoll_runtime::TractExecutor;

use super::*;
use crate::{
    Context,
    algebra::{Columns, Factor, Split},
    prune::testing::{Builder, Dice, output, patched},
    quantize::{QuantizeOptions, Scheme, pass, runnable},
};

/// Inputs whose channels move together, as those of real layers do: rounding errors can compensate each other.
fn correlated(shape: &[usize], seed: u64) -> Tensor {
    let mut dice = Dice(seed);
    let each: usize = shape[1..].iter().product();
    let values: Vec<f32> = (0..shape[0])
        .flat_map(|_| {
            let common = dice.tensor(&[1]).to_vec::<f32>().unwrap()[0];
            dice.tensor(&[each]).to_vec::<f32>().unwrap().into_iter().map(move |v| 0.3 * v + common + 0.5)
        })
        .collect();
    Tensor::from_elements(shape, &values).unwrap()
}

fn dataset(inputs: Tensor) -> Dataset {
    Dataset::new(Path::new("memory"), Tensors::from([("x".to_owned(), inputs)]), None, None).unwrap()
}

/// Quantizes by a method and returns the relative error of the outputs on other samples.
fn check(model: &Model, scheme: Scheme, repair: Repair, data: &Dataset) -> Result<f64, Refusal> {
    let options = QuantizeOptions { repair: Some(repair), ..QuantizeOptions::new(scheme) };
    let patch = pass(options).run(model, &Context::new(&TractExecutor).with_data(data))?;
    let changed = runnable(&patched(model, patch))?;
    let mut shape = data.inputs()["x"].shape().to_vec();
    let batch = model.inputs()[0].dims.clone().unwrap()[0].clone();
    let batch = if let plimsoll_onnx::DimSpec::Fixed(n) = batch { n as usize } else { 1 };
    shape[0] = 16 * batch;
    let unseen = dataset(correlated(&shape, 4711));
    let (mut error, mut power) = (0.0, 0.0);
    for i in 0..16 {
        let fed = unseen.batch(i * batch..(i + 1) * batch);
        for (a, b) in output(model, &fed).iter().zip(output(&changed, &fed)) {
            error += f64::from(a - b).powi(2);
            power += f64::from(*a).powi(2);
        }
    }
    assert!(error.is_finite());
    Ok((error / power).sqrt())
}

/// Two matrix products with a bias each; the first as Gemm, transposed with factors or plain, the second as MatMul and Add.
fn dense(transposed: bool) -> Model {
    let mut b = Builder::new(5, &[1, 64]);
    let (w, c) = (b.weight(&[64, 64]), b.weight(&[64]));
    let mut attributes = vec![attr::from_int("transB", transposed.into())];
    if transposed {
        attributes.extend([attr::from_float("alpha", 0.5), attr::from_float("beta", 2.0)]);
    }
    let y = b.add("Gemm", &["x", &w, &c], attributes);
    let y = b.add("Relu", &[&y], vec![]);
    let (w, c) = (b.weight(&[64, 32]), b.weight(&[32]));
    let y = b.add("MatMul", &[&y, &w], vec![]);
    let y = b.add("Add", &[&y, &c], vec![]);
    b.finish(&y, &[1, 32])
}

/// A strided, dilated, grouped and a depthwise convolution.
fn convolutions(batch: i64) -> Model {
    let mut b = Builder::new(6, &[batch, 8, 12, 12]);
    let w = b.weight(&[16, 4, 3, 3]);
    let grouped = vec![
        attr::from_int("group", 2),
        attr::from_ints("pads", &[0, 1, 1, 0]),
        attr::from_ints("strides", &[2, 1]),
        attr::from_ints("dilations", &[1, 2]),
    ];
    let y = b.add("Conv", &["x", &w], grouped);
    let y = b.add("Relu", &[&y], vec![]);
    let w = b.weight(&[16, 1, 3, 3]);
    let depthwise = vec![attr::from_int("group", 16), attr::from_string("auto_pad", "SAME_UPPER")];
    let y = b.add("Conv", &[&y, &w], depthwise);
    let y = b.conv(&y, 16, 24, 3);
    b.finish(&y, &[batch, 24, 6, 9])
}

#[test]
fn compensation_beats_rounding_to_nearest() {
    let data = dataset(correlated(&[200, 64], 1));
    for transposed in [false, true] {
        let error = |repair| check(&dense(transposed), Scheme::Int4Weights, repair, &data).unwrap();
        let (none, bias, gptq) = (error(Repair::None), error(Repair::Bias), error(Repair::Gptq));
        assert!(bias < none && gptq < 0.7 * bias, "transposed {transposed}: {none} {bias} {gptq}");
    }
}

#[test]
fn grouped_strided_dilated_and_depthwise_convolutions_are_read_as_the_executor_reads_them() {
    let data = dataset(correlated(&[48, 8, 12, 12], 2));
    for scheme in [Scheme::Int4Weights, Scheme::Int8] {
        let error = |repair| check(&convolutions(1), scheme, repair, &data).unwrap();
        let (none, gptq) = (error(Repair::None), error(Repair::Gptq));
        // In 8 bits most of the error is that of the activations.
        let share = if scheme == Scheme::Int8 { 1.0 } else { 0.9 };
        assert!(gptq < share * none, "{scheme}: {none} {gptq}");
    }
}

#[test]
fn transposed_convolutions_and_stacks_of_one_matrix_are_repaired_too() {
    let mut b = Builder::new(6, &[1, 8, 6, 7]);
    let (w, c) = (b.weight(&[8, 12, 3, 2]), b.weight(&[12]));
    let attributes = vec![
        attr::from_ints("strides", &[2, 3]),
        attr::from_ints("pads", &[1, 0, 0, 1]),
        attr::from_ints("dilations", &[1, 2]),
        attr::from_ints("output_padding", &[1, 0]),
    ];
    let y = b.add("ConvTranspose", &["x", &w, &c], attributes);
    let up = b.finish(&y, &[1, 12, 13, 20]);
    let mut b = Builder::new(7, &[1, 2, 6, 48]);
    let w = b.weight(&[1, 1, 48, 32]);
    let y = b.add("MatMul", &["x", &w], vec![]);
    let stack = b.finish(&y, &[1, 2, 6, 32]);
    for (model, shape) in [(up, [48, 8, 6, 7]), (stack, [48, 2, 6, 48])] {
        let data = dataset(correlated(&shape, 2));
        let error = |repair| check(&model, Scheme::Int4Weights, repair, &data).unwrap();
        let (none, gptq) = (error(Repair::None), error(Repair::Gptq));
        assert!(gptq < 0.8 * none, "{shape:?}: {none} {gptq}");
    }
}

/// A recurrent layer over `x` [1, 12, 16], its last results multiplied.
fn recurrent(op: &str, gates: usize, directions: usize, whole: bool) -> Model {
    const HIDDEN: usize = 24;
    let mut b = Builder::new(9, &[1, 12, 16]);
    let x = b.add("Transpose", &["x"], vec![attr::from_ints("perm", &[1, 0, 2])]);
    let rows = gates * HIDDEN;
    let small = |b: &mut Builder, shape: &[usize]| {
        let values: Vec<f32> = b.dice.tensor(shape).to_vec::<f32>().unwrap().iter().map(|v| v * 0.3).collect();
        b.hold(&Tensor::from_elements(shape, &values).unwrap())
    };
    let (w, r) = (small(&mut b, &[directions, rows, 16]), small(&mut b, &[directions, rows, HIDDEN]));
    let direction = attr::from_string("direction", if directions == 2 { "bidirectional" } else { "forward" });
    let y = b.add(op, &[&x, &w, &r], vec![direction, attr::from_int("hidden_size", HIDDEN as i64)]);
    if whole {
        return b.finish(&y, &[12, directions as i64, 1, HIDDEN as i64]);
    }
    // Only the state at the end is read.
    let end = b.name();
    let n = b.graph.node.last_mut().unwrap();
    n.output = vec![String::new(), end.clone()];
    b.finish(&end, &[directions as i64, 1, HIDDEN as i64])
}

#[test]
fn roundings_of_recurrent_weights_compensate_each_other() {
    let data = dataset(correlated(&[60, 12, 16], 2));
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        for (directions, whole) in [(1, true), (2, true), (1, false)] {
            let model = recurrent(op, gates, directions, whole);
            let error = |repair| check(&model, Scheme::Int8Weights, repair, &data).unwrap();
            let (none, gptq) = (error(Repair::None), error(Repair::Gptq));
            assert!(gptq < 0.9 * none, "{op} {directions} {whole}: {none} {gptq}");
        }
    }
}

#[test]
fn a_fixed_batch_is_captured_in_runs_of_that_size() {
    let data = dataset(correlated(&[48, 8, 12, 12], 2));
    let error = |repair| check(&convolutions(4), Scheme::Int4Weights, repair, &data).unwrap();
    let (none, gptq) = (error(Repair::None), error(Repair::Gptq));
    assert!(gptq < none, "{none} {gptq}");
}

#[test]
fn constant_inputs_dead_channels_and_rank_deficient_rows_leave_a_finite_model() {
    let constant = Tensor::from_elements(&[40, 64], &vec![0.5f32; 40 * 64]).unwrap();
    let mut dead = correlated(&[40, 64], 3).to_vec::<f32>().unwrap();
    dead.iter_mut().enumerate().filter(|(i, _)| i % 2 == 0).for_each(|(_, v)| *v = 0.0);
    let dead = Tensor::from_elements(&[40, 64], &dead).unwrap();
    // Fewer rows than columns.
    let few = correlated(&[12, 64], 4);
    for (what, inputs) in [("constant", constant), ("dead", dead), ("few", few)] {
        for scheme in [Scheme::Int8, Scheme::Int4Weights] {
            for repair in Repair::ALL {
                // What the samples do not show may be off by more, but not without bound.
                let error = check(&dense(false), scheme, repair, &dataset(inputs.clone())).unwrap();
                assert!(error < 1.5, "{what} {scheme} {repair}: {error}");
            }
        }
    }
}

#[test]
fn one_sample_is_enough_to_come_to_an_end() {
    let data = dataset(correlated(&[1, 64], 5));
    assert!(check(&dense(false), Scheme::Int4Weights, Repair::Gptq, &data).unwrap() < 1.0);
}

#[test]
fn samples_that_are_not_finite_are_refused() {
    let mut values = vec![0.25f32; 20 * 64];
    values[7 * 64 + 3] = f32::NAN;
    let data = dataset(Tensor::from_elements(&[20, 64], &values).unwrap());
    for scheme in [Scheme::Int8, Scheme::Int4Weights] {
        let error = check(&dense(false), scheme, Repair::Gptq, &data).unwrap_err();
        assert!(error.to_string().contains("sample 7"), "{scheme}: {error}");
    }
}

#[test]
fn repair_that_was_asked_for_needs_samples() {
    let options = QuantizeOptions { repair: Some(Repair::Gptq), ..QuantizeOptions::new(Scheme::Int4Weights) };
    let found = pass(options).run(&dense(false), &Context::new(&TractExecutor));
    assert!(matches!(found, Err(Refusal::NeedsData)), "{found:?}");
    let without = pass(QuantizeOptions::new(Scheme::Int4Weights)).run(&dense(false), &Context::new(&TractExecutor));
    assert!(without.is_ok(), "{without:?}");
}

#[test]
fn the_same_samples_and_seed_give_the_same_bytes_on_any_number_of_threads() {
    let data = dataset(correlated(&[60, 8, 12, 12], 2));
    let bytes = |threads| {
        let work = || {
            let context = Context::new(&TractExecutor).with_data(&data);
            let patch = pass(QuantizeOptions::new(Scheme::Int4Weights)).run(&convolutions(1), &context).unwrap();
            patched(&convolutions(1), patch).to_bytes().unwrap()
        };
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    };
    assert!(bytes(1) == bytes(3));
}

#[test]
fn compensated_codes_have_less_loss_than_the_nearest() {
    let k = 24;
    let mut dice = Dice(8);
    let rows = dice.tensor(&[200 * k]).to_vec::<f32>().unwrap();
    let rows: Vec<f32> = rows.chunks(k).flat_map(|r| r.iter().map(|v| v + 2.0 * r[0]).collect::<Vec<_>>()).collect();
    let targets = vec![0f32; 200];
    let x = Columns { rows: &rows, width: k, from: 0, count: k };
    let t = Columns { rows: &targets, width: 1, from: 0, count: 1 };
    let moments = Split::of(x, t, 1, true).whole();
    let order: Vec<usize> = (0..k).collect();
    let damping = 0.01 * moments.power();
    let factor = Factor::of(&moments.gram, damping, &order).unwrap();
    let hessian: Vec<f64> =
        (0..k * k).map(|e| moments.gram[(e / k, e % k)] + if e / k == e % k { damping } else { 0.0 }).collect();
    // UᵀU H = I.
    let upper = factor.inverse_upper();
    for i in 0..k {
        for j in 0..k {
            let inverse = |a: usize, b: usize| (0..k).map(|m| upper[m * k + a] * upper[m * k + b]).sum::<f64>();
            let entry: f64 = (0..k).map(|m| inverse(i, m) * hessian[m * k + j]).sum();
            assert!((entry - f64::from(u8::from(i == j))).abs() < 1e-6, "{i} {j}: {entry}");
        }
    }
    let loss = |w: &[f64], scale: f64, codes: &[i8]| {
        let d: Vec<f64> = w.iter().zip(codes).map(|(w, c)| f64::from(*c) * scale - w).collect();
        (0..k).map(|i| (0..k).map(|j| d[i] * hessian[i * k + j] * d[j]).sum::<f64>()).sum::<f64>()
    };
    let (mut before, mut after) = (0.0, 0.0);
    for _ in 0..20 {
        let w: Vec<f64> = dice.tensor(&[k]).to_vec::<f32>().unwrap().into_iter().map(f64::from).collect();
        let diagonal: Vec<f64> = (0..k).map(|i| hessian[i * k + i]).collect();
        let scale = search_scale(&w, &diagonal, Codebook::FOUR, 0.0);
        let nearest: Vec<i8> = w.iter().map(|w| Codebook::FOUR.nearest((w / scale) as f32)).collect();
        let problem = gptq::Problem { hessian: &hessian, upper: &upper, book: Codebook::FOUR, fixed_scale: false };
        let solved = problem.solve(&w, scale, 0.0);
        before += loss(&w, scale, &nearest);
        after += loss(&w, solved.scale, &solved.codes);
    }
    assert!(after < 0.6 * before, "{before} {after}");
}
