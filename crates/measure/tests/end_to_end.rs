//! Commands around a model: what is timed, and what is refused.
#![cfg(unix)]

mod support;

use std::{path::Path, time::Duration};

use plimsoll_dataset::{Dataset, encode_arrays};
use plimsoll_measure::{Bench, BenchOptions, Commands, MeasureError, bench};
use plimsoll_onnx::{Model, Tensor, Tensors};
use plimsoll_runtime::TractExecutor;

fn check(model: &Model, before: &str, after: &str, data: &Dataset) -> Result<Bench, MeasureError> {
    let command = |c: &str| (!c.is_empty()).then(|| c.to_owned());
    let commands = Commands {
        before: command(before),
        after: command(after),
        samples: None,
        folder: ".".into(),
        time: Duration::from_secs(20),
        bytes: 1 << 20,
    };
    let options = BenchOptions {
        time_budget: Duration::from_millis(200),
        min_runs: 700,
        cold_starts: 0,
        commands: Some(commands),
        ..BenchOptions::default()
    };
    bench(&TractExecutor, model, Some(model), Some(data), &options)
}

fn model() -> Model {
    support::linear(0, &[1.0, -1.0])
}

fn samples() -> Dataset {
    support::data(&[1.0, 2.0], &[0, 1], None)
}

#[test]
fn a_step_that_hands_on_what_it_gets_gives_percentiles_and_a_paired_ratio() {
    let found = check(&model(), "cat", "cat", &samples()).unwrap();
    for metric in ["end-to-end.p50", "end-to-end.p90", "end-to-end.ratio", "latency.p50", "latency.ratio"] {
        let figure = found.figures.iter().find(|f| f.metric == metric).unwrap_or_else(|| panic!("no {metric}"));
        let [low, high] = figure.interval.unwrap();
        assert!(low <= figure.value && figure.value <= high, "{metric}");
        assert_eq!(figure.baseline_digest.is_empty(), !metric.ends_with("ratio"), "{metric}");
    }
    // A p99 takes 662 runs, which a machine with other work may not make in this time.
    let p90 = found.figures.iter().find(|f| f.metric == "end-to-end.p90").unwrap();
    assert!(p90.n > 0 && p90.method.starts_with("`cat`, the model, `cat`, one after the other"), "{}", p90.method);
}

#[test]
fn samples_that_only_the_command_understands_become_the_models_inputs() {
    let x = Tensor::from_elements(&[1, 1], &[4f32]).unwrap();
    let answer = encode_arrays(&Tensors::from([("x".to_owned(), x)])).unwrap();
    let answer: String = answer.iter().map(|b| format!("\\{b:03o}")).collect();
    let raw = Tensors::from([("raw".to_owned(), Tensor::from_elements(&[1, 3], &[1i16, 2, 3]).unwrap())]);
    let length = encode_arrays(&raw).unwrap().len();
    let raw = Dataset::new(Path::new("raw.npz"), raw, None, None).unwrap();
    let before = format!("while :; do head -c {length} > /dev/null; printf '{answer}'; done");
    let found = check(&model(), &before, "", &raw).unwrap();
    assert!(found.figures.iter().any(|f| f.metric == "end-to-end.p50"));
    // Without it they do not fit.
    let error = check(&model(), "", "cat", &raw).unwrap_err();
    assert!(matches!(error, MeasureError::Data(_)), "{error}");
}

#[test]
fn an_answer_that_does_not_fit_the_model_is_refused_and_names_the_command() {
    let wide = Tensors::from([("x".to_owned(), Tensor::from_elements(&[1, 3], &[1f32; 3]).unwrap())]);
    let wide = Dataset::new(Path::new("wide.npz"), wide, None, None).unwrap();
    let error = check(&model(), "cat", "", &wide).unwrap_err();
    assert!(error.to_string().contains("the answer of the command before the model: array `x`"), "{error}");
}

#[test]
fn a_command_that_fails_ends_the_measurement_with_what_it_said() {
    let error = check(&model(), "", "echo no licence >&2; exit 7", &samples()).unwrap_err();
    assert!(error.to_string().contains("exit status: 7: no licence"), "{error}");
    assert!(error.help().unwrap().contains("started once"));
    let error = check(&model(), "echo hello", "", &samples()).unwrap_err();
    assert!(error.to_string().contains("gave an answer that cannot be used"), "{error}");
}
