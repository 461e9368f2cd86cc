//! Compares tract's own plan of a model with the lowered one: results, and time in turns on one thread.
//!
//! `cargo run --release -p plimsoll-lower --example compare -- [--dim N] [--seconds S] [--nodes] [--save DIR] MODEL.onnx [OTHER.onnx…]`
//!
//! The first model is run by tract's own plan and lowered, the others lowered: ratios of times are to tract's plan of the first, each with
//! the 95 % interval of its median.
//! `--dim` is what open dimensions other than the batch are [1]; `--nodes` tells where the time goes, node by node and step by step; `--save`
//! writes inputs and the lowered plan's outputs as raw float32, `input_0.f32`, `output_0.f32`, …, for others to compare.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, exit},
    sync::Arc,
    time::{Duration, Instant},
};

use plimsoll_lower::{Isa, lower, step_times};
use tract_onnx::{
    prelude::*,
    tract_core::{
        internal::{DimLike, format_err},
        plan::eval,
    },
    tract_hir::infer::Factoid,
};

struct Arguments {
    models: Vec<String>,
    dim: usize,
    time: Duration,
    nodes: bool,
    save: Option<PathBuf>,
}

fn arguments() -> TractResult<Arguments> {
    let mut found = Arguments { models: vec![], dim: 1, time: Duration::from_secs(2), nodes: false, save: None };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--save" {
            found.save = words.next().map(PathBuf::from);
            continue;
        }
        let mut number =
            || words.next().and_then(|n| n.parse::<f64>().ok()).ok_or_else(|| format_err!("{word} needs a number"));
        match word.as_str() {
            "--dim" => found.dim = number()? as usize,
            "--seconds" => found.time = Duration::from_secs_f64(number()?),
            "--nodes" => found.nodes = true,
            _ => found.models.push(word),
        }
    }
    if found.models.is_empty() {
        return Err(format_err!("compare [--dim N] [--seconds S] [--nodes] [--save DIR] MODEL.onnx [OTHER.onnx…]"));
    }
    Ok(found)
}

/// The plan of a model with batch 1, and how many of its operators are lowered ones.
fn load(path: &str, dim: usize, isa: Option<Isa>) -> TractResult<(Arc<TypedRunnableModel>, usize)> {
    let framework = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
    let mut model = framework.model_for_path(path)?;
    for index in 0..model.input_outlets()?.len() {
        let fact = model.input_fact(index)?.clone();
        let rank = fact.shape.rank().concretize().unwrap_or(0) as usize;
        let shape: Vec<usize> = fact
            .shape
            .dims()
            .take(rank)
            .enumerate()
            .map(|(axis, d)| {
                let known = d.concretize().and_then(|d| d.to_usize().ok());
                known.unwrap_or(if axis == 0 { 1 } else { dim })
            })
            .collect();
        let dt = fact.datum_type.concretize().unwrap_or(DatumType::F32);
        model.set_input_fact(index, InferenceFact::dt_shape(dt, &*shape))?;
    }
    let mut model = model.into_typed()?;
    let mut islands = 0;
    if let Some(isa) = isa {
        let lowered = lower(model, isa)?;
        islands = lowered.islands.len();
        model = lowered.model;
    }
    Ok((model.into_decluttered()?.into_optimized()?.into_runnable()?, islands))
}

fn inputs(plan: &TypedRunnableModel, seed: u64) -> TractResult<TVec<TValue>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut values = tvec!();
    for index in 0..plan.model().input_outlets()?.len() {
        let fact = plan.model().input_fact(index)?;
        let shape = fact.shape.as_concrete().ok_or_else(|| format_err!("an input's shape is symbolic: give --dim"))?;
        let float = fact.datum_type == f32::datum_type();
        let numbers: Vec<f32> = (0..shape.iter().product())
            .map(|_| if float { next() * 4. - 2. } else { (next() * 240.).floor() })
            .collect();
        values.push(Tensor::from_shape(shape, &numbers)?.cast_to_dt(fact.datum_type)?.into_owned().into_tvalue());
    }
    Ok(values)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// An interval that holds the median in 95 % of cases, between order statistics: of so many values below and above it as fair coins would
/// not exceed. Runs are taken for independent, which those of a machine at other work are not.
fn interval(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let half = (1.96 * (n as f64).sqrt() / 2.).ceil() as usize + 1;
    [values[(n / 2).saturating_sub(half)], values[(n / 2 + half).min(n - 1)]]
}

/// The largest difference of any output over the largest magnitude in it.
fn difference(expected: &[TValue], found: &[TValue]) -> TractResult<f32> {
    let mut worst = 0f32;
    for (a, b) in expected.iter().zip(found) {
        let (a, b) = (a.cast_to::<f32>()?, b.cast_to::<f32>()?);
        let (a, b) = (a.try_as_plain_ram()?, b.try_as_plain_ram()?);
        let (a, b) = (a.as_slice::<f32>()?, b.as_slice::<f32>()?);
        let largest = a.iter().fold(f32::MIN_POSITIVE, |m, a| m.max(a.abs()));
        worst = a.iter().zip(b).fold(worst, |w, (a, b)| w.max((a - b).abs() / largest));
    }
    Ok(worst)
}

