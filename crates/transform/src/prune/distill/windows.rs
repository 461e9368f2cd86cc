//! Operators that gather several elements into one: pools, reductions, softmax, with their gradients. Knows numbers, not graphs.

use super::tape::Op;

/// How elements become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Gather {
    Max,
    Mean,
    Sum,
}

/// Each output element from a set of input elements.
pub(super) struct Pool {
    pub(super) what: Gather,
    /// Blocks (of channels, say) that are treated alike, one behind the other.
    pub(super) blocks: usize,
    /// The elements of a block of the input that each element of the output's block gathers.
    pub(super) members: Vec<Vec<u32>>,
    /// What a mean divides by, for each element of the output's block.
    pub(super) counts: Vec<f32>,
}

impl Pool {
    fn each(&self, x: &[f32], mut take: impl FnMut(usize, &[u32], usize, f32)) {
        let (input, output) = (x.len() / self.blocks.max(1), self.members.len());
        for block in 0..self.blocks {
            for (i, members) in self.members.iter().enumerate() {
                take(block * output + i, members, block * input, self.counts[i]);
            }
        }
    }
}

impl Op for Pool {
    fn forward(&self, x: &[&[f32]], y: &mut [f32]) {
        let x = x[0];
        self.each(x, |i, members, base, count| {
            let values = members.iter().map(|m| x[base + *m as usize]);
            y[i] = match self.what {
                Gather::Max => values.fold(f32::NEG_INFINITY, f32::max),
                Gather::Mean => values.sum::<f32>() / count,
                Gather::Sum => values.sum(),
            };
        });
    }

    fn backward(&self, x: &[&[f32]], y: &[f32], dy: &[f32], _: &[bool]) -> Vec<Vec<f32>> {
        let x = x[0];
        let mut dx = vec![0f32; x.len()];
        self.each(x, |i, members, base, count| match self.what {
            Gather::Max => {
                if let Some(m) = members.iter().find(|m| x[base + **m as usize] == y[i]) {
                    dx[base + *m as usize] += dy[i];
                }
            }
            Gather::Mean => members.iter().for_each(|m| dx[base + *m as usize] += dy[i] / count),
            Gather::Sum => members.iter().for_each(|m| dx[base + *m as usize] += dy[i]),
        });
        vec![dx]
    }
}

/// Softmax, or its logarithm, along an axis: `outer` × `count` × `inner`.
pub(super) struct Softmax {
    pub(super) outer: usize,
    pub(super) count: usize,
    pub(super) inner: usize,
    pub(super) log: bool,
}

impl Softmax {
    fn each(&self, mut take: impl FnMut(&dyn Fn(usize) -> usize)) {
        for outer in 0..self.outer {
            for inner in 0..self.inner {
                take(&|i| (outer * self.count + i) * self.inner + inner);
            }
        }
    }
}

impl Op for Softmax {
    fn forward(&self, x: &[&[f32]], y: &mut [f32]) {
        let x = x[0];
        self.each(|at| {
            let largest = (0..self.count).map(|i| x[at(i)]).fold(f32::NEG_INFINITY, f32::max);
            let total: f32 = (0..self.count).map(|i| (x[at(i)] - largest).exp()).sum();
            for i in 0..self.count {
                let shifted = x[at(i)] - largest;
                y[at(i)] = if self.log { shifted - total.ln() } else { shifted.exp() / total };
            }
        });
    }

    fn backward(&self, _: &[&[f32]], y: &[f32], dy: &[f32], _: &[bool]) -> Vec<Vec<f32>> {
        let mut dx = vec![0f32; y.len()];
        self.each(|at| {
            if self.log {
                let total: f32 = (0..self.count).map(|i| dy[at(i)]).sum();
                (0..self.count).for_each(|i| dx[at(i)] = dy[at(i)] - y[at(i)].exp() * total);
            } else {
                let total: f32 = (0..self.count).map(|i| dy[at(i)] * y[at(i)]).sum();
                (0..self.count).for_each(|i| dx[at(i)] = y[at(i)] * (dy[at(i)] - total));
            }
        });
        vec![dx]
    }
}

/// Normalisation over the last elements of each row, with a scale and a shift of each.
pub(super) struct LayerNorm {
    pub(super) width: usize,
    pub(super) epsilon: f32,
    pub(super) shift: bool,
}

