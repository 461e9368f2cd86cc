//! Gradients against differences of losses, forward values against the executor, on random graphs.

use std::{collections::BTreeMap, path::Path};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{DType, Model, Tensor, Tensors, attr, proto::AttributeProto};

use super::{
    PARTS, Pruned,
    augment::Allowed,
    batches::Samples,
    distill, farthest,
    features::Feature,
    goes_astray,
    lesson::{Distances, Lesson},
    tape::{Inputs, Tape},
};
use crate::prune::testing::{Builder, Dice, output, random};
use crate::{observe::Runs, prune::testing::context};

fn shapes(model: &Model, input: &[usize]) -> (BTreeMap<String, Vec<usize>>, Vec<String>) {
    let outputs = model.outputs().into_iter().map(|o| o.name).collect();
    (BTreeMap::from([("x".to_owned(), input.to_vec())]), outputs)
}

/// Compares forward values with the executor's, and gradients with differences.
fn check(model: &Model, input: &[usize], seed: u64) {
    let (shapes, outputs) = shapes(model, input);
    let tape = Tape::of(model, &shapes, &outputs).unwrap();
    let mut dice = Dice(seed);
    let x = dice.tensor(input);
    let inputs = Inputs::from([("x".to_owned(), x.to_vec::<f32>().unwrap())]);
    let weights: Vec<Vec<f32>> = tape.weights.iter().map(|(_, v)| v.clone()).collect();
    assert!(!weights.is_empty());
    let values = tape.forward(&weights, &inputs).unwrap();
    let found = tape.outputs(&values)[0].to_vec();
    let expected = output(model, &Tensors::from([("x".to_owned(), x)]));
    let largest = expected.iter().fold(1f32, |m, v| m.max(v.abs()));
    for (e, f) in expected.iter().zip(&found) {
        assert!((e - f).abs() <= 2e-4 * largest, "seed {seed}: {expected:?} against {found:?}");
    }
    // The loss is a weighted sum of the outputs.
    let by: Vec<f32> = dice.tensor(&[found.len()]).to_vec().unwrap();
    let loss = |weights: &[Vec<f32>]| -> f64 {
        let values = tape.forward(weights, &inputs).unwrap();
        tape.outputs(&values)[0].iter().zip(&by).map(|(y, b)| f64::from(*y) * f64::from(*b)).sum()
    };
    let gradient = tape.backward(&weights, &values, vec![by.clone()]);
    for w in 0..weights.len() {
        // Along a random direction of each weight.
        let direction: Vec<f32> = dice.tensor(&[weights[w].len()]).to_vec().unwrap();
        let along: f64 = gradient[w].iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let moved = |by: f32| {
            let mut moved = weights.clone();
            moved[w].iter_mut().zip(&direction).for_each(|(v, d)| *v += by * d);
            loss(&moved)
        };
        let difference = |h: f32| (moved(h) - moved(-h)) / (2.0 * f64::from(h));
        // Corners of activations spoil a difference that straddles one: a smaller one must fit then.
        let near = |d: f64| (d - along).abs() <= 2e-2 * (along.abs() + 1e-2 * f64::from(largest)) + 1e-3;
        let tried = [1e-2, 1e-3, 3e-4].map(difference);
        assert!(tried.into_iter().any(near), "seed {seed}, `{}`: {along} against {tried:?}", tape.weights[w].0);
    }
}

#[test]
fn gradients_of_random_graphs_are_those_of_differences() {
    for seed in 0..24 {
        check(&random(seed), &[1, 3, 8, 8], seed);
    }
}

/// A convolution of a computed input, so that there is a gradient by it too.
fn check_windows(input: &[usize], weight: &[usize], output: &[usize], attributes: Vec<AttributeProto>) {
    let whole = |shape: &[usize]| shape.iter().map(|d| *d as i64).collect::<Vec<_>>();
    let mut b = Builder::new(weight.len() as u64, &whole(input));
    let scale = b.weight(&[1, input[1]].into_iter().chain(input[2..].iter().map(|_| 1)).collect::<Vec<_>>());
    let x = b.add("Mul", &["x", &scale], vec![]);
    let (w, bias) = (b.weight(weight), b.weight(&weight[..1]));
    let y = b.add("Conv", &[&x, &w, &bias], attributes);
    check(&b.finish(&y, &whole(output)), input, 1);
}

