//! How often 95 % intervals hold the truth, and how often a non-inferiority test errs: tables in Markdown.
//!
//! `cargo run --release --locked -p plimsoll-stats --example coverage -- metrics|others|latency|endpoints [DATA SETS]`
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

mod endpoints;
mod latency;
mod worlds;

use std::ops::RangeInclusive;

use endpoints::{Count, Nights};
use latency::{Noise, verdicts};
use plimsoll_stats::{Decision, FEW_SAMPLES, Random};
use worlds::{Design, World};

const LEVEL: f64 = 0.95;
const SEED: u64 = 1_000;
const OTHER_SEED: u64 = 9_000_000;
/// Samples of which the metrics are taken for the population's.
const POPULATION: usize = 1_000_000;

fn main() {
    let sets: usize = std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(1000);
    match std::env::args().nth(1).as_deref() {
        Some("metrics") => of_metrics(sets),
        Some("others") => of_others(sets),
        Some("latency") => of_latency(sets),
        Some("endpoints") => of_endpoints(sets),
        _ => println!("usage: coverage metrics|others|latency|endpoints [DATA SETS]"),
    }
}

/// Other populations and designs than those on which methods were tried, from other seeds.
fn of_others(sets: usize) {
    let designs =
        [Design::Samples(150), Design::Samples(700), Design::Groups(8), Design::Groups(18), Design::UnequalGroups(16)];
    let rare = World::Binary { model: 1.5, baseline: 1.5, prevalence: 0.15 };
    let rarer = World::Binary { model: 1.42, baseline: 1.5, prevalence: 0.08 };
    let few = [Design::Samples(400), Design::Groups(12), Design::Groups(40)];
    let hard = World::Binary { model: 0.6, baseline: 0.75, prevalence: 0.5 };
    let many = World::Classes { classes: 7, model: 2.6, baseline: 2.6 };
    of_world("others: the rarer class is 15 %, no loss", rare, &designs, sets, OTHER_SEED);
    of_world("others: the rarer class is 8 %, a loss", rarer, &few, sets, OTHER_SEED);
    of_world("others: hard, and a clear loss", hard, &designs, sets, OTHER_SEED);
    of_world("others: seven classes, no loss", many, &designs, sets, OTHER_SEED);
}

fn of_metrics(sets: usize) {
    let binary = World::Binary { model: 1.2, baseline: 1.3, prevalence: 0.4 };
    let good = World::Binary { model: 2.2, baseline: 2.25, prevalence: 0.25 };
    let classes = World::Classes { classes: 4, model: 2.0, baseline: 2.1 };
    let few =
        [Design::Samples(200), Design::Samples(500), Design::Groups(10), Design::Groups(20), Design::UnequalGroups(20)];
    of_world("two classes", binary, &designs(100, 400), sets, SEED);
    of_world("two classes, good models", good, &[Design::Samples(1000), Design::Groups(120)], sets, SEED);
    of_world("four classes", classes, &designs(200, 800), sets, SEED);
    of_world("values", World::Values, &designs(100, 400), sets, SEED);
    of_world("two classes, few errors", good, &few, sets, SEED);
}

