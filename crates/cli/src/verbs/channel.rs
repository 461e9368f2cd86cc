//! A repository's channels and keys: what they are at, and every move of theirs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use plimsoll_record::{ChannelPointer, PointedRelease, PointerState};
use plimsoll_release::{
    Actor, AtHand, BETA, NewKey, Placement, Promotion, Published, ROLES, ReleaseError, Repository, Status,
    keys_at_hand, status,
};

use crate::{
    args::{self, Channel},
    exit::Exit,
    failure::Failure,
    manual::Code,
    places::Home,
    repositories,
    secrets::Here,
    ui,
    world::{World, patiently},
};

pub(crate) fn run(world: &World, verb: &Channel) -> Result<Exit, Failure> {
    let now = SystemTime::now();
    match verb {
        Channel::Status { at } => {
            let found = status(repositories::place(&repository(at)?)?, now)?;
            world.print(&found, || text(&found))?;
        }
        Channel::Init { repository, keys, draw_keys, holders, dry_run } => {
            let holders: BTreeMap<String, String> = holders.iter().cloned().collect();
            init(world, repository, keys, *draw_keys, &holders, *dry_run)?;
        }
        Channel::Publish { at, from: Some(from), channel, percent, actor, dry_run, .. } => {
            enter(world, at, from, (channel, *percent), actor, *dry_run)?;
        }
        Channel::Publish { at, from: None, release, channel, percent, decision, actor, dry_run } => {
            let wanted = (release.as_deref(), channel.as_str(), *percent);
            publish(world, at, wanted, decision.as_deref(), actor, *dry_run)?;
        }
        Channel::Advance { at, channel, percent, decision, actor } => {
            let percent_bp = share(*percent)?;
            let decision = read(decision.as_deref())?;
            moved(world, at, actor, |r| {
                let current = r.at(channel)?.filter(|_| decision.is_some());
                let accept = |(at, d): (PointedRelease, &Vec<u8>)| r.accept_decision(&at.release, &at.version, d, now);
                let decision_sha256 = current.zip(decision.as_ref()).map(accept).transpose()?;
                r.advance(channel, &Placement { percent_bp, decision_sha256, ..Placement::default() }, now)
            })?;
        }
        Channel::Halt { at, channel, actor } => {
            moved(world, at, actor, |r| r.halt(channel, &actor.reason, None, now))?;
        }
        Channel::Resume { at, channel, actor } => moved(world, at, actor, |r| r.resume(channel, None, now))?,
        Channel::Rollback { at, channel, actor } => moved(world, at, actor, |r| r.rollback(channel, None, now))?,
        Channel::RotateKey { at, key, new, holder, role, actor } => {
            let new = NewKey::read(new, holder, &Here)?;
            let to = new.name.clone();
            let roles = open(at, actor)?.replace_key(key, Some(new), role.as_deref(), now)?;
            ui::say(&format!("{key} is replaced by {to} in {}", roles.join(", ")));
        }
        Channel::Revoke { at, key, role, actor } => {
            let roles = open(at, actor)?.replace_key(key, None, role.as_deref(), now)?;
            ui::say(&format!("{key} is revoked in {}", roles.join(", ")));
        }
        Channel::Refresh { at, dry_run } => refresh(at, *dry_run)?,
    }
    Ok(Exit::Pass)
}

pub(crate) fn repository(at: &args::Repository) -> Result<PathBuf, Failure> {
    match &at.repository {
        Some(folder) => Ok(folder.clone()),
        None => Home::new(None).find_repository(at.name.as_deref()),
    }
}

/// Who acts: as said, or as the environment names the user.
fn actor(args: &args::Actor) -> Actor {
    let user = || std::env::var("USER").ok().filter(|u| !u.is_empty());
    let person = args.person.clone().or_else(user).unwrap_or_else(|| Actor::default().person);
    Actor { person, reason: args.reason.clone() }
}

