//! Verifies a release folder or a repository, step by step.

use std::{fs, time::SystemTime};

use plimsoll_profile::{Demands, Span};
use plimsoll_record::{Verdict, Verification, VerifyStep};
use plimsoll_release::{Demand, Rule, VerifyOptions, verify, verify_repository};
use plimsoll_trust::{PublicKey, is_address};

use crate::{args, exit::Exit, failure::Failure, manual::Code, registry, repositories, world::World};

pub(crate) fn run(world: &World, args: &args::Verify) -> Result<Exit, Failure> {
    let public_key =
        args.public_key.as_deref().map(PublicKey::read).transpose().map_err(plimsoll_release::ReleaseError::from)?;
    let read = |path: &std::path::PathBuf| fs::read(path).map_err(|e| Failure::not_read(path, &e));
    let options = VerifyOptions {
        public_key,
        trusted_root: args.root.as_ref().map(read).transpose()?,
        production: args.production,
        demands: args.policy.as_deref().map(Demands::read).transpose()?.map(demands).unwrap_or_default(),
        memory: args.memory.clone(),
        now: Some(SystemTime::now()),
        ..VerifyOptions::default()
    };
    let target = args.target.display().to_string();
    let found = if target.starts_with(registry::SCHEME) {
        let scratch = tempfile::tempdir().map_err(|e| Failure::not_written(&std::env::temp_dir(), &e))?;
        let folder = scratch.path().join("release");
        let detail = registry::pull(&target, options.public_key.as_ref(), &folder)?;
        let pulled = VerifyStep { name: "registry".into(), outcome: Verdict::Pass, detail };
        let steps = verify(&folder, &options)?.steps;
        Verification::new(std::iter::once(pulled).chain(steps).collect())
    } else if is_address(&args.target) {
        verify_repository(repositories::place(&args.target)?, &options)?
    } else {
        verify(&args.target, &options)?
    };
    world.print(&found, || text(&found))?;
    let Some(step) = found.failure() else { return Ok(Exit::Pass) };
    let demanded = step.name.starts_with("demand");
    let code = if step.name.starts_with("trial mark") { Code::TrialRepository } else { Code::VerificationRefused };
    Err(Failure::new(code, format!("{target} does not verify: {}", step.detail)).help(if demanded {
        "it may be whole, and is not what the policy asks for: ask whoever released it, or change the policy"
    } else {
        "do not install it; fetch it again from where it was published"
    }))
}

/// What a policy demands, in the order of its tables, each with its line.
fn demands(policy: Demands) -> Vec<Demand> {
    let source = policy.source;
    let demand = |rule: Rule, span: Span| Demand {
        rule,
        place: format!("{}:{}", source.path().display(), source.place(span).line),
    };
    let mut demands = Vec::new();
    demands.extend(policy.name.map(|n| demand(Rule::Name(n.value), n.span)));
    demands.extend(policy.no_trial.filter(|t| t.value).map(|t| demand(Rule::NoTrial, t.span)));
    demands.extend(policy.signers.map(|s| demand(Rule::Signers(s.value), s.span)));
    demands.extend(policy.commit.map(|c| demand(Rule::Commit(c.value), c.span)));
    demands.extend(policy.source_model.map(|m| demand(Rule::SourceModel(m.value), m.span)));
    demands.extend(policy.gates.into_iter().map(|g| demand(Rule::Gate(g.value), g.span)));
    demands.extend(policy.policies.into_iter().map(|p| demand(Rule::Policy(p.value), p.span)));
    demands.extend(policy.no_waivers.filter(|w| w.value).map(|w| demand(Rule::NoWaivers, w.span)));
    demands.extend(policy.budgets.into_iter().map(|b| demand(Rule::Budget(b.value), b.span)));
    demands.extend(policy.samples.map(|s| demand(Rule::Samples(s.value), s.span)));
    demands.extend(policy.attestations.into_iter().map(|a| demand(Rule::Attestation(a.value), a.span)));
    demands
}

/// Steps, a line each.
pub(crate) fn text(found: &Verification) -> String {
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
