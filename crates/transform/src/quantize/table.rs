//! Tables that nodes look rows up in (embeddings): which constants are such, the codes that they get, and the nodes that look
//! codes up and dequantize what was found. An executor never holds the table in float32. Knows graphs and numbers; runs nothing.
//!
//! A look-up multiplies nothing, so that rounding to nearest under the scales of least squared error is all there is to choose.
//! One scale a column is free: it is applied behind the look-up. Where rows differ too much in size for that, a row carries a
//! scale of its own, which is looked up as well.

use std::collections::BTreeMap;

use plimsoll_onnx::{DType, NodeId, Tensor, Use, View, attr, node, proto::NodeProto};
use plimsoll_stats::Range;

use super::{
    Granularity, QuantizeOptions,
    affine::{Codebook, Weight},
    emit::{Emitter, Stored},
    float_constant, rounding,
    solution::Site,
};
use crate::Refusal;

/// Below this many elements codes, scales and nodes cost more than the float32 data.
const FEWEST: usize = 256;
/// Error over signal of the mean row that one scale a column may leave; more, and rows get scales where that is nearer.
const NEAR: f64 = 1e-4;
/// Scales of rows must be so much nearer to be worth two nodes more and four bytes a row.
const NEARER: f64 = 2.0;

/// A constant that nodes only look rows up in.
#[derive(Debug)]
pub(super) struct Table<'m> {
    /// Its name.
    pub(super) name: &'m str,
    /// Its rows.
    pub(super) tensor: Tensor,
    /// Where it is read first.
    pub(super) site: Site,
}

/// The table that a node looks rows up in; `None` for any other node, and where others read the table otherwise.
pub(super) fn table_of<'m>(
    view: &View<'m>,
    n: &'m NodeProto,
    options: &QuantizeOptions,
) -> Result<Option<Table<'m>>, Refusal> {
    let Some(name) = node::input(n, 0).filter(|_| looks_up(n, 0, 2)) else { return Ok(None) };
    let Some(site) = first_look_up(view, name) else { return Ok(None) };
    if view.users(name).iter().any(|(_, n)| options.excludes(n)) {
        return Ok(None);
    }
    let tensor = float_constant(view, name)?;
    let fits = |t: &Tensor| t.shape().len() == 2 && t.len() >= FEWEST && t.is_finite();
    Ok(tensor.filter(fits).map(|tensor| Table { name, tensor, site }))
}

/// Whether this input of a node is a table of so many axes, of which it takes rows.
pub(super) fn looks_up(n: &NodeProto, slot: usize, rank: usize) -> bool {
    node::is(n, "Gather") && slot == 0 && rank == 2 && [0, -2].contains(&attr::int(n, "axis").unwrap_or(0))
}

/// The first reader of a constant, where every one takes rows of it and nothing else.
pub(super) fn first_look_up(view: &View<'_>, name: &str) -> Option<Site> {
    let sites = view.uses(name).iter().map(|u| match *u {
        Use::Input { node, slot } if looks_up(view.node(node), slot, 2) => Some(Site { node, slot }),
        _ => None,
    });
    sites.collect::<Option<Vec<Site>>>()?.into_iter().next()
}

/// What holds all but a few in a thousand of a table's values.
pub(super) fn bulk(tensor: &Tensor) -> Option<Range> {
    let mut values = tensor.to_vec::<f32>().ok()?;
    values.sort_unstable_by(f32::total_cmp);
    let few = values.len() / 1000;
    Some(Range { lo: *values.get(few)?, hi: *values.get(values.len().checked_sub(few + 1)?)? })
}

/// The codes of a table that is dequantized behind the look-up.
pub(super) fn rounded(tensor: &Tensor, options: &QuantizeOptions) -> Result<Weight, Refusal> {
    // Nothing is added up in 16 bits here: all codes may be used.
    let (values, book) = (tensor.to_vec::<f32>()?, Codebook::EIGHT);
    let axis = axis(tensor, options.granularity, book)?;
    Ok(rounding::least_error(&values, tensor.shape(), axis, book, |_| 0.0))
}

