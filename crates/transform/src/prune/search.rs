//! Other numbers of channels than the curves of single groups suggest: tried on the whole pruned and repaired model, and judged by
//! the divergence of the outputs on samples that the repair has not seen (the samples are halved, each half judges what was fitted
//! to the other); a difference has to be more than its own noise, and what is no better on the first half is not taken to the second.
//! What is tried next is what a [`Guess`] likes best among many draws. Knows orders, costs and judges, not how a layer is fitted.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    allocate::{Allocator, Curve},
    choose::{Chosen, nearest},
    fold::Fold,
    gain::{Gain, LITTLE, mean},
    guess::Guess,
    meter::{KERNEL, TOLERANCE, Target},
    price::Price,
};
use crate::{Progress, Refusal, draw::Dice};

/// Sets of counts that are drawn for each that is tried.
const DRAWS: usize = 192;
/// Exchanges that lead from the best set of counts to a drawn one, at most.
const FARTHEST: u64 = 6;
/// How many standard errors better something has to be.
const CLEAR: f64 = 0.5;

/// What a search found.
pub(super) struct Found {
    pub(super) chosen: Chosen,
    /// The divergence at the start and at the end.
    pub(super) damage: [f64; 2],
    pub(super) tried: usize,
}

pub(super) struct Search<'a, 'o, 'm> {
    allocator: &'a Allocator<'a, 'm>,
    folds: &'a [Fold<'o, 'm>; 2],
    guess: Guess,
    /// What counts cost, where it pays to work that out and as long as it is true.
    price: Option<Price>,
    /// What goes with counts that were asked for already.
    shares: RefCell<BTreeMap<Vec<usize>, f64>>,
}

/// A set of counts, judged.
struct Judged {
    /// What is left for vectors to do.
    lanes: f64,
    /// Of each sample, softened.
    losses: Vec<f64>,
    /// The mean of what is lost, not softened.
    damage: f64,
    chosen: Chosen,
}

impl Judged {
    /// The damage over what it is softened.
    fn plainly(&self) -> f64 {
        let softened = mean(&self.losses);
        if softened > 0.0 { self.damage / softened } else { 1.0 }
    }

    /// Whether another one clearly does less damage, or less work where neither does much.
    fn is_worse_than(&self, other: &Self) -> bool {
        if self.damage.max(other.damage) <= LITTLE {
            return other.lanes < self.lanes;
        }
        Gain::of(&self.losses, &other.losses).is_beyond(CLEAR)
    }
}

/// What came of judging a set of counts.
enum Verdict {
    Judged(Judged),
    /// No better than the best on the first half: so many times its losses.
    Dropped(f64),
}

impl<'a, 'o, 'm> Search<'a, 'o, 'm> {
    pub(super) fn new(allocator: &'a Allocator<'a, 'm>, folds: &'a [Fold<'o, 'm>; 2], curves: &[Curve]) -> Self {
        let guess = Guess::new(curves.iter().zip(allocator.lists.iter().map(Vec::len)));
        Self { allocator, folds, guess, price: None, shares: RefCell::default() }
    }

    /// Tries other sets of counts than some, as many as take the time of judging `tries` of them on all samples.
    pub(super) fn run(
        mut self,
        starts: [Chosen; 2],
        tries: usize,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Found, Refusal> {
        let (mut dice, [start, other]) = (Dice::new(seed), starts);
        let counts = [&start, &other].map(|s| self.allocator.counts(&s.channels));
        let all = self.folds.len();
        let mut left = all * (tries + 1);
        progress.start("search", left + all);
        let Verdict::Judged(mut best) = self.judged(start, None)? else {
            return Err(Refusal::CheckFailed("there is nothing to start the search from".into()));
        };
        progress.advance(all);
        let first = best.damage;
        let is_new = counts[0] != counts[1];
        let mut known = BTreeMap::from([(counts[0].clone(), mean(&best.losses))]);
        self.price = self.priced(tries)?;
        let mut next = if is_new { Some(other) } else { self.next(&best, &known, &mut dice)? };
        while let Some(chosen) = next {
            let counts = self.allocator.counts(&chosen.channels);
            let (loss, folds) = match self.judged(chosen, Some(&best))? {
                Verdict::Dropped(times) => (times * mean(&best.losses), 1),
                Verdict::Judged(found) => {
                    let loss = mean(&found.losses);
                    if best.is_worse_than(&found) {
                        best = found;
                    }
                    (loss, all)
                }
            };
            known.insert(counts, loss);
            progress.advance(folds);
            left -= folds;
            next = if left >= all { self.next(&best, &known, &mut dice)? } else { None };
        }
        progress.finish();
        Ok(Found { damage: [first, best.damage], chosen: best.chosen, tried: known.len() - 1 })
    }

    /// What to try next; `None` where there is nothing else.
    fn next(
        &mut self,
        best: &Judged,
        known: &BTreeMap<Vec<usize>, f64>,
        dice: &mut Dice,
    ) -> Result<Option<Chosen>, Refusal> {
        loop {
            self.guess.learn(known, dice);
            let next = self.drawn(best, known, dice)?;
            let Some(chosen) = next.as_ref().filter(|_| self.price.is_some()) else { return Ok(next) };
            if self.allocator.meter.share(&chosen.channels)? == chosen.share {
                return Ok(next);
            }
            self.price = None;
        }
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
            let guess = self.guess.at(&counts);
            let promise = match guess * from.plainly() <= LITTLE {
                true => Promise::Lanes(self.allocator.meter.lanes(&at.channels)?),
                false => Promise::Damage(guess),
            };
            if best.as_ref().is_none_or(|(p, _)| promise < *p) {
                best = Some((promise, at));
            }
        }
        Ok(best.map(|(_, chosen)| chosen))
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

    /// What the pruned and repaired model loses on samples that the repair has not seen.
    fn judged(&self, chosen: Chosen, best: Option<&Judged>) -> Result<Verdict, Refusal> {
        let meter = self.allocator.meter;
        let (mut plain, mut losses) = (Vec::new(), Vec::new());
        for fold in self.folds {
            let found = fold.losses(meter.groups, &chosen.channels)?;
            plain.extend(found.plain);
            losses.extend(found.softened);
            if let Some(best) = best.filter(|b| b.damage > LITTLE && losses.len() < b.losses.len()) {
                let times = mean(&losses) / mean(&best.losses[..losses.len()]);
                if times >= 1.0 {
                    return Ok(Verdict::Dropped(times));
                }
            }
        }
        Ok(Verdict::Judged(Judged { lanes: meter.lanes(&chosen.channels)?, losses, damage: mean(&plain), chosen }))
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
