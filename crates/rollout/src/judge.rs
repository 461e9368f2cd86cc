//! From evidence to a verdict, by the rules of a policy.
//!
//! HALT at once where more devices report a crash loop or a bad signature than do so by themselves, and as many as the policy says; where
//! harm above half a margin is shown for any metric, or an absolute limit is passed for sure. ADVANCE where the soak is over,
//! enough devices report, limits are kept, and every metric that the planned fleet can show anything of at this stage is shown to be
//! no worse than its margin. Otherwise HOLD, and what is missing: no data are no evidence. Where no stage of the plan could prove a
//! metric, proof is not asked for: a person decides, with the power shown.

use plimsoll_profile::{Policy, RolloutMetric, Tolerance};
use plimsoll_record::{ArmFigure, MetricEvidence, MetricStanding, RolloutVerdict};

use crate::{
    evidence::Evidence,
    incidents::{self, AT_ONCE},
    ladder::{Ladder, Rung, days},
    metrics::{Rates, Seen, own, power},
};

/// How what is missing ends that no evidence will bring.
const BY_A_PERSON: &str = "a person decides";

/// Whether what a judgement misses is a person's to decide; evidence or time bring the rest.
pub fn is_for_a_person(missing: &str) -> bool {
    missing.ends_with(BY_A_PERSON)
}

/// When evidence is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// Days since the rollout began, this one included.
    pub of_rollout: u64,
    /// Days since the stage began, this one included.
    pub of_stage: u64,
}

/// How much is worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything that a decision shows.
    Bounds,
    /// The verdict alone, many times faster.
    Verdict,
}

/// What the evidence of a day comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What follows.
    pub verdict: RolloutVerdict,
    /// Why.
    pub reasons: Vec<String>,
    /// What is missing for the next stage.
    pub missing: Vec<String>,
    /// A person decides whether it goes on.
    pub person: bool,
    /// The metrics.
    pub metrics: Vec<MetricEvidence>,
}

/// A policy's rules, with what its plan says of power worked out.
#[derive(Debug, Clone)]
pub struct Judge<'p> {
    policy: &'p Policy,
    rates: Rates,
    /// Power of each step for each metric whose spread the policy states.
    powers: Vec<Vec<Option<f64>>>,
}

impl<'p> Judge<'p> {
    /// Of a policy.
    pub fn new(policy: &'p Policy) -> Self {
        let (rates, ladder) = (Rates::of(policy), Ladder::new(policy));
        let rungs = (0..ladder.len()).filter_map(|n| ladder.rung(n));
        let powers = rungs.map(|rung| {
            let of = |t: &Tolerance| t.spread.and_then(|s| planned_power(&ladder, &rung, t, s, rates));
            policy.tolerances.iter().map(of).collect()
        });
        Self { policy, rates, powers: powers.collect() }
    }

    /// Judges the evidence of a stage.
    pub fn judge(&self, rung: &Rung, when: When, evidence: &Evidence, detail: Detail) -> Judgement {
        judge(self, rung, when, evidence, detail)
    }

    /// Power of a step for the metric at a place of the policy.
    fn power(&self, rung: &Rung, place: usize, seen: Option<&Seen<'_>>) -> Option<f64> {
        let tolerance = self.policy.tolerances.get(place)?;
        if tolerance.spread.is_some() {
            return *self.powers.get(rung.number)?.get(place)?;
        }
        planned_power(&Ladder::new(self.policy), rung, tolerance, seen?.spread()?, self.rates)
    }
}

fn planned_power(ladder: &Ladder<'_>, rung: &Rung, tolerance: &Tolerance, spread: f64, rates: Rates) -> Option<f64> {
    Some(power(tolerance, spread, ladder.planned(rung, tolerance.metric)?, rates.advance))
}

