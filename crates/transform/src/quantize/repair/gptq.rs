//! Codes that compensate each other's rounding: GPTQ (Frantar et al., arXiv 2210.17323; the order by falling diagonal is its
//! `act-order`), followed by coordinate descent on the same quadratic loss with the scale refitted in between (QuantEase,
//! Behdin et al., arXiv 2309.01885). One output channel at a time. Knows numbers, not layers.

use crate::quantize::affine::Codebook;

/// Sweeps of coordinate descent; few codes change after the second.
const SWEEPS: usize = 3;
/// Scales tried around the one with the least weighted rounding error.
const AROUND: [f64; 5] = [1.0, 0.9, 0.95, 1.07, 1.15];

/// What all channels of a layer share, columns in the order of compensation.
pub(super) struct Problem<'p> {
    /// The damped Gram matrix, row-major.
    pub(super) hessian: &'p [f64],
    /// The upper factor of its inverse, row-major.
    pub(super) upper: &'p [f64],
    /// The codes.
    pub(super) book: Codebook,
    /// The scale is given and stays.
    pub(super) fixed_scale: bool,
}

/// Scale and codes of one channel.
pub(super) struct Solved {
    pub(super) scale: f64,
    pub(super) codes: Vec<i8>,
}

impl Problem<'_> {
    /// The best codes found for weights `w`, starting from a scale.
    pub(super) fn solve(&self, w: &[f64], scale: f64, least: f64) -> Solved {
        // In 8 bits there is little left to gain.
        let fine = self.book.bits > 4;
        let around = if self.fixed_scale || fine { &AROUND[..1] } else { &AROUND[..] };
        let mut best: Option<(f64, Solved)> = None;
        for factor in around {
            let scale = (scale * factor).max(least);
            let (loss, codes) = self.compensate(w, scale);
            if best.as_ref().is_none_or(|(b, _)| loss < *b) {
                best = Some((loss, Solved { scale, codes }));
            }
        }
        let mut solved = match best {
            Some((_, solved)) => solved,
            None => Solved { scale, codes: vec![0; w.len()] },
        };
        if !fine {
            self.descend(w, least, &mut solved);
        }
        solved
    }

    fn nearest(&self, value: f64) -> i8 {
        self.book.nearest(value as f32)
    }

    /// GPTQ proper: rounds column after column and moves the error on to the columns that are still free.
    fn compensate(&self, w: &[f64], scale: f64) -> (f64, Vec<i8>) {
        let k = w.len();
        let mut rest = w.to_vec();
        let mut codes = Vec::with_capacity(k);
        let mut loss = 0.0;
        for j in 0..k {
            let row = &self.upper[j * k..(j + 1) * k];
            let code = self.nearest(rest[j] / scale);
            let error = (rest[j] - f64::from(code) * scale) / row[j];
            loss += error * error;
            codes.push(code);
            rest[j + 1..].iter_mut().zip(&row[j + 1..]).for_each(|(r, u)| *r -= error * u);
        }
        (loss, codes)
    }

    /// Coordinate descent: each code in turn is set to its best given all others, the scale to its best given the codes,
    /// (qᵀHw) / (qᵀHq).
    fn descend(&self, w: &[f64], least: f64, solved: &mut Solved) {
        let k = w.len();
        let times = |v: &[f64]| -> Vec<f64> { (0..k).map(|i| dot(&self.hessian[i * k..(i + 1) * k], v)).collect() };
        let mut codes: Vec<f64> = solved.codes.iter().map(|&c| f64::from(c)).collect();
        // Hq is kept up to date: the matrix is read once, and one row more for each code that changes.
        let (along, mut across) = (times(w), times(&codes));
        for _ in 0..SWEEPS {
            if !self.fixed_scale {
                let scale = dot(&codes, &along) / dot(&codes, &across);
                if scale.is_finite() && scale as f32 >= f32::MIN_POSITIVE {
                    solved.scale = scale.max(least);
                }
            }
            let scale = solved.scale;
            let mut changed = false;
            for j in 0..k {
                let row = &self.hessian[j * k..(j + 1) * k];
                let gradient = scale * across[j] - along[j];
                let code = self.nearest(codes[j] - gradient / row[j] / scale);
                let step = f64::from(code) - codes[j];
                if step != 0.0 {
                    across.iter_mut().zip(row).for_each(|(a, h)| *a += step * h);
                    codes[j] = f64::from(code);
                    solved.codes[j] = code;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Sums side by side: the compiler may not reorder one.
    let mut sums = [0f64; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The scale with the least rounding error weighted by the diagonal of the Gram matrix, by search below the largest magnitude
/// (as in "OMSE", Choukroun et al., arXiv 1902.06822).
pub(in crate::quantize) fn search_scale(w: &[f64], diagonal: &[f64], book: Codebook, least: f64) -> f64 {
    let largest = w.iter().fold(0f64, |m, v| m.max(v.abs()));
    let base = largest / f64::from(book.highest);
    if !(base as f32).is_normal() {
        return 1f64.max(least);
    }
    let steps: i32 = if book.bits == 4 { 24 } else { 8 };
    let error = |scale: f64| -> f64 {
        let one = |(v, d): (&f64, &f64)| {
            let e = v - f64::from(book.nearest((v / scale) as f32)) * scale;
            e * e * d
        };
        w.iter().zip(diagonal).map(one).sum()
    };
    let mut best = (f64::INFINITY, base.max(least));
    for step in 0..steps {
        let scale = (base * (1.0 - f64::from(step) * 0.025)).max(least);
        let e = error(scale);
        if e < best.0 {
            best = (e, scale);
        }
    }
    best.1
}
