//! How many queries a percentile of latency needs: the early stopping of MLPerf Inference (rules, "Early stopping"; LoadGen's
//! `early_stopping.cc`).
//!
//! Of n independent queries, t take longer than a bound. That the share of such queries is at most one minus the percentile is said
//! with confidence c once so few would be seen with a probability of at most 1 − c if the share were that large:
//! `I_p(n − t, t + 1) ≤ 1 − c`.

use crate::special::beta_cdf;

/// The rule for one percentile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EarlyStopping {
    percentile: f64,
    confidence: f64,
}

impl EarlyStopping {
    /// For a percentile such as 0.99, at MLPerf's confidence of 99 % and its tolerance of 0.
    pub fn new(percentile: f64) -> Self {
        Self { percentile, confidence: 0.99 }
    }

    fn holds(&self, queries: u64, over: u64) -> bool {
        // Rounding must not decide where both are equal.
        let doubt = (1.0 - self.confidence) * (1.0 + 1e-12);
        queries > over && beta_cdf(self.percentile, (queries - over) as f64, over as f64 + 1.0) <= doubt
    }

    /// Queries in all that `over` over-latency ones may be among.
    pub fn queries_needed(&self, over: u64) -> u64 {
        let mut high = over + 2;
        while !self.holds(high, over) {
            high *= 2;
        }
        first(over + 1, high, |n| self.holds(n, over))
    }

    /// The percentile's estimate from sorted times, which lies above the true percentile with the rule's confidence: the highest times
    /// that may be over the bound are left out, one less. An error is the number of queries that are needed at least.
    pub fn estimate(&self, sorted: &[f64]) -> Result<f64, u64> {
        let n = sorted.len() as u64;
        if !self.holds(n, 1) {
            return Err(self.queries_needed(1));
        }
        let over = first(1, n, |t| !self.holds(n, t + 1));
        Ok(sorted[(n - over) as usize])
    }
}

/// The first number from `low` to `high` of which `yes` holds, as it does of all that follow.
fn first(mut low: u64, mut high: u64, yes: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        if yes(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the highest of `n` times are left out.
    fn check(percentile: f64, n: u32) -> Result<u32, u64> {
        let sorted: Vec<f64> = (0..n).map(f64::from).collect();
        EarlyStopping::new(percentile).estimate(&sorted).map(|value| n - 1 - value as u32)
    }

    // Published: the rules' least numbers of queries for single stream (90 %) and multi stream (99 %), and what LoadGen printed in
    // results submitted to MLPerf Inference.
    #[test]
    fn counts_are_those_of_the_rules_and_of_loadgen() {
        assert_eq!(check(0.9, 63), Err(64));
        assert_eq!(check(0.9, 64), Ok(0));
        assert_eq!(check(0.99, 661), Err(662));
        assert_eq!(check(0.9, 2048), Ok(172));
        assert_eq!(check(0.9, 2116), Ok(178));
        assert_eq!(check(0.9, 2145), Ok(181));
        // Server: 21 queries, none over: 438 more; 300 queries: 159 more.
        assert_eq!(EarlyStopping::new(0.99).queries_needed(0), 459);
    }
}
