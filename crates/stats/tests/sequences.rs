//! Confidence sequences equal PyPI's ville where it has the same ones, and are like its where they bet otherwise:
//! `docs/check_sequences.py` makes `sequences.txt`.

use plimsoll_stats::anytime::{
    betting::Bounded,
    normal,
    proportion::{self, Events},
};

/// Bounds by ville for the given kind: what was given, and what came out.
fn stored(kind: &str) -> Vec<(Vec<f64>, Vec<f64>)> {
    let numbers = |text: &str| text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let lines = include_str!("sequences.txt").lines().filter_map(|l| l.strip_prefix(kind));
    lines.map(|line| line.split_once('=').map(|(given, out)| (numbers(given), numbers(out))).unwrap()).collect()
}

#[track_caller]
fn check(found: f64, wanted: f64) {
    assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1e-3), "{found:e} is not {wanted:e}");
}

#[test]
fn the_normal_mixture_is_that_of_ville() {
    let all = stored("normal ");
    assert_eq!(all.len(), 24);
    for (given, wanted) in all {
        check(normal::radius(given[0], given[1], given[2]), wanted[0]);
    }
}

#[test]
fn the_beta_binomial_mixture_is_that_of_ville() {
    let all = stored("proportion ");
    assert_eq!(all.len(), 18);
    for (given, wanted) in all {
        let seen = Events { events: given[0] as u64, units: given[1] as u64 };
        let [low, high] = proportion::interval(seen, [given[2], given[3]], given[4]);
        check(low, wanted[0]);
        check(high, wanted[1]);
    }
}

#[test]
fn constant_bets_come_near_those_of_ville() {
    let all = stored("betting ");
    assert_eq!(all.len(), 9);
    for (given, wanted) in all {
        let mut values = Bounded::new();
        (1..=given[1] as u32)
            .for_each(|i| values.push((f64::from(i) * 0.618_033_988_749_894_9).fract().powf(given[0])));
        // Two one-sided bounds, as ville hedges: half the capital each way.
        let (low, high) = (values.lower(0.025), values.upper(0.025));
        let ratio = (high - low) / (wanted[1] - wanted[0]);
        assert!(
            low < wanted[1] && high > wanted[0] && (0.5..1.5).contains(&ratio),
            "{given:?}: {low} {high} {wanted:?}"
        );
    }
}