/// Two samples each, so that what one leaves in a table of windows is seen by the next.
#[test]
fn gradients_of_windows_of_any_kind_are_those_of_differences() {
    let ints = attr::from_ints;
    check_windows(&[2, 3, 9], &[4, 3, 3], &[2, 4, 5], vec![ints("strides", &[2]), ints("pads", &[1, 1])]);
    check_windows(&[2, 3, 9], &[4, 3, 3], &[2, 4, 6], vec![ints("dilations", &[2]), ints("pads", &[0, 1])]);
    let late = vec![ints("strides", &[2, 2]), ints("pads", &[0, 0, 1, 1])];
    check_windows(&[2, 2, 6, 5], &[4, 2, 3, 2], &[2, 4, 3, 3], late);
    check_windows(&[2, 4, 5, 5], &[6, 2, 1, 1], &[2, 6, 5, 5], vec![attr::from_int("group", 2)]);
    check_windows(&[2, 1, 3, 4, 5], &[2, 1, 2, 2, 2], &[2, 2, 2, 3, 4], vec![]);
}

#[test]
fn gradients_of_other_operators_are_those_of_differences() {
    for (seed, op) in
        ["Sigmoid", "HardSigmoid", "HardSwish", "Softplus", "Erf", "Exp", "Elu", "LeakyRelu", "Abs", "Neg"]
            .iter()
            .enumerate()
    {
        let mut b = Builder::new(seed as u64, &[1, 3, 8, 8]);
        b.opset = 15;
        let x = b.conv("x", 3, 4, 3);
        let x = b.add(op, &[&x], vec![]);
        let axes = b.ints(&[1, 2, 3]);
        let x = b.add("ReduceSum", &[&x, &axes], vec![attr::from_int("keepdims", 1)]);
        let w = b.weight(&[1, 5]);
        let x = b.add("Mul", &[&x, &w], vec![]);
        let y = b.add("Softmax", &[&x], vec![attr::from_int("axis", 3)]);
        let model = b.finish(&y, &[1, 1, 1, 5]);
        check(&model, &[1, 3, 8, 8], seed as u64);
    }
}

#[test]
fn an_operator_without_a_gradient_is_refused_with_its_node() {
    let mut b = Builder::new(1, &[1, 3, 8, 8]);
    let x = b.conv("x", 3, 4, 3);
    let y = b.add("Sin", &[&x], vec![]);
    let model = b.finish(&y, &[1, 4, 8, 8]);
    let (shapes, outputs) = shapes(&model, &[1, 3, 8, 8]);
    let error = Tape::of(&model, &shapes, &outputs).err().unwrap().to_string();
    assert!(error.contains("Sin"), "{error}");
}

#[test]
fn gradients_of_inner_values_are_those_of_differences() {
    let mut dice = Dice(7);
    let teacher: Vec<f32> = dice.tensor(&[2, 5, 3]).to_vec().unwrap();
    let mut student: Vec<f32> = dice.tensor(&[2, 2, 3]).to_vec().unwrap();
    let of = |student: &[f32]| {
        let mut feature = Feature::of(Some(&vec![1, 4]), &[2, 5, 3], &[2, 2, 3]).unwrap();
        feature.see(&teacher, student);
        feature
    };
    let gradient = of(&student).gradient(&teacher, &student, 0.5);
    for i in 0..student.len() {
        let before = student[i];
        let mut at = |by: f32| {
            student[i] = before + by;
            0.5 * of(&student).seen().unwrap()
        };
        let difference = (at(0.01) - at(-0.01)) / 0.02;
        student[i] = before;
        assert!((difference - f64::from(gradient[i])).abs() < 1e-3, "{difference} against {}", gradient[i]);
    }
    // The same channels as the teacher's are no error.
    let same: Vec<f32> = [3..6, 12..15, 18..21, 27..30].into_iter().flat_map(|r| teacher[r].to_vec()).collect();
    assert_eq!(of(&same).seen(), Some(0.0));
}

