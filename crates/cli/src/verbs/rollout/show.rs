//! A rollout on one screen.

use std::{cmp::Reverse, collections::BTreeMap, path::Path, time::Duration};

use plimsoll_record::{
    Decision, DecisionKind, MetricEvidence, MetricStanding, Replay, RolloutState, RolloutStatus, RolloutVerdict,
    Simulation, StageAt,
};
use plimsoll_rollout::{
    observed::observed,
    render,
    simulate::{End, Played},
};

use super::{args::At, digest, place::Place};
use crate::{exit::Exit, failure::Failure, ui, world::World};

pub(super) fn status(world: &World, at: &At, html: Option<&Path>, watch: Option<u64>) -> Result<Exit, Failure> {
    loop {
        let place = Place::open(at)?;
        let (policy, sha256) = place.policy()?;
        let course = place.course(&policy, &sha256)?;
        let Some(last) = place.chain.last() else { return Ok(Exit::Pass) };
        let mut judgements =
            place.chain.links().iter().map(|l| &l.decision).filter(|d| d.kind == DecisionKind::Judgement);
        let named: Vec<String> = place.pointers()?.into_iter().filter_map(|p| p.decision_sha256).collect();
        let anchored = named.iter().any(|d| place.chain.links().iter().any(|l| l.sha256 == *d));
        let store = place.store()?;
        let query = course.query(place.last_whole_day(), store.last_batch()?)?;
        let standing = RolloutStatus {
            schema: RolloutStatus::SCHEMA.into(),
            state: course.state(),
            stage: course.stage().clone(),
            head: last.sha256.clone(),
            anchored,
            pending: place.is_pending(),
            decisions: place.chain.links().len() as u64,
            last: last.decision.clone(),
            last_judgement: judgements.next_back().cloned(),
            observed: observed(&store, &query, policy.min_cell)?,
            quarantined: store.quarantined()?,
        };
        if watch.is_some() {
            ui::clear();
        }
        world.print(&standing, || text(&standing))?;
        if let Some(path) = html {
            let links: Vec<&Decision> = place.chain.links().iter().map(|l| &l.decision).collect();
            crate::world::write(path, render::html(&links, &policy, &standing.observed).as_bytes())?;
        }
        match watch {
            Some(seconds) => std::thread::sleep(Duration::from_secs(seconds.max(1))),
            None => return Ok(Exit::Pass),
        }
    }
}

fn text(s: &RolloutStatus) -> String {
    let d = &s.last;
    let mut lines = vec![
        format!(
            "{} {} · {} · {} since {}",
            d.rollout.name,
            d.rollout.version,
            state(s.state),
            stage(&s.stage),
            s.stage.since
        ),
        format!(
            "{} decisions, the last {}{}",
            s.decisions,
            s.head,
            if s.anchored { "" } else { " · NO CHANNEL NAMES ONE OF THEM" }
        ),
    ];
    if s.pending {
        lines.push("the last decision was interrupted: the next verb that changes anything moves the channels".into());
    }
    if !s.quarantined.is_empty() {
        lines.push(quarantine(&s.quarantined));
    }
    lines.push(String::new());
    lines.push(decision(s.last_judgement.as_ref().unwrap_or(d)));
    if s.last.kind != DecisionKind::Judgement && s.last_judgement.is_some() {
        lines.push(decision(d));
    }
    if !s.observed.is_empty() {
        let row = |o: &plimsoll_record::Observed| {
            vec![o.name.clone(), render::shown(o, o.treatment), render::shown(o, o.holdback)]
        };
        lines.push(ui::table(&["besides", "release", "holdback"], s.observed.iter().map(row).collect()));
    }
    lines.join("\n")
}

/// What was not taken, the most frequent reasons first: a line of a screen.
fn quarantine(by_reason: &BTreeMap<String, u64>) -> String {
    const SHOWN: usize = 3;
    let mut all: Vec<(&String, u64)> = by_reason.iter().map(|(reason, n)| (reason, *n)).collect();
    all.sort_by_key(|(_, n)| Reverse(*n));
    let (shown, others) = all.split_at(all.len().min(SHOWN));
    let mut told: Vec<String> = shown.iter().map(|(reason, n)| format!("{} × {reason}", ui::count(*n))).collect();
    if !others.is_empty() {
        told.push(format!("{} for other reasons", ui::count(others.iter().map(|(_, n)| n).sum())));
    }
    format!("quarantine: {}", told.join("; "))
}

fn state(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Running => "running",
        RolloutState::Halted => "HALTED",
        RolloutState::RolledBack => "rolled back",
        RolloutState::Complete => "complete, watched",
        RolloutState::Closed => "closed: the holdback has it, too",
    }
}

fn stage(stage: &StageAt) -> String {
    if stage.number == 0 { "beta".into() } else { format!("{} %", f64::from(stage.percent_bp) / 100.0) }
}

