//! One metric: how much worse the release is, what that is sure of, and what a stage could show of it.

use plimsoll_profile::{Policy, RolloutMetric, Tolerance};
use plimsoll_record::ArmFigure;
use plimsoll_stats::anytime::{
    betting::{self, Bounded},
    normal,
    proportion::{self, Events, Expected},
};

use crate::{
    evidence::{Arm, Evidence, MOST_ENERGY},
    moments::Moments,
};

/// Fewer devices in an arm say nothing by a method that is asymptotic in them.
const FEWEST: u64 = 20;
/// Least standard deviation between devices that is believed, of the margin.
const FLOOR: f64 = 0.1;

/// Error rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rates {
    /// Of one bound of one metric that halts.
    pub(crate) halt: f64,
    /// Of one metric's part in an advance.
    pub(crate) advance: f64,
}

impl Rates {
    /// A halt has one rate for all that may cause it; an advance needs all metrics, so each may take all of it.
    pub(crate) fn of(policy: &Policy) -> Self {
        let tests = policy.tolerances.len() + policy.tolerances.iter().filter(|t| t.limit.is_some()).count();
        Self { halt: policy.alpha / tests.max(1) as f64, advance: policy.alpha }
    }
}

/// What was seen of a metric, by the method that its kind needs.
#[derive(Debug, Clone)]
pub(crate) enum Seen<'e> {
    /// Means of two arms.
    Means { arms: [&'e Moments; 2], scale: f64, harm: f64, se: f64 },
    /// Events of two arms, and the share of devices that is expected to have them anyway.
    Events { arms: [Events; 2], base: f64 },
    /// Values of the treatment between 0 and 1, more being better, held against a figure.
    Against { values: &'e Bounded, reference: f64 },
    /// Values of two arms between 0 and 1, more being better.
    Bounded([&'e Bounded; 2]),
}

/// Points of a rating between 1 and 5 for one of the values counted.
const POINTS: f64 = 4.0;

impl<'e> Seen<'e> {
    /// `None` where too few have reported.
    pub(crate) fn of(evidence: &'e Evidence, tolerance: &Tolerance) -> Option<Self> {
        let (a, b) = (&evidence.treatment, &evidence.holdback);
        let scaled = |arms: [&'e Moments; 2], scale: f64| {
            let difference = arms[0].minus(arms[1], FLOOR * tolerance.margin / scale)?;
            let enough = arms.iter().all(|m| m.units() >= FEWEST);
            let (harm, se) = (difference.difference * scale, difference.se * scale);
            enough.then_some(Self::Means { arms, scale, harm, se })
        };
        let means = |arms| scaled(arms, 1.0);
        match tolerance.metric {
            RolloutMetric::OverBudget => means([&a.over_budget, &b.over_budget]),
            RolloutMetric::MissingDevices => means([&a.missing, &b.missing]),
            RolloutMetric::Energy => scaled([&a.energy, &b.energy], MOST_ENERGY),
            RolloutMetric::InputDrift => means([&a.input_drift, &b.input_drift]),
            RolloutMetric::OutputDrift => means([&a.output_drift, &b.output_drift]),
            RolloutMetric::CrashedDevices => {
                // Never what the holdback shows: a guess must not be made of what is judged.
                let (arms, base) = ([a.crashed, b.crashed], tolerance.spread.filter(|s| *s > 0.0));
                let base = base.unwrap_or(Expected::RARE);
                arms.iter().all(|arm| arm.units > 0).then_some(Self::Events { arms, base })
            }
            RolloutMetric::Agreement => {
                let reference = reference(tolerance)?;
                (!a.agreement.is_empty()).then_some(Self::Against { values: &a.agreement, reference })
            }
            RolloutMetric::Rating => {
                let some = !a.ratings.is_empty() && !b.ratings.is_empty();
                some.then_some(Self::Bounded([&a.ratings, &b.ratings]))
            }
        }
    }

    /// Best guess of the harm, in the metric's unit.
    pub(crate) fn harm(&self) -> f64 {
        match self {
            Self::Means { harm, .. } => *harm,
            Self::Events { arms: [a, b], .. } => a.share() - b.share(),
            Self::Against { values, reference } => reference - values.mean().unwrap_or(*reference),
            Self::Bounded([a, b]) => (b.mean().unwrap_or(0.0) - a.mean().unwrap_or(0.0)) * POINTS,
        }
    }

    /// Whether the harm is above `h`, at an error rate.
    pub(crate) fn above(&self, h: f64, tau: f64, alpha: f64) -> bool {
        let border = -alpha.ln();
        match self {
            Self::Means { harm, se, .. } => harm - normal::radius(*se, tau, alpha) > h,
            Self::Events { arms: [a, b], base } => {
                proportion::ln_wealth_above(*a, *b, h, &Expected::more(*base, tau)) >= border
            }
            Self::Against { values, reference } => values.ln_wealth_below(reference - h) >= border,
            Self::Bounded([a, b]) => betting::ln_wealth_above(b, a, h / POINTS) >= border,
        }
    }

    /// Whether the harm is below `h`.
    pub(crate) fn below(&self, h: f64, tau: f64, alpha: f64) -> bool {
        let border = -alpha.ln();
        match self {
            Self::Means { harm, se, .. } => harm + normal::radius(*se, tau, alpha) < h,
            Self::Events { arms: [a, b], base } => {
                proportion::ln_wealth_above(*b, *a, -h, &Expected::no_more(*base, tau)) >= border
            }
            Self::Against { values, reference } => values.ln_wealth_above(reference - h) >= border,
            Self::Bounded([a, b]) => betting::ln_wealth_above(a, b, -h / POINTS) >= border,
        }
    }

    /// Bounds of the harm: the lower at one rate, the upper at another.
    pub(crate) fn bounds(&self, tau: f64, rates: Rates) -> [f64; 2] {
        let (low, high) = (rates.halt, rates.advance);
        match self {
            Self::Means { harm, se, .. } => {
                [harm - normal::radius(*se, tau, low), harm + normal::radius(*se, tau, high)]
            }
            Self::Events { arms: [a, b], base } => [
                proportion::lower_difference(*a, *b, &Expected::more(*base, tau), low),
                -proportion::lower_difference(*b, *a, &Expected::no_more(*base, tau), high),
            ],
            Self::Against { values, reference } => [reference - values.upper(low), reference - values.lower(high)],
            Self::Bounded([a, b]) => {
                [betting::lower_difference(b, a, low) * POINTS, -betting::lower_difference(a, b, high) * POINTS]
            }
        }
    }

    /// What the release itself is at, and how many units say so.
    pub(crate) fn treatment(&self) -> ArmFigure {
        match self {
            Self::Means { arms: [a, _], scale, .. } => figure(a.mean().map(|m| m * scale), a.units()),
            Self::Events { arms: [a, _], .. } => figure(Some(a.share()), a.units),
            Self::Against { values, .. } => figure(values.mean(), values.len()),
            Self::Bounded([a, _]) => figure(a.mean().map(|m| 1.0 + POINTS * m), a.len()),
        }
    }

    /// The same of the holdback, where it counts.
    pub(crate) fn holdback(&self) -> Option<ArmFigure> {
        match self {
            Self::Means { arms: [_, b], scale, .. } => Some(figure(b.mean().map(|m| m * scale), b.units())),
            Self::Events { arms: [_, b], .. } => Some(figure(Some(b.share()), b.units)),
            Self::Against { .. } => None,
            Self::Bounded([_, b]) => Some(figure(b.mean().map(|m| 1.0 + POINTS * m), b.len())),
        }
    }

    /// Whether the release's own figure passes the limit for sure.
    pub(crate) fn over_limit(&self, limit: f64, tau: f64, alpha: f64) -> bool {
        match self {
            Self::Means { arms: [a, _], scale, .. } => {
                let (Some(mean), Some(variance)) = (a.mean(), a.variance()) else { return false };
                let (mean, variance) = (mean * scale, variance * scale * scale);
                let se = (variance.max((FLOOR * tau).powi(2)) / a.units() as f64).sqrt();
                mean - normal::radius(se, tau, alpha) > limit
            }
            Self::Events { arms: [a, _], .. } => proportion::interval(*a, proportion::PRIOR, alpha)[0] > limit,
            Self::Against { values, .. } => values.ln_wealth_below(limit) >= -alpha.ln(),
            Self::Bounded([a, _]) => a.ln_wealth_below((limit - 1.0) / POINTS) >= -alpha.ln(),
        }
    }

    /// Standard deviation between units, or the share of events, as the holdback shows it.
    pub(crate) fn spread(&self) -> Option<f64> {
        match self {
            Self::Means { arms: [_, b], scale, .. } => b.variance().map(|v| v.sqrt() * scale),
            Self::Events { arms: [_, b], .. } => (b.units >= FEWEST).then(|| b.share()),
            Self::Against { values, .. } => values.variance().map(f64::sqrt),
            Self::Bounded([_, b]) => b.variance().map(|v| v.sqrt() * POINTS),
        }
    }

    /// The method behind the bounds.
    pub(crate) fn method(&self) -> &'static str {
        match self {
            Self::Means { .. } => "normal mixture over devices, CUPED",
            Self::Events { .. } => "beta-binomial mixture over devices",
            Self::Against { .. } => "betting over devices",
            Self::Bounded(_) => "betting over users",
        }
    }
}

fn figure(value: Option<f64>, units: u64) -> ArmFigure {
    ArmFigure { value: value.unwrap_or(0.0), units }
}

/// The mean over an arm's devices of a metric that is one; `None` where none tells.
pub(crate) fn mean(arm: &Arm, metric: RolloutMetric) -> Option<ArmFigure> {
    let (moments, scale) = match metric {
        RolloutMetric::OverBudget => (&arm.over_budget, 1.0),
        RolloutMetric::MissingDevices => (&arm.missing, 1.0),
        RolloutMetric::Energy => (&arm.energy, MOST_ENERGY),
        RolloutMetric::InputDrift => (&arm.input_drift, 1.0),
        RolloutMetric::OutputDrift => (&arm.output_drift, 1.0),
        RolloutMetric::CrashedDevices | RolloutMetric::Agreement | RolloutMetric::Rating => return None,
    };
    Some(ArmFigure { value: moments.mean()? * scale, units: moments.units() })
}

/// What the release itself is at, however few devices say so; `None` where none does.
pub(crate) fn own(evidence: &Evidence, metric: RolloutMetric) -> Option<f64> {
    let arm = &evidence.treatment;
    match metric {
        RolloutMetric::CrashedDevices => (arm.crashed.units > 0).then(|| arm.crashed.share()),
        RolloutMetric::Agreement => arm.agreement.mean(),
        RolloutMetric::Rating => arm.ratings.mean().map(|m| 1.0 + POINTS * m),
        _ => mean(arm, metric).map(|m| m.value),
    }
}

/// What agreement is held against.
fn reference(tolerance: &Tolerance) -> Option<f64> {
    tolerance.expected.or_else(|| tolerance.limit.map(|l| l + tolerance.margin))
}

/// Chance that so many units show that a harmless release is harmless.
pub(crate) fn power(tolerance: &Tolerance, spread: f64, [a, b]: [u64; 2], alpha: f64) -> f64 {
    let margin = tolerance.margin;
    let crash = tolerance.metric == RolloutMetric::CrashedDevices;
    let spread = if crash { spread } else { spread.max(FLOOR * margin) };
    let (x, y) = (a as f64, b as f64);
    // What a bet must be able to lose before it wins: its share is lost of the margin.
    let slack = |units: f64, range: f64| range * (16.0 / alpha).ln() / units;
    let shown = |se: f64, lost: f64| if lost < margin { normal::power(se, margin - lost, alpha) } else { 0.0 };
    match tolerance.metric {
        _ if a == 0 => 0.0,
        RolloutMetric::Agreement => shown(spread / x.sqrt(), slack(x, 1.0)),
        _ if b == 0 => 0.0,
        metric if is_mean(metric) && a.min(b) < FEWEST => 0.0,
        metric if is_mean(metric) => normal::power(spread * (1.0 / x + 1.0 / y).sqrt(), margin, alpha),
        RolloutMetric::Rating => shown(spread * (1.0 / x + 1.0 / y).sqrt(), slack(x.min(y), POINTS)),
        _ => proportion::power(spread, [a, b], margin, alpha),
    }
}

/// Whether a metric is a mean over devices.
fn is_mean(metric: RolloutMetric) -> bool {
    use RolloutMetric::{Energy, InputDrift, MissingDevices, OutputDrift, OverBudget};
    matches!(metric, OverBudget | MissingDevices | Energy | InputDrift | OutputDrift)
}
