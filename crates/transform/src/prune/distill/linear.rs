//! Convolutions and matrix products with their gradients. Knows numbers and geometry, not graphs.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};

use super::{
    geometry::Stretch,
    tape::{Layout, Op},
};

/// c = a·b or c += a·b, all row-major; `a` is rows × inner, `b` inner × columns, each given as it lies or transposed.
fn product(c: &mut [f32], add: bool, a: MatRef<'_, f32>, b: MatRef<'_, f32>) {
    let (rows, columns) = (a.nrows(), b.ncols());
    let how = if add { Accum::Add } else { Accum::Replace };
    matmul(MatMut::from_row_major_slice_mut(c, rows, columns), how, a, b, 1.0, Par::Seq);
}

fn rows(values: &[f32], rows: usize, columns: usize) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(values, rows, columns)
}

/// y = x·w (+ bias): rows of x times a matrix.
pub(super) struct Product {
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
    /// The weight lies transposed.
    pub(super) transposed: bool,
    /// Elements of the bias: none, 1 a column, or one for all.
    pub(super) bias: usize,
}

impl Product {
    fn weight<'w>(&self, w: &'w [f32]) -> MatRef<'w, f32> {
        if self.transposed { rows(w, self.columns, self.inner).transpose() } else { rows(w, self.inner, self.columns) }
    }
}

impl Op for Product {
    fn forward(&self, x: &[&[f32]], y: &mut [f32]) {
        if self.bias > 0 {
            for row in y.chunks_exact_mut(self.columns) {
                row.iter_mut().enumerate().for_each(|(j, v)| *v = x[2][j % self.bias]);
            }
        }
        product(y, self.bias > 0, rows(x[0], self.rows, self.inner), self.weight(x[1]));
    }

    fn backward(&self, x: &[&[f32]], _: &[f32], dy: &[f32], asked: &[bool]) -> Vec<Vec<f32>> {
        let mut found = vec![Vec::new(); asked.len()];
        let dy_rows = rows(dy, self.rows, self.columns);
        if asked[0] {
            found[0] = vec![0.0; self.rows * self.inner];
            product(&mut found[0], false, dy_rows, self.weight(x[1]).transpose());
        }
        if asked[1] {
            found[1] = vec![0.0; self.inner * self.columns];
            let x = rows(x[0], self.rows, self.inner);
            if self.transposed {
                product(&mut found[1], false, dy_rows.transpose(), x);
            } else {
                product(&mut found[1], false, x.transpose(), dy_rows);
            }
        }
        if asked.get(2) == Some(&true) {
            let mut bias = vec![0.0; self.bias];
            for row in dy.chunks_exact(self.columns) {
                row.iter().enumerate().for_each(|(j, v)| bias[j % self.bias] += v);
            }
            found[2] = bias;
        }
        found
    }

    fn layout(&self) -> Option<Layout> {
        Some(Layout { inner: self.inner, upright: !self.transposed })
    }

    fn gram(&self, x: &[&[f32]], sum: &mut [f32]) {
        let k = self.inner;
        for row in x[0].chunks_exact(k.max(1)) {
            sum[k * k..].iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        sum[k * k + k] += self.rows as f32;
        let x = rows(x[0], self.rows, k);
        product(&mut sum[..k * k], true, x.transpose(), x);
    }
}

/// A convolution of any rank: windows as columns, then a matrix product a group.
pub(super) struct Convolution {
    pub(super) samples: usize,
    pub(super) groups: usize,
    /// Channels of the input and of the output.
    pub(super) channels: [usize; 2],
    /// Elements of one channel of the input and of the output.
    pub(super) areas: [usize; 2],
    /// Elements of the kernel.
    pub(super) taps: usize,
    /// Which input position each tap reads for each output position; none where it lies in the padding.
    pub(super) stretches: Vec<Stretch>,
    pub(super) bias: bool,
}

impl Convolution {
    fn inner(&self) -> usize {
        self.channels[0] / self.groups * self.taps
    }

    /// Whether each window is one element, in order: then the input is its own column matrix.
    fn plain(&self) -> bool {
        let whole = Stretch { to: 0, from: 0, length: self.areas[0], step: 1 };
        self.taps == 1 && self.areas[0] == self.areas[1] && self.stretches == [whole]
    }

    /// The windows of a sample's group as columns; what lies in the padding stays as it is.
    fn columns(&self, x: &[f32], out: &mut [f32]) {
        let (area, size) = (self.areas[0], self.taps * self.areas[1]);
        for (x, out) in x.chunks_exact(area).zip(out.chunks_exact_mut(size)) {
            for &Stretch { to, from, length, step } in &self.stretches {
                let out = &mut out[to..to + length];
                if step == 1 {
                    out.copy_from_slice(&x[from..from + length]);
                } else {
                    out.iter_mut().zip(x[from..].iter().step_by(step)).for_each(|(o, x)| *o = *x);
                }
            }
        }
    }

