//! A pruned model computes what the original does when every value that carries a removed channel has zeros in its place.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_onnx::{
    DType, Model, Patch, Tensor, Tensors, attr, node,
    proto::NodeProto,
    shape::{Bindings, infer},
};

use super::{
    generator::{BLOCKS, HEADS, Trunk, graph},
    groups::{Groups, Reason, Role},
    removal::remove,
    testing::{Builder, Dice, output, patched},
};

/// Cases of the property test.
const CASES: u64 = 300;

/// The original with zeros where removed channels are: behind whatever computes a value with channels a Where is put. Knows
/// which values carry which channels, but nothing of how weights are cut; but for recurrent layers, whose units also read each
/// other within the node.
fn masked(model: &Model, groups: &Groups<'_>, removed: &BTreeSet<usize>) -> Model {
    let shapes = infer(model, &Bindings::batch(1));
    let view = model.view();
    let mut patch = Patch::new();
    let mut replaced = BTreeMap::new();
    patch.set_initializer("zero", &Tensor::scalar(0f32));
    for (value, labels) in &groups.tracked {
        let gone = |l: &usize| removed.contains(&groups.labels.root(*l));
        let Some((id, _)) = view.producer(value).filter(|_| labels.iter().any(gone)) else { continue };
        let rank = shapes.dims(value).expect("a shape").len();
        let mut shape = vec![1; rank - groups.axes[value]];
        shape[0] = labels.len();
        let stays = labels.iter().map(|l| u8::from(!gone(l))).collect();
        let (mask, raw) = (format!("{value}_mask"), format!("{value}_raw"));
        patch.set_initializer(&mask, &Tensor::new(DType::Bool, shape, stays).unwrap());
        let (changed, behind): &mut (NodeProto, Vec<NodeProto>) =
            replaced.entry(id).or_insert_with(|| (view.node(id).clone(), Vec::new()));
        changed.output.iter_mut().filter(|o| *o == value).for_each(|o| o.clone_from(&raw));
        behind.push(node::new("Where", &[&mask, &raw, "zero"], &[value]));
    }
    for cut in &groups.cuts {
        let recurrent = ["LSTM", "GRU", "RNN"].contains(&view.node(cut.node).op_type.as_str());
        if recurrent && cut.axis == 2 && view.node(cut.node).input[2] == cut.param {
            let tensor = Tensor::from_proto(view.constant(cut.param).unwrap()).unwrap();
            let mut values: Vec<f32> = tensor.to_vec().unwrap();
            for (i, v) in values.iter_mut().enumerate() {
                if removed.contains(&groups.labels.root(cut.labels[i % cut.labels.len()])) {
                    *v = 0.0;
                }
            }
            patch.set_initializer(cut.param, &Tensor::from_elements(tensor.shape(), &values).unwrap());
        }
    }
    for (id, (changed, behind)) in replaced {
        patch.replace(id, std::iter::once(changed).chain(behind).collect());
    }
    patched(model, patch)
}

/// Some removable channels; of every set of which some must stay, two do.
fn some(groups: &Groups<'_>, dice: &mut Dice) -> BTreeSet<usize> {
    let mut left: Vec<usize> = groups.floors.iter().map(Vec::len).collect();
    let mut removed = BTreeSet::new();
    let mut all: Vec<usize> = groups.groups.iter().flat_map(|g| g.channels.iter().copied()).collect();
    let odds = 1 + dice.below(4);
    while !all.is_empty() {
        let channel = all.swap_remove(dice.below(all.len()));
        let takes = |floor: &Vec<usize>| floor.iter().filter(|l| **l == channel).count();
        let fits = groups.floors.iter().zip(&left).all(|(f, left)| takes(f) == 0 || *left >= takes(f) + 2);
        if fits && dice.below(5) < odds {
            left.iter_mut().zip(&groups.floors).for_each(|(left, f)| *left -= takes(f));
            removed.insert(channel);
        }
    }
    removed
}

/// Prunes at random and compares; how many channels were removed.
fn check(what: &str, model: &Model, seed: u64) -> usize {
    let groups = Groups::of(model, &[]);
    let mut dice = Dice(seed ^ 0xabcd);
    let removed = some(&groups, &mut dice);
    let pruned = patched(model, remove(model, &groups, &removed).unwrap_or_else(|e| panic!("{what}: {e}")));
    let inputs = Tensors::from([("x".to_owned(), dice.tensor(&[1, 3, 8, 8]))]);
    let (expected, found) = (output(&masked(model, &groups, &removed), &inputs), output(&pruned, &inputs));
    assert!(same(&expected, &found), "{what}: {expected:?} became {found:?}; {:?}", groups.explain());
    removed.len()
}