fn with_keys(at: &args::Repository) -> Result<Repository, Failure> {
    let place = repository(at)?;
    let keys = repositories::keys(&place, at.keys.as_deref())?;
    repositories::open(&place, &keys, &Here)
}

fn open(at: &args::Repository, args: &args::Actor) -> Result<Repository, Failure> {
    Ok(with_keys(at)?.acting(actor(args)))
}

/// Per cent in hundredths.
fn share(percent: f64) -> Result<u16, Failure> {
    if !(0.0..=100.0).contains(&percent) {
        let message = format!("{percent} % is no share of devices");
        return Err(Failure::new(Code::BadRelease, message).help("give one from 0 to 100"));
    }
    Ok((percent * 100.0).round() as u16)
}

/// A decision's file, where one is given.
fn read(decision: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    decision.map(|path| fs::read(path).map_err(|e| Failure::not_read(path, &e))).transpose()
}

fn say_where(world: &World, done: &Published) -> Result<(), Failure> {
    world.print(&done.pointer, || {
        let what = if done.moved { "is now at" } else { "was already at" };
        format!("{} {what} {}", done.pointer.channel, pointed(&done.pointer))
    })
}

fn moved(
    world: &World,
    at: &args::Repository,
    actor: &args::Actor,
    act: impl Fn(&Repository) -> Result<Published, ReleaseError>,
) -> Result<(), Failure> {
    let repository = open(at, actor)?;
    say_where(world, &patiently(|| act(&repository))?)
}

fn init(
    world: &World,
    folder: &Path,
    keys: &Path,
    draw: bool,
    holders: &BTreeMap<String, String>,
    dry_run: bool,
) -> Result<(), Failure> {
    if dry_run {
        return walk(keys, draw, holders);
    }
    let now = SystemTime::now();
    let made = Repository::create(repositories::store(folder)?, (keys, draw), &Here, holders, now)?;
    let found = status(repositories::place(folder)?, now)?;
    world.print(&found, || text(&found))?;
    ui::say(&format!(
        "give clients {} by a way that you trust; keep the keys of root and targets offline, and each where its holder alone has it",
        made.folder().join("metadata/1.root.json").display()
    ));
    Ok(())
}

/// What `init` would make: roles, and for each key who holds it and what is at hand of it.
fn walk(folder: &Path, draw: bool, holders: &BTreeMap<String, String>) -> Result<(), Failure> {
    let at_hand = keys_at_hand(folder, holders)?;
    let roles = ROLES.iter().map(|r| {
        let threshold = format!("{} of {}", r.threshold, r.keys.len());
        vec![r.name.to_owned(), threshold, r.days.to_string(), r.keys.join(", ")]
    });
    ui::data(&ui::table(&["role", "keys", "days", "signed by"], roles.collect()))?;
    let keys = at_hand.iter().map(|(name, found)| {
        let found = match found {
            AtHand::Private => "private key",
            AtHand::Public => "public half: its holder signs elsewhere",
            AtHand::Nothing if draw => "would be drawn",
            AtHand::Nothing => "MISSING",
        };
        vec![(*name).to_owned(), holders.get(*name).cloned().unwrap_or_default(), found.to_owned()]
    });
    ui::data("\n")?;
    ui::data(&ui::table(&["key", "held by", "at hand"], keys.collect()))?;
    ui::say("dry run: nothing was made");
    if !draw && at_hand.values().any(|found| *found == AtHand::Nothing) {
        ui::say(&format!(
            "put NAME.pem or NAME.pub.pem of what is missing into {}, or draw it by --draw-keys",
            folder.display()
        ));
    }
    Ok(())
}

