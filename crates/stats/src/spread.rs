//! How far an estimate scatters: influences added up within samples and groups, their squares, and the degrees of freedom of these. It
//! knows neither values nor scales; `estimate` says where the methods come from.

use crate::{
    FEWEST_GROUPS, Groups, NoInterval,
    estimate::{Tail, Term},
    special::{normal_quantile, t_quantile},
};

/// The least variance of grouped samples, over that of independent ones.
pub(crate) const LEAST: f64 = 0.5;

/// How far an estimate scatters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Variance, groups taken into account.
    pub variance: f64,
    /// Variance if the samples were independent.
    pub independent: f64,
    /// Sum of the fourth powers of the samples' influences.
    pub(crate) fourth: f64,
    /// Degrees of freedom of the variance.
    pub df: f64,
    /// Independent samples of a share that would carry as much.
    pub carried_by: f64,
}

impl Spread {
    /// Samples that the variance rests on, with `unseen` more of it from one sample that has not shown: their number where all have the
    /// same influence, fewer where some have more (the reciprocal of Kish's sum of squared shares, here shares of the variance).
    pub(crate) fn rests_on(&self, unseen: f64) -> f64 {
        let (two, four) = (self.independent + unseen, self.fourth + unseen * unseen);
        if four > 0.0 { two * two / four } else { 0.0 }
    }

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

/// How a variance is found, and how sure it is.
#[derive(Clone, Copy)]
struct Method {
    /// The power of what a group leaves to the others, by which its influence is divided.
    power: f64,
    /// The score interval of shares knows its own small samples: independent ones are left as they are.
    as_they_are: bool,
    /// Whether the fourth moment of the influences limits the degrees of freedom.
    limited: bool,
}

const OF_SHARES: Method = Method { power: 0.5, as_they_are: true, limited: false };
const OF_HEAVY_TAILS: Method = Method { power: 1.0, as_they_are: false, limited: true };
/// Few samples may have most of the differences, but a group pulls no more than its share.
const OF_DIFFERENT_ERRORS: Method = Method { power: 0.5, as_they_are: false, limited: true };
/// The same; but how unsure it is of few samples the limits of those lost and won say, and the degrees of freedom do not say it again.
const OF_DIFFERENT_AREAS: Method = Method { power: 0.5, as_they_are: false, limited: false };

impl Method {
    fn df(self, df: f64, units: &[Unit]) -> f64 {
        if self.limited { limited(df, units) } else { df }
    }
}

pub(crate) fn spread(
    terms: &[Term],
    tail: Tail,
    groups: Option<&Groups>,
    bent: impl Fn(f64) -> f64,
) -> Result<Spread, NoInterval> {
    let method = match tail {
        Tail::Bounded => OF_SHARES,
        Tail::Heavy => OF_HEAVY_TAILS,
    };
    spread_by(method, terms, groups, bent)
}

/// Of a difference of two errors.
pub(crate) fn spread_of_errors(terms: &[Term], groups: Option<&Groups>) -> Result<Spread, NoInterval> {
    spread_by(OF_DIFFERENT_ERRORS, terms, groups, |u| u)
}

/// Of a difference of two areas under ROC curves.
pub(crate) fn spread_of_areas(terms: &[Term], groups: Option<&Groups>) -> Result<Spread, NoInterval> {
    spread_by(OF_DIFFERENT_AREAS, terms, groups, |u| u)
}

fn spread_by(
    method: Method,
    terms: &[Term],
    groups: Option<&Groups>,
    bent: impl Fn(f64) -> f64,
) -> Result<Spread, NoInterval> {
    let samples = cells(terms, |s| s);
    let mut parts = vec![0.0; terms.iter().map(|t| t.part as usize + 1).max().unwrap_or(0)];
    samples.iter().for_each(|c| parts[c.part as usize] += c.weight);
    let own = plain(&samples);
    let squares = |units: &[Unit]| units.iter().map(|u| u.0 * u.0).sum::<f64>();
    let weights = |units: &[Unit]| units.iter().map(|u| u.1 * u.1).sum::<f64>();
    let carried_by = 1.0 / weights(&own);
    let fourth = own.iter().map(|u| u.0.powi(4)).sum();
    let Some(groups) = groups else {
        if own.len() < 2 {
            return Err(NoInterval::Samples(own.len()));
        }
        if method.as_they_are {
            let variance = squares(&own);
            return Ok(Spread { variance, independent: variance, fourth, df: f64::INFINITY, carried_by });
        }
        // A class of a single sample shows no spread: its own is left as it is.
        let units = released(&samples, &parts, 0.5).unwrap_or(own);
        let variance = squares(&units);
        let df = method.df(effective(units.iter().map(|u| u.1 * u.1)), &units);
        return Ok(Spread { variance, independent: variance, fourth, df, carried_by });
    };
    let grouped = cells(terms, |s| groups.of(s as usize));
    let units = released(&grouped, &parts, method.power);
    let touched = grouped.chunk_by(|a, b| a.unit == b.unit).count();
    if touched < FEWEST_GROUPS {
        return Err(NoInterval::Groups(touched));
    }
    let units: Vec<Unit> = units?.into_iter().map(|(influence, weight)| (bent(influence), weight)).collect();
    let independent = squares(&own);
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
    Ok(Spread { variance, independent, fourth, df: method.df(df, &units), carried_by })
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
