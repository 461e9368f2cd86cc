//! The state machine: where a rollout is after the decisions that were taken, and what the next one would say.
//!
//! ```text
//! start → beta → 1 % → 5 % → 20 % → 50 % → 100 % → complete → closed: the holdback has it, too
//!           any of them → halted → resumed where it was, or rolled back
//! ```

use plimsoll_profile::{Day, Policy};
use plimsoll_record::{Decision, DecisionKind, EvidenceBase, RolledOut, RolloutState, RolloutVerdict, StageAt};

use crate::{
    chain::Link,
    error::RolloutError,
    judge::{Detail, Judge, When, is_for_a_person},
    ladder::{Ladder, Rung, days},
    store::{Kept, StageQuery},
};

/// Where a rollout is.
#[derive(Debug, Clone, PartialEq)]
pub struct Course<'c> {
    policy: &'c Policy,
    policy_sha256: String,
    links: &'c [Link],
    rollout: RolledOut,
    first_day: i32,
    stage: StageAt,
    state: RolloutState,
}

fn order<T>(what: impl Into<String>) -> Result<T, RolloutError> {
    Err(RolloutError::Order(what.into()))
}

fn number(day: &str) -> Result<i32, RolloutError> {
    Day::parse(day).map(Day::number).ok_or_else(|| RolloutError::Order(format!("`{day}` is no day")))
}

fn at(rung: &Rung, since: &str) -> StageAt {
    StageAt {
        number: rung.number as u64,
        channel: rung.channel.into(),
        percent_bp: rung.percent_bp(),
        since: since.into(),
    }
}

/// The first decision: the policy is frozen, the beta begins.
pub fn start(
    policy: &Policy,
    policy_sha256: &str,
    rollout: RolledOut,
    day: Day,
    by: &str,
) -> Result<Decision, RolloutError> {
    let Some(beta) = Ladder::new(policy).rung(0) else { return order("the policy has no beta") };
    if rollout.release == rollout.previous {
        return order("the release is the one that it would replace");
    }
    let day = day.to_string();
    let stage = at(&beta, &day);
    Ok(Decision {
        schema: Decision::SCHEMA.into(),
        sequence: 1,
        previous_decision: None,
        kind: DecisionKind::Start,
        day,
        rollout,
        policy_sha256: policy_sha256.into(),
        stage: stage.clone(),
        verdict: RolloutVerdict::Advance,
        state: RolloutState::Running,
        next: stage,
        reasons: vec!["the policy is frozen; the beta begins".into()],
        missing: vec![],
        person: false,
        metrics: vec![],
        evidence: None,
        by: Some(by.into()),
    })
}

impl<'c> Course<'c> {
    /// After the decisions of a chain. The policy must be the one that was frozen.
    pub fn of(links: &'c [Link], policy: &'c Policy, policy_sha256: &str) -> Result<Self, RolloutError> {
        let (Some(first), Some(last)) = (links.first(), links.last()) else {
            return order("no rollout has begun: `plimsoll rollout start` begins one");
        };
        if first.decision.policy_sha256 != policy_sha256 {
            return order("the policy is not the one that was frozen when the rollout began");
        }
        Ok(Self {
            policy,
            policy_sha256: policy_sha256.into(),
            links,
            rollout: first.decision.rollout.clone(),
            first_day: number(&first.decision.day)?,
            stage: last.decision.next.clone(),
            state: last.decision.state,
        })
    }

    /// What is rolled out.
    pub fn rollout(&self) -> &RolledOut {
        &self.rollout
    }

    /// The stage.
    pub fn stage(&self) -> &StageAt {
        &self.stage
    }

    /// The state.
    pub fn state(&self) -> RolloutState {
        self.state
    }

    /// The step of the stage.
    pub fn rung(&self) -> Result<Rung, RolloutError> {
        let missing = || RolloutError::Order("the policy has no such stage".into());
        Ladder::new(self.policy).rung(self.stage.number as usize).ok_or_else(missing)
    }

