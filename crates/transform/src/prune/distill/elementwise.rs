//! Element-wise operators with broadcasting, their gradients, and operators that only move elements. Knows numbers, not graphs.

use super::tape::Op;

/// A function of one element.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unary {
    Copy,
    Relu,
    Leaky(f32),
    Elu(f32),
    Sigmoid,
    HardSigmoid(f32, f32),
    HardSwish,
    Tanh,
    Softplus,
    Gelu,
    GeluTanh,
    Erf,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Neg,
    Abs,
    Clip(f32, f32),
}

/// The error function (Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26): within 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let p = t * (0.254_829_6 + t * (-0.284_496_72 + t * (1.421_413_8 + t * (-1.453_152_1 + t * 1.061_405_4))));
    (1.0 - p * (-x * x).exp()).copysign(x)
}

const TANH_SCALE: f32 = 0.797_884_6;
const TANH_CUBE: f32 = 0.044_715;
const BELL: f32 = 0.398_942_3;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl Unary {
    fn value(self, x: f32) -> f32 {
        match self {
            Self::Copy => x,
            Self::Relu => x.max(0.0),
            Self::Leaky(a) => {
                if x < 0.0 {
                    a * x
                } else {
                    x
                }
            }
            Self::Elu(a) => {
                if x < 0.0 {
                    a * x.exp_m1()
                } else {
                    x
                }
            }
            Self::Sigmoid => sigmoid(x),
            Self::HardSigmoid(a, b) => (a * x + b).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Tanh => x.tanh(),
            Self::Softplus => {
                if x > 20.0 {
                    x
                } else {
                    x.exp().ln_1p()
                }
            }
            Self::Gelu => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => 0.5 * x * (1.0 + (TANH_SCALE * (x + TANH_CUBE * x * x * x)).tanh()),
            Self::Erf => erf(x),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => 1.0 / x,
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Clip(lo, hi) => x.max(lo).min(hi),
        }
    }

    fn slope(self, x: f32, y: f32) -> f32 {
        let step = |inside: bool, slope: f32| if inside { slope } else { 0.0 };
        match self {
            Self::Copy => 1.0,
            Self::Relu => step(x > 0.0, 1.0),
            Self::Leaky(a) => {
                if x < 0.0 {
                    a
                } else {
                    1.0
                }
            }
            Self::Elu(a) => {
                if x < 0.0 {
                    y + a
                } else {
                    1.0
                }
            }
            Self::Sigmoid => y * (1.0 - y),
            Self::HardSigmoid(a, b) => step((0.0..1.0).contains(&(a * x + b)), a),
            Self::HardSwish => {
                if x <= -3.0 {
                    0.0
                } else if x >= 3.0 {
                    1.0
                } else {
                    x / 3.0 + 0.5
                }
            }
            Self::Tanh => 1.0 - y * y,
            Self::Softplus => sigmoid(x),
            Self::Gelu => 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)) + x * BELL * (-0.5 * x * x).exp(),
            Self::GeluTanh => {
                let t = (TANH_SCALE * (x + TANH_CUBE * x * x * x)).tanh();
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * TANH_SCALE * (1.0 + 3.0 * TANH_CUBE * x * x)
            }
            Self::Erf => 2.0 * std::f32::consts::FRAC_2_SQRT_PI / 2.0 * (-x * x).exp(),
            Self::Exp => y,
            Self::Log => 1.0 / x,
            Self::Sqrt => step(y > 0.0, 0.5 / y),
            Self::Reciprocal => -y * y,
            Self::Neg => -1.0,
            Self::Abs => step(x != 0.0, x.signum()),
            Self::Clip(lo, hi) => step(x > lo && x < hi, 1.0),
        }
    }
}

impl Op for Unary {
    // The most frequent ones apart: a loop that asks at each element which function it is takes no vectors.
    fn forward(&self, x: &[&[f32]], y: &mut [f32]) {
        let pairs = y.iter_mut().zip(x[0]);
        match self {
            Self::Copy => y.copy_from_slice(x[0]),
            Self::Relu => pairs.for_each(|(y, x)| *y = x.max(0.0)),
            _ => pairs.for_each(|(y, x)| *y = self.value(*x)),
        }
    }

    fn backward(&self, x: &[&[f32]], y: &[f32], dy: &[f32], _: &[bool]) -> Vec<Vec<f32>> {
        let found = match self {
            Self::Copy => dy.to_vec(),
            Self::Relu => y.iter().zip(dy).map(|(y, d)| if *y > 0.0 { *d } else { 0.0 }).collect(),
            _ => x[0].iter().zip(y).zip(dy).map(|((x, y), d)| d * self.slope(*x, *y)).collect(),
        };
        vec![found]
    }
}

/// A function of two elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Pow,
    Equal,
    Prelu,
}

/// Two operands, each with the position of its element for each of the output's; none where they are the same.
pub(super) struct Pairs {
    pub(super) what: Binary,
    pub(super) at: [Option<Vec<u32>>; 2],
}

impl Pairs {
    /// Whether it is the sum of two values of the same shape, as most are.
    fn sums(&self) -> bool {
        self.what == Binary::Add && self.at.iter().all(Option::is_none)
    }

