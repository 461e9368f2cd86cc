//! From beta to everybody: telemetry in, decisions out, channels moved.

pub(crate) mod args;
mod arrived;
mod intake;
mod place;
mod show;

use std::path::{Path, PathBuf};

use plimsoll_record::{Decision, DecisionKind, ProblemRecord, RolledOut, RolloutState, RolloutVerdict};
use plimsoll_release::{BETA, GENERAL};
use plimsoll_rollout::{
    chain,
    course::{self, Course},
    judge::Judge,
    outcome::SQL,
    replay::{Past, replay},
    simulate::{Harm, Played, World as Fleet, play},
    store::Kept,
    warehouse,
};
use plimsoll_trust::{sha256_hex, to_sorted_json};

use self::{
    args::{Act, At, Harmed, Rollout},
    place::{Place, read_policy},
};
use crate::{
    exit::Exit,
    failure::Failure,
    manual::Code,
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, verb: &Rollout) -> Result<Exit, Failure> {
    match verb {
        Rollout::Start { act, policy } => start(world, act, policy),
        Rollout::Ingest { at, paths, keep_text, gateway_key } => {
            intake::ingest(world, at, paths, *keep_text, gateway_key)
        }
        Rollout::Enrol { at, list } => intake::enrol(at, list),
        Rollout::Forget { at, device } => intake::forget(at, device),
        Rollout::Decide { at, outcomes, dry_run } => decide(world, at, outcomes.as_deref(), *dry_run),
        Rollout::Watch { at } => watch(world, at),
        Rollout::Status { at, html, watch } => show::status(world, at, html.as_deref(), *watch),
        Rollout::Advance { act } => step(world, act, |course, day, by| Ok(course.advance(day, by)?)),
        Rollout::Resolve { act } => {
            step(world, &act.act, |course, day, by| Ok(course.resolve(day, by, &act.reason)?))
        }
        Rollout::Halt { act } => step(world, &act.act, |course, day, by| Ok(course.halt(day, by, &act.reason)?)),
        Rollout::Resume { act } => step(world, &act.act, |course, day, by| Ok(course.resume(day, by, &act.reason)?)),
        Rollout::Rollback { act } => {
            step(world, &act.act, |course, day, by| Ok(course.roll_back(day, by, &act.reason)?))
        }
        Rollout::Replay { at, policy, outcomes } => replay_past(world, at, policy.as_deref(), outcomes),
        Rollout::Simulate { policy, harm, runs } => simulate(world, policy, harm, *runs),
        Rollout::Sql => ui::data(SQL).map(|()| Exit::Pass),
    }
}

/// Who acts: said, or as the machine knows them.
fn actor(act: &Act) -> String {
    let known = || std::env::var("USER").or_else(|_| std::env::var("USERNAME")).ok();
    act.by.clone().or_else(known).filter(|n| !n.is_empty()).unwrap_or_else(|| "unnamed".into())
}

fn start(world: &World, act: &Act, policy: &Path) -> Result<Exit, Failure> {
    let mut place = Place::open(&act.at)?;
    if let Some(last) = place.chain.last() {
        let message =
            format!("a rollout of {} {} is there already", last.decision.rollout.name, last.decision.rollout.version);
        return Err(
            Failure::new(Code::RolloutOrder, message).help("name another folder with --rollout for the next one")
        );
    }
    let beta = place.repository.pointer(BETA)?;
    let general = place.repository.pointer(GENERAL)?;
    let Some(beta) = beta else {
        return Err(Failure::new(Code::RolloutOrder, "the beta channel is at nothing yet")
            .help("`plimsoll release` puts a release there"));
    };
    let before = general.map(|g| g.target).filter(|g| *g != beta.target).or_else(|| beta.previous.clone());
    let Some(previous) = before else {
        let help =
            "the first release has none before it: `plimsoll channel publish --channel general` gives it to everybody";
        return Err(
            Failure::new(Code::RolloutOrder, "there is no release to compare with and to go back to").help(help)
        );
    };
    let rollout = RolledOut {
        name: beta.target.release,
        version: beta.target.version,
        release: beta.target.release_digest,
        previous_in_beta: beta.previous.map(|p| p.release_digest).filter(|p| *p != previous.release_digest),
        previous: previous.release_digest,
    };
    let (found, sha256) = read_policy(policy)?;
    let decision = course::start(&found, &sha256, rollout, place.today(), &actor(act))?;
    if act.dry_run {
        return told(world, &decision, true);
    }
    place.freeze(policy)?;
    let decision = place.carry_out(decision, found.holdback)?;
    told(world, &decision, false)
}

