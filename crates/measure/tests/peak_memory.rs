//! The counted peak of activations beside what tract says of its plan.

#[path = "support/graphs.rs"]
mod graphs;
#[path = "support/plan.rs"]
mod plan;

use std::path::Path;

use plimsoll_measure::static_figures;
use plimsoll_onnx::Model;
use plimsoll_runtime::LoadOptions;

#[test]
fn the_peak_is_no_less_than_that_of_tracts_plan_and_near_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    for fixture in ["digits", "sleep-wake"] {
        let model = Model::read(&root.join("fixtures").join(fixture).join("model.onnx")).unwrap();
        let (figures, _) = static_figures(&model, None).unwrap();
        let peak = |metric: &str| figures.iter().find(|f| f.metric == metric).unwrap().value;
        let (ours, in_place) = (peak("peak-activation-memory"), peak("peak-activation-memory.in-place"));
        let shapes = LoadOptions::for_batch(&model, 1).shapes;
        let tract = plan::peaks(&model.to_bytes().unwrap(), &shapes).unwrap();
        for theirs in [tract.evaluation_order as f64, tract.plan_order as f64] {
            assert!(ours >= theirs && ours <= 1.2 * theirs, "{fixture}: {ours} counted, {theirs} by tract");
        }
        assert!(in_place <= ours && in_place >= 0.5 * ours, "{fixture}: {in_place} in place");
    }
}

#[test]
fn graphs_that_nobody_has_seen_are_never_below_tracts_plan() {
    let (mut below, mut same, mut near) = (vec![], 0, 0);
    for seed in 0..600 {
        let model = graphs::random_graph(seed);
        // What tract itself cannot load tells nothing.
        let Ok(tract) = plan::peaks(&model.to_bytes().unwrap(), &LoadOptions::for_batch(&model, 1).shapes) else {
            continue;
        };
        let (figures, _) = static_figures(&model, None).unwrap();
        let ours = figures.iter().find(|f| f.metric == "peak-activation-memory").unwrap().value;
        let theirs = tract.plan_order as f64;
        if ours < theirs {
            below.push((seed, ours, theirs));
        }
        same += usize::from(ours == theirs);
        near += usize::from(ours >= theirs && ours <= 1.2 * theirs);
    }
    assert!(below.is_empty() && same >= 480 && near >= 570, "{below:?} below, {same} the same, {near} near");
}