    /// What to ask of telemetry up to a day.
    pub fn query(&self, day: Day, batch: u64) -> Result<StageQuery, RolloutError> {
        // The beta may have been at a release that everybody else never got.
        let in_beta = self.rollout.previous_in_beta.as_ref().filter(|_| self.stage.number == 0);
        Ok(StageQuery {
            candidate: self.rollout.release.clone(),
            previous: in_beta.unwrap_or(&self.rollout.previous).clone(),
            channel: self.stage.channel.clone(),
            first_day: number(&self.stage.since)?,
            last_day: day.number(),
            pre_days: days(self.policy.pre_period.0),
            batch,
        })
    }

    fn decision(&self, kind: DecisionKind, day: Day, by: Option<&str>) -> Decision {
        Decision {
            schema: Decision::SCHEMA.into(),
            sequence: self.links.len() as u64 + 1,
            previous_decision: self.links.last().map(|l| l.sha256.clone()),
            kind,
            day: day.to_string(),
            rollout: self.rollout.clone(),
            policy_sha256: self.policy_sha256.clone(),
            stage: self.stage.clone(),
            verdict: RolloutVerdict::Hold,
            state: self.state,
            next: self.stage.clone(),
            reasons: vec![],
            missing: vec![],
            person: false,
            metrics: vec![],
            evidence: None,
            by: by.map(Into::into),
        }
    }

    /// What the evidence up to a day says. `batch` is the last file of the store that was looked at, where it was a store.
    pub fn judgement(
        &self,
        judge: &Judge<'_>,
        day: Day,
        kept: &Kept,
        batch: Option<u64>,
    ) -> Result<Decision, RolloutError> {
        match self.state {
            RolloutState::Running | RolloutState::Complete => {}
            RolloutState::Closed => return order("the holdback has the release, too: nothing is left to compare with"),
            _ => return order("the release is halted: nothing is judged until it is resumed"),
        }
        let since = number(&self.stage.since)?;
        if day.number() < since {
            return order(format!("{day} lies before the stage, which began on {}", self.stage.since));
        }
        let count = |from: i32| (i64::from(day.number()) - i64::from(from) + 1).unsigned_abs();
        let when = When { of_rollout: count(self.first_day), of_stage: count(since) };
        let found = judge.judge(&self.rung()?, when, &kept.evidence, Detail::Bounds);
        let [both, silent] = kept.evidence.left_out();
        let cell = |n: u64| if n < self.policy.min_cell { 0 } else { n };
        let state = if found.verdict == RolloutVerdict::Halt { RolloutState::Halted } else { self.state };
        Ok(Decision {
            verdict: found.verdict,
            state,
            reasons: found.reasons,
            missing: found.missing,
            person: found.person,
            metrics: found.metrics,
            evidence: Some(EvidenceBase {
                batch,
                sha256: kept.sha256.clone(),
                first_day: self.stage.since.clone(),
                last_day: day.to_string(),
                treatment: cell(kept.evidence.treatment().devices()),
                holdback: cell(kept.evidence.holdback().devices()),
                both: cell(both),
                silent: cell(silent),
            }),
            ..self.decision(DecisionKind::Judgement, day, None)
        })
    }

    /// The last judgement of the stage.
    fn judged(&self) -> Option<&Decision> {
        let last = self.links.last().map(|l| &l.decision)?;
        (last.kind == DecisionKind::Judgement && last.next == self.stage).then_some(last)
    }

    /// One stage on.
    fn onward(&self, kind: DecisionKind, day: Day, by: &str, reasons: Vec<String>) -> Decision {
        let next = Ladder::new(self.policy).rung(self.stage.number as usize + 1);
        let state = if next.is_some() { RolloutState::Running } else { RolloutState::Complete };
        Decision {
            verdict: RolloutVerdict::Advance,
            state,
            next: next.map_or_else(|| self.stage.clone(), |rung| at(&rung, &day.to_string())),
            reasons,
            ..self.decision(kind, day, Some(by))
        }
    }

