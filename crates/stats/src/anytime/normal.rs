//! The normal mixture: a mean, or a difference of means, with its standard error.

use crate::special::normal_cdf;

/// Half the width of the two-sided sequence: `se·sqrt((1 + 1/(I·τ²))·(2·ln(1/α) + ln(1 + I·τ²)))` with `I = 1/se²`.
///
/// `tau` is the standard deviation of the effects that are mixed, in the unit of the mean; it moves where the sequence is narrowest,
/// never whether it holds. Infinite where the standard error is no positive number.
pub fn radius(se: f64, tau: f64, alpha: f64) -> f64 {
    if !(se.is_finite() && se > 0.0) {
        return f64::INFINITY;
    }
    let information = (tau / se).powi(2);
    se * ((1.0 + 1.0 / information) * (-2.0 * alpha.ln() + information.ln_1p())).sqrt()
}

/// Chance that a sequence around a mean of zero ends below `margin`.
pub fn power(se: f64, margin: f64, alpha: f64) -> f64 {
    let radius = radius(se, margin, alpha);
    if radius.is_finite() { normal_cdf((margin - radius) / se) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_data_bound_nothing() {
        for se in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            assert_eq!((radius(se, 0.01, 0.05), power(se, 0.01, 0.05)), (f64::INFINITY, 0.0));
        }
    }

    #[test]
    fn more_information_gives_more_power() {
        let powers = [0.01, 0.005, 0.003, 0.002].map(|se| power(se, 0.01, 0.05));
        assert!(powers.is_sorted() && powers[0] < 0.1 && powers[3] > 0.9, "{powers:?}");
    }
}
