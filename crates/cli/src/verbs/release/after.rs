//! What is done with a release folder that is there: it is told (`--dossier`), it is pushed (`--push`).

use std::path::Path;

use plimsoll_record::PushedRelease;
use plimsoll_release::{Package, VerifyOptions, dossier, verify_release};

use crate::{
    args,
    exit::Exit,
    failure::Failure,
    manual::Code,
    registry, ui,
    world::{self, World},
};

/// The packages that this program may be built of.
const LOCK: &str = include_str!("../../../../../Cargo.lock");

/// `release --from DIR`: no search, no new release.
pub(super) fn run(world: &World, args: &args::Release, folder: &Path) -> Result<Exit, Failure> {
    let found = verify_release(folder, &VerifyOptions::default())?;
    if let Some(step) = found.failure() {
        let message = format!("{} does not verify: {}", folder.display(), step.detail);
        return Err(Failure::new(Code::VerificationRefused, message).help("make the release anew"));
    }
    if args.dry_run {
        ui::say("dry run: the release verifies; nothing was written or pushed");
        return Ok(Exit::Pass);
    }
    let pushed = push(args, folder)?;
    tell(args, folder)?;
    if let Some(address) = pushed.filter(|_| !on_stdout(args)) {
        let document = PushedRelease::new(address);
        world.print(&document, || format!("pushed  {}\n", document.pushed))?;
    }
    Ok(Exit::Pass)
}

/// Pushes a release, where that is asked for; the address, pinned.
pub(super) fn push(args: &args::Release, folder: &Path) -> Result<Option<String>, Failure> {
    let Some(address) = &args.push else { return Ok(None) };
    let pinned = registry::push(address, folder)?;
    ui::say(&format!("pushed to {address}, which is now {pinned}"));
    Ok(Some(pinned))
}

/// Whether stdout is the dossier's.
pub(super) fn on_stdout(args: &args::Release) -> bool {
    matches!(args.dossier, Some(None))
}

/// Writes the dossier, where that is asked for.
pub(super) fn tell(args: &args::Release, folder: &Path) -> Result<(), Failure> {
    let Some(place) = &args.dossier else { return Ok(()) };
    let text = dossier(folder, &VerifyOptions::default(), &packages(LOCK))?;
    match place {
        None => ui::data(&text),
        Some(path) => world::write(path, text.as_bytes()),
    }
}

/// Packages of a lock file: in each `[[package]]` a name, a version, and the checksum of what came from a registry.
fn packages(lock: &str) -> Vec<Package> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'));
        line.unwrap_or_default().to_owned()
    };
    let blocks = lock.split("[[package]]").skip(1);
    let package = |block: &str| Package {
        name: value(block, "name"),
        version: value(block, "version"),
        checksum: value(block, "checksum"),
    };
    blocks.map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_of_the_lock_file_is_found() {
        let found = packages(LOCK);
        assert!(found.len() > 100 && found.iter().all(|p| !p.name.is_empty() && !p.version.is_empty()));
        let of = |name: &str| found.iter().find(|p| p.name == name).unwrap();
        assert!(of("plimsoll-cli").checksum.is_empty());
        assert_eq!(of("sha2").checksum.len(), 64);
    }
}
