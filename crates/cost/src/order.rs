//! The orders in which executors run the steps of a plan; the order in which a file stores nodes, which every tool shuffles, changes
//! nothing. It knows what reads what, and no sizes.
//!
//! - *Depth first* from the outputs: each step after what it reads, first operand first. tract's evaluation order, and near
//!   onnxruntime's.
//! - *Ready first*: of the steps that read something that is there, the first that lacks nothing; where each lacks something, the next
//!   weight of the one that lacks the fewest weights is fetched. After the order of tract's plans (`eval_order_opt_ram` of tract-core
//!   0.23), which is meant to save memory and does so or takes more, as branches lie.

use std::collections::{BTreeSet, HashMap};

use crate::plan::{Plan, Read};

/// Steps and weights of a graph from which on it is put in order depth first only: what each step lacks is as many bits.
const MOST: usize = 1 << 14;

/// What has to be there before an output is: steps, and what nothing computes. Depth first, so that each reads earlier ones.
struct Flow {
    /// The position of a step of the plan, or `None` of what is there before the run.
    units: Vec<Option<usize>>,
    /// The units that each reads, none twice.
    reads: Vec<Vec<usize>>,
    /// The units that are inputs of the graph.
    given: Vec<usize>,
}

/// Positions of the steps that outputs depend on, in the orders in which they may run.
pub(crate) fn orders(plan: &Plan<'_>) -> Vec<Vec<usize>> {
    let flow = Flow::of(plan, &plan.outputs);
    let steps = |units: Vec<usize>| units.into_iter().filter_map(|u| flow.units[u]).collect();
    let depth_first = (0..flow.units.len()).collect();
    let mut orders = vec![steps(depth_first)];
    if flow.units.len() <= MOST {
        orders.push(steps(flow.ready_first()));
    }
    orders
}

/// What a step waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Wanted {
    Step(usize),
    Given(usize),
    Weight(usize),
}

/// Other steps first, then what is there before the run.
fn wanted(plan: &Plan<'_>, step: usize) -> Vec<Wanted> {
    let of = |read: &Read| match *read {
        Read::Array(array) => plan.arrays[array].step.map_or(Wanted::Given(array), Wanted::Step),
        Read::Weight(weight) => Wanted::Weight(weight),
    };
    let mut all: Vec<Wanted> = plan.steps[step].reads.iter().map(of).collect();
    all.sort_by_key(|w| !matches!(w, Wanted::Step(_)));
    all
}

impl Flow {
    fn of(plan: &Plan<'_>, outputs: &[usize]) -> Self {
        let mut flow = Self { units: Vec::new(), reads: Vec::new(), given: Vec::new() };
        let mut unit_of: HashMap<Wanted, usize> = HashMap::new();
        let mut reached = vec![false; plan.steps.len()];
        for output in outputs {
            let Some(first) = plan.arrays[*output].step else { continue };
            if std::mem::replace(&mut reached[first], true) {
                continue;
            }
            let mut open = vec![(first, wanted(plan, first), 0)];
            while let Some((at, all, next)) = open.last_mut() {
                let at = *at;
                match all.get(*next) {
                    Some(&Wanted::Step(p)) => {
                        *next += 1;
                        if !std::mem::replace(&mut reached[p], true) {
                            open.push((p, wanted(plan, p), 0));
                        }
                    }
                    Some(&other) => {
                        *next += 1;
                        unit_of.entry(other).or_insert_with(|| flow.push(None, Vec::new()));
                    }
                    None => {
                        let mut reads: Vec<usize> = all.iter().filter_map(|w| unit_of.get(w)).copied().collect();
                        reads.sort_unstable();
                        reads.dedup();
                        unit_of.insert(Wanted::Step(at), flow.push(Some(at), reads));
                        open.pop();
                    }
                }
            }
        }
        let given = (0..plan.arrays.len()).filter(|a| plan.arrays[*a].step.is_none());
        flow.given = given.filter_map(|a| unit_of.get(&Wanted::Given(a)).copied()).collect();
        flow
    }

