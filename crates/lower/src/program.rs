//! What an island becomes: steps over buffers, and the loop that runs them.
//!
//! Every buffer is dense and has its channels last. A step takes its outputs' buffers out of the environment, writes to them, and
//! puts them back, so that no two steps ever share memory that one of them writes.

use std::time::{Duration, Instant};

use crate::{
    isa::Kernels,
    step::{Conv, Copy, Depthwise, Fill, Output, Pointwise, Pool, Reduce, Registers, registers},
};

/// Elements behind the end of a buffer that may be read (and are never used): vectors of channels may reach over the last pixel.
pub(crate) const SLACK: usize = 64;

/// The element types of buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    F32,
    U8,
}

/// Where a step finds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// The island's k-th input, as the plan hands it over; no slack.
    Input(usize),
    /// A buffer of the environment.
    Slot(usize),
    /// A constant of the program.
    Const(usize),
}

/// A value's place and element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Buffer {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
}

/// Memory that starts at a multiple of 64 bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aligned<T> {
    data: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: std::marker::Copy + Default> Aligned<T> {
    pub(crate) fn new(len: usize) -> Self {
        let data = vec![T::default(); len + 64 / size_of::<T>()];
        let start = data.as_ptr().align_offset(64).min(64 / size_of::<T>());
        Self { data, start, len }
    }

    pub(crate) fn from_slice(from: &[T]) -> Self {
        let mut aligned = Self::new(from.len());
        aligned.as_mut_slice().copy_from_slice(from);
        aligned
    }

    #[inline(always)]
    pub(crate) fn as_slice(&self) -> &[T] {
        &self.data[self.start..self.start + self.len]
    }

    #[inline(always)]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data[self.start..self.start + self.len]
    }
}

/// One operation on whole buffers.
#[derive(Debug)]
pub(crate) enum Step {
    Conv(Conv),
    Depthwise(Depthwise),
    Pointwise(Pointwise),
    Pool(Pool),
    Reduce(Reduce),
    Copy(Copy),
    Fill(Fill),
}

impl Step {
    /// What it is and how large, for people.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Conv(s) => {
                let depth: usize = s.runs.iter().map(|r| r.len).sum();
                format!("inner products, {} × {}, depth {depth}", s.finish.rows, s.finish.columns)
            }
            Self::Depthwise(s) => {
                format!("depthwise, {} × {}, {} taps", s.finish.rows, s.channels, s.taps.len())
            }
            Self::Pointwise(s) => format!("element-wise, {} × {}, {} operations", s.rows, s.columns, s.micros.len()),
            Self::Pool(s) => format!("pool, {} × {}", s.images * s.windows.len(), s.channels),
            Self::Reduce(s) => format!("reduction, {} × {} × {}", s.outer, s.reduced, s.inner),
            Self::Copy(s) => format!("copy, {:?}", s.dims),
            Self::Fill(s) => format!("border, {} pieces", s.ranges.len()),
        }
    }

    /// All buffers: what it reads, what it writes.
    pub(crate) fn buffers(&self) -> (Vec<Buffer>, Vec<Buffer>) {
        let (input, finish) = match self {
            Self::Pool(s) => return (vec![s.input], vec![s.output.buffer]),
            Self::Reduce(s) => return (vec![s.input], vec![s.output.buffer]),
            Self::Copy(s) => return (vec![s.input], vec![s.output]),
            Self::Fill(s) => return (vec![], vec![s.output]),
            Self::Pointwise(finish) => (None, finish),
            Self::Conv(s) => (Some(s.input), &s.finish),
            Self::Depthwise(s) => (Some(s.input), &s.finish),
        };
        let reads = input.into_iter().chain(finish.operands.iter().map(|o| o.buffer)).collect();
        (reads, finish.outputs.iter().map(|o| o.buffer).collect())
    }

    /// The output that goes to a buffer, its rows and its columns.
    pub(crate) fn output(&self, buffer: Buffer) -> Option<(&Output, usize, usize)> {
        let finish = match self {
            Self::Pool(s) => return Some((&s.output, s.images * s.windows.len(), s.channels)),
            Self::Reduce(s) => return Some((&s.output, s.outer, s.inner)),
            Self::Copy(_) | Self::Fill(_) => return None,
            Self::Pointwise(finish) => finish,
            Self::Conv(s) => &s.finish,
            Self::Depthwise(s) => &s.finish,
        };
        let output = finish.outputs.iter().find(|o| o.buffer == buffer)?;
        Some((output, finish.rows, finish.columns))
    }

    /// The same output, to be given another place.
    pub(crate) fn output_mut(&mut self, buffer: Buffer) -> Option<&mut Output> {
        let finish = match self {
            Self::Pool(s) => return Some(&mut s.output),
            Self::Reduce(s) => return Some(&mut s.output),
            _ => self.finish_mut()?,
        };
        finish.outputs.iter_mut().find(|o| o.buffer == buffer)
    }

    /// The element-wise program that it ends with, or is.
    pub(crate) fn finish_mut(&mut self) -> Option<&mut Pointwise> {
        match self {
            Self::Pointwise(finish) => Some(finish),
            Self::Conv(s) => Some(&mut s.finish),
            Self::Depthwise(s) => Some(&mut s.finish),
            Self::Pool(_) | Self::Reduce(_) | Self::Copy(_) | Self::Fill(_) => None,
        }
    }

    /// Gives each buffer another place.
    pub(crate) fn relocate(&mut self, place: impl Fn(&mut Buffer)) {
        let (input, finish) = match self {
            Self::Pool(s) => return [&mut s.input, &mut s.output.buffer].into_iter().for_each(place),
            Self::Reduce(s) => return [&mut s.input, &mut s.output.buffer].into_iter().for_each(place),
            Self::Copy(s) => return [&mut s.input, &mut s.output].into_iter().for_each(place),
            Self::Fill(s) => return place(&mut s.output),
            Self::Pointwise(finish) => (None, finish),
            Self::Conv(s) => (Some(&mut s.input), &mut s.finish),
            Self::Depthwise(s) => (Some(&mut s.input), &mut s.finish),
        };
        let operands = finish.operands.iter_mut().map(|o| &mut o.buffer);
        input.into_iter().chain(operands).chain(finish.outputs.iter_mut().map(|o| &mut o.buffer)).for_each(place);
    }
}

