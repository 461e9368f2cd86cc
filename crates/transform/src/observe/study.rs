//! One pass of the original over the samples, for everything that is to be known of it: summaries of values over all runs, rows of
//! what layers compute in the runs that are fitted to, outputs of the runs that are held back. Knows executors by their trait.

use std::{collections::BTreeMap, ops::Range as Span};

use plimsoll_onnx::{Model, NodeId, Tensor};
use plimsoll_runtime::{Keep, Kept, LoadOptions, Session, Summary};

use super::{
    Judge, Runs, Targets, Wanted, each,
    rows::{self, gathered},
};
use crate::{Context, Refusal};

/// Which runs are fitted to, and which are held back to judge by.
#[derive(Clone)]
pub(crate) struct Parted<'d> {
    /// Fitted to.
    pub(crate) fit: Runs<'d>,
    /// Held back.
    pub(crate) held: Runs<'d>,
}

/// What is to be known.
#[derive(Default)]
pub(crate) struct Wish<'w> {
    /// Values that are summarised over all runs.
    pub(crate) summarise: BTreeMap<String, Keep>,
    /// Layers whose results are kept as rows.
    pub(crate) layers: &'w [Wanted<'w>],
    /// At so many positions of a run.
    pub(crate) each: usize,
}

/// What was seen.
pub(crate) struct Seen<'d> {
    /// What was kept of the values that were to be summarised.
    pub(crate) kept: BTreeMap<String, Kept>,
    /// Rows of what layers compute.
    pub(crate) targets: BTreeMap<NodeId, Targets>,
    /// Holds changed models against the original; `None` where it has no float32 output, or nothing is held back.
    pub(crate) judge: Option<Judge<'d>>,
    /// While a session lives, so does the process that it runs in, which later loads of its thread share: starting one takes longer
    /// than loading a few layers.
    _processes: Vec<Box<dyn Session>>,
}

/// What one worker saw.
struct Part {
    summaries: BTreeMap<String, Summary>,
    rows: Vec<Targets>,
    outputs: Vec<Vec<Tensor>>,
    first: usize,
    session: Box<dyn Session>,
}

/// Runs the original on all samples. Without `parted` there are summaries only.
pub(crate) fn study<'d>(
    model: &Model,
    context: &'d Context<'d>,
    runs: &Runs<'d>,
    parted: Option<&Parted<'d>>,
    wish: &Wish<'_>,
) -> Result<Seen<'d>, Refusal> {
    let bytes = model.to_bytes().map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    let names = Judge::outputs_of(model);
    let (layers, names): (&[Wanted<'_>], &[String]) = if parted.is_some() { (wish.layers, &names) } else { (&[], &[]) };
    let summarise = wish.summarise.clone();
    let options = LoadOptions { summarise, ..LoadOptions::for_inputs(&runs.feed(0)) }
        .capturing(layers.iter().map(|w| w.value.clone()));
    let work = |span: Span<usize>| -> Result<Part, Refusal> {
        let mut session = context.executor.load(&bytes, &options)?;
        let mut rows: Vec<Targets> = layers.iter().map(|_| Targets::default()).collect();
        let (mut outputs, first) = (Vec::new(), span.start);
        each(
            session.as_mut(),
            span,
            |run| runs.feed(run),
            |run, _, mut computed| {
                if let Some(at) = parted.and_then(|p| p.fit.place(runs, run)) {
                    for (w, found) in layers.iter().zip(&mut rows) {
                        let tensor = computed.get(&w.value).ok_or_else(|| rows::missing(&w.value))?;
                        rows::observe(w, tensor, wish.each, context.seed ^ at as u64, found)?;
                    }
                }
                if parted.is_some_and(|p| p.held.place(runs, run).is_some()) {
                    // An output that is also an input is not computed at all.
                    outputs.push(names.iter().filter_map(|n| computed.remove(n)).collect());
                }
                context.progress.advance(runs.batch);
                Ok(())
            },
        )?;
        Ok(Part { summaries: session.summaries()?, rows, outputs, first, session })
    };
    context.progress.start("calibrate", runs.len() * runs.batch);
    let parts = runs.shared(work);
    context.progress.finish();
    let mut kept: BTreeMap<String, Kept> = BTreeMap::new();
    let (mut found, mut outputs, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts? {
        for (name, summary) in part.summaries {
            if let Some(run) = summary.not_finite {
                let sample = runs.first_sample(part.first + run);
                return Err(Refusal::CheckFailed(format!("value `{name}` is not finite in sample {sample}")));
            }
            let merged = match kept.remove(&name) {
                Some(before) => before.merge(summary.kept),
                None => summary.kept,
            };
            kept.insert(name, merged);
        }
        found.extend(layers.iter().zip(part.rows));
        outputs.extend(part.outputs);
        sessions.push(part.session);
    }
    let judge = match parted {
        Some(parted) => Judge::new(context, parted.held.clone(), names.to_vec(), &outputs)?,
        None => None,
    };
    Ok(Seen { kept, targets: gathered(found), judge, _processes: sessions })
}
