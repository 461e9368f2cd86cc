//! Convolutions and matrix products.

use super::{
    Emitter, TooComplex,
    emit::Wanted,
    pack::Packing,
    pointwise_groups::{Group, Head},
    values::{Laid, Origin},
};
use crate::{
    graph::{Geometry, Id, Op, Quantization},
    isa::Run,
    lattice::whole_numbers,
    program::{Aligned, Kind, SLACK},
    step::{Arg, Weights},
};

/// Whole-number weights of each output and the scale that turns sums into results.
struct Whole {
    numbers: Vec<Vec<i8>>,
    scales: Vec<f32>,
    shifts: Vec<f32>,
}

/// Takes `zero_point` out of the sums and into the bias.
fn whole(rows: impl Iterator<Item = Vec<f32>>, bias: &[f32], q: Quantization) -> Result<Whole, TooComplex> {
    let mut whole = Whole { numbers: vec![], scales: vec![], shifts: vec![] };
    for (row, bias) in rows.zip(bias) {
        let (numbers, step) = whole_numbers(&row).ok_or(TooComplex)?;
        let sum: i64 = numbers.iter().map(|n| i64::from(*n)).sum();
        let scale = f64::from(step) * f64::from(q.scale);
        whole.scales.push(scale as f32);
        whole.shifts.push((f64::from(*bias) - scale * f64::from(q.zero_point) * sum as f64) as f32);
        whole.numbers.push(numbers);
    }
    Ok(whole)
}