/// A decision with what it rests on.
pub(super) fn decision(d: &Decision) -> String {
    let what = match (d.kind, d.verdict) {
        (DecisionKind::Judgement, RolloutVerdict::Advance) => "judged: ADVANCE",
        (DecisionKind::Judgement, RolloutVerdict::Hold) => "judged: HOLD",
        (DecisionKind::Judgement, RolloutVerdict::Halt) => "judged: HALT",
        (DecisionKind::Start, _) => "started",
        (DecisionKind::Advance, _) => "advanced",
        (DecisionKind::Resolve, _) => "advanced by a person",
        (DecisionKind::Halt, _) => "halted by a person",
        (DecisionKind::Resume, _) => "resumed",
        (DecisionKind::RollBack, _) => "rolled back",
        (DecisionKind::Close, _) => "closed",
    };
    let by = d.by.as_ref().map(|b| format!(" by {b}")).unwrap_or_default();
    let onward = if d.next == d.stage { String::new() } else { format!(" → {}", stage(&d.next)) };
    let mut lines = vec![format!("{} · {} · {what}{by}{onward}   ({})", d.day, stage(&d.stage), digest(d))];
    lines.extend(d.reasons.iter().map(|r| format!("  because  {r}")));
    lines.extend(d.missing.iter().map(|m| format!("  missing  {m}")));
    if d.person {
        lines.push("  a person may decide: plimsoll rollout resolve --reason …".into());
    }
    if let Some(e) = &d.evidence {
        lines.push(format!(
            "  {} … {}: {} devices with the release, {} held back, {} that ceased to report",
            e.first_day,
            e.last_day,
            ui::count(e.treatment),
            ui::count(e.holdback),
            ui::count(e.silent)
        ));
    }
    if !d.metrics.is_empty() {
        let header = ["metric", "release", "holdback", "harm", "interval", "margin", "power", "standing"];
        lines.push(ui::table(&header, d.metrics.iter().map(row).collect()));
    }
    lines.join("\n") + "\n"
}

fn row(m: &MetricEvidence) -> Vec<String> {
    let amount = |v: f64| if m.unit == "points" { format!("{v:.2}") } else { format!("{:.2} %", 100.0 * v) };
    let or_dash = |v: Option<f64>| v.map_or("–".into(), amount);
    let interval = m.lower.zip(m.upper).map_or("–".into(), |(l, u)| format!("{} … {}", amount(l), amount(u)));
    let standing = match m.standing {
        MetricStanding::NoData => "no data",
        MetricStanding::Unsettled if m.asked => "unsettled, asked",
        MetricStanding::Unsettled => "unsettled",
        MetricStanding::NonInferior => "no worse",
        MetricStanding::Harmful => "HARMFUL",
        MetricStanding::OverLimit => "OVER THE LIMIT",
    };
    vec![
        m.metric.clone(),
        or_dash(m.treatment.map(|a| a.value)),
        or_dash(m.holdback.map(|a| a.value)),
        or_dash(m.harm),
        interval,
        amount(m.margin),
        m.power.map_or("–".into(), |p| format!("{:.0} %", 100.0 * p)),
        standing.into(),
    ]
}

/// A replay; by another policy no decision has the same bytes, since it names its policy.
pub(super) fn replay(found: &Replay, by_another: bool) -> String {
    let verdict = |v: RolloutVerdict| match v {
        RolloutVerdict::Advance => "advance",
        RolloutVerdict::Hold => "hold",
        RolloutVerdict::Halt => "halt",
    };
    let columns: &[&str] =
        if by_another { &["day", "share", "then", "now"] } else { &["day", "share", "then", "now", "same bytes"] };
    let rows = found.judgements.iter().map(|j| {
        let same = match (j.same_bytes, j.whole) {
            (true, _) => "yes",
            (false, true) => "no",
            (false, false) => "no: telemetry is gone",
        };
        let share = format!("{} %", f64::from(j.percent_bp) / 100.0);
        let mut row = vec![j.day.clone(), share, verdict(j.then).into(), verdict(j.now).into(), same.into()];
        row.truncate(columns.len());
        row
    });
    let table = ui::table(columns, rows.collect());
    let end = match &found.halts {
        Some(day) => format!("would have halted on {day}; {} devices would not have got the release", found.spared),
        None => "would not have halted".into(),
    };
    let mut text = format!("{table}\n{end}\n");
    if found.elsewhere > 0 {
        text +=
            &format!("{} judgements rest on outcomes that are not here: name them by --outcomes\n", found.elsewhere);
    }
    if found.judgements.iter().any(|j| !j.whole) {
        text +=
            "telemetry is gone that judgements rested on: devices asked to be forgotten, or its retention is over\n";
    }
    text
}

/// What rollouts that were played came to.
pub(super) fn simulation(all: &[Played]) -> Simulation {
    let count = |end: End| all.iter().filter(|p| p.end == end).count() as u64;
    let stages = all.iter().map(|p| p.stage + 1).max().unwrap_or(0);
    let ended = |stage: usize| all.iter().filter(|p| p.end != End::Complete && p.stage == stage).count() as u64;
    let mut days: Vec<u64> = all.iter().map(|p| p.day).collect();
    days.sort_unstable();
    let halted = all.iter().filter(|p| p.end == End::Halted);
    Simulation {
        schema: Simulation::SCHEMA.into(),
        runs: all.len() as u64,
        complete: count(End::Complete),
        halted: count(End::Halted),
        person: count(End::Person),
        held: count(End::Held),
        ended_at: (0..stages).map(ended).collect(),
        day: days.get(days.len() / 2).copied().unwrap_or(0),
        exposed_when_halted: halted.map(|p| p.exposed).max().unwrap_or(0),
    }
}

pub(super) fn simulated(s: &Simulation) -> String {
    format!(
        "{} rollouts: {} complete, {} halted, {} left to a person, {} held; median day of the end {}\n\
         ended before everybody had it, by stage from the beta on: {:?}; most devices that had it when it was halted: {}\n",
        s.runs, s.complete, s.halted, s.person, s.held, s.day, s.ended_at, s.exposed_when_halted
    )
}
