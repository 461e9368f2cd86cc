//! Goes through a model's layers in the order of the graph and gives each zeros that its other weights compensate, on what it
//! reads once everything before it has its zeros. Knows executors by their trait; must not know how many zeros are wanted, nor why.

use std::collections::BTreeMap;

use faer::Mat;
use plimsoll_onnx::{Model, Patch, shape::Bindings};
use rayon::prelude::*;

use super::compensate::{Keep, compensated};
use crate::{
    Context, Refusal,
    algebra::{Columns, Split, least_squares},
    observe::{Judge, Resumed, Runs, Wanted, inputs},
    prune::{
        groups::Groups,
        layers::{Layer, Place, layers},
        observed::{Observed, WIDEST},
        refit::factor,
        removal::apply,
    },
};

/// One run in so many is held back to judge by.
const HELD_BACK: usize = 5;
/// Damping relative to the mean of the Gram matrix's diagonal: of the refit before zeros are chosen, and of their compensation.
const DAMPINGS: [f64; 4] = [0.01, 0.1, 0.001, 1.0];
const COMPENSATION: f64 = 0.01;

/// What came of it.
pub(super) struct Compensated {
    /// The model with zeros and what makes up for them.
    pub(super) model: Model,
    /// Layers that were changed.
    pub(super) layers: usize,
    /// Distance of the outputs from the original's on runs that were held back: as given, and compensated.
    pub(super) distances: Option<[f64; 2]>,
}

/// Chooses zeros again in the layers for which `keep` says how many, of `original`; `sparse` has its zeros already, with the same
/// nodes, and keeps them in all other layers.
pub(super) fn compensate(
    original: &Model,
    sparse: &Model,
    context: &Context<'_>,
    samples: usize,
    keep: &BTreeMap<String, Keep>,
) -> Result<Compensated, Refusal> {
    let groups = Groups::of(original, &[]);
    let mut found = layers(original, &groups, &Bindings::batch(1))?;
    let weight = |l: &Layer<'_>| original.graph().node.get(l.id.0).and_then(|n| n.input.get(1));
    found.retain(|l| l.width / l.groups.max(1) <= WIDEST && weight(l).is_some_and(|w| keep.contains_key(w)));
    // Each is fitted to what it computed itself, not to sums.
    found.iter_mut().for_each(|l| l.sum = None);
    let (runs, held) = Runs::of(original, context, samples)?.held_back(HELD_BACK);
    let levels = found.iter().map(|l| l.level + 1).max().unwrap_or(0);
    context.progress.start("compensate zeros", (levels + 1) * runs.len());
    let observed = Observed::of(original, context, &found, runs)?;
    let (mut model, mut changed, mut resumed) = (sparse.clone(), 0, Resumed::default());
    for level in 0..levels {
        let here: Vec<&Layer<'_>> = found.iter().filter(|l| l.level == level).collect();
        if !here.is_empty() {
            let (patch, count) = one_level(&observed, &here, &model, keep, &mut resumed)?;
            changed += count;
            apply(patch, &mut model)?;
        }
    }
    context.progress.finish();
    let judge = Judge::of(original, context, held)?;
    let distances = judge.map(|j| Ok::<_, Refusal>([j.distance(sparse)?, j.distance(&model)?])).transpose()?;
    Ok(Compensated { model, layers: changed, distances })
}

