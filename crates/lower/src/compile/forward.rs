//! Steps that others can do: who makes a value stores it where a copy would move it to, who reads a piece of one reads it where it lies,
//! and a reduction scales what it makes. What is left of padding is its border.

use crate::{
    isa::Starts,
    program::{Buffer, Kind, Place, Step},
    step::{Arg, BinaryFn, Copy, Fill, Micro, Output, Pattern, Rows},
};

/// Takes such steps out of `steps`, whose buffers are still values, `lens[v]` elements long; those of `kept` are read after the end.
pub(super) fn forward(steps: &mut Vec<Step>, lens: &[usize], kept: &[Buffer]) {
    let mut position = 0;
    while position < steps.len() {
        if scale_there(steps, position, kept) {
            steps.remove(position);
        } else {
            position += 1;
        }
    }
    position = 0;
    while position < steps.len() {
        let Step::Copy(copy) = &steps[position] else {
            position += 1;
            continue;
        };
        let copy = copy.clone();
        let left = if store_there(steps, position, &copy, kept) {
            border(steps, position, &copy, lens)
        } else if read_there(steps, position, &copy, kept) {
            None
        } else {
            position += 1;
            continue;
        };
        match left {
            Some(fill) => {
                steps[position] = Step::Fill(fill);
                position += 1;
            }
            None => _ = steps.remove(position),
        }
    }
}

/// Makes the reduction before a factor or a divisor multiply or divide by it.
fn scale_there(steps: &mut [Step], position: usize, kept: &[Buffer]) -> bool {
    let Step::Pointwise(program) = &steps[position] else { return false };
    let (times, over) = match *program.micros {
        [
            Micro::Load { to: loaded, operand: 0 },
            Micro::ScaleShift { to, a, scale: Arg::Scalar(factor), shift: Arg::Scalar(0.) },
            Micro::Store { from, output: 0 },
        ] if (a, from) == (loaded, to) => (factor, 1.),
        [
            Micro::Load { to: loaded, operand: 0 },
            Micro::Fill { to: filled, from: Arg::Scalar(divisor) },
            Micro::Binary { f: BinaryFn::Div, to, a, b },
            Micro::Store { from, output: 0 },
        ] if (a, b, from) == (loaded, filled, to) => (1., divisor),
        _ => return false,
    };
    let ([operand], [output]) = (program.operands.as_slice(), program.outputs.as_slice()) else { return false };
    let (input, output, len) = (operand.buffer, output.clone(), program.rows * program.columns);
    let alone = uses(steps, input.place).1 == [position] && !kept.contains(&input);
    let follow = operand.pattern == Pattern::Full && output.buffer.kind == Kind::F32;
    let Some(Step::Reduce(step)) =
        steps.iter_mut().find(|s| matches!(s, Step::Reduce(r) if r.output.buffer == input && alone && follow))
    else {
        return false;
    };
    if step.outer * step.inner != len || (step.times, step.over) != (1., 1.) {
        return false;
    }
    (step.times, step.over, step.output) = (times, over, output);
    true
}

/// Positions of the steps that write a value, and of those that read it.
fn uses(steps: &[Step], value: Place) -> (Vec<usize>, Vec<usize>) {
    let (mut writers, mut readers) = (vec![], vec![]);
    for (i, step) in steps.iter().enumerate() {
        let (reads, writes) = step.buffers();
        readers.extend(reads.iter().any(|b| b.place == value).then_some(i));
        writers.extend(writes.iter().any(|b| b.place == value).then_some(i));
    }
    (writers, readers)
}

