//! What a model is, and what each node costs.

use std::collections::BTreeMap;

use plimsoll_cost::{Cost, Counted, Macs, analyse, zstd_bytes};
use plimsoll_measure::open_dimensions;
use plimsoll_onnx::{
    DType, DimSpec, Model, ValueSpec,
    shape::{Bindings, infer},
};
use plimsoll_record::{AbsentWeight, BodyCost, Inspection, MacsByDtype, NodeCost, StoredType, Totals, Value};
use plimsoll_runtime::LoadOptions;

use crate::{
    args,
    exit::Exit,
    failure::Failure,
    manual::Code,
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Inspect) -> Result<Exit, Failure> {
    let model = world::outline(&args.model)?;
    let cost = analyse(&model, &infer(&model, &bindings(&model, args)?));
    let found = inspection(&args.model.display().to_string(), &model, cost, args.batch)?;
    world.print(&found, || text(&found))?;
    let open = open_dimensions(&model);
    if args.shape.is_empty() && !open.is_empty() {
        ui::say(&format!("note: counted for 1 as {}; --shape settles it", open.join(", ")));
    }
    world::tell_absent(&args.model, &model);
    Ok(Exit::Pass)
}

/// The shapes that are counted for: those given, else the declared ones, with the batch size and 1 for what they leave open.
fn bindings(model: &Model, args: &args::Inspect) -> Result<Bindings, Failure> {
    let inputs = model.inputs();
    let mut shapes = BTreeMap::new();
    for (name, shape) in &args.shape {
        let wrong = |why: String| {
            Failure::new(Code::BadData, format!("{}: `--shape {name}`: {why}", args.model.display()))
                .help("write --shape INPUT=1x3x224x224, with the name and the rank of one of the inputs")
        };
        let Some(spec) = inputs.iter().find(|i| i.name == *name) else {
            let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
            return Err(wrong(format!("it is no input of the model (inputs: {})", names.join(", "))));
        };
        let fits = |(d, n): (&DimSpec, &usize)| !matches!(d, DimSpec::Fixed(fixed) if *fixed != *n as u64);
        let dims = spec.dims.as_deref();
        if dims.is_some_and(|d| d.len() != shape.len() || !d.iter().zip(shape).all(fits)) {
            let dims = dims.unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(wrong(format!("the input is [{dims}]")));
        }
        shapes.insert(name.clone(), shape.clone());
    }
    if shapes.is_empty() {
        return Ok(Bindings::batch(args.batch));
    }
    let batch = usize::try_from(args.batch).unwrap_or(usize::MAX);
    for (name, shape) in LoadOptions::for_batch(model, batch).shapes {
        shapes.entry(name).or_insert(shape);
    }
    Ok(Bindings::shapes(shapes))
}

/// A model at a batch size, with every shape as it is declared.
pub(crate) fn at_batch(name: &str, model: &Model, batch: u64) -> Result<Inspection, Failure> {
    inspection(name, model, analyse(model, &infer(model, &Bindings::batch(batch))), batch)
}

fn inspection(name: &str, model: &Model, cost: Cost, batch: u64) -> Result<Inspection, Failure> {
    let value = |spec: ValueSpec| Value {
        name: spec.name,
        dtype: spec.dtype.map_or("", DType::name).to_owned(),
        shape: spec.dims.iter().flatten().map(ToString::to_string).collect(),
    };
    let proto = model.proto();
    let opset = |o: &plimsoll_onnx::proto::OperatorSetIdProto| {
        format!("{}:{}", if o.domain.is_empty() { "ai.onnx" } else { &o.domain }, o.version)
    };
    let compressed = |bytes: &[u8]| {
        zstd_bytes(bytes).map_err(|e| Failure::new(Code::Internal, format!("failed to compress {name}: {e}")))
    };
    Ok(Inspection {
        schema: "plimsoll.inspect/1".into(),
        model: name.into(),
        model_digest: model.digest().to_string(),
        file_bytes: model.file_len()?,
        zstd_bytes: if model.absent().is_empty() { Some(compressed(&model.to_bytes()?)?) } else { None },
        absent: model
            .absent()
            .iter()
            .map(|a| AbsentWeight { name: a.name.clone(), reason: a.reason.clone() })
            .collect(),
        ir_version: proto.ir_version,
        opset: proto.opset_import.iter().map(opset).collect(),
        producer: format!("{} {}", proto.producer_name, proto.producer_version).trim().to_owned(),
        batch,
        inputs: model.inputs().into_iter().map(value).collect(),
        outputs: model.outputs().into_iter().map(value).collect(),
        totals: Totals {
            macs: cost.macs,
            macs_by_dtype: by_dtype(cost.by_dtype),
            params: cost.params,
            bytes: cost.bytes,
            stored: cost
                .stored
                .iter()
                .map(|s| StoredType { dtype: s.dtype.into(), params: s.params, bytes: s.bytes })
                .collect(),
            loaded_bytes: cost.loaded_bytes,
            peak_activation_bytes: cost.peak_activation_bytes,
            peak_in_place_bytes: cost.peak_in_place_bytes,
            traffic_bytes: cost.traffic,
            intensity: cost.intensity(),
            unknown_nodes: cost.unknown,
        },
        nodes: cost.nodes.into_iter().map(node).collect(),
    })
}

fn by_dtype(macs: Macs) -> MacsByDtype {
    MacsByDtype { f32: macs.f32, f16: macs.f16, i8: macs.i8, other: macs.other }
}

