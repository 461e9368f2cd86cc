//! Accuracy of a model on labelled data, and its agreement with a baseline.

use plimsoll_dataset::encode_table;
use plimsoll_measure::{EvaluationOptions, evaluate};
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
    let data = world::data(&args.data, &model)?;
    if let Some(path) = &args.save_scores {
        world::check_output(path, &[&args.model, &args.data])?;
    }
    let options = EvaluationOptions {
        metrics: args.metric.clone(),
        threads: world.common.threads,
        ..EvaluationOptions::default()
    };
    let found = evaluate(world.executor()?, &model, baseline.as_ref(), &data, &options).of_model(&args.model)?;
    if let Some(path) = &args.save_scores {
        world::write(path, &encode_table(&found.scores.values, found.scores.classes))?;
    }
    let figures = Figures::new([found.figures, found.classes, found.groups].concat(), found.withheld);
    world.print(&figures, || ui::figures(&figures))?;
    Ok(Exit::Pass)
}
