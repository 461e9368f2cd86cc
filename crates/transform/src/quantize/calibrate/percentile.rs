//! Percentile calibration: a small share of the values, the largest magnitudes, is clipped (Wu et al., "Integer Quantization for
//! Deep Learning Inference", arXiv 2004.09602, section 5.2). The share is parted between both ends where both are in use.

use plimsoll_stats::{Histogram, Range};

/// The range that holds this share of the values.
pub(super) fn range(histogram: &Histogram, share: f64) -> Range {
    let seen = histogram.seen();
    let values: u64 = histogram.bins().map(|b| b.count).sum::<u64>() + histogram.zeros();
    let two_sided = seen.lo < 0.0 && seen.hi > 0.0;
    let clipped = values as f64 * (1.0 - share) / if two_sided { 2.0 } else { 1.0 };
    // Bins are clipped whole, and only while all that they hold may be.
    let mut left = clipped;
    let hi = histogram.bins().rev().find(|b| {
        left -= b.count as f64;
        left < 0.0
    });
    let mut left = clipped;
    let lo = histogram.bins().find(|b| {
        left -= b.count as f64;
        left < 0.0
    });
    match (lo, hi) {
        // Zero always has a code: only what lies beyond it is clipped.
        (Some(lo), Some(hi)) => {
            let lo = if seen.lo < 0.0 { (lo.lo as f32).max(seen.lo).min(0.0) } else { seen.lo };
            let hi = if seen.hi > 0.0 { (hi.hi as f32).min(seen.hi).max(0.0) } else { seen.hi };
            Range { lo, hi }
        }
        _ => seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f32], share: f64) -> Range {
        let mut histogram = Histogram::new();
        assert!(histogram.observe(values));
        range(&histogram, share)
    }

    #[test]
    fn rare_outliers_are_clipped_and_common_values_are_not() {
        let mut values: Vec<f32> = (0..=9998).map(|i| i as f32 / 9998.0).collect();
        values.push(3.0);
        let found = check(&values, 0.999);
        assert!(found.lo == 0.0 && (found.hi - 1.0).abs() < 0.02, "{found:?}");
        assert_eq!(check(&values, 1.0), Range { lo: 0.0, hi: 3.0 });
        let both: Vec<f32> = values.iter().flat_map(|v| [*v, -v]).collect();
        let found = check(&both, 0.999);
        assert!((found.hi - 1.0).abs() < 0.02 && (found.lo + 1.0).abs() < 0.02, "{found:?}");
    }

    #[test]
    fn what_is_mostly_zero_keeps_a_range() {
        let mut values = vec![0f32; 1_000_000];
        values.extend([1.0, 2.0]);
        let found = check(&values, 0.9999);
        assert!(found.lo == 0.0 && found.hi <= 2.0, "{found:?}");
        assert_eq!(check(&[0.0], 0.5), Range { lo: 0.0, hi: 0.0 });
        assert_eq!(check(&[2.0, 3.0], 1.0), Range { lo: 2.0, hi: 3.0 });
    }
}
