//! Latency of a model, alone or in alternation with a baseline.

use std::{path::Path, time::Duration};

use plimsoll_dataset::{Archive, Samples};
use plimsoll_measure::{BenchOptions, bench};
use plimsoll_record::{Figures, Verdict};

use crate::{
    args,
    exit::Exit,
    failure::{Failure, Named},
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Bench) -> Result<Exit, Failure> {
    world.refuse_debug_build()?;
    let model = world::model(&args.model)?;
    let baseline = args.baseline.as_deref().map(world::model).transpose()?;
    // Samples for a command before the model need not fit the model.
    let open = |path| if args.before.is_some() { Ok(Archive::open(path)?) } else { world::archive(path, &model) };
    let data = args.data.as_deref().map(open).transpose()?;
    let recorder = args.record.ready(&[Some(&args.model), args.baseline.as_deref(), args.data.as_deref()])?;
    let options = BenchOptions {
        batch: args.batch,
        offline_threads: args.offline.unwrap_or(0),
        most_ratio: args.max_increase.map(|increase| 1.0 + increase),
        hop: args.hop,
        commands: world.commands(args.before.clone(), args.after.clone(), Path::new(".")),
        time_budget: Duration::from_secs_f64(args.budget),
        threads: world.common.threads,
        seed: world.common.seed,
        ..BenchOptions::default()
    };
    let found = bench(world.executor()?, &model, baseline.as_ref(), data.as_ref().map(|d| d as &dyn Samples), &options)
        .of_model(&args.model)?;
    let exit = match found.verdict {
        Some(Verdict::Fail) => Exit::GateFailed,
        Some(Verdict::Inconclusive) => Exit::Inconclusive,
        _ => Exit::Pass,
    };
    let figures =
        Figures { warnings: found.warnings, verdict: found.verdict, ..Figures::new(found.figures, found.withheld) };
    recorder.write(&figures)?;
    world.print(&figures, || ui::figures(&figures))?;
    Ok(exit)
}
