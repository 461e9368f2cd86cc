//! What an element-wise program says: operations on registers, and what they read.

use crate::program::Buffer;

/// How an operand's elements lie over the rows and columns of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// One element for each.
    Full,
    /// One a column, the same in all rows.
    Row,
    /// One a row, the same in all columns.
    Column,
    /// A single one.
    Scalar,
}

/// A value that a program loads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand {
    pub(crate) buffer: Buffer,
    pub(crate) pattern: Pattern,
}

/// A constant of a micro-operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arg {
    Scalar(f32),
    /// One a column; the vector's index in `rows_of_constants`.
    Row(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BinaryFn {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum UnaryFn {
    Abs,
    Sqrt,
    Rsqrt,
    Recip,
    Square,
    Exp,
    Tanh,
    Sigmoid,
    Silu,
    Erf,
    Gelu,
    HardSwish,
    LeakyRelu(f32),
    /// Bounds; NaN stays NaN.
    Clamp(f32, f32),
}

/// One operation on registers. A destination differs from every source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Micro {
    Load {
        to: usize,
        operand: usize,
    },
    Fill {
        to: usize,
        from: Arg,
    },
    Binary {
        f: BinaryFn,
        to: usize,
        a: usize,
        b: usize,
    },
    Unary {
        f: UnaryFn,
        to: usize,
        a: usize,
    },
    /// `a * scale + shift`, rounded twice.
    ScaleShift {
        to: usize,
        a: usize,
        scale: Arg,
        shift: Arg,
    },
    /// [`Micro::ScaleShift`] and then bounds; NaN stays NaN.
    Bounded {
        to: usize,
        a: usize,
        scale: Arg,
        shift: Arg,
        low: f32,
        high: f32,
    },
    /// `a + b` and then bounds.
    BoundedSum {
        to: usize,
        a: usize,
        b: usize,
        low: f32,
        high: f32,
    },
    /// `clamp(round(a * inverse) + zero_point, 0, 255)`, still as f32.
    Quantize {
        to: usize,
        a: usize,
        inverse: f32,
        zero_point: f32,
    },
    /// [`Micro::ScaleShift`] and [`Micro::Quantize`] in one.
    Requantize {
        to: usize,
        a: usize,
        scale: Arg,
        shift: Arg,
        inverse: f32,
        zero_point: f32,
    },
    Store {
        from: usize,
        output: usize,
    },
    /// [`Micro::Bounded`] and [`Micro::Store`] in one.
    Ending {
        a: usize,
        scale: Arg,
        shift: Arg,
        bounds: (f32, f32),
        output: usize,
    },
    /// [`Micro::Requantize`] and [`Micro::Store`] in one.
    BytesEnding {
        a: usize,
        scale: Arg,
        shift: Arg,
        inverse: f32,
        zero_point: f32,
        output: usize,
    },
}
