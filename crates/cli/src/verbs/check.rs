//! Holds models against budgets: pass, fail or inconclusive.

use std::path::Path;

use plimsoll_dataset::Samples;
use plimsoll_gate::render;
use plimsoll_optimize::Budgeted;
use plimsoll_profile::Profile;
use plimsoll_record::Report;
use plimsoll_release::SignedFigures;

use crate::{
    args::{self, Format, OnInconclusive},
    exit::Exit,
    failure::Failure,
    manual::Code,
    project::{self, Project, Question},
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Check) -> Result<Exit, Failure> {
    if args.targets.len() > 1 && !args.evidence.is_empty() {
        return Err(Failure::new(Code::BadConfig, "evidence is of one model, and several are to be checked")
            .help("check each with its own evidence"));
    }
    let evidence = args.evidence.read()?;
    let mut exits = Vec::new();
    for target in &args.targets {
        // One bad file does not hide what the others have to say.
        match check(world, args, target, &evidence) {
            Ok(report) => {
                print(world, args.format, &report)?;
                exits.push(project::exit_of(&report, args.on_inconclusive == OnInconclusive::Fail));
            }
            Err(failure) => {
                failure.say();
                exits.push(failure.exit());
            }
        }
    }
    Ok(Exit::of_several(exits))
}

fn check(world: &World, args: &args::Check, target: &Path, evidence: &[SignedFigures]) -> Result<Report, Failure> {
    let name = target.display().to_string();
    if target.extension().is_some_and(|e| e == "toml") {
        let project = Project::read(target)?;
        let own = args.profile.iter().map(|p| Ok(Profile::read(p)?)).collect::<Result<Vec<_>, Failure>>()?;
        let profiles = if own.is_empty() { &project.profiles } else { &own };
        let baseline = args.baseline.as_deref().map(world::model).transpose()?;
        let baseline = baseline.as_ref().unwrap_or(&project.model);
        let data = args.data.as_deref().map(|d| world::archive(d, &project.model)).transpose()?;
        let data = data.as_ref().map(|d| d as &dyn Samples).or(project.tested());
        let budgets = Budgeted { profiles, ..project.budgeted(args.cost_only) };
        let (model, baseline, seconds) = (&project.model, Some(baseline), args.budget);
        let question = Question { name: &name, model, baseline, data, budgets, seconds, evidence };
        return Ok(project::judge(world, &question)?.1);
    }
    if args.profile.is_empty() {
        let message = format!("there is nothing to hold {name} against");
        return Err(Failure::new(Code::BadConfig, message)
            .help("name profiles with --profile, or check a release spec (`plimsoll init` drafts one)"));
    }
    let model = world::model(target)?;
    let profiles = args.profile.iter().map(|p| Ok(Profile::read(p)?)).collect::<Result<Vec<_>, Failure>>()?;
    let baseline = args.baseline.as_deref().map(world::model).transpose()?;
    let data = args.data.as_deref().map(|d| world::archive(d, &model)).transpose()?;
    let budgets = Budgeted { spec: None, profiles: &profiles, cost_only: args.cost_only };
    let (baseline, data, seconds) = (baseline.as_ref(), data.as_ref().map(|d| d as &dyn Samples), args.budget);
    let question = Question { name: &name, model: &model, baseline, data, budgets, seconds, evidence };
    Ok(project::judge(world, &question)?.1)
}

fn print(world: &World, format: Format, report: &Report) -> Result<(), Failure> {
    if world.common.json || format == Format::Json {
        return ui::data(&world::json(report)?);
    }
    ui::data(&match format {
        Format::Markdown => render::markdown(report),
        _ => render::terminal(report),
    })
}
