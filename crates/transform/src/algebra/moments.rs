//! The little linear algebra that repairs need, on top of faer: second moments of rows, and damped Cholesky factors. Knows
//! numbers, not layers.

use faer::{
    Accum, Mat, MatRef, Par, Side,
    linalg::{
        matmul::{
            matmul,
            triangular::{self, BlockStructure},
        },
        solvers::Llt,
        triangular_inverse::invert_lower_triangular,
    },
    prelude::Solve,
};

/// One row in so many runs is kept from the fit, to decide by.
const UNSEEN: usize = 5;

/// First and second moments of input rows `x` and target rows `t`, centred where a bias takes up what is constant.
pub(crate) struct Moments {
    /// Number of rows.
    pub(crate) rows: usize,
    /// What `x` is centred on (zeros where nothing is).
    pub(crate) mean_x: Vec<f64>,
    /// What `t` is centred on (zeros where nothing is).
    pub(crate) mean_t: Vec<f64>,
    /// What is left of the means of `x` and `t` after centring: nothing where the centre is that of the rows themselves.
    rest: [Vec<f64>; 2],
    /// XᵀX / n.
    pub(crate) gram: Mat<f64>,
    /// XᵀT / n.
    pub(crate) cross: Mat<f64>,
}

/// Columns `from .. from + count` of row-major rows of `width`.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'r> {
    pub(crate) rows: &'r [f32],
    pub(crate) width: usize,
    pub(crate) from: usize,
    pub(crate) count: usize,
}

impl Columns<'_> {
    fn each(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.rows.chunks_exact(self.width.max(1)).map(|row| &row[self.from..self.from + self.count])
    }

    /// The mean of each column over the rows of which this is true.
    pub(crate) fn mean(&self, which: impl Fn(usize) -> bool) -> Vec<f64> {
        let (mut mean, mut n) = (vec![0f64; self.count], 0usize);
        for (_, row) in self.each().enumerate().filter(|(i, _)| which(*i)) {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v));
            n += 1;
        }
        mean.iter_mut().for_each(|m| *m /= n.max(1) as f64);
        mean
    }

    /// The rows of which this is true, centred, row-major.
    pub(crate) fn taken(&self, centre: &[f64], which: impl Fn(usize) -> bool) -> Vec<f32> {
        // The copies of all layers together are most of what a refit moves: none of them grows piece by piece.
        let n = (0..self.each().len()).filter(|i| which(*i)).count();
        let mut taken = Vec::with_capacity(n * self.count);
        for (_, row) in self.each().enumerate().filter(|(i, _)| which(*i)) {
            taken.extend(row.iter().zip(centre).map(|(v, m)| (f64::from(*v) - m) as f32));
        }
        taken
    }
}

/// Moments of the rows that a layer is fitted to, and of others, centred alike, that decide between fits.
pub(crate) struct Split {
    pub(crate) fit: Moments,
    pub(crate) unseen: Moments,
    pub(crate) centred: bool,
    /// Rows in a row that come from one run, where some of the runs are not fitted to.
    parted: Option<usize>,
}

impl Split {
    /// `together` rows in a row come from one run. Of fewer than five runs, all rows do both.
    pub(crate) fn of(x: Columns<'_>, t: Columns<'_>, together: usize, centred: bool) -> Self {
        let parted = (x.each().len() >= UNSEEN * together.max(1)).then(|| together.max(1));
        let fitted = |row: usize| fitted(parted, row);
        let mean = |c: &Columns<'_>| if centred { c.mean(fitted) } else { vec![0.0; c.count] };
        let (mean_x, mean_t) = (mean(&x), mean(&t));
        let (fit, unseen) = rayon::join(
            || Moments::of(&x, &t, &mean_x, &mean_t, fitted),
            || Moments::of(&x, &t, &mean_x, &mean_t, |row| parted.is_none() || !fitted(row)),
        );
        Self { fit, unseen, centred, parted }
    }

    /// Whether a row is fitted to.
    pub(crate) fn is_fitted(&self, row: usize) -> bool {
        fitted(self.parted, row)
    }

