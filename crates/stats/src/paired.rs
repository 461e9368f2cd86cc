//! Two models on the same samples: how much worse one is than the other, with a paired interval, and whether that is within a margin.
//!
//! A *loss* is positive where the model is worse than the baseline. The interval judges: non-inferior within a margin is what has the
//! whole interval at or below it, so that at a level of 95 % a model that loses exactly the margin passes in 2.5 % of cases (the
//! convention of ICH E9).

use crate::{
    Estimate, Groups, NoInterval,
    estimate::{Tail, Term},
    metrics::share,
    special::{binomial_cdf, bisect, ln_gamma, normal_quantile},
    spread::{LEAST, Spread, critical, spread},
};

/// Chance that the number of samples asked for settles the question, if the loss is as observed.
const POWER: f64 = 0.8;

/// How much worse a model is than its baseline in some metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    value: f64,
    samples: usize,
    terms: Vec<Term>,
    kind: Kind,
    /// By how much the metric changes from a share of 0 to a share of 1; `None` of what is no share.
    range: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Of a share of hits: samples that only the baseline has right, and those that only the model has.
    Hits { lost: usize, won: usize },
    /// Of any other metric.
    Other(Tail),
}

/// What an interval says of a loss and a margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The loss is within the margin.
    Pass,
    /// The loss exceeds the margin.
    Fail,
    /// It may be either.
    Inconclusive,
}

/// What was decided, and what it would take where nothing could be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NonInferiority {
    /// The decision.
    pub decision: Decision,
    /// The interval of the loss.
    pub interval: [f64; 2],
    /// Where inconclusive: samples (groups, where there are groups) that settle it with a chance of 80 % if the loss is as observed.
    /// `None` also where the observed loss is the margin itself.
    pub needed: Option<u64>,
}

impl Loss {
    /// Of a share of hits, such as accuracy.
    pub fn of_hits(baseline: &[bool], model: &[bool]) -> Option<Self> {
        let count = |b: bool| baseline.iter().zip(model).filter(|(x, y)| **x == b && **y != b).count();
        let (lost, won) = (count(true), count(false));
        let (before, now) = (share(baseline)?, share(model)?);
        let value = (lost as f64 - won as f64) / baseline.len() as f64;
        Some(Self { value, kind: Kind::Hits { lost, won }, ..Self::of(&before, &now) })
    }

    /// Of a metric of which more is better. Both estimates are of the same samples and labels.
    pub fn of_merit(baseline: &Estimate, model: &Estimate) -> Self {
        Self::of(baseline, model)
    }

    /// Of an error, of which less is better.
    pub fn of_error(baseline: &Estimate, model: &Estimate) -> Self {
        Self::of(model, baseline)
    }

    fn of(more: &Estimate, less: &Estimate) -> Self {
        let side = |estimate: &Estimate, sign: f64| -> Vec<Term> {
            let term = |t: &Term| Term { influence: sign * t.influence, weight: t.weight / 2.0, ..*t };
            estimate.terms().iter().map(term).collect()
        };
        let terms = [side(more, 1.0), side(less, -1.0)].concat();
        Self {
            value: more.value() - less.value(),
            samples: more.samples(),
            terms,
            kind: Kind::Other(more.tail()),
            range: more.range(),
        }
    }

    /// The loss.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Variance and degrees of freedom; of the area under the ROC curve and independent samples, DeLong's.
    pub fn spread(&self, groups: Option<&Groups>) -> Result<Spread, NoInterval> {
        let tail = if let Kind::Other(tail) = self.kind { tail } else { Tail::Bounded };
        let mut spread = spread(&self.terms, tail, groups, |u| u)?;
        // One sample more that only one of them has right: a difference that has seen none is not certain (Agresti and Min 2005).
        // Scores that differ have a spread of their own.
        if self.kind == Kind::Other(Tail::Bounded) || spread.variance == 0.0 {
            let range = self.range.ok_or(NoInterval::NoSpread)?;
            let one = range * range / (spread.carried_by * self.samples as f64);
            spread.variance += one;
            spread.independent += one;
        }
        Ok(spread)
    }

