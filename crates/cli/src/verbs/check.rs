//! Holds models against budgets: pass, fail or inconclusive.

use std::path::{Path, PathBuf};

use plimsoll_dataset::Samples;
use plimsoll_gate::render::{self, Anatomy, Page};
use plimsoll_onnx::Model;
use plimsoll_optimize::{Assessed, Budgeted};
use plimsoll_profile::Profile;
use plimsoll_record::{Accepted, Check, Fault, Report};
use plimsoll_release::SignedFigures;

use crate::{
    args::{self, Format, OnInconclusive},
    changed::{Before, Since},
    exit::Exit,
    failure::Failure,
    git::Repository,
    history::{self, History},
    manual::Code,
    page,
    project::{self, Project, Question},
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Check) -> Result<Exit, Failure> {
    if (args.targets.len() > 1 || args.changed_since.is_some()) && !args.evidence.is_empty() {
        return Err(Failure::new(Code::BadConfig, "evidence is of one model, and several may be checked")
            .help("check each with its own evidence"));
    }
    if let Some(output) = &args.output {
        let mut inputs: Vec<&Path> = args.targets.iter().chain(&args.profile).map(PathBuf::as_path).collect();
        inputs.extend(args.data.as_deref().into_iter().chain(args.baseline.as_deref()));
        world::check_output(output, &inputs)?;
    }
    let evidence = args.evidence.read()?;
    let mut found = Found::default();
    let since = args.changed_since.as_deref().map(|rev| Since::new(rev, args.cost_only)).transpose()?;
    match &since {
        None => {
            for target in &args.targets {
                found.add(&target.display().to_string(), args, check(world, args, target, &evidence));
            }
        }
        Some(since) => {
            for name in since.specs(&args.targets)? {
                // One bad file does not hide what the others have to say.
                match since.before(&name) {
                    Ok(None) => found.unchanged.push(name),
                    Ok(Some(before)) => {
                        let path = since.repository.path_of(&name);
                        found.add(&name, args, check_spec(world, args, &path, &evidence, Some(&before)));
                    }
                    Err(failure) => found.add(&name, args, Err(failure)),
                }
            }
        }
    }
    let exit = Exit::of_several(found.exits.iter().copied());
    let mut check = Check::new(args.changed_since.clone(), found.reports, found.faults, found.unchanged);
    check.inconclusive_warns = args.on_inconclusive == OnInconclusive::Warn;
    if let Some(since) = &since {
        check.removed = since.removed();
        name_as_git_does(&since.repository, &mut check);
    }
    let text = text(world, args, &check, &found.anatomies)?;
    match (&args.output, text) {
        (_, None) => {}
        (Some(path), Some(text)) => {
            world::write(path, text.as_bytes())?;
            ui::say(&format!("{}: {}", check.verdict, path.display()));
        }
        (None, Some(text)) => ui::data(&text)?,
    }
    Ok(exit)
}

#[derive(Default)]
struct Found {
    reports: Vec<Report>,
    /// Of each report, where the format shows it.
    anatomies: Vec<Anatomy>,
    faults: Vec<Fault>,
    unchanged: Vec<String>,
    exits: Vec<Exit>,
}

impl Found {
    fn add(&mut self, target: &str, args: &args::Check, outcome: Result<Checked, Failure>) {
        match outcome {
            Ok(Checked { report, anatomy }) => {
                self.exits.push(project::exit_of(&report, args.on_inconclusive == OnInconclusive::Fail));
                self.reports.push(report);
                self.anatomies.push(anatomy);
            }
            Err(failure) => {
                failure.say();
                self.exits.push(failure.exit());
                self.faults.extend(failure.faults(target));
            }
        }
    }
}

/// One model that was checked.
struct Checked {
    report: Report,
    anatomy: Anatomy,
}

/// What a page shows of a model besides its report; the other formats do not ask.
fn anatomy(args: &args::Check, name: &str, model: &Model, baseline: Option<&Model>) -> Result<Anatomy, Failure> {
    match args.format {
        Format::Html => page::anatomy(name, model, baseline),
        _ => Ok(Anatomy::default()),
    }
}

fn check(world: &World, args: &args::Check, target: &Path, evidence: &[SignedFigures]) -> Result<Checked, Failure> {
    if target.extension().is_some_and(|e| e == "toml") {
        return check_spec(world, args, target, evidence, None);
    }
    let name = target.display().to_string();
    if args.accept.is_some() {
        return Err(Failure::new(
            Code::BadConfig,
            format!("{name} is a model, and what is accepted is kept beside a spec"),
        )
        .help("check a release spec (`plimsoll init` drafts one), or leave --accept out"));
    }
    if args.profile.is_empty() {
        let message = format!("there is nothing to hold {name} against");
        return Err(Failure::new(Code::BadConfig, message)
            .help("name profiles with --profile, or check a release spec (`plimsoll init` drafts one)"));
    }
    let model = read(target, args)?;
    let profiles = args.profile.iter().map(|p| Ok(Profile::read(p)?)).collect::<Result<Vec<_>, Failure>>()?;
    let baseline = args.baseline.as_deref().map(|b| read(b, args)).transpose()?;
    let data = args.data.as_deref().map(|d| world::archive(d, &model)).transpose()?;
    let budgets = Budgeted { profiles: &profiles, cost_only: args.cost_only, ..Budgeted::default() };
    let (baseline, data, seconds) = (baseline.as_ref(), data.as_ref().map(|d| d as &dyn Samples), args.budget);
    let (name, model, before, accepted) = (name.as_str(), &model, None, [].as_slice());
    let question =
        Question { name, model, baseline, data, budgets, before, accepted, seconds, evidence, contract: None };
    let (assessed, mut report) = project::judge(world, &question)?;
    add_forecast(args, &budgets, &assessed, &mut report);
    Ok(Checked { report, anatomy: anatomy(args, name, model, baseline)? })
}

