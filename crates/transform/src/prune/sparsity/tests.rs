//! Zeros where they were asked for, and what makes up for them.

use std::path::Path;

use faer::Mat;
use plimsoll_dataset::Dataset;
use plimsoll_onnx::{Model, Tensor, Tensors, attr};

use super::{
    super::testing::{Builder, Dice, context, output, patched},
    compensate::{Keep, compensated},
    *,
};
use crate::algebra::{Columns, Split};

/// Convolutions that read correlated channels: what one loses others can make up for.
fn net() -> Model {
    let mut b = Builder::new(5, &[1, 3, 8, 8]);
    let x = b.conv("x", 3, 16, 3);
    let x = b.add("Tanh", &[&x], vec![]);
    let x = b.conv(&x, 16, 16, 3);
    let x = b.add("Relu", &[&x], vec![]);
    let x = b.add("GlobalAveragePool", &[&x], vec![]);
    let x = b.add("Flatten", &[&x], vec![]);
    let (w, bias) = (b.weight(&[16, 6]), b.weight(&[6]));
    let x = b.add("Gemm", &[&x, &w, &bias], vec![]);
    b.finish(&x, &[1, 6])
}

fn samples(count: usize) -> Dataset {
    let inputs = Tensors::from([("x".to_owned(), Dice(9).tensor(&[count, 3, 8, 8]))]);
    Dataset::new(Path::new("calib.npz"), inputs, None, None).unwrap()
}

/// Runs the pass; the pruned model.
fn check(pass: &Sparsity, data: Option<&Dataset>) -> Result<(Model, Vec<String>), Refusal> {
    let (model, context) = (net(), context());
    let patch = match data {
        Some(data) => pass.run(&model, &context.with_data(data))?,
        None => pass.run(&model, &context)?,
    };
    let reasons = patch.reasons().to_vec();
    Ok((patched(&model, patch), reasons))
}

fn weights(model: &Model) -> Vec<Tensor> {
    let all = model.graph().initializer.iter().filter(|t| t.dims.len() >= 2 && t.data_type == 1);
    all.map(|t| Tensor::from_proto(t).unwrap()).collect()
}

fn share_of_zeros(model: &Model) -> f64 {
    let all: Vec<f32> = weights(model).iter().flat_map(|t| t.to_vec::<f32>().unwrap()).collect();
    zeros(&all) as f64 / all.len() as f64
}

/// Mean squared distance of outputs from the original's on samples that no pass saw.
fn error(model: &Model) -> f64 {
    let (original, mut dice) = (net(), Dice(77));
    let one = |pixels: Tensor| -> f64 {
        let inputs = Tensors::from([("x".to_owned(), pixels)]);
        let pairs = output(&original, &inputs).into_iter().zip(output(model, &inputs));
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum()
    };
    (0..40).map(|_| one(dice.tensor(&[1, 3, 8, 8]))).sum()
}

#[test]
fn compensated_zeros_are_as_many_and_cost_less() {
    let data = samples(120);
    for (pattern, least) in [("60%", 0.6), ("80%", 0.8)] {
        let mut pass = Sparsity::new(pattern.parse().unwrap());
        pass.repair = Some(Compensation::None);
        let (plain, _) = check(&pass, Some(&data)).unwrap();
        pass.repair = Some(Compensation::Obs);
        let (obs, reasons) = check(&pass, Some(&data)).unwrap();
        assert!(share_of_zeros(&plain) >= least && share_of_zeros(&obs) >= least, "{pattern}");
        assert!(share_of_zeros(&obs) < least + 0.01, "{pattern}");
        let (a, b) = (error(&plain), error(&obs));
        assert!(b < 0.6 * a, "{pattern}: {a} became {b}: {reasons:?}");
        assert!(reasons.iter().any(|r| r.contains("no time")), "{reasons:?}");
    }
}

