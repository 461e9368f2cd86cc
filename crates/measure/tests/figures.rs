//! Times and counts of small linear models.

mod support;

use std::time::Duration;

use plimsoll_dataset::{Dataset, Samples};
use plimsoll_measure::{Bench, BenchOptions, bench, static_figures};
use plimsoll_onnx::{
    Model, Tensor, Tensors, node,
    proto::{tensor_shape_proto, type_proto},
};
use plimsoll_runtime::TractExecutor;
use support::{linear, value};

fn few(max_runs: usize) -> BenchOptions {
    BenchOptions {
        warmup: 1,
        min_runs: max_runs,
        max_runs,
        time_budget: Duration::from_millis(20),
        ..BenchOptions::default()
    }
}

fn quick(max_runs: usize) -> Bench {
    bench(&TractExecutor, &linear(0, &[-1.0, 1.0]), Some(&linear(0, &[1.0, 2.0])), None, &few(max_runs)).unwrap()
}

#[test]
fn percentiles_that_the_runs_do_not_carry_are_withheld_with_the_reason() {
    let found = quick(1);
    assert!(found.figures.iter().all(|f| f.metric != "latency.p99"));
    assert!(
        found.withheld.iter().any(|w| w.starts_with("latency.p99") && w.contains("662 are needed")),
        "{:?}",
        found.withheld
    );
    assert!(found.withheld.iter().any(|w| w.starts_with("latency.ratio")));
    assert!(found.figures.iter().any(|f| f.metric == "cold-start"));
}

#[test]
fn the_baselines_own_cold_start_is_taken_in_the_same_run() {
    let (model, baseline) = (linear(0, &[-1.0, 1.0]), linear(0, &[1.0, 2.0]));
    let found = bench(&TractExecutor, &model, Some(&baseline), None, &few(1)).unwrap();
    let [cold] = found.baseline.as_slice() else { panic!("{:?}", found.baseline) };
    let own = found.figures.iter().find(|f| f.metric == "cold-start").unwrap();
    assert_eq!((cold.metric.as_str(), cold.n, cold.interval.is_some()), ("cold-start", own.n, true));
    assert_eq!(cold.model_digest, baseline.digest().to_string());
    assert_eq!((&cold.machine, &cold.executor_version), (&own.machine, &own.executor_version));
    assert!(bench(&TractExecutor, &model, None, None, &few(1)).unwrap().baseline.is_empty());
}

#[test]
fn a_bench_carries_percentiles_ratio_and_intervals() {
    let options = BenchOptions { time_budget: Duration::from_secs(2), ..BenchOptions::default() };
    let model = linear(0, &[-1.0, 1.0]);
    let found = bench(&TractExecutor, &model, Some(&model), None, &options).unwrap();
    for metric in ["latency.p50", "latency.p90", "latency.p99"] {
        let figure = found.figures.iter().find(|f| f.metric == metric);
        let figure = figure.unwrap_or_else(|| panic!("{metric} is withheld: {:?}", found.withheld));
        assert!(figure.n > 0 && figure.interval.is_some(), "{metric}");
    }
    // On a busy machine two seconds of a model this small may settle nothing, which is said and not guessed.
    match found.figures.iter().find(|f| f.metric == "latency.ratio") {
        Some(ratio) => assert!(ratio.n > 0 && ratio.interval.is_some()),
        None => assert!(found.withheld.iter().any(|w| w.starts_with("latency.ratio: ")), "{:?}", found.withheld),
    }
}

/// y = x · w for x [batch, open, 1]; the open dimension has a name.
fn sequence() -> Model {
    let mut proto = linear(0, &[-1.0, 1.0]).proto().clone();
    let input = &mut proto.graph.as_mut().unwrap().input[0];
    let Some(type_proto::Value::TensorType(tensor)) = input.type_.as_mut().unwrap().value.as_mut() else { panic!() };
    let steps = tensor_shape_proto::dimension::Value::DimParam("steps".into());
    let steps = tensor_shape_proto::Dimension { value: Some(steps), ..Default::default() };
    tensor.shape.as_mut().unwrap().dim.insert(1, steps);
    proto.graph.as_mut().unwrap().output[0].type_ = None.into();
    Model::from_proto(proto).unwrap()
}

#[test]
fn what_depends_on_open_dimensions_is_withheld_until_samples_settle_them() {
    let macs = |data: Option<&Dataset>| {
        let (figures, withheld) = static_figures(&sequence(), data.map(|d| d as &dyn Samples)).unwrap();
        (figures.iter().find(|f| f.metric == "macs").map(|f| f.value), withheld.join("; "))
    };
    let (none, why) = macs(None);
    assert!(none.is_none() && why.contains("macs: ") && why.contains("`steps` of `x`"), "{why}");
    let x = Tensor::from_elements(&[2, 50, 1], &[0f32; 100]).unwrap();
    let data = Dataset::new("memory".as_ref(), Tensors::from([("x".to_owned(), x)]), None, None).unwrap();
    assert_eq!(macs(Some(&data)), (Some(100.0), String::new()));
    let found = bench(&TractExecutor, &sequence(), None, None, &few(50)).unwrap();
    assert!(found.figures.iter().any(|f| f.method.contains("1 for `steps` of `x`")));
}

#[test]
fn a_state_with_another_first_dimension_does_not_stop_a_bench_on_drawn_inputs() {
    let mut proto = linear(1, &[-1.0, 1.0]).proto().clone();
    let graph = proto.graph.as_mut().unwrap();
    graph.input.push(value("state", 2, 1));
    graph.node.push(node::new("Relu", &["state"], &["next"]));
    graph.output.push(value("next", 2, 1));
    let model = Model::from_proto(proto).unwrap();
    assert!(bench(&TractExecutor, &model, None, None, &few(50)).is_ok());
}