/// Prints the nodes and steps that take the most time, with their share of the whole, and what all of a kind take together.
fn nodes(plan: &Arc<TypedRunnableModel>, values: &TVec<TValue>, time: Duration) -> TractResult<()> {
    let mut state = plan.spawn()?;
    let mut spent: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        state.run_plan_with_eval(values.clone(), |context, state, node, inputs| {
            if let Some(steps) = step_times(&*node.op, &inputs)? {
                for (i, (label, time)) in steps.into_iter().enumerate() {
                    spent
                        .entry(format!("  step {i:>3} of `{}`: {label}", node.name))
                        .or_default()
                        .push(time.as_secs_f64());
                }
            }
            let start = Instant::now();
            let outputs = eval(context, state, node, inputs);
            let key = format!("{} `{}`", node.op.name(), node.name);
            spent.entry(key).or_default().push(start.elapsed().as_secs_f64());
            outputs
        })?;
    }
    let mut spent: Vec<(String, f64)> = spent.into_iter().map(|(name, times)| (name, median(times))).collect();
    let whole: f64 = spent.iter().filter(|(name, _)| !name.starts_with(' ')).map(|(_, t)| t).sum();
    spent.sort_by(|a, b| b.1.total_cmp(&a.1));
    let line = |name: &str, time: f64| println!("{:>9.1} us {:>5.1} %  {name}", time * 1e6, time / whole * 100.);
    spent.iter().take(24).for_each(|(name, time)| line(name, *time));
    let mut kinds: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    for (name, time) in &spent {
        // An operator's name, or what a step is: numbers and names of nodes aside.
        let kind = match name.split_once("`: ") {
            Some((_, label)) => format!("  steps: {}", label.split(',').next().unwrap_or(label)),
            None => name.split(" `").next().unwrap_or(name).to_owned(),
        };
        let (count, sum) = kinds.entry(kind).or_default();
        (*count, *sum) = (*count + 1, *sum + time);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    kinds.iter().take(12).for_each(|(kind, (count, sum))| line(&format!("all {count} of {kind}"), *sum));
    Ok(())
}

fn write(folder: &Path, kind: &str, values: &[TValue]) -> TractResult<()> {
    for (i, value) in values.iter().enumerate() {
        let floats = value.cast_to::<f32>()?;
        let bytes: Vec<u8> =
            floats.try_as_plain_ram()?.as_slice::<f32>()?.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(folder.join(format!("{kind}_{i}.f32")), bytes)?;
    }
    Ok(())
}

/// Where an instruction set is forced, tract is held to it as well: it reads its own variable once, so the program starts itself again.
fn confined() -> TractResult<Option<ExitStatus>> {
    let Some((variable, value)) = Isa::confinement() else { return Ok(None) };
    let mut again = Command::new(env::current_exe()?);
    Ok(Some(again.args(env::args_os().skip(1)).env(variable, value).status()?))
}

fn main() -> TractResult<()> {
    let Arguments { models, dim, time, nodes: by_node, save } = arguments()?;
    let isa = Isa::detect();
    if let Some(status) = confined()? {
        exit(status.code().unwrap_or(1));
    }
    let mut plans = vec![("tract".to_owned(), load(&models[0], dim, None)?.0)];
    for path in &models {
        let (plan, islands) = load(path, dim, Some(isa))?;
        plans.push((format!("{path} lowered for {} ({islands} islands)", isa.name()), plan));
    }
    for seed in 1..4 {
        let values = inputs(&plans[0].1, seed)?;
        let worst = difference(&plans[0].1.run(values.clone())?, &plans[1].1.run(values)?)?;
        println!("relative difference of results {worst:.1e}");
    }
    let values = inputs(&plans[0].1, 1)?;
    if let Some(folder) = save {
        std::fs::create_dir_all(&folder)?;
        write(&folder, "input", &values)?;
        write(&folder, "output", &plans[1].1.run(values.clone())?)?;
    }
    let mut states = plans.iter().map(|(_, plan)| plan.spawn()).collect::<TractResult<Vec<_>>>()?;
    let mut times = vec![vec![]; plans.len()];
    let end = Instant::now() + time;
    while Instant::now() < end || times[0].len() < 3 {
        for (state, times) in states.iter_mut().zip(&mut times) {
            let values = values.clone();
            let start = Instant::now();
            drop(state.run(values)?);
            times.push(start.elapsed().as_secs_f64());
        }
    }
    let base = times[0].clone();
    for ((name, plan), own) in plans.iter().zip(times) {
        let ratios: Vec<f64> = own.iter().zip(&base).map(|(a, b)| a / b).collect();
        let [low, high] = interval(ratios.clone());
        println!("{:>9.1} us {:>6.3} ({low:.3} – {high:.3})  {name}", median(own) * 1e6, median(ratios));
        if by_node {
            nodes(plan, &values, time)?;
        }
    }
    Ok(())
}
