//! How many channels of an order go: the shortest prefix that reaches the target, or other numbers of the groups' channels near
//! it. Knows orders and costs, not scores.

use std::collections::BTreeSet;

use super::{
    groups::{Group, Groups},
    meter::{Meter, TOLERANCE},
};
use crate::{Context, Refusal};

/// How many sets of channels are tried to come within the tolerance.
const TRIES: usize = 512;

/// Channels that go.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) channels: BTreeSet<usize>,
    /// The share of the cost that goes with them.
    pub(super) share: f64,
}

/// Bisects for the shortest prefix of the order that reaches the target.
pub(super) fn choose(meter: &Meter<'_, '_>, order: &[usize], context: &Context<'_>) -> Result<Chosen, Refusal> {
    let share = |channels: &BTreeSet<usize>| -> Result<f64, Refusal> {
        context.progress.advance(1);
        meter.share(channels)
    };
    let prefix = |k: usize| -> BTreeSet<usize> { order[..k].iter().copied().collect() };
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
    let mut chosen = Chosen { channels: prefix(high), share: best };
    if best > wanted + TOLERANCE {
        chosen = nearest(meter.groups, order, chosen, wanted, &share)?;
    }
    context.progress.finish();
    Ok(chosen)
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
                best = Chosen { channels, share: found };
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
