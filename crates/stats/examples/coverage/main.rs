//! How often 95 % intervals hold the truth, and how often a non-inferiority test errs: tables in Markdown.
//!
//! `cargo run --release --locked -p plimsoll-stats --example coverage -- metrics|others|latency|endpoints [DATA SETS]`
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

mod endpoints;
mod latency;
mod worlds;

use std::ops::RangeInclusive;

use endpoints::Nights;
use latency::{Noise, verdicts};
use plimsoll_stats::{Decision, Random};
use worlds::{Design, World};

const LEVEL: f64 = 0.95;
const SEED: u64 = 1_000;
const OTHER_SEED: u64 = 9_000_000;
/// Where an interval rests on fewer samples (wrong ones, or such that only one model has right), it is shown on how many.
const FEW: f64 = 5.0;
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
    let hard = World::Binary { model: 0.6, baseline: 0.75, prevalence: 0.5 };
    let many = World::Classes { classes: 7, model: 2.6, baseline: 2.6 };
    of_world("others: the rarer class is 15 %, no loss", rare, &designs, sets, OTHER_SEED);
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
    // On how many samples each rests, of all sets.
    let mut deciding: Vec<[Vec<usize>; 2]> = Vec::new();
    let mut values = vec![0.0; metrics.len()];
    for design in designs {
        let truth = world.truth(*design, POPULATION);
        values.clone_from(&truth.metrics);
        let mut of_metrics = vec![0; metrics.len()];
        let mut of_losses = vec![[0; 2]; comparisons.len()];
        let mut rest = [vec![0; metrics.len()], vec![0; comparisons.len()]];
        for set in 0..sets {
            let data = world.draw(*design, &mut Random::new(seed + set as u64));
            let groups = data.groups.as_ref();
            let holds = |[low, high]: [f64; 2], truth: f64| low <= truth && truth <= high;
            metrics.iter().zip(&mut rest[0]).for_each(|((_, _, of), sum)| *sum += of(&data));
            comparisons.iter().zip(&mut rest[1]).for_each(|((_, _, of), sum)| *sum += of(&data));
            for (((_, of, _), truth), count) in metrics.iter().zip(&truth.metrics).zip(&mut of_metrics) {
                let interval = of(&data).and_then(|e| e.interval(groups, LEVEL).ok());
                *count += usize::from(interval.is_some_and(|i| holds(i, *truth)));
            }
            for (((_, of, _), truth), count) in comparisons.iter().zip(&truth.losses).zip(&mut of_losses) {
                // A margin that is the true loss: whatever passes is an error.
                let Some(judged) = of(&data).and_then(|loss| loss.within(*truth, groups, LEVEL).ok()) else { continue };
                count[0] += usize::from(holds(judged.interval, *truth));
                count[1] += usize::from(judged.decision == Decision::Pass);
            }
        }
        covered.push(of_metrics);
        losses.push(of_losses);
        deciding.push(rest);
    }
    let share = |n: usize| 100.0 * n as f64 / sets as f64;
    let cell = |n: usize, range: RangeInclusive<f64>, deciding: usize| match deciding as f64 / sets as f64 {
        few if few < FEW => format!("{:.1} ({few:.1})", share(n)),
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
    const GROUPS: [usize; 6] = [6, 10, 30, 80, 200, 500];
    let columns = GROUPS.map(|g| format!("{g} groups")).join(" | ");
    println!("| shifts | of | value | {columns} |\n|---|---|--:|{}", "--:|".repeat(GROUPS.len()));
    for (name, nights) in Nights::ALL {
        let found = GROUPS.map(|groups| nights.covered(groups, sets));
        for (i, of) in ["mean", "95th percentile"].into_iter().enumerate() {
            let cell = |(_, covered): &([f64; 2], [Option<usize>; 2])| match covered[i] {
                Some(n) => marked(100.0 * n as f64 / sets as f64, 93.0..=97.0),
                None => "none".into(),
            };
            let cells: Vec<String> = found.iter().map(cell).collect();
            println!("| {name} | {of} | {:.0} s | {} |", found[0].0[i], cells.join(" | "));
        }
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
