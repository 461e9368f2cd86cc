//! Element-wise programs after sums that an instruction set may run without taking the sums through memory: scale and shift, codes and
//! back, the sum with a value that is there, bounds or codes.

use super::{Arg, BinaryFn, Micro, Pattern, Pointwise};
use crate::{
    isa::{Back, Codes, Ending, Scale, Then},
    program::{Buffer, Kind, View},
};

/// Such a program, its constants, operands and outputs by their index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epilogue {
    scale: Arg,
    shift: usize,
    codes: Option<Codes>,
    plus: Option<usize>,
    then: Then,
    output: usize,
    /// Codes taken back to f32, stored as well.
    also: Option<(Back, usize)>,
}

impl Epilogue {
    /// The program, if it is one and begins with sums in register 0.
    pub(crate) fn of(program: &Pointwise) -> Option<Self> {
        let found = match *program.micros.as_slice() {
            [Micro::Ending { a: 0, scale, shift, bounds: (low, high), output }] => {
                Self { output, ..Self::new(scale, shift, Then::Bounds(low, high))? }
            }
            [Micro::BytesEnding { a: 0, scale, shift, inverse, zero_point, output }] => {
                Self { output, ..Self::new(scale, shift, Then::Bytes { inverse, zero_point })? }
            }
            [
                Micro::Requantize { to, a: 0, scale, shift, inverse, zero_point },
                Micro::ScaleShift { to: at, a, scale: Arg::Scalar(by), shift: Arg::Scalar(plus) },
                ref rest @ ..,
            ] if a == to => {
                let codes = Some(Codes { inverse, zero_point, back: Back { scale: by, shift: plus } });
                Self { codes, ..Self::new(scale, shift, UNBOUNDED)? }.then(at, rest, program)?
            }
            [Micro::Requantize { to, a: 0, scale, shift, inverse, zero_point }, ref rest @ ..] => {
                Self::new(scale, shift, Then::Bytes { inverse, zero_point })?.stored(to, rest)?
            }
            [Micro::ScaleShift { to, a: 0, scale, shift }, ref rest @ ..] => {
                Self::new(scale, shift, UNBOUNDED)?.then(to, rest, program)?
            }
            _ => return None,
        };
        let kind = |output: usize| program.outputs[output].buffer.kind;
        let right = match found.then {
            Then::Bounds(..) => kind(found.output) == Kind::F32,
            Then::Bytes { .. } => kind(found.output) == Kind::U8,
        };
        (right && found.also.is_none_or(|(_, output)| kind(output) == Kind::F32)).then_some(found)
    }

    fn new(scale: Arg, shift: Arg, then: Then) -> Option<Self> {
        let Arg::Row(shift) = shift else { return None };
        Some(Self { scale, shift, codes: None, plus: None, then, output: 0, also: None })
    }

    /// What follows what is in register `at`: a sum, codes, stores.
    fn then(self, at: usize, rest: &[Micro], program: &Pointwise) -> Option<Self> {
        let with = |operand: usize| {
            let operand = program.operands[operand];
            operand.pattern == Pattern::Full && operand.buffer.kind == Kind::F32
        };
        let terms = |a, b, loaded| (a, b) == (at, loaded) || (a, b) == (loaded, at);
        match *rest {
            [
                Micro::Load { to: loaded, operand },
                Micro::Binary { f: BinaryFn::Add, to, a, b },
                Micro::Quantize { to: codes, a: sum, inverse, zero_point },
                ref rest @ ..,
            ] if with(operand) && terms(a, b, loaded) && sum == to => {
                Self { plus: Some(operand), then: Then::Bytes { inverse, zero_point }, ..self }.stored(codes, rest)
            }
            [Micro::Load { to: loaded, operand }, Micro::Binary { f: BinaryFn::Add, to, a, b }, ref rest @ ..]
                if with(operand) && terms(a, b, loaded) =>
            {
                Self { plus: Some(operand), ..self }.stored(to, rest)
            }
            [Micro::Load { to: loaded, operand }, Micro::BoundedSum { to, a, b, low, high }, ref rest @ ..]
                if with(operand) && terms(a, b, loaded) =>
            {
                Self { plus: Some(operand), then: Then::Bounds(low, high), ..self }.stored(to, rest)
            }
            _ => self.stored(at, rest),
        }
    }

    /// The stores that end it, of what is in register `at`.
    fn stored(self, at: usize, rest: &[Micro]) -> Option<Self> {
        match *rest {
            [Micro::Store { from, output }] if from == at => Some(Self { output, ..self }),
            [
                Micro::Store { from, output },
                Micro::ScaleShift { to, a, scale: Arg::Scalar(scale), shift: Arg::Scalar(shift) },
                Micro::Store { from: second, output: also },
            ] if (from, a, second) == (at, at, to) && matches!(self.then, Then::Bytes { .. }) => {
                Some(Self { output, also: Some((Back { scale, shift }, also)), ..self })
            }
            _ => None,
        }
    }

    /// Where it stores, and what it stores as well, in `program`, whose epilogue this is.
    #[inline(always)]
    pub(super) fn outputs(&self, program: &Pointwise) -> (Buffer, Option<Buffer>) {
        (program.outputs[self.output].buffer, self.also.map(|(_, output)| program.outputs[output].buffer))
    }

