//! An estimate that knows what each sample has to do with it, and the interval that follows: one mechanism for every metric.
//!
//! A metric is linearized: its error is the sum of the samples' *influences* (Hampel 1974). The variance is the sum of squares of
//! the influences, added up within each group first where samples of a group are not independent (Liang and Zeger 1986; for the
//! area under the ROC curve this is Obuchowski 1997). What few groups need beside that:
//!
//! - A group pulls the estimate towards itself: its sum is divided by the root of one minus its share (CR2, Bell and McCaffrey 2002),
//!   and where tails are heavy by one minus its share, as the jackknife does (CR3).
//! - Student's t with as many degrees of freedom as there are *effective* groups, less one: unequal groups count for fewer (Carter,
//!   Schnepel and Steigerwald 2017), as far as the samples of a group resemble each other. Where tails are heavy, no more than the
//!   fourth moment of the influences leaves (Fay and Graubard 2001): a variance that rests on a few samples is itself uncertain.
//! - Where it is the logarithm that is symmetric, a group's influence is how far the logarithm moves when the group is left out (the
//!   jackknife; Efron and Stein 1981), which is more than its first order where the group has much of the whole error.
//! - Shares keep to 0 … 1 by Wilson's score interval with the effective number of samples (Kish 1965; Franco, Little, Louis and
//!   Slud 2019). For independent samples and a plain share that is Wilson's interval itself.
//! - A class none of whose samples is wrong shows no spread and is not certain: to a mean of shares it adds the variance that Wilson's
//!   limits of its share have.
//! - The area under the ROC curve keeps to it by its logit (Pepe 2003; Qin and Hotilovac 2008): near 1 it rests on few pairs that stand
//!   wrong, and its variance is as uncertain as their number.
//!
//! `examples/coverage.rs` shows what these intervals cover.

use std::fmt;

use crate::{
    Groups,
    interval::wilson_effective,
    spread::{Spread, critical, spread},
};

/// Groups that an interval needs at least.
pub const FEWEST_GROUPS: usize = 5;
/// Samples below which it is worth saying that an interval rests on so few: as many errors as the normal
/// approximation of a share is usually given, or discordant pairs McNemar's.
pub const FEW_SAMPLES: f64 = 10.0;

/// What one sample has to do with one part of an estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Term {
    /// Position of the sample.
    pub sample: u32,
    /// Of the means that the metric is made of (the recall of a class, say), which.
    pub part: u32,
    /// How far this sample moves the estimate off the truth, to first order. All influences add up to 0.
    pub influence: f64,
    /// How much of the estimate rests on the sample. Its share among the weights of the part is its leverage.
    pub weight: f64,
}

/// Where a metric can lie, and so on what scale its error is symmetric. `value = offset + factor · x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// x is a share.
    Share {
        /// Value at x = 0.
        offset: f64,
        /// Change from x = 0 to 1.
        factor: f64,
    },
    /// x is a share, and its logit is symmetric.
    Logit,
    /// x is positive, and its logarithm is symmetric.
    Log {
        /// Value at x = 0.
        offset: f64,
        /// Change with x.
        factor: f64,
        /// The power of x that is a mean of samples: 2 of a root.
        power: f64,
    },
    /// Any number.
    Real,
}

impl Scale {
    /// A plain share.
    pub const SHARE: Self = Self::Share { offset: 0.0, factor: 1.0 };
    /// A plain positive number.
    pub const POSITIVE: Self = Self::Log { offset: 0.0, factor: 1.0, power: 1.0 };
    /// The root of a mean.
    pub const ROOT: Self = Self::Log { offset: 0.0, factor: 1.0, power: 2.0 };
}

/// How the influences of single samples are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// A sample is right or wrong: none has more influence than a few times the mean.
    Bounded,
    /// A few samples may have most of the influence: errors, ranks.
    Heavy,
}

/// A metric's value with all that its interval needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    value: f64,
    scale: Scale,
    tail: Tail,
    samples: usize,
    terms: Vec<Term>,
    /// Of a mean of shares, these.
    strata: Vec<Stratum>,
}

/// One of the shares that an estimate is the mean of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stratum {
    pub share: f64,
    pub samples: f64,
    /// What it weighs in the mean.
    pub weight: f64,
}