impl Emitter<'_> {
    pub(super) fn conv(&mut self, id: Id) -> Result<(), TooComplex> {
        let node = &self.graph.nodes[id];
        let Op::Conv { geometry: g, group, weights, bias, axes, quantized } = &node.op else {
            unreachable!("called for convolutions")
        };
        let from = self.of(node.inputs[0])?;
        let (channels, outputs) = (from.shape[axes.channel], bias.len());
        let images = axes.image.map_or(1, |a| from.shape[a]);
        let (inputs, taps) = (channels / group, g.kernel.iter().product::<usize>());
        let depthwise = *group == channels && outputs == channels && channels > 1;
        let bytes = quantized.is_some() && (depthwise || (self.isa.has_int8() && (*group == 1 || inputs % 4 == 0)));
        let kind = if bytes { Kind::U8 } else { Kind::F32 };
        let padded = if bytes && !depthwise { channels.next_multiple_of(4) } else { channels };

        // What the windows reach over.
        let reach: [usize; 3] =
            std::array::from_fn(|i| (g.output[i] - 1) * g.stride[i] + (g.kernel[i] - 1) * g.dilation[i] + 1);
        let sizes: [usize; 3] = std::array::from_fn(|i| reach[i].max(g.before[i] + g.input[i]));
        let order = axes.order();
        let space = axes.space.len();
        let image = usize::from(axes.image.is_some());
        let fill = quantized.map_or(0., |q| q.zero_point);
        let wanted = Wanted {
            before: [vec![0; image], g.before[3 - space..].to_vec(), vec![0]].concat(),
            sizes: [vec![images; image], sizes[3 - space..].to_vec(), vec![padded]].concat(),
            order: order.clone(),
            kind,
            fill: fill.to_bits(),
            // Their weights are zeros.
            idle: padded - channels,
        };
        let value = &self.values[from.value];
        let whole_already = wanted.order.iter().zip(&wanted.sizes).all(|(a, n)| from.shape[*a] == *n);
        let slack = !depthwise || matches!(value.origin, Origin::Register(..) | Origin::Step(_));
        let ready = from.is_in(&order) && whole_already && value.kind == kind && slack;
        let input = if ready { from.value } else { self.copy(&from, wanted) };
        let input = self.read(input);

        let bases = bases(g, images, &sizes, padded)?;
        let offset = |tap: usize| {
            let at = [tap / (g.kernel[1] * g.kernel[2]), tap / g.kernel[2] % g.kernel[1], tap % g.kernel[2]];
            let at: [usize; 3] = std::array::from_fn(|i| at[i] * g.dilation[i]);
            ((at[0] * sizes[1] + at[1]) * sizes[2] + at[2]) * padded
        };
        let integers = match quantized {
            Some(q) => Some(whole(weights.chunks_exact(inputs * taps).map(<[f32]>::to_vec), bias, *q)?),
            None => None,
        };
        let weight = |o: usize, i: usize, tap: usize| match &integers {
            Some(whole) => f32::from(whole.numbers[o][i * taps + tap]),
            None => weights[(o * inputs + i) * taps + tap],
        };
        let rows = bases.len();
        let head = if depthwise {
            let mut packed = Aligned::new(taps * channels + SLACK);
            for tap in 0..taps {
                for c in 0..channels {
                    packed.as_mut_slice()[tap * channels + c] = weight(c, 0, tap);
                }
            }
            let taps = (0..taps).map(offset).collect();
            Head::Depthwise { input, bases, taps, weights: packed, channels }
        } else {
            let per_group = if *group == 1 { padded } else { inputs };
            let runs = merged((0..taps).map(offset), per_group);
            let packing = Packing {
                groups: *group,
                inputs,
                outputs: outputs / group,
                padded: per_group,
                pixels: rows,
                runs: &runs,
                isa: self.isa,
            };
            let (blocks, weights) = match &integers {
                Some(whole) if bytes => {
                    let (blocks, packed) = packing.pack(4, |o, i, tap| whole.numbers[o][i * taps + tap]);
                    (blocks, Weights::I8(packed))
                }
                _ => {
                    let (blocks, packed) = packing.pack(1, weight);
                    (blocks, Weights::F32(packed))
                }
            };
            Head::Conv { input, bases, runs, blocks, weights, spill: *group == 1 }
        };
        let shape = node.shape.clone();
        let to = Laid { value: 0, shape, order };
        self.finish_dense(head, to, rows, outputs, integers, bias);
        Ok(())
    }

    pub(super) fn matmul(&mut self, id: Id) -> Result<(), TooComplex> {
        let node = &self.graph.nodes[id];
        let Op::MatMul { axis, weights, columns, map, quantized } = &node.op else {
            unreachable!("called for products")
        };
        let from = self.of(node.inputs[0])?;
        let depth = from.shape[*axis];
        let rows = from.shape.iter().product::<usize>() / depth;
        let bytes = quantized.is_some() && self.isa.has_int8();
        let kind = if bytes { Kind::U8 } else { Kind::F32 };
        let padded = if bytes { depth.next_multiple_of(4) } else { depth };
        let mut order: Vec<usize> = from.order.iter().copied().filter(|a| a != axis).collect();
        order.push(*axis);
        let mut sizes: Vec<usize> = order.iter().map(|a| from.shape[*a]).collect();
        *sizes.last_mut().expect("the summed axis is there") = padded;
        let ready = from.is_in(&order) && padded == depth && self.values[from.value].kind == kind;
        let fill = quantized.map_or(0., |q| q.zero_point).to_bits();
        let idle = padded - depth;
        let wanted = Wanted { before: vec![0; order.len()], sizes, order: order.clone(), kind, fill, idle };
        let input = if ready { from.value } else { self.copy(&from, wanted) };
        let input = self.read(input);

        let bias = vec![0.; *columns];
        let column = |j: usize| weights.iter().skip(j).step_by(*columns).copied().collect::<Vec<f32>>();
        let integers = match quantized {
            Some(q) => Some(whole((0..*columns).map(column), &bias, *q)?),
            None => None,
        };
        let runs = vec![Run { offset: 0, len: padded }];
        let (outputs, isa) = (*columns, self.isa);
        let packing = Packing { groups: 1, inputs: depth, outputs, padded, pixels: rows, runs: &runs, isa };
        let (blocks, weights) = match &integers {
            Some(whole) if bytes => {
                let (blocks, packed) = packing.pack(4, |o, i, _| whole.numbers[o][i]);
                (blocks, Weights::I8(packed))
            }
            Some(whole) => {
                let (blocks, packed) = packing.pack(1, |o, i, _| f32::from(whole.numbers[o][i]));
                (blocks, Weights::F32(packed))
            }
            None => {
                let (blocks, packed) = packing.pack(1, |o, i, _| weights[i * columns + o]);
                (blocks, Weights::F32(packed))
            }
        };
        let bases = (0..rows).map(|r| u32::try_from(r * padded)).collect::<Result<_, _>>().map_err(|_| TooComplex)?;
        let head = Head::Conv { input, bases, runs, blocks, weights, spill: true };
        // The columns take the summed axis's place in memory; axes of size 1 that are not in the result are left out.
        let own = map.iter().position(Option::is_none).ok_or(TooComplex)?;
        let place = |a: &usize| if a == axis { Some(own) } else { map.iter().position(|m| *m == Some(*a)) };
        let order = order.iter().filter_map(place).collect();
        let to = Laid { value: 0, shape: node.shape.clone(), order };
        self.finish_dense(head, to, rows, *columns, integers, &bias);
        Ok(())
    }

    /// Opens a group that starts from sums and makes results of them: `sum * scale + shift`.
    fn finish_dense(&mut self, head: Head, to: Laid, rows: usize, columns: usize, whole: Option<Whole>, bias: &[f32]) {
        let dims = to.solid().iter().map(|a| to.shape[*a]).collect();
        let mut group = Group::new(head, dims, rows, columns);
        let register = match whole {
            Some(whole) => {
                let (scale, shift) = (group.row(&whole.scales), group.row(&whole.shifts));
                group.affine(0, Arg::Row(scale), Arg::Row(shift))
            }
            None if bias.iter().all(|b| *b == 0.) => 0,
            None => {
                let shift = group.row(bias);
                group.affine(0, Arg::Scalar(1.), Arg::Row(shift))
            }
        };
        let position = self.open(group);
        let value = self.define(position, register, Kind::F32, rows * columns);
        self.put(Laid { value, ..to });
    }
}

/// Where each output pixel's window starts.
fn bases(g: &Geometry, images: usize, sizes: &[usize; 3], channels: usize) -> Result<Vec<u32>, TooComplex> {
    let mut bases = Vec::with_capacity(images * g.output.iter().product::<usize>());
    for image in 0..images {
        for d in 0..g.output[0] {
            for h in 0..g.output[1] {
                for w in 0..g.output[2] {
                    let at = (image * sizes[0] + d * g.stride[0]) * sizes[1] + h * g.stride[1];
                    let at = (at * sizes[2] + w * g.stride[2]) * channels;
                    bases.push(u32::try_from(at).map_err(|_| TooComplex)?);
                }
            }
        }
    }
    Ok(bases)
}

/// Windows' elements as runs, neighbours merged.
fn merged(offsets: impl Iterator<Item = usize>, len: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some(last) if last.offset + last.len == offset => last.len += len,
            _ => runs.push(Run { offset, len }),
        }
    }
    runs
}
