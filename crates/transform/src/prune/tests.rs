//! Pruned models against masked ones, and the refusals.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_onnx::{Model, Patch, Tensor, Tensors, attr};

use super::{
    groups::{Groups, Reason, Role, Track},
    magnitude,
    movement::regrouped,
    removal::remove,
    testing::{Builder, Dice, context, output, patched, random},
    *,
};
use crate::{Pass, Refusal};

/// The original with the removed channels silenced: the rows of weights that make them, biases and normalisation parameters
/// become zero. Consumers stay as they are.
fn masked(model: &Model, groups: &Groups<'_>, removed: &BTreeSet<usize>) -> Model {
    let view = model.view();
    let mut silenced: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    for cut in &groups.cuts {
        let tensor = Tensor::from_proto(view.constant(cut.param).unwrap()).unwrap();
        if cut.role != Role::Makes && tensor.shape().len() > 1 {
            continue;
        }
        let values = silenced.entry(cut.param).or_insert_with(|| tensor.to_vec().unwrap());
        let inner: usize = tensor.shape()[cut.axis + 1..].iter().product();
        for (i, v) in values.iter_mut().enumerate() {
            if removed.contains(&groups.labels.root(cut.labels[i / inner % cut.labels.len()])) {
                *v = 0.0;
            }
        }
    }
    let mut patch = Patch::new();
    for (name, values) in silenced {
        let shape = Tensor::from_proto(view.constant(name).unwrap()).unwrap().shape().to_vec();
        patch.set_initializer(name, &Tensor::from_elements(&shape, &values).unwrap());
    }
    patched(model, patch)
}

/// Removes a random set of channels; returns how many.
fn check(seed: u64) -> usize {
    let model = random(seed);
    let groups = Groups::of(&model, &[]);
    // Only what the model returns has to stay in these graphs.
    for (layer, reason) in &groups.refused {
        assert!(matches!(reason, Reason::Output(_)), "seed {seed}: `{layer}` stays: {reason}");
    }
    let mut dice = Dice(seed ^ 0xabcd);
    let scores = groups.groups.iter().flat_map(|g| &g.channels).map(|&c| (c, dice.below(1000) as f64)).collect();
    // At one unit tract 0.23.9 cannot load a flattened matrix product: two is also the default of the pass.
    let order = magnitude::order(&groups, &scores, Allocation::Global, 2);
    let removed: BTreeSet<usize> = order[..dice.below(order.len() + 1)].iter().copied().collect();
    let pruned = patched(&model, remove(&model, &groups, &removed).unwrap());
    let inputs = Tensors::from([("x".to_owned(), dice.tensor(&[1, 3, 8, 8]))]);
    let (expected, found) = (output(&masked(&model, &groups, &removed), &inputs), output(&pruned, &inputs));
    let largest = expected.iter().fold(1f32, |m, v| m.max(v.abs()));
    for (e, f) in expected.iter().zip(&found) {
        assert!((e - f).abs() <= 1e-4 * largest, "seed {seed}: {expected:?} became {found:?}");
    }
    removed.len()
}

#[test]
fn pruned_random_graphs_equal_masked_ones() {
    let removed: usize = (0..120).map(check).sum();
    assert!(removed > 500, "the generator gives hardly anything to remove: {removed}");
}

#[test]
fn share_removed_lies_in_the_window() {
    for (seed, target) in [(3u64, "30%"), (5, "20%"), (8, "40%")] {
        let mut b = Builder::new(seed, &[1, 3, 8, 8]);
        let x = b.conv("x", 3, 32, 3);
        let x = b.add("Relu", &[&x], vec![]);
        let x = b.conv(&x, 32, 48, 3);
        let x = b.add("Relu", &[&x], vec![]);
        let x = b.conv(&x, 48, 4, 1);
        let model = b.finish(&x, &[1, 4, 8, 8]);
        let share: Share = target.parse().unwrap();
        let macs = |m: &Model| {
            let shapes = plimsoll_onnx::shape::infer(m, &plimsoll_onnx::shape::Bindings::batch(1));
            plimsoll_cost::analyse(m, &shapes).macs as f64
        };
        for allocation in [Allocation::Global, Allocation::Uniform] {
            let options = PruneOptions { allocation: Some(allocation), ..PruneOptions::new(Target::Macs(share)) };
            let patch = Structured::new(options).run(&model, &context()).unwrap();
            let gone = 1.0 - macs(&patched(&model, patch)) / macs(&model);
            assert!((share.fraction()..=share.fraction() + 0.02).contains(&gone), "{target}: {gone}");
        }
    }
}

