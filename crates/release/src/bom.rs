//! CycloneDX 1.6: the model as a component with its card, the data that it was made with as components beside it.

use plimsoll_record::Figure;
use plimsoll_trust::{sha256_hex, to_sorted_json};
use serde_json::{Value, json};

use crate::{ReleaseError, ReleaseInput};

/// The file name in the payload.
pub(crate) const FILE: &str = "bom.json";

/// The bytes of the bill of materials. Nothing in it depends on time or chance.
pub(crate) fn bom(input: &ReleaseInput, model_sha256: &str) -> Result<Vec<u8>, ReleaseError> {
    let document = document(input, model_sha256);
    to_sorted_json(&document).map_err(|source| ReleaseError::Encode { what: FILE.into(), source })
}

fn sha256(digest: &str) -> Value {
    json!([{"alg": "SHA-256", "content": digest}])
}

fn is_sha256(digest: &str) -> bool {
    digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())
}

fn document(input: &ReleaseInput, model_sha256: &str) -> Value {
    let reference = format!("model:{model_sha256}");
    let mut component = json!({
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": input.name,
        "version": input.version,
        "hashes": sha256(model_sha256),
        "properties": [
            {"name": "plimsoll:model-digest", "value": input.model_digest},
            {"name": "plimsoll:recipe", "value": input.recipe.name},
            {"name": "plimsoll:trial", "value": input.trial.to_string()},
        ],
        "modelCard": card(input),
        "pedigree": {"ancestors": [{
            "type": "machine-learning-model",
            "name": input.source.file,
            "hashes": sha256(&input.source.sha256),
            "properties": [{"name": "plimsoll:model-digest", "value": input.source.model_digest}],
        }], "notes": steps(input)},
    });
    if let (Some(licence), Some(object)) = (&input.licence, component.as_object_mut()) {
        object.insert("licenses".into(), json!([{"expression": licence.expression}]));
    }
    let datasets: Vec<Value> = input
        .datasets
        .iter()
        .map(|d| {
            let mut data = json!({
                "type": "data",
                "bom-ref": dataset_reference(&d.role),
                "name": d.file,
                "description": format!("{} samples; the digest is over the samples, not the file", d.role),
                "properties": [{"name": "plimsoll:sample-digest", "value": d.digest}],
            });
            if let (true, Some(object)) = (is_sha256(&d.digest), data.as_object_mut()) {
                object.insert("hashes".into(), sha256(&d.digest));
            }
            data
        })
        .collect();
    let needs: Vec<String> = input.datasets.iter().map(|d| dataset_reference(&d.role)).collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial(input, model_sha256),
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "plimsoll", "version": env!("CARGO_PKG_VERSION")}]},
            "component": component,
        },
        "components": datasets,
        "dependencies": [{"ref": reference, "dependsOn": needs}],
    })
}

fn dataset_reference(role: &str) -> String {
    format!("data:{role}")
}

fn steps(input: &ReleaseInput) -> String {
    let steps: Vec<String> = input
        .recipe
        .steps
        .iter()
        .map(|s| {
            let parameters: Vec<String> = s.parameters.iter().map(|(k, v)| format!(" {k}={v}")).collect();
            format!("{}{}", s.pass, parameters.concat())
        })
        .collect();
    format!("made by: {}", if steps.is_empty() { "no pass".into() } else { steps.join(", ") })
}

fn card(input: &ReleaseInput) -> Value {
    let of_model = |f: &&Figure| f.model_digest.is_empty() || f.model_digest == input.model_digest;
    let metrics: Vec<Value> = input.figures.figures.iter().filter(of_model).map(metric).collect();
    let datasets: Vec<Value> = input.datasets.iter().map(|d| json!({"ref": dataset_reference(&d.role)})).collect();
    json!({
        "modelParameters": {"datasets": datasets},
        "quantitativeAnalysis": {"performanceMetrics": metrics},
        "properties": [{"name": "plimsoll:gate", "value": input.report.verdict.to_string()}],
    })
}

fn metric(figure: &Figure) -> Value {
    let unit = if figure.unit.is_empty() { String::new() } else { format!(" {}", figure.unit) };
    let mut metric = json!({
        "type": figure.metric,
        "value": format!("{}{unit}", figure.value),
        "slice": format!(
            "n={} executor={} {} machine={} threads={} data={}",
            figure.n, figure.executor, figure.executor_version, figure.machine.cpu, figure.machine.threads, figure.data_digest
        ),
    });
    if let (Some([low, high]), Some(object)) = (figure.interval, metric.as_object_mut()) {
        let interval = json!({"lowerBound": format!("{low}{unit}"), "upperBound": format!("{high}{unit}")});
        object.insert("confidenceInterval".into(), interval);
    }
    metric
}

/// A UUID of version 8 (custom) from what is in the release: the same release, the same number.
fn serial(input: &ReleaseInput, model_sha256: &str) -> String {
    let digest = sha256_hex(format!("plimsoll.bom/1\n{}\n{}\n{model_sha256}\n", input.name, input.version).as_bytes());
    let digit = |at: usize| digest.as_bytes().get(at).map_or('0', |b| char::from(*b));
    let text = |range: std::ops::Range<usize>| range.map(digit).collect::<String>();
    let variant = match digit(16) {
        '0' | '4' | '8' | 'c' => '8',
        '1' | '5' | '9' | 'd' => '9',
        '2' | '6' | 'a' | 'e' => 'a',
        _ => 'b',
    };
    format!("urn:uuid:{}-{}-8{}-{variant}{}-{}", text(0..8), text(8..12), text(13..16), text(17..20), text(20..32))
}
