//! Repair of a pruned model by least squares: every layer whose input changed is fitted to what it computed in the original, from
//! its input as it is after everything before it was pruned and fitted, in the order of the graph (as in "Channel Pruning for
//! Accelerating Very Deep Neural Networks", He et al., arXiv 1707.06168, and "ThiNet", Luo et al., arXiv 1707.06342; the ridge
//! shrinks towards the weights that are left, not towards zero). A layer whose result is added to another value is fitted to the
//! original's sum less that value; one that only a rectifier reads, to what comes out of that. How far it goes is decided on rows that
//! the fit did not see. Knows neither scores nor targets.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use faer::Mat;
use plimsoll_onnx::{Model, NodeId, Patch, captured_names};
use rayon::prelude::*;

use super::{
    groups::Groups,
    layers::{Layer, Place, Reader},
    observed::{Observed, WIDEST},
    removal::apply,
};
use crate::{
    Refusal,
    algebra::{
        Columns, Factor, Moments, Split,
        least_squares::{self, Fitted},
        rectified::Rows,
        softmax,
    },
    observe::{Resumed, Wanted, inputs, targets},
};

/// Damping relative to the mean of the Gram matrix's diagonal; the refit that does best on unseen rows decides, none at all among
/// the choices.
const DAMPINGS: [f64; 4] = [0.01, 0.1, 0.001, 1.0];

/// One layer of a pruned model.
struct Pruned {
    id: NodeId,
    place: Place,
    /// Output channels that are left, by their number in the original.
    kept: Vec<usize>,
    width: usize,
}

/// The pruned model with refitted layers, and how many were.
pub(super) fn refit(
    observed: &Observed<'_, '_>,
    groups: &Groups<'_>,
    removed: &BTreeSet<usize>,
    mut pruned: Model,
) -> Result<(Model, usize), Refusal> {
    let layers = touched(observed, groups, removed);
    let last = layers.iter().map(|l| l.level).max().unwrap_or(0);
    let (mut count, mut resumed) = (0, Resumed::default());
    for level in 0..=last {
        let here: Vec<&Layer<'_>> = layers.iter().filter(|l| l.level == level).copied().collect();
        if here.is_empty() {
            continue;
        }
        let patch = one_level(observed, removed, &here, &pruned, &mut resumed)?;
        count += here.len();
        apply(patch, &mut pruned)?;
    }
    Ok((pruned, count))
}

/// The layers whose input, or what they are added to, is not what it was.
fn touched<'o, 'm>(observed: &Observed<'o, 'm>, groups: &Groups<'m>, removed: &BTreeSet<usize>) -> Vec<&'o Layer<'m>> {
    let view = observed.model.view();
    let gone =
        |v: &str| groups.tracked.get(v).is_some_and(|t| t.iter().any(|l| removed.contains(&groups.labels.root(*l))));
    let mut changed: HashSet<&str> = HashSet::new();
    let mut found = Vec::new();
    let by_id: HashMap<NodeId, &Layer<'m>> = observed.layers.iter().map(|l| (l.id, l)).collect();
    for (id, n) in view.nodes() {
        let mut read = n.input.iter().map(String::as_str).chain(captured_names(n));
        let reads = read.any(|v| changed.contains(v));
        if let Some(layer) = by_id.get(&id)
            && layer.width / layer.groups.max(1) <= WIDEST
            && (reads || layer.sum.is_some_and(|(_, other)| changed.contains(other)))
        {
            found.push(*layer);
        }
        changed.extend(n.output.iter().map(String::as_str).filter(|o| reads || gone(o)));
    }
    found
}