    /// The two-sided paired interval at a level such as 0.95: Tango's (1998) of a share of hits, of the effective number of samples
    /// where there are groups (Rao and Scott 1992); else by the influences and Student's t, which for independent samples and the
    /// area under the ROC curve is DeLong's.
    pub fn interval(&self, groups: Option<&Groups>, level: f64) -> Result<[f64; 2], NoInterval> {
        let spread = self.spread(groups)?;
        let Kind::Hits { lost, won } = self.kind else {
            let half = spread.half(level);
            return Ok([self.value - half, self.value + half]);
        };
        let [z, t] = critical(level, spread.df);
        let (lost, won, n) = (lost as f64, won as f64, self.samples as f64);
        let independent = (lost + won - (lost - won) * (lost - won) / n) / (n * n);
        let fewer = match groups {
            None => 1.0,
            // None or all of the samples differ: nothing has varied.
            Some(_) if independent <= 0.0 => (t / z) * (t / z),
            Some(_) => (spread.variance / independent * (t / z) * (t / z)).max(LEAST),
        };
        Ok(tango(lost / fewer, won / fewer, n / fewer, level))
    }

    /// Whether the loss is within a margin.
    pub fn within(&self, margin: f64, groups: Option<&Groups>, level: f64) -> Result<NonInferiority, NoInterval> {
        let interval = self.interval(groups, level)?;
        let decision = match interval {
            [_, high] if high <= margin => Decision::Pass,
            [low, _] if low > margin => Decision::Fail,
            _ => Decision::Inconclusive,
        };
        let needed = match decision {
            Decision::Inconclusive => self.needed(margin, groups, level)?,
            _ => None,
        };
        Ok(NonInferiority { decision, interval, needed })
    }

    fn needed(&self, margin: f64, groups: Option<&Groups>, level: f64) -> Result<Option<u64>, NoInterval> {
        let spread = self.spread(groups)?;
        let now = groups.map_or(self.samples, Groups::len) as f64;
        // What the interval shows, not what the samples happen to vary by: no discordant sample is no certainty.
        let [low, high] = self.interval(groups, level)?;
        let [_, t] = critical(level, spread.df);
        let variance = spread.variance.max(((high - low) / (2.0 * t)).powi(2));
        let gap = margin - self.value;
        let needed = |df: f64| {
            let [_, t] = critical(level, df);
            now * variance * (t + normal_quantile(POWER)).powi(2) / (gap * gap)
        };
        let mut n = needed(f64::INFINITY);
        for _ in 0..20 {
            n = needed((n * spread.df / now).max(1.0));
        }
        Ok((n < 1e9).then(|| (n.ceil() as u64).max(now as u64 + 1)))
    }
}

/// Tango's score statistic of the paired shares' difference `delta`: positive where the observed difference is larger (Tango 1998,
/// equations 6 and 7). Counts need not be whole.
fn tango_z(lost: f64, won: f64, n: f64, delta: f64) -> f64 {
    let a = 2.0 * n;
    let b = -lost - won + (2.0 * n - lost + won) * delta;
    let c = -won * delta * (1.0 - delta);
    let q = (((b * b - 4.0 * a * c).max(0.0)).sqrt() - b) / (2.0 * a);
    let variance = n * (2.0 * q + delta * (1.0 - delta));
    let distance = lost - won - n * delta;
    if distance == 0.0 { 0.0 } else { distance / variance.max(0.0).sqrt() }
}

/// Tango's score interval of the difference of paired shares, `lost` of `n` being hits only before and `won` only after.
pub fn tango(lost: f64, won: f64, n: f64, level: f64) -> [f64; 2] {
    let z = normal_quantile(0.5 + level / 2.0);
    let value = (lost - won) / n;
    let low = bisect(-1.0, value, |delta| tango_z(lost, won, n, delta) > z);
    let high = bisect(value, 1.0, |delta| tango_z(lost, won, n, delta) > -z);
    [low.min(value), high.max(value)]
}

/// McNemar's test of equal shares in its exact form: the two-sided p value of `lost` and `won` discordant samples.
pub fn mcnemar_exact(lost: u64, won: u64) -> f64 {
    (2.0 * binomial_cdf(lost.min(won), lost + won, 0.5)).min(1.0)
}

/// McNemar's test with the mid-p value, which the exact form's caution does not blunt (Fagerland, Lydersen and Laake 2013).
pub fn mcnemar_mid_p(lost: u64, won: u64) -> f64 {
    let (least, n) = (lost.min(won), lost + won);
    if n == 0 {
        return 1.0;
    }
    if lost == won {
        return 1.0 - 0.5 * point(least, n);
    }
    2.0 * binomial_cdf(least, n, 0.5) - point(least, n)
}

