//! Rows of what layers compute in the original, and of what they read in a partly changed model. Only what leads to these values
//! is executed, from values that were kept before where there are such; of each run a few positions are taken, so that memory
//! does not grow with the data set. Knows executors by their trait only.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use plimsoll_onnx::{Model, NodeId, Tensor, Tensors};
use plimsoll_runtime::LoadOptions;

use super::{Part, Reading, Runs, floats};
use crate::{Context, Refusal};

/// Rows that a layer is fitted to; more do not pay.
const ROWS: usize = 12_288;
/// Elements of rows that are held at a time.
const ELEMENTS: usize = 64 << 20;
/// Bytes of values that are kept to start from.
const RESUMED: usize = 256 << 20;

/// One layer to capture.
pub(crate) struct Wanted<'w> {
    /// The node in the original.
    pub(crate) id: NodeId,
    /// How it reads.
    pub(crate) reading: &'w Reading,
    /// Elements of a row of its input.
    pub(crate) width: usize,
    /// Output channels.
    pub(crate) channels: usize,
    /// The value to capture: what the node computes in the original, or what it reads in the partly changed model.
    pub(crate) value: String,
}

/// Rows of what a layer computes in the original.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// One value a channel, row-major.
    pub(crate) rows: Vec<f32>,
    /// Number of runs that they come from, each with as many rows.
    pub(crate) runs: usize,
    /// The shape of the value in one run.
    shape: Vec<usize>,
}

/// How many rows of each run are kept of layers with so many elements a row, all together.
pub(crate) fn rows_a_run(runs: &Runs<'_>, elements: usize) -> usize {
    let rows = ROWS.min(ELEMENTS / elements.max(1)).max(runs.len());
    rows.div_ceil(runs.len().max(1))
}

/// What each layer computes in the original, at `each` positions of every run, in the order of the runs.
pub(crate) fn targets(
    original: &Model,
    context: &Context<'_>,
    runs: &Runs<'_>,
    wanted: &[Wanted<'_>],
    each: usize,
) -> Result<BTreeMap<NodeId, Targets>, Refusal> {
    let take = |w: &Wanted<'_>, tensor: &Tensor, run: usize, found: &mut Targets| {
        observe(w, tensor, each, context.seed ^ run as u64, found)
    };
    Ok(gathered(stream(original, context, runs, wanted, &BTreeMap::new(), take)?))
}

/// Takes rows out of what a layer computed in one run.
pub(super) fn observe(
    w: &Wanted<'_>,
    tensor: &Tensor,
    each: usize,
    seed: u64,
    found: &mut Targets,
) -> Result<(), Refusal> {
    let shape = tensor.shape();
    if found.shape.is_empty() {
        found.shape = shape.to_vec();
    }
    let positions = w.reading.positions(shape, w.channels).filter(|_| found.shape == shape);
    let positions = positions.ok_or_else(|| misfit(&w.value, shape))?;
    let values = floats(&w.value, tensor)?;
    let before = found.rows.len();
    for position in picked(positions, each, seed) {
        w.reading.output(&values, shape, position, &mut found.rows);
    }
    found.runs += 1;
    finite(&w.value, &found.rows[before..])
}

/// The shares of the workers put together.
pub(super) fn gathered<'w>(parts: Vec<(&Wanted<'w>, Targets)>) -> BTreeMap<NodeId, Targets> {
    let mut all: BTreeMap<NodeId, Targets> = BTreeMap::new();
    for (w, found) in parts {
        let entry = all.entry(w.id).or_default();
        append(&mut entry.rows, found.rows);
        entry.runs += found.runs;
        // A worker may have had no run.
        if !found.shape.is_empty() {
            entry.shape = found.shape;
        }
    }
    all
}

/// Puts the share of a worker behind those of others; the first needs no copy.
fn append<T>(all: &mut Vec<T>, more: Vec<T>) {
    if all.is_empty() {
        *all = more;
    } else {
        all.extend(more);
    }
}

/// Values of a partly changed model that later calls can start from: what layers read there, run by run.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    values: BTreeMap<NodeId, Vec<Tensor>>,
    names: BTreeMap<NodeId, String>,
    /// In the order in which they came.
    order: Vec<NodeId>,
    bytes: usize,
}

impl Resumed {
    /// Says what the values are called in the model at hand.
    pub(crate) fn called(&mut self, names: BTreeMap<NodeId, String>) -> &mut Self {
        self.names = names;
        self
    }

    /// Keeps what a layer reads; the oldest goes where memory runs out.
    fn keep(&mut self, id: NodeId, tensors: Vec<Tensor>) {
        let size = |tensors: &[Tensor]| tensors.iter().map(|t| t.bytes().len()).sum::<usize>();
        self.bytes += size(&tensors);
        self.values.insert(id, tensors);
        self.order.push(id);
        while self.bytes > RESUMED && !self.order.is_empty() {
            let oldest = self.order.remove(0);
            if let Some(gone) = self.values.remove(&oldest) {
                self.bytes -= size(&gone);
            }
        }
    }

    /// By the names that the values have in the model at hand.
    fn by_name(&self) -> BTreeMap<&str, &[Tensor]> {
        self.values.iter().filter_map(|(id, kept)| Some((self.names.get(id)?.as_str(), kept.as_slice()))).collect()
    }
}