    /// The moments of all rows, centred on their own means.
    pub(crate) fn whole(&self) -> Moments {
        let (a, b) = (&self.fit, &self.unseen);
        let rows = a.rows + b.rows;
        let (share_a, share_b) = (a.rows as f64 / rows.max(1) as f64, b.rows as f64 / rows.max(1) as f64);
        let mix = |a: &Mat<f64>, b: &Mat<f64>| {
            Mat::from_fn(a.nrows(), a.ncols(), |i, j| share_a * a[(i, j)] + share_b * b[(i, j)])
        };
        let mut whole = Moments {
            rows,
            mean_x: a.mean_x.clone(),
            mean_t: a.mean_t.clone(),
            rest: a.rest.clone(),
            gram: mix(&a.gram, &b.gram),
            cross: mix(&a.cross, &b.cross),
        };
        if self.centred {
            // Both parts are centred on the mean of the first; what the second adds to the mean is in its remainder.
            let [dx, dt] = b.rest.clone().map(|rest| rest.iter().map(|m| share_b * m).collect::<Vec<f64>>());
            for j in 0..dx.len() {
                for i in 0..dx.len() {
                    whole.gram[(i, j)] -= dx[i] * dx[j];
                }
            }
            for (j, t) in dt.iter().enumerate() {
                for (i, x) in dx.iter().enumerate() {
                    whole.cross[(i, j)] -= x * t;
                }
            }
            whole.mean_x.iter_mut().zip(&dx).for_each(|(m, d)| *m += d);
            whole.mean_t.iter_mut().zip(&dt).for_each(|(m, d)| *m += d);
        }
        whole
    }
}

fn fitted(parted: Option<usize>, row: usize) -> bool {
    parted.is_none_or(|together| row / together % UNSEEN != UNSEEN - 1)
}

impl Moments {
    /// The same rows with other targets, whose products with centred rows these are.
    pub(crate) fn with_cross(&self, cross: Mat<f64>) -> Self {
        Self {
            rows: self.rows,
            mean_x: self.mean_x.clone(),
            mean_t: self.mean_t.clone(),
            rest: self.rest.clone(),
            gram: self.gram.clone(),
            cross,
        }
    }

    fn of(x: &Columns<'_>, t: &Columns<'_>, mean_x: &[f64], mean_t: &[f64], which: impl Fn(usize) -> bool) -> Self {
        let (x_rows, t_rows) = (x.taken(mean_x, &which), t.taken(mean_t, &which));
        let n = x_rows.len() / x.count.max(1);
        let rest = |rows: &[f32], count| Columns { rows, width: count, from: 0, count }.mean(|_| true);
        Self {
            rows: n,
            mean_x: mean_x.to_vec(),
            mean_t: mean_t.to_vec(),
            rest: [rest(&x_rows, x.count), rest(&t_rows, t.count)],
            gram: scaled(gram(&x_rows, x.count), n),
            cross: scaled(cross(&x_rows, x.count, &t_rows, t.count), n),
        }
    }

    /// Mean of the diagonal of the Gram matrix.
    pub(crate) fn power(&self) -> f64 {
        let k = self.gram.nrows();
        (0..k).map(|i| self.gram[(i, i)]).sum::<f64>() / k.max(1) as f64
    }

    /// Mean squared error of weights, one row an output channel, less a constant.
    pub(crate) fn loss(&self, weights: &Mat<f64>) -> f64 {
        let mut product = Mat::<f64>::zeros(weights.nrows(), weights.ncols());
        matmul(&mut product, Accum::Replace, weights, &self.gram, 1.0, Par::Seq);
        let one = |(o, k): (usize, usize)| weights[(o, k)] * (product[(o, k)] - 2.0 * self.cross[(k, o)]);
        let (rows, columns) = (weights.nrows(), weights.ncols());
        (0..columns).flat_map(|k| (0..rows).map(move |o| (o, k))).map(one).sum()
    }

    /// The mean error of a channel under some weights: what its bias has to take up.
    pub(crate) fn shift(&self, channel: usize, weights: &[f64]) -> f64 {
        self.mean_t[channel] - weights.iter().zip(&self.mean_x).map(|(w, m)| w * m).sum::<f64>()
    }
}

