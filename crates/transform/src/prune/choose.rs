//! How many channels of an order go: the shortest prefix that reaches the target, or other numbers of the groups' channels near
//! it. Knows orders and costs, not scores.

use std::collections::BTreeSet;

use super::{
    groups::{Group, Groups},
    meter::{KERNEL, Meter, Milliseconds, TOLERANCE, Target},
};
use crate::{Context, Refusal};

/// How many sets of channels are tried to come within the tolerance.
const TRIES: usize = 512;

/// Into how many parts of the order a time is bisected.
const RESOLUTION: usize = 64;

/// Channels that go.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) channels: BTreeSet<usize>,
    /// The share of the cost that goes with them.
    pub(super) share: f64,
    /// What was measured, where the target is a time.
    pub(super) measured: Option<String>,
}

/// Bisects for the shortest prefix of the order that reaches the target.
pub(super) fn choose(meter: &Meter<'_, '_>, order: &[usize], context: &Context<'_>) -> Result<Chosen, Refusal> {
    if let Target::Latency(limit) = meter.target {
        return within(meter, order, limit, context);
    }
    let share = |channels: &BTreeSet<usize>| -> Result<f64, Refusal> {
        context.progress.advance(1);
        meter.share(channels)
    };
    let prefix = |k: usize| -> BTreeSet<usize> {
        let block = meter.round_to;
        block.map_or_else(|| order[..k].iter().copied().collect(), |b| rounded(meter.groups, order, k, &|_| b))
    };
    context.progress.start("choose channels", order.len().max(2).ilog2() as usize + 2);
    let most = share(&prefix(order.len()))?;
    let wanted = meter.target.share();
    if most < wanted {
        context.progress.finish();
        let reason = format!(
            "at most {:.1} % of the {} can be removed, {:.1} % were asked for{}",
            most * 100.0,
            meter.target.what(),
            wanted * 100.0,
            meter.groups.refused.first().map(|(l, r)| format!("; of `{l}`, {r}")).unwrap_or_default(),
        );
        return Err(Refusal::CheckFailed(reason));
    }
    if share(&BTreeSet::new())? >= wanted {
        context.progress.finish();
        let reason =
            format!("{:.1} % of the {} are gone already, without any pruning", wanted * 100.0, meter.target.what());
        return Err(Refusal::NoGain(reason));
    }
    let (mut low, mut high) = (0, order.len());
    let mut best = most;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let found = share(&prefix(middle))?;
        if found >= wanted {
            (high, best) = (middle, found);
        } else {
            low = middle;
        }
    }
    let mut chosen = Chosen { channels: prefix(high), share: best, measured: None };
    if best > wanted + TOLERANCE && meter.round_to.is_none() {
        chosen = nearest(meter.groups, order, chosen, wanted, &share)?;
    }
    context.progress.finish();
    Ok(chosen)
}

/// Bisects for the shortest prefix of the order, rounded to whole kernels, that runs within a time.
fn within(
    meter: &Meter<'_, '_>,
    order: &[usize],
    limit: Milliseconds,
    context: &Context<'_>,
) -> Result<Chosen, Refusal> {
    let oracle =
        context.latency.ok_or_else(|| Refusal::CheckFailed("no clock was handed in to take times by".into()))?;
    let limit = limit.value();
    let before = oracle.milliseconds(meter.model)?;
    if before <= limit {
        return Err(Refusal::NoGain(format!("the model takes {before:.3} ms already, {limit:.3} ms are allowed")));
    }
    context.progress.start("take times", order.len().max(2).ilog2() as usize + 2);
    let timed = |k: usize| -> Result<(BTreeSet<usize>, f64), Refusal> {
        let block = |left: usize| {
            // Half of a kernel where there are few.
            let kernel = if left >= 2 * KERNEL { KERNEL } else { KERNEL / 2 };
            meter.round_to.unwrap_or(kernel)
        };
        let channels = rounded(meter.groups, order, k, &block);
        let time = oracle.milliseconds(&meter.without(&channels)?)?;
        context.progress.advance(1);
        Ok((channels, time))
    };
    let mut best = timed(order.len())?;
    if best.1 > limit {
        context.progress.finish();
        let reason = format!("with the fewest channels the model still takes {:.3} ms (before {before:.3})", best.1);
        return Err(Refusal::CheckFailed(reason));
    }
    let (mut low, mut high) = (0, order.len());
    while high - low > (order.len() / RESOLUTION).max(1) {
        let middle = low + (high - low) / 2;
        let found = timed(middle)?;
        if found.1 <= limit {
            (high, best) = (middle, found);
        } else {
            low = middle;
        }
    }
    context.progress.finish();
    let share = meter.share(&best.0)?;
    let measured = format!("one run takes {:.3} ms, before {before:.3} ms; {limit:.3} ms were asked for", best.1);
    Ok(Chosen { channels: best.0, share, measured: Some(measured) })
}