impl LayerNorm {
    fn statistics(&self, row: &[f32]) -> (f32, f32) {
        let n = self.width as f32;
        let mean = row.iter().sum::<f32>() / n;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
        (mean, 1.0 / (variance + self.epsilon).sqrt())
    }
}

impl Op for LayerNorm {
    fn forward(&self, x: &[&[f32]], y: &mut [f32]) {
        for (x_row, y_row) in x[0].chunks_exact(self.width).zip(y.chunks_exact_mut(self.width)) {
            let (mean, scale) = self.statistics(x_row);
            for (i, y) in y_row.iter_mut().enumerate() {
                *y = (x_row[i] - mean) * scale * x[1][i] + if self.shift { x[2][i] } else { 0.0 };
            }
        }
    }

    fn backward(&self, x: &[&[f32]], _: &[f32], dy: &[f32], asked: &[bool]) -> Vec<Vec<f32>> {
        let n = self.width as f32;
        let mut found: Vec<Vec<f32>> = x.iter().map(|x| vec![0f32; x.len()]).collect();
        for (row, (x_row, dy_row)) in x[0].chunks_exact(self.width).zip(dy.chunks_exact(self.width)).enumerate() {
            let (mean, scale) = self.statistics(x_row);
            let normal = |i: usize| (x_row[i] - mean) * scale;
            let (mut total, mut along) = (0f32, 0f32);
            for i in 0..self.width {
                let d = dy_row[i] * x[1][i];
                total += d;
                along += d * normal(i);
                found[1][i] += dy_row[i] * normal(i);
                if self.shift {
                    found[2][i] += dy_row[i];
                }
            }
            for i in 0..self.width {
                found[0][row * self.width + i] = scale * (dy_row[i] * x[1][i] - (total + normal(i) * along) / n);
            }
        }
        found.iter_mut().zip(asked).filter(|(_, a)| !**a).for_each(|(f, _)| f.clear());
        found
    }
}

/// Batch normalisation as it is in inference: an affine map a channel; mean and variance stay as they are.
pub(super) struct BatchNorm {
    pub(super) channels: usize,
    /// Elements of one channel of a sample.
    pub(super) area: usize,
    pub(super) epsilon: f32,
}

impl BatchNorm {
    /// The elements of one channel of a sample after the other, each with its channel.
    fn areas<'v>(&self, values: &'v [f32]) -> impl Iterator<Item = (usize, &'v [f32])> {
        (0..self.channels).cycle().zip(values.chunks_exact(self.area.max(1)))
    }

    fn spread(&self, variance: f32) -> f32 {
        1.0 / (variance + self.epsilon).sqrt()
    }
}

impl Op for BatchNorm {
    fn forward(&self, x: &[&[f32]], y: &mut [f32]) {
        for ((c, x_area), y_area) in self.areas(x[0]).zip(y.chunks_exact_mut(self.area.max(1))) {
            let (scale, mean) = (self.spread(x[4][c]) * x[1][c], x[3][c]);
            let shift = x[2][c];
            y_area.iter_mut().zip(x_area).for_each(|(y, x)| *y = (x - mean) * scale + shift);
        }
    }

    fn backward(&self, x: &[&[f32]], _: &[f32], dy: &[f32], asked: &[bool]) -> Vec<Vec<f32>> {
        let ask = |slot: usize| asked.get(slot) == Some(&true);
        let size = |slot: usize| if ask(slot) { x[slot].len() } else { 0 };
        let mut found: Vec<Vec<f32>> = (0..x.len()).map(|s| Vec::with_capacity(size(s))).collect();
        (1..x.len()).for_each(|s| found[s].resize(size(s), 0.0));
        for ((c, x_area), (_, dy_area)) in self.areas(x[0]).zip(self.areas(dy)) {
            let (spread, mean) = (self.spread(x[4][c]), x[3][c]);
            if ask(0) {
                found[0].extend(dy_area.iter().map(|d| d * spread * x[1][c]));
            }
            if ask(1) {
                found[1][c] += dy_area.iter().zip(x_area).map(|(d, x)| d * (x - mean) * spread).sum::<f32>();
            }
            if ask(2) {
                found[2][c] += dy_area.iter().sum::<f32>();
            }
        }
        found
    }
}
