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

/// Peak in numbers of one element of a convolutional graph on planes of 4 × 4; weights are `p` (8 × 2 × 1 × 1), `q` (2 × 8 × 3 × 3),
/// `k` (1 × 8 × 1 × 1) and vectors of eight numbers.
#[track_caller]
fn peak_of_planes(nodes: Vec<NodeProto>, planes: u64) {
    let vectors = ["b", "scale", "mean", "variance"].map(|name| (name, [8].as_slice()));
    let kernels = [("p", [8, 2, 1, 1].as_slice()), ("q", [2, 8, 3, 3].as_slice()), ("k", [1, 8, 1, 1].as_slice())];
    let weights: Vec<_> = kernels.into_iter().chain(vectors).collect();
    let found = costs(&model(&[1, 2, 4, 4], &weights, nodes), 1);
    assert_eq!(found.peak_activation_bytes, Some(planes * 16 * 4));
}

fn wide(inputs: &[&str]) -> NodeProto {
    node::new("Conv", inputs, &["a"])
}

fn narrow(input: &str) -> NodeProto {
    node::with("Conv", &[input, "q"], &["y"], vec![attr::from_ints("pads", &[1; 4])])
}

#[test]
fn a_bias_of_a_product_is_added_to_it_elsewhere() {
    peak_of_planes(vec![wide(&["x", "p"]), narrow("a")], 8 + 2);
    peak_of_planes(vec![wide(&["x", "p", "b"]), narrow("a")], 8 + 8);
}

#[test]
fn a_normalization_is_in_the_weights_of_its_convolution_alone() {
    let norm = |x: &str| node::new("BatchNormalization", &[x, "scale", "b", "mean", "variance"], &["n"]);
    peak_of_planes(vec![wide(&["x", "p"]), norm("a"), narrow("n")], 8 + 8);
    // Something else reads the convolution: it stays, and the normalization is a step.
    peak_of_planes(vec![wide(&["x", "p"]), norm("a"), node::new("Add", &["n", "a"], &["s"]), narrow("s")], 8 + 8 + 8);
}

#[test]
fn a_value_times_its_own_sigmoid_is_one_step() {
    let gate = node::new("Sigmoid", &["a"], &["g"]);
    let times = |one: &str| node::new("Mul", &[one, "g"], &["m"]);
    peak_of_planes(vec![wide(&["x", "p"]), gate.clone(), times("a"), narrow("m")], 8 + 8);
    let other = node::new("Exp", &["a"], &["e"]);
    peak_of_planes(vec![wide(&["x", "p"]), gate, other, times("e"), narrow("m")], 8 + 8 + 8);
}

#[test]
fn parts_of_a_concatenation_are_multiplied_one_by_one() {
    let concat = node::with("Concat", &["u", "v"], &["c"], vec![attr::from_int("axis", 1)]);
    let slices = node::with("Split", &["x"], &["u", "v"], vec![attr::from_int("axis", 1)]);
    // Both products and their sum.
    peak_of_planes(vec![slices, concat, wide(&["c", "p"]), narrow("a")], 8 + 8 + 8);
}

#[test]
fn a_concatenation_is_made_only_where_somebody_needs_the_whole() {
    let read_twice = |strides: i64| {
        let concat = node::with("Concat", &["x", "x", "x", "x"], &["c"], vec![attr::from_int("axis", 1)]);
        let strides = || vec![attr::from_ints("strides", &[strides; 2])];
        let [one, other] = ["a", "d"].map(|to| node::with("Conv", &["c", "k"], &[to], strides()));
        vec![concat, one, other, node::new("Add", &["a", "d"], &["y"])]
    };
    // The input, the one sum, and what the other adds up: two products and their sum.
    peak_of_planes(read_twice(1), 2 + 1 + 3);
    // Strides go up to the input: nobody makes the whole.
    peak_of_planes(read_twice(2), 2 + 1);
}

#[test]
fn of_a_product_that_is_read_in_parts_nobody_makes_the_whole() {
    let read_in_parts = |whole: Option<NodeProto>| {
        let parts = node::with("Split", &["a"], &["u", "v"], vec![attr::from_int("axis", 1)]);
        let best = node::with("ReduceMax", &["u"], &["m"], vec![attr::from_ints("axes", &[1])]);
        let nodes = [wide(&["x", "p"]), parts, best, node::new("Add", &["m", "v"], &["s"])];
        let last = whole.unwrap_or_else(|| node::new("Neg", &["s"], &["y"]));
        nodes.into_iter().chain([last]).collect::<Vec<_>>()
    };
    // The input stays until the second part is made: 2 + 1 + 4, and then 1 + 4 + 4 with the sum.
    peak_of_planes(read_in_parts(None), 9);
    // Where somebody reads the whole, both parts are copies of it.
    let all = node::with("Concat", &["s", "a"], &["y"], vec![attr::from_int("axis", 1)]);
    peak_of_planes(read_in_parts(Some(all)), 4 + 8 + 12);
}

#[test]
fn a_slice_past_the_end_and_shapes_that_lie_are_no_panic() {
    let far = i64::MAX / 2;
    for dims in [[1, far, 4, 4], [1, 0, 4, 4]] {
        let nodes = vec![
            node::new("Relu", &["x"], &["r"]),
            node::with("Split", &["r"], &["u", "v"], vec![attr::from_int("axis", 1)]),
            node::with("Concat", &["v", "u"], &["y"], vec![attr::from_int("axis", 1)]),
        ];
        // Nothing, or more than can be counted.
        let found = costs(&model(&dims, &[], nodes), 1).peak_activation_bytes;
        assert!(matches!(found, None | Some(0)), "{dims:?}: {found:?}");
    }
}

#[test]
fn an_order_that_takes_what_is_ready_first_may_be_the_dearer() {
    let joined = |parts: &[&str], to: &str| node::with("Concat", parts, &[to], vec![attr::from_int("axis", 1)]);
    let mut back = narrow("r");
    back.output[0] = "c".into();
    let nodes = vec![wide(&["x", "p"]), node::new("Relu", &["a"], &["r"]), back, joined(&["x", "x", "x", "x"], "t")];
    // From the outputs `t` comes last: 2 + 8 + 10 with the output. It lacks nothing: ready first, it is there all along.
    peak_of_planes(nodes.into_iter().chain([joined(&["c", "t"], "y")]).collect(), 8 + 8 + 8);
}
