//! Entropy calibration: the range under which the distribution of codes says most about that of the values, by the least
//! Kullback–Leibler divergence (Migacz, "8-bit Inference with TensorRT", GTC 2017). Values beyond a candidate range are counted
//! at its ends; codes spread evenly over the bins in use. Candidates are as wide on both sides of zero as data reach.

use plimsoll_stats::{Bin, Histogram, Range};

/// Bins that are looked at, at least (up to twice as many), where values spread at all. With many more, each holds so few values that every range
/// but the whole looks alike.
const BINS: usize = 2048;
/// Codes of an activation.
const CODES: usize = 256;
/// Candidates are tried at most this many bins apart, as a part of all bins.
const CANDIDATES: usize = 128;
/// What a bin holds at least where its code is in use by others: a logarithm of zero would decide everything.
const SMOOTHING: f64 = 1e-4;

/// The range.
pub(super) fn range(histogram: &Histogram) -> Range {
    let seen = histogram.seen();
    if is_discrete(histogram) {
        return seen;
    }
    // Zeros have an exact code under every range, and would drown all else.
    let bins = joined(histogram.bins().collect());
    let counts: Vec<f64> = bins.iter().map(|b| b.count as f64).collect();
    let zero = bins.iter().position(|b| b.hi > 0.0).unwrap_or(bins.len());
    let reach = zero.max(bins.len() - zero);
    let stride = (bins.len() / CANDIDATES).max(1);
    let mut best = (f64::INFINITY, 0, bins.len());
    let mut half = reach;
    loop {
        let (start, end) = (zero.saturating_sub(half), (zero + half).min(bins.len()));
        if end - start < CODES {
            break;
        }
        let found = divergence(&counts, start, end);
        // Of equal ones the widest, which comes first.
        if found < best.0 {
            best = (found, start, end);
        }
        match half.checked_sub(stride) {
            Some(next) => half = next,
            None => break,
        }
    }
    let (_, start, end) = best;
    match (bins.get(start), end.checked_sub(1).and_then(|e| bins.get(e))) {
        (Some(lo), Some(hi)) => Range { lo: (lo.lo as f32).max(seen.lo), hi: (hi.hi as f32).min(seen.hi) },
        _ => seen,
    }
}

/// Whether values are few distinct ones: most bins in use stand alone. There is no distribution to speak of then, and each value
/// has, or nearly has, a code of its own.
fn is_discrete(histogram: &Histogram) -> bool {
    let used: Vec<bool> = histogram.bins().map(|b| b.count > 0).collect();
    let together = used.windows(2).filter(|pair| pair.iter().all(|u| *u)).count();
    2 * together < used.iter().filter(|u| **u).count()
}

/// The bins, neighbours joined until they are few enough.
fn joined(mut bins: Vec<Bin>) -> Vec<Bin> {
    while bins.len() >= 2 * BINS {
        let pair = |pair: &[Bin]| match *pair {
            [a, b, ..] => Some(Bin { lo: a.lo, hi: b.hi, count: a.count + b.count }),
            [a] => Some(a),
            [] => None,
        };
        // Zero is an edge of a pair, as it is of a bin.
        let odd = bins.iter().position(|b| b.lo >= 0.0).unwrap_or(0) % 2;
        let (first, rest) = bins.split_at(odd);
        bins = first.iter().copied().chain(rest.chunks(2).filter_map(pair)).collect();
    }
    bins
}

/// KL divergence of the codes' distribution over bins `start..end` from that of the values clipped to them.
fn divergence(counts: &[f64], start: usize, end: usize) -> f64 {
    let inside = &counts[start..end];
    let (below, above): (f64, f64) = (counts[..start].iter().sum(), counts[end..].iter().sum());
    let total: f64 = counts.iter().sum();
    let kept: f64 = inside.iter().sum();
    if total == 0.0 || kept == 0.0 {
        return f64::INFINITY;
    }
    let last = inside.len() - 1;
    let clipped = |i: usize| inside[i] + if i == 0 { below } else { 0.0 } + if i == last { above } else { 0.0 };
    let mut sum = 0.0;
    for code in 0..CODES {
        let (from, to) = (code * inside.len() / CODES, (code + 1) * inside.len() / CODES);
        let of_code: f64 = inside[from..to].iter().sum();
        let used = (from..to).filter(|&i| inside[i] > 0.0).count();
        for i in from..to {
            let p = clipped(i) / total;
            if p > 0.0 {
                let even = if inside[i] > 0.0 { of_code / used as f64 / kept } else { 0.0 };
                sum += p * (p / even.max(SMOOTHING / inside.len() as f64)).ln();
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::testing::Dice;

    fn check(values: &[f32]) -> Range {
        let mut histogram = Histogram::new();
        assert!(histogram.observe(values));
        range(&histogram)
    }

    fn bell(n: usize) -> Vec<f32> {
        let draws: Vec<f32> = Dice(3).tensor(&[n * 12]).to_vec().unwrap();
        draws.chunks(12).map(|c| c.iter().sum()).collect()
    }

    #[test]
    fn far_outliers_are_clipped() {
        let mut values = bell(200_000);
        values.push(80.0);
        let found = check(&values);
        assert!(found.hi < 40.0 && found.hi > 3.0, "{found:?}");
        let rectified: Vec<f32> = values.iter().map(|v| v.max(0.0)).collect();
        let found = check(&rectified);
        assert!(found.lo == 0.0 && found.hi < 40.0 && found.hi > 3.0, "{found:?}");
    }

    #[test]
    fn few_values_are_kept_whole() {
        assert_eq!(check(&[0.0, 0.0]), Range { lo: 0.0, hi: 0.0 });
        assert_eq!(check(&[2.0]), Range { lo: 2.0, hi: 2.0 });
        let steps: Vec<f32> = (0..100_000).map(|i| if i % 100 == 0 { 7.0 } else { (i % 5) as f32 * 0.25 }).collect();
        assert_eq!(check(&steps), Range { lo: 0.0, hi: 7.0 });
        let even: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
        assert!(check(&even).hi > 0.9);
    }
}
