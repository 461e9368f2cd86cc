//! What the original shows on samples: rows of what each layer reads and computes, and the moments of the former. Knows
//! executors by their trait, not what is chosen by it.

use std::collections::BTreeMap;

use faer::{Accum, Mat, Par, linalg::matmul::matmul};
use plimsoll_onnx::{Model, NodeId, View};
use rayon::prelude::*;

use super::layers::{Layer, Place};
use crate::{
    Context, Refusal,
    algebra::{Columns, Split},
    observe::{Runs, Targets, Wanted, inputs, rows_a_run, targets},
};

/// Above this many columns in a group a layer has no moments and is not refitted: the Gram matrix alone would take 75 MB and more.
pub(super) const WIDEST: usize = 3072;
/// Elements of Gram matrices that are held at a time; layers beyond it have no moments.
const ELEMENTS: usize = 96 << 20;
/// Damping of inverses, relative to the mean of the diagonal.
pub(super) const DAMPING: f64 = 0.01;

/// The original's layers on samples.
pub(super) struct Observed<'o, 'm> {
    pub(super) model: &'m Model,
    pub(super) context: &'o Context<'o>,
    pub(super) layers: &'o [Layer<'m>],
    pub(super) runs: Runs<'o>,
    /// Rows that are kept of each run.
    pub(super) each: usize,
    /// What each layer computes in the original, its bias and what it is added to included.
    pub(super) targets: BTreeMap<NodeId, Targets>,
}

/// Second moments of what a layer without groups reads, and the weights that it reads by.
pub(super) struct Moments {
    /// One row an output channel.
    pub(super) weights: Mat<f64>,
    /// Means of the columns, zeros where the layer has no room for a bias.
    pub(super) mean: Vec<f64>,
    /// About these means.
    pub(super) gram: Mat<f64>,
    /// Sum over the output channels of their variance.
    pub(super) variance: f64,
}

impl<'o, 'm> Observed<'o, 'm> {
    /// Runs the original on `runs`.
    pub(super) fn of(
        model: &'m Model,
        context: &'o Context<'o>,
        layers: &'o [Layer<'m>],
        runs: Runs<'o>,
    ) -> Result<Self, Refusal> {
        let elements: usize = layers.iter().map(|l| l.channels + l.width).sum();
        let each = rows_a_run(&runs, elements);
        let value = |l: &Layer<'_>| l.sum.map_or(l.settled, |(total, _)| total).to_owned();
        let wanted: Vec<Wanted<'_>> = layers.iter().map(|l| l.wanted(value(l), l.width, l.channels)).collect();
        let targets = targets(model, context, &runs, &wanted, each)?;
        Ok(Self { model, context, layers, runs, each, targets })
    }

    /// The moments of the layers that somebody may want to score by.
    pub(super) fn moments(&self, view: &View<'_>) -> Result<BTreeMap<NodeId, Moments>, Refusal> {
        let mut left = ELEMENTS;
        let mut fits = |l: &&Layer<'_>| {
            let take = l.groups == 1 && l.width <= WIDEST && l.columns.is_some() && l.width * l.width <= left;
            left -= if take { l.width * l.width } else { 0 };
            take
        };
        let layers: Vec<&Layer<'_>> = self.layers.iter().filter(&mut fits).collect();
        let wanted: Vec<Wanted<'_>> =
            layers.iter().map(|l| l.wanted(l.input.to_owned(), l.width, l.channels)).collect();
        let rows = inputs(None, self.model, self.context, &self.runs, &wanted, &self.targets, self.each)?;
        let one = |layer: &&Layer<'_>| -> Result<Option<(NodeId, Moments)>, Refusal> {
            let Some(place) = Place::of(view, view.node(layer.id))? else { return Ok(None) };
            let Some(rows) = rows.get(&layer.id) else { return Ok(None) };
            let weights = Place::matrix(&place.rows()?, 0, layer.channels, layer.width);
            let x = Columns { rows, width: layer.width, from: 0, count: layer.width };
            let none = Columns { rows: &[], width: 1, from: 0, count: 0 };
            let whole = Split::of(x, none, 1, place.bias.values(layer.channels).is_some()).whole();
            let mut product = Mat::<f64>::zeros(layer.channels, layer.width);
            matmul(&mut product, Accum::Replace, &weights, &whole.gram, 1.0, Par::Seq);
            let pairs = (0..layer.width).flat_map(|k| (0..layer.channels).map(move |o| (o, k)));
            let variance = pairs.map(|at| product[at] * weights[at]).sum::<f64>();
            Ok(Some((layer.id, Moments { weights, mean: whole.mean_x, gram: whole.gram, variance })))
        };
        let found: Vec<_> = layers.par_iter().map(one).collect::<Result<_, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }
}

impl Layer<'_> {
    /// This layer's value, captured; rows of `width` elements, `channels` output channels.
    pub(super) fn wanted(&self, value: String, width: usize, channels: usize) -> Wanted<'_> {
        Wanted { id: self.id, reading: &self.reading, width, channels, value }
    }
}