fn same(expected: &[f32], found: &[f32]) -> bool {
    let largest = expected.iter().fold(1f32, |m, v| m.max(v.abs()));
    expected.len() == found.len() && expected.iter().zip(found).all(|(e, f)| (e - f).abs() <= 1e-4 * largest)
}

#[test]
fn pruned_random_graphs_equal_masked_ones() {
    let removed: usize = (0..CASES).map(|seed| check(&format!("seed {seed}"), &graph(seed), seed)).sum();
    assert!(removed > 5 * CASES as usize, "the generator gives hardly anything to remove: {removed}");
}

#[test]
fn every_block_and_every_head_loses_channels() {
    for kind in 0..BLOCKS {
        let mut removed = 0;
        for seed in 0..4 {
            let mut trunk = Trunk::new(seed);
            trunk.block(kind);
            let model = trunk.finish(seed as usize % 4);
            let groups = Groups::of(&model, &[]);
            // The first layer's channels go through the block: nothing there may have made them stay.
            for (layer, reason) in &groups.refused {
                let expected = matches!(reason, Reason::Output(_));
                assert!(expected, "block {kind}, seed {seed}: `{layer}` stays: {reason}");
            }
            removed += check(&format!("block {kind}, seed {seed}"), &model, seed);
        }
        assert!(removed > 0, "block {kind} gives nothing to remove");
    }
    for head in 0..HEADS {
        let removed: usize =
            (0..6).map(|seed| check(&format!("head {head}, seed {seed}"), &Trunk::new(seed).finish(head), seed)).sum();
        assert!(removed > 0, "head {head} gives nothing to remove");
    }
}

/// A property test is worth what it notices: cuts that take the neighbours of the right channels.
#[test]
fn cuts_at_the_wrong_place_are_noticed() {
    let (mut tried, mut noticed) = (0, 0);
    for seed in 0..24 {
        let model = graph(seed);
        let mut groups = Groups::of(&model, &[]);
        let mut dice = Dice(seed ^ 0xabcd);
        let removed = some(&groups, &mut dice);
        let inputs = Tensors::from([("x".to_owned(), dice.tensor(&[1, 3, 8, 8]))]);
        let expected = output(&masked(&model, &groups, &removed), &inputs);
        let at = dice.below(groups.cuts.len());
        let gone = |groups: &Groups<'_>| -> Vec<bool> {
            groups.cuts[at].labels.iter().map(|l| removed.contains(&groups.labels.root(*l))).collect()
        };
        let before = gone(&groups);
        groups.cuts[at].labels.rotate_left(1);
        if groups.cuts[at].role == Role::Follows && gone(&groups) != before {
            tried += 1;
            let pruned = patched(&model, remove(&model, &groups, &removed).unwrap());
            noticed += usize::from(!same(&expected, &output(&pruned, &inputs)));
        }
    }
    assert!(tried > 5 && noticed * 4 >= tried * 3, "{noticed} of {tried} noticed");
}

/// What keeps the channels of a convolution (of 6, at the value `x`) that `then` reads.
fn check_refused(opset: i64, what: &str, then: impl FnOnce(&mut Builder, &str) -> String, expected: &str) {
    let mut b = Builder::new(1, &[1, 3, 8, 8]);
    b.opset = opset;
    let x = b.conv("x", 3, 6, 1);
    let y = then(&mut b, &x);
    let model = b.finish(&y, &[1, 6, 8, 8]);
    let groups = Groups::of(&model, &[]);
    let first = &model.graph().node[0].name;
    let reasons: Vec<String> = groups.refused.iter().filter(|(l, _)| l == first).map(|(_, r)| r.to_string()).collect();
    assert!(reasons.iter().any(|r| r.contains(expected)), "{what}: {reasons:?}");
    assert!(!groups.groups.iter().any(|g| g.layers.contains(first)), "{what}: {:?}", groups.explain());
}

