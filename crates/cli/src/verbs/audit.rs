//! A repository's audit log, verified or printed.

use std::{fs, path::PathBuf};

use plimsoll_release::{AuditLog, audit_log};

use crate::{
    args::{self, Audit},
    exit::Exit,
    failure::Failure,
    manual::Code,
    repositories, ui,
    verbs::channel::repository,
    world::World,
};

pub(crate) fn run(_: &World, verb: &Audit) -> Result<Exit, Failure> {
    match verb {
        Audit::Verify { at, root } => {
            let log = read(at, root.as_ref())?;
            let after = match log.unanchored {
                0 => String::new(),
                n => format!("; {n} after them tell of a change that has not taken effect"),
            };
            ui::say(&format!("{} lines hold{after}", log.entries.len()));
        }
        Audit::Export { at, root } => {
            let mut lines = String::new();
            for entry in read(at, root.as_ref())?.entries {
                let line = serde_json::to_string(&entry);
                lines += &line.map_err(|e| Failure::new(Code::Internal, format!("failed to write JSON: {e}")))?;
                lines.push('\n');
            }
            ui::data(&lines)?;
        }
    }
    Ok(Exit::Pass)
}

fn read(at: &args::Repository, root: Option<&PathBuf>) -> Result<AuditLog, Failure> {
    let root = root.map(|path| fs::read(path).map_err(|e| Failure::not_read(path, &e))).transpose()?;
    Ok(audit_log(repositories::place(&repository(at)?)?, root.as_deref())?)
}
