//! The little linear algebra that repairs need, on top of faer: second moments of rows, and damped Cholesky factors. Knows
//! numbers, not layers.

use faer::{
    Accum, Mat, MatRef, Par, Side,
    linalg::{matmul::matmul, solvers::Llt, triangular_inverse::invert_lower_triangular},
    prelude::Solve,
};

/// First and second moments of input rows `x` and target rows `t`, centred where a bias takes up what is constant.
pub(super) struct Moments {
    /// Mean of each column of `x` (zeros where nothing is centred).
    pub(super) mean_x: Vec<f64>,
    /// Mean of each column of `t` (zeros where nothing is centred).
    pub(super) mean_t: Vec<f64>,
    /// XᵀX / n.
    pub(super) gram: Mat<f64>,
    /// XᵀT / n.
    pub(super) cross: Mat<f64>,
}

/// Columns `from .. from + count` of row-major rows of `width`.
#[derive(Clone, Copy)]
pub(super) struct Columns<'r> {
    pub(super) rows: &'r [f32],
    pub(super) width: usize,
    pub(super) from: usize,
    pub(super) count: usize,
}

impl Columns<'_> {
    /// The mean of each column.
    pub(super) fn mean(self) -> Vec<f64> {
        self.taken(true).1
    }

    /// The columns, row-major, and their means; centred where that is asked for.
    fn taken(self, centred: bool) -> (Vec<f32>, Vec<f64>) {
        let mut mean = vec![0f64; self.count];
        let mut taken = Vec::with_capacity(self.rows.len() / self.width.max(1) * self.count);
        for row in self.rows.chunks_exact(self.width.max(1)) {
            taken.extend_from_slice(&row[self.from..self.from + self.count]);
        }
        if centred && self.count > 0 {
            let n = (taken.len() / self.count).max(1) as f64;
            for row in taken.chunks_exact(self.count) {
                mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v));
            }
            mean.iter_mut().for_each(|m| *m /= n);
            for row in taken.chunks_exact_mut(self.count) {
                row.iter_mut().zip(&mean).for_each(|(v, m)| *v = (f64::from(*v) - m) as f32);
            }
        }
        (taken, mean)
    }
}

impl Moments {
    pub(super) fn of(x: Columns<'_>, t: Columns<'_>, centred: bool) -> Self {
        let ((x_rows, mean_x), (t_rows, mean_t)) = (x.taken(centred), t.taken(centred));
        let n = x_rows.len() / x.count.max(1);
        let a = MatRef::from_row_major_slice(&x_rows, n, x.count);
        let b = MatRef::from_row_major_slice(&t_rows, n, t.count);
        let product = |right: MatRef<'_, f32>| {
            let mut out = Mat::<f32>::zeros(x.count, right.ncols());
            matmul(&mut out, Accum::Replace, a.transpose(), right, 1.0 / n.max(1) as f32, Par::Seq);
            Mat::from_fn(out.nrows(), out.ncols(), |i, j| f64::from(out[(i, j)]))
        };
        Self { mean_x, mean_t, gram: product(a), cross: product(b) }
    }

    /// Mean of the diagonal of the Gram matrix.
    pub(super) fn power(&self) -> f64 {
        let k = self.gram.nrows();
        (0..k).map(|i| self.gram[(i, i)]).sum::<f64>() / k.max(1) as f64
    }
}

/// The Cholesky factor of G + λI, columns in a given order.
pub(super) struct Factor {
    llt: Llt<f64>,
    /// The order, reversed.
    reversed: Vec<usize>,
}

impl Factor {
    /// `None` where the matrix is not positive definite (not finite, or nothing but zeros and no damping).
    pub(super) fn of(gram: &Mat<f64>, damping: f64, order: &[usize]) -> Option<Self> {
        let reversed: Vec<usize> = order.iter().rev().copied().collect();
        let k = reversed.len();
        let entry = |i: usize, j: usize| gram[(reversed[i], reversed[j])] + if i == j { damping } else { 0.0 };
        let llt = Llt::new(Mat::from_fn(k, k, entry).as_ref(), Side::Lower).ok()?;
        Some(Self { llt, reversed })
    }

    /// (G + λI)⁻¹ B, rows of B and of the result in the natural order.
    pub(super) fn solve(&self, b: &Mat<f64>) -> Mat<f64> {
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
    pub(super) fn inverse_upper(&self) -> Vec<f64> {
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
