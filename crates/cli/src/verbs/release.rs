//! The main job: search, judge on the test data, write, sign, put into the beta channel, verify.

use std::{collections::BTreeMap, fs, path::Path, time::SystemTime};

use plimsoll_dataset::Samples;
use plimsoll_gate::render;
use plimsoll_onnx::Model;
use plimsoll_optimize::Assessed;
use plimsoll_record::{Figures, RankedCandidate, Ranking, Released, Report, Verdict};
use plimsoll_release::{
    BETA, Built, DatasetUse, Licence, Placement, ReleaseError, ReleaseInput, Repository, SourceModel, VerifyOptions,
    build, verify_repository,
};
use plimsoll_trust::sha256_hex;

use crate::{
    args,
    exit::Exit,
    failure::Failure,
    page,
    places::{self, Home},
    project::{self, Project},
    searching::Request,
    ui,
    verbs::optimize::table,
    world::{self, World},
};

/// Seconds of timing for the winner.
const JUDGED: f64 = 3.0;

pub(crate) fn run(world: &World, args: &args::Release) -> Result<Exit, Failure> {
    world.refuse_debug_build()?;
    let spec = places::spec(args.spec.as_deref())?;
    ui::say(&format!("release of {}", spec.display()));
    let project = Project::read(&spec)?;
    let home = Home::new(args.output.as_deref());
    if !args.dry_run {
        fs::create_dir_all(home.folder()).map_err(|e| Failure::not_written(home.folder(), &e))?;
        world::check_output(&home.folder().join("release"), &[])?;
    }

    ui::say("1 of 4  search: candidates made, counted, and measured on the validation data");
    let request = Request { seconds: args.budget, cache: home.cache(), ..Request::default() };
    let searched = project.search(world, &request)?;
    let ranking = &searched.ranking;
    ui::say(&table(ranking));
    let Some((best, model)) = searched.winner() else {
        return nothing_floats(world, &project, ranking);
    };

    ui::say("2 of 4  check: the winner against every budget, on the test data");
    let name = &project.spec.name.value;
    let (assessed, report) = project.judge(world, name, model, &project.model, JUDGED)?;
    if report.verdict != Verdict::Pass {
        show(world, &report)?;
        project::refusal(&report).say();
        return Ok(project::exit_of(&report, true));
    }
    if args.dry_run {
        show(world, &report)?;
        ui::say("dry run: nothing was written, signed or published");
        return Ok(Exit::Pass);
    }
    ui::say(&render::terminal(&report));

    ui::say("3 of 4  sign: release folder, OpenSSF model signature, attestations, beta channel");
    let now = SystemTime::now();
    let repository = open(&home, name, now)?;
    let page = page::of_release(&project, &searched, (best, model), &report)?;
    let mut input = input(&project, (best, model), &assessed, &report, &repository)?;
    input.extra.insert("ranking.json".into(), world::json(ranking)?.into_bytes());
    input.extra.insert("report.html".into(), page.into_bytes());
    let built = sign(&mut input, &repository, &home)?;
    let published = world::patiently(|| repository.publish(&built.folder, &Placement::default(), now))?;

    ui::say("4 of 4  verify: as a client does, from the repository's first root");
    let options = VerifyOptions { now: Some(now), ..VerifyOptions::default() };
    let verification = verify_repository(repository.folder(), &options)?;
    let released = released(&built, repository.folder(), &report, published.pointer.epoch);
    world.print(&released, || text(&released))?;
    match verification.failure() {
        None => Ok(Exit::Pass),
        Some(step) => {
            ui::say(&format!("{}: {}", step.name, step.detail));
            Ok(Exit::VerificationRefused)
        }
    }
}

/// No candidate keeps every budget: the report of the best one says what stands in the way. The test data stay untouched.
fn nothing_floats(world: &World, project: &Project, ranking: &Ranking) -> Result<Exit, Failure> {
    let Some(best) = ranking.candidates.iter().find(|c| c.stage.is_some()) else {
        return Err(Failure::new(crate::manual::Code::PassRefused, "every recipe was refused")
            .help("`plimsoll optimize` writes what each of them said"));
    };
    let report = project.report_of(best)?;
    show(world, &report)?;
    project::refusal(&report).say();
    Ok(project::exit_of(&report, true))
}

/// A report is what this run ends with: data.
fn show(world: &World, report: &Report) -> Result<(), Failure> {
    world.print(report, || render::terminal(report))
}

