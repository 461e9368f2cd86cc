//! How often the rules stop what is harmless and let pass what is not: whole rollouts of fleets that do not exist.
//!
//! `PLIMSOLL_RUNS` (300 for a judgement of the rules) and `PLIMSOLL_SEED` come from outside; without them a short form is played.
//! With 4 metrics, at the standard deviations between devices that the policy below states, and 10 % held back.

use std::{env, time::Instant};

use plimsoll_profile::{Policy, RolloutMetric};
use plimsoll_rollout::{
    judge::Judge,
    simulate::{End, Played, World, play},
};
use plimsoll_stats::special::binomial_cdf;

/// Runs that fail a one-sided binomial test at this level fail the test.
const LEVEL: f64 = 0.001;

/// Margins that a fleet can show: of over-budget, crashed-devices, agreement, missing-devices.
fn margins(fleet: u64) -> [&'static str; 4] {
    match fleet {
        500 => ["1pp", "20pp", "5pp", "6pp"],
        5_000 => ["1pp", "10pp", "1pp", "3pp"],
        _ => ["1pp", "1.5pp", "1pp", "2pp"],
    }
}

fn policy(fleet: u64, [over, crash, agreement, missing]: [&str; 4]) -> Policy {
    let enrolled = fleet.div_ceil(20).max(200);
    let text = format!(
        r#"
schema = 1
name = "simulated"
holdback = "10%"
[plan]
fleet = {fleet}
enrolled = {enrolled}
[beta]
soak = "30d"
[[stages]]
share = "1%"
soak = "3d"
[[stages]]
share = "5%"
soak = "5d"
[[stages]]
share = "20%"
soak = "7d"
[[stages]]
share = "50%"
soak = "7d"
[[stages]]
share = "100%"
soak = "7d"
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
    Policy::from_text("simulated.toml", &text).unwrap()
}

fn from_outside(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |v| v.parse().unwrap())
}

#[expect(clippy::print_stdout, reason = "the long form is run for its figures")]
/// Plays a cell: how many completed, were halted at all, and were halted before the stage of 20 %.
fn cell(policy: &Policy, harm: &[(RolloutMetric, f64)], n: u64) -> [u64; 3] {
    let (judge, seed) = (Judge::new(policy), from_outside("PLIMSOLL_SEED", 1));
    let start = Instant::now();
    let plays = (0..n).map(|i| play(&judge, policy, &World::default(), harm, seed.wrapping_mul(1_000_003) + i));
    let all: Vec<Played> = plays.collect();
    let count = |wanted: &dyn Fn(&Played) -> bool| all.iter().filter(|p| wanted(p)).count() as u64;
    let [complete, halted] = [End::Complete, End::Halted].map(|end| count(&|p| p.end == end));
    let early = count(&|p| p.end == End::Halted && p.stage < 3);
    let harm: String = harm.iter().map(|(m, h)| format!("{} by {:.1} pp", m.name(), 100.0 * h)).collect();
    println!(
        "{:>6} devices, harm {:<28} {n} runs: complete {complete}, halted {halted} ({early} before 20 %), a person asked {}, held {}; {:.1} s",
        policy.plan.unwrap().fleet,
        if harm.is_empty() { "none" } else { &harm },
        count(&|p| p.end == End::Person),
        count(&|p| p.end == End::Held),
        start.elapsed().as_secs_f64()
    );
    [complete, halted, early]
}

/// Whether so many of `n` are too many for a rate of at most `most`.
#[track_caller]
fn at_most(count: u64, n: u64, most: f64) {
    let chance = if count == 0 { 1.0 } else { 1.0 - binomial_cdf(count - 1, n, most) };
    assert!(chance >= LEVEL, "{count} of {n} at a rate of {most}: chance {chance:e}");
}

fn check(fleet: u64, default_runs: u64) {
    let n = from_outside("PLIMSOLL_RUNS", default_runs);
    let policy = policy(fleet, margins(fleet));
    let [complete, halted, _] = cell(&policy, &[], n);
    at_most(halted, n, 0.01);
    at_most(n - complete, n, 0.02);
    for tolerance in &policy.tolerances {
        let [complete, ..] = cell(&policy, &[(tolerance.metric, tolerance.margin)], n);
        at_most(complete, n, 0.02);
        let [complete, _, early] = cell(&policy, &[(tolerance.metric, 2.0 * tolerance.margin)], n);
        assert_eq!(complete, 0);
        if fleet >= 5_000 {
            at_most(n - early, n, 0.01);
        }
    }
}

#[test]
fn five_hundred_devices_are_stopped_or_let_pass_as_promised() {
    check(500, 40);
}

#[test]
fn five_thousand_devices_are_stopped_or_let_pass_as_promised() {
    check(5_000, 40);
}

#[test]
fn fifty_thousand_devices_are_stopped_or_let_pass_as_promised() {
    check(50_000, 20);
}

#[test]
fn what_no_stage_can_prove_is_left_to_a_person() {
    let n = from_outside("PLIMSOLL_RUNS", 20);
    let policy = policy(500, ["1pp", "0.5pp", "1pp", "2pp"]);
    let [complete, halted, _] = cell(&policy, &[], n);
    assert_eq!(complete, 0);
    at_most(halted, n, 0.01);
}