#[test]
fn inner_values_whose_channels_cannot_be_told_are_not_compared() {
    assert!(Feature::of(None, &[2, 5, 3], &[2, 2, 3]).is_none());
    assert!(Feature::of(Some(&vec![1, 5]), &[2, 5, 3], &[2, 2, 3]).is_none());
    assert!(Feature::of(Some(&vec![1]), &[2, 5, 3], &[2, 2, 3]).is_none());
    assert!(Feature::of(Some(&vec![1, 4]), &[2, 5, 3], &[2, 2, 2]).is_none());
    // A constant says nothing.
    let mut constant = Feature::of(None, &[1, 4], &[1, 4]).unwrap();
    constant.see(&[3.0; 4], &[1.0; 4]);
    assert_eq!(constant.seen(), None);
    assert!(constant.gradient(&[3.0; 4], &[1.0; 4], 1.0).is_empty());
}

#[test]
fn an_axis_along_which_places_count_is_neither_moved_nor_mirrored() {
    // All is alike along the second axis only.
    let shape = [16, 16];
    let striped: Vec<f32> = (0..256).map(|i| (i / 16) as f32).collect();
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from((a - b).powi(2))).sum::<f64>();
    let noticed = |change: &super::augment::Change| Ok(apart(&striped, &change.apply(&striped, &shape)));
    let allowed = Allowed::found(2, noticed).unwrap();
    let across: Vec<f32> = (0..256).map(|i| (i % 16) as f32).collect();
    let mut dice = crate::draw::Dice::new(3);
    let mut changed = 0;
    for _ in 0..32 {
        let change = allowed.drawn(&mut dice);
        assert_eq!(change.apply(&striped, &shape), striped);
        changed += usize::from(change.apply(&across, &shape) != across);
    }
    assert!(changed > 16, "{changed} of 32");
}

#[test]
fn whole_numbers_are_spliced_and_not_averaged() {
    let both = Tensor::from_elements(&[2, 16], &[[0i64; 16], [100; 16]].concat()).unwrap();
    let data = Dataset::new(Path::new("x.npz"), Tensors::from([("x".to_owned(), both)]), None, None);
    let data = data.unwrap();
    let mut b = Builder::new(1, &[-1, 16]);
    b.opset = 15;
    let y = b.add("Identity", &["x"], vec![]);
    b.graph.input[0].type_.as_mut().unwrap().mut_tensor_type().elem_type = DType::I64.to_onnx();
    let model = b.finish(&y, &[-1, 16]);
    let context = context().with_data(&data);
    let runs = Runs::of(&model, &context, 2).unwrap();
    let samples = Samples::of(&context, &runs, 2).unwrap();
    let mut dice = crate::draw::Dice::new(5);
    let drawn: Vec<Inputs> = (0..32).map(|_| samples.drawn(&mut dice, 1.0, &Allowed::default())).collect();
    let rows = || drawn.iter().flat_map(|b| b["x"].chunks_exact(16));
    assert!(rows().flatten().all(|v| *v == 0.0 || *v == 100.0));
    assert!(rows().any(|r| r.contains(&0.0) && r.contains(&100.0)));
}

/// Trains what was not pruned at all on so many samples; the samples that the rehearsal was fitted to.
fn rehearsed(count: usize) -> Result<Vec<usize>, crate::Refusal> {
    let mut b = Builder::new(5, &[-1, 3, 8, 8]);
    let x = b.conv("x", 3, 4, 3);
    let y = b.conv(&x, 4, 2, 3);
    let model = b.finish(&y, &[-1, 2, 8, 8]);
    let x = Dice(1).tensor(&[count, 3, 8, 8]);
    let data = Dataset::new(Path::new("calib.npz"), Tensors::from([("x".to_owned(), x)]), None, None).unwrap();
    let context = context().with_data(&data);
    let pruned = Pruned { original: &model, model: &model, kept: BTreeMap::new(), macs: [1 << 30; 2] };
    let mut seen = vec![];
    let refitted = |runs: Runs<'_>| {
        seen = (0..runs.len()).map(|run| runs.first_sample(run)).collect();
        Ok(model.clone())
    };
    let found = distill(&pruned, refitted, &context, count)?;
    // What is as near as can be is left as it is.
    assert!(found.model.is_none() && found.held[0] == 0.0);
    Ok(seen)
}

#[test]
fn the_rehearsal_is_not_fitted_to_the_samples_that_judge_it() {
    assert_eq!(rehearsed(11).unwrap(), [0, 1, 2, 3, 5, 6, 7, 8, 10]);
}

#[test]
fn samples_too_few_to_hold_some_back_are_refused() {
    let error = rehearsed(4).unwrap_err().to_string();
    assert!(error.contains("holds back"), "{error}");
}