    fn pick(&self, operand: usize, values: &[f32], i: usize) -> f32 {
        match &self.at[operand] {
            None => values[i],
            Some(at) => values[at[i] as usize],
        }
    }
}

impl Op for Pairs {
    fn forward(&self, x: &[&[f32]], y: &mut [f32]) {
        if self.sums() {
            return y.iter_mut().zip(x[0].iter().zip(x[1])).for_each(|(y, (a, b))| *y = a + b);
        }
        for (i, y) in y.iter_mut().enumerate() {
            let (a, b) = (self.pick(0, x[0], i), self.pick(1, x[1], i));
            *y = match self.what {
                Binary::Add => a + b,
                Binary::Sub => a - b,
                Binary::Mul => a * b,
                Binary::Div => a / b,
                Binary::Max => a.max(b),
                Binary::Min => a.min(b),
                Binary::Pow => {
                    if b == 2.0 {
                        a * a
                    } else {
                        a.powf(b)
                    }
                }
                Binary::Equal => f32::from(u8::from(a == b)),
                Binary::Prelu => {
                    if a < 0.0 {
                        a * b
                    } else {
                        a
                    }
                }
            };
        }
    }

    fn backward(&self, x: &[&[f32]], y: &[f32], dy: &[f32], asked: &[bool]) -> Vec<Vec<f32>> {
        let mut found = vec![Vec::new(); 2];
        for operand in (0..2).filter(|o| asked[*o]) {
            if self.sums() {
                found[operand] = dy.to_vec();
                continue;
            }
            let mut sum = vec![0f32; x[operand].len()];
            for (i, d) in dy.iter().enumerate() {
                let (a, b) = (self.pick(0, x[0], i), self.pick(1, x[1], i));
                let first = operand == 0;
                let slope = match self.what {
                    Binary::Add => 1.0,
                    Binary::Sub => {
                        if first {
                            1.0
                        } else {
                            -1.0
                        }
                    }
                    Binary::Mul => {
                        if first {
                            b
                        } else {
                            a
                        }
                    }
                    Binary::Div => {
                        if first {
                            1.0 / b
                        } else {
                            -y[i] / b
                        }
                    }
                    Binary::Max => f32::from(u8::from((a >= b) == first)),
                    Binary::Min => f32::from(u8::from((a <= b) == first)),
                    Binary::Pow => {
                        if first {
                            b * a.powf(b - 1.0)
                        } else {
                            0.0
                        }
                    }
                    Binary::Equal => 0.0,
                    Binary::Prelu => match (first, a < 0.0) {
                        (true, true) => b,
                        (true, false) => 1.0,
                        (false, true) => a,
                        (false, false) => 0.0,
                    },
                };
                let at = self.at[operand].as_ref().map_or(i, |at| at[i] as usize);
                sum[at] += d * slope;
            }
            found[operand] = sum;
        }
        found
    }
}

/// Output elements are elements of the inputs, one after the other as they lie: which of which.
pub(super) struct Moves {
    /// For each output element the input and the position in it; none where it is a filling.
    pub(super) from: Vec<Option<(u32, u32)>>,
    pub(super) filling: f32,
}

impl Op for Moves {
    fn forward(&self, x: &[&[f32]], y: &mut [f32]) {
        for (y, from) in y.iter_mut().zip(&self.from) {
            *y = from.map_or(self.filling, |(input, at)| x[input as usize][at as usize]);
        }
    }

    fn backward(&self, x: &[&[f32]], _: &[f32], dy: &[f32], asked: &[bool]) -> Vec<Vec<f32>> {
        let mut found: Vec<Vec<f32>> =
            x.iter().zip(asked).map(|(x, asked)| vec![0.0; if *asked { x.len() } else { 0 }]).collect();
        for (d, from) in dy.iter().zip(&self.from) {
            if let Some((input, at)) = *from
                && asked[input as usize]
            {
                found[input as usize][at as usize] += d;
            }
        }
        found
    }
}

/// Rows of a table, by indices that are known when it runs.
pub(super) struct Lookup {
    pub(super) rows: usize,
    pub(super) width: usize,
}

impl Lookup {
    fn row(&self, index: f32) -> usize {
        let index = if index < 0.0 { index + self.rows as f32 } else { index };
        (index as usize).min(self.rows.saturating_sub(1))
    }
}

impl Op for Lookup {
    fn forward(&self, x: &[&[f32]], y: &mut [f32]) {
        for (y, index) in y.chunks_exact_mut(self.width).zip(x[1]) {
            let at = self.row(*index) * self.width;
            y.copy_from_slice(&x[0][at..at + self.width]);
        }
    }

    fn backward(&self, x: &[&[f32]], _: &[f32], dy: &[f32], asked: &[bool]) -> Vec<Vec<f32>> {
        let mut found = vec![Vec::new(); 2];
        if asked[0] {
            found[0] = vec![0.0; x[0].len()];
            for (dy, index) in dy.chunks_exact(self.width).zip(x[1]) {
                let at = self.row(*index) * self.width;
                found[0][at..at + self.width].iter_mut().zip(dy).for_each(|(s, d)| *s += d);
            }
        }
        if asked[1] {
            found[1] = vec![0.0; x[1].len()];
        }
        found
    }
}
