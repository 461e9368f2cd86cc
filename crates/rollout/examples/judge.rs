//! Judges outcomes that an engine wrote, without a repository: `judge POLICY STAGE DAYS PRE_DAYS OUTCOMES`. Prints the verdict, why, what
//! is missing, and the metrics, as JSON; two engines that wrote the same print the same.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::{env, error::Error, path::Path};

use plimsoll_profile::Policy;
use plimsoll_rollout::{
    Ladder,
    evidence::{Evidence, Span},
    judge::{Detail, Judge, When},
    warehouse,
};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [policy, stage, days, pre_days, outcomes] = args.as_slice() else {
        return Err("usage: judge POLICY STAGE DAYS PRE_DAYS OUTCOMES".into());
    };
    let policy = Policy::read(Path::new(policy)).map_err(|e| e.render())?;
    let span = Span { days: days.parse()?, pre_days: pre_days.parse()? };
    let rung = Ladder::new(&policy).rung(stage.parse()?).ok_or("the policy has no such stage")?;
    let mut evidence = Evidence::new(span);
    let taken = warehouse::outcomes(Path::new(outcomes), |o| evidence.take(&o))?;
    let when = When { of_rollout: 60, of_stage: span.days };
    let found = Judge::new(&policy).judge(&rung, when, &evidence, Detail::Bounds);
    let document = serde_json::json!({
        "rows": taken.rows,
        "refused": taken.refused,
        "treatment": evidence.treatment().devices(),
        "holdback": evidence.holdback().devices(),
        "left_out": evidence.left_out(),
        "verdict": found.verdict,
        "reasons": found.reasons,
        "missing": found.missing,
        "metrics": found.metrics,
    });
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(())
}
