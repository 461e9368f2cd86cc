//! Past telemetry through a policy: the one that was frozen must give the same decisions again, byte for byte; another one shows when it
//! would have halted.

use plimsoll_profile::{Day, Policy};
use plimsoll_record::{DecisionKind, Replay, Replayed, RolloutVerdict};

use crate::{
    chain::{Link, statement},
    course::Course,
    error::RolloutError,
    judge::Judge,
    store::Store,
};

/// Replays the judgements of a chain that rest on a store.
pub fn replay(
    links: &[Link],
    store: &Store,
    frozen: &Policy,
    policy: &Policy,
    sha256: &str,
) -> Result<Replay, RolloutError> {
    let original = links.first().map(|l| l.decision.policy_sha256.clone()).unwrap_or_default();
    let judge = Judge::new(policy);
    let mut judgements = Vec::new();
    for (place, link) in links.iter().enumerate() {
        let then = &link.decision;
        let (DecisionKind::Judgement, Some(evidence)) = (then.kind, &then.evidence) else { continue };
        let (Some(batch), Some(day), Some(before)) = (evidence.batch, Day::parse(&then.day), links.get(..place)) else {
            continue;
        };
        // Where the rollout was is what the frozen policy made of it; what is judged there is this policy's.
        let course = Course::of(before, frozen, &original)?;
        let kept = store.evidence(&course.query(day, batch)?)?;
        let mut now = course.judgement(&judge, day, &kept, Some(batch))?;
        now.policy_sha256 = sha256.into();
        judgements.push(Replayed {
            sequence: then.sequence,
            day: then.day.clone(),
            percent_bp: then.stage.percent_bp,
            then: then.verdict,
            now: now.verdict,
            same_bytes: statement(&now)? == link.payload,
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
        judgements,
    })
}
