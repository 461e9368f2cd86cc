//! Choosing and repairing by samples, on small models whose best answer is known.

use std::path::Path;

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{Model, Tensor, Tensors, attr};

use super::{
    Allocation, PruneOptions, Repair, Score, Structured, Target,
    testing::{Builder, Dice, context, output, patched, random},
};
use crate::Pass;

fn samples(seed: u64, count: usize) -> Dataset {
    let x = Dice(seed).tensor(&[count, 3, 8, 8]);
    Dataset::new(Path::new("calib.npz"), Tensors::from([("x".to_owned(), x)]), None, None).unwrap()
}

/// Prunes by these options; the error of the outputs on other samples, relative to their energy.
fn check(model: &Model, options: PruneOptions) -> f64 {
    let data = samples(1, 60);
    let patch = Structured::new(options).run(model, &context().with_data(&data)).unwrap();
    let pruned = patched(model, patch);
    assert!(pruned.encoded_len() < model.encoded_len());
    let (mut error, mut energy) = (0f64, 0f64);
    for seed in 100..116 {
        let inputs = Tensors::from([("x".to_owned(), Dice(seed).tensor(&[1, 3, 8, 8]))]);
        for (a, b) in output(model, &inputs).iter().zip(output(&pruned, &inputs)) {
            error += f64::from(a - b).powi(2);
            energy += f64::from(*a).powi(2);
        }
    }
    error / energy
}

fn options(share: &str, repair: Repair) -> PruneOptions {
    PruneOptions { repair: Some(repair), ..PruneOptions::new(Target::Macs(share.parse().unwrap())) }
}

/// A convolution of which every filter occurs twice, and one that reads it.
fn doubled() -> Model {
    let mut b = Builder::new(3, &[1, 3, 8, 8]);
    let half = b.dice.tensor(&[6, 3, 3, 3]).to_vec::<f32>().unwrap();
    let whole = Tensor::from_elements(&[12, 3, 3, 3], &[half.clone(), half].concat()).unwrap();
    let w = b.hold(&whole);
    let pads = vec![attr::from_ints("pads", &[1; 4]), attr::from_ints("kernel_shape", &[3, 3])];
    let x = b.add("Conv", &["x", &w], pads);
    let x = b.add("Relu", &[&x], vec![]);
    let y = b.conv(&x, 12, 4, 3);
    b.finish(&y, &[1, 4, 8, 8])
}

#[test]
fn channels_that_others_repeat_go_first_and_cost_nothing() {
    let repaired = options("40%", Repair::LeastSquares);
    assert!(check(&doubled(), repaired.clone()) < 1e-3);
    // Each by itself looks as good as any other: norms see no repetition.
    let blind = PruneOptions { score: Some(Score::Magnitude), ..repaired };
    let blind = PruneOptions { repair: Some(Repair::None), allocation: Some(Allocation::Global), ..blind };
    assert!(check(&doubled(), blind) > 1e-2);
}

#[test]
fn repair_brings_random_graphs_nearer_to_the_original() {
    let (mut better, mut total, mut before) = (0, 0f64, 0f64);
    for seed in 0..10 {
        let model = random(seed);
        let plain = PruneOptions { allocation: Some(Allocation::Uniform), ..options("20%", Repair::None) };
        let fitted = PruneOptions { repair: Some(Repair::LeastSquares), ..plain.clone() };
        let (a, b) = (check(&model, plain), check(&model, fitted));
        better += usize::from(b < a);
        total += b;
        before += a;
    }
    assert!(better >= 8 && total < 0.7 * before, "{better} of 10, {before} → {total}");
}

#[test]
fn distillation_ends_nearer_or_leaves_all_as_it_was_on_any_number_of_threads() {
    let mut b = Builder::new(5, &[-1, 3, 8, 8]);
    let x = b.conv("x", 3, 8, 3);
    let x = b.add("Relu", &[&x], vec![]);
    let x = b.conv(&x, 8, 8, 3);
    let x = b.add("Relu", &[&x], vec![]);
    let y = b.conv(&x, 8, 2, 3);
    let model = b.finish(&y, &[-1, 2, 8, 8]);
    let data = samples(1, 160);
    let made = |threads: usize, repair| {
        let options = PruneOptions { allocation: Some(Allocation::Uniform), ..options("30%", repair) };
        let work = || Structured::new(options.clone()).run(&model, &context().with_data(&data)).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let patch = pool.install(work);
        let told = patch.reasons().iter().find(|r| r.starts_with("distilled")).cloned();
        (patched(&model, patch).to_bytes().unwrap(), told)
    };
    let (one, told) = made(1, Repair::Distill);
    assert!(one == made(3, Repair::Distill).0);
    let told = told.expect("two layers can be brought nearer than by least squares one after the other");
    let numbers: Vec<f64> = told.split([' ', ',', ';']).filter_map(|w| w.parse().ok()).collect();
    // Before, after, and the standard error of what lies between.
    assert!(numbers[1] + numbers[2] < numbers[0], "{told}");
    assert!(one != made(1, Repair::LeastSquares).0);
}
