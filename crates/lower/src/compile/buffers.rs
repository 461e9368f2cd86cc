//! The end of compilation: registers are shared, values get buffers, and steps take their final form.

use super::{
    Compiled, TooComplex,
    emit::{Emitter, Planned},
    forward::forward,
    pointwise_groups::{Group, Head},
    values::Origin,
};
use crate::{
    isa::Starts,
    program::{Buffer, Kind, Place, Program, SLACK, Step},
    step::{
        Arg, BinaryFn, Conv, Depthwise, Epilogue, MAX_OPERANDS, MAX_REGISTERS, Micro, Output, Pattern, Pointwise,
        UnaryFn,
    },
};

impl Emitter<'_> {
    pub(super) fn finish(mut self) -> Result<Compiled, TooComplex> {
        let mut outputs = Vec::new();
        for id in self.graph.outputs.clone() {
            let laid = self.part(id)?;
            let rows: Vec<usize> = (0..laid.shape.len()).collect();
            let value = self.in_order(&laid, &rows).value;
            outputs.push(self.read(value));
        }
        let values = self.values;
        let mut steps = Vec::new();
        for planned in self.steps {
            steps.push(match planned {
                Planned::Pool(step) => Step::Pool(step),
                Planned::Reduce(step) => Step::Reduce(step),
                Planned::Copy(step) => Step::Copy(step),
                Planned::Group(mut group) => {
                    fuse_endings(&mut group, &|v| values[v].stored);
                    store(&mut group, &|v| values[v].stored, &|v| values[v].kind);
                    if group.program.outputs.len() > MAX_OPERANDS {
                        return Err(TooComplex);
                    }
                    share_registers(&mut group)?;
                    let finish = flat(group.program, matches!(group.head, Head::None));
                    match group.head {
                        Head::None => Step::Pointwise(finish),
                        Head::Conv { input, bases, runs, blocks, weights, spill } => {
                            let bases = Starts::new(bases);
                            Step::Conv(Conv { input, bases, runs, blocks, weights, spill, finish, epilogue: None })
                        }
                        Head::Depthwise { input, bases, taps, weights, channels } => {
                            Step::Depthwise(Depthwise { input, bases, taps, weights, channels, finish })
                        }
                    }
                }
            });
        }
        let lens: Vec<usize> = values.iter().map(|v| v.len).collect();
        forward(&mut steps, &lens, &outputs);
        steps.iter_mut().filter_map(Step::finish_mut).for_each(fuse_stores);
        for step in &mut steps {
            if let Step::Conv(step) = step {
                step.epilogue = Epilogue::of(&step.finish);
            }
        }
        // When each value is last read; outputs are read after the end.
        let mut last = vec![0; values.len()];
        let mut first = vec![usize::MAX; values.len()];
        for (position, step) in steps.iter().enumerate() {
            let (reads, writes) = step.buffers();
            for buffer in reads.into_iter().chain(writes) {
                if let Place::Slot(v) = buffer.place {
                    last[v] = position;
                    first[v] = first[v].min(position);
                }
            }
        }
        for output in &outputs {
            if let Place::Slot(v) = output.place {
                last[v] = usize::MAX;
            }
        }
        let mut program = Program { const_f32: self.constants, ..Program::default() };
        let mut places: Vec<Place> = values
            .iter()
            .map(|v| match v.origin {
                Origin::Given(place) => place,
                _ => Place::Slot(usize::MAX),
            })
            .collect();
        let mut free: [Vec<usize>; 2] = [vec![], vec![]];
        for (position, step) in steps.iter_mut().enumerate() {
            let (reads, writes) = step.buffers();
            let slots = reads.into_iter().chain(writes);
            let touched: Vec<usize> =
                slots.filter_map(|b| if let Place::Slot(v) = b.place { Some(v) } else { None }).collect();
            for v in &touched {
                if places[*v] == Place::Slot(usize::MAX) && first[*v] == position {
                    let kind = values[*v].kind;
                    let slots = if kind == Kind::F32 { &mut program.slots_f32 } else { &mut program.slots_u8 };
                    let len = values[*v].len + SLACK;
                    // The smallest free one that holds it, else the largest is made larger.
                    let pool = &mut free[kind as usize];
                    let best = (0..pool.len()).min_by_key(|i| {
                        let size = slots[pool[*i]];
                        (size < len, if size < len { usize::MAX - size } else { size })
                    });
                    let slot = match best {
                        Some(i) => pool.swap_remove(i),
                        None => {
                            slots.push(0);
                            slots.len() - 1
                        }
                    };
                    slots[slot] = slots[slot].max(len);
                    places[*v] = Place::Slot(slot);
                }
            }
            let mut done: Vec<usize> = touched.into_iter().filter(|v| last[*v] == position).collect();
            done.sort_unstable();
            done.dedup();
            for v in done {
                if let (Place::Slot(slot), true) = (places[v], values[v].position().is_some()) {
                    free[values[v].kind as usize].push(slot);
                }
            }
            step.relocate(|buffer| place(buffer, &places));
        }
        outputs.iter_mut().for_each(|o| place(o, &places));
        program.steps = steps;
        Ok(Compiled { program, outputs })
    }
}