/// Prints, of one population, the share of intervals that hold the truth, and of losses that equal the margin and pass.
fn of_world(name: &str, world: World, designs: &[Design], sets: usize, seed: u64) {
    let (metrics, comparisons) = (world.metrics(), world.comparisons());
    let mut covered: Vec<Vec<usize>> = Vec::new();
    let mut losses: Vec<Vec<[usize; 2]>> = Vec::new();
    // On how many samples each rests, summed up over the sets.
    let mut deciding: Vec<[Vec<f64>; 2]> = Vec::new();
    let mut values = vec![0.0; metrics.len()];
    for design in designs {
        let truth = world.truth(*design, POPULATION);
        values.clone_from(&truth.metrics);
        let mut of_metrics = vec![0; metrics.len()];
        let mut of_losses = vec![[0; 2]; comparisons.len()];
        let mut rest = [vec![0.0; metrics.len()], vec![0.0; comparisons.len()]];
        for set in 0..sets {
            let data = world.draw(*design, &mut Random::new(seed + set as u64));
            let groups = data.groups.as_ref();
            let holds = |[low, high]: [f64; 2], truth: f64| low <= truth && truth <= high;
            for (i, ((_, of), truth)) in metrics.iter().zip(&truth.metrics).enumerate() {
                let Some(estimate) = of(&data) else { continue };
                rest[0][i] += estimate.rests_on();
                of_metrics[i] += usize::from(estimate.interval(groups, LEVEL).is_ok_and(|i| holds(i, *truth)));
            }
            for (i, ((_, of), truth)) in comparisons.iter().zip(&truth.losses).enumerate() {
                let Some(loss) = of(&data) else { continue };
                rest[1][i] += loss.rests_on();
                // A margin that is the true loss: whatever passes is an error.
                let Ok(judged) = loss.within(*truth, groups, LEVEL) else { continue };
                let count = &mut of_losses[i];
                count[0] += usize::from(holds(judged.interval, *truth));
                count[1] += usize::from(judged.decision == Decision::Pass);
            }
        }
        covered.push(of_metrics);
        losses.push(of_losses);
        deciding.push(rest);
    }
    let share = |n: usize| 100.0 * n as f64 / sets as f64;
    let cell = |n: usize, range: RangeInclusive<f64>, deciding: f64| match deciding / sets as f64 {
        few if few < FEW_SAMPLES => format!("{:.1} ({few:.1})", share(n)),
        _ => marked(share(n), range),
    };
    let head = |first: &str, second: &str| {
        let columns: Vec<String> = designs.iter().map(|d| show(*d)).collect();
        println!("| {first} | {second} | {} |", columns.join(" | "));
        println!("|---|--:|{}", "--:|".repeat(designs.len()));
    };
    println!("\n**{name}**: 95 % intervals that hold the truth, in %\n");
    head("metric", "value");
    for (i, (metric, ..)) in metrics.iter().enumerate() {
        let columns = covered.iter().zip(&deciding);
        let cells: Vec<String> = columns.map(|(of, rest)| cell(of[i], 93.0..=97.0, rest[0][i])).collect();
        println!("| {metric} | {:.3} | {} |", values[i], cells.join(" | "));
    }
    if comparisons.is_empty() {
        return;
    }
    println!("\n**{name}**: model against baseline\n");
    head("loss in", "of 100");
    for (i, (metric, ..)) in comparisons.iter().enumerate() {
        for (k, what) in [(0, "intervals that hold the truth"), (1, "errors: passes at a margin that is the loss")] {
            let range = if k == 0 { 93.0..=97.0 } else { 0.0..=5.0 };
            let columns = losses.iter().zip(&deciding);
            let cells: Vec<String> = columns.map(|(of, rest)| cell(of[i][k], range.clone(), rest[1][i])).collect();
            println!("| {metric} | {what} | {} |", cells.join(" | "));
        }
    }
}

fn of_latency(sets: usize) {
    println!("| log-ratios | true ratio | pass | fail |\n|---|--:|--:|--:|");
    let noises = [
        ("independent, 5 % outliers", Noise::Outliers),
        ("drift, correlation 0.5", Noise::Drift(0.5)),
        ("drift, correlation 0.9", Noise::Drift(0.9)),
        ("spells of load", Noise::Spells),
    ];
    for (name, noise) in noises {
        for ratio in [1.0, 1.05, 1.1] {
            let (pass, fail) = verdicts(noise, ratio, sets);
            let share = |n: usize| 100.0 * n as f64 / sets as f64;
            println!("| {name} | {ratio} | {:.1} % | {:.1} % |", share(pass), share(fail));
        }
    }
}

fn of_endpoints(sets: usize) {
    const GROUPS: [usize; 5] = [30, 50, 80, 200, 500];
    let columns = GROUPS.map(|g| format!("{g} groups")).join(" | ");
    println!("| shifts | samples of | of | value | {columns} |\n|---|--:|---|--:|{}", "--:|".repeat(GROUPS.len()));
    for (name, nights) in Nights::ALL {
        for grain in [30.0, 1.0] {
            let found = GROUPS.map(|groups| nights.covered(grain, groups, sets));
            for (i, of) in ["mean", "95th percentile"].into_iter().enumerate() {
                let cells = found.each_ref().map(|(_, counts)| of_given(counts[i], sets)).join(" | ");
                println!("| {name} | {grain} s | {of} | {:.0} s | {cells} |", found[0].0[i]);
            }
        }
    }
}

/// Of the sets that have an interval; how many have one where it is not all of them.
fn of_given(count: Count, sets: usize) -> String {
    let share = |of: usize, all: usize| 100.0 * of as f64 / all as f64;
    let given = share(count.given, sets);
    match count.given {
        // Of one set in a hundred there is nothing to be said.
        n if n * 100 < sets => "none".into(),
        n if n == sets => marked(share(count.held, n), 93.0..=97.0),
        n => format!("{} ({given:.0} %)", marked(share(count.held, n), 93.0..=97.0)),
    }
}

/// Bold where it is outside.
fn marked(share: f64, range: RangeInclusive<f64>) -> String {
    if range.contains(&share) { format!("{share:.1}") } else { format!("**{share:.1}**") }
}

fn designs(few: usize, many: usize) -> Vec<Design> {
    let grouped = [Design::Groups(6), Design::Groups(10), Design::Groups(30), Design::UnequalGroups(12)];
    [few, many].map(Design::Samples).into_iter().chain(grouped).collect()
}

fn show(design: Design) -> String {
    match design {
        Design::Samples(n) => format!("n = {n}"),
        Design::Groups(g) => format!("{g} groups of 25–35"),
        Design::UnequalGroups(g) => format!("{g} groups of 10–120"),
    }
}