#[test]
fn no_block_keeps_more_than_it_may() {
    let data = samples(60);
    for data in [None, Some(&data)] {
        let pass = Sparsity::of(Pattern::Blocks("2:4".parse().unwrap()));
        let (model, _) = check(&pass, data).unwrap();
        for tensor in weights(&model) {
            let (values, shape) = (tensor.to_vec::<f32>().unwrap(), tensor.shape().to_vec());
            // Conv sums over axis 1, the Gemm here over axis 0.
            let axis = usize::from(shape.len() == 4);
            let inner: usize = shape[axis + 1..].iter().product();
            for start in 0..values.len() / (shape[axis] * inner) {
                for offset in 0..inner {
                    let along: Vec<f32> =
                        (0..shape[axis]).map(|c| values[(start * shape[axis] + c) * inner + offset]).collect();
                    assert!(along.chunks(4).all(|b| b.len() - zeros(b) <= 2), "{shape:?}: {along:?}");
                }
            }
        }
    }
}

#[test]
fn zeros_need_samples_only_where_they_are_compensated() {
    let mut pass = Sparsity::new("50%".parse().unwrap());
    assert!(check(&pass, None).is_ok());
    pass.repair = Some(Compensation::Obs);
    assert!(matches!(check(&pass, None), Err(Refusal::NeedsData)));
}

#[test]
fn excluded_layer_keeps_its_weights() {
    let mut pass = Sparsity::of(Pattern::Blocks("1:4".parse().unwrap()));
    pass.exclude = vec![net().graph().node[0].name.clone()];
    let (model, _) = check(&pass, Some(&samples(60))).unwrap();
    let counts: Vec<usize> = weights(&model).iter().map(|t| zeros(&t.to_vec::<f32>().unwrap())).collect();
    assert_eq!(counts[0], 0);
    assert!(counts[1..].iter().all(|c| *c > 0), "{counts:?}");
    pass.exclude = vec!["nobody".into()];
    assert!(matches!(check(&pass, None), Err(Refusal::CheckFailed(_))));
}

#[test]
fn weight_with_a_second_reader_of_another_kind_keeps_its_values() {
    let mut b = Builder::new(5, &[1, 3, 8, 8]);
    let w = b.weight(&[3, 3, 1, 1]);
    let x = b.add("Conv", &["x", &w], vec![]);
    let y = b.add("ReduceSum", &[&w], vec![attr::from_int("keepdims", 0)]);
    let x = b.add("Mul", &[&x, &y], vec![]);
    let model = b.finish(&x, &[1, 3, 8, 8]);
    assert!(matches!(Sparsity::new("50%".parse().unwrap()).run(&model, &context()), Err(Refusal::NoMatch)));
}

/// The best weights on a support are those of the normal equations there.
#[test]
fn what_is_left_is_the_best_that_zeros_allow() {
    let (n, k) = (400, 12);
    let mixed = Dice(3).tensor(&[n, k]).to_vec::<f32>().unwrap();
    // Neighbours share half of what they see.
    let rows: Vec<f32> = (0..n * k).map(|i| mixed[i] + mixed[i - i % k + (i + 1) % k]).collect();
    let weights = Dice(4).tensor(&[2, k]).to_vec::<f32>().unwrap();
    let w = Mat::from_fn(2, k, |o, j| f64::from(weights[o * k + j]));
    let none = Columns { rows: &[], width: 1, from: 0, count: 0 };
    let moments = Split::of(Columns { rows: &rows, width: k, from: 0, count: k }, none, 1, false).whole();
    let found = compensated(&w, &moments, 1e-9, Keep::AllBut(12)).unwrap();
    let gone = (0..2).flat_map(|o| (0..k).map(move |j| (o, j))).filter(|&at| found[at] == 0.0).count();
    assert_eq!(gone, 12);
    for o in 0..2 {
        for j in (0..k).filter(|&j| found[(o, j)] != 0.0) {
            let slope: f64 = (0..k).map(|i| moments.gram[(j, i)] * (found[(o, i)] - w[(o, i)])).sum();
            assert!(slope.abs() < 1e-2 * moments.power(), "row {o}, column {j}: {slope}");
        }
    }
}
