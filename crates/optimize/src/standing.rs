//! How a candidate stands to its budgets: kept, likely, unlikely, violated; which budget it misses by how much.

use plimsoll_gate::verdict;
use plimsoll_profile::{Basis, Metric};
use plimsoll_record::{Load, Miss, Side, Verdict};

use crate::{Assessed, Budgeted};

/// Chance above which a budget that is kept on the validation data counts as one that the test data will show to be kept.
const ASSURED: f64 = 0.9;
/// Chance above which a budget that the samples leave open counts as likely kept. With no sample lost of so few that nothing is settled
/// it lies above this, with one lost it lies below.
const LIKELY: f64 = 0.7;
/// The same of the chance that the test data show it, which have noise of their own.
const LIKELY_SHOWN: f64 = 0.5;
/// Standard errors from the middle of a 95 % interval to its ends.
const ERRORS: f64 = 1.96;

/// From the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Every budget is kept for certain, and so that fresh samples will most likely show it again.
    Kept,
    /// None is violated, and those that are open are likely kept.
    Likely,
    /// One that is open is more likely violated, or close to it.
    Unlikely,
    /// One is violated for certain.
    Violated,
}

/// A candidate against budgets, as far as its figures go.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) standing: Standing,
    /// The same of what was taken on data alone: what less of the model makes worse.
    pub(crate) of_data: Standing,
    pub(crate) verdict: Verdict,
    /// The furthest off first.
    pub(crate) misses: Vec<Miss>,
}

impl Held {
    /// Holds figures against budgets. What has no figure here (not yet, or not on this machine) is open, and does not count against a
    /// candidate. `more` is how many times as many samples there are to judge the winner on; without, it is not judged again.
    pub(crate) fn of(budgets: &Budgeted<'_>, digest: &str, assessed: &Assessed, more: Option<f64>) -> Self {
        let mut rows = budgets.rows(digest, assessed);
        budgets.waive(&mut rows);
        let verdict = verdict(&rows);
        let (mut standing, mut of_data) = (Standing::Kept, Standing::Kept);
        let mut misses = Vec::new();
        for row in rows.iter().filter(|r| r.level == "error") {
            let counts = row.counts_as();
            let on_data = Metric::find(&row.metric).is_none_or(|m| m.basis() == Basis::Data);
            let chance = row.load.as_ref().and_then(|load| chance(load, more.filter(|_| on_data)));
            let this = match (&counts, chance) {
                (Verdict::Fail, _) => Standing::Violated,
                (Verdict::Skipped(_), _) => Standing::Kept,
                // What a waiver lets pass is not looked at again.
                (Verdict::Pass, _) if row.is_waived() => Standing::Kept,
                (Verdict::Pass, Some(Chance { shown: Some(shown), .. })) if shown >= ASSURED => Standing::Kept,
                (_, Some(Chance { shown: Some(shown), .. })) if shown >= LIKELY_SHOWN => Standing::Likely,
                (_, Some(Chance { shown: Some(_), .. })) => Standing::Unlikely,
                (Verdict::Pass, _) => Standing::Kept,
                (_, Some(chance)) if chance.kept < LIKELY => Standing::Unlikely,
                _ => Standing::Likely,
            };
            standing = standing.max(this);
            if on_data {
                of_data = of_data.max(this);
            }
            if matches!(counts, Verdict::Pass | Verdict::Skipped(_)) {
                continue;
            }
            misses.push(Miss {
                profile: row.profile.clone(),
                metric: row.metric.clone(),
                limit: row.limit.clone(),
                found: row.found.clone(),
                excess: row.load.as_ref().and_then(excess).filter(|e| e.is_finite()),
                note: row.note.clone(),
                verdict: counts,
            });
        }
        let key = |m: &Miss| (m.verdict != Verdict::Fail, -m.excess.unwrap_or(f64::NEG_INFINITY));
        misses.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
        Self { standing, of_data, verdict, misses }
    }

    /// By which share of its limit the worst violated figure exceeds it.
    pub(crate) fn excess(&self) -> f64 {
        let violated = self.misses.iter().filter(|m| m.verdict == Verdict::Fail);
        violated.filter_map(|m| m.excess).fold(0.0, f64::max)
    }
}

