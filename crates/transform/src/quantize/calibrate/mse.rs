//! MSE-optimal clipping: the range whose codes are nearest to the values in mean square, rounding and clipping weighed against
//! each other (Sung et al., "Resiliency of Deep Neural Networks under Quantization", arXiv 1511.06488; Nagel et al., "A White
//! Paper on Neural Network Quantization", arXiv 2106.08295, section 3.1). Searched on a grid from both ends in turn.

use plimsoll_stats::{Histogram, Range};

use crate::quantize::affine::Codes;

/// Steps of the coarse grid from the whole range down to a tenth, and of the fine one between its neighbours.
const COARSE: usize = 48;
const FINE: usize = 16;
/// The least part of the range that is tried.
const LEAST: f64 = 0.1;
/// How often each end is searched.
const ROUNDS: usize = 2;

/// The range.
pub(super) fn range(histogram: &Histogram) -> Range {
    let seen = histogram.seen();
    // Zeros have an exact code under every range.
    let points: Vec<(f32, f32)> =
        histogram.bins().filter(|b| b.count > 0).map(|b| (b.centre() as f32, b.count as f32)).collect();
    if points.is_empty() {
        return seen;
    }
    let mut best = seen;
    let mut least = error(&points, seen);
    for _ in 0..ROUNDS {
        for end in [End::High, End::Low] {
            let whole = end.of(seen);
            if !end.reaches(whole) {
                continue;
            }
            let mut search = |factor: f64| {
                let tried = end.with(best, (f64::from(whole) * factor) as f32);
                let found = error(&points, tried);
                (found < least).then(|| {
                    least = found;
                    best = tried;
                })
            };
            let step = (1.0 - LEAST) / COARSE as f64;
            let mut middle = 1.0;
            for i in 0..=COARSE {
                let factor = 1.0 - step * i as f64;
                if search(factor).is_some() {
                    middle = factor;
                }
            }
            for i in 1..FINE {
                let factor = middle + step * (2.0 * i as f64 / FINE as f64 - 1.0);
                if factor <= 1.0 {
                    search(factor);
                }
            }
        }
    }
    best
}

#[derive(Debug, Clone, Copy)]
enum End {
    High,
    Low,
}

impl End {
    fn of(self, range: Range) -> f32 {
        match self {
            Self::High => range.hi,
            Self::Low => range.lo,
        }
    }

    /// Whether there is something beyond zero at this end.
    fn reaches(self, end: f32) -> bool {
        match self {
            Self::High => end > 0.0,
            Self::Low => end < 0.0,
        }
    }

    fn with(self, range: Range, end: f32) -> Range {
        match self {
            Self::High => Range { hi: end, ..range },
            Self::Low => Range { lo: end, ..range },
        }
    }
}

/// The sum of squares between values and their codes.
fn error(points: &[(f32, f32)], range: Range) -> f64 {
    let codes = Codes::covering(range);
    let (inverse, zero) = (1.0 / codes.scale, f32::from(codes.zero));
    let one = |&(value, count): &(f32, f32)| {
        let code = ((value * inverse).round_ties_even() + zero).clamp(0.0, 255.0);
        let difference = (code - zero) * codes.scale - value;
        f64::from(difference * difference * count)
    };
    points.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::testing::Dice;

    /// Sums of twelve draws are nearly normal, of variance 4.
    fn bell(n: usize) -> Vec<f32> {
        let draws: Vec<f32> = Dice(3).tensor(&[n * 12]).to_vec().unwrap();
        draws.chunks(12).map(|c| c.iter().sum()).collect()
    }

    fn check(values: &[f32]) -> (Range, f64) {
        let mut histogram = Histogram::new();
        assert!(histogram.observe(values));
        let found = range(&histogram);
        let exact: Vec<(f32, f32)> = values.iter().map(|v| (*v, 1.0)).collect();
        (found, error(&exact, found) / error(&exact, histogram.seen()))
    }

    #[test]
    fn an_outlier_does_not_cost_everybody_else_their_codes() {
        let mut values = bell(500_000);
        values.push(60.0);
        let (found, gain) = check(&values);
        assert!(found.hi < 40.0 && found.lo > -12.0, "{found:?}");
        assert!(gain < 0.9, "{gain}");
    }

    #[test]
    fn what_fills_its_range_is_not_clipped() {
        let even: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
        let (found, gain) = check(&even);
        assert!(found.hi > 0.99 && found.lo == 0.0, "{found:?}");
        assert!(gain <= 1.001, "{gain}");
    }

    #[test]
    fn one_sided_and_constant_values_have_a_range() {
        let (found, _) = check(&[-3.0, -1.0, -2.0]);
        assert!(found.lo <= -2.7 && found.hi == -1.0, "{found:?}");
        let mut histogram = Histogram::new();
        assert!(histogram.observe(&[0.0, 0.0]));
        assert_eq!(range(&histogram), Range { lo: 0.0, hi: 0.0 });
    }
}