    fn scatter(&self, columns: &[f32], dx: &mut [f32]) {
        let (area, size) = (self.areas[0], self.taps * self.areas[1]);
        for (columns, dx) in columns.chunks_exact(size).zip(dx.chunks_exact_mut(area)) {
            for &Stretch { to, from, length, step } in &self.stretches {
                let columns = &columns[to..to + length];
                if step == 1 {
                    dx[from..from + length].iter_mut().zip(columns).for_each(|(x, c)| *x += c);
                } else {
                    dx[from..].iter_mut().step_by(step).zip(columns).for_each(|(x, c)| *x += c);
                }
            }
        }
    }
}

impl Op for Convolution {
    fn forward(&self, x: &[&[f32]], y: &mut [f32]) {
        let [cin, cout] = self.channels.map(|c| c / self.groups);
        let (inner, places, plain) = (self.inner(), self.areas[1], self.plain());
        let mut columns = vec![0f32; if plain { 0 } else { inner * places }];
        let (x_block, y_block) = (cin * self.areas[0], cout * places);
        for block in 0..self.samples * self.groups {
            let group = block % self.groups;
            let input = &x[0][block * x_block..(block + 1) * x_block];
            let output = &mut y[block * y_block..(block + 1) * y_block];
            if self.bias {
                for (o, row) in output.chunks_exact_mut(places).enumerate() {
                    row.fill(x[2][group * cout + o]);
                }
            }
            let weight = &x[1][group * cout * inner..(group + 1) * cout * inner];
            if !plain {
                self.columns(input, &mut columns);
            }
            let columns = rows(if plain { input } else { &columns }, inner, places);
            product(output, self.bias, rows(weight, cout, inner), columns);
        }
    }

    fn backward(&self, x: &[&[f32]], _: &[f32], dy: &[f32], asked: &[bool]) -> Vec<Vec<f32>> {
        let [cin, cout] = self.channels.map(|c| c / self.groups);
        let (inner, places, plain) = (self.inner(), self.areas[1], self.plain());
        let (x_block, y_block) = (cin * self.areas[0], cout * places);
        let mut found = vec![Vec::new(); asked.len()];
        let ask = |slot: usize| asked.get(slot) == Some(&true);
        let table = |slot: usize| vec![0f32; if ask(slot) && !plain { inner * places } else { 0 }];
        let (mut by_columns, mut columns) = (table(0), table(1));
        (0..x.len()).filter(|&s| ask(s)).for_each(|s| found[s] = vec![0f32; x[s].len()]);
        for block in 0..self.samples * self.groups {
            let group = block % self.groups;
            let input = &x[0][block * x_block..(block + 1) * x_block];
            let dy = &dy[block * y_block..(block + 1) * y_block];
            let span = group * cout * inner..(group + 1) * cout * inner;
            if ask(1) {
                if !plain {
                    self.columns(input, &mut columns);
                }
                let columns = rows(if plain { input } else { &columns }, inner, places);
                product(&mut found[1][span.clone()], true, rows(dy, cout, places), columns.transpose());
            }
            if ask(0) {
                let dx = &mut found[0][block * x_block..(block + 1) * x_block];
                let weight = rows(&x[1][span], cout, inner).transpose();
                if plain {
                    product(dx, false, weight, rows(dy, cout, places));
                } else {
                    product(&mut by_columns, false, weight, rows(dy, cout, places));
                    self.scatter(&by_columns, dx);
                }
            }
            if ask(2) {
                for (o, row) in dy.chunks_exact(places).enumerate() {
                    found[2][group * cout + o] += row.iter().sum::<f32>();
                }
            }
        }
        found
    }

    fn layout(&self) -> Option<Layout> {
        (self.groups == 1).then(|| Layout { inner: self.inner(), upright: false })
    }

    fn gram(&self, x: &[&[f32]], sum: &mut [f32]) {
        let (inner, places) = (self.inner(), self.areas[1]);
        let mut columns = vec![0f32; inner * places];
        for input in x[0].chunks_exact(self.channels[0] * self.areas[0]) {
            self.columns(input, &mut columns);
            for (s, row) in sum[inner * inner..].iter_mut().zip(columns.chunks_exact(places)) {
                *s += row.iter().sum::<f32>();
            }
            sum[inner * inner + inner] += places as f32;
            let columns = rows(&columns, inner, places);
            product(&mut sum[..inner * inner], true, columns, columns.transpose());
        }
    }
}