/// Steps in order, the constants they read and the sizes of the buffers they need.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    pub(crate) const_f32: Vec<Aligned<f32>>,
    /// Elements (slack included) of each f32 and each u8 buffer.
    pub(crate) slots_f32: Vec<usize>,
    pub(crate) slots_u8: Vec<usize>,
}

/// The buffers of one run; reused by the next.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    f32: Vec<Aligned<f32>>,
    u8: Vec<Aligned<u8>>,
    registers: Option<Box<Registers>>,
}

impl Slots {
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            f32: program.slots_f32.iter().map(|n| Aligned::new(*n)).collect(),
            u8: program.slots_u8.iter().map(|n| Aligned::new(*n)).collect(),
            registers: None,
        }
    }
}

/// An input of the island.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'a> {
    F32(&'a [f32]),
    U8(&'a [u8]),
}

/// What a running step can read.
pub(crate) struct Env<'a> {
    pub(crate) inputs: &'a [View<'a>],
    pub(crate) slots: &'a mut Slots,
    pub(crate) consts: &'a [Aligned<f32>],
    /// Where each step's time goes, if somebody asks.
    pub(crate) times: Option<&'a mut Vec<Duration>>,
}

impl Env<'_> {
    #[inline(always)]
    pub(crate) fn view(&self, buffer: Buffer) -> View<'_> {
        match (buffer.place, buffer.kind) {
            (Place::Input(k), _) => self.inputs[k],
            (Place::Slot(k), Kind::F32) => View::F32(self.slots.f32[k].as_slice()),
            (Place::Slot(k), Kind::U8) => View::U8(self.slots.u8[k].as_slice()),
            (Place::Const(k), _) => View::F32(self.consts[k].as_slice()),
        }
    }

    /// Takes a buffer out to be written.
    #[inline(always)]
    pub(crate) fn take(&mut self, buffer: Buffer) -> Taken {
        let Place::Slot(k) = buffer.place else { unreachable!("steps write buffers of the environment") };
        match buffer.kind {
            Kind::F32 => Taken::F32(std::mem::take(&mut self.slots.f32[k])),
            Kind::U8 => Taken::U8(std::mem::take(&mut self.slots.u8[k])),
        }
    }

    /// Registers of pointwise programs; what they hold is of no meaning.
    #[inline(always)]
    pub(crate) fn take_registers(&mut self) -> Box<Registers> {
        self.slots.registers.take().unwrap_or_else(registers)
    }

    #[inline(always)]
    pub(crate) fn put_registers(&mut self, registers: Box<Registers>) {
        self.slots.registers = Some(registers);
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, buffer: Buffer, taken: Taken) {
        let Place::Slot(k) = buffer.place else { unreachable!("steps write buffers of the environment") };
        match taken {
            Taken::F32(data) => self.slots.f32[k] = data,
            Taken::U8(data) => self.slots.u8[k] = data,
        }
    }
}

/// A buffer that a step is writing.
pub(crate) enum Taken {
    F32(Aligned<f32>),
    U8(Aligned<u8>),
}

/// Runs all steps.
pub(crate) fn interpret<K: Kernels>(program: &Program, env: &mut Env<'_>) {
    for step in &program.steps {
        let start = env.times.is_some().then(Instant::now);
        match step {
            Step::Conv(step) => K::step(step, env),
            Step::Depthwise(step) => K::step(step, env),
            Step::Pointwise(step) => K::step(step, env),
            Step::Pool(step) => K::step(step, env),
            Step::Reduce(step) => K::step(step, env),
            Step::Copy(step) => K::step(step, env),
            Step::Fill(step) => K::step(step, env),
        }
        if let (Some(times), Some(start)) = (&mut env.times, start) {
            times.push(start.elapsed());
        }
    }
}