    /// What it adds.
    #[inline(always)]
    pub(super) fn plus(&self, program: &Pointwise) -> Option<Buffer> {
        self.plus.map(|operand| program.operands[operand].buffer)
    }

    /// What becomes of a block of channels and so many lanes, `plus` being added.
    #[inline(always)]
    pub(super) fn ending<'a>(
        &self,
        program: &'a Pointwise,
        plus: Option<View<'a>>,
        channel: usize,
        channels: usize,
        lanes: usize,
    ) -> Ending<'a> {
        let row = |index: usize| &program.constants[index].as_slice()[channel..][..lanes];
        let scale = match self.scale {
            Arg::Scalar(scale) => Scale::All(scale),
            Arg::Row(scale) => Scale::Lanes(row(scale)),
        };
        let plus = plus.map(|plus| match plus {
            View::F32(values) => values,
            View::U8(_) => unreachable!("`of` looked for f32"),
        });
        Ending {
            scale,
            shift: row(self.shift),
            codes: self.codes,
            plus,
            then: self.then,
            channel,
            channels,
            output: &program.outputs[self.output],
            columns: program.columns,
            also: self.also.map(|(back, output)| (back, &program.outputs[output])),
        }
    }
}

const UNBOUNDED: Then = Then::Bounds(f32::NEG_INFINITY, f32::INFINITY);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        program::Place,
        step::{Operand, Output},
    };

    /// A program with one operand, and outputs of these kinds.
    fn program(micros: &[Micro], pattern: Pattern, operand: Kind, outputs: &[Kind]) -> Pointwise {
        let buffer = |kind: Kind| Buffer { kind, place: Place::Slot(0) };
        Pointwise {
            micros: micros.to_vec(),
            operands: vec![Operand { buffer: buffer(operand), pattern }],
            outputs: outputs.iter().map(|kind| Output::whole(buffer(*kind))).collect(),
            ..Pointwise::default()
        }
    }

    const SCALED: Micro = Micro::ScaleShift { to: 1, a: 0, scale: Arg::Scalar(1.), shift: Arg::Row(0) };
    const CODES: Micro =
        Micro::Requantize { to: 1, a: 0, scale: Arg::Row(0), shift: Arg::Row(1), inverse: 3., zero_point: 9. };
    const BACK: Micro = Micro::ScaleShift { to: 2, a: 1, scale: Arg::Scalar(0.1), shift: Arg::Scalar(-1.) };
    const LOADED: Micro = Micro::Load { to: 3, operand: 0 };

    fn added(a: usize, to: usize) -> Micro {
        Micro::Binary { f: BinaryFn::Add, to, a, b: 3 }
    }

    fn stored(from: usize, output: usize) -> Micro {
        Micro::Store { from, output }
    }

    #[test]
    fn residual_sums_and_codes_are_epilogues() {
        let of = |micros: &[Micro], outputs: &[Kind]| {
            Epilogue::of(&program(micros, Pattern::Full, Kind::F32, outputs))
                .map(|e| (e.plus.is_some(), e.also.is_some()))
        };
        let bounded = Micro::BoundedSum { to: 2, a: 3, b: 1, low: 0., high: 6. };
        let quantized = Micro::Quantize { to: 1, a: 4, inverse: 5., zero_point: 7. };
        let (f, b) = (Kind::F32, Kind::U8);
        assert_eq!(of(&[SCALED, LOADED, bounded, stored(2, 0)], &[f]), Some((true, false)));
        assert_eq!(of(&[SCALED, LOADED, added(1, 2), stored(2, 0)], &[f]), Some((true, false)));
        assert_eq!(of(&[CODES, BACK, stored(2, 0)], &[f]), Some((false, false)));
        assert_eq!(of(&[CODES, stored(1, 0), BACK, stored(2, 1)], &[b, f]), Some((false, true)));
        assert_eq!(of(&[CODES, BACK, LOADED, added(2, 4), quantized, stored(1, 0)], &[b]), Some((true, false)));
        let both = [CODES, BACK, LOADED, added(2, 4), quantized, stored(1, 0), BACK, stored(2, 1)];
        assert_eq!(of(&both, &[b, f]), Some((true, true)));
    }

    #[test]
    fn what_registers_cannot_end_goes_by_the_program() {
        let sum = [SCALED, LOADED, added(1, 2), stored(2, 0)];
        let (f, b) = (Kind::F32, Kind::U8);
        assert!(Epilogue::of(&program(&sum, Pattern::Full, f, &[f])).is_some());
        assert!(Epilogue::of(&program(&sum, Pattern::Row, f, &[f])).is_none(), "the same in all rows");
        assert!(Epilogue::of(&program(&sum, Pattern::Full, b, &[f])).is_none(), "bytes are added");
        assert!(Epilogue::of(&program(&sum, Pattern::Full, f, &[b])).is_none(), "floats go into bytes");
        let other = [SCALED, LOADED, added(0, 2), stored(2, 0)];
        assert!(Epilogue::of(&program(&other, Pattern::Full, f, &[f])).is_none(), "the sums themselves are added");
        let twice = [&sum[..], &[stored(1, 1)]].concat();
        assert!(Epilogue::of(&program(&twice, Pattern::Full, f, &[f, f])).is_none(), "a value between is stored");
    }
}
