//! Weights of recurrent layers (LSTM, GRU, RNN): codes that compensate each other's rounding, by second moments of what the
//! weights multiply in the original: the inputs, and the states, which the layer puts out. No targets are needed: what a row
//! computed is its weights times these. Where the state is gated before it is multiplied, rows are left as they are.

use std::collections::BTreeMap;

use faer::Mat;
use plimsoll_onnx::{Model, Names, NodeId, Tensor, View, attr, node, proto::NodeProto};
use plimsoll_runtime::LoadOptions;
use rayon::prelude::*;

use super::gptq::{Problem, search_scale};
use crate::{
    Context, Refusal,
    algebra::Factor,
    observe::{Part, Runs, floats},
    quantize::{
        affine, float_constant,
        solution::{Layer, Site, Solution},
    },
};

/// Rows that a Gram matrix is made of; more do not pay.
const ROWS: usize = 4096;
/// Damping relative to the mean of the Gram matrix's diagonal.
const DAMPING: f64 = 0.01;
/// Above this many columns the Gram matrix would be too large.
const WIDEST: usize = 3072;

/// What is known of each weight.
pub(super) type Weights = BTreeMap<Site, Observed>;

/// A weight and what it multiplies.
pub(super) struct Observed {
    values: Vec<f32>,
    /// Rows of gates, of all directions together, and columns.
    shape: [usize; 3],
    /// Second moments by direction.
    grams: Vec<Mat<f64>>,
    /// Rows of each direction from here on multiply something else.
    until: usize,
}

/// Whether a graph has recurrent layers with constant weights.
pub(super) fn any(view: &View<'_>) -> bool {
    view.nodes().any(|(_, n)| recurs(view, n))
}

fn recurs(view: &View<'_>, n: &NodeProto) -> bool {
    let constant = |slot: usize| node::input(n, slot).is_some_and(|v| view.constant(v).is_some());
    ["LSTM", "GRU", "RNN"].iter().any(|op| node::is(n, op)) && constant(1) && constant(2)
}

/// A value whose rows are counted up.
struct Watched {
    site: Site,
    value: String,
    width: usize,
    directions: usize,
    /// Whether the rows are states, which belong to directions.
    states: bool,
    batch_first: bool,
}

/// Runs the original and keeps the second moments of what recurrent weights multiply.
pub(super) fn observed(
    model: &Model,
    view: &View<'_>,
    context: &Context<'_>,
    runs: &Runs<'_>,
) -> Result<Weights, Refusal> {
    let (mut found, mut watched) = (Weights::new(), Vec::new());
    let (mut proto, mut names) = (model.proto().clone(), Names::of(model));
    for (id, n) in view.nodes().filter(|(_, n)| recurs(view, n)) {
        for slot in [1, 2] {
            let Some(tensor) = node::input(n, slot).map(|v| float_constant(view, v)).transpose()?.flatten() else {
                continue;
            };
            let &[directions, rows, width] = tensor.shape() else { continue };
            if !tensor.is_finite() || width == 0 || width > WIDEST || !(1..=2).contains(&directions) {
                continue;
            }
            let value =
                if slot == 1 { node::input(n, 0).map(str::to_owned) } else { states(&mut proto, &mut names, id) };
            let Some(value) = value.filter(|v| view.constant(v).is_none()) else { continue };
            let site = Site { node: id, slot };
            let gated = slot == 2 && node::is(n, "GRU") && attr::int(n, "linear_before_reset").unwrap_or(0) == 0;
            let until = if gated { rows / 3 * 2 } else { rows };
            let grams = vec![Mat::zeros(width, width); directions];
            found.insert(site, Observed { values: tensor.to_vec()?, shape: [directions, rows, width], grams, until });
            let batch_first = attr::int(n, "layout").unwrap_or(0) == 1;
            watched.push(Watched { site, value, width, directions, states: slot == 2, batch_first });
        }
    }
    let model = Model::from_proto(proto).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    let values: Vec<&str> = watched.iter().map(|w| w.value.as_str()).collect();
    let part = Part::of(&model, &values)?;
    let feed = |run: usize| {
        let mut fed = runs.feed(run);
        fed.retain(|name, _| part.reads(name) || values.contains(&name.as_str()));
        fed
    };
    let options = LoadOptions::for_inputs(&feed(0));
    let each = ROWS.div_ceil(runs.len().max(1));
    let shares = runs.shared(|span| {
        let mut session = part.load(context, &options)?;
        let mut sums: Vec<Vec<Mat<f64>>> =
            watched.iter().map(|w| vec![Mat::zeros(w.width, w.width); w.directions]).collect();
        session.each(span, feed, |_, fed, captured| {
            for (w, sums) in watched.iter().zip(&mut sums) {
                let tensor = captured.get(&w.value).or_else(|| fed.get(&w.value)).ok_or_else(|| {
                    Refusal::CheckFailed(format!("the executor did not return the captured value `{}`", w.value))
                })?;
                count(w, tensor, each, sums)?;
            }
            Ok(())
        })?;
        Ok(sums)
    })?;
    for share in shares {
        for (w, sums) in watched.iter().zip(share) {
            let Some(observed) = found.get_mut(&w.site) else { continue };
            observed.grams.iter_mut().zip(&sums).for_each(|(gram, sum)| *gram += sum);
        }
    }
    Ok(found)
}