/// How far a model is from itself, asked without and with other views of 16 samples, and how many views there are.
fn from_itself(flat: bool) -> (f64, f64, usize) {
    let mut b = Builder::new(5, &[-1, 3, 8, 8]);
    let x = b.conv("x", 3, 4, 3);
    let y = if flat { b.add("Flatten", &[&x], vec![]) } else { b.add("GlobalAveragePool", &[&x], vec![]) };
    let model = b.finish(&y, if flat { &[-1, 256] } else { &[-1, 4, 1, 1] });
    let x = Dice(1).tensor(&[16, 3, 8, 8]);
    let data = Dataset::new(Path::new("calib.npz"), Tensors::from([("x".to_owned(), x)]), None, None).unwrap();
    let context = context().with_data(&data);
    let runs = Runs::of(&model, &context, 16).unwrap();
    let samples = || Samples::of(&context, &runs, 8).unwrap();
    let lesson = Lesson::of(&model, &model, &BTreeMap::new(), samples()).unwrap();
    let exam = lesson.exam(&samples(), 0).unwrap();
    let found = lesson.distances(&exam, &lesson.start()).unwrap();
    assert_eq!((found.own.len(), found.mean.len()), (16, 16));
    (found.own.iter().sum(), found.mean.iter().sum(), lesson.views)
}

#[test]
fn the_original_is_asked_about_other_views_only_where_it_hardly_notices() {
    let (own, mean, views) = from_itself(true);
    assert!(own < 1e-9 && mean < 1e-9 && views == 0, "{own} {mean} {views}");
    // Means over all places hardly change when an image is mirrored or moved.
    let (own, mean, views) = from_itself(false);
    assert!(own < 1e-9 && mean > 1e-6 && views > 0, "{own} {mean} {views}");
}

/// Distances that differ from sample to sample about a mean, by more than their mean difference from others with another phase.
fn about(mean: f64, spread: f64, phase: usize) -> Vec<f64> {
    (0..40).map(|i| mean + spread * f64::from(u8::from((i + phase).is_multiple_of(2))) - spread / 2.0).collect()
}

#[test]
fn training_goes_as_far_as_is_not_clearly_worse() {
    let both = |d: Vec<f64>| Distances { own: d.clone(), mean: d };
    let start = both(about(1.0, 0.02, 0));
    let judged = |ends: [Vec<f64>; 3]| PARTS.into_iter().zip(ends.map(both)).collect::<Vec<_>>();
    // The second is the nearest; the first is farther by less than noise, or by more.
    let within = judged([about(0.51, 0.2, 1), about(0.50, 0.2, 0), about(0.6, 0.2, 0)]);
    assert_eq!(farthest(&start, &within, 1.0).0, PARTS[0]);
    let beyond = judged([about(0.6, 0.2, 1), about(0.50, 0.2, 0), about(0.6, 0.2, 0)]);
    assert_eq!(farthest(&start, &beyond, 1.0).0, PARTS[1]);
    // What is not clearly better than the start is not gone to, even if it is within the noise of the nearest.
    let noisy = judged([about(0.99, 2.0, 1), about(0.98, 0.02, 0), about(0.98, 0.02, 0)]);
    assert_eq!(farthest(&start, &noisy, 1.0).0, PARTS[1]);
    let worse = judged([about(1.2, 0.02, 0), about(1.1, 0.02, 0), about(1.05, 0.02, 0)]);
    assert_eq!(farthest(&start, &worse, 1.0).0, PARTS[2]);
}

#[test]
fn what_leaves_the_original_s_own_outputs_is_not_gone_to() {
    let start = Distances { own: about(0.1, 0.02, 0), mean: about(1.0, 0.02, 0) };
    let end = |own: f64, mean: f64| Distances { own: about(own, 0.02, 0), mean: about(mean, 0.02, 0) };
    let judged: Vec<_> = PARTS.into_iter().zip([end(0.2, 0.5), end(0.1, 0.6), end(0.05, 0.7)]).collect();
    assert!(goes_astray(&start, &judged[0].1));
    assert_eq!(farthest(&start, &judged, 1.0).0, PARTS[1]);
    // A little is nothing.
    let start = Distances { own: about(0.001, 0.0, 0), mean: about(1.0, 0.02, 0) };
    assert!(!goes_astray(&start, &Distances { own: about(0.004, 0.0, 0), mean: vec![] }));
}