/// Puts a release folder into the beta channel.
fn enter(
    world: &World,
    at: &args::Repository,
    from: &Path,
    (channel, percent): (&str, f64),
    actor: &args::Actor,
    dry_run: bool,
) -> Result<(), Failure> {
    if channel != BETA {
        let message = format!("a release folder enters the {BETA} channel, not {channel}");
        return Err(
            Failure::new(Code::BadRelease, message).help("leave --from out to let what is in beta into general")
        );
    }
    let repository = open(at, actor)?;
    let placement = Placement { percent_bp: share(percent)?, ..Placement::default() };
    if dry_run {
        ui::say(&format!("dry run: {} would go into the {BETA} channel", from.display()));
        return Ok(());
    }
    say_where(world, &patiently(|| repository.publish(from, &placement, SystemTime::now()))?)
}

fn publish(
    world: &World,
    at: &args::Repository,
    (version, channel, percent): (Option<&str>, &str, f64),
    decision: Option<&Path>,
    actor: &args::Actor,
    dry_run: bool,
) -> Result<(), Failure> {
    let repository = open(at, actor)?;
    let Some(beta) = repository.at(BETA)? else {
        let message = format!("the beta channel of {} is at nothing yet", repository.folder().display());
        return Err(Failure::new(Code::BadRelease, message).help("`plimsoll release` puts a release there"));
    };
    let version = version.unwrap_or(&beta.version);
    let percent_bp = share(percent)?;
    if dry_run {
        ui::say(&format!("dry run: {} {version} would go into the {channel} channel", beta.release));
        return Ok(());
    }
    let now = SystemTime::now();
    let decision = read(decision)?;
    let accepted =
        decision.map(|d| patiently(|| repository.accept_decision(&beta.release, version, &d, now))).transpose()?;
    let placement = Placement { percent_bp, decision_sha256: accepted, ..Placement::default() };
    let promotion = Promotion { name: &beta.release, version, channel, placement: &placement };
    say_where(world, &patiently(|| repository.promote(&promotion, now))?)
}

fn refresh(at: &args::Repository, dry_run: bool) -> Result<(), Failure> {
    let repository = with_keys(at)?;
    if dry_run {
        ui::say(&format!("dry run: the metadata of {} would be signed anew", repository.folder().display()));
        return Ok(());
    }
    patiently(|| repository.refresh(SystemTime::now()))?;
    ui::say(&format!("the metadata of {} are signed anew", repository.folder().display()));
    Ok(())
}

fn pointed(p: &ChannelPointer) -> String {
    let share = f64::from(p.percent_bp) / 100.0;
    let state = match (p.state, &p.previous) {
        (PointerState::Active, _) => String::new(),
        (PointerState::Paused, _) => ", paused: nobody new takes it".into(),
        (PointerState::Halted, Some(back)) => format!(", halted: devices go back to {} {}", back.release, back.version),
        (PointerState::Halted, None) => ", halted: there is nothing to go back to".into(),
    };
    format!("{} {} (epoch {}, {share} % of devices{state})", p.target.release, p.target.version, p.epoch)
}

fn text(found: &Status) -> String {
    let mut lines = Vec::new();
    for c in &found.channels {
        let at = c.pointer.as_ref().map_or("nothing yet".to_owned(), pointed);
        lines.push(format!("{:<8} {at}", c.channel));
    }
    if found.trial {
        lines.push("trial    production clients refuse this repository".into());
    }
    if let Some(expired) = &found.expired {
        lines.push(format!("expired  {expired}; `plimsoll channel refresh` signs it anew"));
    }
    let rows = found.roles.iter().map(|r| {
        vec![r.role.clone(), r.version.to_string(), format!("{} of {}", r.threshold, r.keys), r.expires.clone()]
    });
    lines.push(String::new());
    lines.push(ui::table(&["role", "version", "keys", "expires"], rows.collect()));
    let rows = found.keys.iter().map(|k| {
        let id = k.id.get(..12).unwrap_or(&k.id).to_owned();
        vec![k.name.clone(), id, k.holder.clone(), k.roles.join(", ")]
    });
    lines.push(String::new());
    lines.push(ui::table(&["key", "id", "held by", "signs for"], rows.collect()));
    lines.join("\n") + "\n"
}
