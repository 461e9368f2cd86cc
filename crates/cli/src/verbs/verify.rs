//! Verifies a release folder or a repository, step by step.

use std::{fs, time::SystemTime};

use plimsoll_record::{Verdict, Verification, VerifyStep};
use plimsoll_release::{VerifyOptions, verify};
use plimsoll_trust::PublicKey;

use crate::{args, exit::Exit, failure::Failure, manual::Code, world::World};

pub(crate) fn run(world: &World, args: &args::Verify) -> Result<Exit, Failure> {
    let public_key =
        args.public_key.as_deref().map(PublicKey::read).transpose().map_err(plimsoll_release::ReleaseError::from)?;
    let read = |path: &std::path::PathBuf| fs::read(path).map_err(|e| Failure::not_read(path, &e));
    let options = VerifyOptions {
        public_key,
        trusted_root: args.root.as_ref().map(read).transpose()?,
        production: args.production,
        now: Some(SystemTime::now()),
        ..VerifyOptions::default()
    };
    let found = verify(&args.target, &options)?;
    world.print(&found, || text(&found))?;
    let Some(step) = found.failure() else { return Ok(Exit::Pass) };
    let code = if step.name.starts_with("trial mark") { Code::TrialRepository } else { Code::VerificationRefused };
    Err(Failure::new(code, format!("{} does not verify: {}", args.target.display(), step.detail))
        .help("do not install it; fetch it again from where it was published"))
}

fn text(found: &Verification) -> String {
    let width = found.steps.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
    let line = |s: &VerifyStep| {
        let detail = match &s.outcome {
            Verdict::Skipped(reason) if s.detail.is_empty() => reason,
            _ => &s.detail,
        };
        format!("{:<8} {:<width$}  {detail}", s.outcome.to_string(), s.name)
    };
    found.steps.iter().map(line).collect::<Vec<_>>().join("\n") + &format!("\nverdict  {}\n", found.verdict)
}
