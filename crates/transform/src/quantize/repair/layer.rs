//! Repairs one layer from its rows: cuts it into groups, has each fitted, puts the results together. Knows numbers, not graphs.

use faer::Mat;

use super::fit::{Fitted, Group, Limits};
use crate::{
    algebra::{Columns, Split},
    observe::Targets,
    quantize::{Repair, affine::Weight, anchor::Anchor, plan::Operands, solution::Layer},
};

/// Above this many columns in a group only the bias is corrected: the Gram matrix alone would take 75 MB and more.
const WIDEST: usize = 3072;

/// A weight as one row an output channel.
struct Matrix {
    rows: Vec<f32>,
    channels: usize,
    /// Elements of a row.
    width: usize,
    /// Where each element of the rows is in the weight; `None`: in the same order.
    order: Option<Vec<usize>>,
}

impl Matrix {
    fn of(operands: &Operands<'_>) -> Self {
        let channels = operands.channels();
        let width = operands.weight.len() / channels.max(1);
        let inner: usize = operands.shape.iter().skip(operands.axis + 1).product::<usize>().max(1);
        let at = |o: usize, j: usize| (j / inner * channels + o) * inner + j % inner;
        let order = (operands.axis != 0)
            .then(|| (0..channels).flat_map(|o| (0..width).map(move |j| at(o, j))).collect::<Vec<usize>>());
        let mut matrix = Self { rows: Vec::new(), channels, width, order };
        matrix.rows = matrix.ordered(operands.weight.clone());
        matrix
    }

    /// Values in the order of the weight as rows.
    fn ordered<T: Copy>(&self, values: Vec<T>) -> Vec<T> {
        match &self.order {
            Some(order) => order.iter().map(|&i| values[i]).collect(),
            None => values,
        }
    }

    /// Codes of rows in the order of the weight.
    fn restored(&self, codes: Vec<i8>) -> Vec<i8> {
        let Some(order) = &self.order else { return codes };
        let mut restored = vec![0i8; codes.len()];
        for (&at, code) in order.iter().zip(codes) {
            restored[at] = code;
        }
        restored
    }
}

/// Repairs a layer; `before` is how it is quantized now. `None` where its rows are not usable.
pub(super) fn repaired(
    anchor: &Anchor<'_>,
    before: &Layer,
    rows: &[f32],
    targets: &Targets,
    groups: usize,
    width: usize,
    limits: &Limits<'_>,
) -> Option<Layer> {
    let matrix = Matrix::of(&anchor.operands);
    let (channels, k) = (matrix.channels, matrix.width);
    let n = rows.len() / width.max(1);
    if n == 0 || k * groups != width || channels % groups.max(1) != 0 || targets.rows.len() != n * channels {
        return None;
    }
    let (bias, own) = (anchor.bias(), anchor.own_bias());
    let target: Vec<f32> =
        targets.rows.chunks_exact(channels).flat_map(|row| row.iter().zip(&own).map(|(y, b)| y - b)).collect();
    let (now, codes) = (matrix.ordered(before.weight.values()), matrix.ordered(before.weight.codes.clone()));
    let one_scale = before.weight.axis.is_none();
    let count = channels / groups;
    let mut fitted: Vec<Fitted> = Vec::with_capacity(channels);
    for group in 0..groups {
        let first = group * count;
        let entry = |rows: &[f32], o: usize, j: usize| f64::from(rows[(first + o) * k + j]);
        let group_now = Group {
            w0: Mat::from_fn(count, k, |o, j| entry(&matrix.rows, o, j)),
            now: Mat::from_fn(count, k, |o, j| entry(&now, o, j)),
            codes: (first..first + count).map(|c| &codes[c * k..(c + 1) * k]).collect(),
            scales: (first..first + count).map(|c| before.weight.scales[if one_scale { 0 } else { c }]).collect(),
            own: &own[first..first + count],
            one_scale,
        };
        let x = Columns { rows, width, from: group * k, count: k };
        let t = Columns { rows: &target, width: channels, from: first, count };
        if limits.method == Repair::Bias || k > WIDEST {
            fitted.extend(group_now.corrected(&x, &t, bias.is_some()));
        } else {
            fitted.extend(group_now.fit(&Split::of(x, t, n / targets.runs.max(1), bias.is_some()), limits)?);
        }
    }
    let scales = fitted.iter().map(|f| f.scale).take(before.weight.scales.len()).collect();
    let shifts: Vec<f32> = fitted.iter().map(|f| f.shift).collect();
    let codes = matrix.restored(fitted.into_iter().flat_map(|f| f.codes).collect());
    let bias = bias.map(|b| b.iter().zip(&shifts).map(|(b, s)| b + s).collect());
    Some(Layer { weight: Weight { codes, scales, ..before.weight.clone() }, bias })
}
