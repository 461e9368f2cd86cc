//! `adapt`: a model against the contract of the pipeline that runs today, and the adapter that makes it fit.

use std::path::Path;

use plimsoll_cost::analyse;
use plimsoll_onnx::{
    Model, Tensors,
    shape::{Bindings, infer},
};
use plimsoll_optimize::recipe::pass_record;
use plimsoll_profile::Contract;
use plimsoll_record::{Adaptation, AdapterProof, AdapterStep, ContractPoint, Size};
use plimsoll_transform::adapt::{Against, Comparison, Fit, Plan, Point, build, compare, drawn, prove};

use crate::{
    args,
    contracts::{self, Recorded},
    exit::Exit,
    failure::{Failure, Named},
    manual::Code,
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Adapt) -> Result<Exit, Failure> {
    let contract = Contract::read(&args.contract)?;
    let model = world::model(&args.model)?;
    if let Some(output) = &args.output {
        world::check_output(output, &[&args.model, &args.contract])?;
    }
    let recorded = Recorded::read(&contract)?;
    let compared = compare(&contract, &model);
    let mut found = document(args, &contract, &compared);
    let Some(plan) = compared.plan.as_ref().filter(|_| compared.fit() != Fit::Never) else {
        world.print(&found, || text(&found, true))?;
        return Err(contracts::incompatible(&args.model, &contract, &compared.points));
    };
    if let Some(output) = &args.output {
        write(world, args, &contract, (&model, plan), recorded.as_ref(), output, &mut found)?;
    }
    world.print(&found, || text(&found, args.explain))?;
    Ok(Exit::Pass)
}

fn document(args: &args::Adapt, contract: &Contract, compared: &Comparison) -> Adaptation {
    let steps = compared.plan.as_ref().map(Plan::steps).unwrap_or_default();
    Adaptation {
        schema: "plimsoll.adaptation/1".into(),
        model: args.model.display().to_string(),
        contract: args.contract.display().to_string(),
        verdict: compared.fit().word().into(),
        points: compared.points.iter().map(|p| point(contract, p)).collect(),
        steps: steps.into_iter().map(|(value, what)| AdapterStep { value, what }).collect(),
        output: None,
        before: None,
        after: None,
        passes: vec![],
        proof: None,
        not_proved: String::new(),
        incumbent: vec![],
    }
}

fn point(contract: &Contract, p: &Point) -> ContractPoint {
    let place = p.span.map(|span| contract.source.place(span));
    ContractPoint {
        side: p.side.into(),
        name: p.name.clone(),
        aspect: p.aspect.into(),
        fit: p.fit.word().into(),
        pipeline: p.pipeline.clone(),
        model: p.model.clone(),
        note: p.note.clone(),
        line: place.map_or(0, |p| p.line as u64),
        column: place.map_or(0, |p| p.column as u64),
    }
}

/// Writes the adapted model, after both ways were run.
fn write(
    world: &World,
    args: &args::Adapt,
    contract: &Contract,
    (model, plan): (&Model, &Plan),
    recorded: Option<&Recorded>,
    output: &Path,
    found: &mut Adaptation,
) -> Result<(), Failure> {
    let context = world.context(None)?;
    let adapted = build(contract, model, plan, &context).of_model(&args.model)?;
    let batches = match recorded {
        Some(recorded) => Ok((recorded.batches.clone(), "recorded")),
        None => drawn(contract, world.common.seed).map(|batches| (batches, "drawn")),
    };
    match batches {
        Ok((batches, inputs)) => {
            let outputs = proved(&args.model, (model, &adapted.model), plan, &batches, &context)?;
            let samples = batches.iter().map(|b| contracts::samples_of(contract, b) as u64).sum();
            let executor = world.executor_name().to_owned();
            found.proof = Some(AdapterProof { inputs: inputs.into(), samples, executor });
            if let Some(recorded) = recorded {
                found.incumbent = recorded.beside(contract, &outputs)?;
            }
        }
        Err(why) => {
            found.not_proved =
                format!("{why}; name recorded inputs in [recorded], or state the ranges of the pipeline's inputs");
        }
    }
    adapted.model.write(output)?;
    found.output = Some(output.display().to_string());
    found.before = Some(size(model)?);
    found.after = Some(size(&adapted.model)?);
    found.passes = adapted.steps.into_iter().map(pass_record).collect();
    Ok(())
}

