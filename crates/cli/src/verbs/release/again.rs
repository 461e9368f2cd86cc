//! `release --reproduce DIR`: the payload, built again from the same inputs and the recorded evidence, byte for byte. Nothing is
//! measured and nothing is signed.

use std::path::Path;

use plimsoll_device::{CASES, DISTRIBUTIONS};
use plimsoll_onnx::Model;
use plimsoll_optimize::{Assessed, recipe};
use plimsoll_profile::Day;
use plimsoll_record::{Figures, RankedCandidate, Ranking, Recipe, Sensitivities, Verdict, Verification, VerifyStep};
use plimsoll_release::{PAYLOAD, Recorded, ReleaseError, VerifyOptions, difference, payload, recorded, verify_release};
use plimsoll_transform::Context;
use plimsoll_trust::read_bounded;
use serde::de::DeserializeOwned;

use super::recorded::{Evidence, RANKING, SENSITIVITY, Standing, input};
use crate::{
    args,
    exit::Exit,
    failure::Failure,
    manual::Code,
    places,
    project::Project,
    ui,
    verbs::verify,
    world::{self, World},
};

const LIMIT: u64 = 64 << 20;

/// Verifies a release folder, builds its payload again, and says whether it is the same, or where it first differs. That is worth
/// knowing of a payload that was changed after it was signed, too.
pub(super) fn run(world: &World, args: &args::Release, folder: &Path) -> Result<Exit, Failure> {
    let found = verify_release(folder, &VerifyOptions::default())?;
    let mut steps = found.steps.clone();
    let compared = match found.failure() {
        None => Some(compared(world, args, folder)?),
        // What was changed may be what it is built by: then the signature has the last word.
        Some(step) if step.name == "signature" => compared(world, args, folder).ok(),
        Some(_) => None,
    };
    steps.extend(compared);
    let found = Verification::new(steps);
    world.print(&found, || verify::text(&found))?;
    let Some(step) = found.steps.iter().rfind(|s| s.outcome == Verdict::Fail) else { return Ok(Exit::Pass) };
    let message = format!("{} is not what is built from these inputs: {}", folder.display(), step.detail);
    Err(Failure::new(Code::VerificationRefused, message).help(
        "give the spec, the data and the version of plimsoll that it was made with, and call it from the same folder: reports name \
         files as they were given",
    ))
}

fn compared(world: &World, args: &args::Release, folder: &Path) -> Result<VerifyStep, Failure> {
    let spec = places::spec(args.spec.as_deref())?;
    ui::say(&format!("building {} again from {}", folder.display(), spec.display()));
    let project = Project::read(&spec)?;
    let there = recorded(folder)?;
    let files = rebuilt(world, &project, folder, &there)?;
    let (outcome, detail) = match difference(folder, &files)? {
        None => (Verdict::Pass, format!("{} files, byte for byte", files.len())),
        Some(first) => (Verdict::Fail, format!("`{}`: {}", first.file, first.what)),
    };
    Ok(VerifyStep { name: "reproduced".into(), outcome, detail })
}

fn rebuilt(
    world: &World,
    project: &Project,
    folder: &Path,
    there: &Recorded,
) -> Result<std::collections::BTreeMap<String, Vec<u8>>, Failure> {
    let seed = there.record.seed.unwrap_or(world.common.seed);
    let model = made(world, project, &there.recipe, seed)?;
    let ranking: Ranking = document(folder, RANKING)?;
    let winner = winner(&ranking, &there.recipe)?;
    let sensitivity: Sensitivities = document(folder, SENSITIVITY)?;
    let counted =
        Assessed::count(&model, Some(&project.model), project.tested().map(|d| d as &dyn plimsoll_dataset::Samples))?;
    let evidence = Evidence {
        figures: counted_again(&there.figures, &counted.figures),
        baseline: counted_again(&there.baseline, &counted.baseline),
        ranking: ranking.clone(),
        sensitivity,
        reference: reference(folder)?,
    };
    let today = there.record.judged_on.as_deref().and_then(Day::parse).unwrap_or_else(world::today);
    let report = evidence.report(project, &model, today);
    let standing = Standing {
        version: there.record.version.clone(),
        trial: there.record.trial,
        parent: there.record.parent.clone(),
        seed,
        today,
    };
    let input = input(project, (winner, &model), &evidence, &report, standing)?;
    Ok(payload(&input)?)
}

/// What devices test themselves by, as far as the release ships it.
fn reference(folder: &Path) -> Result<std::collections::BTreeMap<String, Vec<u8>>, Failure> {
    let mut files = std::collections::BTreeMap::new();
    for name in [CASES, DISTRIBUTIONS] {
        match read_bounded(&folder.join(PAYLOAD).join(name), LIMIT) {
            Ok(bytes) => drop(files.insert(name.to_owned(), bytes)),
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(ReleaseError::from(e).into()),
        }
    }
    Ok(files)
}

/// What can be counted is counted again, and not believed.
fn counted_again(recorded: &Figures, counted: &[plimsoll_record::Figure]) -> Figures {
    let mut figures = recorded.clone();
    for figure in figures.figures.iter_mut().filter(|f| f.executor == "static") {
        if let Some(again) = counted.iter().find(|c| c.metric == figure.metric) {
            figure.clone_from(again);
        }
    }
    figures
}

/// The model that a recipe makes, step by step as the search makes it.
fn made(world: &World, project: &Project, whole: &Recipe, seed: u64) -> Result<Model, Failure> {
    recipe::check(whole)?;
    let ranges = project.ranges();
    let mut model = project.model.clone();
    for step in &whole.steps {
        let one = Recipe::new(&whole.name, vec![step.clone()]);
        let context = Context {
            data: project.calibration.as_ref(),
            ranges: ranges.as_ref(),
            seed,
            origin: Some(&project.model),
            progress: &world.bar,
            ..Context::new(project.passes(world)?)
        };
        model = recipe::apply(&one, &model, &context)?.model;
    }
    Ok(model)
}

fn winner<'r>(ranking: &'r Ranking, recipe: &Recipe) -> Result<&'r RankedCandidate, Failure> {
    ranking.candidate(&recipe.name).ok_or_else(|| {
        let message = format!("the ranking knows no recipe `{}`", recipe.name);
        Failure::new(Code::BadRelease, message).help("the release was not made by `plimsoll release`")
    })
}

fn document<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, Failure> {
    let bytes = read_bounded(&folder.join(PAYLOAD).join(name), LIMIT).map_err(ReleaseError::from)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Failure::new(Code::BadRelease, format!("{PAYLOAD}/{name} cannot be read: {e}")))
}
