//! How often 95 % intervals hold the truth, and how often a non-inferiority test errs: tables in Markdown.
//!
//! `cargo run --release --locked -p plimsoll-stats --example coverage -- metrics|latency [DATA SETS]`
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

mod latency;
mod worlds;

use latency::{Noise, verdicts};
use plimsoll_stats::{Decision, Random};
use worlds::{Design, World};

const LEVEL: f64 = 0.95;

fn main() {
    let sets: usize = std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(1000);
    match std::env::args().nth(1).as_deref() {
        Some("metrics") => of_metrics(sets),
        Some("latency") => of_latency(sets),
        _ => println!("usage: coverage metrics|latency [DATA SETS]"),
    }
}

fn of_metrics(sets: usize) {
    let binary = World::Binary { model: 1.2, baseline: 1.3, prevalence: 0.4 };
    let near = World::Binary { model: 2.2, baseline: 2.25, prevalence: 0.25 };
    let classes = World::Classes { classes: 4, model: 2.0, baseline: 2.1 };
    let cells: Vec<(&str, World, Vec<Design>)> = vec![
        ("two classes", binary, designs(100, 400)),
        ("two classes, good models", near, vec![Design::Samples(1000), Design::Groups(40)]),
        ("four classes", classes, designs(200, 800)),
        ("values", World::Values, designs(100, 400)),
        ("two classes, few errors", near, vec![Design::Samples(200), Design::Groups(10), Design::UnequalGroups(12)]),
    ];
    println!(
        "| population | samples | metric | truth | covered | no interval | mean width |\n|---|---|---|--:|--:|--:|--:|"
    );
    let mut tests = String::new();
    for (name, world, designs) in &cells {
        for design in designs {
            let truth = world.truth(*design, 1_000_000);
            let (metrics, comparisons) = (world.metrics(), world.comparisons());
            let mut counts = vec![Count::default(); metrics.len()];
            let mut losses = vec![Count::default(); comparisons.len()];
            for set in 0..sets {
                let data = world.draw(*design, &mut Random::new(1_000 + set as u64));
                let groups = data.groups.as_ref();
                for (((_, of), truth), count) in metrics.iter().zip(&truth.metrics).zip(&mut counts) {
                    count.add(of(&data).and_then(|e| e.interval(groups, LEVEL).ok()), *truth);
                }
                for (((_, of), truth), count) in comparisons.iter().zip(&truth.losses).zip(&mut losses) {
                    let Some(loss) = of(&data) else { continue };
                    count.add(loss.interval(groups, LEVEL).ok(), *truth);
                    // A margin that is the true loss: whatever passes is an error.
                    let passes = |level| {
                        let judged = loss.within(*truth, groups, level);
                        usize::from(judged.is_ok_and(|j| j.decision == Decision::Pass))
                    };
                    count.passed[0] += passes(0.95);
                    count.passed[1] += passes(0.90);
                }
            }
            for (((metric, _), truth), count) in metrics.iter().zip(&truth.metrics).zip(&counts) {
                println!("| {name} | {design} | {metric} | {truth:.3} | {} |", count.row(sets), design = show(*design));
            }
            for (((metric, _), truth), count) in comparisons.iter().zip(&truth.losses).zip(&losses) {
                let of = |k: usize| 100.0 * count.passed[k] as f64 / sets as f64;
                tests += &format!(
                    "| {name} | {} | {metric} | {truth:.4} | {} | {:.1} % | {:.1} % |\n",
                    show(*design),
                    count.row(sets),
                    of(0),
                    of(1)
                );
            }
        }
    }
    println!(
        "\n| population | samples | loss in | truth = margin | covered | no interval | mean width | passes (95 %) | passes (90 %) |\n|---|---|---|--:|--:|--:|--:|--:|--:|\n{tests}"
    );
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

fn designs(few: usize, many: usize) -> Vec<Design> {
    let grouped = [Design::Groups(6), Design::Groups(10), Design::Groups(30), Design::UnequalGroups(12)];
    [few, many].map(Design::Samples).into_iter().chain(grouped).collect()
}

fn show(design: Design) -> String {
    match design {
        Design::Samples(n) => format!("{n}"),
        Design::Groups(g) => format!("{g} groups of 25–35"),
        Design::UnequalGroups(g) => format!("{g} groups of 10–120"),
    }
}

#[derive(Debug, Clone, Default)]
struct Count {
    with: usize,
    covered: usize,
    width: f64,
    passed: [usize; 2],
}

impl Count {
    fn add(&mut self, interval: Option<[f64; 2]>, truth: f64) {
        if let Some([low, high]) = interval {
            self.with += 1;
            self.covered += usize::from(low <= truth && truth <= high);
            self.width += high - low;
        }
    }

    fn row(&self, sets: usize) -> String {
        let with = self.with.max(1) as f64;
        format!(
            "{:.1} % | {:.1} % | {:.3}",
            100.0 * self.covered as f64 / with,
            100.0 * (sets - self.with) as f64 / sets as f64,
            self.width / with
        )
    }
}
