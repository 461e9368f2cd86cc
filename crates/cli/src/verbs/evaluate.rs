//! Accuracy of a model on labelled data, and its agreement with a baseline.

use std::path::PathBuf;

use plimsoll_dataset::encode_table;
use plimsoll_measure::{Decision, EvaluationOptions, NonInferiority, evaluate};
use plimsoll_record::Figures;

use crate::{
    args,
    exit::Exit,
    failure::{Failure, Named},
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Evaluate) -> Result<Exit, Failure> {
    let model = world::model(&args.model)?;
    let baseline = args.baseline.as_deref().map(world::model).transpose()?;
    let data = world::archive(&args.data, &model)?;
    let inputs = [Some(&args.model), args.baseline.as_ref(), Some(&args.data), args.save_scores.as_ref()];
    let recorder = args.record.ready(&inputs.map(|p| p.map(PathBuf::as_path)))?;
    if let Some(path) = &args.save_scores {
        world::check_output(path, &[&args.model, &args.data])?;
    }
    let options = EvaluationOptions {
        metrics: args.metric.clone(),
        margins: args.margin.clone(),
        threads: world.common.threads,
        ..EvaluationOptions::default()
    };
    let found = evaluate(world.executor()?, &model, baseline.as_ref(), &data, &options).of_model(&args.model)?;
    if let Some(path) = &args.save_scores {
        world::write(path, &encode_table(&found.scores.values, found.scores.classes))?;
    }
    let figures = Figures::new([found.figures, found.classes, found.groups].concat(), found.withheld);
    recorder.write(&figures)?;
    world.print(&figures, || {
        let judged = found.non_inferiority.iter().map(told).collect::<String>();
        format!("{}{judged}", ui::figures(&figures))
    })?;
    Ok(Exit::of_several(found.non_inferiority.iter().map(|judged| match judged.decision {
        Decision::Pass => Exit::Pass,
        Decision::Fail => Exit::GateFailed,
        Decision::Inconclusive => Exit::Inconclusive,
    })))
}

/// What became of a margin.
fn told(judged: &NonInferiority) -> String {
    let unit = if judged.by_group { "groups" } else { "samples" };
    let (verdict, more) = match (judged.decision, judged.needed) {
        (Decision::Pass, _) => ("pass", String::new()),
        (Decision::Fail, _) => ("fail", String::new()),
        (Decision::Inconclusive, Some(n)) => ("inconclusive", format!("; about {n} {unit} would settle it")),
        (Decision::Inconclusive, None) => ("inconclusive", String::new()),
    };
    format!("{verdict}  {} within {}{more}\n", judged.metric, judged.margin)
}
