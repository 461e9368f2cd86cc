//! Figures that are counted, not measured: the same on every machine.

use plimsoll_cost::{Cost, Counted, NodeCost, analyse, zstd_bytes};
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

/// Figures of a model at batch 1: sizes at rest, parameters, multiply-accumulates by what is multiplied, memory; those that cannot be
/// counted are named in the second list, with the reason. Data settle dimensions that the model leaves open; without them, what
/// depends on these is withheld. Of an outline, what depends on absent weights is.
pub fn static_figures(model: &Model, data: Option<&dyn Samples>) -> Result<(Vec<Figure>, Vec<String>), MeasureError> {
    let cost = analyse(model, &infer(model, &one_sample(model, data)));
    let open = if data.is_some() { vec![] } else { open_dimensions(model) };
    let digest = model.digest().to_string();
    let figure = |metric: &str, unit: &str, value: f64, method: &str| {
        Figure {
            metric: metric.into(),
            value,
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
    let bytes = |metric: &str, value: u64, method: &str| figure(metric, "bytes", value as f64, method);
    let count = |metric: &str, value: u64, method: &str| figure(metric, "count", value as f64, method);
    let mut withheld = Vec::new();
    let mut figures = Vec::new();
    if model.absent().is_empty() {
        let encoded = model.to_bytes()?;
        figures.push(bytes("artifact-size", encoded.len() as u64, "bytes of the encoded model")?);
        match zstd_bytes(&encoded) {
            Ok(n) => figures.push(bytes("artifact-size-zstd", n, "bytes of the encoded model after zstd, level 3")?),
            Err(e) => withheld.push(format!("artifact-size-zstd: {e}")),
        }
    } else {
        figures.push(bytes("artifact-size", model.file_len()?, "bytes of the encoded model with its absent weights")?);
        let names: Vec<String> = model.absent().iter().map(|a| format!("`{}`", a.name)).collect();
        let are = if names.len() == 1 { "is" } else { "are" };
        withheld.push(format!("artifact-size-zstd: {} {are} absent", some_of(&names, "weight")));
    }
    figures.push(count("params", cost.params, "elements of weights, shared ones once")?);
    figures.push(bytes("weight-bytes", cost.bytes, "bytes of weights, shared ones once")?);
    match cost.loaded_bytes {
        Some(n) => figures.push(bytes("memory-size", n, "bytes of weights once loaded, in the types that nodes read")?),
        None => withheld.push("memory-size: the shape of some weight is not known".into()),
    }
    if let Some(why) = undetermined(&open) {
        withheld.extend(DEPENDENT.iter().map(|metric| format!("{metric}: {why}")));
        return Ok((figures, withheld));
    }
    if cost.unknown == 0 {
        let method = "multiply-accumulates of one run at batch 1, the dearest branches taken";
        figures.push(count("macs", cost.macs, method)?);
        for (metric, macs) in
            [("macs.f32", cost.by_dtype.f32), ("macs.f16", cost.by_dtype.f16), ("macs.i8", cost.by_dtype.i8)]
        {
            figures.push(count(metric, macs, method)?);
        }
    } else {
        let why = format!("{} cannot be counted", uncounted(&cost));
        withheld.extend(["macs", "macs.f32", "macs.f16", "macs.i8"].map(|metric| format!("{metric}: {why}")));
    }
    let peaks = [
        ("peak-activation-memory", cost.peak_activation_bytes, "each result in an array of its own"),
        ("peak-activation-memory.in-place", cost.peak_in_place_bytes, "element-wise nodes in place"),
    ];
    for (metric, peak, how) in peaks {
        match peak {
            Some(n) => {
                let method =
                    format!("largest sum of activations alive at once, nodes as outputs need them, batch 1, {how}");
                figures.push(bytes(metric, n, &method)?);
            }
            None => withheld.push(format!("{metric}: the shape of some value is not known")),
        }
    }
    match cost.intensity() {
        Some(intensity) => {
            let method = "multiply-accumulates a byte that nodes read or write, batch 1, without fusion";
            figures.push(figure("arithmetic-intensity", "ratio", intensity, method)?);
        }
        None => withheld.push("arithmetic-intensity: products or the shape of some value are not known".into()),
    }
    Ok((figures, withheld))
}

/// Metrics of a run, which dimensions that are open leave open.
const DEPENDENT: &[&str] = &[
    "macs",
    "macs.f32",
    "macs.f16",
    "macs.i8",
    "peak-activation-memory",
    "peak-activation-memory.in-place",
    "arithmetic-intensity",
];

/// The nodes whose products are not known, in words.
fn uncounted(cost: &Cost) -> String {
    fn names(nodes: &[NodeCost], into: &mut Vec<String>) {
        for n in nodes {
            if n.counted == Counted::OneIteration {
                into.push(format!("the iterations of `{}` ({})", n.name, n.op));
            } else if n.macs.is_none() {
                into.push(format!("`{}` ({})", n.name, n.op));
            }
            n.bodies.iter().for_each(|b| names(&b.nodes, into));
        }
    }
    let mut found = Vec::new();
    names(&cost.nodes, &mut found);
    some_of(&found, "node")
}

/// The first names, and how many there are besides.
fn some_of(names: &[String], what: &str) -> String {
    match names.len() {
        0..=3 => names.join(", "),
        n => format!("{} and {} more {what}s", names[..2].join(", "), n - 2),
    }
}

/// Why figures that depend on open dimensions are withheld.
pub(crate) fn undetermined(open: &[String]) -> Option<String> {
    let named = open.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if open.len() > 4 { ", …" } else { "" };
    (!open.is_empty()).then(|| format!("the model leaves {named}{more} open, and there are no samples to settle it"))
}