/// Products of more rows are shared between workers.
const SHARED: usize = 2048;

/// XᵀX of row-major rows.
fn gram(rows: &[f32], width: usize) -> Mat<f64> {
    let n = rows.len() / width.max(1);
    if n > SHARED && width > 64 {
        let (a, b) = rows.split_at(n / 2 * width);
        let (a, b) = rayon::join(|| gram(a, width), || gram(b, width));
        return a + b;
    }
    let x = MatRef::from_row_major_slice(rows, n, width);
    let mut out = Mat::<f32>::zeros(width, width);
    let (lower, whole) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
    triangular::matmul(&mut out, lower, Accum::Replace, x.transpose(), whole, x, whole, 1.0, Par::Seq);
    Mat::from_fn(width, width, |i, j| f64::from(out[(i.max(j), i.min(j))]))
}

/// XᵀT of row-major rows.
pub(crate) fn cross(x: &[f32], width: usize, t: &[f32], count: usize) -> Mat<f64> {
    let n = x.len() / width.max(1);
    if n > SHARED && width > 64 {
        let ((a, b), (s, t)) = (x.split_at(n / 2 * width), t.split_at(n / 2 * count));
        let (a, b) = rayon::join(|| cross(a, width, s, count), || cross(b, width, t, count));
        return a + b;
    }
    let (x, t) = (MatRef::from_row_major_slice(x, n, width), MatRef::from_row_major_slice(t, n, count));
    let mut out = Mat::<f32>::zeros(width, count);
    matmul(&mut out, Accum::Replace, x.transpose(), t, 1.0, Par::Seq);
    Mat::from_fn(width, count, |i, j| f64::from(out[(i, j)]))
}

pub(crate) fn scaled(mut sums: Mat<f64>, rows: usize) -> Mat<f64> {
    let share = 1.0 / rows.max(1) as f64;
    sums.col_iter_mut().for_each(|column| column.iter_mut().for_each(|v| *v *= share));
    sums
}

/// The Cholesky factor of G + λI, columns in a given order.
pub(crate) struct Factor {
    llt: Llt<f64>,
    /// The order, reversed.
    reversed: Vec<usize>,
}

impl Factor {
    /// `None` where the matrix is not positive definite (not finite, or nothing but zeros and no damping).
    pub(crate) fn of(gram: &Mat<f64>, damping: f64, order: &[usize]) -> Option<Self> {
        let reversed: Vec<usize> = order.iter().rev().copied().collect();
        let k = reversed.len();
        let entry = |i: usize, j: usize| gram[(reversed[i], reversed[j])] + if i == j { damping } else { 0.0 };
        let llt = Llt::new(Mat::from_fn(k, k, entry).as_ref(), Side::Lower).ok()?;
        Some(Self { llt, reversed })
    }

    /// (G + λI)⁻¹ B, rows of B and of the result in the natural order.
    pub(crate) fn solve(&self, b: &Mat<f64>) -> Mat<f64> {
        let mut permuted = Mat::from_fn(b.nrows(), b.ncols(), |i, j| b[(self.reversed[i], j)]);
        self.llt.solve_in_place(&mut permuted);
        let mut out = Mat::zeros(b.nrows(), b.ncols());
        for j in 0..b.ncols() {
            for (i, &row) in self.reversed.iter().enumerate() {
                out[(row, j)] = permuted[(i, j)];
            }
        }
        out
    }

    /// The upper factor U of the inverse, (G + λI)⁻¹ = UᵀU, in the order given; row-major. From the Cholesky factor of the
    /// matrix in reversed order: its inverse, reversed again.
    pub(crate) fn inverse_upper(&self) -> Vec<f64> {
        let k = self.reversed.len();
        let mut inverse = Mat::<f64>::zeros(k, k);
        invert_lower_triangular(inverse.as_mut(), self.llt.L(), Par::Seq);
        let mut upper = vec![0f64; k * k];
        for p in 0..k {
            for q in p..k {
                upper[p * k + q] = inverse[(k - 1 - p, k - 1 - q)];
            }
        }
        upper
    }
}
