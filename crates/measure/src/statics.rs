//! Figures that are counted, not measured: the same on every machine.

use plimsoll_cost::analyse;
use plimsoll_onnx::{
    Model,
    shape::{Bindings, infer},
};
use plimsoll_record::{Figure, Machine};

use crate::MeasureError;

/// Figures of a model at batch 1: `artifact-size`, `macs`, `params`, `weight-bytes`, `peak-activation-memory`; those that cannot
/// be counted are named in the second list, with the reason.
pub fn static_figures(model: &Model) -> Result<(Vec<Figure>, Vec<String>), MeasureError> {
    let cost = analyse(model, &infer(model, &Bindings::batch(1)));
    let digest = model.digest().to_string();
    let figure = |metric: &str, unit: &str, value: u64, method: &str| {
        Figure {
            metric: metric.into(),
            value: value as f64,
            unit: unit.into(),
            n: 1,
            interval: None,
            method: method.into(),
            executor: "static".into(),
            executor_version: env!("CARGO_PKG_VERSION").into(),
            machine: Machine::default(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
            model_digest: digest.clone(),
            data_digest: String::new(),
        }
        .checked()
    };
    let mut figures = vec![
        figure("artifact-size", "bytes", model.to_bytes()?.len() as u64, "bytes of the encoded model")?,
        figure("params", "count", cost.params, "elements of weights, shared ones once")?,
        figure("weight-bytes", "bytes", cost.bytes, "bytes of weights, shared ones once")?,
    ];
    let mut withheld = Vec::new();
    if cost.unknown == 0 {
        figures.push(figure("macs", "count", cost.macs, "multiply-accumulates of one run at batch 1")?);
    } else {
        withheld.push(format!("macs: {} nodes cannot be counted", cost.unknown));
    }
    match cost.peak_activation_bytes {
        Some(bytes) => figures.push(figure(
            "peak-activation-memory",
            "bytes",
            bytes,
            "largest sum of activations alive at once, stored node order, batch 1",
        )?),
        None => withheld.push("peak-activation-memory: the shape of some value is not known".into()),
    }
    Ok((figures, withheld))
}