#[test]
fn model_outputs_keep_their_channels() {
    let mut b = Builder::new(1, &[1, 3, 8, 8]);
    let x = b.conv("x", 3, 8, 3);
    let model = b.finish(&x, &[1, 8, 8, 8]);
    let groups = Groups::of(&model, &[]);
    assert!(groups.groups.is_empty());
    assert_eq!(groups.refused[0].1, Reason::Output(x));
    let pass = Structured::new(PruneOptions::new(Target::Macs("10%".parse().unwrap())));
    assert!(matches!(pass.run(&model, &context()), Err(Refusal::Node { .. })));
}

#[test]
fn sum_with_the_input_fixes_channels() {
    let mut b = Builder::new(1, &[1, 3, 8, 8]);
    let x = b.conv("x", 3, 3, 3);
    let y = b.add("Add", &[&x, "x"], vec![]);
    let y = b.conv(&y, 3, 2, 1);
    let model = b.finish(&y, &[1, 2, 8, 8]);
    let groups = Groups::of(&model, &[]);
    assert!(groups.groups.is_empty());
    assert!(groups.refused.iter().any(|(_, r)| matches!(r, Reason::Mixed(_))), "{:?}", groups.refused);
}

#[test]
fn weight_read_in_two_ways_is_left_whole() {
    let mut b = Builder::new(1, &[1, 3, 8, 8]);
    let x = b.conv("x", 3, 6, 1);
    let w = b.weight(&[6, 6, 1, 1]);
    let y = b.add("Conv", &[&x, &w], vec![]);
    let y = b.add("Mul", &[&y, &w], vec![]);
    let y = b.conv(&y, 6, 2, 1);
    let model = b.finish(&y, &[6, 2, 8, 8]);
    let groups = Groups::of(&model, &[]);
    assert!(groups.groups.is_empty(), "{:?}", groups.groups);
}

#[test]
fn channels_that_a_softmax_normalises_stay() {
    let mut b = Builder::new(1, &[1, 3, 8, 8]);
    let x = b.conv("x", 3, 6, 1);
    let y = b.add("Softmax", &[&x], vec![attr::from_int("axis", 1)]);
    let y = b.conv(&y, 6, 2, 1);
    let model = b.finish(&y, &[1, 2, 8, 8]);
    assert!(Groups::of(&model, &[]).groups.is_empty());
}

#[test]
fn open_sizes_are_those_of_the_samples_and_not_silently_1() {
    // Convolutions at two resolutions: at height and width 1 they would weigh alike.
    let mut b = Builder::new(3, &[1, 3, -1, -1]);
    let x = b.conv("x", 3, 16, 3);
    let x = b.conv(&x, 16, 16, 3);
    let pool = [attr::from_ints("kernel_shape", &[4, 4]), attr::from_ints("strides", &[4, 4])];
    let x = b.add("MaxPool", &[&x], pool.to_vec());
    let x = b.conv(&x, 16, 64, 3);
    let y = b.conv(&x, 64, 4, 1);
    let model = b.finish(&y, &[1, 4, -1, -1]);
    let pixels = Dice(5).tensor(&[2, 3, 32, 32]);
    let inputs = Tensors::from([("x".to_owned(), pixels)]);
    let data = plimsoll_dataset::Dataset::new(std::path::Path::new("calib.npz"), inputs, None, None).unwrap();
    let sizes = plimsoll_onnx::shape::Bindings::shapes(BTreeMap::from([("x".to_owned(), vec![1, 3, 32, 32])]));
    let macs = |m: &Model| plimsoll_cost::analyse(m, &plimsoll_onnx::shape::infer(m, &sizes)).macs as f64;
    let pass = Structured::new(PruneOptions::new(Target::Macs("30%".parse().unwrap())));

    let patch = pass.run(&model, &context().with_data(&data)).unwrap();
    let gone = 1.0 - macs(&patched(&model, patch.clone())) / macs(&model);
    assert!((0.3..=0.33).contains(&gone), "{gone}");
    let assumed = |patch: &Patch| patch.reasons().iter().any(|r| r.contains("counted as 1"));
    assert!(!assumed(&patch));
    assert!(assumed(&pass.run(&model, &context()).unwrap()), "sizes were assumed silently");
}

