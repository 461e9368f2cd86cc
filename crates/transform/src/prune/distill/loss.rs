//! How far a student's outputs are from the teacher's, with gradients: divergence of class probabilities where the first output holds
//! scores, squared error over energy elsewhere. Knows numbers only.

use crate::algebra::softmax::softmax;

/// What an output is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Rows of class probabilities.
    Probabilities(usize),
    /// Rows of scores that a softmax would make such.
    Scores(usize),
    /// Anything else, by the mean of its squares.
    Values(f32),
}

impl Kind {
    /// What an output of the teacher is; only the first is taken for scores.
    pub(super) fn of(values: &[f32], shape: &[usize], first: bool) -> Self {
        let energy = values.iter().map(|v| v * v).sum::<f32>() / values.len().max(1) as f32;
        match shape {
            &[_, columns] if first && columns > 1 => {
                let row =
                    |r: &[f32]| r.iter().all(|v| (0.0..=1.0).contains(v)) && (r.iter().sum::<f32>() - 1.0).abs() < 1e-3;
                if values.chunks(columns).all(row) { Self::Probabilities(columns) } else { Self::Scores(columns) }
            }
            _ => Self::Values(energy.max(f32::MIN_POSITIVE)),
        }
    }

    /// The loss at a temperature (which makes scores that are far from the best count), and its gradient by the student's output.
    pub(super) fn loss(self, teacher: &[f32], student: &[f32], temperature: f32) -> (f64, Vec<f32>) {
        let columns = match self {
            Self::Values(energy) => {
                let n = student.len().max(1) as f32;
                let pairs = || student.iter().zip(teacher).map(|(s, t)| s - t);
                let loss = pairs().map(|d| f64::from(d * d)).sum::<f64>() / f64::from(n * energy);
                return (loss, pairs().map(|d| 2.0 * d / (n * energy)).collect());
            }
            Self::Probabilities(columns) | Self::Scores(columns) => columns,
        };
        let rows = (student.len() / columns).max(1) as f32;
        let scores = |row: &[f32]| -> Vec<f32> {
            let score = |v: &f32| match self {
                Self::Probabilities(_) => v.max(LEAST).ln() / temperature,
                _ => v / temperature,
            };
            let mut row: Vec<f32> = row.iter().map(score).collect();
            softmax(&mut row);
            row
        };
        let mut gradient = Vec::with_capacity(student.len());
        let mut total = 0f64;
        for (t_row, s_row) in teacher.chunks_exact(columns).zip(student.chunks_exact(columns)) {
            for ((t, s), own) in scores(t_row).iter().zip(scores(s_row)).zip(s_row) {
                total += f64::from(t * (t.max(1e-7) / s.max(1e-7)).ln() * temperature * temperature);
                let by_score = (s - t) * temperature / rows;
                gradient.push(if matches!(self, Self::Probabilities(_)) {
                    by_score / own.max(LEAST)
                } else {
                    by_score
                });
            }
        }
        (total / f64::from(rows), gradient)
    }
}

/// Probabilities below this count as it.
const LEAST: f32 = 1e-20;