/// The first `k` channels of an order, and of each group of which some go so many more that a multiple of a block is left (of how many,
/// `block` says by what is left), one block at least.
fn rounded(groups: &Groups<'_>, order: &[usize], k: usize, block: &dyn Fn(usize) -> usize) -> BTreeSet<usize> {
    let mut channels = BTreeSet::new();
    for group in &groups.groups {
        let going: Vec<(usize, usize)> =
            order.iter().copied().enumerate().filter(|(_, c)| group.channels.contains(c)).collect();
        let total = group.channels.len();
        let left = total - going.iter().filter(|(at, _)| *at < k).count();
        if left == total {
            continue;
        }
        let block = block(left).max(1);
        // More stay where fewer may go.
        let kept = (left / block).max(1) * block;
        let kept = (kept..=total).step_by(block).find(|kept| total - kept <= going.len()).unwrap_or(total);
        channels.extend(going.iter().take(total - kept).map(|(_, c)| *c));
    }
    channels
}

/// Where whole channels are large, the shortest prefix overshoots. Other numbers of channels of the groups (each group's go in
/// their order) are tried then, the nearest first, until one is within the tolerance.
pub(super) fn nearest(
    groups: &Groups<'_>,
    order: &[usize],
    start: Chosen,
    wanted: f64,
    share: &impl Fn(&BTreeSet<usize>) -> Result<f64, Refusal>,
) -> Result<Chosen, Refusal> {
    let of = |group: &Group| -> Vec<usize> { order.iter().copied().filter(|c| group.channels.contains(c)).collect() };
    let lists: Vec<Vec<usize>> = groups.groups.iter().map(of).filter(|l| !l.is_empty()).collect();
    let counts: Vec<usize> =
        lists.iter().map(|l| l.iter().take_while(|c| start.channels.contains(c)).count()).collect();
    let outside = |share: f64| (wanted - share).max(share - wanted - TOLERANCE).max(0.0);
    let mut seen = BTreeSet::from([counts.clone()]);
    let mut open = vec![(outside(start.share), counts)];
    let mut best = start;
    let mut tries = TRIES;
    while let Some(at) = (0..open.len()).min_by(|&a, &b| open[a].0.total_cmp(&open[b].0)) {
        let (_, counts) = open.swap_remove(at);
        for (more, less) in moves(counts.len()) {
            let mut next = counts.clone();
            let fits = more.is_none_or(|g| next[g] < lists[g].len()) && less.is_none_or(|g| next[g] > 0);
            if !fits {
                continue;
            }
            more.into_iter().for_each(|g| next[g] += 1);
            less.into_iter().for_each(|g| next[g] -= 1);
            if !seen.insert(next.clone()) {
                continue;
            }
            let channels = lists.iter().zip(&next).flat_map(|(l, &n)| &l[..n]).copied().collect();
            let found = share(&channels)?;
            if found >= wanted && found < best.share {
                best = Chosen { channels, share: found, measured: None };
            }
            tries -= 1;
            if best.share <= wanted + TOLERANCE || tries == 0 {
                return Ok(best);
            }
            open.push((outside(found), next));
        }
    }
    Ok(best)
}

/// One channel more of a group, one less of another, or both.
fn moves(groups: usize) -> impl Iterator<Item = (Option<usize>, Option<usize>)> {
    let one = move || std::iter::once(None).chain((0..groups).map(Some));
    one().flat_map(move |more| one().map(move |less| (more, less))).filter(|(more, less)| more != less)
}