fn node(n: plimsoll_cost::NodeCost) -> NodeCost {
    let body = |b: plimsoll_cost::BodyCost| BodyCost {
        name: b.name,
        runs: b.runs,
        nodes: b.nodes.into_iter().map(node).collect(),
    };
    NodeCost {
        intensity: n.intensity(),
        name: n.name,
        op: n.op,
        macs: n.macs,
        macs_by_dtype: by_dtype(n.by_dtype),
        counted: match n.counted {
            Counted::Always => "always",
            Counted::DearestBranch => "dearest-branch",
            Counted::AtMost(_) => "at-most",
            Counted::OneIteration => "one-iteration",
        }
        .into(),
        params: n.params,
        bytes: n.bytes,
        shape: n.shape.map(|s| s.into_iter().map(|d| d as u64).collect()),
        traffic_bytes: n.traffic,
        bodies: n.bodies.into_iter().map(body).collect(),
    }
}

/// A row for each node, those of bodies below theirs and further in.
fn rows(nodes: &[NodeCost], depth: usize, out: &mut Vec<Vec<String>>) {
    let indent = "  ".repeat(depth);
    for n in nodes {
        let shape = n.shape.as_ref().map_or("?".to_owned(), |s| format!("{s:?}"));
        let sign = match n.counted.as_str() {
            "at-most" | "dearest-branch" => "≤ ",
            "one-iteration" => "≥ ",
            _ => "",
        };
        let macs = n.macs.map_or("?".to_owned(), |m| format!("{sign}{}", ui::count(m)));
        let intensity =
            n.intensity.map_or("?".to_owned(), |i| if n.macs == Some(0) { "0".into() } else { format!("{i:.2}") });
        let intensity = if n.traffic_bytes == Some(0) { "–".into() } else { intensity };
        let name = format!("{indent}{}", n.name);
        out.push(vec![name, n.op.clone(), shape, macs, ui::count(n.params), ui::bytes(n.bytes), intensity]);
        for body in &n.bodies {
            let runs = match (body.runs, n.counted.as_str()) {
                (None, _) => "an unknown number of times; one is counted".to_owned(),
                (Some(0), _) => "never".into(),
                (Some(1), "dearest-branch") => "or the other; the dearest is counted".into(),
                (Some(1), _) => "once".into(),
                (Some(runs), "at-most") => format!("at most {} times", ui::count(runs)),
                (Some(runs), _) => format!("{} times", ui::count(runs)),
            };
            let title = format!("{indent}  [{}]: {runs}", body.name);
            out.push(std::iter::once(title).chain(std::iter::repeat_n(String::new(), 6)).collect());
            if body.runs != Some(0) {
                rows(&body.nodes, depth + 2, out);
            }
        }
    }
}

/// What a count is made of, where it is more than float32.
fn precisions(macs: &MacsByDtype) -> String {
    let parts = [("f32", macs.f32), ("f16", macs.f16), ("i8", macs.i8), ("others", macs.other)];
    let parts: Vec<String> =
        parts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {}", ui::count(*n))).collect();
    if macs.f16 == 0 && macs.i8 == 0 && macs.other == 0 { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn text(i: &Inspection) -> String {
    let values = |values: &[Value]| {
        let one = |v: &Value| format!("{} {} [{}]", v.name, v.dtype, v.shape.join(", "));
        values.iter().map(one).collect::<Vec<_>>().join("\n            ")
    };
    let mut table = Vec::new();
    rows(&i.nodes, 0, &mut table);
    let table = ui::table(&["node", "operator", "shape", "MACs", "params", "bytes", "MACs/byte"], table);
    let t = &i.totals;
    let known = |bytes: Option<u64>| bytes.map_or("not known (some shape is not)".to_owned(), ui::bytes);
    let peak = match (t.peak_activation_bytes, t.peak_in_place_bytes) {
        (Some(peak), Some(less)) if less < peak => format!("{} ({} in place)", ui::bytes(peak), ui::bytes(less)),
        (peak, _) => known(peak),
    };
    let stored: Vec<String> = t.stored.iter().map(|s| format!("{} in {}", ui::bytes(s.bytes), s.dtype)).collect();
    let zstd = match i.zstd_bytes {
        Some(bytes) => format!("{} by zstd", ui::bytes(bytes)),
        None => format!("by zstd not known ({} weights are absent)", i.absent.len()),
    };
    let intensity = t.intensity.map_or("not known".to_owned(), |i| format!("{i:.2} MACs a byte read or written"));
    let unknown = match t.unknown_nodes {
        0 => String::new(),
        n => format!(" ({n} nodes cannot be counted, or are counted for one iteration)"),
    };
    format!(
        "model       {} ({})\ndigest      {}\noperators   {} · IR {}\nproducer    {}\ninputs      {}\noutputs     {}\n\n{table}\n\n\
         totals at batch {}: {} MACs{}{unknown} · {} params in {} · peak activations {peak}\n\
         at rest     {} · {zstd} · weights {}\nin memory   weights {}\nintensity   {intensity}\n",
        i.model,
        ui::bytes(i.file_bytes),
        i.model_digest,
        i.opset.join(", "),
        i.ir_version,
        if i.producer.is_empty() { "not said" } else { &i.producer },
        values(&i.inputs),
        values(&i.outputs),
        i.batch,
        ui::count(t.macs),
        precisions(&t.macs_by_dtype),
        ui::count(t.params),
        ui::bytes(t.bytes),
        ui::bytes(i.file_bytes),
        if stored.is_empty() { "none".to_owned() } else { stored.join(", ") },
        known(t.loaded_bytes),
    )
}
