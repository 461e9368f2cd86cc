//! `simplify`, `quantize`, `prune`: each a recipe of a few steps, carried out and written.

use std::path::{Path, PathBuf};

use plimsoll_cost::analyse;
use plimsoll_dataset::{Dataset, Samples};
use plimsoll_measure::{one_sample, open_dimensions};
use plimsoll_onnx::{Model, shape::infer};
use plimsoll_optimize::Stopwatch;
use plimsoll_optimize::recipe::{Made, apply, before_quantization, step, step_with};
use plimsoll_record::{NodeSensitivity, PassRecord, QuantizedComparison, Recipe, Size, Step, Transformation};
use plimsoll_transform::{Context, LatencyOracle, verify::Checked};

use crate::{
    args,
    exit::Exit,
    failure::{Failure, Named},
    ui,
    verbs::quantized,
    world::{self, World},
};

pub(crate) fn simplify(world: &World, args: &args::Simplify) -> Result<Exit, Failure> {
    carry_out(world, &args.model, args.data.as_deref(), &args.output, vec![step("simplify")], &nothing_more)
}

pub(crate) fn quantize(world: &World, args: &args::Quantize) -> Result<Exit, Failure> {
    let mut parameters = vec![("scheme", args.scheme.clone())];
    if args.scheme != "f16" {
        parameters.push(("granularity", args.granularity.clone()));
        parameters.push(("calibration", args.calibration.clone()));
        parameters.push(("activations", args.activations.clone()));
        if args.reduce_range {
            parameters.push(("reduce-range", "true".into()));
        }
        parameters.extend(args.equalize.clone().map(|method| ("equalize", method)));
        parameters.extend(args.repair.clone().map(|repair| ("repair", repair)));
    }
    if !args.exclude.is_empty() {
        parameters.push(("exclude", args.exclude.join("\n")));
    }
    parameters.extend(args.min_agreement.clone().map(|share| ("min-agreement", share)));
    parameters.extend(args.max_drop.clone().map(|share| ("max-drop", share)));
    // Quantized ranges are those of the simplified graph: a batch normalization, say, is folded before its scale is chosen.
    let mut steps = vec![step("simplify"), step_with("quantize", parameters)];
    steps.extend(args.pad_channels.map(|n| step_with("pad-channels", [("multiple", n.to_string())])));
    let explain =
        |model: &Model, made: &Made, data: Option<&Dataset>| explained(world, args, &steps, model, made, data);
    carry_out(world, &args.model, args.data.as_deref(), &args.output, steps.clone(), &explain)
}

/// Sensitivity of the nodes and the comparison with another file, as far as they are asked for and there are samples.
fn explained(
    world: &World,
    args: &args::Quantize,
    steps: &[Step],
    model: &Model,
    made: &Made,
    data: Option<&Dataset>,
) -> Result<Explained, Failure> {
    let (true, Some(data)) = (args.output.explain, data) else { return Ok(Explained::default()) };
    let recipe = Recipe::new("command line", steps.to_vec());
    let before = before_quantization(&recipe, model, &world.context(Some(data))?).of_model(&args.model)?;
    let Some((simple, options)) = before else { return Ok(Explained::default()) };
    let sensitivity = quantized::sensitivity(world, &simple, data, &options).of_model(&args.model)?;
    let ours = (args.output.path.as_path(), &made.model, &made.names);
    let compare = |other: &PathBuf| quantized::against(world, (model, &simple), ours, other, data);
    Ok(Explained { sensitivity: Some(sensitivity), against: args.against.as_ref().map(compare).transpose()? })
}

