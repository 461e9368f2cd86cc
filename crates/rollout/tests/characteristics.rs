//! How often the rules stop what is harmless and let pass what is not: whole rollouts of fleets that do not exist.
//!
//! `PLIMSOLL_RUNS` (300 for a judgement of the rules) and `PLIMSOLL_SEED` come from outside; without them a short form is played.
//! With 4 metrics, at the standard deviations between devices that the policy below states, and 10 % held back. One device of 10,000
//! reports a crash loop or a bad signature in a stage whatever it runs.

#[path = "support/policy.rs"]
mod policy;

use std::{env, time::Instant};

use plimsoll_profile::{Policy, RolloutMetric};
use plimsoll_rollout::{
    judge::Judge,
    simulate::{End, Harm, Played, World, play},
};
use plimsoll_stats::special::binomial_cdf;
use policy::Steps;

/// Runs that fail a one-sided binomial test at this level fail the test.
const LEVEL: f64 = 0.001;

/// Margins of over-budget, crashed-devices, agreement, missing-devices.
type Margins = [&'static str; 4];

const USUAL: Steps<'_> = &[("1%", 3), ("5%", 5), ("20%", 7), ("50%", 7), ("100%", 7)];
/// Harm that concerns few devices takes many to show; these are more of them before 20 %.
const FINER: Steps<'_> = &[("1%", 3), ("5%", 5), ("10%", 5), ("15%", 5), ("20%", 7), ("50%", 7), ("100%", 7)];

fn policy(fleet: u64, steps: Steps<'_>, [over, crash, agreement, missing]: Margins) -> Policy {
    let enrolled = fleet.div_ceil(20).max(200);
    let more = format!(
        r#"
[decision]
# Of harmless releases at least 98 % are to arrive: proof is asked where it is as likely as that.
power = "99%"
[incidents]
base = "0.01%"
[metrics.over-budget]
margin = "{over}"
max = "6%"
spread = "1pp"
[metrics.crashed-devices]
margin = "{crash}"
base = "0.5%"
[metrics.agreement]
margin = "{agreement}"
expected = "98%"
min = "90%"
spread = "1.5pp"
[metrics.missing-devices]
margin = "{missing}"
max = "15%"
spread = "8pp"
"#
    );
    let text = policy::policy([fleet, enrolled], "soak = \"30d\"", steps, &more);
    Policy::from_text("simulated.toml", &text).unwrap()
}

fn from_outside(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |v| v.parse().unwrap())
}

/// What came of the rollouts of a cell.
#[derive(Debug, Clone, Copy)]
struct Ends {
    complete: u64,
    halted: u64,
    /// Halted before the stage of 20 %.
    early: u64,
    /// Halted on the first two days of the beta.
    at_once: u64,
}

#[expect(clippy::print_stdout, reason = "the long form is run for its figures")]
fn cell(policy: &Policy, harm: &Harm, n: u64) -> Ends {
    let (judge, seed) = (Judge::new(policy), from_outside("PLIMSOLL_SEED", 1));
    let start = Instant::now();
    let plays = (0..n).map(|i| play(&judge, policy, &World::default(), harm, seed.wrapping_mul(1_000_003) + i));
    let all: Vec<Played> = plays.collect();
    let count = |wanted: &dyn Fn(&Played) -> bool| all.iter().filter(|p| wanted(p)).count() as u64;
    let twenty = policy.stages.iter().position(|s| s.share > 0.19).unwrap() + 1;
    let halted = |p: &Played| p.end == End::Halted;
    let ends = Ends {
        complete: count(&|p| p.end == End::Complete),
        halted: count(&halted),
        early: count(&|p| halted(p) && p.stage < twenty),
        at_once: count(&|p| halted(p) && p.day <= 2),
    };
    let mut does: Vec<String> = harm.metrics.iter().map(|(m, h)| format!("{} {:.2} pp", m.name(), 100.0 * h)).collect();
    does.extend((harm.crash_loops > 0.0).then(|| format!("crash loops {} %", 100.0 * harm.crash_loops)));
    println!(
        "{:>6} devices, {} steps, harm [{}] {n} runs: complete {}, halted {} ({} before 20 %, {} at once), a person asked {}, held {}; {:.1} s",
        policy.plan.unwrap().fleet,
        policy.stages.len(),
        does.join(", "),
        ends.complete,
        ends.halted,
        ends.early,
        ends.at_once,
        count(&|p| p.end == End::Person),
        count(&|p| p.end == End::Held),
        start.elapsed().as_secs_f64()
    );
    ends
}

