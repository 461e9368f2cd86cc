//! Gradients against differences of losses, forward values against the executor, on random graphs.

use std::collections::BTreeMap;

use plimsoll_onnx::{Model, Tensors, attr};

use super::tape::{Inputs, Tape};
use crate::prune::testing::{Builder, Dice, output, random};

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