/// A step that a person takes.
fn step(
    world: &World,
    act: &Act,
    next: impl FnOnce(&Course<'_>, plimsoll_profile::Day, &str) -> Result<Decision, Failure>,
) -> Result<Exit, Failure> {
    let mut place = Place::open(&act.at)?;
    if !act.dry_run {
        place.catch_up()?;
    }
    let (policy, sha256) = place.policy()?;
    let decision = next(&place.course(&policy, &sha256)?, place.today(), &actor(act))?;
    if act.dry_run {
        return told(world, &decision, true);
    }
    let decision = place.carry_out(decision, policy.holdback)?;
    told(world, &decision, false)
}

fn told(world: &World, decision: &Decision, dry: bool) -> Result<Exit, Failure> {
    if dry {
        ui::say("dry run: nothing is written or moved");
    }
    world.print(decision, || show::decision(decision))?;
    Ok(match (decision.kind, decision.verdict) {
        (DecisionKind::Judgement, RolloutVerdict::Hold) => Exit::Inconclusive,
        (DecisionKind::Judgement, RolloutVerdict::Halt) => Exit::GateFailed,
        _ => Exit::Pass,
    })
}

/// The evidence of a stage: out of the store, or as another engine wrote it.
fn evidence(place: &Place, course: &Course<'_>, outcomes: Option<&Path>) -> Result<(Kept, Option<u64>), Failure> {
    let day = place.last_whole_day();
    let Some(path) = outcomes else {
        let store = place.store()?;
        let batch = store.last_batch()?;
        return Ok((store.evidence(&course.query(day, batch)?)?, Some(batch)));
    };
    let (kept, taken) = warehouse::evidence(path, course.query(day, 0)?.span())?;
    if taken.refused > 0 {
        ui::say(&format!("{} of {} rows are no outcomes and count for nothing", taken.refused, taken.rows));
    }
    Ok((kept, None))
}

fn decide(world: &World, at: &At, outcomes: Option<&Path>, dry_run: bool) -> Result<Exit, Failure> {
    let mut place = Place::open(at)?;
    if !dry_run {
        place.catch_up()?;
    }
    let (policy, sha256) = place.policy()?;
    let decision = {
        let course = place.course(&policy, &sha256)?;
        let (kept, batch) = evidence(&place, &course, outcomes)?;
        course.judgement(&Judge::new(&policy), place.last_whole_day(), &kept, batch)?
    };
    if dry_run {
        return told(world, &decision, true);
    }
    let decision = place.carry_out(decision, policy.holdback)?;
    told(world, &decision, false)
}

fn watch(world: &World, at: &At) -> Result<Exit, Failure> {
    let place = Place::open(at)?;
    let (policy, sha256) = place.policy()?;
    match place.course(&policy, &sha256)?.state() {
        RolloutState::Complete => {}
        RolloutState::Closed => {
            let message = "the holdback has the release, too: nothing is left to compare with";
            return Err(Failure::new(Code::RolloutOrder, message).help("the rollout is over"));
        }
        _ => {
            return Err(Failure::new(Code::RolloutOrder, "the release is not at everybody yet")
                .help("`plimsoll rollout decide` judges its stages"));
        }
    }
    let exit = decide(world, at, None, false)?;
    if exit == Exit::GateFailed {
        let place = Place::open(at)?;
        let Some(link) = place.chain.last() else { return Ok(exit) };
        let record = place.folder.join(format!("problem-{:06}.json", link.decision.sequence));
        let document = ProblemRecord {
            schema: ProblemRecord::SCHEMA.into(),
            opened: link.decision.day.clone(),
            release: link.decision.rollout.clone(),
            decision_sha256: link.sha256.clone(),
            reasons: link.decision.reasons.clone(),
        };
        let bytes = to_sorted_json(&document).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        world::write(&record, &bytes)?;
        ui::say(&format!("a problem record is opened: {}", record.display()));
    }
    Ok(exit)
}

fn replay_past(world: &World, at: &At, policy: Option<&Path>, outcomes: &[PathBuf]) -> Result<Exit, Failure> {
    let place = Place::open(at)?;
    let (frozen, frozen_sha256) = place.policy()?;
    place.course(&frozen, &frozen_sha256)?;
    let (other, sha256) = match policy {
        Some(path) => read_policy(path)?,
        None => read_policy(&place.folder.join("policy.toml"))?,
    };
    let outcomes = outcomes.iter().map(|path| Ok((warehouse::digest(path)?, path.clone())));
    let outcomes = outcomes.collect::<Result<_, plimsoll_rollout::RolloutError>>()?;
    let past = Past { store: place.store()?, outcomes };
    let found = replay(place.chain.links(), &past, &frozen, &other, &sha256)?;
    world.print(&found, || show::replay(&found, sha256 != frozen_sha256))?;
    // The frozen policy has to say the same again, where all is there that it spoke of.
    let mut others = found.judgements.iter().filter(|j| sha256 == frozen_sha256 && !j.same_bytes).peekable();
    let open = found.elsewhere > 0 || others.peek().is_some();
    Ok(match others.any(|j| j.whole) {
        true => Exit::VerificationRefused,
        false if open => Exit::Inconclusive,
        false => Exit::Pass,
    })
}

fn simulate(world: &World, policy: &Path, harm: &[(Harmed, f64)], runs: u64) -> Result<Exit, Failure> {
    let (policy, _) = read_policy(policy)?;
    if policy.plan.is_none() {
        return Err(Failure::new(Code::BadConfig, "the policy has no [plan]: nobody knows how many devices to play")
            .help("write [plan] with fleet = 5000 and enrolled = 300"));
    }
    let judge = Judge::new(&policy);
    let seed = world.common.seed;
    let mut does = Harm::default();
    for (what, amount) in harm {
        match what {
            Harmed::Metric(metric) => does.metrics.push((*metric, *amount)),
            Harmed::CrashLoops => does.crash_loops = *amount,
            Harmed::SignatureFailures => does.signature_failures = *amount,
        }
    }
    let one = |i: u64| play(&judge, &policy, &Fleet::default(), &does, seed.wrapping_mul(1_000_003).wrapping_add(i));
    let all: Vec<Played> = (0..runs).map(one).collect();
    let document = show::simulation(&all);
    world.print(&document, || show::simulated(&document))?;
    Ok(Exit::Pass)
}

/// The digest that a decision is known by.
pub(super) fn digest(decision: &Decision) -> String {
    chain::statement(decision).map(|bytes| sha256_hex(&bytes)).unwrap_or_default()
}