fn proved(
    path: &Path,
    (model, adapted): (&Model, &Model),
    plan: &Plan,
    batches: &[Tensors],
    context: &plimsoll_transform::Context<'_>,
) -> Result<Vec<Tensors>, Failure> {
    let proof = prove(model, adapted, plan, batches, context).of_model(path)?;
    match proof.against {
        Against::Same { .. } => Ok(proof.outputs),
        Against::Differs(how) => Err(Failure::new(
            Code::CheckDiffers,
            format!("{}: the adapted model is not the pipeline's conversion and the model: {how}", path.display()),
        )
        .help("nothing was written; this is a defect of the adapter or of the executor: try --executor onnxruntime, and report it")),
    }
}

fn size(model: &Model) -> Result<Size, Failure> {
    let cost = analyse(model, &infer(model, &Bindings::batch(1)));
    Ok(Size {
        model_digest: model.digest().to_string(),
        bytes: model.to_bytes()?.len() as u64,
        nodes: model.graph().node.len() as u64,
        macs: cost.macs,
        params: cost.params,
    })
}

fn text(found: &Adaptation, explain: bool) -> String {
    // What fits is only counted, unless everything is asked for.
    let shown = found.points.iter().filter(|p| explain || p.fit != Fit::Fits.word());
    let row = |p: &ContractPoint| {
        vec![
            p.side.clone(),
            p.name.clone(),
            p.aspect.clone(),
            p.pipeline.clone(),
            p.model.clone(),
            p.fit.clone(),
            p.note.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = shown.map(row).collect();
    let mut lines = Vec::new();
    if !rows.is_empty() {
        lines.push(ui::table(&["side", "name", "respect", "pipeline", "model", "verdict", "how"], rows));
        lines.push(String::new());
    }
    let count = |fit: Fit| found.points.iter().filter(|p| p.fit == fit.word()).count();
    let [fits, adapts, never] = [Fit::Fits, Fit::Adapts, Fit::Never].map(count);
    lines.push(format!("verdict  {} ({fits} fit, {adapts} adapt, {never} do not)", found.verdict));
    lines.extend(found.steps.iter().map(|s| format!("step     {}: {}", s.value, s.what)));
    if let (Some(output), Some(before), Some(after)) = (&found.output, &found.before, &found.after) {
        lines.push(format!("wrote    {output}"));
        let moved = |a: u64, b: u64| format!("{} → {}", ui::count(a), ui::count(b));
        lines.push(format!("nodes    {}", moved(before.nodes, after.nodes)));
        lines.push(format!("MACs     {}", moved(before.macs, after.macs)));
    }
    if let Some(proof) = &found.proof {
        lines.push(format!(
            "proof    equal to the pipeline's conversion and the original model on {} {} samples, in {}",
            ui::count(proof.samples),
            proof.inputs,
            proof.executor
        ));
    } else if !found.not_proved.is_empty() {
        lines.push(format!("proof    none: {}", found.not_proved));
    }
    for beside in &found.incumbent {
        let agreement = beside.agreement.map_or(String::new(), |a| format!("the same class on {:.2} % of ", a * 100.0));
        let most =
            beside.largest_difference.map_or("some values NaN".into(), |d| format!("largest difference {d:.3e}"));
        lines.push(format!("today    {}: {agreement}{} samples, {most}", beside.output, ui::count(beside.samples)));
    }
    lines.join("\n") + "\n"
}
