//! Pools and reductions.

use super::{Emitter, TooComplex, emit::Planned, values::Laid};
use crate::{
    graph::{Geometry, Id, Op},
    program::Kind,
    step::{Output, Pool, PoolFn, Reduce, Window},
};

impl Emitter<'_> {
    pub(super) fn pool(&mut self, id: Id) -> Result<(), TooComplex> {
        let node = &self.graph.nodes[id];
        let (f, geometry, axes, average, after) = match &node.op {
            Op::MaxPool { geometry, axes } => (PoolFn::Max, geometry, axes, None, [0; 3]),
            Op::SumPool { geometry, axes, normalize, include_pad, after } => {
                (PoolFn::Sum, geometry, axes, normalize.then_some(*include_pad), *after)
            }
            _ => unreachable!("called for pools"),
        };
        let from = self.of(node.inputs[0])?;
        let order = axes.order();
        let from = self.in_order(&from, &order);
        let (images, channels) = (axes.image.map_or(1, |a| from.shape[a]), from.shape[axes.channel]);
        let windows = windows(geometry, average, &after);
        let input = self.read(from.value);
        let (space, dilation) = (geometry.input, geometry.dilation);
        let value = self.step(node.kind, node.shape.iter().product(), |output| {
            Planned::Pool(Pool { f, input, output: Output::whole(output), images, space, dilation, channels, windows })
        });
        self.put(Laid { value, shape: node.shape.clone(), order });
        Ok(())
    }

    pub(super) fn reduce(&mut self, id: Id) -> Result<(), TooComplex> {
        let node = &self.graph.nodes[id];
        let Op::Reduce { f, axes } = &node.op else { unreachable!("called for reductions") };
        let mut from = self.of(node.inputs[0])?;
        let solid = from.solid();
        let first = solid.iter().position(|a| axes.contains(a));
        let contiguous = first.is_some_and(|first| {
            let count = solid.iter().filter(|a| axes.contains(a)).count();
            solid[first..].iter().take(count).all(|a| axes.contains(a))
        });
        if first.is_some() && !contiguous {
            let (inside, outside): (Vec<usize>, Vec<usize>) = from.order.iter().partition(|a| axes.contains(a));
            from = self.in_order(&from, &[outside, inside].concat());
        }
        let sizes = |keep: &dyn Fn(usize) -> bool| -> usize {
            from.order.iter().copied().filter(|a| keep(*a)).map(|a| from.shape[a]).product()
        };
        let reduced = sizes(&|a| axes.contains(&a));
        let last = from.order.iter().rposition(|a| axes.contains(a) && from.shape[*a] != 1);
        let inner: usize = last.map_or(1, |last| from.order[last + 1..].iter().map(|a| from.shape[*a]).product());
        let outer = from.shape.iter().product::<usize>() / reduced / inner;
        let input = self.read(from.value);
        let f = *f;
        let value = self.step(Kind::F32, outer * inner, |output| {
            Planned::Reduce(Reduce {
                f,
                input,
                from: 0,
                output: Output::whole(output),
                outer,
                reduced,
                inner,
                times: 1.,
                over: 1.,
            })
        });
        self.put(Laid { value, shape: node.shape.clone(), order: from.order });
        Ok(())
    }
}

/// Each output pixel's window, clipped to the input; `average` is `Some(whether padding counts)`.
fn windows(g: &Geometry, average: Option<bool>, after: &[usize; 3]) -> Vec<Window> {
    let mut windows = Vec::with_capacity(g.output.iter().product());
    for d in 0..g.output[0] {
        for h in 0..g.output[1] {
            for w in 0..g.output[2] {
                let at = [d, h, w];
                let mut from = [0; 3];
                let mut to = [0; 3];
                let (mut inside, mut counted) = (1, 1);
                for i in 0..3 {
                    let start = (at[i] * g.stride[i]) as isize - g.before[i] as isize;
                    let positions = (0..g.kernel[i]).map(|k| start + (k * g.dilation[i]) as isize);
                    let hits: Vec<isize> = positions.clone().filter(|p| (0..g.input[i] as isize).contains(p)).collect();
                    // Windows may hang over the padding where sizes are rounded up; what is outside of it never counts.
                    counted *= positions.filter(|p| *p < (g.input[i] + after[i]) as isize).count();
                    inside *= hits.len();
                    from[i] = hits.first().map_or(0, |p| *p as usize);
                    to[i] = hits.last().map_or(0, |p| *p as usize + 1);
                }
                let factor = match average {
                    None => 1.,
                    Some(true) => 1. / counted.max(1) as f32,
                    Some(false) => 1. / inside.max(1) as f32,
                };
                windows.push(Window { from, to, factor });
            }
        }
    }
    windows
}
