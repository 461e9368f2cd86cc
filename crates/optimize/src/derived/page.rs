//! `docs/capacity.md` says what the program finds.

use plimsoll_profile::{Day, Profile};
use plimsoll_record::{Figure, Row};

use super::tests::figure;
use crate::{Assessed, Budgeted};

const PAGE: &str = include_str!("../../../../docs/capacity.md");

/// The blocks of a kind, in their order.
fn blocks(kind: &str) -> Vec<&'static str> {
    let fence = format!("```{kind}\n");
    PAGE.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// `name = value`, or `name = low, value, high`.
fn assessed(block: &str) -> Assessed {
    let number = |text: &str| text.trim().replace('_', "").parse::<f64>().unwrap();
    let one = |line: &str| -> Figure {
        let (name, value) = line.split_once(" = ").unwrap();
        let unit = match name {
            "latency.mean" => "s",
            "latency.cv" => "ratio",
            "macs" => "count",
            _ => "bytes",
        };
        match value.split(',').map(number).collect::<Vec<_>>().as_slice() {
            [low, value, high] => figure(name, unit, *value, Some([*low, *high])),
            [value] => figure(name, unit, *value, None),
            _ => panic!("{line}"),
        }
    };
    Assessed { figures: block.lines().map(one).collect(), ..Assessed::default() }
}

fn cases() -> Vec<(Profile, Assessed)> {
    let profile = |text| Profile::from_text("p.toml", text).unwrap_or_else(|e| panic!("{}", e.render()));
    let (profiles, figures) = (blocks("toml"), blocks("figures"));
    assert_eq!(profiles.len(), figures.len());
    profiles.into_iter().map(profile).zip(figures.into_iter().map(assessed)).collect()
}

#[test]
fn a_figure_of_the_page_that_is_not_what_the_program_finds_is_found() {
    let rows: Vec<Row> = cases()
        .iter()
        .flat_map(|(profile, assessed)| {
            let profiles = std::slice::from_ref(profile);
            Budgeted { profiles, ..Budgeted::default() }.rows("model", assessed)
        })
        .collect();
    let lines = PAGE.lines().filter(|l| l.starts_with("| `") && l.matches('|').count() == 5);
    let told: Vec<Vec<&str>> = lines.map(|l| l.split('|').map(str::trim).collect()).collect();
    let expected: Vec<String> = rows.iter().map(|r| format!("`{}` {} {}", r.metric, r.found, r.verdict)).collect();
    let mut written: Vec<String> = told.iter().map(|c| format!("{} {} {}", c[1], c[3], c[4])).collect();
    for row in &expected {
        let at = written
            .iter()
            .position(|w| w == row)
            .unwrap_or_else(|| panic!("the page does not say {row}; of all {expected:#?}"));
        written.remove(at);
    }
    assert!(written.is_empty(), "nothing says {written:?}");
}

#[test]
fn the_forecast_of_the_page_is_the_programs() {
    let (profile, assessed) = cases().remove(0);
    let profiles = [profile];
    let budgets = Budgeted { profiles: &profiles, ..Budgeted::default() };
    let (forecasts, _) = budgets.forecast(&assessed, Day::parse("2026-11-26").unwrap());
    assert_eq!((forecasts[0].value, forecasts[0].interval), (Some(21_522.0), Some([18_396.0, 24_906.0])));
    assert!(PAGE.contains("21,522 devices (18,396 … 24,906), 1.076 times"));
    assert!(forecasts[0].method.contains("1.076 times those of today"), "{}", forecasts[0].method);
    // 1.87 months are 56 days; at the lower end the load is too much today, so that there is no interval.
    let until = forecasts[0].until.as_ref().unwrap();
    assert_eq!((until.day.as_str(), &until.interval), ("2027-01-21", &None));
}
