//! Figures that are counted, not measured: the same on every machine.

use plimsoll_cost::analyse;
use plimsoll_dataset::Samples;
use plimsoll_onnx::{
    DimSpec, Model, ValueSpec,
    shape::{Bindings, infer},
};
use plimsoll_record::{Figure, Machine};

use crate::MeasureError;

/// Dimensions beyond the first that a model's inputs leave open, as people name them. What a run costs depends on them.
pub fn open_dimensions(model: &Model) -> Vec<String> {
    let of = |spec: ValueSpec| {
        let Some(dims) = spec.dims else { return vec![format!("the rank of `{}`", spec.name)] };
        let open = dims.iter().enumerate().skip(1).filter(|(_, d)| !matches!(d, DimSpec::Fixed(_)));
        let name = |(axis, d): (usize, &DimSpec)| match d {
            DimSpec::Symbol(symbol) => format!("`{symbol}` of `{}`", spec.name),
            _ => format!("axis {axis} of `{}`", spec.name),
        };
        open.map(name).collect()
    };
    model.inputs().into_iter().flat_map(of).collect()
}

/// The shapes of a run with one sample: those of the data, where they have all inputs, else the declared ones, open dimensions
/// being 1.
pub fn one_sample(model: &Model, data: Option<&dyn Samples>) -> Bindings {
    let shapes = data.and_then(|d| d.one_sample(&model.inputs()));
    shapes.map_or_else(|| Bindings::batch(1), Bindings::shapes)
}

/// Figures of a model at batch 1: `artifact-size`, `macs`, `params`, `weight-bytes`, `peak-activation-memory`; those that cannot
/// be counted are named in the second list, with the reason. Data settle dimensions that the model leaves open; without them,
/// what depends on these is withheld.
pub fn static_figures(model: &Model, data: Option<&dyn Samples>) -> Result<(Vec<Figure>, Vec<String>), MeasureError> {
    let cost = analyse(model, &infer(model, &one_sample(model, data)));
    let open = if data.is_some() { vec![] } else { open_dimensions(model) };
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
            baseline_digest: String::new(),
        }
        .checked()
    };
    let mut figures = vec![
        figure("artifact-size", "bytes", model.to_bytes()?.len() as u64, "bytes of the encoded model")?,
        figure("params", "count", cost.params, "elements of weights, shared ones once")?,
        figure("weight-bytes", "bytes", cost.bytes, "bytes of weights, shared ones once")?,
    ];
    let mut withheld = Vec::new();
    if let Some(why) = undetermined(&open) {
        withheld.push(format!("macs: {why}"));
        withheld.push(format!("peak-activation-memory: {why}"));
        return Ok((figures, withheld));
    }
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

/// Why figures that depend on open dimensions are withheld.
pub(crate) fn undetermined(open: &[String]) -> Option<String> {
    let named = open.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if open.len() > 4 { ", …" } else { "" };
    (!open.is_empty()).then(|| format!("the model leaves {named}{more} open, and there are no samples to settle it"))
}