/// A program that stands alone and treats all elements alike takes them as one row.
fn flat(program: Pointwise, alone: bool) -> Pointwise {
    let alike = program.constants.is_empty()
        && program.operands.iter().all(|o| matches!(o.pattern, Pattern::Full | Pattern::Scalar));
    if !alone || !alike {
        return program;
    }
    Pointwise { columns: program.rows * program.columns, rows: 1, ..program }
}

fn place(buffer: &mut Buffer, places: &[Place]) {
    if let Place::Slot(v) = buffer.place {
        buffer.place = places[v];
    }
}

/// Quantization and bounds take in the scale and shift before them, bounds a sum too, where nothing else reads what these make.
fn fuse_endings(group: &mut Group, stored: &dyn Fn(usize) -> bool) {
    let mut uses = vec![0; group.registers];
    for micro in &mut group.program.micros {
        registers(micro).0.into_iter().for_each(|r| uses[*r] += 1);
    }
    for (register, value) in &group.defined {
        uses[*register] += usize::from(stored(*value));
    }
    let mut made: Vec<Option<(usize, usize, Arg, Arg)>> = vec![None; group.registers];
    let mut sums: Vec<Option<(usize, usize, usize)>> = vec![None; group.registers];
    let mut gone = vec![];
    for (i, micro) in group.program.micros.iter_mut().enumerate() {
        match *micro {
            Micro::ScaleShift { to, a, scale, shift } => made[to] = Some((i, a, scale, shift)),
            Micro::Binary { f: BinaryFn::Add, to, a, b } => sums[to] = Some((i, a, b)),
            Micro::Quantize { to, a, inverse, zero_point } if uses[a] == 1 => {
                if let Some((at, a, scale, shift)) = made[a] {
                    *micro = Micro::Requantize { to, a, scale, shift, inverse, zero_point };
                    gone.push(at);
                }
            }
            Micro::Unary { f: UnaryFn::Clamp(low, high), to, a } if uses[a] == 1 => {
                if let Some((at, a, scale, shift)) = made[a] {
                    *micro = Micro::Bounded { to, a, scale, shift, low, high };
                    gone.push(at);
                } else if let Some((at, a, b)) = sums[a] {
                    *micro = Micro::BoundedSum { to, a, b, low, high };
                    gone.push(at);
                }
            }
            _ => {}
        }
    }
    let mut at = 0;
    group.program.micros.retain(|_| {
        at += 1;
        !gone.contains(&(at - 1))
    });
}

/// Stores those of a group's values that something reads from memory, right after they are made.
fn store(group: &mut Group, stored: &dyn Fn(usize) -> bool, kind: &dyn Fn(usize) -> Kind) {
    let mut micros = Vec::new();
    let mut wanted: Vec<(usize, usize)> = group.defined.iter().copied().filter(|(_, v)| stored(*v)).collect();
    let program = &mut group.program;
    let mut put = |register: usize, micros: &mut Vec<Micro>| {
        wanted.retain(|(r, v)| {
            if *r == register {
                micros.push(Micro::Store { from: register, output: program.outputs.len() });
                program.outputs.push(Output::whole(Buffer { kind: kind(*v), place: Place::Slot(*v) }));
            }
            *r != register
        });
    };
    if !matches!(group.head, Head::None) {
        put(0, &mut micros);
    }
    for micro in &program.micros {
        micros.push(*micro);
        if let Some(to) = written(micro) {
            put(to, &mut micros);
        }
    }
    program.micros = micros;
}