/// Makes the step that writes what the copy reads write what the copy writes.
fn store_there(steps: &mut [Step], position: usize, copy: &Copy, kept: &[Buffer]) -> bool {
    let (writers, readers) = uses(steps, copy.input.place);
    let ([writer], false) = (writers.as_slice(), copy.input.kind != copy.output.kind) else { return false };
    if readers != [position] || kept.contains(&copy.input) {
        // Long rows are copied faster than a tile is stored twice.
        return false;
    }
    let others = uses(steps, copy.output.place).0;
    if others.contains(writer) {
        // A concatenation of a value with itself: a step takes each of its outputs once.
        return false;
    }
    let Some((_, rows, columns)) = steps[*writer].output(copy.input) else { return false };
    let spills = match &steps[*writer] {
        Step::Conv(step) => step.spill && !step.blocks.iter().all(|b| b.fills_lanes()),
        Step::Depthwise(_) | Step::Pointwise(_) => true,
        Step::Pool(_) | Step::Reduce(_) => false,
        Step::Copy(_) | Step::Fill(_) => return false,
    };
    let Some(rows) = rows_of(copy, rows, columns) else { return false };
    // What a row spills is written later, by its neighbours or as part of the border; others write the rest of a concatenation.
    let whole = others == [position] && (copy.fill.is_some() || copy.covers());
    if spills && !(whole && ascending(&rows)) {
        return false;
    }
    let Some(output) = steps[*writer].output_mut(copy.input) else { return false };
    *output = Output { buffer: copy.output, rows };
    true
}

/// Where the copy moves the rows of a result to; none if it takes them apart or leaves some out.
fn rows_of(copy: &Copy, rows: usize, columns: usize) -> Option<Rows> {
    let mut dense = 1;
    for (n, stride) in copy.dims.iter().zip(&copy.from_strides).rev() {
        if *stride != dense {
            return None;
        }
        dense *= n;
    }
    if copy.from != 0 || dense != rows * columns || rows == 0 || columns == 0 {
        return None;
    }
    let (inner, outer) = match copy.dims.split_last() {
        Some((n, outer)) if copy.to_strides[outer.len()] == 1 => (*n, outer),
        Some(_) => return None,
        None => (1, &[][..]),
    };
    if !inner.is_multiple_of(columns) || (copy.idle > 0 && inner != columns) {
        return None;
    }
    let mut starts = vec![copy.to];
    for (n, stride) in outer.iter().zip(&copy.to_strides) {
        starts = starts.iter().flat_map(|start| (0..*n).map(move |i| start + i * stride)).collect();
    }
    let starts: Vec<usize> = starts.iter().flat_map(|s| (0..inner / columns).map(move |i| s + i * columns)).collect();
    let follow = starts.iter().enumerate().all(|(row, start)| *start == starts[0] + row * columns);
    if follow {
        return Some(Rows::From(starts[0]));
    }
    starts
        .into_iter()
        .map(|start| u32::try_from(start).ok())
        .collect::<Option<_>>()
        .map(|starts| Rows::At(Starts::new(starts)))
}

fn ascending(rows: &Rows) -> bool {
    match rows {
        Rows::From(_) => true,
        Rows::At(starts) => starts.as_slice().is_sorted(),
    }
}

/// What the copy filled and no step writes now.
fn border(steps: &[Step], position: usize, copy: &Copy, lens: &[usize]) -> Option<Fill> {
    let value = copy.fill?;
    let (Place::Slot(v), (writers, _)) = (copy.output.place, uses(steps, copy.output.place)) else { return None };
    let writer = &steps[*writers.iter().find(|w| **w != position)?];
    let (output, rows, columns) = writer.output(copy.output)?;
    let mut starts: Vec<usize> = (0..rows).map(|row| output.start(row, columns)).collect();
    starts.sort_unstable();
    let mut ranges = Vec::new();
    let mut end = 0;
    for start in starts {
        if start > end {
            ranges.push((end as u32, start as u32));
        }
        end = start + columns + copy.idle;
    }
    if lens[v] > end {
        ranges.push((end as u32, lens[v] as u32));
    }
    Some(Fill { output: copy.output, ranges, value })
}

