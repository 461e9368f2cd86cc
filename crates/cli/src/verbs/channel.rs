//! What channels point to, and letting a release into the next one.

use std::{path::PathBuf, time::SystemTime};

use plimsoll_record::ChannelPointer;
use plimsoll_release::{BETA, Placement, Repository, Status, status};

use crate::{
    args::{self, Channel},
    exit::Exit,
    failure::Failure,
    manual::Code,
    places::{self, Home},
    ui,
    world::{World, patiently},
};

pub(crate) fn run(world: &World, verb: &Channel) -> Result<Exit, Failure> {
    match verb {
        Channel::Status { at } => {
            let found = status(&repository(at)?, SystemTime::now())?;
            world.print(&found, || text(&found))?;
            Ok(Exit::Pass)
        }
        Channel::Publish { at, release, channel, dry_run } => publish(world, at, release.as_deref(), channel, *dry_run),
        Channel::Refresh { at, dry_run } => refresh(at, *dry_run),
    }
}

fn repository(at: &args::Repository) -> Result<PathBuf, Failure> {
    match &at.repository {
        Some(folder) => Ok(folder.clone()),
        None => Home::new(None).find_repository(at.name.as_deref()),
    }
}

fn open(at: &args::Repository) -> Result<Repository, Failure> {
    let folder = repository(at)?;
    let keys = at.keys.clone().unwrap_or_else(|| places::keys_of(&folder));
    Ok(Repository::open(&folder, &keys)?)
}

fn publish(
    world: &World,
    at: &args::Repository,
    version: Option<&str>,
    channel: &str,
    dry_run: bool,
) -> Result<Exit, Failure> {
    let repository = open(at)?;
    let Some(beta) = repository.at(BETA)? else {
        let message = format!("the beta channel of {} is at nothing yet", repository.folder().display());
        return Err(Failure::new(Code::BadRelease, message).help("`plimsoll release` puts a release there"));
    };
    let version = version.unwrap_or(&beta.version);
    if dry_run {
        ui::say(&format!("dry run: {} {version} would go into the {channel} channel", beta.release));
        return Ok(Exit::Pass);
    }
    let promote = || repository.promote(&beta.release, version, channel, &Placement::default(), SystemTime::now());
    let done = patiently(promote)?;
    world.print(&done.pointer, || {
        let what = if done.moved { "is now at" } else { "was already at" };
        format!("{} {what} {}", done.pointer.channel, pointed(&done.pointer))
    })?;
    Ok(Exit::Pass)
}

fn refresh(at: &args::Repository, dry_run: bool) -> Result<Exit, Failure> {
    let repository = open(at)?;
    if dry_run {
        ui::say(&format!("dry run: the metadata of {} would be signed anew", repository.folder().display()));
        return Ok(Exit::Pass);
    }
    patiently(|| repository.refresh(SystemTime::now()))?;
    ui::say(&format!("the metadata of {} are signed anew", repository.folder().display()));
    Ok(Exit::Pass)
}

fn pointed(p: &ChannelPointer) -> String {
    let share = f64::from(p.percent_bp) / 100.0;
    format!("{} {} (epoch {}, {share} % of devices)", p.target.release, p.target.version, p.epoch)
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
    lines.join("\n") + "\n"
}