fn judge(judge: &Judge<'_>, rung: &Rung, when: When, evidence: &Evidence, detail: Detail) -> Judgement {
    let (policy, rates) = (judge.policy, judge.rates);
    let mut reasons = Vec::new();
    let mut missing = Vec::new();
    let mut person = false;
    let mut metrics = Vec::new();
    let mut halt = false;
    let may_halt = when.of_rollout >= days(policy.halt_after.0);
    for (place, tolerance) in policy.tolerances.iter().enumerate() {
        let seen = Seen::of(evidence, tolerance);
        let demand = Demand::of(judge, rung, place, seen.as_ref());
        let metric = weigh(policy, tolerance, seen.as_ref(), &demand, rates, detail);
        let name = tolerance.metric.name();
        let gross = tolerance.metric == RolloutMetric::CrashedDevices
            && seen.as_ref().is_some_and(|s| s.above(tolerance.margin, tolerance.margin, AT_ONCE * rates.halt));
        match metric.standing {
            MetricStanding::Harmful if gross || may_halt => {
                halt = true;
                reasons.push(format!(
                    "{name}: harm above half the margin of {} is shown",
                    amount(tolerance, tolerance.margin)
                ));
            }
            MetricStanding::OverLimit if may_halt => {
                halt = true;
                let limit = amount(tolerance, tolerance.limit.unwrap_or_default());
                reasons.push(format!("{name}: the absolute limit of {limit} is passed"));
            }
            _ => {}
        }
        if let Some(limit) = tolerance.limit {
            let own = own(evidence, tolerance.metric);
            let kept = own.is_some_and(|v| if tolerance.metric.higher_is_better() { v >= limit } else { v <= limit });
            if !kept {
                let why = if own.is_some() { "is not kept" } else { "cannot be looked at: no device reports it" };
                missing.push(format!("{name}: the absolute limit of {} {why}", amount(tolerance, limit)));
            }
        }
        match &demand {
            Demand::Proof(_) if metric.standing != MetricStanding::NonInferior => {
                missing.push(still_needed(tolerance, &metric, seen.as_ref()));
            }
            Demand::Person(power) => {
                person = true;
                let power = power.map_or("unknown".into(), |p| format!("{:.0} %", 100.0 * p));
                missing.push(format!(
                    "{name}: no stage of the plan can prove a margin of {} (power here {power}); {BY_A_PERSON}",
                    amount(tolerance, tolerance.margin)
                ));
            }
            _ => {}
        }
        metrics.push(metric);
    }
    let incidents = incidents::reasons(policy, evidence);
    halt |= !incidents.is_empty();
    reasons.extend(incidents);
    missing.extend(patience(policy, rung, when, evidence));
    let verdict = if halt {
        RolloutVerdict::Halt
    } else if missing.is_empty() {
        reasons.push(format!(
            "the soak of {} days is over, and every metric that this stage can prove is no worse than its margin",
            rung.soak
        ));
        RolloutVerdict::Advance
    } else {
        if when.of_stage > days(policy.person_after.0) {
            person = true;
            reasons
                .push(format!("it has been held for more than {} days; a person decides", days(policy.person_after.0)));
        }
        RolloutVerdict::Hold
    };
    Judgement { verdict, reasons, missing, person: person && verdict == RolloutVerdict::Hold, metrics }
}

/// What time and further reports will bring.
fn patience(policy: &Policy, rung: &Rung, when: When, evidence: &Evidence) -> Vec<String> {
    let mut missing = Vec::new();
    let plural = |n: u64, one: &str, several: &str| format!("{n} more {}", if n == 1 { one } else { several });
    if when.of_stage < rung.soak {
        missing.push(plural(rung.soak - when.of_stage, "day", "days"));
    }
    let reporting = evidence.treatment.devices;
    if reporting < rung.min_devices {
        let devices = plural(rung.min_devices - reporting, "device", "devices");
        missing.push(format!("{devices} must report"));
    }
    let known = reporting + evidence.holdback.devices + evidence.silent;
    let share = if known == 0 { 0.0 } else { (known - evidence.silent) as f64 / known as f64 };
    if share < policy.min_reporting {
        missing.push(format!(
            "{:.1} % of the devices report; {:.0} % must, before anything is decided",
            100.0 * share,
            100.0 * policy.min_reporting
        ));
    }
    missing
}

/// What is asked of a metric at a stage.
enum Demand {
    /// To be shown to be no worse, as this stage can show it with this power.
    Proof(f64),
    /// Nothing: a later stage can show it, or it is the beta.
    Later(Option<f64>),
    /// No stage can show it.
    Person(Option<f64>),
}

