//! Sums of what devices showed, and the difference of two arms of them.
//!
//! Values lie between 0 and 1 and are counted in 2⁻³² parts, so that sums are whole numbers: the order of devices, and with it the
//! engine that wrote them, changes no bit of a decision.

/// Parts of one.
const ONE: f64 = 4_294_967_296.0;

/// Sums of an outcome and, where a device has one, of its covariate: the same figure before the release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    with: Sums,
    without: Sums,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    n: u64,
    y: u128,
    yy: u128,
    x: u128,
    xx: u128,
    xy: u128,
}

/// Treatment against holdback.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Difference {
    /// Mean of the treatment less that of the holdback, adjusted by the covariate.
    pub(crate) difference: f64,
    /// Its standard error, devices being the units.
    pub(crate) se: f64,
}

impl Moments {
    /// Counts a device; values outside of 0 to 1 are drawn in.
    pub(crate) fn push(&mut self, outcome: f64, covariate: Option<f64>) {
        let parts = |v: f64| (v.clamp(0.0, 1.0) * ONE).round() as u128;
        let (y, x) = (parts(outcome), covariate.map(parts));
        let sums = if x.is_some() { &mut self.with } else { &mut self.without };
        let x = x.unwrap_or_default();
        sums.n += 1;
        sums.y += y;
        sums.yy += y * y;
        sums.x += x;
        sums.xx += x * x;
        sums.xy += x * y;
    }

    pub(crate) fn units(&self) -> u64 {
        self.with.n + self.without.n
    }

    /// The mean as it was observed.
    pub(crate) fn mean(&self) -> Option<f64> {
        let n = self.units();
        (n > 0).then(|| (self.with.y + self.without.y) as f64 / ONE / n as f64)
    }

    /// Variance between devices, not adjusted.
    pub(crate) fn variance(&self) -> Option<f64> {
        let (n, mean) = (self.units(), self.mean()?);
        let squares = (self.with.yy + self.without.yy) as f64 / ONE / ONE;
        (n > 1).then(|| ((squares - n as f64 * mean * mean) / (n - 1) as f64).max(0.0))
    }

    /// The difference to another arm, by CUPED (Deng et al. 2013): what the time before explains is taken off. A device without a
    /// time before counts as an average one. `floor` is the least standard deviation between devices that is believed: identical
    /// values say that a thing is rare, not that it never happens.
    pub(crate) fn minus(&self, other: &Self, floor: f64) -> Option<Difference> {
        let (a, b) = (self.with.centred(), other.with.centred());
        let spread = a.xx + b.xx;
        let theta = if spread > 0.0 && self.with.n > 1 && other.with.n > 1 { (a.xy + b.xy) / spread } else { 0.0 };
        let n = self.with.n + other.with.n;
        let centre = if n > 0 { (self.with.x + other.with.x) as f64 / ONE / n as f64 } else { 0.0 };
        let (mean, error) = self.adjusted(theta, centre, floor)?;
        let (other_mean, other_error) = other.adjusted(theta, centre, floor)?;
        Some(Difference { difference: mean - other_mean, se: (error + other_error).sqrt() })
    }

    /// The adjusted mean, and the square of its standard error.
    fn adjusted(&self, theta: f64, centre: f64, floor: f64) -> Option<(f64, f64)> {
        let n = self.units() as f64;
        if n < 2.0 {
            return None;
        }
        let (a, b) = (self.with.centred(), self.without.centred());
        let (with, without) = (self.with.n as f64, self.without.n as f64);
        let of_with = a.mean_y - theta * (a.mean_x - centre);
        let mean = (with * of_with + without * b.mean_y) / n;
        let inner = a.yy - 2.0 * theta * a.xy + theta * theta * a.xx + b.yy;
        let between = with * (of_with - mean).powi(2) + without * (b.mean_y - mean).powi(2);
        let variance = ((inner + between) / (n - 1.0)).max(floor * floor);
        Some((mean, variance / n))
    }
}

/// Means, and sums of squares around them.
#[derive(Debug, Clone, Copy, Default)]
struct Centred {
    mean_y: f64,
    mean_x: f64,
    yy: f64,
    xx: f64,
    xy: f64,
}

impl Sums {
    fn centred(&self) -> Centred {
        if self.n == 0 {
            return Centred::default();
        }
        let n = self.n as f64;
        let (y, x) = (self.y as f64 / ONE, self.x as f64 / ONE);
        let square = |sum: u128| sum as f64 / ONE / ONE;
        Centred {
            mean_y: y / n,
            mean_x: x / n,
            yy: (square(self.yy) - y * y / n).max(0.0),
            xx: (square(self.xx) - x * x / n).max(0.0),
            xy: square(self.xy) - x * y / n,
        }
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_stats::Random;

    use super::*;

    /// Two arms that differ by `effect`, whose devices resemble their past.
    fn arms(effect: f64, covariates: bool, seed: u64) -> [Moments; 2] {
        let mut random = Random::new(seed);
        let mut arms = [Moments::default(); 2];
        for i in 0..4_000 {
            let own = 0.05 * random.unit();
            let value = own + 0.01 * random.unit() + if i % 2 == 0 { effect } else { 0.0 };
            arms[i % 2].push(value, covariates.then_some(own));
        }
        arms
    }

    #[test]
    fn the_past_explains_what_devices_differ_by() {
        let [treatment, holdback] = arms(0.01, true, 1);
        let with = treatment.minus(&holdback, 0.0).unwrap();
        let [treatment, holdback] = arms(0.01, false, 1);
        let without = treatment.minus(&holdback, 0.0).unwrap();
        assert!((with.difference - 0.01).abs() < 3.0 * with.se && with.se < without.se / 4.0, "{with:?} {without:?}");
    }

    #[test]
    fn order_changes_no_bit() {
        let mut values: Vec<f64> = (0..1_000).map(|i| f64::from(i).sin().abs()).collect();
        let sum = |values: &[f64]| {
            let mut moments = Moments::default();
            values.iter().for_each(|v| moments.push(*v, (*v > 0.5).then_some(v / 2.0)));
            moments
        };
        let one = sum(&values);
        values.reverse();
        assert_eq!(one, sum(&values));
    }

    #[test]
    fn identical_devices_are_no_proof() {
        let mut zeros = Moments::default();
        (0..50).for_each(|_| zeros.push(0.0, None));
        assert!(zeros.minus(&zeros, 0.001).unwrap().se > 0.0);
        assert!(zeros.minus(&Moments::default(), 0.001).is_none());
    }
}