pub(crate) fn prune(world: &World, args: &args::Prune) -> Result<Exit, Failure> {
    let target = [
        ("remove-macs", args.target.remove_macs),
        ("remove-params", args.target.remove_params),
        ("remove-bytes", args.target.remove_bytes),
        ("sparsity", args.target.sparsity),
    ];
    let mut parameters: Vec<_> =
        target.into_iter().filter_map(|(name, share)| Some((name, share?.to_string()))).collect();
    parameters.extend(args.target.max_latency.clone().map(|time| ("max-latency", time)));
    if args.target.max_latency.is_some() {
        world.refuse_debug_build()?;
    }
    let how = [
        ("pattern", &args.target.pattern),
        ("score", &args.score),
        ("allocation", &args.allocation),
        ("repair", &args.repair),
    ];
    parameters.extend(how.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    parameters.extend(args.round_to.map(|n| ("round-to", n.to_string())));
    if !args.exclude.is_empty() {
        parameters.push(("exclude", args.exclude.join("\n")));
    }
    let steps = vec![step("simplify"), step_with("prune", parameters)];
    carry_out(world, &args.model, args.data.as_deref(), &args.output, steps, &nothing_more)
}

/// What is found out about a result besides its size.
#[derive(Default)]
struct Explained {
    sensitivity: Option<Vec<NodeSensitivity>>,
    against: Option<QuantizedComparison>,
}

type Explain<'e> = dyn Fn(&Model, &Made, Option<&Dataset>) -> Result<Explained, Failure> + 'e;

fn nothing_more(_: &Model, _: &Made, _: Option<&Dataset>) -> Result<Explained, Failure> {
    Ok(Explained::default())
}

fn carry_out(
    world: &World,
    path: &Path,
    data: Option<&Path>,
    output: &args::Output,
    mut steps: Vec<Step>,
    explain: &Explain<'_>,
) -> Result<Exit, Failure> {
    let model = world::model(path)?;
    let data = data.map(|d| world::data(d, &model)).transpose()?;
    world::check_output(&output.path, &[path])?;
    if output.strip_names {
        steps.push(step("strip-names"));
    }
    let recipe = Recipe::new("command line", steps);
    let clock = match &data {
        Some(data) => Some(Stopwatch::new(world.executor()?, data, world.common.threads)),
        None => None,
    };
    let latency = clock.as_ref().map(|c| c as &dyn LatencyOracle);
    let made = apply(&recipe, &model, &Context { latency, ..world.context(data.as_ref())? }).of_model(path)?;
    let explained = explain(&model, &made, data.as_ref())?;
    made.model.write(&output.path)?;
    if output.strip_names {
        world::write(&output.path.with_extension("names.json"), world::json(&made.names)?.as_bytes())?;
    }
    let done = Transformation {
        schema: "plimsoll.transformation/1".into(),
        model: path.display().to_string(),
        output: output.path.display().to_string(),
        before: size(&model, data.as_ref())?,
        after: size(&made.model, data.as_ref())?,
        checked: checked(&made),
        passes: made.passes,
        sensitivity: explained.sensitivity,
        against: explained.against,
    };
    world.print(&done, || text(&done, output.explain))?;
    let open = open_dimensions(&model);
    if data.is_none() && !open.is_empty() {
        ui::say(&format!("note: MACs are for 1 as {}; samples given with --data settle it", open.join(", ")));
    }
    Ok(Exit::Pass)
}

fn size(model: &Model, data: Option<&Dataset>) -> Result<Size, Failure> {
    let cost = analyse(model, &infer(model, &one_sample(model, data.map(|d| d as &dyn Samples))));
    Ok(Size {
        model_digest: model.digest().to_string(),
        bytes: model.to_bytes()?.len() as u64,
        nodes: model.graph().node.len() as u64,
        macs: cost.macs,
        params: cost.params,
    })
}

fn checked(made: &Made) -> String {
    let one = |c: &Checked| match c {
        Checked::Same { samples, source } => format!("results equal on {samples} {source} samples"),
        Checked::NotChecked(why) => format!("not checked: {why}"),
    };
    // The first check is that of the exact passes before anything lossy.
    made.checked.first().map_or_else(|| "no exact pass ran".into(), one)
}

fn text(done: &Transformation, explain: bool) -> String {
    let mut lines = Vec::new();
    if explain {
        done.passes.iter().for_each(|p| lines.push(pass_text(p)));
        lines.extend(done.sensitivity.as_deref().map(quantized::sensitivity_text));
        lines.extend(done.against.as_ref().map(quantized::comparison_text));
    }
    let (a, b) = (&done.before, &done.after);
    let moved = |from: u64, to: u64, show: fn(u64) -> String| {
        let change = if from == 0 { 0.0 } else { (to as f64 / from as f64 - 1.0) * 100.0 };
        format!("{} → {} ({change:+.1} %)", show(from), show(to))
    };
    lines.push(format!("wrote   {}", done.output));
    lines.push(format!("size    {}", moved(a.bytes, b.bytes, ui::bytes)));
    lines.push(format!("nodes   {}", moved(a.nodes, b.nodes, ui::count)));
    lines.push(format!("MACs    {}", moved(a.macs, b.macs, ui::count)));
    lines.push(format!("params  {}", moved(a.params, b.params, ui::count)));
    lines.push(format!("check   {}", done.checked));
    lines.join("\n") + "\n"
}

fn pass_text(p: &PassRecord) -> String {
    let head = format!("{:<22} {:<14} {} → {} nodes", p.pass, p.outcome, p.nodes[0], p.nodes[1]);
    p.reasons.iter().fold(head, |text, reason| format!("{text}\n    {reason}"))
}