impl Demand {
    fn of(judge: &Judge<'_>, rung: &Rung, place: usize, seen: Option<&Seen<'_>>) -> Self {
        let (policy, ladder) = (judge.policy, Ladder::new(judge.policy));
        let at = |rung: &Rung| judge.power(rung, place, seen);
        let here = at(rung);
        if rung.number == 0 {
            return Self::Later(here);
        }
        if let Some(power) = here.filter(|p| *p >= policy.power) {
            return Self::Proof(power);
        }
        let mut later = (rung.number + 1..ladder.len()).filter_map(|n| ladder.rung(n)).filter_map(|r| at(&r));
        if later.any(|p| p >= policy.power) { Self::Later(here) } else { Self::Person(here) }
    }

    fn power(&self) -> Option<f64> {
        match self {
            Self::Proof(power) => Some(*power),
            Self::Later(power) | Self::Person(power) => *power,
        }
    }
}

fn weigh(
    policy: &Policy,
    tolerance: &Tolerance,
    seen: Option<&Seen<'_>>,
    demand: &Demand,
    rates: Rates,
    detail: Detail,
) -> MetricEvidence {
    let tau = tolerance.margin;
    let standing = match seen {
        None => MetricStanding::NoData,
        Some(seen) if seen.above(tau / 2.0, tau, rates.halt) => MetricStanding::Harmful,
        Some(seen) if tolerance.limit.is_some_and(|l| seen.over_limit(l, tau, rates.halt)) => MetricStanding::OverLimit,
        Some(seen) if seen.below(tau, tau, rates.advance) => MetricStanding::NonInferior,
        Some(_) => MetricStanding::Unsettled,
    };
    let show = |figure: ArmFigure| {
        (figure.units >= policy.min_cell).then_some(ArmFigure { value: rounded(figure.value), ..figure })
    };
    let treatment = seen.and_then(|s| show(s.treatment()));
    let holdback = seen.and_then(|s| s.holdback()).and_then(show);
    // A difference with a suppressed cell would give the cell away.
    let shown = seen.filter(|s| treatment.is_some() && (s.holdback().is_none() || holdback.is_some()));
    let bounds = shown.filter(|_| detail == Detail::Bounds).map(|s| s.bounds(tau, rates));
    MetricEvidence {
        metric: tolerance.metric.name().into(),
        unit: if tolerance.metric == RolloutMetric::Rating { "points" } else { "share" }.into(),
        treatment,
        holdback,
        harm: shown.map(|s| rounded(s.harm())),
        lower: bounds.map(|b| rounded(b[0])),
        upper: bounds.map(|b| rounded(b[1])),
        margin: tolerance.margin,
        limit: tolerance.limit,
        power: demand.power().map(rounded),
        asked: matches!(demand, Demand::Proof(_)),
        standing,
        method: seen.map_or("none", Seen::method).into(),
    }
}

/// To nine decimals: what is written is read back as it was by every JSON reader, and so has one digest.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// An amount of a metric as people read it.
pub(crate) fn amount(tolerance: &Tolerance, value: f64) -> String {
    if tolerance.metric == RolloutMetric::Rating {
        format!("{value:.2} points")
    } else {
        format!("{:.2} %", 100.0 * value)
    }
}

/// What proof still takes, in words.
fn still_needed(tolerance: &Tolerance, metric: &MetricEvidence, seen: Option<&Seen<'_>>) -> String {
    let name = tolerance.metric.name();
    let margin = amount(tolerance, tolerance.margin);
    let Some(seen) = seen else {
        return format!("{name}: too few devices report it");
    };
    let (harm, units) = (seen.harm(), seen.treatment().units);
    let room = tolerance.margin - harm;
    match metric.upper {
        Some(upper) if room > 0.0 && upper > harm => {
            // Bounds narrow with the root of the number of units.
            let more = (((upper - harm) / room).powi(2) - 1.0).max(0.0) * units as f64;
            format!(
                "{name}: a harm of {margin} is not excluded yet; about {} more devices must report it",
                more.ceil() as u64
            )
        }
        _ => format!("{name}: a harm of {margin} is not excluded"),
    }
}