/// The name of the states that a layer puts out, given one where it has none.
fn states(proto: &mut plimsoll_onnx::proto::ModelProto, names: &mut Names, id: NodeId) -> Option<String> {
    let n = proto.graph.mut_or_insert_default().node.get_mut(id.0)?;
    match n.output.first_mut() {
        Some(name) if !name.is_empty() => Some(name.clone()),
        Some(empty) => {
            *empty = names.fresh("y");
            Some(empty.clone())
        }
        None => None,
    }
}

fn count(w: &Watched, tensor: &Tensor, each: usize, sums: &mut [Mat<f64>]) -> Result<(), Refusal> {
    let (values, shape) = (floats(&w.value, tensor)?, tensor.shape());
    let misfit = || Refusal::CheckFailed(format!("value `{}` has shape {shape:?}, not that of its layer", w.value));
    let batch = match (w.states, shape) {
        (false, [_, _, width]) if *width == w.width => 1,
        (true, [_, d, n, width]) if !w.batch_first && *d == w.directions && *width == w.width => *n,
        (true, [_, _, d, width]) if w.batch_first && *d == w.directions && *width == w.width => 1,
        _ => return Err(misfit()),
    };
    let rows = values.len() / w.width;
    let stride = (rows / (each * w.directions)).max(1);
    for (i, row) in values.chunks_exact(w.width).enumerate() {
        let (direction, step) = if w.states { (i / batch.max(1) % w.directions, i / w.directions) } else { (0, i) };
        if step % stride != 0 {
            continue;
        }
        let Some(sum) = sums.get_mut(direction) else { continue };
        for (a, x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            for (b, y) in row.iter().enumerate() {
                sum[(b, a)] += f64::from(*x) * f64::from(*y);
            }
        }
    }
    if !w.states {
        // Every direction multiplies the same inputs.
        let (first, rest) = sums.split_at_mut(1.min(sums.len()));
        rest.iter_mut().for_each(|sum| sum.clone_from(&first[0]));
    }
    Ok(())
}

/// Chooses the codes of recurrent weights again.
pub(super) fn compensate(weights: &Weights, solution: &mut Solution<'_>) {
    let one = |(site, observed): (&Site, &Observed)| Some((*site, compensated(observed, solution.layers.get(site)?)?));
    let changed: Vec<(Site, Layer)> = weights.par_iter().filter_map(one).collect();
    solution.layers.extend(changed);
}

/// `None` where the weight is laid out otherwise, or its moments are not usable.
fn compensated(observed: &Observed, before: &Layer) -> Option<Layer> {
    let [directions, rows, width] = observed.shape;
    let mut layer = before.clone();
    let (book, axis) = (before.weight.book, before.weight.axis);
    if before.weight.shape != observed.shape || !matches!(axis, None | Some(1)) {
        return None;
    }
    // One direction may choose its scales; two share them.
    let fixed_scale = directions > 1 || axis.is_none();
    for (direction, gram) in observed.grams.iter().enumerate() {
        let power = (0..width).map(|i| gram[(i, i)]).sum::<f64>() / width as f64;
        let damping = if power > 0.0 { DAMPING * power } else { 1.0 };
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|a, b| gram[(*b, *b)].total_cmp(&gram[(*a, *a)]).then(a.cmp(b)));
        let factor = Factor::of(gram, damping, &order)?;
        let entry = |(i, j): (usize, usize)| gram[(order[i], order[j])] + if i == j { damping } else { 0.0 };
        let hessian: Vec<f64> = (0..width * width).map(|e| entry((e / width, e % width))).collect();
        let upper = factor.inverse_upper();
        let importance: Vec<f64> = (0..width).map(|i| hessian[i * width + i]).collect();
        let problem = Problem { hessian: &hessian, upper: &upper, book, fixed_scale };
        for row in 0..observed.until {
            let start = (direction * rows + row) * width;
            let values = observed.values.get(start..start + width)?;
            let ordered: Vec<f64> = order.iter().map(|&j| f64::from(values[j])).collect();
            let at = if axis.is_some() { row } else { 0 };
            let given = f64::from(*layer.weight.scales.get(at)?);
            let scale = if fixed_scale { given } else { search_scale(&ordered, &importance, book, 0.0) };
            let solved = problem.solve(&ordered, scale, 0.0);
            if !fixed_scale {
                layer.weight.scales[at] = affine::usable(solved.scale as f32);
            }
            for (&j, code) in order.iter().zip(solved.codes) {
                *layer.weight.codes.get_mut(start + j)? = code;
            }
        }
    }
    Some(layer)
}