    fn running(&self) -> Result<(), RolloutError> {
        match self.state {
            RolloutState::Running => Ok(()),
            RolloutState::Complete | RolloutState::Closed => order("the release is at everybody"),
            RolloutState::Halted => order("the release is halted"),
            RolloutState::RolledBack => order("the release was rolled back"),
        }
    }

    /// The next stage, on a judgement that lets it. After the last one, the holdback gets the release: somebody has watched it for
    /// long enough.
    pub fn advance(&self, day: Day, by: &str) -> Result<Decision, RolloutError> {
        if self.state == RolloutState::Complete {
            return Ok(Decision {
                verdict: RolloutVerdict::Advance,
                state: RolloutState::Closed,
                reasons: vec!["the release is at everybody; the holdback gets it, too".into()],
                ..self.decision(DecisionKind::Close, day, Some(by))
            });
        }
        self.running()?;
        match self.judged() {
            Some(last) if last.verdict == RolloutVerdict::Advance => {
                Ok(self.onward(DecisionKind::Advance, day, by, vec![format!("judged on {}: advance", last.day)]))
            }
            Some(last) => order(format!("the judgement of {} says hold: {}", last.day, last.missing.join("; "))),
            None => order("this stage was not judged last: `plimsoll rollout decide` judges it"),
        }
    }

    /// The next stage, by a person where the evidence cannot say it.
    pub fn resolve(&self, day: Day, by: &str, reason: &str) -> Result<Decision, RolloutError> {
        self.running()?;
        match self.judged() {
            Some(last) if last.person => {
                let (powers, others): (Vec<String>, Vec<String>) =
                    last.missing.iter().cloned().partition(|m| is_for_a_person(m));
                // A long hold is a person's to end, whatever is missing; otherwise only what no stage can prove is.
                let waited = i64::from(day.number()) - i64::from(number(&self.stage.since)?) + 1;
                if !others.is_empty() && waited.unsigned_abs() <= days(self.policy.person_after.0) {
                    return order(format!(
                        "a person decides only what evidence cannot; still missing: {}",
                        others.join("; ")
                    ));
                }
                let reasons = std::iter::once(reason.to_owned()).chain(powers).collect();
                Ok(self.onward(DecisionKind::Resolve, day, by, reasons))
            }
            Some(last) if last.verdict == RolloutVerdict::Advance => {
                order("the evidence lets it: use `plimsoll rollout advance`")
            }
            Some(last) => order(format!("evidence will decide; missing: {}", last.missing.join("; "))),
            None => order("this stage was not judged last: `plimsoll rollout decide` judges it"),
        }
    }

    /// A person halts.
    pub fn halt(&self, day: Day, by: &str, reason: &str) -> Result<Decision, RolloutError> {
        if !matches!(self.state, RolloutState::Running | RolloutState::Complete | RolloutState::Closed) {
            self.running()?;
        }
        Ok(Decision {
            verdict: RolloutVerdict::Halt,
            state: RolloutState::Halted,
            reasons: vec![reason.into()],
            ..self.decision(DecisionKind::Halt, day, Some(by))
        })
    }

    fn halted(&self) -> Result<(), RolloutError> {
        if self.state == RolloutState::Halted { Ok(()) } else { order("the release is not halted") }
    }

    /// A halted release goes on, its stage begins anew.
    pub fn resume(&self, day: Day, by: &str, reason: &str) -> Result<Decision, RolloutError> {
        self.halted()?;
        Ok(Decision {
            state: RolloutState::Running,
            next: StageAt { since: day.to_string(), ..self.stage.clone() },
            reasons: vec![reason.into()],
            ..self.decision(DecisionKind::Resume, day, Some(by))
        })
    }

    /// A halted release is given up.
    pub fn roll_back(&self, day: Day, by: &str, reason: &str) -> Result<Decision, RolloutError> {
        self.halted()?;
        Ok(Decision {
            verdict: RolloutVerdict::Halt,
            state: RolloutState::RolledBack,
            reasons: vec![reason.into()],
            ..self.decision(DecisionKind::RollBack, day, Some(by))
        })
    }
}
