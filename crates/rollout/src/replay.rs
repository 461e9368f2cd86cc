//! Past telemetry through a policy: the one that was frozen must give the same decisions again, byte for byte; another one shows when it
//! would have halted.

use std::{collections::BTreeMap, path::PathBuf};

use plimsoll_profile::{Day, Policy};
use plimsoll_record::{DecisionKind, Replay, Replayed, RolloutVerdict};

use crate::{
    chain::{Link, statement},
    course::Course,
    error::RolloutError,
    judge::Judge,
    store::Store,
    warehouse,
};

/// What past judgements rested on.
#[derive(Debug)]
pub struct Past {
    /// Telemetry.
    pub store: Store,
    /// Outcomes that another engine wrote, by the digest that decisions know them by ([`warehouse::digest`]).
    pub outcomes: BTreeMap<String, PathBuf>,
}

/// Replays the judgements of a chain. One that rests on outcomes which are not there is counted.
pub fn replay(
    links: &[Link],
    past: &Past,
    frozen: &Policy,
    policy: &Policy,
    sha256: &str,
) -> Result<Replay, RolloutError> {
    let original = links.first().map(|l| l.decision.policy_sha256.clone()).unwrap_or_default();
    let judge = Judge::new(policy);
    let forgotten = !past.store.forgotten()?.is_empty();
    let expired = past.store.expired()?;
    let mut judgements = Vec::new();
    let mut elsewhere = 0;
    for (place, link) in links.iter().enumerate() {
        let then = &link.decision;
        let (DecisionKind::Judgement, Some(evidence)) = (then.kind, &then.evidence) else { continue };
        let (Some(day), Some(before)) = (Day::parse(&then.day), links.get(..place)) else { continue };
        // Where the rollout was is what the frozen policy made of it; what is judged there is this policy's.
        let course = Course::of(before, frozen, &original)?;
        let query = course.query(day, evidence.batch.unwrap_or(0))?;
        let first = i64::from(query.first_day) - query.pre_days as i64;
        let (kept, whole) = match (evidence.batch, past.outcomes.get(&evidence.sha256)) {
            (Some(_), _) => {
                let whole = !forgotten && expired.is_none_or(|before| first >= i64::from(before));
                (past.store.evidence(&query)?, whole)
            }
            (None, Some(path)) => (warehouse::evidence(path, query.span())?.0, true),
            (None, None) => {
                elsewhere += 1;
                continue;
            }
        };
        let mut now = course.judgement(&judge, day, &kept, evidence.batch)?;
        now.policy_sha256 = sha256.into();
        judgements.push(Replayed {
            sequence: then.sequence,
            day: then.day.clone(),
            percent_bp: then.stage.percent_bp,
            then: then.verdict,
            now: now.verdict,
            same_bytes: statement(&now)? == link.payload,
            whole,
            devices: kept.evidence.treatment().devices(),
        });
    }
    let halt = judgements.iter().position(|j| j.now == RolloutVerdict::Halt);
    let most = judgements.iter().map(|j| j.devices).max().unwrap_or(0);
    let had = halt
        .and_then(|i| judgements.get(..=i))
        .map_or(most, |until| until.iter().map(|j| j.devices).max().unwrap_or(0));
    Ok(Replay {
        schema: Replay::SCHEMA.into(),
        halts: halt.and_then(|i| judgements.get(i)).map(|j| j.day.clone()),
        spared: most - had,
        elsewhere,
        judgements,
    })
}
