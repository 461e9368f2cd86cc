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
//! - Shares keep to 0 … 1 by Wilson's score interval with the effective number of samples (Kish 1965; Franco, Little, Louis and
//!   Slud 2019). For independent samples and a plain share that is Wilson's interval itself.
//!
//! `examples/coverage.rs` shows what these intervals cover.

use std::fmt;

use crate::{
    Groups,
    interval::wilson_effective,
    special::{normal_quantile, t_quantile},
};

/// Groups that an interval needs at least.
pub const FEWEST_GROUPS: usize = 5;

/// The least variance of grouped samples, over that of independent ones.
pub(crate) const LEAST: f64 = 0.5;

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
    /// x is positive, and its logarithm is symmetric.
    Log {
        /// Value at x = 0.
        offset: f64,
        /// Change with x.
        factor: f64,
    },
    /// Any number.
    Real,
}

impl Scale {
    /// A plain share.
    pub const SHARE: Self = Self::Share { offset: 0.0, factor: 1.0 };
    /// A plain positive number.
    pub const POSITIVE: Self = Self::Log { offset: 0.0, factor: 1.0 };
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
}

/// How far an estimate scatters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Variance, groups taken into account.
    pub variance: f64,
    /// Variance if the samples were independent.
    pub independent: f64,
    /// Degrees of freedom of the variance.
    pub df: f64,
    /// Independent samples of a share that would carry as much.
    pub carried_by: f64,
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
        Self { value, scale, tail, samples, terms }
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
        if let Scale::Share { factor, .. } = self.scale { Some(factor) } else { None }
    }

    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }

    /// Variance and degrees of freedom; with `groups`, those of groups that were drawn as wholes.
    pub fn spread(&self, groups: Option<&Groups>) -> Result<Spread, NoInterval> {
        spread(&self.terms, self.tail, groups)
    }

    /// The two-sided interval at a level such as 0.95.
    pub fn interval(&self, groups: Option<&Groups>, level: f64) -> Result<[f64; 2], NoInterval> {
        let spread = self.spread(groups)?;
        let [z, t] = critical(level, spread.df);
        let half = spread.half(level);
        Ok(match self.scale {
            Scale::Real if half == 0.0 => return Err(NoInterval::NoSpread),
            Scale::Real => [self.value - half, self.value + half],
            Scale::Log { offset, factor } => {
                let x = (self.value - offset) / factor;
                if x <= 0.0 || half == 0.0 {
                    return Err(NoInterval::NoSpread);
                }
                let half = half / factor.abs() / x;
                sorted([-half, half].map(|h| offset + factor * x * h.exp()))
            }
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

impl Spread {
    /// Half the width of a symmetric interval. A handful of groups may by chance differ less than samples do, but not by much:
    /// half the variance of independent samples is the least.
    pub fn half(&self, level: f64) -> f64 {
        let [z, t] = critical(level, self.df);
        (t * self.variance.sqrt()).max(z * (self.independent * LEAST).sqrt())
    }
}

/// The two-sided critical values of the normal distribution and of Student's t.
pub(crate) fn critical(level: f64, df: f64) -> [f64; 2] {
    let p = 0.5 + level / 2.0;
    [normal_quantile(p), t_quantile(p, df)]
}

fn sorted([a, b]: [f64; 2]) -> [f64; 2] {
    [a.min(b), a.max(b)]
}

/// Sums over the terms of one part in one unit (sample or group).
#[derive(Clone, Copy)]
struct Cell {
    unit: u32,
    part: u32,
    influence: f64,
    weight: f64,
}

fn cells(terms: &[Term], unit: impl Fn(u32) -> u32) -> Vec<Cell> {
    let cell = |t: &Term| Cell { unit: unit(t.sample), part: t.part, influence: t.influence, weight: t.weight };
    let mut all: Vec<Cell> = terms.iter().map(cell).collect();
    all.sort_by_key(|c| (c.unit, c.part));
    let mut joined: Vec<Cell> = Vec::with_capacity(all.len());
    for cell in all {
        match joined.last_mut().filter(|last| (last.unit, last.part) == (cell.unit, cell.part)) {
            Some(last) => (last.influence, last.weight) = (last.influence + cell.influence, last.weight + cell.weight),
            None => joined.push(cell),
        }
    }
    joined
}

/// Influence and weight of a unit.
type Unit = (f64, f64);

/// Units as they are.
fn plain(cells: &[Cell]) -> Vec<Unit> {
    let sum = |of: &[Cell]| of.iter().fold((0.0, 0.0), |(i, w), c| (i + c.influence, w + c.weight));
    cells.chunk_by(|a, b| a.unit == b.unit).map(sum).collect()
}

/// Units with the pull of each on the estimate taken out. `parts` are the sums of the weights.
fn released(cells: &[Cell], parts: &[f64], power: f64) -> Result<Vec<Unit>, NoInterval> {
    let mut units = Vec::new();
    for of_one in cells.chunk_by(|a, b| a.unit == b.unit) {
        let (mut influence, mut weight) = (0.0, 0.0);
        for cell in of_one.iter().filter(|c| c.weight > 0.0) {
            let left = 1.0 - cell.weight / parts[cell.part as usize];
            if left < 1e-12 {
                return Err(NoInterval::OneGroup(cell.part));
            }
            influence += cell.influence / left.powf(power);
            weight += cell.weight;
        }
        units.push((influence, weight));
    }
    Ok(units)
}

pub(crate) fn spread(terms: &[Term], tail: Tail, groups: Option<&Groups>) -> Result<Spread, NoInterval> {
    let samples = cells(terms, |s| s);
    let mut parts = vec![0.0; terms.iter().map(|t| t.part as usize + 1).max().unwrap_or(0)];
    samples.iter().for_each(|c| parts[c.part as usize] += c.weight);
    let own = plain(&samples);
    let squares = |units: &[Unit]| units.iter().map(|u| u.0 * u.0).sum::<f64>();
    let weights = |units: &[Unit]| units.iter().map(|u| u.1 * u.1).sum::<f64>();
    let carried_by = 1.0 / weights(&own);
    let Some(groups) = groups else {
        if own.len() < 2 {
            return Err(NoInterval::Samples(own.len()));
        }
        if tail == Tail::Bounded {
            // The score interval of shares knows its own small samples.
            let variance = squares(&own);
            return Ok(Spread { variance, independent: variance, df: f64::INFINITY, carried_by });
        }
        // A class of a single sample shows no spread: its own is left as it is.
        let units = released(&samples, &parts, 0.5).unwrap_or(own);
        let variance = squares(&units);
        let df = limited(effective(units.iter().map(|u| u.1 * u.1)), &units);
        return Ok(Spread { variance, independent: variance, df, carried_by });
    };
    let grouped = cells(terms, |s| groups.of(s as usize));
    let units = released(&grouped, &parts, if tail == Tail::Heavy { 1.0 } else { 0.5 });
    let touched = grouped.chunk_by(|a, b| a.unit == b.unit).count();
    if touched < FEWEST_GROUPS {
        return Err(NoInterval::Groups(touched));
    }
    let (units, independent) = (units?, squares(&own));
    let variance = squares(&units);
    // The working model for the degrees of freedom: samples of a group are alike to the degree that the variances show.
    let together = weights(&units) * carried_by;
    let alike = if independent > 0.0 && together > 1.0 {
        ((variance / independent - 1.0) / (together - 1.0)).clamp(0.0, 1.0)
    } else {
        1.0
    };
    let mut apart = vec![0.0; groups.len()];
    for (of_one, unit) in samples.chunk_by(|a, b| a.unit == b.unit).zip(&own) {
        apart[groups.of(of_one[0].unit as usize) as usize] += unit.1 * unit.1;
    }
    let apart = apart.into_iter().filter(|a| *a > 0.0);
    let df = effective(units.iter().zip(apart).map(|(u, a)| (1.0 - alike) * a + alike * u.1 * u.1));
    let df = if tail == Tail::Heavy { limited(df, &units) } else { df };
    Ok(Spread { variance, independent, df, carried_by })
}

/// Degrees of freedom of a sum of squares whose terms have these expectations, the mean being estimated.
fn effective(expected: impl Iterator<Item = f64>) -> f64 {
    let (one, two) = expected.fold((0.0, 0.0), |(a, b), w| (a + w, b + w * w));
    (one * one / two - 1.0).max(1.0)
}

/// The same by the fourth moment of the influences, where that leaves fewer.
fn limited(df: f64, units: &[Unit]) -> f64 {
    let (two, four) = units.iter().fold((0.0, 0.0), |(a, b), u| (a + u.0 * u.0, b + u.0.powi(4)));
    let scatter = four - two * two / units.len() as f64;
    if scatter > 0.0 { df.min(2.0 * two * two / scatter).max(1.0) } else { df }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        interval::wilson,
        metrics::{balanced_accuracy, mae, share},
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
    fn errors_keep_to_one_side_of_zero() {
        let errors: Vec<f64> = (0..30).map(|i| if i == 0 { 50.0 } else { 0.1 }).collect();
        let [low, high] = mae(&errors, &[0.0; 30]).unwrap().interval(None, 0.95).unwrap();
        assert!(low > 0.0 && high > 5.0);
    }
}
