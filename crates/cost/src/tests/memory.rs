//! Peak activation memory, by hand.

use super::*;

fn check(nodes: Vec<NodeProto>, each: u64, in_place: u64) {
    let found = costs(&model(&[-1, 10], &[("w", &[10, 10])], nodes), 1);
    assert_eq!((found.peak_activation_bytes, found.peak_in_place_bytes), (Some(each * 40), Some(in_place * 40)));
}

#[test]
fn element_wise_nodes_write_over_what_is_not_needed_any_more() {
    // Never over the input, which is the caller's.
    check(vec![node::new("Relu", &["x"], &["y"])], 2, 2);
    let chain = || vec![node::new("MatMul", &["x", "w"], &["a"]), node::new("Relu", &["a"], &["b"])];
    let then = |n: NodeProto| chain().into_iter().chain([n]).collect::<Vec<_>>();
    check(then(node::new("Exp", &["b"], &["y"])), 2, 2);
    // The input is needed until the sum.
    check(then(node::new("Add", &["b", "x"], &["y"])), 3, 2);
    // What is read once more is not written over.
    check(then(node::new("Add", &["b", "a"], &["y"])), 3, 2);
    // A product needs both of its operands until it is done.
    check(then(node::new("MatMul", &["b", "w"], &["y"])), 2, 2);
}

#[test]
fn a_view_lives_as_long_as_what_it_shows() {
    let nodes = vec![
        node::new("MatMul", &["x", "w"], &["a"]),
        node::with("Flatten", &["a"], &["v"], vec![attr::from_int("axis", 1)]),
        // `a` is read for the last time here, and still shows through `v`.
        node::new("Exp", &["a"], &["e"]),
        node::new("Add", &["e", "v"], &["y"]),
    ];
    check(nodes, 3, 2);
}

#[test]
fn sums_of_shapes_that_overflow_are_no_panic() {
    let wide = i64::MAX / 4;
    let nodes = vec![node::new("Relu", &["x"], &["a"]), node::new("Relu", &["a"], &["y"])];
    let found = costs(&model(&[4, wide], &[], nodes), 1);
    assert_eq!(found.peak_activation_bytes, None);
}

#[test]
fn the_order_in_which_a_file_stores_nodes_changes_nothing() {
    // Two towers of two layers each; a file may store them tower by tower, or layer by layer.
    let tower = |i: usize| {
        let names = [format!("a{i}"), format!("b{i}"), format!("c{i}")];
        let wide = node::with("Concat", &["x", "x", "x", "x"], &[&names[0]], vec![attr::from_int("axis", 1)]);
        let narrow = node::with("ReduceMax", &[&names[0]], &[&names[1]], vec![attr::from_ints("axes", &[1])]);
        vec![wide, narrow]
    };
    let sum = node::new("Add", &["b0", "b1"], &["y"]);
    let by_tower = tower(0).into_iter().chain(tower(1)).chain([sum.clone()]).collect();
    let (first, second) = (tower(0), tower(1));
    let by_layer = vec![
        first[0].clone(),
        second[0].clone(),
        first[1].clone(),
        second[1].clone(),
        node::new("Neg", &["a1"], &["z"]),
        sum,
    ];
    for nodes in [by_tower, by_layer] {
        // The input, four times as much, and a number of the other tower; what no output needs does not run.
        assert_eq!(costs(&model(&[-1, 10], &[], nodes), 1).peak_activation_bytes, Some(4 * (10 + 40 + 1)));
    }
}