/// Why an estimate has no interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoInterval {
    /// The samples that count are of fewer groups than [`FEWEST_GROUPS`].
    Groups(usize),
    /// Fewer than two samples.
    Samples(usize),
    /// All samples of a class lie in one group, so that nothing says how they vary between groups.
    OneGroup(u32),
    /// All errors are the same.
    NoSpread,
}

impl fmt::Display for NoInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups(n) => write!(f, "{n} groups are too few, {FEWEST_GROUPS} are needed"),
            Self::Samples(n) => write!(f, "{n} samples are too few, 2 are needed"),
            Self::OneGroup(class) => write!(f, "all samples that class {class} rests on are of one group"),
            Self::NoSpread => write!(f, "there is no spread among the samples"),
        }
    }
}

impl std::error::Error for NoInterval {}

impl Estimate {
    /// From the terms of all samples.
    pub(crate) fn new(value: f64, scale: Scale, tail: Tail, samples: usize, terms: Vec<Term>) -> Self {
        Self { value, scale, tail, samples, terms, strata: Vec::new() }
    }

    /// A mean of shares that are independent but for groups.
    pub(crate) fn of_strata(self, strata: Vec<Stratum>) -> Self {
        Self { strata, ..self }
    }

    /// The value.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.samples
    }

    pub(crate) fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// By how much the metric changes from a share of 0 to a share of 1.
    pub(crate) fn range(&self) -> Option<f64> {
        match self.scale {
            Scale::Share { factor, .. } => Some(factor),
            Scale::Logit => Some(1.0),
            _ => None,
        }
    }

    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }

    /// Variance and degrees of freedom; with `groups`, those of groups that were drawn as wholes.
    pub fn spread(&self, groups: Option<&Groups>) -> Result<Spread, NoInterval> {
        spread(&self.terms, self.tail, groups, |u| u)
    }

    /// How far the logarithm moves where a group is left out, in units of x to first order: of a group that has most of an error that is
    /// much farther than its influence says.
    fn bent(&self, influence: f64) -> f64 {
        const NEXT_TO_NOTHING: f64 = 1e-3;
        match self.scale {
            Scale::Log { offset, power, .. } if self.value != offset => {
                let x = self.value - offset;
                let left = (1.0 - power * influence / x).max(NEXT_TO_NOTHING);
                -x * left.ln() / power
            }
            _ => influence,
        }
    }

    /// Variance of the shares among which none, or all, are hits, as Wilson's limits of them have it: no spread is no certainty.
    fn unseen(&self, z: f64) -> f64 {
        let of = |s: &Stratum| {
            let [low, high] = wilson_effective(s.share, s.samples, z);
            s.weight * s.weight * ((s.share - low).powi(2) + (high - s.share).powi(2)) / (2.0 * z * z)
        };
        self.strata.iter().filter(|s| s.share <= 0.0 || s.share >= 1.0).map(of).sum()
    }

    /// Samples that the interval rests on: of a share of few errors these, of an area near 1 those that stand wrong. Of fewer than
    /// [`FEW_SAMPLES`] the interval of what has bounds is wider than it says.
    pub fn rests_on(&self) -> f64 {
        let of = |spread: Spread| spread.rests_on(self.unseen(critical(0.95, f64::INFINITY)[0]));
        spread(&self.terms, self.tail, None, |u| u).map_or(0.0, of)
    }

    /// The two-sided interval at a level such as 0.95.
    pub fn interval(&self, groups: Option<&Groups>, level: f64) -> Result<[f64; 2], NoInterval> {
        let spread = spread(&self.terms, self.tail, groups, |u| self.bent(u))?;
        let [z, t] = critical(level, spread.df);
        let half = spread.half(level);
        // What a share shows no spread of, in units of independent samples, where groups are as alike as elsewhere.
        let fewer = if spread.independent > 0.0 { (half / z).powi(2) / spread.independent } else { (t / z).powi(2) };
        let half = half.hypot(z * (fewer * self.unseen(z)).sqrt());
        Ok(match self.scale {
            Scale::Real if half == 0.0 => return Err(NoInterval::NoSpread),
            Scale::Real => [self.value - half, self.value + half],
            Scale::Log { offset, factor, .. } => {
                let x = (self.value - offset) / factor;
                if x <= 0.0 || half == 0.0 {
                    return Err(NoInterval::NoSpread);
                }
                let half = half / factor.abs() / x;
                sorted([-half, half].map(|h| offset + factor * x * h.exp()))
            }
            Scale::Logit if half > 0.0 && self.value > 0.0 && self.value < 1.0 => {
                let x = self.value;
                let (logit, half) = ((x / (1.0 - x)).ln(), half / (x * (1.0 - x)));
                [-half, half].map(|h| 1.0 / (1.0 + (-(logit + h)).exp()))
            }
            // No pair stands wrong: as a share of which nothing has varied.
            Scale::Logit => sorted(wilson_effective(self.value, spread.carried_by * (z / t) * (z / t), z)),
            Scale::Share { offset, factor } => {
                let x = ((self.value - offset) / factor).clamp(0.0, 1.0);
                let n = if half > 0.0 && x > 0.0 && x < 1.0 {
                    let root = half / factor.abs();
                    x * (1.0 - x) * z * z / (root * root)
                } else {
                    // Nothing has varied: as many as independent samples would carry, fewer as groups are few.
                    spread.carried_by * (z / t) * (z / t)
                };
                sorted(wilson_effective(x, n, z).map(|x| offset + factor * x))
            }
        })
    }
}