/// Writes the release under a version that is free. Somebody who releases at the same time may take it first.
fn sign(input: &mut ReleaseInput, repository: &Repository, home: &Home) -> Result<Built, Failure> {
    const TRIES: usize = 5;
    let (wanted, releases) = (input.version.clone(), home.releases());
    for _ in 1..TRIES {
        input.version = repository.free_version(&input.name, &wanted, &releases)?;
        match build(input, repository.signing_key()?, &releases) {
            Err(ReleaseError::Taken { .. }) => {}
            other => return Ok(other?),
        }
    }
    Ok(build(input, repository.signing_key()?, &releases)?)
}

fn open(home: &Home, name: &str, now: SystemTime) -> Result<Repository, Failure> {
    let keys = home.trial_keys();
    if !keys.is_dir() {
        ui::say(&format!(
            "\n  NOTE  trial keys are made in {}. They are not protected: whoever can read that folder can sign.\n        \
             Everything signed with them is marked `trial`, and production clients refuse it.\n",
            keys.display()
        ));
    }
    Ok(world::patiently(|| Repository::open_or_create_trial(&home.repository(name), &keys, now))?)
}

fn input(
    project: &Project,
    (best, model): (&RankedCandidate, &Model),
    assessed: &Assessed,
    report: &Report,
    repository: &Repository,
) -> Result<ReleaseInput, Failure> {
    let spec = &project.spec;
    let read = |path: &Path| fs::read(path).map_err(|e| Failure::not_read(path, &e));
    let model = model.to_bytes()?;
    let file = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = spec.license_file.as_ref().map(|f| read(&f.path)).transpose()?;
    let text = text.map(|t| String::from_utf8_lossy(&t).into_owned());
    let used = |(role, set): (&'static str, &dyn Samples)| -> Result<DatasetUse, Failure> {
        Ok(DatasetUse { role: role.into(), file: file(set.path()), digest: set.digest()?.to_string() })
    };
    let profiles = project.profiles.iter().flat_map(|p| p.source.files());
    let profiles = profiles.map(|f| (file(f.path()), f.text().as_bytes().to_vec()));
    Ok(ReleaseInput {
        name: spec.name.value.clone(),
        version: spec.version.value.to_string(),
        trial: repository.is_trial(),
        model,
        model_digest: best.model_digest.clone(),
        source: SourceModel {
            file: file(&spec.model.path),
            sha256: sha256_hex(&read(&spec.model.path)?),
            model_digest: project.model.digest().to_string(),
        },
        recipe: best.recipe.clone(),
        figures: Figures::new(assessed.figures.clone(), assessed.withheld.clone()),
        report: report.clone(),
        report_markdown: render::markdown(report),
        spec: spec.source.text().as_bytes().to_vec(),
        profiles: profiles.collect(),
        contract: project.contract.as_ref().map(|c| c.source.text().as_bytes().to_vec()),
        labels: spec.labels.clone(),
        datasets: project.sets().into_iter().map(used).collect::<Result<_, _>>()?,
        licence: spec.license.clone().map(|expression| Licence { expression, text }),
        parent: repository.at(BETA)?.map(|p| p.release_digest),
        minimum_client: env!("CARGO_PKG_VERSION").into(),
        extra: BTreeMap::new(),
    })
}

fn released(built: &Built, repository: &Path, report: &Report, epoch: u64) -> Released {
    let show = |path: &Path| path.display().to_string();
    Released {
        schema: "plimsoll.released/1".into(),
        name: built.name.clone(),
        version: built.version.clone(),
        verdict: report.verdict.clone(),
        release_digest: built.release_digest.clone(),
        release_dir: show(&built.release_dir),
        signature: show(&built.signature),
        public_key: show(&built.public_key),
        repository: show(repository),
        channel: BETA.into(),
        epoch,
    }
}

fn text(r: &Released) -> String {
    format!(
        "released    {} {} ({}), trial\ndigest      {}\npayload     {}\nsignature   {}\npublic key  {}\nrepository  {} · {} channel, epoch {}\n\
         next        plimsoll verify {}\n            plimsoll channel publish --channel general --repository {}\n",
        r.name,
        r.version,
        r.verdict,
        r.release_digest,
        r.release_dir,
        r.signature,
        r.public_key,
        r.repository,
        r.channel,
        r.epoch,
        r.repository,
        r.repository,
    )
}