#[test]
fn target_out_of_reach_is_refused() {
    let model = random(7);
    let pass = Structured::new(PruneOptions::new(Target::Macs("99%".parse().unwrap())));
    assert!(matches!(pass.run(&model, &context()), Err(Refusal::CheckFailed(_))));
}

#[test]
fn layers_that_lose_channels_keep_a_multiple() {
    let mut b = Builder::new(5, &[1, 3, 8, 8]);
    let x = b.conv("x", 3, 24, 3);
    let x = b.conv(&x, 24, 20, 3);
    let x = b.conv(&x, 20, 32, 3);
    let y = b.conv(&x, 32, 5, 1);
    let model = b.finish(&y, &[1, 5, 8, 8]);
    let before = plimsoll_cost::analyse(&model, &plimsoll_onnx::shape::infer(&model, &Default::default())).macs;
    for (percent, block) in [(10, 8), (30, 8), (60, 8), (40, 16)] {
        let mut options = PruneOptions::new(Target::Macs(format!("{percent}%").parse().unwrap()));
        options.round_to = Some(block);
        let pruned = patched(&model, Structured::new(options).run(&model, &context()).unwrap());
        let weights = pruned.graph().initializer.iter().filter(|t| t.dims.len() == 4);
        let made: Vec<i64> = weights.map(|t| t.dims[0]).collect();
        for (now, whole) in made.iter().zip([24, 20, 32, 5]) {
            assert!(*now == whole || now % block as i64 == 0, "{percent} %, {block}: {made:?}");
        }
        let after = plimsoll_cost::analyse(&pruned, &plimsoll_onnx::shape::infer(&pruned, &Default::default())).macs;
        assert!(after * 100 <= before * (100 - percent), "{percent} %, {block}: {made:?}");
    }
}

#[test]
fn excluded_layer_keeps_its_channels() {
    let model = random(7);
    let name = model.graph().node[0].name.clone();
    let groups = Groups::of(&model, std::slice::from_ref(&name));
    assert!(groups.refused.iter().any(|(_, r)| *r == Reason::Excluded(name.clone())));
}

#[test]
fn sparsity_is_exact() {
    let model = random(11);
    let patch = Sparsity::new("80%".parse().unwrap()).run(&model, &context()).unwrap();
    let count = |m: &Model| {
        let weights = m.graph().initializer.iter().filter(|t| t.dims.len() >= 2 && t.data_type == 1);
        let values: Vec<f32> = weights.flat_map(|t| Tensor::from_proto(t).unwrap().to_vec::<f32>().unwrap()).collect();
        (values.iter().filter(|v| **v == 0.0).count(), values.len())
    };
    let (zeros, all) = count(&patched(&model, patch));
    assert_eq!(zeros, (all as f64 * 0.8).ceil() as usize);
}

#[test]
fn share_is_read_and_bounded() {
    for (text, value) in [("30%", 0.3), ("0.25", 0.25), (" 12.5 % ", 0.125)] {
        assert_eq!(text.parse::<Share>().unwrap().fraction(), value);
    }
    for text in ["0%", "100%", "-3%", "30", "", "NaN", "x%"] {
        assert!(text.parse::<Share>().is_err(), "{text}");
    }
}

#[test]
fn flattened_channels_are_found_again() {
    let track = Track { axis: 1, labels: vec![0, 1, 2] };
    assert_eq!(regrouped(&track, &[1, 3, 2, 1], &[1, 6], 99), Some((1, vec![0, 0, 1, 1, 2, 2])));
    let flat = Track { axis: 1, labels: vec![0, 0, 1, 1, 2, 2] };
    assert_eq!(regrouped(&flat, &[1, 6], &[1, 3, 2], 99), Some((1, vec![0, 1, 2])));
    assert_eq!(regrouped(&track, &[1, 3, 5], &[1, 5, 3], 99), None);
    let last = Track { axis: 2, labels: vec![0, 1] };
    assert_eq!(regrouped(&last, &[1, 4, 2], &[1, 2, 4], 99), Some((2, vec![0, 1, 0, 1])));
}
