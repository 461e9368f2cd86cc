//! Other numbers of channels than the curves of single groups suggest: tried on the whole pruned and repaired model, and judged by
//! the divergence of the outputs on samples that the repair has not seen (the samples are halved, each half judges what was fitted
//! to the other); a difference has to be more than its own noise. What is tried next is what a guess likes best among many draws:
//! the sum of what the groups do alone, each weighed so as to explain what was judged so far. Knows orders, costs and judges, not
//! how a layer is fitted.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use faer::{Mat, Side, linalg::solvers::Llt, prelude::Solve};

use super::{
    allocate::{Allocator, Curve, slopes},
    choose::{Chosen, nearest},
    gain::{Gain, LITTLE},
    meter::{KERNEL, TOLERANCE, Target},
    observed::Observed,
    price::Price,
    refit::refit,
    removal::{apply, remove},
};
use crate::{Refusal, draw::Dice, observe::Reference};

/// Sets of counts that are drawn for each that is tried.
const DRAWS: usize = 48;
/// Exchanges that lead from the best set of counts to a drawn one, at most.
const FARTHEST: u64 = 3;
/// How much what groups do alone is trusted: as if so many sets of counts had been judged.
const TRUST: f64 = 2.0;
/// How many standard errors better something has to be.
const CLEAR: f64 = 0.5;
/// What is fitted to some samples is judged on others.
pub(super) struct Fold<'o, 'm> {
    pub(super) fit: Observed<'o, 'm>,
    pub(super) judge: Reference<'o>,
}

/// What a search found.
pub(super) struct Found {
    pub(super) chosen: Chosen,
    /// The divergence at the start and at the end.
    pub(super) damage: [f64; 2],
    pub(super) tried: usize,
}

pub(super) struct Search<'a, 'o, 'm> {
    allocator: &'a Allocator<'a, 'o, 'm>,
    folds: &'a [Fold<'o, 'm>],
    /// By group and number of channels that go: the damage of that alone.
    alone: Vec<Vec<f64>>,
    /// How much of that each group does among others.
    weights: Vec<f64>,
    /// What counts cost, where it pays to work that out and as long as it is true.
    price: Option<Price>,
    /// What goes with counts that were asked for already.
    shares: RefCell<BTreeMap<Vec<usize>, f64>>,
}

/// A set of counts, judged.
struct Judged {
    /// What is left for vectors to do.
    lanes: f64,
    /// Of each sample.
    losses: Vec<f64>,
    /// Their mean.
    damage: f64,
    chosen: Chosen,
}

impl Judged {
    /// Whether another one clearly does less damage, or less work where neither does much.
    fn is_worse_than(&self, other: &Self) -> bool {
        if self.damage.max(other.damage) <= LITTLE {
            return other.lanes < self.lanes;
        }
        Gain::of(&self.losses, &other.losses).is_beyond(CLEAR)
    }
}

impl<'a, 'o, 'm> Search<'a, 'o, 'm> {
    pub(super) fn new(allocator: &'a Allocator<'a, 'o, 'm>, folds: &'a [Fold<'o, 'm>], curves: &[Curve]) -> Self {
        let sums = |(curve, list): (&Curve, &Vec<usize>)| -> Vec<f64> {
            let rises = slopes(curve, list.len()).into_iter().scan(0.0, |sum, rise| {
                *sum += rise;
                Some(*sum)
            });
            std::iter::once(0.0).chain(rises).collect()
        };
        let alone: Vec<Vec<f64>> = curves.iter().zip(&allocator.lists).map(sums).collect();
        let weights = vec![1.0; alone.len()];
        Self { allocator, folds, alone, weights, price: None, shares: RefCell::default() }
    }

    /// Tries at most `tries` sets of counts, starting from the best of some.
    pub(super) fn run(mut self, starts: Vec<Chosen>, tries: usize, seed: u64) -> Result<Found, Refusal> {
        let progress = self.allocator.observed.context.progress;
        let mut dice = Dice::new(seed);
        progress.start("search", starts.len() + tries);
        let mut known: BTreeMap<Vec<usize>, f64> = BTreeMap::new();
        let mut best: Option<Judged> = None;
        let mut first = f64::INFINITY;
        for start in starts {
            progress.advance(1);
            let counts = self.allocator.counts(&start.channels);
            if known.contains_key(&counts) {
                continue;
            }
            let found = self.judged(start)?;
            known.insert(counts, found.damage);
            first = if first.is_finite() { first } else { found.damage };
            if best.as_ref().is_none_or(|b| found.damage < b.damage) {
                best = Some(found);
            }
        }
        let Some(mut best) = best else {
            return Err(Refusal::CheckFailed("there is nothing to start the search from".into()));
        };
        let mut tried = 0;
        self.price = self.priced(tries)?;
        while tried < tries {
            self.learn(&known);
            let Some(next) = self.drawn(&best, &known, &mut dice)? else { break };
            if self.price.is_some() && self.allocator.meter.share(&next.channels)? != next.share {
                self.price = None;
                continue;
            }
            tried += 1;
            progress.advance(1);
            let counts = self.allocator.counts(&next.channels);
            let found = self.judged(next)?;
            known.insert(counts, found.damage);
            if best.is_worse_than(&found) {
                best = found;
            }
        }
        progress.finish();
        Ok(Found { damage: [first, best.damage], chosen: best.chosen, tried })
    }