/// By which share of the limit what was found exceeds it. Increases are taken on the whole: 30 % where 25 % are allowed exceed by 4 %.
fn excess(load: &Load) -> Option<f64> {
    let offset = if load.unit == "increase" { 1.0 } else { 0.0 };
    let (value, limit) = (load.value? + offset, load.tolerated + offset);
    let over = (value - limit) / if limit == 0.0 { 1.0 } else { limit.abs() };
    Some(if load.side == Side::Max { over } else { -over })
}

/// How likely a limit is kept, as far as a figure with its interval says.
#[derive(Debug, Clone, Copy)]
struct Chance {
    /// By the truth.
    kept: f64,
    /// By the whole interval that fresh samples will give, where there are some.
    shown: Option<f64>,
}

/// The chances if what was found is as uncertain as its interval says; `None` where it has none.
fn chance(load: &Load, more: Option<f64>) -> Option<Chance> {
    let (value, [low, high]) = (load.value?, load.interval?);
    let sign = if load.side == Side::Max { 1.0 } else { -1.0 };
    let head_room = sign * (load.tolerated - value);
    // The end of the interval on the side of the limit says how far the truth may lie there.
    let reach = if (head_room >= 0.0) == (sign > 0.0) { high - value } else { value - low };
    let reach = reach.max(f64::MIN_POSITIVE);
    let kept = normal(head_room * ERRORS / reach);
    // The fresh interval reaches as much less far as there are more samples, and its middle is as uncertain as both figures together.
    let shown = more.map(|more| {
        let fresh = reach / more.max(f64::MIN_POSITIVE).sqrt();
        normal((head_room - fresh) * ERRORS / reach.hypot(fresh))
    });
    Some(Chance { kept, shown })
}

/// Distribution function of the standard normal; the logistic curve that comes within 0.01 of it.
fn normal(z: f64) -> f64 {
    1.0 / (1.0 + (-1.702 * z).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(side: Side, limit: f64, value: f64, interval: [f64; 2]) -> Load {
        Load { side, limit, tolerated: limit, unit: "share".into(), value: Some(value), interval: Some(interval) }
    }

    #[test]
    fn a_lost_sample_of_few_is_no_likely_candidate_and_none_lost_is() {
        let of = |value, interval, side, limit| {
            let chance = chance(&load(side, limit, value, interval), Some(1591.0 / 143.0)).unwrap();
            (chance.kept, chance.shown.unwrap())
        };
        let none = of(0.0, [-0.0261, 0.0261], Side::Max, 0.01);
        assert!(none.0 > LIKELY && none.1 > LIKELY_SHOWN, "{none:?}");
        let one = of(0.007, [-0.013, 0.038], Side::Max, 0.01);
        assert!(one.0 < LIKELY && one.1 < LIKELY_SHOWN, "{one:?}");
        assert!(of(0.02, [0.005, 0.05], Side::Max, 0.01).0 < 0.5);
        // A minimum is kept by what lies above it.
        assert!(of(0.99, [0.97, 0.999], Side::Min, 0.95).0 > 0.9);
        assert!(of(0.94, [0.92, 0.96], Side::Min, 0.95).0 < 0.3);
    }

    #[test]
    fn what_only_just_passes_here_is_not_taken_to_pass_on_fresh_samples() {
        let shown = |value, more| {
            let load = load(Side::Max, 0.02, value, [value - 0.011, value + 0.011]);
            chance(&load, Some(more)).unwrap().shown.unwrap()
        };
        // The whole interval is within the limit in each case.
        assert!(shown(0.009, 1.0) < 0.6);
        assert!(shown(-0.002, 1.0) > ASSURED);
        assert!(shown(0.0, 0.1) < LIKELY_SHOWN, "few fresh samples show nothing");
    }

    #[test]
    fn the_excess_is_a_share_of_the_limit_whichever_way_it_points() {
        let of = |side, limit, value| excess(&load(side, limit, value, [value, value])).unwrap();
        assert!((of(Side::Max, 0.02, 0.03) - 0.5).abs() < 1e-9);
        assert!((of(Side::Min, 0.95, 0.9) - 0.05 / 0.95).abs() < 1e-9);
        assert!(of(Side::Max, 0.02, -0.01) < 0.0);
        let increase = Load { unit: "increase".into(), ..load(Side::Max, 0.25, 0.3, [0.3, 0.3]) };
        assert!((excess(&increase).unwrap() - 0.05 / 1.25).abs() < 1e-9);
    }
}
