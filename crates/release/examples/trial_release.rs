//! Makes a trial release and its repository in a folder, for third-party clients to judge without the main job.

use std::{error::Error, path::PathBuf, time::SystemTime};

use plimsoll_release::{GENERAL, Placement, Promotion, Repository, build};

#[path = "../tests/support/mod.rs"]
mod support;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("a folder is needed")?);
    let repository = folder.join("repository");
    let now = SystemTime::now();
    let keeper = Repository::open_or_create_trial(&repository, &folder.join("trial"), now)?;
    let input = support::input("0.1.0", b"no model, but bytes");
    let built = build(&input, keeper.signing_key()?, &folder.join("releases"))?;
    keeper.publish(&built.folder, &Placement::default(), now)?;
    let everybody = Placement::default();
    let promotion = Promotion { name: &built.name, version: &built.version, channel: GENERAL, placement: &everybody };
    keeper.promote(&promotion, now)?;
    Ok(())
}