fn one_level(
    observed: &Observed<'_, '_>,
    removed: &BTreeSet<usize>,
    layers: &[&Layer<'_>],
    model: &Model,
    resumed: &mut Resumed,
) -> Result<Patch, Refusal> {
    let (view, runs) = (model.view(), &observed.runs);
    let mut found: Vec<(&Layer<'_>, Pruned)> = Vec::new();
    for &layer in layers {
        let Some((id, n)) = view.producer(layer.output) else { continue };
        let Some(place) = Place::of(&view, n)? else { continue };
        let labels = layer.made.as_deref();
        let kept: Vec<usize> =
            (0..layer.channels).filter(|c| labels.is_none_or(|l| !removed.contains(&l[*c]))).collect();
        let shape = place.weight.shape();
        let width = layer.reading.width(shape, shape[place.axis], place.groups);
        if kept.len() == shape[place.axis] && width > 0 {
            found.push((layer, Pruned { id, place, kept, width }));
        }
    }
    let wanted = |(layer, now): &(&'_ Layer<'_>, Pruned)| -> (NodeId, String, usize) {
        (layer.id, view.node(now.id).input[0].clone(), now.width)
    };
    let read: Vec<Wanted<'_>> = found
        .iter()
        .map(|one| {
            let (_, value, width) = wanted(one);
            one.0.wanted(value, width, one.0.channels)
        })
        .collect();
    let added: Vec<Wanted<'_>> = found
        .iter()
        .filter_map(|(layer, now)| Some(layer.wanted(layer.sum?.1.to_owned(), now.width, now.kept.len())))
        .collect();
    // Values go by the same names in every state of the pruned model.
    let names = observed.layers.iter().map(|l| {
        let now = view.producer(l.output).and_then(|(_, n)| n.input.first());
        (l.id, now.cloned().unwrap_or_else(|| l.input.to_owned()))
    });
    let resumed = resumed.called(names.collect());
    let rows = inputs(Some(resumed), model, observed.context, runs, &read, &observed.targets, observed.each)?;
    let others =
        if added.is_empty() { BTreeMap::new() } else { targets(model, observed.context, runs, &added, observed.each)? };
    let one = |(layer, now): &(&Layer<'_>, Pruned)| -> Option<(Vec<f32>, Option<Vec<f32>>)> {
        let (rows, wanted) = (rows.get(&layer.id)?, observed.targets.get(&layer.id)?);
        let each = wanted.rows.chunks_exact(layer.channels);
        let mut target: Vec<f32> = Vec::with_capacity(each.len() * now.kept.len());
        each.for_each(|row| target.extend(now.kept.iter().map(|&c| row[c])));
        let other = layer.sum.and_then(|_| Some(others.get(&layer.id)?.rows.as_slice()));
        if layer.sum.is_some() {
            let other = other.filter(|o| o.len() == target.len())?;
            target.iter_mut().zip(other).for_each(|(t, o)| *t -= o);
        }
        let n = target.len() / now.kept.len().max(1);
        let together = n / wanted.runs.max(1);
        (rows.len() == n * now.width && n > 0).then(|| fit(now, rows, &target, (layer.reader, other), together))?
    };
    let fitted: Vec<_> = found.par_iter().map(one).collect();
    let mut patch = Patch::new();
    for ((_, now), fitted) in found.iter().zip(fitted) {
        if let Some((rows, bias)) = fitted {
            now.place.write(model, &view, now.id, &rows, bias.as_deref(), &mut patch)?;
        }
    }
    Ok(patch)
}

/// New weights, one row an output channel, and the new bias; `None` where the rows are not usable. `reader` is what follows, and what
/// is added before it.
fn fit(
    now: &Pruned,
    rows: &[f32],
    target: &[f32],
    (reader, added): (Reader, Option<&[f32]>),
    together: usize,
) -> Option<(Vec<f32>, Option<Vec<f32>>)> {
    let (channels, groups) = (now.kept.len(), now.place.groups);
    let (k, count) = (now.width / groups, channels / groups);
    let before = now.place.rows().ok()?;
    let centred = now.place.bias.values(channels).is_some();
    let (mut weights, mut bias) = (Vec::with_capacity(before.len()), Vec::with_capacity(channels));
    for group in 0..groups {
        let w0 = Place::matrix(&before, group * count, count, k);
        let x = Columns { rows, width: now.width, from: group * k, count: k };
        let t = Columns { rows: target, width: channels, from: group * count, count };
        let split = Split::of(x, t, together, centred);
        let whole = split.whole();
        let share = best(&w0, &split)?;
        let plain = |m: &Moments| match share {
            Some(share) => Some(Fitted::of(&w0, m, &factor(m, share)?)),
            None => Some(Fitted { weights: w0.clone(), centre: m.mean_t.clone() }),
        };
        let behind = match (reader, share) {
            (Reader::Rectifier, Some(share)) => {
                let s = added.map(|rows| Columns { rows, ..t });
                Rows { x, t, s }.refit(&w0, &split, |m| factor(m, share))
            }
            (Reader::Softmax, _) if groups == 1 => softmax::refit(x, t, &split, plain),
            _ => None,
        };
        let fitted = behind.map_or_else(|| plain(&whole), Some)?;
        for o in 0..count {
            let row: Vec<f64> = (0..k).map(|j| fitted.weights[(o, j)]).collect();
            let read: f64 = row.iter().zip(&whole.mean_x).map(|(w, m)| w * m).sum();
            bias.push((fitted.centre[o] - read) as f32);
            weights.extend(row.into_iter().map(|w| w as f32));
        }
    }
    let finite = weights.iter().chain(&bias).all(|v| v.is_finite());
    finite.then(|| (weights, centred.then_some(bias)))
}

/// The damping of the refit that does best on unseen rows; `None` where none beats the weights at hand.
fn best(w0: &Mat<f64>, split: &Split) -> Option<Option<f64>> {
    let mut best = (split.unseen.loss(w0), None);
    for share in DAMPINGS {
        let loss = split.unseen.loss(&least_squares::refit(w0, &split.fit, &factor(&split.fit, share)?));
        if loss < best.0 {
            best = (loss, Some(share));
        }
    }
    Some(best.1)
}

pub(super) fn factor(moments: &Moments, share: f64) -> Option<Factor> {
    let power = moments.power();
    let order: Vec<usize> = (0..moments.gram.nrows()).collect();
    Factor::of(&moments.gram, if power > 0.0 { share * power } else { 1.0 }, &order)
}