#[test]
fn what_works_across_channels_keeps_them() {
    let axis = |a: i64| vec![attr::from_int("axis", a)];
    let one = |op: &'static str, attributes: Vec<_>| {
        move |b: &mut Builder, x: &str| {
            let y = b.add(op, &[x], attributes);
            b.conv(&y, 6, 2, 1)
        }
    };
    check_refused(17, "softmax over channels", one("Softmax", axis(1)), "works across them");
    // Before operator set 13 everything from the axis on is normalised together.
    check_refused(11, "old softmax from the batch on", one("Softmax", axis(0)), "works across them");
    check_refused(17, "neighbours in a window", one("LRN", vec![attr::from_int("size", 3)]), "works across them");
    let pool = vec![attr::from_int("axis", 1), attr::from_int("p", 2)];
    check_refused(17, "norms over channels", one("LpNormalization", pool), "works across them");
    let mean = vec![attr::from_ints("axes", &[1]), attr::from_int("keepdims", 1)];
    let reduced = |b: &mut Builder, x: &str| b.add("ReduceMean", &[x], mean);
    check_refused(17, "mean over channels", reduced, "works across them");
    let layer_norm = |b: &mut Builder, x: &str| {
        let y = b.add("Transpose", &[x], vec![attr::from_ints("perm", &[0, 2, 3, 1])]);
        let scale = b.weight(&[6]);
        let y = b.add("LayerNormalization", &[&y, &scale], axis(-1));
        let w = b.weight(&[6, 2]);
        b.add("MatMul", &[&y, &w], vec![])
    };
    check_refused(17, "layer norm over channels", layer_norm, "works across them");
    check_refused(17, "a stranger", |b: &mut Builder, x: &str| b.add("Frobnicate", &[x], vec![]), "not known to keep");
    let depth = vec![attr::from_int("blocksize", 1)];
    check_refused(17, "depth to space", one("DepthToSpace", depth), "not known to keep");
}

#[test]
fn an_operand_that_may_have_channels_of_its_own_keeps_them() {
    // The second input's channels are open: at run time they may be 6 as well as 1.
    let mut b = Builder::new(1, &[1, 3, 8, 8]);
    b.input("z", &[1, -1, 8, 8]);
    let x = b.conv("x", 3, 6, 1);
    let y = b.add("Add", &[&x, "z"], vec![]);
    let y = b.conv(&y, 6, 2, 1);
    let model = b.finish(&y, &[1, 2, 8, 8]);
    let groups = Groups::of(&model, &[]);
    assert!(groups.groups.is_empty(), "{:?}", groups.explain());
    assert!(groups.refused.iter().any(|(_, r)| matches!(r, Reason::Mixed(_))), "{:?}", groups.refused);
}

#[test]
fn groups_of_a_convolution_lose_alike() {
    let mut b = Builder::new(1, &[1, 3, 8, 8]);
    let x = b.conv("x", 3, 8, 3);
    let w = b.weight(&[6, 4, 1, 1]);
    let y = b.add("Conv", &[&x, &w], vec![attr::from_int("group", 2)]);
    let y = b.conv(&y, 6, 2, 1);
    let model = b.finish(&y, &[1, 2, 8, 8]);
    let units: Vec<(usize, usize)> =
        Groups::of(&model, &[]).groups.iter().map(|g| (g.channels.len(), g.width)).collect();
    assert_eq!(units, [(4, 8), (3, 6)]);
}

#[test]
fn no_part_of_a_split_loses_all_its_channels() {
    let mut b = Builder::new(1, &[1, 3, 8, 8]);
    let x = b.conv("x", 3, 8, 3);
    let sizes = b.ints(&[2, 6]);
    let parts = b.add_all("Split", &[&x, &sizes], 2, vec![attr::from_int("axis", 1)]);
    let (y, z) = (b.conv(&parts[0], 2, 2, 1), b.conv(&parts[1], 6, 2, 1));
    let y = b.add("Add", &[&y, &z], vec![]);
    let model = b.finish(&y, &[1, 2, 8, 8]);
    let groups = Groups::of(&model, &[]);
    // Three layers, then the two parts.
    let sizes: Vec<usize> = groups.floors.iter().map(Vec::len).collect();
    assert_eq!(sizes, [8, 2, 2, 2, 6]);
    assert_eq!(groups.floors[3], groups.floors[0][..2]);
}

#[test]
fn small_files_that_describe_wide_values_stay_small_in_memory() {
    // 40 doublings of 8 channels; then a chain that carries as many as the file is long.
    for doublings in [40, 9] {
        let mut b = Builder::new(1, &[1, 3, 1, 1]);
        let mut x = b.conv("x", 3, 8, 1);
        for _ in 0..doublings {
            x = b.add("Concat", &[&x, &x], vec![attr::from_int("axis", 1)]);
        }
        for _ in 0..6000 {
            x = b.add("Relu", &[&x], vec![]);
        }
        let y = b.add("ReduceSum", &[&x], vec![]);
        let model = b.finish(&y, &[1, 1, 1, 1]);
        let groups = Groups::of(&model, &[]);
        let held: usize = groups.tracked.values().map(Vec::len).sum();
        assert!(held <= 1 << 24, "{held} labels");
        assert!(groups.groups.is_empty() || held < 1 << 24);
        let first = &groups.refused.first().expect("a refusal").1;
        assert!(matches!(first, Reason::UnknownShape(_) | Reason::TooMany(_)), "{first}");
    }
}
