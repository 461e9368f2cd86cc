//! The names of calibration methods.

use std::{fmt, str::FromStr};

use crate::quantize::UnknownName;

/// How ranges of activations are chosen from calibration samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Calibration {
    /// The smallest and the largest value seen.
    MinMax,
    /// The range that holds a share of the values.
    Percentile(Percentage),
    /// The range whose codes are distributed most like the values (Kullback–Leibler).
    Entropy,
    /// The range whose codes are nearest to the values (mean square). It clips only where that is nearer than not to clip.
    #[default]
    Mse,
}

/// A share of values, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Percentage(u32);

impl Percentage {
    /// What is usual.
    pub const DEFAULT: Self = Self(999_900);

    /// A share from more than a half up to all.
    pub fn new(percent: f64) -> Option<Self> {
        (percent > 50.0 && percent <= 100.0).then(|| Self((percent * 10_000.0).round() as u32))
    }

    /// The share, 1 being all.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl Calibration {
    /// Every method, the share of percentile being the usual one, in the order in which help texts list them.
    pub const ALL: [Self; 4] = [Self::MinMax, Self::Percentile(Percentage::DEFAULT), Self::Entropy, Self::Mse];

    /// The name on the command line and in recipes, without its parameter.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "minmax",
            Self::Percentile(_) => "percentile",
            Self::Entropy => "entropy",
            Self::Mse => "mse",
        }
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(p) if *p != Percentage::DEFAULT => {
                write!(f, "percentile:{}", f64::from(p.0) / 10_000.0)
            }
            other => f.write_str(other.name()),
        }
    }
}

impl FromStr for Calibration {
    type Err = UnknownName;

    fn from_str(s: &str) -> Result<Self, UnknownName> {
        let percent =
            s.strip_prefix("percentile:").and_then(|p| Percentage::new(p.trim_end_matches('%').parse().ok()?));
        let named = Self::ALL.into_iter().find(|c| c.name() == s);
        named.or_else(|| percent.map(Self::Percentile)).ok_or_else(|| UnknownName {
            what: "calibration method",
            found: s.into(),
            choices: "minmax, percentile, percentile:P with P above 50 and up to 100, entropy, mse".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_impossible_shares_are_refused() {
        let odd = Calibration::Percentile(Percentage::new(99.5).unwrap());
        for method in Calibration::ALL.into_iter().chain([odd]) {
            assert_eq!(method.to_string().parse(), Ok(method));
        }
        assert_eq!("percentile:99.9%".parse(), Ok(Calibration::Percentile(Percentage(999_000))));
        for wrong in ["percentile:0", "percentile:101", "percentile:", "percentile:NaN", "kl", ""] {
            assert!(wrong.parse::<Calibration>().is_err(), "{wrong}");
        }
    }
}
