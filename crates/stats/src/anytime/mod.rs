//! Confidence sequences of a mean and of a difference of two: bounds that may be looked at after every day.
//!
//! Each rests on an e-process: a wealth that, where the hypothesis holds, is at no time worth more than it began with, in
//! expectation. By Ville's inequality (1939) the chance that it ever exceeds 1/α is at most α, so that the values of a parameter
//! whose wealth stays below 1/α cover the true one at all times together with probability 1 − α. Order and number of looks do not
//! matter, and everything is a function of sums and counts: whatever engine added them up, in whatever order, gives the same bounds.
//!
//! - [`normal`]: means with an estimated standard error, a mixture of likelihood ratios (Robbins 1970; Johari et al. 2022 call it
//!   mSPRT; for estimated variances Waudby-Smith et al. 2024). Asymptotic in the number of units.
//! - [`proportion`]: events of independent units, a beta-binomial mixture (Robbins 1970; Howard et al. 2021). Exact.
//! - [`betting`]: means of anything between 0 and 1, capital of a mixture of constant bets (Waudby-Smith and Ramdas 2024; Orabona
//!   and Jun 2023). Exact.

pub mod betting;
pub mod normal;
pub mod proportion;

/// Where a test turns from rejecting to not rejecting, between a point that may be rejected and one that is not.
///
/// `rejects` must be monotone between them; the result errs to the side of `kept`, so that a bound is never too tight. Equal to
/// `rejected` where even that is not rejected.
pub(crate) fn boundary(rejected: f64, kept: f64, rejects: impl Fn(f64) -> bool) -> f64 {
    if !rejects(rejected) {
        return rejected;
    }
    let (mut out, mut inside) = (rejected, kept);
    for _ in 0..60 {
        let middle = out + (inside - out) / 2.0;
        if middle == out || middle == inside {
            break;
        }
        if rejects(middle) {
            out = middle;
        } else {
            inside = middle;
        }
    }
    // The last point that was rejected: everything beyond it is, too.
    out
}

/// The smallest value of a function with one valley.
pub(crate) fn valley(mut low: f64, mut high: f64, value: impl Fn(f64) -> f64) -> f64 {
    // Golden section (Kiefer 1953).
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let (mut a, mut b) = (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut at_a, mut at_b) = (value(a), value(b));
    for _ in 0..48 {
        if at_a <= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - RATIO * (high - low);
            at_a = value(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + RATIO * (high - low);
            at_b = value(b);
        }
    }
    at_a.min(at_b)
}