/// Probability of exactly `k` of `n` at even odds.
fn point(k: u64, n: u64) -> f64 {
    let ln = |v: u64| ln_gamma(v as f64 + 1.0);
    (ln(n) - ln(k) - ln(n - k) - n as f64 * std::f64::consts::LN_2).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{balanced_accuracy, mae};

    #[track_caller]
    fn check(loss: &Loss, groups: Option<&Groups>) -> [f64; 2] {
        let [low, high] = loss.interval(groups, 0.95).unwrap();
        assert!(low <= loss.value() && loss.value() <= high);
        [low, high]
    }

    #[test]
    fn no_discordant_pair_is_not_certainty() {
        let hits = [true; 100];
        let groups = Groups::new(&(0..100).map(|i| i / 10).collect::<Vec<i64>>());
        let loss = Loss::of_hits(&hits, &hits).unwrap();
        let [low, high] = check(&loss, None);
        assert!(low < -0.03 && high > 0.03 && high < 0.05);
        // Ten groups know less than a hundred independent samples.
        assert!(check(&loss, Some(&groups))[1] > high);
        let labels: Vec<usize> = (0..100).map(|i| i % 2).collect();
        let balanced = balanced_accuracy(&labels, &labels).unwrap();
        assert!(check(&Loss::of_merit(&balanced, &balanced), None)[1] > 0.01);
    }

    #[test]
    fn losing_every_sample_of_every_group_has_an_interval_too() {
        let groups = Groups::new(&(0..100).map(|i| i / 10).collect::<Vec<i64>>());
        let loss = Loss::of_hits(&[true; 100], &[false; 100]).unwrap();
        let [low, high] = check(&loss, Some(&groups));
        assert!(low > 0.9 && low < 1.0 && high == 1.0);
        assert_eq!(loss.within(0.5, Some(&groups), 0.95).unwrap().decision, Decision::Fail);
    }

    #[test]
    fn errors_that_are_the_same_have_no_interval_in_a_unit_that_is_not_theirs() {
        let same = mae(&[1.0, 2.0, 4.0], &[0.0, 0.0, 0.0]).unwrap();
        assert_eq!(Loss::of_error(&same, &same).interval(None, 0.95), Err(NoInterval::NoSpread));
    }

    #[test]
    fn few_groups_are_refused_and_groups_that_lose_together_widen() {
        let baseline = [true; 200];
        let together: Vec<bool> = (0..200).map(|i| i >= 20).collect();
        let spread: Vec<bool> = (0..200).map(|i| i % 10 != 0).collect();
        let groups = Groups::new(&(0..200).map(|i| i / 20).collect::<Vec<i64>>());
        let width = |hits: &[bool]| {
            let [low, high] = check(&Loss::of_hits(&baseline, hits).unwrap(), Some(&groups));
            high - low
        };
        assert!(width(&together) > 2.0 * width(&spread));
        let four = Groups::new(&(0..200).map(|i| i / 50).collect::<Vec<i64>>());
        let loss = Loss::of_hits(&baseline, &together).unwrap();
        assert_eq!(loss.within(0.1, Some(&four), 0.95), Err(NoInterval::Groups(4)));
    }

    #[test]
    fn the_number_that_is_needed_settles_the_question_in_four_of_five_cases() {
        // The model loses 3 % and wins 1 %, in the sample as in truth.
        let of = |at: &mut dyn FnMut(usize) -> f64, n: usize| -> Loss {
            let drawn: Vec<f64> = (0..n).map(at).collect();
            let before: Vec<bool> = drawn.iter().map(|u| !(0.03..0.04).contains(u)).collect();
            let now: Vec<bool> = drawn.iter().map(|u| *u >= 0.03).collect();
            Loss::of_hits(&before, &now).unwrap()
        };
        let even = of(&mut |i| (i as f64 + 0.5) / 400.0, 400);
        let needed = even.within(0.04, None, 0.95).unwrap().needed.unwrap() as usize;
        let mut random = crate::Random::new(5);
        let mut draw = |n| of(&mut |_| random.unit(), n);
        let settled = (0..300).filter(|_| draw(needed).within(0.04, None, 0.95).unwrap().decision == Decision::Pass);
        let settled = settled.count();
        assert!((216..=264).contains(&settled), "{needed} samples settle it in {settled} of 300 cases");
    }
}
