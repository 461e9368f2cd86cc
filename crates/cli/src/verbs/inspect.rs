//! What a model is, and what each node costs.

use std::collections::BTreeMap;

use plimsoll_cost::{Cost, analyse};
use plimsoll_measure::open_dimensions;
use plimsoll_onnx::{
    DType, DimSpec, Model, ValueSpec,
    shape::{Bindings, infer},
};
use plimsoll_record::{Inspection, NodeCost, Totals, Value};
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
    let model = world::model(&args.model)?;
    let cost = analyse(&model, &infer(&model, &bindings(&model, args)?));
    let found = inspection(&args.model.display().to_string(), &model, cost, args.batch)?;
    world.print(&found, || text(&found))?;
    let open = open_dimensions(&model);
    if args.shape.is_empty() && !open.is_empty() {
        ui::say(&format!("note: counted for 1 as {}; --shape settles it", open.join(", ")));
    }
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
    let node = |n: plimsoll_cost::NodeCost| NodeCost {
        name: n.name,
        op: n.op,
        macs: n.macs,
        params: n.params,
        bytes: n.bytes,
        shape: n.shape.map(|s| s.into_iter().map(|d| d as u64).collect()),
    };
    Ok(Inspection {
        schema: "plimsoll.inspect/1".into(),
        model: name.into(),
        model_digest: model.digest().to_string(),
        file_bytes: model.to_bytes()?.len() as u64,
        ir_version: proto.ir_version,
        opset: proto.opset_import.iter().map(opset).collect(),
        producer: format!("{} {}", proto.producer_name, proto.producer_version).trim().to_owned(),
        batch,
        inputs: model.inputs().into_iter().map(value).collect(),
        outputs: model.outputs().into_iter().map(value).collect(),
        totals: Totals {
            macs: cost.macs,
            params: cost.params,
            bytes: cost.bytes,
            peak_activation_bytes: cost.peak_activation_bytes,
            unknown_nodes: cost.unknown,
        },
        nodes: cost.nodes.into_iter().map(node).collect(),
    })
}

fn text(i: &Inspection) -> String {
    let values = |values: &[Value]| {
        let one = |v: &Value| format!("{} {} [{}]", v.name, v.dtype, v.shape.join(", "));
        values.iter().map(one).collect::<Vec<_>>().join("\n            ")
    };
    let rows = i.nodes.iter().map(|n| {
        let shape = n.shape.as_ref().map_or("?".to_owned(), |s| format!("{s:?}"));
        let macs = n.macs.map_or("?".to_owned(), ui::count);
        vec![n.name.clone(), n.op.clone(), shape, macs, ui::count(n.params), ui::bytes(n.bytes)]
    });
    let table = ui::table(&["node", "operator", "shape", "MACs", "params", "bytes"], rows.collect());
    let t = &i.totals;
    let peak = t.peak_activation_bytes.map_or("not known (some shape is not)".to_owned(), ui::bytes);
    let unknown = match t.unknown_nodes {
        0 => String::new(),
        n => format!(" ({n} nodes cannot be counted)"),
    };
    format!(
        "model       {} ({})\ndigest      {}\noperators   {} · IR {}\nproducer    {}\ninputs      {}\noutputs     {}\n\n{table}\n\n\
         totals at batch {}: {} MACs{unknown} · {} params in {} · peak activations {peak}\n",
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
        ui::count(t.params),
        ui::bytes(t.bytes),
    )
}