/// What only makes a value to store it stores it at once.
fn fuse_stores(program: &mut Pointwise) {
    let Pointwise { micros, outputs, .. } = program;
    let mut at = 0;
    while at + 1 < micros.len() {
        let (made, Micro::Store { from, output }) = (micros[at], micros[at + 1]) else {
            at += 1;
            continue;
        };
        let later = micros[at + 2..].iter_mut();
        let read = later
            .map(|m| (registers(m).0.iter().any(|r| **r == from), written(m) == Some(from)))
            .find(|(reads, writes)| *reads || *writes)
            .is_some_and(|(reads, _)| reads);
        let fused = match (made, outputs[output].buffer.kind) {
            (Micro::ScaleShift { to, a, scale, shift: shift @ Arg::Row(_) }, Kind::F32) if to == from => {
                Some(Micro::Ending { a, scale, shift, bounds: (f32::NEG_INFINITY, f32::INFINITY), output })
            }
            (Micro::Bounded { to, a, scale, shift: shift @ Arg::Row(_), low, high }, Kind::F32) if to == from => {
                Some(Micro::Ending { a, scale, shift, bounds: (low, high), output })
            }
            (Micro::Requantize { to, a, scale, shift: shift @ Arg::Row(_), inverse, zero_point }, Kind::U8)
                if to == from =>
            {
                Some(Micro::BytesEnding { a, scale, shift, inverse, zero_point, output })
            }
            _ => None,
        };
        match fused {
            Some(fused) if !read => {
                micros[at] = fused;
                micros.remove(at + 1);
            }
            _ => at += 1,
        }
    }
}

fn written(micro: &Micro) -> Option<usize> {
    match *micro {
        Micro::Load { to, .. }
        | Micro::Fill { to, .. }
        | Micro::Binary { to, .. }
        | Micro::Unary { to, .. }
        | Micro::ScaleShift { to, .. }
        | Micro::Quantize { to, .. }
        | Micro::Bounded { to, .. }
        | Micro::BoundedSum { to, .. }
        | Micro::Requantize { to, .. } => Some(to),
        Micro::Store { .. } | Micro::Ending { .. } | Micro::BytesEnding { .. } => None,
    }
}

/// Registers of a micro-operation: those it reads, then the one it writes.
fn registers(micro: &mut Micro) -> (Vec<&mut usize>, Option<&mut usize>) {
    match micro {
        Micro::Load { to, .. } | Micro::Fill { to, .. } => (vec![], Some(to)),
        Micro::Binary { to, a, b, .. } | Micro::BoundedSum { to, a, b, .. } => (vec![a, b], Some(to)),
        Micro::Unary { to, a, .. }
        | Micro::ScaleShift { to, a, .. }
        | Micro::Quantize { to, a, .. }
        | Micro::Bounded { to, a, .. }
        | Micro::Requantize { to, a, .. } => (vec![a], Some(to)),
        Micro::Store { from, .. } => (vec![from], None),
        Micro::Ending { a, .. } | Micro::BytesEnding { a, .. } => (vec![a], None),
    }
}

/// Gives the registers of values that are no longer read to later ones (linear scan).
fn share_registers(group: &mut Group) -> Result<(), TooComplex> {
    let micros = &mut group.program.micros;
    let mut last = vec![0; group.registers];
    for (i, micro) in micros.iter_mut().enumerate() {
        registers(micro).0.into_iter().for_each(|r| last[*r] = i);
    }
    let mut real = vec![usize::MAX; group.registers];
    let mut free: Vec<usize> = (0..MAX_REGISTERS).rev().collect();
    if !matches!(group.head, Head::None) {
        real[0] = free.pop().expect("there are registers");
    }
    for (i, micro) in micros.iter_mut().enumerate() {
        let (reads, write) = registers(micro);
        let read: Vec<usize> = reads.iter().map(|r| **r).collect();
        // The destination is taken before the sources are given back: it differs from them.
        if let Some(to) = write {
            let register = free.pop().ok_or(TooComplex)?;
            real[*to] = register;
            if last[*to] <= i && !read.contains(to) {
                // Nothing reads it.
                free.push(register);
            }
            *to = register;
        }
        let (reads, _) = registers(micro);
        for r in reads {
            *r = real[*r];
        }
        let mut ended: Vec<usize> = read.into_iter().filter(|r| last[*r] == i).collect();
        ended.sort_unstable();
        ended.dedup();
        free.extend(ended.into_iter().map(|r| real[r]));
    }
    Ok(())
}