    /// Of many sets of counts near one the one that promises most, none that is known; `None` where there is no other.
    fn drawn(
        &self,
        from: &Judged,
        known: &BTreeMap<Vec<usize>, f64>,
        dice: &mut Dice,
    ) -> Result<Option<Chosen>, Refusal> {
        let mut best: Option<(Promise, Chosen)> = None;
        for _ in 0..DRAWS {
            // Where little is lost anyway, what weighs less is far off: one draw leads to the next.
            let on = best.as_ref().filter(|(p, _)| matches!(p, Promise::Lanes(_)) && dice.next().is_multiple_of(2));
            let mut at = on.map_or(&from.chosen, |(_, chosen)| chosen).clone();
            for _ in 0..=dice.next() % FARTHEST {
                let counts = self.allocator.counts(&at.channels);
                let exchange = Exchange::drawn(dice, counts.len(), from.damage <= LITTLE);
                at = self.exchanged(&counts, exchange)?.unwrap_or(at);
            }
            let counts = self.allocator.counts(&at.channels);
            if known.contains_key(&counts) {
                continue;
            }
            let guess = self.guess(&counts);
            let promise = match guess <= LITTLE {
                true => Promise::Lanes(self.allocator.meter.lanes(&at.channels)?),
                false => Promise::Damage(guess),
            };
            if best.as_ref().is_none_or(|(p, _)| promise < *p) {
                best = Some((promise, at));
            }
        }
        Ok(best.map(|(_, chosen)| chosen))
    }

    /// What each group does alone, by how many of its channels go.
    fn alone(&self, counts: &[usize]) -> Vec<f64> {
        self.alone.iter().zip(counts).map(|(sums, n)| sums.get(*n).copied().unwrap_or(0.0)).collect()
    }

    /// The damage as a weighed sum of what the groups do alone.
    fn guess(&self, counts: &[usize]) -> f64 {
        self.alone(counts).iter().zip(&self.weights).map(|(a, w)| a * w).sum()
    }

    /// Weighs the groups so that the sums come nearest to what was judged, in proportion to it; a ridge keeps the weights alike
    /// where little is known.
    fn learn(&mut self, known: &BTreeMap<Vec<usize>, f64>) {
        let found: Vec<(Vec<f64>, f64)> =
            known.iter().filter(|(_, d)| d.is_finite() && **d > 0.0).map(|(c, d)| (self.alone(c), *d)).collect();
        // What all groups would have to be weighed by alike.
        let ratios: Vec<f64> = found.iter().map(|(a, d)| a.iter().sum::<f64>() / d).filter(|r| *r > 0.0).collect();
        if ratios.is_empty() {
            return;
        }
        let alike = ratios.iter().sum::<f64>() / ratios.iter().map(|r| r * r).sum::<f64>();
        let n = self.weights.len();
        let term = |i: usize, (a, d): &(Vec<f64>, f64)| alike * a[i] / d;
        let mut gram = Mat::from_fn(n, n, |i, j| found.iter().map(|f| term(i, f) * term(j, f)).sum::<f64>());
        let mean = (0..n).map(|i| gram[(i, i)]).sum::<f64>() / (n * found.len()).max(1) as f64;
        (0..n).for_each(|i| gram[(i, i)] += (TRUST * mean).max(f64::MIN_POSITIVE));
        let missing = Mat::from_fn(n, 1, |i, _| {
            found.iter().map(|f| term(i, f) * (1.0 - (0..n).map(|j| term(j, f)).sum::<f64>())).sum::<f64>()
        });
        let Ok(llt) = Llt::new(gram.as_ref(), Side::Lower) else { return };
        let change = llt.solve(&missing);
        self.weights = (0..n).map(|i| alike * (1.0 + change[(i, 0)]).max(0.1)).collect();
    }

