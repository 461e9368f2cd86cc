//! Peak activation memory as it is counted, beside what tract says of its plan: a row for each model. Ends with 1 where less is counted
//! than the plan needs, or more than 20 % above the dearer of tract's orders. Of random graphs it says how many are how near.
//!
//!     cargo build --release --workspace --example peak_memory
//!     target/release/examples/peak_memory MODEL[:INPUT=1x3x320x320,…]…
//!     target/release/examples/peak_memory --random 200
//!     target/release/examples/peak_memory --random 20000 7000000

#[path = "../tests/support/graphs.rs"]
mod graphs;
#[path = "../tests/support/plan.rs"]
mod plan;

use std::{collections::BTreeMap, error::Error, io::Write, path::Path, process::ExitCode};

use plimsoll_cost::{Cost, analyse};
use plimsoll_onnx::{
    Model,
    shape::{Bindings, infer},
};
use plimsoll_runtime::LoadOptions;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, graphs, first @ ..] = &arguments[..]
        && flag == "--random"
    {
        let first = first.first().map_or(Ok(0), |first| first.parse())?;
        return Ok(if random(&mut out, first, graphs.parse()?)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut holds = true;
    for argument in &arguments {
        holds &= row(&mut out, argument).map_err(|e| format!("{argument}: {e}"))?;
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is counted of a model with inputs of these shapes, and what tract says.
fn both(model: &Model, shapes: &BTreeMap<String, Vec<usize>>) -> Result<(Cost, u64, plan::Peaks), Box<dyn Error>> {
    let cost = analyse(model, &infer(model, &Bindings::shapes(shapes.clone())));
    let counted = cost.peak_activation_bytes.ok_or("the peak is not known")?;
    let theirs = plan::peaks(&model.to_bytes()?, shapes).map_err(|e| format!("tract cannot load it: {e}"))?;
    Ok((cost, counted, theirs))
}

/// Whether the count is near.
fn row(out: &mut impl Write, argument: &str) -> Result<bool, Box<dyn Error>> {
    let (path, sizes) =
        argument.split_once(".onnx:").map_or((argument.to_owned(), ""), |(p, s)| (format!("{p}.onnx"), s));
    let model = Model::read(Path::new(&path))?;
    let mut shapes: BTreeMap<String, Vec<usize>> = LoadOptions::for_batch(&model, 1).shapes;
    for size in sizes.split(',').filter(|s| !s.is_empty()) {
        let (name, dims) = size.rsplit_once('=').ok_or("sizes are INPUT=1x3x320x320")?;
        shapes.insert(name.to_owned(), dims.split('x').map(str::parse).collect::<Result<_, _>>()?);
    }
    let (cost, counted, theirs) = both(&model, &shapes)?;
    let in_place = cost.peak_in_place_bytes.map_or("unknown".to_owned(), |b| b.to_string());
    let (plan, evaluation) = (theirs.plan_order, theirs.evaluation_order);
    let ratio = counted as f64 / plan as f64;
    writeln!(out, "| {path} | {counted} | {in_place} | {plan} | {evaluation} | {ratio:.3} |")?;
    Ok(counted >= plan && counted as f64 <= 1.2 * plan.max(evaluation) as f64)
}

/// Of so many random graphs, from a seed on: how far the count is from tract's plan, and whether it is nowhere below.
fn random(out: &mut impl Write, first: u64, graphs: u64) -> Result<bool, Box<dyn Error>> {
    let (mut ratios, mut refused) = (Vec::new(), 0);
    for seed in first..first.checked_add(graphs).ok_or("seeds end at 2^64")? {
        let model = graphs::random_graph(seed);
        match both(&model, &LoadOptions::for_batch(&model, 1).shapes) {
            Ok((_, counted, theirs)) => {
                let ratio = counted as f64 / theirs.plan_order as f64;
                if ratio < 1.0 {
                    writeln!(out, "graph {seed}: {counted} counted, {} by tract ({ratio:.3})", theirs.plan_order)?;
                }
                ratios.push(ratio);
            }
            Err(_) => refused += 1,
        }
    }
    ratios.sort_by(f64::total_cmp);
    let count = |of: &dyn Fn(&f64) -> bool| ratios.iter().filter(|r| of(r)).count();
    let [below, same, near, far] =
        [count(&|r| *r < 1.0), count(&|r| *r == 1.0), count(&|r| *r > 1.0 && *r <= 1.2), count(&|r| *r > 1.2)];
    let ends = ratios.first().zip(ratios.last()).ok_or("tract can load none")?;
    writeln!(out, "{graphs} graphs, of which tract refuses {refused}: {below} below its plan, {same} the same,")?;
    writeln!(out, "{near} up to 20 % above, {far} more; {:.3} to {:.3} of it", ends.0, ends.1)?;
    Ok(below == 0)
}