/// Whether so many of `n` are too many for a rate of at most `most`.
#[track_caller]
fn at_most(count: u64, n: u64, most: f64) {
    let chance = if count == 0 { 1.0 } else { 1.0 - binomial_cdf(count - 1, n, most) };
    assert!(chance >= LEVEL, "{count} of {n} at a rate of {most}: chance {chance:e}");
}

fn harm(metric: RolloutMetric, by: f64) -> Harm {
    Harm { metrics: vec![(metric, by)], ..Harm::default() }
}

/// A harmless release arrives.
fn passes(policy: &Policy, n: u64) {
    let ends = cell(policy, &Harm::default(), n);
    at_most(ends.halted, n, 0.01);
    at_most(n - ends.complete, n, 0.02);
}

/// A release that is worse by the margin does not, and one that is worse by twice of it is halted before 20 % where the fleet is large.
fn stops(policy: &Policy, metric: RolloutMetric, n: u64) {
    let tolerance = policy.tolerances.iter().find(|t| t.metric == metric).unwrap();
    at_most(cell(policy, &harm(metric, tolerance.margin), n).complete, n, 0.02);
    let ends = cell(policy, &harm(metric, 2.0 * tolerance.margin), n);
    assert_eq!(ends.complete, 0);
    if policy.plan.unwrap().fleet >= 5_000 {
        at_most(n - ends.early, n, 0.01);
    }
}

fn check(fleet: u64, margins: Margins, looping: f64, default_runs: u64) {
    let n = from_outside("PLIMSOLL_RUNS", default_runs);
    let policy = policy(fleet, USUAL, margins);
    passes(&policy, n);
    for tolerance in &policy.tolerances {
        stops(&policy, tolerance.metric, n);
    }
    let ends = cell(&policy, &Harm { crash_loops: looping, ..Harm::default() }, n);
    at_most(n - ends.at_once, n, 0.01);
}

#[test]
fn five_hundred_devices_are_stopped_or_let_pass_as_promised() {
    check(500, ["1pp", "5pp", "3pp", "7pp"], 0.1, 40);
}

#[test]
fn five_thousand_devices_are_stopped_or_let_pass_as_promised() {
    check(5_000, ["1pp", "8pp", "1pp", "3.5pp"], 0.05, 40);
}

#[test]
fn fifty_thousand_devices_are_stopped_or_let_pass_as_promised() {
    check(50_000, ["1pp", "1.3pp", "1pp", "2pp"], 0.005, 20);
}

#[test]
fn more_devices_before_a_fifth_of_the_fleet_show_less_harm() {
    let n = from_outside("PLIMSOLL_RUNS", 20);
    for (fleet, crash) in [(5_000, "5.5pp"), (50_000, "0.9pp")] {
        let policy = policy(fleet, FINER, ["1pp", crash, "1pp", "3pp"]);
        passes(&policy, n);
        stops(&policy, RolloutMetric::CrashedDevices, n);
    }
}

#[test]
fn a_margin_below_what_is_halted_in_time_is_kept_all_the_same() {
    let n = from_outside("PLIMSOLL_RUNS", 20);
    for (fleet, crash) in [(5_000, "1.5pp"), (50_000, "0.5pp")] {
        let policy = policy(fleet, USUAL, ["1pp", crash, "1pp", "3pp"]);
        passes(&policy, n);
        for by in [1.0, 2.0] {
            let margin = policy.tolerances.iter().find(|t| t.metric == RolloutMetric::CrashedDevices).unwrap().margin;
            let ends = cell(&policy, &harm(RolloutMetric::CrashedDevices, by * margin), n);
            at_most(ends.complete, n, 0.02);
        }
    }
}

#[test]
fn what_no_stage_can_prove_is_left_to_a_person() {
    let n = from_outside("PLIMSOLL_RUNS", 20);
    let policy = policy(500, USUAL, ["1pp", "0.5pp", "1pp", "2pp"]);
    let ends = cell(&policy, &Harm::default(), n);
    assert_eq!(ends.complete, 0);
    at_most(ends.halted, n, 0.01);
}
