//! Figures of small linear models, whose right values are known.

use std::time::Duration;

use plimsoll_dataset::Dataset;
use plimsoll_measure::{
    Bench, BenchOptions, Evaluation, EvaluationOptions, MeasureError, bench, evaluate, static_figures,
};
use plimsoll_onnx::{
    Model, Tensor, Tensors, node,
    proto::{
        GraphProto, ModelProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto,
        type_proto,
    },
};
use plimsoll_runtime::TractExecutor;

fn value(name: &str, batch: i64, width: usize) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value;
    let first = if batch > 0 { Value::DimValue(batch) } else { Value::DimParam("N".into()) };
    let dim = |value| tensor_shape_proto::Dimension { value: Some(value), ..Default::default() };
    let dim = vec![dim(first), dim(Value::DimValue(width as i64))];
    let shape = TensorShapeProto { dim, ..Default::default() };
    let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape).into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
}

/// scores = x · weights, one input feature; `batch` 0 is symbolic.
fn linear(batch: i64, weights: &[f32]) -> Model {
    let weight = Tensor::from_elements(&[1, weights.len()], weights).unwrap();
    let graph = GraphProto {
        name: "g".into(),
        node: vec![node::new("MatMul", &["x", "w"], &["y"])],
        initializer: vec![weight.to_proto("w")],
        input: vec![value("x", batch, 1)],
        output: vec![value("y", batch, weights.len())],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    let proto =
        ModelProto { ir_version: 8, graph: Some(graph).into(), opset_import: vec![opset], ..Default::default() };
    Model::from_proto(proto).unwrap()
}

fn data(x: &[f32], label: &[i64], group: Option<&[i64]>) -> Dataset {
    let x = Tensor::from_elements(&[x.len(), 1], x).unwrap();
    let inputs = Tensors::from([("x".to_owned(), x)]);
    Dataset::new("memory".as_ref(), inputs, Some(label.to_vec()), group.map(<[i64]>::to_vec)).unwrap()
}

fn check(model: &Model, baseline: Option<&Model>, data: &Dataset) -> Result<Evaluation, MeasureError> {
    evaluate(&TractExecutor, model, baseline, data, &EvaluationOptions::default())
}

#[track_caller]
fn figure(found: &Evaluation, metric: &str) -> (f64, [f64; 2]) {
    let figure = found.figures.iter().find(|f| f.metric == metric).unwrap_or_else(|| panic!("no {metric}"));
    (figure.value, figure.interval.unwrap_or([f64::NAN; 2]))
}

#[test]
fn accuracy_counts_what_is_right() {
    let found = check(&linear(0, &[-1.0, 1.0]), None, &data(&[1.0, 2.0, -1.0, -3.0], &[1, 0, 0, 0], None)).unwrap();
    assert_eq!(figure(&found, "accuracy").0, 0.75);
    assert_eq!(figure(&found, "balanced-accuracy").0, (1.0 + 2.0 / 3.0) / 2.0);
    assert_eq!(figure(&found, "auc").0, 2.0 / 3.0);
    assert_eq!(found.confusion.unwrap().counts, [((0, 0), 2), ((0, 1), 1), ((1, 1), 1)].into());
    assert!(found.figures.iter().all(|f| f.n == 4 && f.executor == "tract" && !f.model_digest.is_empty()));
}

#[test]
fn a_single_column_is_the_score_of_class_one() {
    let found = check(&linear(0, &[1.0]), None, &data(&[3.0, -2.0, 0.7, -0.1], &[1, 0, 1, 1], None)).unwrap();
    assert_eq!((figure(&found, "accuracy").0, figure(&found, "auc").0), (0.75, 1.0));
}

#[test]
fn a_fixed_batch_that_does_not_divide_the_samples_drops_none() {
    let samples = data(&[1.0, 1.0, 1.0, -1.0, 1.0], &[1, 1, 1, 0, 0], None);
    let fixed = check(&linear(4, &[-1.0, 1.0]), None, &samples).unwrap();
    assert_eq!((figure(&fixed, "accuracy").0, fixed.figures[0].n), (0.8, 5));
}

#[test]
fn threads_and_batches_do_not_change_the_scores() {
    let samples = data(&[0.5, 1.0, -1.5, 2.0, 2.5, -3.0, 3.5], &[0; 7], None);
    let scores = |batch, threads| {
        let options = EvaluationOptions { batch, threads, ..EvaluationOptions::default() };
        evaluate(&TractExecutor, &linear(0, &[-1.0, 1.0]), None, &samples, &options).unwrap().scores
    };
    let one = scores(1, 1);
    assert_eq!(one.values[..4], [-0.5, 0.5, -1.0, 1.0]);
    [(3, 1), (2, 2), (1, 7), (64, 3)].into_iter().for_each(|(b, t)| assert_eq!(scores(b, t), one));
}

#[test]
fn a_drop_in_accuracy_is_positive_and_paired() {
    let samples = data(&[1.0, 2.0, 3.0, -1.0], &[1, 1, 1, 0], None);
    let found = check(&linear(0, &[1.0, -1.0]), Some(&linear(0, &[-1.0, 1.0])), &samples).unwrap();
    assert_eq!(figure(&found, "accuracy-drop").0, 1.0);
    assert_eq!(figure(&found, "agreement").0, 0.0);
    assert_eq!(figure(&found, "output-error").0, 2.0);
}

#[test]
fn groups_that_all_agree_are_not_certainty() {
    let groups: Vec<i64> = (0..40).map(|i| i / 4).collect();
    let samples = data(&[1.0; 40], &[1; 40], Some(&groups));
    let model = linear(0, &[-1.0, 1.0]);
    let found = check(&model, Some(&model), &samples).unwrap();
    let (drop, [low, high]) = figure(&found, "accuracy-drop");
    assert!(drop == 0.0 && low < 0.0 && high > 0.0);
    assert!(figure(&found, "agreement").1[0] < 1.0);
}

#[test]
fn few_groups_give_no_interval_rather_than_a_false_one() {
    let samples = data(&[1.0, -1.0, 1.0, -1.0], &[1, 0, 0, 0], Some(&[0, 0, 1, 1]));
    let found = check(&linear(0, &[-1.0, 1.0]), None, &samples).unwrap();
    let accuracy = found.figures.iter().find(|f| f.metric == "accuracy").unwrap();
    assert!(accuracy.interval.is_none() && accuracy.method.contains("too few"));
}

#[test]
fn labels_beyond_the_classes_and_infinite_scores_are_refused_by_sample() {
    let model = linear(0, &[-1.0, 1.0]);
    let wrong = check(&model, None, &data(&[1.0, 1.0], &[0, 2], None));
    assert!(matches!(wrong, Err(MeasureError::Label { sample: 1, label: 2, classes: 2 })));
    let wrong = check(&linear(0, &[-1.0, 3e38]), None, &data(&[1.0, 2.0], &[0, 1], None));
    assert!(matches!(wrong, Err(MeasureError::NotFinite { sample: 1, .. })));
}

#[test]
fn a_metric_that_does_not_apply_is_withheld_and_an_unknown_one_refused() {
    let samples = data(&[1.0, 1.0], &[1, 1], None);
    let ask = |metric: &str| {
        let options = EvaluationOptions { metrics: vec![metric.into()], ..EvaluationOptions::default() };
        evaluate(&TractExecutor, &linear(0, &[-1.0, 1.0]), None, &samples, &options)
    };
    for metric in ["auc", "top-5", "agreement", "accuracy-drop"] {
        let found = ask(metric).unwrap();
        assert!(found.figures.is_empty() && found.withheld.len() == 1, "{metric}");
    }
    assert!(matches!(ask("acuracy"), Err(MeasureError::UnknownMetric(_))));
}

fn few(max_runs: usize) -> BenchOptions {
    BenchOptions { warmup: 1, min_runs: 1, max_runs, time_budget: Duration::ZERO, ..BenchOptions::default() }
}

fn quick(max_runs: usize) -> Bench {
    bench(&TractExecutor, &linear(0, &[-1.0, 1.0]), Some(&linear(0, &[1.0, 2.0])), None, &few(max_runs)).unwrap()
}

#[test]
fn percentiles_that_the_runs_do_not_carry_are_withheld_with_the_reason() {
    let found = quick(1);
    assert!(found.figures.iter().all(|f| f.metric != "latency.p99"));
    assert!(
        found.withheld.iter().any(|w| w.starts_with("latency.p99") && w.contains("368 are needed")),
        "{:?}",
        found.withheld
    );
    assert!(found.withheld.iter().any(|w| w.starts_with("latency.ratio")));
    assert!(found.figures.iter().any(|f| f.metric == "cold-start"));
}

#[test]
fn a_bench_carries_percentiles_ratio_and_intervals() {
    // Bounded by runs, not by time.
    let options = BenchOptions { max_runs: 2000, time_budget: Duration::from_secs(60), ..BenchOptions::default() };
    let model = linear(0, &[-1.0, 1.0]);
    let found = bench(&TractExecutor, &model, Some(&model), None, &options).unwrap();
    for metric in ["latency.p50", "latency.p90", "latency.p99", "latency.ratio"] {
        let figure = found.figures.iter().find(|f| f.metric == metric).unwrap();
        assert!(figure.n > 0 && figure.interval.is_some(), "{metric}");
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
        let (figures, withheld) = static_figures(&sequence(), data).unwrap();
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