    /// What counts cost; `None` where there are so many groups that fewer models are measured without it. The bytes of a file are no
    /// polynomial: lengths are written with them.
    fn priced(&self, tries: usize) -> Result<Option<Price>, Refusal> {
        let Allocator { meter, lists, .. } = self.allocator;
        let pays = 4 * Price::models(lists.len()) <= tries * DRAWS && !matches!(meter.target, Target::Bytes(_));
        pays.then(|| Price::of(lists.len(), |counts| meter.left(&self.allocator.channels(counts)))).transpose()
    }

    /// The share of the target's measure that is gone.
    fn share(&self, counts: &[usize]) -> Result<f64, Refusal> {
        if let Some(price) = &self.price {
            return Ok(self.allocator.meter.gone(price.at(counts)));
        }
        if let Some(known) = self.shares.borrow().get(counts) {
            return Ok(*known);
        }
        let share = self.allocator.meter.share(&self.allocator.channels(counts))?;
        self.shares.borrow_mut().insert(counts.to_vec(), share);
        Ok(share)
    }

    /// The divergence of the pruned and repaired model on samples that the repair has not seen.
    fn judged(&self, chosen: Chosen) -> Result<Judged, Refusal> {
        let (model, groups) = (self.allocator.meter.model, self.allocator.meter.groups);
        let mut pruned = model.clone();
        apply(remove(model, groups, &chosen.channels)?, &mut pruned)?;
        let mut losses = Vec::new();
        for fold in self.folds {
            let (fitted, _) = refit(&fold.fit, groups, &chosen.channels, pruned.clone())?;
            losses.extend(fold.judge.losses(&fitted)?);
        }
        Ok(Judged { lanes: self.allocator.meter.lanes(&chosen.channels)?, damage: mean(&losses), losses, chosen })
    }

    /// Some channels more of one group go, as many of another stay as the target allows.
    fn exchanged(&self, counts: &[usize], exchange: Exchange) -> Result<Option<Chosen>, Refusal> {
        let Exchange { more, less, step } = exchange;
        let Allocator { meter, lists, .. } = self.allocator;
        let step = match step {
            Step::Part(part) => (lists[more].len() / part).max(1),
            Step::Kernel => match (lists[more].len() - counts[more]) % KERNEL {
                0 => KERNEL,
                beyond => beyond,
            },
        };
        if more == less || counts[more] + step > lists[more].len() || counts[less] == 0 {
            return Ok(None);
        }
        let wanted = meter.target.share();
        let mut next = counts.to_vec();
        next[more] += step;
        // The fewest of the other group with which the target is still reached.
        let (mut low, mut high) = (0, counts[less]);
        while low < high {
            next[less] = low + (high - low) / 2;
            if self.share(&next)? < wanted {
                low = next[less] + 1;
            } else {
                high = next[less];
            }
        }
        if high == counts[less] {
            return Ok(None);
        }
        next[less] = high;
        let best = Chosen { channels: self.allocator.channels(&next), share: self.share(&next)?, measured: None };
        if best.share <= wanted + TOLERANCE {
            return Ok(Some(best));
        }
        let order: Vec<usize> = lists.iter().flatten().copied().collect();
        let share = |c: &BTreeSet<usize>| self.share(&self.allocator.counts(c));
        let near = nearest(meter.groups, &order, best, wanted, &share)?;
        Ok((near.share >= wanted && near.share <= wanted + TOLERANCE).then_some(near))
    }
}

/// What a set of counts promises, the better the less: little damage and so much to do for vectors, or more damage than that.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Promise {
    Lanes(f64),
    Damage(f64),
}

/// Some of one group's channels more, less of another.
#[derive(Clone, Copy)]
struct Exchange {
    more: usize,
    less: usize,
    step: Step,
}

/// How many go.
#[derive(Clone, Copy)]
enum Step {
    /// One in so many.
    Part(usize),
    /// As many as leave whole kernels.
    Kernel,
}

impl Exchange {
    /// Whole kernels are worth something only where there is little to lose.
    fn drawn(dice: &mut Dice, groups: usize, little: bool) -> Self {
        let steps: &[Step] = &[Step::Part(8), Step::Part(16), Step::Kernel, Step::Kernel];
        let steps = if little { steps } else { &steps[..2] };
        let mut below = |n: usize| (dice.next() % n.max(1) as u64) as usize;
        Self { more: below(groups), less: below(groups), step: steps[below(steps.len())] }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
