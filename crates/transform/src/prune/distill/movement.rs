//! Operators that only move elements, as tables of where each comes from. Knows operators and shapes, not numbers.

use plimsoll_onnx::{attr, proto::NodeProto};

use super::{elementwise::Moves, rules::Input, tape::Made};

/// Steps of a row-major shape.
fn steps(shape: &[usize]) -> Vec<usize> {
    let mut steps = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        steps[axis - 1] = steps[axis] * shape[axis];
    }
    steps
}

/// For each element of the output where it lies: `at` gives the input and the coordinates in it.
fn table(output: &[usize], mut at: impl FnMut(&[usize]) -> Option<(u32, u32)>) -> Vec<Option<(u32, u32)>> {
    let mut place = vec![0usize; output.len()];
    let total: usize = output.iter().product();
    let mut from = Vec::with_capacity(total);
    for _ in 0..total {
        from.push(at(&place));
        for axis in (0..output.len()).rev() {
            place[axis] += 1;
            if place[axis] < output[axis] {
                break;
            }
            place[axis] = 0;
        }
    }
    from
}

pub(super) fn made(n: &NodeProto, inputs: &[Input], output: &[usize]) -> Option<Made> {
    let x = &inputs.first()?.shape;
    let rank = x.len();
    let positive =
        |a: i64, rank: usize| usize::try_from(if a < 0 { a + rank as i64 } else { a }).ok().filter(|a| *a < rank);
    let ints = |slot: usize| match inputs.get(slot).filter(|i| i.given) {
        Some(i) => i.data.as_ref().map(|d| d.to_i64().ok()),
        None => Some(None),
    };
    let (strides, mut reads, mut filling) = (steps(x), vec![0], 0.0);
    let inside = |place: &[usize]| -> Option<(u32, u32)> {
        place
            .iter()
            .zip(x)
            .all(|(p, d)| p < d)
            .then(|| (0, place.iter().zip(&strides).map(|(p, s)| p * s).sum::<usize>() as u32))
    };
    let from = match n.op_type.as_str() {
        "Concat" => {
            let axis = positive(attr::int(n, "axis")?, rank)?;
            reads = (0..inputs.len()).collect();
            let strides: Vec<Vec<usize>> = inputs.iter().map(|i| steps(&i.shape)).collect();
            if inputs.iter().any(|i| i.shape.len() != rank)
                || inputs.iter().map(|i| i.shape[axis]).sum::<usize>() != output[axis]
            {
                return None;
            }
            let mut which = Vec::new();
            for (input, i) in inputs.iter().enumerate() {
                which.extend((0..i.shape[axis]).map(|at| (input, at)));
            }
            table(output, |place| {
                let (input, at) = *which.get(place[axis])?;
                let own = place.iter().enumerate().map(|(a, p)| if a == axis { at } else { *p });
                Some((input as u32, own.zip(&strides[input]).map(|(p, s)| p * s).sum::<usize>() as u32))
            })
        }
        "Transpose" => {
            let perm: Vec<usize> = match attr::ints(n, "perm") {
                Some(perm) => perm.iter().map(|p| positive(*p, rank)).collect::<Option<_>>()?,
                None => (0..rank).rev().collect(),
            };
            let fits = perm.len() == output.len() && perm.iter().zip(output).all(|(p, o)| x[*p] == *o);
            if !fits {
                return None;
            }
            table(output, |place| {
                Some((0, perm.iter().zip(place).map(|(p, at)| strides[*p] * at).sum::<usize>() as u32))
            })
        }
        "Slice" => {
            let list = |slot: usize, name: &str| {
                ints(slot).and_then(|v| v.or_else(|| attr::ints(n, name).map(<[i64]>::to_vec)))
            };
            let starts = list(1, "starts")?;
            let axes = list(3, "axes").unwrap_or_else(|| (0..starts.len() as i64).collect());
            let by = ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
            let (mut first, mut step) = (vec![0i64; rank], vec![1i64; rank]);
            for (i, axis) in axes.iter().enumerate() {
                let axis = positive(*axis, rank)?;
                let size = x[axis] as i64;
                step[axis] = *by.get(i)?;
                let start = *starts.get(i)?;
                let start = if start < 0 { start.saturating_add(size) } else { start };
                first[axis] = start.clamp(0, if step[axis] < 0 { (size - 1).max(0) } else { size });
            }
            if output.len() != rank {
                return None;
            }
            table(output, |place| {
                let at = |a: usize| usize::try_from(first[a].checked_add(step[a].checked_mul(place[a] as i64)?)?).ok();
                inside(&(0..rank).map(at).collect::<Option<Vec<_>>>()?)
            })
        }
        "Pad" => {
            if attr::string(n, "mode").is_some_and(|m| m != "constant") || inputs.get(3).is_some_and(|i| i.given) {
                return None;
            }
            let pads = ints(1)?.or_else(|| attr::ints(n, "pads").map(<[i64]>::to_vec))?;
            if pads.len() != 2 * rank || output.len() != rank {
                return None;
            }
            filling = match inputs.get(2).filter(|i| i.given) {
                Some(i) => *i.data.as_ref()?.to_f32().ok()?.first()?,
                None => attr::float(n, "value").unwrap_or(0.0),
            };
            table(output, |place| {
                let at = |a: usize| usize::try_from(place[a] as i64 - pads[a]).ok();
                inside(&(0..rank).map(at).collect::<Option<Vec<_>>>()?)
            })
        }
        "Expand" => {
            let lead = output.len().checked_sub(rank)?;
            table(output, |place| {
                let own: Vec<usize> = (0..rank).map(|a| if x[a] == 1 { 0 } else { place[lead + a] }).collect();
                inside(&own)
            })
        }
        _ => return None,
    };
    // Only a Pad has elements from nowhere.
    let whole = n.op_type == "Pad" || from.iter().all(Option::is_some);
    whole.then(|| Made { op: Box::new(Moves { from, filling }), reads, weights: vec![] })
}