fn one_level(
    observed: &Observed<'_, '_>,
    layers: &[&Layer<'_>],
    model: &Model,
    keep: &BTreeMap<String, Keep>,
    resumed: &mut Resumed,
) -> Result<(Patch, usize), Refusal> {
    let view = model.view();
    let original = observed.model.view();
    let wanted: Vec<Wanted<'_>> = layers.iter().map(|l| l.wanted(l.input.to_owned(), l.width, l.channels)).collect();
    // Zeros change no names; what the model itself is given is fed anyway.
    let computed = observed.layers.iter().filter(|l| view.producer(l.input).is_some());
    let names = computed.map(|l| (l.id, l.input.to_owned())).collect();
    let resumed = resumed.called(names);
    let rows =
        inputs(Some(resumed), model, observed.context, &observed.runs, &wanted, &observed.targets, observed.each)?;
    let one = |layer: &&Layer<'_>| -> Result<Option<Fitted>, Refusal> {
        let n = original.node(layer.id);
        let (Some(place), Some(keep)) = (Place::of(&original, n)?, keep.get(&n.input[1])) else { return Ok(None) };
        let (Some(rows), Some(target)) = (rows.get(&layer.id), observed.targets.get(&layer.id)) else {
            return Ok(None);
        };
        let together = target.rows.len() / layer.channels.max(1) / target.runs.max(1);
        Ok(fit(layer, &place, rows, &target.rows, together, *keep))
    };
    let fitted: Vec<_> = layers.par_iter().map(one).collect::<Result<_, _>>()?;
    let (mut patch, mut count) = (Patch::new(), 0);
    for (layer, fitted) in layers.iter().zip(fitted) {
        let Some(Fitted { rows, bias }) = fitted else { continue };
        let Some((id, n)) = view.producer(layer.output) else { continue };
        if let Some(place) = Place::of(&view, n)? {
            place.write(model, &view, id, &rows, bias.as_deref(), &mut patch)?;
            count += 1;
        }
    }
    Ok((patch, count))
}

/// New weights, one row an output channel, and the new bias.
struct Fitted {
    rows: Vec<f32>,
    bias: Option<Vec<f32>>,
}

/// Zeros and what makes up for them; `None` where the rows are not usable.
fn fit(layer: &Layer<'_>, place: &Place, rows: &[f32], target: &[f32], together: usize, keep: Keep) -> Option<Fitted> {
    let (channels, groups) = (layer.channels, layer.groups.max(1));
    let (k, count) = (layer.width / groups, channels / groups);
    let n = rows.len() / layer.width.max(1);
    if n == 0 || target.len() != n * channels {
        return None;
    }
    let original = place.rows().ok()?;
    let centred = place.bias.values(channels).is_some();
    let (mut weights, mut bias) = (Vec::with_capacity(original.len()), Vec::with_capacity(channels));
    let mut due = 0;
    for group in 0..groups {
        let w0 = Place::matrix(&original, group * count, count, k);
        let x = Columns { rows, width: layer.width, from: group * k, count: k };
        let t = Columns { rows: target, width: channels, from: group * count, count };
        let split = Split::of(x, t, together, centred);
        let whole = split.whole();
        let wanted = refitted(w0, &split)?;
        // Groups get their part of the zeros, so that all of them have the exact count together.
        let keep = match keep {
            Keep::AllBut(zeros) => {
                let now = zeros * (group + 1) / groups;
                let part = now - due;
                due = now;
                Keep::AllBut(part)
            }
            blocks => blocks,
        };
        let found = compensated(&wanted, &whole, COMPENSATION, keep)?;
        for o in 0..count {
            let row: Vec<f64> = (0..k).map(|j| found[(o, j)]).collect();
            bias.push(whole.shift(o, &row) as f32);
            weights.extend(row.into_iter().map(|w| w as f32));
        }
    }
    let finite = weights.iter().chain(&bias).all(|v| v.is_finite());
    finite.then(|| Fitted { rows: weights, bias: centred.then_some(bias) })
}

/// The weights that do best on rows which the fit did not see, before any become zero.
fn refitted(w0: Mat<f64>, split: &Split) -> Option<Mat<f64>> {
    let mut best = (split.unseen.loss(&w0), None);
    for share in DAMPINGS {
        let loss = split.unseen.loss(&least_squares::refit(&w0, &split.fit, &factor(&split.fit, share)?));
        if loss < best.0 {
            best = (loss, Some(share));
        }
    }
    let Some(share) = best.1 else { return Some(w0) };
    let whole = split.whole();
    Some(least_squares::refit(&w0, &whole, &factor(&whole, share)?))
}
