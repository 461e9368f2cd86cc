//! A small release to try things on: its model is no model, since nothing here runs it.

use std::collections::BTreeMap;

use plimsoll_record::{BudgetSource, Figure, Figures, Machine, Recipe, Report, Row, Step, Verdict};
use plimsoll_release::{DatasetUse, Gate, Licence, ReleaseInput, SourceModel};

fn digest(of: &str) -> String {
    plimsoll_trust::sha256_hex(of.as_bytes())
}

fn figure(metric: &str, value: f64, unit: &str, interval: Option<[f64; 2]>) -> Figure {
    Figure {
        metric: metric.into(),
        value,
        unit: unit.into(),
        n: 1_000,
        interval,
        method: "an example".into(),
        executor: "tract".into(),
        executor_version: "0.23.9".into(),
        machine: Machine { cpu: "an example".into(), isa: vec!["avx2".into()], threads: 1 },
        build: "release".into(),
        model_digest: digest("model"),
        data_digest: digest("test"),
        baseline_digest: String::new(),
    }
}

/// A release of the name `sleep-wake`.
pub(crate) fn input(version: &str, model: &[u8]) -> ReleaseInput {
    let accuracy = figure("balanced-accuracy", 0.91, "share", Some([0.89, 0.93]));
    let size = figure("artifact-size", 20_480.0, "bytes", None);
    let row = Row {
        profile: "device-example".into(),
        metric: "artifact-size".into(),
        limit: "max 256 KiB".into(),
        level: "error".into(),
        figure: Some(size.clone()),
        evidence: None,
        baseline: None,
        found: "20 KiB".into(),
        load: None,
        verdict: Verdict::Pass,
        note: String::new(),
        source: BudgetSource {
            file: "device-example.toml".into(),
            line: 1,
            column: 1,
            offset: 0,
            length: 1,
            text: "artifact-size = \"256KiB\"".into(),
        },
        waiver: None,
        loosened: None,
    };
    let parameters = BTreeMap::from([("scheme".to_owned(), "int8".to_owned())]);
    ReleaseInput {
        name: "sleep-wake".into(),
        version: version.into(),
        trial: true,
        model: model.into(),
        model_digest: digest("model"),
        source: SourceModel {
            file: "model.onnx".into(),
            sha256: digest("source file"),
            model_digest: digest("source"),
        },
        recipe: Recipe::new("int8", vec![Step { pass: "quantize".into(), parameters }]),
        figures: Figures::new(vec![accuracy, size], vec!["latency.p99: 100 runs are too few".into()]),
        baseline: Figures::new(vec![], vec![]),
        report: Report {
            schema: "plimsoll.report/1".into(),
            model: "model.onnx".into(),
            model_digest: digest("model"),
            verdict: Verdict::Pass,
            rows: vec![row],
            withheld: vec![],
            endpoints: vec![],
            changes: None,
            accepted: None,
            trend: vec![],
            remarks: vec![],
            forecast: vec![],
        },
        report_markdown: "# pass\n".into(),
        spec: b"schema = 1\n".to_vec(),
        profiles: BTreeMap::from([("device-example.toml".into(), b"schema = 1\n".to_vec())]),
        gates: vec![Gate { name: "device-example".into(), files: vec!["budgets/profiles/device-example.toml".into()] }],
        commit: Some("0123456789abcdef0123456789abcdef01234567".into()),
        seed: 0,
        judged_on: None,
        change: None,
        contract: Some(b"schema = 1\n".to_vec()),
        labels: vec!["sleep".into(), "wake".into()],
        datasets: ["calibration", "validation", "test"]
            .map(|role| DatasetUse { role: role.into(), file: format!("{role}.npz"), digest: digest(role) })
            .to_vec(),
        licence: Some(Licence { expression: "MIT OR Apache-2.0".into(), text: Some("permission\n".into()) }),
        parent: None,
        minimum_client: "0.1.0".into(),
        extra: BTreeMap::new(),
    }
}