fn sorted([a, b]: [f64; 2]) -> [f64; 2] {
    [a.min(b), a.max(b)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        interval::wilson,
        metrics::{auc, balanced_accuracy, mae, root_mean, share},
    };

    fn hits(n: usize, every: usize) -> Vec<bool> {
        (0..n).map(|i| i % every != 0).collect()
    }

    #[track_caller]
    fn check(hits: &[bool], sizes: &[usize]) -> (Spread, [f64; 2]) {
        let names: Vec<i64> = sizes.iter().zip(0..).flat_map(|(n, g)| std::iter::repeat_n(g, *n)).collect();
        let (share, groups) = (share(hits).unwrap(), Groups::new(&names));
        (share.spread(Some(&groups)).unwrap(), share.interval(Some(&groups), 0.95).unwrap())
    }

    #[test]
    fn a_share_of_independent_samples_has_wilsons_interval() {
        for (n, every) in [(100, 3), (20, 7), (10, 100), (1, 1)] {
            let hits = hits(n, every);
            let k = hits.iter().filter(|h| **h).count();
            let found = share(&hits).unwrap().interval(None, 0.95);
            if n == 1 {
                assert_eq!(found, Err(NoInterval::Samples(1)));
                continue;
            }
            let wanted = wilson(k, n).unwrap();
            let near = |(a, b): (f64, f64)| (a - b).abs() < 1e-12;
            assert!(found.unwrap().into_iter().zip(wanted).all(near), "{k} of {n}");
        }
    }

    #[test]
    fn an_area_near_one_is_surer_of_its_upper_end_and_stays_below_one() {
        let scores: Vec<f64> = (0..200).map(|i| f64::from(i) + if i == 100 { -5.0 } else { 0.0 }).collect();
        let positive: Vec<bool> = (0..200).map(|i| i >= 100).collect();
        let area = auc(&scores, &positive).unwrap();
        let [low, high] = area.interval(None, 0.95).unwrap();
        assert!(high < 1.0 && area.value() - low > 3.0 * (high - area.value()), "{low} {} {high}", area.value());
        // The same logit to both sides.
        let logit = |x: f64| (x / (1.0 - x)).ln();
        assert!((logit(low) + logit(high) - 2.0 * logit(area.value())).abs() < 1e-9);
        let right: Vec<f64> = (0..200).map(f64::from).collect();
        let [low, high] = auc(&right, &positive).unwrap().interval(None, 0.95).unwrap();
        assert!(low > 0.9 && low < 0.99 && high == 1.0, "{low} {high}");
    }

    /// A mean of squares whose groups are left out one by one.
    #[test]
    fn a_group_with_most_of_the_error_counts_by_what_is_left_without_it() {
        let squares: Vec<f64> = (0..60).map(|i| if i < 10 { 9.0 } else { 1.0 }).collect();
        let groups = Groups::new(&(0..60).map(|i| i / 10).collect::<Vec<i64>>());
        let found = root_mean(&squares).unwrap();
        let [low, high] = found.interval(Some(&groups), 0.95).unwrap();
        let whole = squares.iter().sum::<f64>() / 60.0;
        let without = |g: usize| (whole * 60.0 - squares[g * 10..][..10].iter().sum::<f64>()) / 50.0;
        let variance: f64 = (0..6).map(|g| (0.5 * (whole / without(g)).ln()).powi(2)).sum();
        let half = (high / low).ln() / 2.0;
        let [_, t] = critical(0.95, found.spread(Some(&groups)).unwrap().df);
        // The degrees of freedom are those of the bent influences, and fewer.
        assert!(half >= t * variance.sqrt() - 1e-9, "{half} {}", t * variance.sqrt());
    }

    #[test]
    fn groups_that_fail_together_widen_and_unequal_groups_count_for_fewer() {
        let apart = check(&hits(100, 5), &[10; 10]);
        let mut together = vec![true; 100];
        together[..20].fill(false);
        let together = check(&together, &[10; 10]);
        assert!(together.1[0] < apart.1[0] && together.1[1] > apart.1[1]);
        assert!((together.0.df - 9.0).abs() < 1e-9);
        let unequal = check(&hits(100, 5), &[55, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
        assert!(unequal.0.df < 9.0 && unequal.0.df >= 1.0);
        // Groups that all did the same have shown no spread; that is not certainty.
        let [low, high] = check(&[true; 100], &[10; 10]).1;
        assert!(low < wilson(100, 100).unwrap()[0] && high == 1.0);
    }

    #[test]
    fn what_one_group_alone_shows_has_no_interval() {
        let labels: Vec<usize> = (0..60).map(|i| usize::from(i < 10)).collect();
        let groups = Groups::new(&(0..60).map(|i| i / 10).collect::<Vec<i64>>());
        let balanced = balanced_accuracy(&labels, &vec![0; 60]).unwrap();
        assert_eq!(balanced.interval(Some(&groups), 0.95), Err(NoInterval::OneGroup(1)));
        let four = Groups::new(&(0..60).map(|i| i / 15).collect::<Vec<i64>>());
        assert_eq!(balanced.interval(Some(&four), 0.95), Err(NoInterval::Groups(4)));
        let same = mae(&[2.0; 9], &[1.0; 9]).unwrap();
        assert_eq!(same.interval(None, 0.95), Err(NoInterval::NoSpread));
    }

    #[test]
    fn a_class_that_is_all_right_is_not_certain() {
        // 22 samples of class 1, all right; 10 of 128 of the other wrong.
        let labels: Vec<usize> = (0..150).map(|i| usize::from(i < 22)).collect();
        let predicted: Vec<usize> = (0..150).map(|i| usize::from(i < 32)).collect();
        let [low, _] = balanced_accuracy(&labels, &predicted).unwrap().interval(None, 0.95).unwrap();
        // Without what class 1 has not shown the lower end would be 0.92; the mean recall of 0.91 is no rarity.
        assert!(low > 0.84 && low < 0.88, "{low}");
        let all: Vec<usize> = labels.clone();
        let [low, high] = balanced_accuracy(&labels, &all).unwrap().interval(None, 0.95).unwrap();
        assert!(low > 0.9 && low < 0.97 && high == 1.0, "{low} {high}");
    }

    #[test]
    fn what_an_interval_rests_on_are_the_samples_that_are_wrong() {
        let of = |wrong: usize| share(&(0..1000).map(|i| i >= wrong).collect::<Vec<_>>()).unwrap().rests_on();
        assert!((of(3) - 3.0).abs() < 0.1 && (of(500) - 1000.0).abs() < 1.0 && of(0) == 0.0, "{} {}", of(3), of(500));
        // The class that is all right may be wrong in what has not shown, and has most of the variance.
        let labels: Vec<usize> = (0..1000).map(|i| usize::from(i < 20)).collect();
        let predicted: Vec<usize> = (0..1000).map(|i| usize::from(i < 60)).collect();
        let found = balanced_accuracy(&labels, &predicted).unwrap().rests_on();
        assert!(found < 2.0, "{found}");
    }

    #[test]
    fn errors_keep_to_one_side_of_zero() {
        let errors: Vec<f64> = (0..30).map(|i| if i == 0 { 50.0 } else { 0.1 }).collect();
        let [low, high] = mae(&errors, &[0.0; 30]).unwrap().interval(None, 0.95).unwrap();
        assert!(low > 0.0 && high > 5.0);
    }
}
