//! The main job: search, judge on the test data, write, sign, put into the beta channel, verify.

mod after;
mod again;
mod recorded;

use std::{fs, path::Path, time::SystemTime};

use plimsoll_gate::render;
use plimsoll_record::{Ranking, Released, Report, Verdict};
use plimsoll_release::{
    BETA, Built, Placement, ReleaseError, ReleaseInput, Repository, VerifyOptions, build, verify_release,
    verify_repository,
};

use self::recorded::{Evidence, Standing, input};
use crate::{
    args,
    exit::Exit,
    failure::Failure,
    places::{self, Home},
    project::{self, Project},
    reference,
    searching::Request,
    secrets, ui,
    verbs::optimize::table,
    world::{self, World},
};

/// Seconds of timing for the winner.
const JUDGED: f64 = 3.0;

pub(crate) fn run(world: &World, args: &args::Release) -> Result<Exit, Failure> {
    if let Some(folder) = &args.reproduce {
        return again::run(world, args, folder);
    }
    if let Some(folder) = &args.from {
        return after::run(world, args, folder);
    }
    world.refuse_debug_build()?;
    // Asked for before the work, not after it.
    let key = args.key.as_deref().map(secrets::key).transpose()?;
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
    let (assessed, _) = project.judge(world, name, model, &project.model, JUDGED)?;
    let mut evidence = Evidence::new(assessed, ranking, &searched.nodes);
    let today = world::today();
    let report = evidence.report(&project, model, today);
    if report.verdict != Verdict::Pass {
        show(world, &report)?;
        project::refusal(&report).say();
        return Ok(project::exit_of(&report, true));
    }
    if args.dry_run {
        show(world, &report)?;
        ui::say("dry run: nothing was written, signed, published or pushed");
        return Ok(Exit::Pass);
    }
    ui::say(&render::terminal(&report));
    evidence.reference = reference::files(world, &project, model)?;

    let now = SystemTime::now();
    let version = project.spec.version.value.to_string();
    let seed = world.common.seed;
    let (built, repository, verification) = if let Some(key) = key {
        ui::say("3 of 4  sign: release folder, OpenSSF model signature, attestations");
        let parent = args.parent.clone();
        let standing = Standing { version, trial: false, parent, seed, today };
        let input = input(&project, (best, model), &evidence, &report, standing)?;
        let built = build(&input, key.as_ref(), &home.releases())?;
        ui::say("4 of 4  verify: by the key that signed it");
        let public_key = Some(key.public_key().clone());
        let options = VerifyOptions { public_key, production: true, ..VerifyOptions::default() };
        let verification = verify_release(&built.folder, &options)?;
        (built, None, verification)
    } else {
        ui::say("3 of 4  sign: release folder, OpenSSF model signature, attestations, beta channel");
        let repository = open(&home, name, now)?;
        let parent = repository.at(BETA)?.map(|p| p.release_digest);
        let standing = Standing { version, trial: repository.is_trial(), parent, seed, today };
        let mut input = input(&project, (best, model), &evidence, &report, standing)?;
        let built = sign(&mut input, &repository, &home)?;
        let published = world::patiently(|| repository.publish(&built.folder, &Placement::default(), now))?;
        ui::say("4 of 4  verify: as a client does, from the repository's first root");
        let options = VerifyOptions { now: Some(now), ..VerifyOptions::default() };
        let verification = verify_repository(repository.folder(), &options)?;
        (built, Some((repository, published.pointer.epoch)), verification)
    };
    if let Some(step) = verification.failure() {
        ui::say(&format!("{}: {}", step.name, step.detail));
        return Ok(Exit::VerificationRefused);
    }
    let pushed = after::push(args, &built.folder)?;
    after::tell(args, &built.folder)?;
    let place = repository.as_ref().map(|(r, epoch)| (r.folder(), *epoch));
    let released = released(&built, place, &report, pushed);
    if !after::on_stdout(args) {
        world.print(&released, || text(&released, &built))?;
    }
    Ok(Exit::Pass)
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

fn released(built: &Built, repository: Option<(&Path, u64)>, report: &Report, pushed: Option<String>) -> Released {
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
        repository: repository.map(|(folder, _)| show(folder)),
        channel: repository.map(|_| BETA.into()),
        epoch: repository.map(|(_, epoch)| epoch),
        pushed,
    }
}

fn text(r: &Released, built: &Built) -> String {
    let trial = if r.repository.is_some() { ", trial" } else { "" };
    let mut text = format!(
        "released    {} {} ({}){trial}\ndigest      {}\npayload     {}\nsignature   {}\npublic key  {}\n",
        r.name, r.version, r.verdict, r.release_digest, r.release_dir, r.signature, r.public_key,
    );
    if let Some(address) = &r.pushed {
        text += &format!("pushed      {address}\n");
    }
    match (&r.repository, r.epoch) {
        (Some(repository), Some(epoch)) => {
            text += &format!(
                "repository  {repository} · {BETA} channel, epoch {epoch}\nnext        plimsoll verify {repository}\n            \
                 plimsoll channel publish --channel general --repository {repository}\n"
            );
        }
        _ => {
            let folder = built.folder.display();
            text += &format!(
                "next        plimsoll verify {folder} --public-key PEM --production\n            \
                 plimsoll channel publish --channel {BETA} --from {folder} --repository REPOSITORY --keys KEYS\n            \
                 (it is in no channel yet; `plimsoll channel init` makes a repository for production)\n"
            );
        }
    }
    text
}