/// A model; one that is only counted may lack its weights.
fn read(path: &Path, args: &args::Check) -> Result<Model, Failure> {
    if !args.cost_only {
        return world::model(path);
    }
    let model = world::outline(path)?;
    world::tell_absent(path, &model);
    Ok(model)
}

/// Increases are held against the model that was named, else against what was accepted last (counted figures) and the model of the
/// revision (everything else).
fn check_spec(
    world: &World,
    args: &args::Check,
    path: &Path,
    evidence: &[SignedFigures],
    before: Option<&Before>,
) -> Result<Checked, Failure> {
    let project = Project::read_with(path, |model| read(model, args))?;
    let own = args.profile.iter().map(|p| Ok(Profile::read(p)?)).collect::<Result<Vec<_>, Failure>>()?;
    let profiles = if own.is_empty() { &project.profiles } else { &own };
    let given = args.baseline.as_deref().map(|b| read(b, args)).transpose()?;
    let baseline = given.as_ref().or(before.and_then(|b| b.model.as_ref())).unwrap_or(&project.model);
    let data = args.data.as_deref().map(|d| world::archive(d, &project.model)).transpose()?;
    let data = data.as_ref().map(|d| d as &dyn Samples).or(project.tested());
    let release = project.spec.name.value.as_str();
    let mut history = History::beside(&project.spec)?;
    let accepted: Vec<&Accepted> = history.of(release).filter(|_| given.is_none()).collect();
    let name = path.display().to_string();
    let budgeted_before = before.and_then(|b| {
        let (spec, profiles) = (Some(b.spec.as_ref()?), b.profiles.as_slice());
        Some(Budgeted { spec, profiles, cost_only: args.cost_only, today: None })
    });
    let budgets = Budgeted { profiles, ..project.budgeted(args.cost_only) };
    let question = Question {
        name: &name,
        model: &project.model,
        baseline: Some(baseline),
        data,
        budgets,
        before: budgeted_before,
        accepted: &accepted,
        seconds: args.budget,
        evidence,
        contract: project.contract.as_ref(),
    };
    let (assessed, mut report) = project::judge(world, &question)?;
    if let Some(reason) = &args.accept {
        let entry = history::accepted(release, reason, &report, &assessed.figures);
        let all: Vec<&Accepted> = accepted.iter().copied().chain([&entry]).collect();
        report = project::reported(&Question { accepted: &all, ..question }, &assessed);
        history.add(entry)?;
        ui::say(&format!("accepted as the new baseline of {release}, in {}", history.path().display()));
    }
    add_forecast(args, &budgets, &assessed, &mut report);
    if let Some(before) = before {
        report.changes = Some(before.moved(&project.model, &assessed.figures, data)?);
        report.remarks.extend(before.remarks.iter().cloned());
    }
    Ok(Checked { report, anatomy: anatomy(args, &name, &project.model, Some(baseline))? })
}

/// How long it will hold, where that was asked.
fn add_forecast(args: &args::Check, budgets: &Budgeted<'_>, assessed: &Assessed, report: &mut Report) {
    if !args.forecast {
        return;
    }
    let (forecast, remarks) = budgets.forecast(assessed, world::today());
    report.forecast = forecast;
    report.remarks.extend(remarks);
}

/// Files as the repository names them, which is how annotations find them.
fn name_as_git_does(repository: &Repository, check: &mut Check) {
    let rename = |file: &mut String| {
        if let Some(name) = repository.name_of(Path::new(file.as_str())).filter(|_| !file.is_empty()) {
            *file = name;
        }
    };
    for row in check.reports.iter_mut().flat_map(|r| &mut r.rows) {
        rename(&mut row.source.file);
        if let Some(now) = row.loosened.as_mut().and_then(|l| l.now_at.as_mut()) {
            rename(&mut now.file);
        }
    }
    check.faults.iter_mut().for_each(|fault| rename(&mut fault.file));
}

/// The report in the format that was asked for; `None` where what went wrong has been said, and there is nothing else to say.
fn text(world: &World, args: &args::Check, check: &Check, anatomies: &[Anatomy]) -> Result<Option<String>, Failure> {
    // One model alone is a report; whatever else was asked for is a check of several.
    let one = (args.changed_since.is_none() && args.targets.len() == 1).then(|| check.reports.first());
    let format = if world.common.json { Format::Json } else { args.format };
    let text = match (format, one) {
        (Format::Json | Format::Markdown | Format::Terminal, Some(None)) => return Ok(None),
        (Format::Json, Some(Some(report))) => world::json(report)?,
        (Format::Json, None) => world::json(check)?,
        (Format::Markdown, Some(Some(report))) => render::markdown(report),
        (Format::Markdown, None) => render::comment(check),
        (Format::Github, _) => render::github(check),
        (Format::Junit, _) => render::junit(check),
        (Format::Sarif, _) => render::sarif(check)
            .map(|text| text + "\n")
            .map_err(|e| Failure::new(Code::Internal, format!("failed to write JSON: {e}")))?,
        (Format::Html, _) => render::html(&Page { check, anatomies, ranking: None }),
        (Format::Terminal, _) => {
            let mut text: Vec<String> = check.reports.iter().map(render::terminal).collect();
            if check.since.is_some() {
                text.push(format!("{}\n", render::summary(check)));
            }
            text.join("\n")
        }
    };
    Ok(Some(text))
}