    fn push(&mut self, step: Option<usize>, reads: Vec<usize>) -> usize {
        self.units.push(step);
        self.reads.push(reads);
        self.units.len() - 1
    }

    fn ready_first(&self) -> Vec<usize> {
        let mut readers = vec![Vec::new(); self.units.len()];
        for (unit, reads) in self.reads.iter().enumerate() {
            reads.iter().for_each(|&r| readers[r].push(unit));
        }
        let mut path = Path {
            flow: self,
            readers,
            order: Vec::with_capacity(self.units.len()),
            done: vec![false; self.units.len()],
            unread: self.reads.iter().map(Vec::len).collect(),
            waiting: BTreeSet::new(),
            ready: BTreeSet::new(),
            lacking: HashMap::new(),
        };
        self.given.iter().for_each(|&unit| path.take(unit));
        let mut first = 0;
        while path.order.len() < self.units.len() {
            while path.done[first] {
                first += 1;
            }
            // The first unit that is not done reads only units that are.
            let next = path.ready.first().copied().or_else(|| path.starter()).unwrap_or(first);
            path.take(next);
        }
        path.order
    }
}

/// An order that is being found.
struct Path<'f> {
    flow: &'f Flow,
    readers: Vec<Vec<usize>>,
    order: Vec<usize>,
    done: Vec<bool>,
    /// How many of the units that each reads are not done.
    unread: Vec<usize>,
    /// Units that read something that is done, and something that is not.
    waiting: BTreeSet<usize>,
    /// Units that read only what is done.
    ready: BTreeSet<usize>,
    /// Of the waiting: how many values each lacks, itself or what it reads, and which.
    lacking: HashMap<usize, (usize, Bits)>,
}

impl Path<'_> {
    fn take(&mut self, unit: usize) {
        self.order.push(unit);
        self.done[unit] = true;
        self.ready.remove(&unit);
        for &reader in &self.readers[unit] {
            self.unread[reader] -= 1;
            if self.unread[reader] == 0 {
                self.waiting.remove(&reader);
                self.lacking.remove(&reader);
                self.ready.insert(reader);
            } else {
                self.waiting.insert(reader);
            }
        }
        if self.flow.reads[unit].is_empty() {
            self.lacking.values_mut().for_each(|(count, bits)| *count -= usize::from(bits.remove(unit)));
        }
    }

    /// The first value that the unit lacks which lacks the fewest.
    fn starter(&mut self) -> Option<usize> {
        for &unit in &self.waiting {
            if !self.lacking.contains_key(&unit) {
                let bits = self.upstream(unit);
                self.lacking.insert(unit, (bits.count(), bits));
            }
        }
        let fewest = self.waiting.iter().min_by_key(|unit| self.lacking[unit].0)?;
        self.lacking[fewest].1.first()
    }

    fn upstream(&self, unit: usize) -> Bits {
        let mut found = Bits::new(self.done.len());
        let mut visited = Bits::new(self.done.len());
        let mut open = vec![unit];
        while let Some(at) = open.pop() {
            if self.flow.reads[at].is_empty() {
                found.insert(at);
            }
            open.extend(self.flow.reads[at].iter().copied().filter(|&r| !self.done[r] && visited.insert(r)));
        }
        found
    }
}

/// A set of units.
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    /// Whether it was not in the set.
    fn insert(&mut self, unit: usize) -> bool {
        let (word, bit) = (&mut self.0[unit / 64], 1 << (unit % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Whether it was in the set.
    fn remove(&mut self, unit: usize) -> bool {
        let (word, bit) = (&mut self.0[unit / 64], 1 << (unit % 64));
        let was = *word & bit != 0;
        *word &= !bit;
        was
    }

    fn count(&self) -> usize {
        self.0.iter().map(|w| w.count_ones() as usize).sum()
    }

    fn first(&self) -> Option<usize> {
        let word = self.0.iter().position(|w| *w != 0)?;
        Some(word * 64 + self.0[word].trailing_zeros() as usize)
    }
}