/// The axis of a table's scales: columns (or none) unless rows of their own are much nearer.
pub(super) fn axis(tensor: &Tensor, granularity: Granularity, book: Codebook) -> Result<Option<usize>, Refusal> {
    let (Granularity::PerChannel, &[rows, columns]) = (granularity, tensor.shape()) else { return Ok(None) };
    // A scale for every few elements is no saving.
    let (by_row, by_column) = (rows * columns >= 8 * rows, rows * columns >= 8 * columns);
    let values = tensor.to_vec::<f32>()?;
    let error = |axis| row_error(&values, &rounding::least_error(&values, &[rows, columns], axis, book, |_| 0.0));
    let together = Some(1).filter(|_| by_column);
    let left = error(together);
    Ok(if by_row && left > NEAR && error(Some(0)) * NEARER < left { Some(0) } else { together })
}

/// Error over signal, the mean over rows: the small ones are looked up as well.
fn row_error(values: &[f32], weight: &Weight) -> f64 {
    let columns = weight.shape.last().copied().unwrap_or(1).max(1);
    let rounded = weight.values();
    let one = |(row, rounded): (&[f32], &[f32])| {
        let signal: f64 = row.iter().map(|v| f64::from(*v).powi(2)).sum();
        let noise: f64 = row.iter().zip(rounded).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (signal > 0.0).then(|| noise / signal)
    };
    let errors: Vec<f64> = values.chunks(columns).zip(rounded.chunks(columns)).filter_map(one).collect();
    errors.iter().sum::<f64>() / errors.len().max(1) as f64
}

/// A table's codes as they were stored, for every node that looks rows up in it.
pub(super) struct Coded {
    stored: Stored,
    axis: Option<usize>,
}

impl Coded {
    /// Stores codes and scales.
    pub(super) fn store(weight: &Weight, out: &mut Emitter) -> Result<Self, Refusal> {
        let stored = match (weight.axis, weight.shape.as_slice()) {
            (Some(0), &[rows, _]) => Stored {
                codes: out.store("w", &weight.tensor()?),
                scale: out.store("s", &Tensor::from_elements(&[rows, 1], &weight.scales)?),
                zero: None,
            },
            _ => out.store_weight(weight)?,
        };
        Ok(Self { stored, axis: weight.axis })
    }

    /// What a node that looks up rows becomes.
    pub(super) fn looked_up(&self, n: &NodeProto, out: &mut Emitter) -> Vec<NodeProto> {
        let Some(output) = n.output.first().cloned() else { return vec![n.clone()] };
        let read = |table: &str, name: &str| {
            let mut n = n.clone();
            if let (Some(input), Some(output)) = (n.input.first_mut(), n.output.first_mut()) {
                table.clone_into(input);
                name.clone_into(output);
            }
            n
        };
        let codes = out.fresh("q");
        let look_up = read(&self.stored.codes, &codes);
        if self.axis != Some(0) {
            // Behind the look-up columns are the last axis, of whatever rank.
            let axis = self.axis.map(|_| attr::from_int("axis", -1));
            return vec![look_up, self.stored.dequantize(&codes, &output, axis.into_iter().collect())];
        }
        let [scale, float] = ["s", "f"].map(|base| out.fresh(base));
        let mut scales = read(&self.stored.scale, &scale);
        // Executors that name nodes would meet the name twice.
        scales.name.clear();
        let to = attr::from_int("to", DType::F32.to_onnx().into());
        vec![
            look_up,
            scales,
            node::with("Cast", &[&codes], &[&float], vec![to]),
            node::new("Mul", &[&float, &scale], &[&output]),
        ]
    }
}

/// The nodes that look rows up in tables, each with its table.
pub(super) type Tables<'m> = BTreeMap<NodeId, Table<'m>>;

#[cfg(test)]
mod tests;
