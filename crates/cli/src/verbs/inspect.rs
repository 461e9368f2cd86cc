//! What a model is, and what each node costs.

use plimsoll_cost::{Cost, analyse};
use plimsoll_onnx::{
    DType, Model, ValueSpec,
    shape::{Bindings, infer},
};
use plimsoll_record::{Inspection, NodeCost, Totals, Value};

use crate::{
    args,
    exit::Exit,
    failure::Failure,
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Inspect) -> Result<Exit, Failure> {
    let model = world::model(&args.model)?;
    let cost = analyse(&model, &infer(&model, &Bindings::batch(args.batch)));
    let found = inspection(&args.model.display().to_string(), &model, cost, args.batch)?;
    world.print(&found, || text(&found))?;
    Ok(Exit::Pass)
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