/// What each layer reads in the partly changed model, at the positions of its targets. Starts from what earlier calls kept, where
/// that is given; what leads to those values must be as it was then.
pub(crate) fn inputs(
    mut resumed: Option<&mut Resumed>,
    changed: &Model,
    context: &Context<'_>,
    runs: &Runs<'_>,
    wanted: &[Wanted<'_>],
    targets: &BTreeMap<NodeId, Targets>,
    each: usize,
) -> Result<BTreeMap<NodeId, Vec<f32>>, Refusal> {
    let (keeps, held) = (resumed.is_some(), AtomicUsize::new(0));
    let take = |w: &Wanted<'_>, tensor: &Tensor, run: usize, (found, whole): &mut (Vec<f32>, Vec<Tensor>)| {
        let (shape, output) = (tensor.shape(), targets.get(&w.id).map(|t| t.shape.as_slice()).unwrap_or_default());
        let positions = w.reading.positions(output, w.channels).filter(|_| w.reading.fits(shape, output, w.width));
        let positions = positions.ok_or_else(|| misfit(&w.value, shape))?;
        let values = floats(&w.value, tensor)?;
        let before = found.len();
        for position in picked(positions, each, context.seed ^ run as u64) {
            w.reading.input(&values, shape, output, position, found);
        }
        let size = tensor.bytes().len();
        if keeps && held.fetch_add(size, Ordering::Relaxed) + size <= RESUMED {
            whole.push(tensor.clone());
        }
        finite(&w.value, &found[before..])
    };
    let mut all: BTreeMap<NodeId, (Vec<f32>, Vec<Tensor>)> = BTreeMap::new();
    let known = resumed.as_deref().map(Resumed::by_name).unwrap_or_default();
    for (w, (rows, whole)) in stream(changed, context, runs, wanted, &known, take)? {
        let (all_rows, all_whole) = all.entry(w.id).or_default();
        append(all_rows, rows);
        append(all_whole, whole);
    }
    let keep = |(id, (rows, whole)): (NodeId, (Vec<f32>, Vec<Tensor>))| {
        if let Some(resumed) = resumed.as_deref_mut().filter(|_| whole.len() == runs.len()) {
            resumed.keep(id, whole);
        }
        (id, rows)
    };
    Ok(all.into_iter().map(keep).collect())
}

/// Runs what leads to the wanted values and hands each, run by run, to `take`; what was gathered in the order of the runs.
fn stream<'w, T: Default + Send>(
    model: &Model,
    context: &Context<'_>,
    runs: &Runs<'_>,
    wanted: &'w [Wanted<'w>],
    known: &BTreeMap<&str, &[Tensor]>,
    take: impl Fn(&Wanted<'_>, &Tensor, usize, &mut T) -> Result<(), Refusal> + Sync,
) -> Result<Vec<(&'w Wanted<'w>, T)>, Refusal> {
    let values: Vec<&str> = wanted.iter().map(|w| w.value.as_str()).collect();
    let part = Part::between(model, &values, |name| known.contains_key(name))?;
    let feed = |run: usize| {
        let mut fed = runs.feed(run);
        fed.retain(|name, _| part.reads(name) || values.contains(&name.as_str()));
        let kept = known.iter().filter(|(name, _)| part.reads(name));
        fed.extend(kept.filter_map(|(name, tensors)| Some(((*name).to_owned(), tensors.get(run)?.clone()))));
        fed
    };
    let options = LoadOptions::for_inputs(&feed(0));
    let parts = runs.shared(|span| {
        let mut session = part.load(context, &options)?;
        let mut found: Vec<T> = wanted.iter().map(|_| T::default()).collect();
        session.each(span, feed, |run, fed, captured| {
            for (w, found) in wanted.iter().zip(&mut found) {
                take(w, value(&w.value, &captured, fed)?, run, found)?;
            }
            context.progress.advance(1);
            Ok(())
        })?;
        Ok(found)
    })?;
    Ok(parts.into_iter().flat_map(|part| wanted.iter().zip(part)).collect())
}

/// At most `each` of so many positions, one drawn from each of as many equal stretches.
fn picked(positions: usize, each: usize, seed: u64) -> impl Iterator<Item = usize> {
    let mut dice = crate::draw::Dice::new(seed);
    let stretches = each.min(positions);
    (0..stretches).map(move |i| {
        let (from, to) = (i * positions / stretches, (i + 1) * positions / stretches);
        from + (dice.next() % (to - from).max(1) as u64) as usize
    })
}

fn misfit(value: &str, shape: &[usize]) -> Refusal {
    Refusal::CheckFailed(format!("value `{value}` has shape {shape:?}, which does not belong to its layer"))
}

fn finite(value: &str, rows: &[f32]) -> Result<(), Refusal> {
    if rows.iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    Err(Refusal::CheckFailed(format!("value `{value}` is not finite on the calibration samples")))
}

fn value<'t>(name: &str, captured: &'t Tensors, fed: &'t Tensors) -> Result<&'t Tensor, Refusal> {
    captured.get(name).or_else(|| fed.get(name)).ok_or_else(|| missing(name))
}

pub(super) fn missing(value: &str) -> Refusal {
    Refusal::CheckFailed(format!("the executor did not return the captured value `{value}`"))
}