/// Makes the step that reads what the copy writes read what the copy reads, where that is one piece.
fn read_there(steps: &mut [Step], position: usize, copy: &Copy, kept: &[Buffer]) -> bool {
    let ([_], [1], [1]) = (copy.dims.as_slice(), copy.from_strides.as_slice(), copy.to_strides.as_slice()) else {
        return false;
    };
    let (writers, readers) = uses(steps, copy.output.place);
    let [reader] = readers.as_slice() else { return false };
    if copy.to != 0 || copy.fill.is_some() || writers != [position] || kept.contains(&copy.output) {
        return false;
    }
    match &mut steps[*reader] {
        Step::Reduce(step) => {
            step.input = copy.input;
            step.from += copy.from;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        compile::compile,
        graph::{ConvAxes, Geometry, Graph, Id, Op},
        isa::Isa,
        step::ReduceFn,
    };

    const WIDTH: usize = 9;

    /// A convolution of three neighbours, padded by one.
    fn conv(graph: &mut Graph, x: Id, channels: [usize; 2]) -> Id {
        let one = |n: usize| [1, 1, n];
        let geometry = Geometry {
            input: one(WIDTH),
            output: one(WIDTH),
            kernel: one(3),
            stride: one(1),
            dilation: one(1),
            before: [0, 0, 1],
        };
        let weights = Arc::new(vec![0.5; 3 * channels[0] * channels[1]]);
        let axes = ConvAxes { image: Some(0), channel: 1, space: vec![2] };
        let op = Op::Conv { geometry, group: 1, weights, bias: vec![1.; channels[1]], axes, quantized: None };
        graph.push(op, vec![x], vec![1, channels[1], WIDTH], Kind::F32)
    }

    fn mean(graph: &mut Graph, x: Id, channels: usize, pixels: usize) -> Id {
        let sum = Op::Reduce { f: ReduceFn::Sum, axes: vec![2] };
        let sum = graph.push(sum, vec![x], vec![1, channels, 1], Kind::F32);
        let op = Op::Affine { scale: 1. / pixels as f32, shift: 0. };
        graph.push(op, vec![sum], vec![1, channels, 1], Kind::F32)
    }

    /// The kinds of steps of a program, in order.
    fn steps(graph: &Graph) -> Vec<&'static str> {
        let compiled = compile(graph, Isa::detect()).expect("it can be compiled");
        let kind = |step: &Step| match step {
            Step::Conv(_) => "conv",
            Step::Depthwise(_) => "depthwise",
            Step::Pointwise(_) => "pointwise",
            Step::Pool(_) => "pool",
            Step::Reduce(_) => "reduce",
            Step::Copy(_) => "copy",
            Step::Fill(_) => "fill",
        };
        compiled.program.steps.iter().map(kind).collect()
    }

    fn input(channels: usize) -> (Graph, Id) {
        let mut graph = Graph::default();
        let x = graph.push(Op::Input(0), vec![], vec![1, channels, WIDTH], Kind::F32);
        (graph, x)
    }

    #[test]
    fn a_convolution_writes_into_the_padded_input_of_the_next() {
        let (mut graph, x) = input(4);
        let first = conv(&mut graph, x, [4, 14]);
        let second = conv(&mut graph, first, [14, 3]);
        graph.outputs = vec![second];
        assert_eq!(steps(&graph), ["copy", "conv", "fill", "conv", "copy"]);
        // Something else reads it, too.
        graph.outputs = vec![second, first];
        assert_eq!(steps(&graph), ["copy", "conv", "copy", "conv", "copy", "copy"]);
    }

    #[test]
    fn means_of_a_piece_go_into_a_concatenation_at_once() {
        let (mut graph, x) = input(4);
        let y = conv(&mut graph, x, [4, 14]);
        let piece = graph.push(Op::Slice { axis: 2, start: 5 }, vec![y], vec![1, 14, 4], Kind::F32);
        let parts = vec![mean(&mut graph, y, 14, WIDTH), mean(&mut graph, piece, 14, 4)];
        graph.outputs = vec![graph.push(Op::Concat { axis: 1 }, parts, vec![1, 28, 1], Kind::F32)];
        assert_eq!(steps(&graph), ["copy", "conv", "reduce", "reduce"]);
    }

    #[test]
    fn a_sum_that_is_wanted_as_well_is_scaled_by_a_step_of_its_own() {
        let (mut graph, x) = input(4);
        let y = conv(&mut graph, x, [4, 14]);
        let mean = mean(&mut graph, y, 14, WIDTH);
        graph.outputs = vec![mean, graph.nodes[mean].inputs[0]];
        assert_eq!(steps(&graph), ["copy", "conv", "reduce", "pointwise"]);
    }
}
